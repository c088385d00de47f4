//! The end of the program, by an exit code for other programs.

use std::{io, process::ExitCode};

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
    /// The system failed, or an accident happened: the same command may succeed later.
    Failed,
    /// It ends as a program that it ran has ended.
    Code(u8),
    /// It ends by a signal that it has heard, or that has ended a program that it ran.
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
            BindError::Io { source, .. } => Self::of_io(source),
            // A host may get its addresses, or a resolver, after its services have begun.
            BindError::NotOurAddress | BindError::NoSuchHost(_) => Self::Failed,
            _ => Self::Usage,
        }
    }

    /// Returns how it ends when the system refuses something: it may not be allowed, or ask for
    /// what does not exist; anything else is no fault of the command line.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::AddrInUse => Self::InUse,
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::InvalidData
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Unsupported => Self::Usage,
            _ => Self::Failed,
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
            Self::Failed => "failed",
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
            Exit::Failed => 7,
            Exit::Code(code) => code,
            // The exit code of shells for a program that a signal has ended.
            Exit::Signal(number) => 128 + number,
        })
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn an_accident_is_no_usage_error() {
        let check = |errno: Errno, expected: Exit| {
            assert_eq!(Exit::of_io(&errno.into()), expected, "{errno}");
            let source = io::Error::from(errno);
            let bind = BindError::Io { what: "lock it".to_owned(), source };
            assert_eq!(Exit::of_bind(&bind), expected, "{errno}");
        };
        for errno in
            [Errno::NOSPC, Errno::ROFS, Errno::DQUOT, Errno::IO, Errno::MFILE, Errno::NOMEM]
        {
            check(errno, Exit::Failed);
        }
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::INVAL, Errno::NAMETOOLONG] {
            check(errno, Exit::Usage);
        }
        check(Errno::ACCESS, Exit::Denied);
        assert_eq!(Exit::of_io(&Errno::ADDRNOTAVAIL.into()), Exit::Failed);
        assert_eq!(Exit::of_bind(&BindError::NotOurAddress), Exit::Failed);
    }
}
