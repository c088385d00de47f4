//! The reach of a caller in other namespaces, and the programs that it never reaches: with real
//! namespaces, real impostors, and actors that change hands under a caller's nose.
//!
//! Most of it needs root, and says that it is skipped without.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod cut_link;
#[path = "../harness/mod.rs"]
mod harness;
mod impostor;
mod matrix;
mod place;
mod recycling;
mod relay;
mod roles;
mod row;
mod table;
