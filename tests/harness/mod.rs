//! The harness for tests of the whole program: a private folder, processes that end with the test,
//! a registrar node, and a peer that speaks the raw protocol.
//!
//! Every wait is bounded by [`LIMIT`], and a test that waits in vain reports what it expected and
//! what it has seen instead.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

mod captured;
mod node;
mod outcome;
mod peer;
mod port;
mod room;
mod running;

use std::time::{Duration, Instant};

pub(crate) use self::{
    node::{Counts, Node},
    outcome::Outcome,
    peer::{Answer, Peer, query, register, registration, stamped, tcp_address},
    port::free_port,
    room::Room,
    running::Running,
};

/// The time limit for every wait of a test. Everything takes milliseconds on an idle machine, and a
/// minute or two on one with thirty times as much to do; beyond this limit it hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// Returns the number of rounds of a repeated action: few, unless `cargo xtask soak` asks for many,
/// ten thousand by default.
pub(crate) fn rounds(few: usize) -> usize {
    let soak = std::env::var("CALLSIGN_SOAK_ROUNDS").ok().and_then(|it| it.parse::<usize>().ok());
    soak.map_or(few, |rounds| 20 * rounds)
}

/// Returns the time.
#[expect(clippy::disallowed_methods, reason = "what a test waits for has to end at some time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
