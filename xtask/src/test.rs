//! Runs every test.

use std::thread;

use anyhow::{Result, bail};

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
    // Everything is built for one run; a developer who changes something runs a part of it.
    let step = |name, args| {
        let step = Step::cargo(name, args);
        if extra.is_empty() { step.once() } else { step }
    };
    let provide = || {
        tools::provide();
        python::provide();
        python::provide_for_client();
        Ok(())
    };
    if has_subcommand("nextest") {
        let all = "nextest run --workspace --all-features";
        beside(provide, || step("build of the tests", all).args(&["--no-run"]).run())?;
        // It bounds the time of each test, and fails one that leaves a process behind
        // (`.config/nextest.toml`). Examples in the documentation are beyond it. Most tests wait for most
        // of their time, so that the rest runs beside them.
        let rest = || {
            step("documentation tests", "test --workspace --all-features --doc").held().run()?;
            // Those arguments select tests of the workspace.
            if extra.is_empty() { clients::check() } else { Ok(()) }
        };
        beside(|| tests(step("tests", all).args(extra)), rest)?;
    } else {
        eprintln!("xtask: cargo-nextest is not installed, so `cargo test` runs the tests");
        let all = "test --workspace --all-features";
        beside(provide, || step("build of the tests", all).args(&["--no-run"]).run())?;
        tests(step("tests", all).args(&["--no-fail-fast"]).args(extra))?;
        if extra.is_empty() {
            clients::check()?;
        }
    }
    package::check()
}

/// Does two things at once, and fails with all that has failed.
fn beside<T>(
    one: impl FnOnce() -> Result<()> + Send,
    other: impl FnOnce() -> Result<T>,
) -> Result<()> {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other().map(drop);
        match (one.join().expect("a step does not panic"), other) {
            (Err(one), Err(other)) => bail!("{one}\n{other}"),
            (one, other) => one.and(other),
        }
    })
}

/// Runs tests, and fails if they leave anything behind.
fn tests(step: Step) -> Result<()> {
    let temporary = Temporary::new()?;
    step.temporary(temporary.path()).run()?;
    temporary.has_nothing_left()
}
