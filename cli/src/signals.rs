//! Signals: requests to stop or to reload the settings, and those meant for another program.

use std::{
    fs,
    task::{self, Poll},
};

use nix::sys::signal::SigSet;
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tree::process::signal_numbered;

use crate::failure::Failure;

/// The handled signals: while this lives, they do not end this program. A signal that was ignored
/// at the start stays so, as `nohup` and shells want it.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Those that ask this program to stop.
    ends: Vec<(i32, Signal)>,
    /// Those with a meaning to another program.
    words: Vec<(i32, Signal)>,
}

impl Signals {
    /// Handles the signals that ask this program to stop.
    pub(crate) fn new() -> Result<Self, Failure> {
        let ends = hear([Number::INT, Number::TERM, Number::HUP].map(Number::as_raw))?;
        let_through();
        Ok(Self { ends, words: Vec::new() })
    }

    /// Also handles signals meant for a program that this one runs, as supervisors of processes do.
    pub(crate) fn for_program() -> Result<Self, Failure> {
        let of_terminal = [Number::QUIT, Number::WINCH].map(Number::as_raw);
        let words = WORDS.iter().copied().chain(of_terminal).chain(real_time());
        Ok(Self { words: hear(words)?, ..Self::new()? })
    }

    /// Handles, and ignores, the signals that would have been for a program.
    pub(crate) fn for_none() -> Result<Self, Failure> {
        let words = WORDS.iter().copied().chain(real_time());
        Ok(Self { words: hear(words)?, ..Self::new()? })
    }

    /// Also handles every other signal that would end or stop this program, so that it can give the
    /// terminal back before, and those that tell of the terminal.
    pub(crate) fn for_screen() -> Result<Self, Failure> {
        let words = WORDS.iter().chain(FATAL).copied().chain(real_time());
        let of_terminal = [Number::WINCH, Number::TSTP, Number::CONT].map(Number::as_raw);
        Ok(Self { words: hear(words.chain(of_terminal))?, ..Self::new()? })
    }

    /// Tells whether this program is to end with its terminal.
    pub(crate) fn hear_hangup(&self) -> bool {
        self.ends.iter().any(|(number, _)| *number == Number::HUP.as_raw())
    }

    /// Waits for the next signal that asks this program to stop, and returns its number. Other
    /// signals are returned later.
    pub(crate) async fn next(&mut self) -> u8 {
        let number = std::future::poll_fn(|cx| poll(&mut self.ends, cx)).await;
        u8::try_from(number).expect("the numbers of signals end at 64")
    }

    /// Waits for the next signal that would end this program if it were not handled, and returns its
    /// number: as long as no other program runs that it could mean something to.
    pub(crate) async fn next_fatal(&mut self) -> u8 {
        loop {
            let number = self.next_of_all().await;
            if number != Number::WINCH.as_raw() {
                return u8::try_from(number).expect("the numbers of signals end at 64");
            }
        }
    }

    /// Waits for the next signal of any kind, and returns its number.
    pub(crate) async fn next_of_all(&mut self) -> i32 {
        let Self { ends, words } = self;
        std::future::poll_fn(|cx| match poll(ends, cx) {
            Poll::Pending => poll(words, cx),
            ready => ready,
        })
        .await
    }
}

fn hear(numbers: impl IntoIterator<Item = i32>) -> Result<Vec<(i32, Signal)>, Failure> {
    let ignored = ignored();
    let mut heard = Vec::new();
    for number in numbers.into_iter().filter(|it| ignored >> (it - 1) & 1 == 0) {
        let signal = signal(SignalKind::from_raw(number))
            .map_err(|error| Failure::system(error).context("cannot listen for signals"))?;
        heard.push((number, signal));
    }
    Ok(heard)
}

fn poll(signals: &mut [(i32, Signal)], cx: &mut task::Context<'_>) -> Poll<i32> {
    let mut heard = signals.iter_mut();
    match heard.find_map(|(number, it)| it.poll_recv(cx).is_ready().then_some(*number)) {
        Some(number) => Poll::Ready(number),
        None => Poll::Pending,
    }
}

/// The signals that programs give their own meanings, and that end other programs.
const WORDS: &[i32] = &[
    Number::USR1.as_raw(),
    Number::USR2.as_raw(),
    Number::ALARM.as_raw(),
    Number::VTALARM.as_raw(),
    Number::PROF.as_raw(),
    Number::IO.as_raw(),
    Number::POWER.as_raw(),
];

/// The other signals that end a program, apart from those of its own faults.
const FATAL: &[i32] = &[
    Number::QUIT.as_raw(),
    Number::ABORT.as_raw(),
    Number::TRAP.as_raw(),
    Number::SYS.as_raw(),
    Number::XCPU.as_raw(),
    Number::STKFLT.as_raw(),
];

/// Returns the numbers of the signals without other names, as `RTMIN+3`.
fn real_time() -> impl Iterator<Item = i32> {
    let has_no_name = |it: &i32| Number::from_named_raw(*it).is_none();
    (1..=64).filter(has_no_name).filter(|it| signal_numbered(*it).is_some())
}

/// Defers an early SIGHUP until it is handled: a service manager, or another starter, may ask this
/// program to reload its settings immediately. No other signal stays blocked, because it was while the
/// starter forked: neither this program nor one that it runs would hear SIGTERM.
pub(crate) fn hold_back() {
    // If it cannot be deferred it ends the program, as it would without this.
    _ = hangup().thread_set_mask();
}

/// Delivers a deferred SIGHUP, whether deferred here or by the program's starter.
pub(crate) fn let_through() {
    _ = hangup().thread_unblock();
}

fn hangup() -> SigSet {
    let mut hangup = SigSet::empty();
    hangup.add(nix::sys::signal::Signal::SIGHUP);
    hangup
}

/// The number of the signal that a terminal sends when it goes, and that asks a service to reload
/// its settings.
pub(crate) const HANGUP: u8 = 1;

/// Tells whether this process has a terminal that can still send it signals.
pub(crate) fn has_terminal() -> bool {
    fs::File::open("/dev/tty").is_ok()
}

/// Makes a file at its size limit fail to be written, instead of ending the process.
pub(crate) fn outlive_full_files() -> Result<(), Failure> {
    signal(SignalKind::from_raw(Number::XFSZ.as_raw()))
        .map(drop)
        .map_err(|error| Failure::system(error).context("cannot start"))
}

/// Returns the signals that this program was started with ignored: a bit for each.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).unwrap_or(0)
}
