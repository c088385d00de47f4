//! The program that is an actor for as long as it runs.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};

use anyhow::anyhow;
use rustix::process::{Pid, Signal as Number, getpgrp, kill_process};
use tokio::process::Child;

use crate::{
    failure::{Exit, Failure},
    signals::Signals,
};

/// A program that runs. It shares this process's input and output, and dies with it.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    signals: Signals,
}

/// What happens to a program.
#[derive(Debug)]
pub(super) enum Happening {
    /// It was asked to end.
    Terminated,
    /// It has ended.
    Ended(ExitStatus),
}

impl Program {
    /// Starts a program. The thread that does so has to stay: when it ends, the program does.
    pub(super) fn start(words: &[OsString]) -> Result<Self, Failure> {
        let (program, arguments) = words.split_first().expect("a command has a word at least");
        // From here on they do not end this process, which has a program to see to.
        let signals = Signals::new()?;
        let mut command = Command::new(program);
        command.args(arguments);
        transport::die_with_parent(&mut command);
        match tokio::process::Command::from(command).spawn() {
            Ok(child) => Ok(Self { child, signals }),
            Err(error) => Err(not_started(&program.to_string_lossy(), error)),
        }
    }

    /// Waits for the program to end, and passes on the signals that come meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Happening, Failure> {
        loop {
            tokio::select! {
                biased;
                ended = self.child.wait() => {
                    return ended.map(Happening::Ended).map_err(Failure::usage);
                }
                number = self.signals.next() => {
                    let signal = Number::from_named_raw(number.into());
                    let signal = signal.expect("the signals that are heard have names");
                    // A terminal interrupts all that run in its foreground, and so the program
                    // too. To hear it twice would cut short what it does to end well.
                    if signal == Number::TERM || !is_in_foreground() {
                        self.pass_on(signal);
                    }
                    if signal == Number::TERM {
                        return Ok(Happening::Terminated);
                    }
                }
            }
        }
    }

    fn pass_on(&self, signal: Number) {
        let pid = self.child.id().and_then(|it| Pid::from_raw(it.cast_signed()));
        // One that has ended is waited for soon, and needs no signal.
        let Some(pid) = pid else { return };
        if let Err(error) = kill_process(pid, signal) {
            tracing::warn!(%error, ?signal, "the signal cannot be passed on to the program");
        }
    }
}

/// Returns the exit code that tells how a program ended, as a shell does.
pub(super) fn exit_of(status: ExitStatus) -> Exit {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => SIGNALLED + signal.unwrap_or_default(),
    };
    Exit::Code(u8::try_from(code).unwrap_or(u8::MAX))
}

fn not_started(program: &str, error: io::Error) -> Failure {
    let (code, what) = match error.kind() {
        io::ErrorKind::NotFound => (NOT_FOUND, format!("there is no command `{program}`")),
        _ => (NOT_EXECUTABLE, format!("the command `{program}` cannot be started")),
    };
    let error = match code {
        NOT_FOUND => anyhow!(what),
        _ => anyhow::Error::new(error).context(what),
    };
    Failure { exit: Exit::Code(code), ..Failure::usage(error) }
}

/// Tells whether this process is among those that a terminal interrupts.
fn is_in_foreground() -> bool {
    let status = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    foreground_group(&status) == Some(getpgrp().as_raw_nonzero().get())
}

/// Reads the process group in the foreground of the terminal from a line of `/proc/<pid>/stat`.
fn foreground_group(status: &str) -> Option<i32> {
    // The program's name stands in parentheses and may hold any character, so the fields are
    // counted from the last one: what follows it is the third field, and wanted is the eighth.
    let (_, fields) = status.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(8 - 3)?.parse().ok()
}

/// What shells end with when a command is not there, or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// What shells add to the number of the signal that ended a command.
const SIGNALLED: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        let check = |raw, expected: u8| {
            assert_eq!(exit_of(ExitStatus::from_raw(raw)), Exit::Code(expected));
        };
        check(0, 0);
        check(3 << 8, 3);
        check(255 << 8, 255);
        check(2, 130);
        check(9, 137);
        // With a core dump.
        check(6 | 0x80, 134);
    }

    #[test]
    fn the_foreground_is_read_from_the_eighth_field() {
        let check = |status: &str, expected: Option<i32>| {
            assert_eq!(foreground_group(status), expected, "{status}");
        };
        check("12 (cat) S 1 12 12 34816 77 4194304 0", Some(77));
        check("12 (a) b ) S 1 12 12 0 -1 4194304 0", Some(-1));
        check("", None);
    }
}
