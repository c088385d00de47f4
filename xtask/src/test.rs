//! Runs every test.

use anyhow::Result;

use crate::{
    python,
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
    python::provide();
    if has_subcommand("nextest") {
        // It bounds each test in time, and fails one that leaves a process behind
        // (`.config/nextest.toml`). Examples in the documentation are beyond it.
        Step::cargo("tests", "nextest run --workspace --all-features").args(extra).run()?;
        Step::cargo("documentation tests", "test --workspace --all-features --doc").run()?;
    } else {
        eprintln!("xtask: cargo-nextest is not installed, so `cargo test` runs the tests");
        Step::cargo("tests", "test --workspace --all-features --no-fail-fast").args(extra).run()?;
    }
    Ok(())
}
