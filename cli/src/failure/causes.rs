//! Failures of commands that the library causes.

use config::Diagnostics;
use discovery::{ConnectError, FindError, LookupError, RegisterError, RequestError, ResolveError};

use super::{Exit, Failure};

impl Failure {
    /// No registrar carries out the request.
    fn refused(error: impl Into<anyhow::Error>, why: &discovery::RegistrarFailures) -> Self {
        if why.have_denial() { Self::denied(error) } else { Self::usage(error) }
    }

    /// No registrar can be reached: any of them because this user may not, which is certain and does
    /// not pass.
    fn unreached(error: impl Into<anyhow::Error>, why: &discovery::RegistrarFailures) -> Self {
        let failure = Self::unreachable(error, &why.0);
        if why.have_denial() { Self { exit: Exit::Denied, ..failure } } else { failure }
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::usage(diagnostics)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Unreachable(ref why) => {
                let why = why.clone();
                Self::unreached(error, &why)
            }
            _ => Self::usage(error),
        }
    }
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Unreachable(ref why) => {
                let why = why.clone();
                Self::unreached(error, &why)
            }
            LookupError::Refused(ref why) => {
                let why = why.clone();
                Self::refused(error, &why)
            }
            LookupError::Incomplete(ref why) => {
                let why = why.clone();
                Self::not_found(error).open(&why.0)
            }
            _ => Self::usage(error),
        }
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Lookup(error) => error.into(),
            _ => Self::usage(error),
        }
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Resolve(error) => error.into(),
            _ => Self::not_found(error),
        }
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Unreachable(ref why) => {
                let why = why.clone();
                Self::unreached(error, &why)
            }
            RegisterError::Refused(ref why) => {
                let why = why.clone();
                Self::refused(error, &why)
            }
            _ => Self::usage(error),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NotFound => Self::not_found(error),
            RequestError::Unreachable(ref why) => {
                let why = why.clone();
                Self::unreached(error, &why)
            }
            RequestError::Refused(ref why) => {
                let why = why.clone();
                Self::refused(error, &why)
            }
            RequestError::Incomplete(ref why) | RequestError::Partly(ref why) => {
                let why = why.clone();
                Self::not_found(error).open(&why.0)
            }
            _ => Self::usage(error),
        }
    }
}
