//! Runs every test.

use anyhow::Result;

use crate::{
    clients,
    leftovers::Temporary,
    package, python,
    step::{Step, has_subcommand},
    tools,
};

/// Provides what the tests need, then runs all of them. `extra` goes to the runner.
///
/// # Errors
///
/// The runner that failed, and how to run it alone; or the leftovers of the tests. A missing tool
/// is no error: the tests that need it report that they were skipped.
pub(crate) fn run(extra: &[&str]) -> Result<()> {
    tools::provide();
    python::provide();
    python::provide_for_client();
    // Everything is built for one run; a developer who changes something runs a part of it.
    let step = |name, args| {
        let step = Step::cargo(name, args);
        if extra.is_empty() { step.once() } else { step }
    };
    if has_subcommand("nextest") {
        // It bounds the time of each test, and fails one that leaves a process behind
        // (`.config/nextest.toml`). Examples in the documentation are beyond it.
        step("build of the tests", "nextest run --workspace --all-features --no-run").run()?;
        tests(step("tests", "nextest run --workspace --all-features").args(extra))?;
        step("documentation tests", "test --workspace --all-features --doc").run()?;
    } else {
        eprintln!("xtask: cargo-nextest is not installed, so `cargo test` runs the tests");
        step("build of the tests", "test --workspace --all-features --no-run").run()?;
        tests(step("tests", "test --workspace --all-features --no-fail-fast").args(extra))?;
    }
    // Those arguments select tests of the workspace.
    if extra.is_empty() {
        clients::check()?;
    }
    package::check()
}

/// Runs tests, and fails if they leave anything behind.
fn tests(step: Step) -> Result<()> {
    let temporary = Temporary::new()?;
    step.temporary(temporary.path()).run()?;
    temporary.has_nothing_left()
}
