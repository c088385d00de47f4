//! Output besides the result: notes, failures, the log, panics. None of it blocks anybody.

use std::{
    io::{self, IsTerminal, Write},
    panic,
};

use anstream::{ColorChoice, adapter::strip_str};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::{
    log_fields::LogFields,
    log_line::LogLine,
    outlet::{Outlet, Target},
    output::colored,
};

/// Standard error, and standard output without waiting.
pub(crate) struct Console {
    out: Outlet,
    err: Outlet,
    has_colors: bool,
    is_json: bool,
    is_silent: bool,
}

impl Console {
    pub(crate) fn new(color: ColorChoice, is_json: bool) -> Self {
        let choice = colored(io::stderr(), color).current_choice();
        Self {
            out: Outlet::new(Target::Stdout, |_| None),
            err: Outlet::new(Target::Stderr, if is_json { gap_json } else { gap }),
            has_colors: choice != ColorChoice::Never && !is_json,
            is_json,
            is_silent: false,
        }
    }

    /// Prints nothing on standard error from now on.
    pub(crate) fn fall_silent(&mut self) {
        self.is_silent = true;
    }

    /// Writes to standard error, after a pending announcement.
    pub(crate) fn say(&self, text: &str) {
        if self.is_silent {
            return;
        }
        self.out.flush();
        self.err.put(if self.has_colors { text.to_owned() } else { strip_str(text).to_string() });
    }

    /// Prints text that is not missed if nobody reads it.
    pub(crate) fn announce(&self, text: &str) {
        self.err.flush();
        self.out.put(text);
    }

    /// Waits until everything is written, for as long as there is a reader.
    pub(crate) fn flush(&self) {
        self.out.flush();
        self.err.flush();
    }

    /// Waits until standard error is written, so that the next output comes after it.
    pub(crate) fn settle(&self) {
        self.err.flush();
    }

    /// Keeps what is for standard error, if that is a terminal, until it is let go: somebody draws
    /// there.
    pub(crate) fn hold(&self) {
        if io::stderr().is_terminal() {
            self.err.hold();
        }
    }

    /// Writes what was kept.
    pub(crate) fn let_go(&self) {
        self.err.let_go();
    }

    /// Sends log events to standard error.
    pub(crate) fn start_logging(&self, filter: EnvFilter) {
        let (log, is_json) = (self.err.clone(), self.is_json);
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || Line { log: log.clone(), is_json })
            .log_internal_errors(false)
            .with_ansi(self.has_colors)
            .fmt_fields(LogFields)
            .event_format(LogLine)
            .init();
    }

    /// Sends panics to standard error in the same way: the usual hook waits for the reader.
    pub(crate) fn hear_panics(&self) {
        let (log, is_json) = (self.err.clone(), self.is_json);
        panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("<unnamed>");
            let backtrace = std::backtrace::Backtrace::capture();
            let mut text = format!("\nthread '{name}' {info}\n");
            if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
                text += &format!("stack backtrace:\n{backtrace}");
            }
            log.put(if is_json { logged("error", &text) } else { text });
        }));
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.flush();
    }
}

/// An event of the log, which is written immediately.
struct Line {
    log: Outlet,
    is_json: bool,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_json {
            let line = String::from_utf8_lossy(bytes);
            let (level, message) = LogLine::read(&line);
            self.log.put(logged(&level, message));
        } else {
            self.log.put(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a line of the log as an object.
fn logged(level: &str, message: &str) -> String {
    format!("{}\n", json!({ "log": { "level": level, "message": message.trim() } }))
}

fn gap(count: u64) -> Option<String> {
    Some(format!("warning: {}\n", gap_in_words(count)))
}

fn gap_json(count: u64) -> Option<String> {
    Some(format!("{}\n", json!({ "warning": { "message": gap_in_words(count) } })))
}

fn gap_in_words(count: u64) -> String {
    let lines = if count == 1 { "line" } else { "lines" };
    format!("{count} {lines} left out here: standard error was blocked")
}
