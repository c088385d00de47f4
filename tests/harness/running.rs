//! A process that runs beside the test, and ends with it.

use std::{
    fmt,
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdin, Command, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde_json::Value;

use super::{LIMIT, Outcome, captured::Captured};

/// A process that runs beside the test. It is killed when this is dropped, and asked to end when
/// the test's own process dies.
#[derive(Debug)]
pub(crate) struct Running {
    command: String,
    child: Child,
    /// Identifies the process even after it has ended, unlike its number.
    pidfd: OwnedFd,
    input: Option<ChildStdin>,
    stdout: Captured,
    stderr: Captured,
}

impl Running {
    /// Starts a command.
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let said: Vec<_> = words.map(|it| it.to_string_lossy().into_owned()).collect();
        let said = said.join(" ");
        transport::die_with_parent(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("`{said}` cannot be started: {error}"),
        };
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        Self {
            command: said,
            pidfd: pidfd_open(pid, PidfdFlags::empty()).unwrap(),
            input: child.stdin.take(),
            stdout: Captured::of(child.stdout.take().unwrap()),
            stderr: Captured::of(child.stderr.take().unwrap()),
            child,
        }
    }

    /// Returns its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of its output for which `is_it` holds, and returns it.
    #[track_caller]
    pub(crate) fn line(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        while let Some(line) = self.stdout.next_line() {
            if is_it(&line) {
                return line;
            }
        }
        panic!("no line with {what} came\n{self}");
    }

    /// Waits for a line that contains a text, and returns it.
    #[track_caller]
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        self.line(&format!("`{text}`"), |line| line.contains(text))
    }

    /// Waits for a line of its output that contains a text, or for the output's end.
    #[track_caller]
    pub(crate) fn line_or_end(&mut self, text: &str) -> Option<String> {
        loop {
            let line = self.stdout.next_line()?;
            if line.contains(text) {
                return Some(line);
            }
        }
    }

    /// Waits for a line of JSON for which `is_it` holds, and returns it.
    #[track_caller]
    pub(crate) fn json(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let read = |line: &str| serde_json::from_str(line).unwrap_or(Value::Null);
        read(&self.line(what, |line| is_it(&read(line))))
    }

    /// Waits for a line on standard error that contains a text, and returns it.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> String {
        while let Some(line) = self.stderr.next_line() {
            if line.contains(text) {
                return line;
            }
        }
        panic!("`{text}` was not said\n{self}");
    }

    /// Writes to its standard input.
    #[track_caller]
    pub(crate) fn write(mut self, text: &str) -> Self {
        self.input.as_mut().expect("its input was not closed").write_all(text.as_bytes()).unwrap();
        self
    }

    /// Ends its standard input.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Types a line to it.
    #[track_caller]
    pub(crate) fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input was not closed");
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).unwrap();
    }

    /// Asks it to end, and waits until it has. An end by the signal that asked for it counts as
    /// success.
    #[track_caller]
    pub(crate) fn stop(self) -> Outcome {
        self.stop_by(Signal::TERM)
    }

    /// Asks it to end as [`stop`](Self::stop) does, by another signal.
    #[track_caller]
    pub(crate) fn stop_by(self, signal: Signal) -> Outcome {
        self.signal(signal);
        let outcome = self.outcome();
        let code = outcome.code.or((outcome.signal == Some(signal.as_raw())).then_some(0));
        Outcome { code, ..outcome }
    }

    /// Kills it without a warning, and waits until it is dead.
    #[track_caller]
    pub(crate) fn kill(self) -> Outcome {
        self.signal(Signal::KILL);
        self.outcome()
    }

    /// Waits until it has ended by itself, and nothing that it started has its output open.
    #[track_caller]
    pub(crate) fn outcome(mut self) -> Outcome {
        self.input = None;
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let limit = Timespec { tv_sec: LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
        let ended = poll(&mut polled, Some(&limit)).unwrap();
        assert!(ended > 0, "it has not ended within {LIMIT:?}\n{self}");
        let status = self.child.wait().unwrap();
        for output in [&self.stdout, &self.stderr] {
            assert!(output.wait_for_end(), "what it started lives on after it\n{self}");
        }
        Outcome {
            command: self.command.clone(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            code: status.code(),
            signal: status.signal(),
        }
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        write!(f, "$ {}\n{stdout}--- stderr\n{stderr}---", self.command)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already, and nobody could handle another failure here.
        _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        drop(self.child.wait());
    }
}
