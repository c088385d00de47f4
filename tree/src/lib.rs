//! Supervised actors: roots, nurseries, portals, four ways to spawn.

pub mod cache;
pub mod export;

pub use export::{Call, CallError, CalleeError, Context, Dialogue, Ended, Export, Never, Stream};
pub use macros::{export, main};
pub mod process;
