//! A registrar within a program of one's own. `callsign registrar` is one that runs by itself.

pub use registrar::{
    Clerk, Node, NodeError, NodeOptions,
    registry::{Counts, Limits},
};
pub use wire::registrar::Status;
