//! Runs every test.

use std::{fs, thread, time::Duration};

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
        let rest = || {
            step("documentation tests", "test --workspace --all-features --doc").held().run()?;
            // Those arguments select tests of the workspace.
            if extra.is_empty() { clients::check() } else { Ok(()) }
        };
        // It bounds the time of each test, and fails one that leaves a process behind
        // (`.config/nextest.toml`). Examples in the documentation are beyond it.
        if extra.is_empty() && is_quiet() {
            // Most tests wait for most of their time.
            let tests = || tests(step("tests", all).args(&["--test-threads", "12"]));
            beside(tests, rest)?;
        } else {
            tests(step("tests", all).args(extra))?;
            rest()?;
        }
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

/// Tells whether the processors are free for the tests: a machine that does much else gets fewer at a
/// time, because each has less of a processor then.
fn is_quiet() -> bool {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    // One look may fall into a moment.
    (0..5).any(|_| {
        thread::sleep(Duration::from_millis(100));
        fs::read_to_string("/proc/loadavg")
            .is_ok_and(|it| runnable(&it).is_some_and(|it| it <= processors))
    })
}

/// Reads how many threads run or wait for a processor.
fn runnable(loadavg: &str) -> Option<usize> {
    loadavg.split(' ').nth(3)?.split('/').next()?.parse().ok()
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_runnable_threads_are_read() {
        assert_eq!(super::runnable("24.28 14.41 12.83 11/262 18848\n"), Some(11));
        assert_eq!(super::runnable("0.01"), None);
    }
}
