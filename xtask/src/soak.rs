//! Lets trees of actors fall, places and connections change hands, and strangers loose on a
//! registrar, many times.

use anyhow::Result;

use crate::step::Step;

/// Runs the cascades of the conformance suite so many times for each kind of actor; what each
/// round leaves behind, a process, a descriptor, a socket file, fails it. Then composes calls to a
/// registrar at random, from as many seeds; and, twenty times as often, places go from one actor to
/// another, and strangers come and go.
///
/// # Errors
///
/// Says how to run it again.
pub(crate) fn run(rounds: &str) -> Result<()> {
    // Not by nextest, which bounds each test in time.
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
    Ok(())
}
