//! The clients in other languages: builds, checks and tests them with the binary that tests use.

use anyhow::Result;

use crate::{
    leftovers::Temporary,
    python::{provide_for_client, target},
    step::Step,
};

/// Builds the binary that the clients are played against, then checks them.
///
/// # Errors
///
/// As [`check`].
pub(crate) fn run() -> Result<()> {
    Step::cargo("the binary", "build --package callsign").run()?;
    check()
}

/// Builds the Python client as a source distribution and a wheel, checks its types and its style,
/// and plays the installed wheel against the real node.
///
/// # Errors
///
/// The step that failed, and how to run it alone; or the leftovers of the tests. Where Python or its
/// packages are missing, it is skipped, and a message says so.
pub(crate) fn check() -> Result<()> {
    let Some(environment) = provide_for_client() else { return Ok(()) };
    let (bin, target) = (environment.join("bin"), target());
    let step = |name, args: &[&str]| {
        Step::command(name, &bin.join("python3").to_string_lossy(), args)
            .variable("PYTHONDONTWRITEBYTECODE", "1")
            .held()
    };
    let built = target.join("python-client/dist");
    drop(std::fs::remove_dir_all(&built));
    let built = built.to_string_lossy();
    let build = ["-m", "build", "--no-isolation", "--outdir", &built, FOLDER];
    step("build of the Python client", &build).quiet().run()?;
    let wheel = format!("{built}/callsign-{VERSION}-py3-none-any.whl");
    let install = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet"];
    let more = ["--no-deps", "--force-reinstall", "--no-index", &wheel];
    step("installation of the wheel", &[&install[..], &more].concat()).run()?;

    let cache = target.join("python-client/mypy");
    let config = format!("{FOLDER}/pyproject.toml");
    let types = ["-m", "mypy", "--cache-dir", &cache.to_string_lossy(), "--config-file", &config];
    let files = [&format!("{FOLDER}/src")[..], &format!("{FOLDER}/tests")];
    step("types of the Python client", &[&types[..], &files].concat()).run()?;
    let style = ["-m", "ruff", "check", "--no-cache", "--quiet", FOLDER];
    step("style of the Python client", &style).run()?;
    let format = ["-m", "ruff", "format", "--no-cache", "--check", "--quiet", FOLDER];
    step("format of the Python client", &format).run()?;

    let temporary = Temporary::new()?;
    // Its own temporary folder, of which it keeps some.
    let base = format!("--basetemp={}", target.join("python-client/tmp").display());
    let tests = ["-m", "pytest", "--quiet", "-n", "4", &base, FOLDER];
    step("tests of the Python client", &tests)
        .variable("CALLSIGN_BIN", &target.join("debug/callsign").to_string_lossy())
        .temporary(temporary.path())
        .run()?;
    temporary.has_nothing_left()
}

/// Kills the registrar of a client many times, over each transport; a socket or a task that is left is
/// a failure. Where Python or its packages are missing, it is skipped, and a message says so.
///
/// # Errors
///
/// Says how to run it again.
pub(crate) fn soak(rounds: &str) -> Result<()> {
    Step::cargo("the binary", "build --package callsign").run()?;
    let Some(environment) = provide_for_client() else { return Ok(()) };
    let target = target();
    let base = format!("--basetemp={}", target.join("python-client/tmp").display());
    let tests = format!("{FOLDER}/tests/test_registrars.py");
    let args = ["-m", "pytest", "--quiet", "-n", "4", &base, "-k", "kills_of_a_registrar", &tests];
    let python = environment.join("bin/python3");
    Step::command("killed registrars", &python.to_string_lossy(), &args)
        .variable("CALLSIGN_SOAK_ROUNDS", rounds)
        .variable("PYTHONDONTWRITEBYTECODE", "1")
        .variable("PYTHONPATH", &format!("{FOLDER}/src"))
        .variable("CALLSIGN_BIN", &target.join("debug/callsign").to_string_lossy())
        .run()?;
    Ok(())
}

const FOLDER: &str = "clients/python";

const VERSION: &str = env!("CARGO_PKG_VERSION");
