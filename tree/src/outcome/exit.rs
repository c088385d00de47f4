//! The exit of an actor.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{cancel::CancelReason, panics::Panic};
use crate::{ActorPath, CalleeError, Kind};

/// The end of an actor. Every actor ends in exactly one way, and its parent learns of it.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::Exit;
///
/// let exit = Exit::Exited { code: 3, last_words: "no such pair".to_owned() };
/// assert!(exit.to_string().contains("no such pair"));
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Exit {
    /// Its function returned, or it had served until its work was done.
    Returned,
    /// Its function failed.
    Failed(CalleeError),
    /// Its function panicked.
    Panicked(Panic),
    /// A signal ended its process.
    Signalled {
        /// The signal.
        signal: i32,
        /// The end of its standard error.
        last_words: String,
    },
    /// Its process exited without a message to its parent.
    Exited {
        /// The exit code.
        code: i32,
        /// The end of its standard error.
        last_words: String,
    },
    /// It was asked to end, and did.
    Cancelled {
        /// The reason, with its author.
        reason: CancelReason,
        /// The pressure that was needed.
        pressure: Pressure,
    },
    /// Nobody knows whether it has ended: it does not answer, and cannot be stopped.
    Unreachable {
        /// The reason, as far as it is known.
        why: String,
    },
}

impl Exit {
    /// Classifies the exit for a `parent`, which asked for it with `asked`, if it did.
    pub(crate) fn class(&self, parent: &ActorPath, asked: Option<&CancelReason>) -> ExitClass {
        match self {
            Self::Returned => ExitClass::Success,
            Self::Cancelled { reason, .. } if asked == Some(reason) => ExitClass::Absorbed,
            Self::Cancelled { reason: CancelReason { by, is_from_peer: false, .. }, .. }
                if by == parent || asked.is_some_and(|it| it.by == *by) =>
            {
                ExitClass::Absorbed
            }
            _ => ExitClass::Failure,
        }
    }

    /// Describes the end of an actor of a kind: each kind is ended in its own way.
    pub(crate) fn said_of(&self, kind: Kind) -> String {
        let Self::Cancelled { reason, pressure } = self else { return self.to_string() };
        let took = match (pressure, kind) {
            (Pressure::Terminated, Kind::Process | Kind::Forkserver) => " (it took SIGTERM)",
            (Pressure::Killed, Kind::Process | Kind::Forkserver) => " (it took SIGKILL)",
            (Pressure::Killed, Kind::Task) => " (it had to be aborted)",
            _ => return self.to_string(),
        };
        format!("{reason}{took}")
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (said, last_words) = match self {
            Self::Returned => return f.write_str("returned"),
            Self::Failed(error) => return write!(f, "failed: {error}"),
            Self::Panicked(panic) => return write!(f, "panicked: {panic}"),
            Self::Cancelled { reason, pressure } => return write!(f, "{reason}{pressure}"),
            Self::Unreachable { why } => return write!(f, "cannot be reached: {why}"),
            Self::Signalled { signal, last_words } => {
                (format!("killed by {}", signal_name(*signal)), last_words)
            }
            Self::Exited { code, last_words } => (format!("exited with code {code}"), last_words),
        };
        write!(f, "{said}{}", self::last_words(last_words))
    }
}

/// Adds the actor's last output to standard error, if there is any.
pub(crate) fn last_words(words: &str) -> String {
    match words.trim() {
        "" => String::new(),
        words => format!("; its last words: {words}"),
    }
}

/// The pressure that it took to end an actor.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Exit, Pressure};
///
/// /// Tells whether an actor heeded the first word.
/// fn was_obedient(exit: &Exit) -> bool {
///     matches!(exit, Exit::Cancelled { pressure: Pressure::Asked, .. } | Exit::Returned)
/// }
///
/// assert!(was_obedient(&Exit::Returned));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pressure {
    /// It was asked.
    #[default]
    Asked,
    /// It did not end in time. A process got SIGTERM; a task or a thread was asked again.
    Terminated,
    /// It did not end even then. A process got SIGKILL, and a task was taken off its runtime; for
    /// a thread there is no such way.
    Killed,
}

/// Uses the same words for every kind, after the reason.
impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "",
            Self::Terminated => " (it had to be asked twice)",
            Self::Killed => " (it did not end when it was asked twice)",
        })
    }
}

/// A parent's treatment of an exit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ExitClass {
    /// All is well.
    Success,
    /// It is what the parent asked for.
    Absorbed,
    /// It is an error.
    Failure,
}

/// The time of a child for each step of its end, unless it is spawned with another grace.
pub const GRACE: Duration = Duration::from_secs(3);

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGSYS => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use wire::ErrorKind;

    use super::*;

    fn path(text: &str) -> ActorPath {
        ActorPath::try_from(text.to_owned()).unwrap()
    }

    fn reason(by: &str) -> CancelReason {
        CancelReason::new(path(by), "enough")
    }

    #[test]
    fn our_own_cancellation_is_absorbed_and_a_foreign_one_is_not() {
        let check = |exit: Exit, asked: Option<&str>, expected| {
            let parent = path("/base/desk");
            assert_eq!(exit.class(&parent, asked.map(reason).as_ref()), expected, "{exit}");
        };
        let cancelled = |by| Exit::Cancelled { reason: reason(by), pressure: Pressure::Terminated };
        check(Exit::Returned, None, ExitClass::Success);
        check(Exit::Returned, Some("/base"), ExitClass::Success);
        check(cancelled("/base"), Some("/base"), ExitClass::Absorbed);
        check(cancelled("/base"), None, ExitClass::Failure);
        check(cancelled("/base/desk"), None, ExitClass::Absorbed);
        check(cancelled("/other"), Some("/base"), ExitClass::Failure);
        // An actor of another tree may have the same path as the parent.
        let from_peer = CancelReason { is_from_peer: true, ..reason("/base/desk") };
        let exit = Exit::Cancelled { reason: from_peer.clone(), pressure: Pressure::Asked };
        check(exit.clone(), None, ExitClass::Failure);
        check(exit.clone(), Some("/base/desk"), ExitClass::Failure);
        // But a request by a peer is passed on.
        assert_eq!(exit.class(&path("/base/desk"), Some(&from_peer)), ExitClass::Absorbed);
        let killed = Exit::Signalled { signal: 9, last_words: String::new() };
        check(killed, Some("/base"), ExitClass::Failure);
    }

    #[test]
    fn is_said_in_words() {
        let check = |exit: Exit, expected: &str| assert_eq!(exit.to_string(), expected);
        check(Exit::Returned, "returned");
        check(Exit::Failed(CalleeError::new(ErrorKind::Internal, "no feed")), "failed: no feed");
        let panic = Panic {
            message: "index out of bounds".to_owned(),
            place: Some("src/feed.rs:12:5".to_owned()),
            backtrace: None,
        };
        check(Exit::Panicked(panic), "panicked: index out of bounds at src/feed.rs:12:5");
        let last_words = "cannot open /dev/feed\n".to_owned();
        check(
            Exit::Exited { code: 2, last_words },
            "exited with code 2; its last words: cannot open /dev/feed",
        );
        check(Exit::Signalled { signal: 9, last_words: String::new() }, "killed by SIGKILL");
        check(
            Exit::Cancelled { reason: reason("/base"), pressure: Pressure::Killed },
            "cancelled by /base: enough (it did not end when it was asked twice)",
        );
        let cancelled = |pressure| Exit::Cancelled { reason: reason("/base"), pressure };
        let check = |pressure, kind, expected: &str| {
            let expected = format!("cancelled by /base: enough{expected}");
            assert_eq!(cancelled(pressure).said_of(kind), expected, "{kind}");
        };
        for kind in Kind::ALL {
            check(Pressure::Asked, kind, "");
            let asked_twice = " (it had to be asked twice)";
            let took = if kind.is_process() { " (it took SIGTERM)" } else { asked_twice };
            check(Pressure::Terminated, kind, took);
        }
        check(Pressure::Killed, Kind::Process, " (it took SIGKILL)");
        check(Pressure::Killed, Kind::Task, " (it had to be aborted)");
        check(Pressure::Killed, Kind::Thread, " (it did not end when it was asked twice)");
    }
}
