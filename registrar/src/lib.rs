//! The clerk that keeps the registry of actors: who is registered under which name, where each
//! listens, who waits for whom, who watches.
//!
//! - [`registry`] is the book: pure, with no socket, no clock and no runtime.
//! - [`Clerk`] is the one who owns it: events of all sessions go through its hands, and it wakes
//!   those who are concerned. It looks into contested and reported endpoints itself.
//! - [`Node`] lets it be reached: it binds endpoints, and serves until it is told to stop.
//! - [`Resident`] lets the process that it runs in register without a connection.
//! - [`Door`] lets programs in that speak another protocol, on the same endpoints.
//!
//! ```text
//!   connection ──▶ Session ──┐               ┌──▶ mailbox ──▶ Session ──▶ connection
//!   connection ──▶ Session ──┼──▶ Registry ──┤
//!   leases ────▶ housekeeping┘  (one lock)   └──▶ errands ──▶ Registry
//! ```
//!
//! No client takes the node from the others: work is done in turns, memory is bounded by what a
//! session leaves unread, and both belong to an [`Owner`](registry::Owner), which is a local user or
//! an address, and has room for more kinds.
//!
//! | module | its one idea |
//! |---|---|
//! | `registry` | the book: events in, changes out |
//! | `registry::answers` | what those who ask are answered, and those who wait |
//! | `registry::watchers` | how far each watcher has read in the log of changes |
//! | `registry::log` | the latest changes, once for all who watch |
//! | `registry::prefixes` | which sessions a change may concern, by what their patterns begin with |
//! | `registry::waiters` | calls that wait for a name |
//! | `registry::claims` | who claims which place |
//! | `registry::chores` | what is too much to be done at once |
//! | `registry::owner` | whose something is, and on whose account the node is used |
//! | `registry::suspicion` | what speaks against an instance |
//! | `clerk` | the one lock, and who is woken |
//! | `session`, `visitor`, `resident` | one client: by the protocol, through a door, in this process |
//! | `caller`, `door` | who a client is; what lets other protocols in |
//! | `mailbox` | what others leave for a session to send |
//! | `errands` | what is yet to be done beside the answers |
//! | `verify`, `registrant` | looks at endpoints, and questions to those who registered them |
//! | `rights` | where the registrar may connect to look, and for whom |
//! | `accounts` | what each owner uses, and how much it may |
//! | `shares` | how many errands each owner may have |
//! | `node`, `options`, `error`, `controls` | listeners, and what may change |
//! | `places` | how many connections there may be, and of whom |
//!
//! It does not find actors, nor connect to them for others: that is `discovery`. It keeps nothing
//! on disk: after a restart, its clients register again. What a door keeps is the door's.
//!
//! ```
//! use callsign_registrar::{Node, NodeOptions};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
//! let stop = CancellationToken::new();
//! let clerk = node.clerk().clone();
//! let (_, ()) = tokio::join!(node.serve(stop.clone()), async {
//!     assert_eq!(clerk.status().instances, 0);
//!     stop.cancel();
//! });
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod accounts;
mod caller;
mod clerk;
mod controls;
mod door;
mod errands;
mod error;
mod mailbox;
mod node;
mod options;
mod places;
mod registrant;
pub mod registry;
mod resident;
mod rights;
mod session;
mod shares;
mod verify;
mod visitor;

pub use accounts::{Accounts, Exceeded, Holding, QuotaRules, Quotas};
pub use clerk::Clerk;
pub use controls::Controls;
pub use door::{Door, Recognised, Serving, Visit};
pub use error::NodeError;
pub use node::Node;
pub use options::NodeOptions;
pub use resident::Resident;
pub use session::Session;
pub use visitor::Visitor;
