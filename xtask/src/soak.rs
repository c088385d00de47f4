//! Lets trees of actors fall, places and connections change hands, strangers loose on a registrar,
//! and registrars be killed, many times.

use anyhow::Result;

use crate::{clients, step::Step};

/// Runs the cascades of the conformance suite that many times for each kind of actor; a leftover of
/// any round, a process, a descriptor or a socket file, is a failure. Then it sends random calls to
/// a registrar, from as many seeds; and, twenty times as often, passes places from one actor to
/// another, and lets strangers come and go. At last it kills the registrar of a client in Python.
///
/// # Errors
///
/// Says how to run it again.
pub(crate) fn run(rounds: &str) -> Result<()> {
    // Not by nextest, which bounds the time of each test.
    let steps = [
        Step::cargo(
            "falling trees",
            "test --package callsign-tree --test conformance -- no_error_of_a_cascade",
        ),
        Step::cargo(
            "strangers",
            "test --package callsign --all-features --test hostile -- chance many_come_and_go tractor::",
        ),
        Step::cargo(
            "recycled places",
            "test --package callsign --all-features --test locality -- recycling:: relay::a_pid",
        ),
    ];
    for step in steps {
        step.variable("CALLSIGN_SOAK_ROUNDS", rounds).run()?;
    }
    clients::soak(rounds)
}

/// Lets the parts of a cluster fail under load, that many times: members of etcd, nodes, and the links
/// between them.
///
/// # Errors
///
/// Says how to run it again.
pub(crate) fn cluster(rounds: &str) -> Result<()> {
    let what =
        "test --release --package callsign-cluster --test all -- soak --test-threads 1 --nocapture";
    Step::cargo("a cluster that fails", what).variable("CALLSIGN_SOAK_ROUNDS", rounds).run()?;
    Ok(())
}
