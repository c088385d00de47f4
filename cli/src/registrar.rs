//! A registrar within a program of one's own. `callsign registrar` is one that runs by itself.

pub use registrar::{
    Clerk, Door, Node, NodeError, NodeOptions, Recognised, Serving, Visit, Visitor,
    registry::{Counts, Limits},
};
pub use wire::registrar::Status;
