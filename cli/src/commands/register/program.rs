//! The program that is an actor for as long as it runs.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{fs::MetadataExt, process::ExitStatusExt},
    path::Path,
    process::ExitStatus,
    time::Duration,
};

use anyhow::anyhow;
use endpoints::Quoted;
use rustix::process::Signal as Number;
use tokio::time::{Instant, sleep_until};
use tree::process::{Guarded, GuardedCommand, News, StartError, Whom, signal_numbered};

use crate::{
    failure::{Exit, Failure},
    signals::Signals,
};

/// A program that runs. It shares this process's input and output, and dies with it, as does
/// everything that it starts.
#[derive(Debug)]
pub(super) struct Program {
    guarded: Guarded,
    signals: Signals,
    /// The time for it to end by itself.
    grace: Duration,
    ending: Option<Ending>,
}

/// A program that is to end.
#[derive(Clone, Copy, Debug)]
struct Ending {
    /// When it was asked to, and by which signal.
    asked: Instant,
    by: Number,
    /// When it is killed, or given up if it has been.
    due: Instant,
    is_killed: bool,
}

/// The events of a program.
#[derive(Debug)]
pub(super) enum Happening {
    /// It was asked to end.
    Terminated,
    /// It has ended, and others that it has started live on.
    LeftBehind(ExitStatus),
    /// Nothing of it is left. Its own exit is included if it was not reported before.
    Ended(Option<ExitStatus>),
}

impl Program {
    /// Starts a program, which gets all signals except those that end it.
    pub(super) fn start(
        command: &GuardedCommand,
        grace: Duration,
        signals: Signals,
    ) -> Result<Self, Failure> {
        match Guarded::start(command) {
            Ok(guarded) => Ok(Self { guarded, signals, grace, ending: None }),
            Err(StartError::Guardian(error) | StartError::Program(error))
                if error.kind() == io::ErrorKind::WouldBlock =>
            {
                let program = command.words[0].to_string_lossy();
                let error = anyhow!("`{program}` cannot be started: no more processes are allowed");
                Err(Failure::denied(error)
                    .hint("raise the limit: `ulimit -u`, or `pids.max` of its cgroup"))
            }
            Err(StartError::Program(error)) => Err(not_started(&command.words, error)),
            Err(error) => Err(Failure::failed(error)),
        }
    }

    /// Waits for the program to end, and passes on the signals that come meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Happening, Failure> {
        loop {
            let due = self.ending.map(|it| it.due);
            tokio::select! {
                biased;
                news = self.guarded.next() => match news {
                    News::Ended(status) => {
                        self.tell_group(status);
                        return Ok(Happening::Ended(Some(status)));
                    }
                    News::LeftBehind(status) => {
                        self.tell_group(status);
                        return Ok(Happening::LeftBehind(status));
                    }
                    News::Alone => return Ok(Happening::Ended(None)),
                    News::Stopped(signal) => self.stop_too(signal),
                    News::HungUp if self.signals.hear_hangup() => {
                        if self.hang_up() {
                            return Ok(Happening::Terminated);
                        }
                    }
                    News::HungUp => {}
                    News::Lost => {
                        self.guarded.end_without_guardian(LAST).await;
                        let what = "what guarded the program was killed, and the program with it";
                        return Err(Failure::failed(anyhow!(what)));
                    }
                },
                number = self.signals.next_of_all() => {
                    let signal = signal_numbered(number);
                    if self.heed(signal.expect("only signals that there are can be heard")) {
                        return Ok(Happening::Terminated);
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.kill_or_give_up()?;
                }
            }
        }
    }

    /// Returns the numbers of the remaining processes, as far as they can be seen.
    pub(super) fn left(&self) -> Vec<i32> {
        self.guarded.alive().unwrap_or_default()
    }

    /// Asks the remaining processes to end.
    pub(super) fn end(&mut self) {
        if self.ending.is_none() {
            self.guarded.signal(Whom::All, Number::TERM);
            self.begin_to_end(Number::TERM);
        }
    }

    /// Passes on a signal, and returns whether it begins the end.
    fn heed(&mut self, signal: Number) -> bool {
        if signal == Number::HUP {
            return self.hang_up();
        }
        // A terminal signals a whole pipeline, and so the program too. A second signal would cut
        // its clean end short.
        let of_terminal = [Number::INT, Number::QUIT, Number::WINCH];
        if of_terminal.contains(&signal) && self.guarded.is_interrupted_too() {
            return false;
        }
        // Any other signal is for the program to interpret.
        if !matches!(signal, Number::INT | Number::TERM) {
            self.guarded.signal(Whom::Program, signal);
            return false;
        }
        match self.ending {
            None => {
                let whom = if signal == Number::TERM { Whom::All } else { Whom::Group };
                self.guarded.signal(whom, signal);
                self.begin_to_end(signal);
                true
            }
            // One request may come twice, to this process and to its group (`timeout`).
            Some(ending) if ending.by == signal && ending.asked.elapsed() < TWICE => false,
            Some(ending) => {
                if !ending.is_killed {
                    self.kill();
                }
                false
            }
        }
    }

    /// Passes on that the terminal has gone, and tells whether that begins the end. Without a
    /// terminal, SIGHUP is a message to the program, with a meaning of its own.
    fn hang_up(&mut self) -> bool {
        if !self.guarded.has_terminal() {
            self.guarded.signal(Whom::Program, Number::HUP);
            return false;
        }
        // The terminal, the shell and the kernel all send it.
        if self.ending.is_some() {
            return false;
        }
        self.guarded.signal(Whom::All, Number::HUP);
        self.guarded.signal(Whom::All, Number::TERM);
        self.begin_to_end(Number::HUP);
        true
    }

    fn begin_to_end(&mut self, by: Number) {
        let asked = Instant::now();
        self.ending = Some(Ending { asked, by, due: asked + self.grace, is_killed: false });
    }

    fn kill(&mut self) {
        self.guarded.kill();
        if let Some(ending) = &mut self.ending {
            ending.is_killed = true;
            ending.due = Instant::now() + LAST;
        }
    }

    fn kill_or_give_up(&mut self) -> Result<(), Failure> {
        if !self.ending.is_some_and(|it| it.is_killed) {
            self.kill();
            return Ok(());
        }
        let what = "what the program has started cannot be ended";
        Err(match self.guarded.alive() {
            Ok(alive) => {
                let listed: Vec<_> = alive.iter().map(|it| described(*it)).collect();
                let numbers: Vec<_> = alive.iter().map(ToString::to_string).collect();
                Failure::failed(anyhow!("{what}: {}", listed.join(", "))).hint(format!(
                    "they are another user's, or stuck in the kernel: `ps -fp {}`",
                    numbers.join(",")
                ))
            }
            Err(error) => Failure::failed(anyhow::Error::new(error).context(format!(
                "{what} outside of its process group: /proc does not show this PID namespace"
            )))
            .hint("mount a /proc of its own there: `unshare --pid --fork --mount-proc …`"),
        })
    }

    fn stop_too(&self, signal: Number) {
        if let Err(error) = self.guarded.stop_too(signal) {
            tracing::debug!(%error, "this process cannot be stopped");
        }
    }

    /// Tells a script that the terminal has interrupted the program: it was not notified itself.
    fn tell_group(&self, status: ExitStatus) {
        if status.signal() != Some(Number::INT.as_raw()) {
            return;
        }
        if let Err(error) = self.guarded.interrupt_group() {
            tracing::debug!(%error, "nobody else is interrupted");
        }
    }
}

/// Returns how this program ends after one that has ended: in the same way. Service managers take
/// an end by SIGTERM for a success, and 143 for a failure; a script continues after a program that
/// has handled Ctrl-C.
pub(super) fn exit_after(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (None, Some(number)) => Exit::Signal(u8::try_from(number).unwrap_or(u8::MAX)),
        (code, _) => Exit::Code(code.and_then(|it| u8::try_from(it).ok()).unwrap_or(u8::MAX)),
    }
}

/// Describes a process that cannot be ended.
fn described(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let owner = fs::metadata(format!("/proc/{pid}")).map(|it| it.uid());
    match owner {
        Ok(user) => format!("{} (process {pid}, of user {user})", Quoted(name.trim_end())),
        Err(_) => format!("process {pid}"),
    }
}

fn not_started(words: &[OsString], error: io::Error) -> Failure {
    let program = &*words[0].to_string_lossy();
    let (code, what) = match error.kind() {
        // The kernel reports the same if the interpreter of a script is missing.
        io::ErrorKind::NotFound if program.contains('/') && Path::new(program).exists() => {
            (NOT_EXECUTABLE, format!("what runs `{program}` is not there; see its first line"))
        }
        io::ErrorKind::NotFound => (NOT_FOUND, format!("there is no command `{program}`")),
        _ => (NOT_EXECUTABLE, format!("the command `{program}` cannot be started")),
    };
    let error = match code {
        NOT_FOUND => anyhow!(what),
        _ => anyhow::Error::new(error).context(what),
    };
    let failure = Failure { exit: Exit::Code(code), ..Failure::usage(error) };
    if code == NOT_FOUND && words.len() == 1 && program.trim().contains(char::is_whitespace) {
        failure
            .hint(format!("leave out the quotes, as in: `-- {}`", program.trim()))
            .hint("or let a shell read it: `-- sh -c '…'`")
    } else {
        failure
    }
}

/// The exit codes of shells for a command that does not exist, or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// The time within which a repeated signal is not another request. Nobody types so fast.
const TWICE: Duration = Duration::from_millis(100);

/// The time for killed processes to disappear: each needs a processor for a moment.
const LAST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_that_of_the_program() {
        let check = |raw, expected: Exit| {
            assert_eq!(exit_after(ExitStatus::from_raw(raw)), expected);
        };
        check(0, Exit::Code(0));
        check(3 << 8, Exit::Code(3));
        check(255 << 8, Exit::Code(255));
        check(2, Exit::Signal(2));
        check(9, Exit::Signal(9));
        // With a core dump.
        check(6 | 0x80, Exit::Signal(6));
    }
}
