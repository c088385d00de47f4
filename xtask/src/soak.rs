//! Lets trees of actors fall, and strangers loose on a registrar, many times.

use anyhow::Result;

use crate::step::Step;

/// Runs the cascades of the conformance suite so many times for each kind of actor. What each
/// round leaves behind, a process, a descriptor, a socket file, fails it. Then composes calls to a
/// registrar at random, from as many seeds.
///
/// # Errors
///
/// Says how to run it again.
pub(crate) fn run(rounds: &str) -> Result<()> {
    // Not by nextest, which bounds each test in time.
    Step::cargo("soak", "test --package callsign-tree --test conformance -- no_error_of_a_cascade")
        .variable("CALLSIGN_SOAK_ROUNDS", rounds)
        .run()?;
    Step::cargo("soak", "test --package callsign --all-features --test hostile -- chance")
        .variable("CALLSIGN_SOAK_ROUNDS", rounds)
        .run()?;
    Ok(())
}
