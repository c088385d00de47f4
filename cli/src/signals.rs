//! Being asked to stop, or to read the settings again.

use std::{fs, task::Poll};

use nix::sys::signal::SigSet;
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The signals that ask this program to stop: while this lives, they do not end it. One that was
/// ignored when the program was started stays so, as `nohup` and shells want it.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(Number, Signal)>);

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut heard = Vec::new();
        for number in [Number::INT, Number::TERM, Number::HUP] {
            if !is_ignored(number) {
                let kind = SignalKind::from_raw(number.as_raw());
                let signal = signal(kind)
                    .map_err(|error| Failure::usage(error).context("cannot listen for signals"))?;
                heard.push((number, signal));
            }
        }
        let_through();
        Ok(Self(heard))
    }

    /// Tells whether this program is to end with its terminal.
    pub(crate) fn hear_hangup(&self) -> bool {
        self.0.iter().any(|(number, _)| *number == Number::HUP)
    }

    /// Waits for the next signal, and returns its number.
    pub(crate) async fn next(&mut self) -> u8 {
        let number = std::future::poll_fn(|cx| {
            for (number, signal) in &mut self.0 {
                if let Poll::Ready(Some(())) = signal.poll_recv(cx) {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        });
        u8::try_from(number.await.as_raw()).expect("the numbers of signals end at 64")
    }
}

/// Lets a hangup wait that comes before anybody hears it: at once a service manager, or whoever else
/// has just started this program, may ask it to read its settings again.
pub(crate) fn hold_back() {
    // Where it cannot be held back it ends the program, as it would without this.
    _ = hangup().thread_block();
}

/// Lets a hangup come that was held back, here or by whoever started this program.
pub(crate) fn let_through() {
    _ = hangup().thread_unblock();
}

fn hangup() -> SigSet {
    let mut hangup = SigSet::empty();
    hangup.add(nix::sys::signal::Signal::SIGHUP);
    hangup
}

/// The number of the signal that a terminal sends as it goes, and that asks a service to read its
/// settings again.
pub(crate) const HANGUP: u8 = 1;

/// Tells whether this process has a terminal that can still send it signals.
pub(crate) fn has_terminal() -> bool {
    fs::File::open("/dev/tty").is_ok()
}

/// Makes a file that may grow no larger one that cannot be written, and not the end of all.
pub(crate) fn outlive_full_files() -> Result<(), Failure> {
    signal(SignalKind::from_raw(Number::XFSZ.as_raw()))
        .map(drop)
        .map_err(|error| Failure::usage(error).context("cannot start"))
}

/// Tells whether this program was started with a signal ignored.
fn is_ignored(number: Number) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).unwrap_or(0);
    mask >> (number.as_raw() - 1) & 1 == 1
}
