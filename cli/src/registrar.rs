//! A registrar within a program of one's own. `callsign registrar` is one that runs by itself.

pub use registrar::{
    Accepted, ForeignSession, Node, NodeError, NodeOptions, ProtocolAdapter, Recognised,
    RegistryHandle, Serving,
    registry::{Counts, Limits},
};
pub use wire::registrar::Status;
