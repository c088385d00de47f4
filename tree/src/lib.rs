//! Supervised actors: roots, nurseries, portals, four ways to spawn.
//!
//! A program opens a [`Root`]. An [`Actor`] opens scopes, and a scope has children: no child
//! outlives its scope, no error of a child is lost, and every end comes within a bounded time. A
//! child can be asked to run *exported functions*; a call of one is a value.
//!
//! - [`Root`] is the actor without a parent. It finds its registrar, or becomes it.
//! - [`Nursery`] is a scope: it spawns children ([`Spawn`]) as tasks, threads or processes.
//! - [`Portal`] is a handle to one actor, a child or one that was looked up by name.
//! - [`Exit`] is how one child ended, [`NurseryError`] all errors of a scope.
//! - [`export`](macro@export) makes a function callable, [`main`] begins a program.
//!
//! It does not keep names (that is `registrar`), and does not dial (that is `discovery`). It
//! restarts children on request; it keeps no state for them.
//!
//! ```no_run,standalone_crate
//! # extern crate callsign_tree as callsign;
//! use callsign::{NurseryError, Root};
//!
//! #[callsign::export]
//! async fn mean(numbers: Vec<f64>) -> f64 {
//!     numbers.iter().sum::<f64>() / numbers.len() as f64
//! }
//!
//! #[callsign::main(config = "callsign.toml")]
//! async fn main(root: Root) -> Result<(), NurseryError> {
//!     root.nursery(async |nursery| {
//!         let math = nursery.spawn("math").process().expose(&[mean::EXPORT]).await?;
//!         assert_eq!(math.call(mean(vec![1.0, 2.0])).await?, 1.5);
//!         let once = nursery.spawn("once").thread().run(mean(vec![4.0])).await?;
//!         assert_eq!(once, 4.0);
//!         Ok(())
//!     })
//!     .await
//! }
//! ```
//!
//! The interaction of the parts, for one child:
//!
//! ```text
//!   body ──▶ Supervisor ──▶ ChildRunner ═══ channel ═══ child
//!             │ one a scope    │ one a child          │ listens, answers calls
//!             │                ├─ RunningChild: task, thread, process
//!             │                └─ Uplink: registers up the tree, with the root's one client
//!             └─ SupervisionState: decides
//! ```
//!
//! | module | its one idea |
//! |---|---|
//! | `run`, `settings` | the beginning and the end of a program; its settings file |
//! | `root` | the root, and its registrar |
//! | `actor`, `kind`, `path` | an actor, as it sees itself; the way it runs; its place in the tree |
//! | `scope` | the scope of children: orders, supervision |
//! | `parent` | the life of a child as its parent sees it: one run, and the spawn backends |
//! | `child` | the life of an actor from the inside: calls, connections, places, signals |
//! | `messages` | the messages between a parent and a child |
//! | `registration` | registration up the tree; keys down the tree |
//! | `handle` | the handle of one actor; look-up by name; shared connections |
//! | `outcome` | ends of actors: exits, errors, cancellation |
//! | `status` | the phase of each child |
//! | `sockets` | the socket files of stuck and of killed actors |
//! | [`export`](mod@export) | functions that other actors may call |
//! | [`cache`] | resources that tasks share |
//! | `process_context`, `runtime` | the state shared by the actors of a process; its threads |

mod actor;
pub mod cache;
mod child;
pub mod export;
mod handle;
mod kind;
mod messages;
mod outcome;
mod parent;
mod path;
mod process_context;
mod registration;
mod root;
mod run;
mod runtime;
mod scope;
mod settings;
mod sockets;
mod status;

pub use actor::Actor;
pub use export::{Call, CallError, CalleeError, Context, Dialogue, Ended, Export, Never, Stream};
pub use handle::{find::LookupActorError, pool::Reached, portal::Portal};
pub use kind::Kind;
pub use macros::{export, main};
pub use outcome::{
    backtrace::CalleeBacktrace,
    cancel::CancelReason,
    error::{AnyError, BodyError, ChildError, Leaf, LeafBacktrace, NurseryError},
    exit::{Exit, GRACE, Pressure},
    panics::Panic,
    restart::{Intensity, Restart, Strategy},
};
pub use path::ActorPath;
pub use process;
pub use root::{CancelledRoot, Root, RootError, RootOptions};
pub use run::{Termination, init, run};
pub use scope::{
    nursery::Nursery,
    spawn::Spawn,
    spawn_error::{RunError, SpawnError},
    supervision::NurseryOptions,
};
pub use settings::{SettingsError, SettingsSource};
pub use status::{ChildState, Phase};
pub use wire::supervised::{KIND_KEY, PARENT_KEY, PATH_KEY, PID_KEY};
