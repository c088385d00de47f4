//! How a call fails.

use std::error::Error;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;
use wire::ErrorKind;

use super::body;

/// What the callee says went wrong, as it travels.
#[derive(Clone, Debug, Eq, Error, PartialEq, Deserialize, Serialize)]
#[error("{message}")]
pub struct CalleeError {
    /// What kind of failure it is, for programs.
    pub kind: ErrorKind,
    /// What happened, for people.
    pub message: String,
    /// What caused it, and what caused that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The function's own error, encoded, for callers that know its type.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub payload: Option<Vec<u8>>,
}

impl CalleeError {
    /// Makes an error without causes.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), payload: None }
    }

    /// Makes the error of a function that failed with one of its own.
    pub(super) fn failed<E: Error + Serialize>(error: &E) -> Self {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self {
            kind: ErrorKind::Failed,
            message: error.to_string(),
            causes,
            // What cannot be written still arrives as text.
            payload: body::encode(error).ok().map(Into::into),
        }
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The function failed with an error of its own.
    #[error(transparent)]
    App(E),
    /// The callee failed otherwise, or with an error that cannot be read here.
    #[error(transparent)]
    Remote(CalleeError),
    /// The function is another one over there.
    #[error(transparent)]
    Mismatch(Mismatch),
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

/// Caller and callee know different functions by the same path.
#[derive(Clone, Debug, Eq, Error, PartialEq, Deserialize, Serialize)]
#[error(
    "`{path}` has the fingerprint {caller:016x} at the caller and {callee:016x} at the callee: \
     the two were built from different sources; build both from the same"
)]
pub struct Mismatch {
    /// Which function.
    pub path: String,
    /// The fingerprint of what the caller wants to call.
    pub caller: u64,
    /// The fingerprint of what the callee has.
    pub callee: u64,
}

impl From<Mismatch> for CalleeError {
    fn from(mismatch: Mismatch) -> Self {
        let payload = body::encode(&mismatch).ok().map(Into::into);
        Self { payload, ..Self::new(ErrorKind::Mismatch, mismatch.to_string()) }
    }
}

/// The error of a function that has none.
///
/// Why not `std::convert::Infallible`? Serde does not read or write it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq, Deserialize, Serialize)]
pub enum Never {}
