//! Between the guardian and a program that inherits sockets of a service manager.
//!
//! `sd_listen_fds(3)` wants the number of the program in its environment, which is known when there
//! is a process, and then the environment of what that is to run is made already. So the process
//! runs this program first, which looks at its own number and then becomes the other.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write},
    os::{fd::RawFd, unix::process::CommandExt},
    process::Command,
};

use super::own_program;

/// Returns the command that becomes `program`, with descriptors of these names from 3 on.
pub(super) fn command(program: &OsStr, names: &[OsString]) -> Command {
    let mut command = Command::new(own_program());
    command.arg0("heir").arg(program).env(HEIR_VARIABLE, "1");
    command.env("LISTEN_FDS", names.len().to_string());
    if names.iter().any(|it| !it.is_empty()) {
        command.env("LISTEN_FDNAMES", names.join(OsStr::new(":")))
    } else {
        command.env_remove("LISTEN_FDNAMES")
    };
    command
}

/// Becomes the program, if this process was started for it; returns the exit code if it cannot.
pub(super) fn run_if_asked() -> Option<u8> {
    env::var_os(HEIR_VARIABLE)?;
    let mut words = env::args_os().skip(1);
    let program = words.next()?;
    let mut command = Command::new(&program);
    command.args(words).env_remove(HEIR_VARIABLE);
    command.env("LISTEN_PID", std::process::id().to_string());
    let error = command.exec();
    // Nobody is left to read an error.
    let name = program.display();
    let _is_told = writeln!(io::stderr(), "error: the command `{name}` cannot be started: {error}");
    Some(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// Returns the numbers of so many descriptors.
pub(super) fn descriptors(count: usize) -> impl Iterator<Item = RawFd> {
    (FIRST..).take(count)
}

/// The variable that makes this program become another.
const HEIR_VARIABLE: &str = "CALLSIGN_HEIR";

/// The number of the first descriptor.
const FIRST: RawFd = 3;

/// The exit codes of shells when a command is missing, or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
