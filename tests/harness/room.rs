//! A private room for a test: a fresh folder, and an environment in which nothing else is set.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{Outcome, Running};

/// A fresh folder in which a test keeps its files and sockets, and in which commands run.
#[derive(Debug)]
pub(crate) struct Room {
    folder: TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        // A short path, so that sockets in it have short ones too.
        Self { folder: tempfile::Builder::new().prefix("cs").tempdir().unwrap() }
    }

    /// Returns the folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file in it, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.file(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Returns a multiaddr of a socket in it.
    pub(crate) fn unix(&self, name: &str) -> String {
        format!("/unix{}", self.file(name).display())
    }

    /// Returns a multiaddr of an abstract socket that nobody else uses.
    pub(crate) fn abstract_unix(&self, name: &str) -> String {
        let own = self.path().file_name().and_then(|it| it.to_str()).unwrap();
        format!("/unix/@{own}-{name}")
    }

    /// Returns the command `callsign …`, for changes before it is started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.other_command(env!("CARGO_BIN_EXE_callsign"));
        command.args(args);
        command
    }

    /// Returns another command, in the same environment.
    pub(crate) fn other_command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.path());
        for kept in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        for own in ["HOME", "TMPDIR", "XDG_RUNTIME_DIR"] {
            command.env(own, self.path());
        }
        // A test never asks the registrar of the machine that it runs on.
        command.env("CALLSIGN_SYSTEM_DIR", "");
        command.env("NO_COLOR", "1").env("COLUMNS", "80");
        // No client can return to the registrar of a fresh room. Tests of returning clients set
        // their time.
        command.env("CALLSIGN_SETTLE_TIME", "0s");
        command
    }

    /// Returns the commands that `callsign --help` lists.
    #[track_caller]
    pub(crate) fn commands(&self) -> Vec<String> {
        let help = self.callsign(&["--help"]).succeeds();
        let is_command = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
        let lines = help.stdout.lines().take_while(|it| *it != "Options:").filter(is_command);
        let words = lines.filter_map(|it| it.split_whitespace().next());
        let commands: Vec<_> = words.filter(|it| *it != "help").map(str::to_owned).collect();
        assert!(commands.contains(&"watch".to_owned()), "the list cannot be read\n{help}");
        commands
    }

    /// Runs `callsign …` to its end.
    #[track_caller]
    pub(crate) fn callsign(&self, args: &[&str]) -> Outcome {
        self.run(args).outcome()
    }

    /// Starts `callsign …`.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Running {
        Running::start(self.command(args))
    }
}
