//! Everything that must hold before a change lands.

use anyhow::Result;

use crate::step::{Step, Took, has_subcommand};

/// Runs the steps in turn, and stops at the first that fails.
///
/// # Errors
///
/// The step that failed, and how to run it alone.
pub(crate) fn run() -> Result<()> {
    let steps = steps();
    let mut passed = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        eprintln!("\nxtask: step {} of {}", at + 1, steps.len());
        passed.push((step.name(), step.run()?));
    }

    eprintln!("\nxtask: all {} steps passed", steps.len());
    for (name, took) in &passed {
        eprintln!("  {name:<20} {:>12}", Took(*took));
    }
    let total = passed.iter().map(|(_, took)| *took).sum();
    eprintln!("  {:<20} {:>12}", "in all", Took(total));
    Ok(())
}

/// The steps: the cheap ones first.
///
/// Those that only check types follow each other and precede those that build, and all but one use
/// the same packages with the same features. So each dependency is compiled only twice, once to be
/// checked against and once to be linked.
fn steps() -> Vec<Step> {
    let mut steps = vec![Step::cargo("format", "fmt --all --check")];
    if has_subcommand("deny") {
        steps.push(Step::cargo("dependencies", "deny check licenses bans sources"));
    } else {
        eprintln!("xtask: cargo-deny is not installed, so what dependencies bring is not checked");
    }
    steps.extend([
        Step::cargo("lints", "clippy --workspace --all-targets --all-features -- -D warnings"),
        // An application that uses only the library gets it without the binary's dependencies.
        Step::cargo(
            "lints, library alone",
            "clippy --package callsign --no-default-features --lib -- -D warnings",
        ),
        // The binary and the library share the name `callsign`; of the two, cargo documents the
        // library.
        Step::cargo("documentation", "doc --workspace --no-deps --all-features")
            .variable("RUSTDOCFLAGS", "-D warnings"),
        Step::cargo("generated documents", "xtask docs --check"),
        Step::cargo("tests", "xtask test"),
    ]);
    steps.into_iter().map(Step::once).collect()
}
