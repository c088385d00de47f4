//! The registrar keeps the registry of actors: registered names and their endpoints, and the calls
//! that wait for or watch them.
//!
//! - [`registry`] is the data structure: pure, with no socket, no clock and no runtime.
//! - [`RegistryHandle`] is the one lock around it: events of all sessions go through it, and it
//!   wakes the sessions concerned. The registrar checks contested and reported endpoints itself.
//! - [`Node`] serves it: it binds endpoints, and accepts connections until it is stopped.
//! - [`LocalClient`] registers instances of the node's own process, without a connection.
//! - [`ProtocolAdapter`] serves programs that speak another protocol, on the same endpoints.
//!
//! ```text
//!   connection ──▶ Session ──┐               ┌──▶ SessionHandle ──▶ Session ──▶ connection
//!   connection ──▶ Session ──┼──▶ Registry ──┤
//!   leases ────▶ housekeeping┘  (one lock)   └──▶ jobs ──────────▶ Registry
//! ```
//!
//! No client can take the node from the others: work is done in turns, memory is bounded by what a
//! session leaves unread, and both are charged to an [`Owner`](registry::Owner), which is a local
//! user or an address, and has room for more kinds.
//!
//! | module | its one idea |
//! |---|---|
//! | `registry` | the data structure: events in, changes out |
//! | `registry::apply` | what each event does |
//! | `registry::answers` | the answers to queries, and to calls that wait |
//! | `registry::watchers` | the position of each watcher in the log of changes |
//! | `registry::log` | the latest changes, once for all watchers |
//! | `registry::prefixes` | the sessions that a change may concern, by the beginnings of their patterns |
//! | `registry::waiters` | calls that wait for a name |
//! | `registry::claims` | claims of instances to endpoints |
//! | `registry::deferred` | work that is done in parts |
//! | `registry::owner` | owners, and the accounts that are charged |
//! | `registry::tokens`, `registry::lost` | the tokens of exclusive names, and their former holders |
//! | `registry::suspicion` | evidence against an instance |
//! | `handle` | the one lock, and the sessions to wake |
//! | `session`, `foreign_session`, `local_client` | one client: by the protocol, through an adapter, in this process |
//! | `caller`, `adapter` | a client's identity; other protocols |
//! | `session_handle` | the inbox of a session |
//! | `jobs` | the registrar's work besides its answers |
//! | `latencies` | how long calls take |
//! | `verify`, `callbacks` | looks at endpoints, and questions to their registrants |
//! | `lookout` | questions to the kernel who listens, on a thread of their own |
//! | `relook` | repeated looks at silent endpoints |
//! | `rights` | the endpoints that the registrar may connect to, and for whom |
//! | `accounts`, `quotas` | each owner's use; the limits |
//! | `scheduler`, `scheduler::lanes` | an equal share of the processor for each owner |
//! | `meter` | the processor time of an account |
//! | `shares` | each owner's share of the jobs |
//! | `node`, `options`, `error`, `controls` | the listeners, and the settings that may change |
//! | `tokens_file` | the holders of exclusive names, for the next run |
//! | `places` | the connections of each owner, and in total |
//!
//! It does not find actors, nor connect to them for others: that is `discovery`. It keeps no
//! entry on disk: after a restart, its clients register again. An adapter may keep its own records.
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
mod latencies;
mod local_client;
mod lookout;
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
mod tokens_file;
mod verify;

pub use accounts::{Accounts, Exceeded, Holding};
pub use adapter::{Accepted, ProtocolAdapter, Recognised, Serving};
pub use caller::caller;
pub use controls::Controls;
pub use error::NodeError;
pub use foreign_session::ForeignSession;
pub use handle::RegistryHandle;
pub use latencies::Latencies;
pub use local_client::LocalClient;
pub use meter::thread_time;
pub use node::Node;
pub use options::NodeOptions;
pub use quotas::{QuotaRules, Quotas};
pub use session::Session;
pub use verify::Look;
