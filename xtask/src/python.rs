//! The Python package that tests need, in an environment under `target/`.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Makes the environment with the package, unless it is there. If that is impossible, it reports
/// this; the tests that need it report that they are skipped.
pub(crate) fn provide() {
    let folder = target().join("python");
    if !has_package(&folder) {
        eprintln!("xtask: installing the Python package {PACKAGE} into {}", folder.display());
        if let Err(what) = install(&folder) {
            eprintln!("xtask: {what}; tests with tractor programs say that they are skipped");
        }
    }
}

fn install(folder: &Path) -> Result<(), &'static str> {
    // The remains of an interrupted run are replaced.
    if !succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder)) {
        // A link to an interpreter without the package would look like the whole.
        drop(std::fs::remove_dir_all(folder));
        return Err(
            "python3 makes no virtual environment (on Debian: apt-get install python3-venv)",
        );
    }
    let pip = ["-m", "pip", "--disable-pip-version-check", "--timeout", "15", "--retries", "1"];
    let install = ["install", "--quiet", PACKAGE];
    if !succeeds(Command::new(python(folder)).args(pip).args(install)) || !has_package(folder) {
        drop(std::fs::remove_dir_all(folder));
        return Err("pip cannot install the package");
    }
    Ok(())
}

fn has_package(folder: &Path) -> bool {
    let python = python(folder);
    python.exists()
        && succeeds(Command::new(python).args(["-c", "import msgpack"]).stderr(Stdio::null()))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).status().is_ok_and(|it| it.success())
}

fn python(folder: &Path) -> PathBuf {
    folder.join("bin/python3")
}

/// Returns the folder in which the tests look: cargo's output folder.
fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |it| root.join(it))
}

/// A generic MessagePack, which knows nothing of the protocol. The tests use its present major
/// version.
const PACKAGE: &str = "msgpack>=1,<2";
