//! The Python packages that tests need, in environments under `target/`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Makes the environment of the Python programs that the scenarios start, unless it is there. If
/// that is impossible, it reports this; the tests that need it report that they are skipped.
pub(crate) fn provide() {
    ACTORS.provide();
}

/// Makes the environment of the Python client and its tests, and returns its folder; `None` if that
/// is impossible, which it reports.
pub(crate) fn provide_for_client() -> Option<PathBuf> {
    CLIENT.provide()
}

/// Returns cargo's output folder, in which the tests look.
pub(crate) fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |it| root.join(it))
}

/// A virtual environment with packages.
struct Environment {
    folder: &'static str,
    /// The packages, each within its present major version.
    packages: &'static [&'static str],
    /// The consequence if they cannot be installed.
    without: &'static str,
}

/// A generic MessagePack, which knows nothing of the protocol, and a resolver.
const ACTORS: Environment = Environment {
    folder: "python",
    packages: &["dnspython>=2,<3", "msgpack>=1,<2"],
    without: "tests with tractor programs, and one of the DNS server, say that they are skipped",
};

/// The client's dependencies, the libraries that its examples and the connectors' tests use, and what
/// checks and builds it.
const CLIENT: Environment = Environment {
    folder: "python-client",
    packages: &[
        "anyio>=4.7,<5",
        "msgpack>=1.0.3,<2",
        "trio>=0.27,<1",
        "aiohttp>=3.10,<4",
        "grpcio>=1.70,<2",
        "uvicorn>=0.30,<1",
        "pytest>=8,<10",
        "pytest-xdist>=3,<4",
        "mypy>=1.13,<3",
        "ruff>=0.8,<1",
        "flit_core>=3.11,<5",
        "build>=1,<2",
    ],
    without: "the Python client is not tested, and the connectors not with Python's servers",
};

impl Environment {
    /// Returns its folder once it is complete.
    fn provide(&self) -> Option<PathBuf> {
        let folder = target().join(self.folder);
        if self.is_complete(&folder) {
            return Some(folder);
        }
        eprintln!("xtask: installing {} into {}", self.packages.join(", "), folder.display());
        match self.install(&folder) {
            Ok(()) => Some(folder),
            Err(what) => {
                // A link to an interpreter without the packages would look like the whole.
                drop(fs::remove_dir_all(&folder));
                eprintln!("xtask: {what}; {}", self.without);
                None
            }
        }
    }

    fn install(&self, folder: &Path) -> Result<(), &'static str> {
        // The remains of an interrupted run are replaced.
        if !succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder)) {
            return Err(
                "python3 makes no virtual environment (on Debian: apt-get install python3-venv)",
            );
        }
        let pip = ["-m", "pip", "--disable-pip-version-check", "--timeout", "15", "--retries", "1"];
        let install = ["install", "--quiet"];
        let python = folder.join("bin/python3");
        if !succeeds(Command::new(python).args(pip).args(install).args(self.packages)) {
            return Err("pip cannot install them");
        }
        fs::write(self.note(folder), self.packages.join("\n"))
            .map_err(|_| "the environment cannot be written")
    }

    /// Tells whether all of the packages were installed, and the interpreter is still there.
    fn is_complete(&self, folder: &Path) -> bool {
        let installed = fs::read_to_string(self.note(folder)).unwrap_or_default();
        let version = ["-c", "import msgpack"];
        installed == self.packages.join("\n")
            && succeeds(Command::new(folder.join("bin/python3")).args(version))
    }

    /// Returns the file that lists the installed packages.
    fn note(&self, folder: &Path) -> PathBuf {
        folder.join("installed.txt")
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).status().is_ok_and(|it| it.success())
}
