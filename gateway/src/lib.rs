//! Adapters for programs that speak other protocols, so that they find callsign's actors and are
//! found like them.
//!
//! - `dns` answers questions of DNS: every program that can resolve a name finds actors.
//! - `http` answers HTTP: JSON, a stream of changes, metrics, and a page to look at.
//! - [`json`] describes records and their like, for HTTP and the command line alike.
//! - [`tractor`] is the adapter for programs of the Python project tractor, and the way to theirs.
//!
//! An adapter translates; it keeps no names itself (that is `registrar`, whose node it is opened on),
//! and chooses no nearest endpoint (that is `discovery`, or the foreign program).
//!
//! ```
//! use std::sync::Arc;
//!
//! use callsign_gateway::tractor::{Scope, TractorAdapter};
//! use registrar::{Node, NodeOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let adapters: Vec<Arc<dyn registrar::ProtocolAdapter>> = vec![Arc::new(TractorAdapter::new(Scope::Local))];
//! let options = NodeOptions { adapters, ..NodeOptions::default() };
//! let node = Node::bind(&["/ip4/127.0.0.1/tcp/0".parse()?], options).await?;
//! println!("tractor programs register at {}", node.endpoints()[0]);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

#[cfg(any(feature = "dns", feature = "http"))]
mod cached;
#[cfg(feature = "dns")]
pub mod dns;
#[cfg(feature = "http")]
pub mod http;
pub mod json;
mod namespaces;
#[cfg(any(feature = "dns", feature = "http"))]
mod surroundings;
pub mod tractor;
