//! Failures of commands that the library causes.

use config::Diagnostics;
use discovery::{
    ConnectError, FindError, LinkError, LookupError, NoneAnswered, RegisterError, RegistrarFailure,
    RegistrarFailures, RequestError, ResolveError,
};
use wire::ErrorKind;

use super::{Exit, Failure};
use crate::hints;

/// What a failure is, by what each registrar answered.
type ByAnswers = fn(anyhow::Error, &RegistrarFailures) -> Failure;

impl Failure {
    /// No registrar carries out the request. One that is cut off from those who decide is as one that
    /// is not there: the same command may succeed later.
    fn refused(error: anyhow::Error, why: &RegistrarFailures) -> Self {
        let is_undecided = |it: &RegistrarFailure| matches!(&*it.error, LinkError::Refused(error) if error.kind == ErrorKind::Undecided);
        match () {
            () if why.have_denial() => Self::denied(error),
            () if why.0.iter().any(is_undecided) => {
                Self { exit: Exit::Unreachable, ..Self::usage(error) }
            }
            () => Self::usage(error),
        }
    }

    /// No registrar can be reached: any of them because this user may not, which is certain and does
    /// not pass.
    pub(crate) fn unreached(error: anyhow::Error, why: &RegistrarFailures) -> Self {
        let failure = Self::unreachable(error, &why.0);
        if why.have_denial() { Self { exit: Exit::Denied, ..failure } } else { failure }
    }

    /// Some registrars did not answer, and those that did know nothing.
    fn incomplete(error: anyhow::Error, why: &RegistrarFailures) -> Self {
        Self::not_found(error).open(&why.0)
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::usage(diagnostics)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let ConnectError::Unreachable(why) = &error else { return Self::usage(error) };
        let why = why.clone();
        Self::unreached(error.into(), &why)
    }
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        let (failure, why): (ByAnswers, _) = match &error {
            LookupError::Unreachable(why) => (Self::unreached, why.clone()),
            LookupError::Refused(why) => (Self::refused, why.clone()),
            LookupError::Incomplete(why) => (Self::incomplete, why.clone()),
            _ => return Self::usage(error),
        };
        failure(error.into(), &why)
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
            FindError::NoneAnswered(NoneAnswered { explanation }) => {
                let hints = hints::padded(hints::refused(&explanation));
                let failure = Self::not_found(NoneAnswered { explanation });
                hints.into_iter().fold(failure, Self::hint)
            }
            _ => Self::not_found(error),
        }
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        let (failure, why): (ByAnswers, _) = match &error {
            RegisterError::Unreachable(why) => (Self::unreached, why.clone()),
            RegisterError::Refused(why) => (Self::refused, why.clone()),
            _ => return Self::usage(error),
        };
        failure(error.into(), &why)
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let (failure, why): (ByAnswers, _) = match &error {
            RequestError::NotFound => return Self::not_found(error),
            RequestError::Unreachable(why) => (Self::unreached, why.clone()),
            RequestError::Refused(why) => (Self::refused, why.clone()),
            RequestError::Incomplete(why) | RequestError::Partly(why) => {
                (Self::incomplete, why.clone())
            }
            _ => return Self::usage(error),
        };
        failure(error.into(), &why)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wire::RemoteError;

    use super::*;

    /// It was a denial, after which a service manager that tells them apart never tries again.
    #[test]
    fn a_registrar_that_is_cut_off_has_denied_nothing() {
        let of = |kinds: &[ErrorKind]| {
            let failures = kinds.iter().map(|kind| RegistrarFailure {
                registrar: "/unix/@r".parse().unwrap(),
                error: Arc::new(LinkError::Refused(RemoteError::new(kind.clone(), "no"))),
            });
            Failure::from(RegisterError::Refused(RegistrarFailures(failures.collect()))).exit
        };
        assert_eq!(of(&[ErrorKind::Denied]), Exit::Denied);
        assert_eq!(of(&[ErrorKind::Undecided]), Exit::Unreachable);
        assert_eq!(of(&[ErrorKind::Undecided, ErrorKind::Denied]), Exit::Denied);
        assert_eq!(of(&[ErrorKind::Invalid]), Exit::Usage);
    }
}
