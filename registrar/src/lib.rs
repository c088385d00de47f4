//! The registrar: it keeps the registry of actors: who is registered under which name, where each
//! listens, who waits for whom, who watches.
//!
//! - [`registry`] is the data structure: pure, with no socket, no clock and no runtime.
//! - [`RegistryHandle`] is the one lock around it: events of all sessions go through it, and it wakes
//!   the sessions concerned. The registrar checks contested and reported endpoints itself.
//! - [`Node`] lets it be reached: it binds endpoints, and serves until it is told to stop.
//! - [`LocalClient`] lets the process that it runs in register without a connection.
//! - [`ProtocolAdapter`] lets programs in that speak another protocol, on the same endpoints.
//!
//! ```text
//!   connection ──▶ Session ──┐               ┌──▶ SessionHandle ──▶ Session ──▶ connection
//!   connection ──▶ Session ──┼──▶ Registry ──┤
//!   leases ────▶ housekeeping┘  (one lock)   └──▶ jobs ──────────▶ Registry
//! ```
//!
//! No client takes the node from the others: work is done in turns, memory is bounded by what a
//! session leaves unread, and both belong to an [`Owner`](registry::Owner), which is a local user or
//! an address, and has room for more kinds.
//!
//! | module | its one idea |
//! |---|---|
//! | `registry` | the data structure: events in, changes out |
//! | `registry::answers` | what those who ask are answered, and those who wait |
//! | `registry::watchers` | how far each watcher has read in the log of changes |
//! | `registry::log` | the latest changes, once for all who watch |
//! | `registry::prefixes` | which sessions a change may concern, by what their patterns begin with |
//! | `registry::waiters` | calls that wait for a name |
//! | `registry::claims` | who claims which place |
//! | `registry::deferred` | what is too much to be done at once |
//! | `registry::owner` | whose something is, and on whose account the node is used |
//! | `registry::suspicion` | what speaks against an instance |
//! | `handle` | the one lock, and who is woken |
//! | `session`, `foreign_session`, `local_client` | one client: by the protocol, through an adapter, in this process |
//! | `caller`, `adapter` | who a client is; what lets other protocols in |
//! | `session_handle` | what others leave for a session to send |
//! | `jobs` | what is yet to be done beside the answers |
//! | `verify`, `callbacks` | looks at endpoints, and questions to those who registered them |
//! | `relook` | what was silent is looked at again |
//! | `rights` | where the registrar may connect to look, and for whom |
//! | `accounts`, `quotas` | what each owner uses; how much it may |
//! | `scheduler`, `scheduler::lanes` | whose turn it is: as much of the processor for each owner |
//! | `meter` | how much of a processor somebody has had |
//! | `shares` | how many jobs each owner may have |
//! | `node`, `options`, `error`, `controls` | listeners, and what may change |
//! | `places` | how many connections there may be, and of whom |
//!
//! It does not find actors, nor connect to them for others: that is `discovery`. It keeps nothing
//! on disk: after a restart, its clients register again. What an adapter keeps is the adapter's.
//!
//! ```
//! use callsign_registrar::{Node, NodeOptions};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
//! let stop = CancellationToken::new();
//! let registry = node.registry().clone();
//! let (_, ()) = tokio::join!(node.serve(stop.clone()), async {
//!     assert_eq!(registry.status().instances, 0);
//!     stop.cancel();
//! });
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod accounts;
mod adapter;
mod callbacks;
mod caller;
mod controls;
mod error;
mod foreign_session;
mod handle;
mod jobs;
mod local_client;
mod meter;
mod node;
mod options;
mod places;
mod quotas;
pub mod registry;
mod relook;
mod rights;
mod scheduler;
mod session;
mod session_handle;
mod shares;
mod verify;

pub use accounts::{Accounts, Exceeded, Holding};
pub use adapter::{Accepted, ProtocolAdapter, Recognised, Serving};
pub use controls::Controls;
pub use error::NodeError;
pub use foreign_session::ForeignSession;
pub use handle::RegistryHandle;
pub use local_client::LocalClient;
pub use node::Node;
pub use options::NodeOptions;
pub use quotas::{QuotaRules, Quotas};
pub use session::Session;
pub use verify::Look;
