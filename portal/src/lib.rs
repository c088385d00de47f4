//! A typed conversation with one peer: handshake, calls, streams, cancellation.
//!
//! A connection has two equal ends: either may call the other. A [`Driver`] runs it: a future that
//! its owner polls in its own task, and that ends with the connection and returns the reason. A
//! [`Portal`] is a handle to it that is cheap to clone. The peer's calls go to a [`Service`]: one
//! that answers as it reads, or [`Handlers`], which runs an async function for each call. A call
//! with items is a [`Dialogue`] to its caller and an [`IncomingCall`] to its handler.
//! caller and an [`IncomingCall`] to its handler.
//!
//! ```text
//!   Portal ──calls──▶ outbox ──┐                    ┌── Driver ──▶ Service
//!   (any task)                 ├─▶ Driver ══bytes══ │                │
//!   Portal ◀─answers───────────┘   (one task)       └── replies ◀────┘
//! ```
//!
//! A registered actor proves its identity before anything else: an [`Identity`] holds its keys, an
//! [`Acceptor`] does the handshake with its callers, and [`handshake_actor`] demands the proof.
//!
//! The driver reads all arrived bytes, lets the service answer every call in them, and writes all
//! answers together. It works in turns: after a bounded amount of work the other tasks of its
//! runtime run, however much there is to do for one connection. It knows no names, addresses or
//! registry, and does not reconnect.
//!
//! | module | its one idea |
//! |---|---|
//! | `handshake`, `options` | the beginning of a conversation, and its options |
//! | `identity`, `acceptor` | an actor's proof of identity; the accept loop |
//! | `driver`, `dispatch` | the future that runs a connection; the effect of each frame that arrives |
//! | `portal`, `request`, `dialogue` | the handle of a conversation; a call to make; a call with items, as its caller sees it |
//! | `service`, `handlers`, `incoming_call` | the answers to a peer's calls; async functions; a call as its handler sees it |
//! | `handling`, `offload` | the function that handles one call; a pool for functions that compute for long |
//! | `items` | the items of a call, and their credit |
//! | `heartbeat`, `awake` | signs of life; time limits that count only while this process runs |
//! | `shared`, `outbox`, `queue` | the state that handles share with the driver; queued frames |
//! | `spare`, `long` | buffers that the connections of a thread share; a long frame in a buffer of its own |
//! | `error` | the errors of a conversation |
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
mod dispatch;
mod driver;
mod error;
mod handlers;
mod handling;
mod handshake;
mod heartbeat;
mod identity;
mod incoming_call;
mod items;
mod long;
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
pub use driver::{Driver, steps_driven};
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
