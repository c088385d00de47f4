//! Runs every test.

use anyhow::Result;

use crate::{
    step::{Step, has_subcommand},
    tools,
};

/// Provides what the tests need, then runs all of them. `extra` goes to the runner.
///
/// # Errors
///
/// Says which runner failed, and how to run it alone. A missing tool is no error: the tests that
/// need it say themselves that they were skipped.
pub(crate) fn run(extra: &[&str]) -> Result<()> {
    tools::provide();
    if has_subcommand("nextest") {
        // It bounds each test in time, and fails one that leaves a process behind
        // (`.config/nextest.toml`).
        Step::cargo("tests", "nextest run --workspace --all-features").args(extra).run()?;
    } else {
        eprintln!("xtask: cargo-nextest is not installed, so `cargo test` runs the tests");
        // The examples in the documentation are left to the step below.
        Step::cargo("tests", "test --workspace --all-features --no-fail-fast --lib --bins --tests")
            .args(extra)
            .run()?;
    }
    Step::cargo("documentation tests", "test --workspace --all-features --doc").run()?;
    Ok(())
}
