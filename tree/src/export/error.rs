//! Why a call has no result.

use serde::de::DeserializeOwned;
use thiserror::Error;
use wire::ErrorKind;

use super::{
    body,
    callee_error::{CalleeError, Mismatch},
};
use crate::outcome::{cancel::CancelReason, panics::Panic};

/// Why a call has no result.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{CallError, Never};
///
/// /// Tells whether the callee is at fault, rather than the way to it.
/// fn is_of_callee(error: &CallError<Never>) -> bool {
///     matches!(error, CallError::Remote(_) | CallError::Panicked(_) | CallError::Mismatch(_))
/// }
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The function returned its own error.
    #[error(transparent)]
    App(E),
    /// The callee failed otherwise, or with an error that cannot be read here.
    #[error(transparent)]
    Remote(CalleeError),
    /// The function there is another one.
    #[error(transparent)]
    Mismatch(Mismatch),
    /// The function panicked.
    #[error("the function panicked: {0}")]
    Panicked(Panic),
    /// The callee was cancelled while the function ran.
    #[error("the callee was {0}")]
    Cancelled(CancelReason),
    /// The callee does not expose the function.
    #[error("{0}")]
    NotExposed(String),
    /// The call did not arrive, or its result did not.
    #[error(transparent)]
    Transport(portal::CallError),
    /// The arguments cannot be written.
    #[error("the arguments cannot be written: {0}")]
    Unsendable(String),
    /// The result cannot be read.
    #[error("the result cannot be read: {0}")]
    Unreadable(String),
    /// The function has returned without a started value.
    #[error("`{0}` returned without having started a dialogue")]
    NeverStarted(&'static str),
}

impl<E: DeserializeOwned> From<CalleeError> for CallError<E> {
    fn from(error: CalleeError) -> Self {
        let payload = error.payload.as_deref();
        match error.kind {
            ErrorKind::Failed => payload.and_then(|it| body::decode(it).ok()).map(Self::App),
            ErrorKind::Mismatch => payload.and_then(|it| body::decode(it).ok()).map(Self::Mismatch),
            _ => None,
        }
        .unwrap_or(Self::Remote(error))
    }
}
