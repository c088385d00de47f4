//! The end of the program, by an exit code for other programs.

use std::process::ExitCode;

use discovery::RegistrarFailure;
use transport::BindError;

/// The end of the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// It is done.
    Done,
    /// The requested actor is not there, or did not come in time.
    NotFound,
    /// The command line or the settings are wrong, or cannot be followed here.
    Usage,
    /// No registrar answers.
    Unreachable,
    /// The system or a registrar does not allow it, or has reached a bound.
    Denied,
    /// Another program has the requested name or place.
    InUse,
    /// The result could not be written to standard output.
    Output,
    /// It ends as a program that it ran has ended.
    Code(u8),
    /// It ends by a signal that it has heard.
    Signal(u8),
}

impl Exit {
    /// Nobody reads the output any more: what shells show of a program that SIGPIPE has ended.
    pub(crate) const READER_GONE: Self = Self::Code(128 + 13);

    /// Returns how it ends if not all registrars have answered: a denial is certain, and what the
    /// others would say is not.
    pub(crate) fn of_unanswered(self, unanswered: &[RegistrarFailure]) -> Self {
        match unanswered {
            [] => self,
            _ if unanswered.iter().any(|it| it.error.is_denial()) => Self::Denied,
            _ => Self::Unreachable,
        }
    }

    /// Returns how it ends when an endpoint cannot be bound.
    pub(crate) fn of_bind(error: &BindError) -> Self {
        match error {
            BindError::InUse { .. } => Self::InUse,
            BindError::NoPermission { .. } | BindError::NotInGroup { .. } => Self::Denied,
            _ => Self::Usage,
        }
    }

    /// Returns what programs call it.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotFound => "not_found",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::InUse => "in_use",
            Self::Output => "output",
            Self::Code(_) => "command",
            Self::Signal(_) => "signal",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::NotFound => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Denied => 4,
            Exit::InUse => 5,
            Exit::Output => 6,
            Exit::Code(code) => code,
            // The exit code of shells for a program that a signal has ended.
            Exit::Signal(number) => 128 + number,
        })
    }
}
