//! Being asked to stop.

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The signals that ask this program to stop. While this lives, they do not end the program.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// That the terminal has gone, unless this program is to outlive it (`nohup`).
    hangup: Option<Signal>,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        let heard = |kind| {
            signal(kind).map_err(|error| Failure::usage(error).context("cannot listen for signals"))
        };
        let hangup = (!is_ignored(SignalKind::hangup())).then(|| heard(SignalKind::hangup()));
        Ok(Self {
            interrupt: heard(SignalKind::interrupt())?,
            terminate: heard(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
        })
    }

    /// Waits for the next signal, and returns its number.
    pub(crate) async fn next(&mut self) -> u8 {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let kind = tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = hangup => SignalKind::hangup(),
        };
        u8::try_from(kind.as_raw_value()).expect("the numbers of signals end at 64")
    }
}

/// Makes a file that may grow no larger one that cannot be written, and not the end of all.
pub(crate) fn outlive_full_files() -> Result<(), Failure> {
    signal(SignalKind::from_raw(Number::XFSZ.as_raw()))
        .map(drop)
        .map_err(|error| Failure::usage(error).context("cannot start"))
}

/// Tells whether this program was started with a signal ignored.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}
