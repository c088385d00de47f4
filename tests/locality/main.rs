//! The reach of a caller in other namespaces, and the programs that it never reaches: with real
//! namespaces, real impostors, and endpoints that change hands during a call.
//!
//! Most of it needs root, and otherwise reports that it is skipped.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod address;
mod between;
mod cut_link;
#[path = "../harness/mod.rs"]
mod harness;
mod impostor;
mod matrix;
mod nonlocal;
mod place;
mod recycling;
mod relay;
mod roles;
mod row;
mod table;
#[cfg(feature = "etcd")]
mod three_hosts;
mod two_hosts;
