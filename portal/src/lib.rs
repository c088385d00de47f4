//! A typed conversation with one peer: handshake, calls, streams, cancellation.
//!
//! A connection has two ends that are alike: either may call the other. What runs it is a
//! [`Driver`], a future that its owner polls in a task of the owner's own; it ends when the
//! connection does and says why. What uses it is a [`Portal`], a handle that is cheap to clone.
//! The peer's calls go to a [`Service`]: one that answers as it reads, or [`Handlers`], which runs
//! an async function for each call. A call with items is a [`Dialogue`] to its
//! caller and an [`IncomingCall`] to its handler.
//!
//! ```text
//!   Portal ──calls──▶ outbox ──┐                    ┌── Driver ──▶ Service
//!   (any task)                 ├─▶ Driver ══bytes══ │                │
//!   Portal ◀─answers───────────┘   (one task)       └── replies ◀────┘
//! ```
//!
//! An actor that is registered proves who it is before anything else is said: an [`Identity`]
//! holds its keys, an [`Acceptor`] does the handshake with its callers, and [`handshake_actor`]
//! demands the proof.
//!
//! The driver reads whatever has arrived, lets the service answer every call in it, and writes
//! all answers at once. It does so in turns: after so much work the other tasks of its runtime run,
//! however much there is to do for one connection. It knows no names, no addresses and no registry,
//! and does not reconnect.
//!
//! | module | its one idea |
//! |---|---|
//! | `handshake`, `options` | how a conversation begins, and how it is held |
//! | `identity`, `acceptor` | an actor's proof of who it is; the accept loop |
//! | `driver` | what runs a connection |
//! | `portal`, `request`, `dialogue` | the handle of a conversation; a call to be made; a call with items, as its caller sees it |
//! | `service`, `handlers`, `incoming_call` | the answers to a peer's calls; async functions; a call as its handler sees it |
//! | `handling`, `offload` | one function that handles a call; a pool for those that compute for long |
//! | `items` | the items of a call: who may send how many |
//! | `heartbeat`, `awake` | signs of life; bounds of time that count only while this process runs |
//! | `shared`, `outbox`, `queue` | what handles share with the driver; what is said, until it is on its way |
//! | `spare` | buffers that the connections of a thread lend each other |
//! | `error` | how a conversation fails |
//!
//! ```
//! use callsign_portal::{NoService, Options, Request, Service, accept, connect};
//! # use callsign_portal::{Call, Replies};
//! # use wire::{ErrorKind, RemoteError};
//!
//! struct Double;
//!
//! impl Service for Double {
//!     fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
//!         match call.args::<i64>() {
//!             Ok(number) => replies.finish(call.id, &(2 * number)),
//!             Err(error) => replies.fail(call.id, error),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (near, far) = tokio::io::duplex(1024);
//! let (dialed, accepted) = tokio::try_join!(
//!     connect(near, Options::default(), NoService),
//!     accept(far, Options::default(), Double),
//! )?;
//! let mut drivers = tokio::task::JoinSet::new();
//! drivers.spawn(dialed.driver);
//! drivers.spawn(accepted.driver);
//!
//! let answer: i64 = dialed.portal.call(Request::new("double", &21)).await?;
//! assert_eq!(answer, 42);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod acceptor;
mod awake;
mod dialogue;
mod driver;
mod error;
mod handlers;
mod handling;
mod handshake;
mod heartbeat;
mod identity;
mod incoming_call;
mod items;
mod offload;
mod options;
mod outbox;
mod portal;
mod queue;
mod request;
mod service;
mod shared;
mod spare;

pub use acceptor::Acceptor;
pub use awake::while_awake;
pub use dialogue::Dialogue;
pub use driver::Driver;
pub use error::{CallError, Closed, HandshakeError, ProveError, WithCauses};
pub use handlers::{Handlers, Limits};
pub use handshake::{Connected, Established, accept, connect, handshake};
pub use heartbeat::{Heartbeat, OnSilence};
pub use identity::{Identity, Key, handshake_actor};
pub use incoming_call::IncomingCall;
pub use items::{ItemSender, SendError};
pub use options::{HANDSHAKE_TIMEOUT, Options};
pub use portal::{Items, Portal};
pub use request::Request;
pub use service::{Call, NoService, Replies, Service, TURN_STEPS};
