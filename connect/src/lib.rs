//! Actors by name, for programs written with hyper, tonic, axum and tower.
//!
//! Each module meets one library where it is, behind a feature of the same name. None of them
//! speaks HTTP itself, registers anything, or keeps a connection: that is left to the library.
//!
//! - `hyper::Connector` connects hyper-util's client to actors: `http://NAME/…`.
//! - `tonic::channel` makes a gRPC channel to an actor.
//! - `axum::Caller` tells a handler who calls; axum serves a listener of callsign as it stands.
//! - `tower::Instances` are the instances of a name as they come and go, to balance load over them.
//!
//! | module | its one idea |
//! |---|---|
//! | `authority` | a name as the host of a URI, and back |
//! | `reach` | from an instance to a connection, or why there is none |
//! | `hyper` | the connector for hyper-util's client |
//! | `tonic` | gRPC channels |
//! | `axum` | the caller of a handler; listeners that prove their identity |
//! | `tower` | the instances of a name, for balancing |

#![forbid(unsafe_code)]

#[cfg(feature = "hyper")]
mod authority;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(any(feature = "hyper", feature = "tower"))]
mod reach;
#[cfg(feature = "tonic")]
pub mod tonic;
#[cfg(feature = "tower")]
pub mod tower;

#[cfg(feature = "hyper")]
pub use authority::{UriError, host, uri};
#[cfg(any(feature = "hyper", feature = "tower"))]
pub use reach::ReachActorError;
