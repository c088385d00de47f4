//! The error of a callee, as it travels.

use std::{any::type_name, error::Error};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;
use wire::{ErrorDetails, ErrorKind, ErrorPayload, PAYLOAD_BYTES_MAX, RemoteError};

use super::body;
use crate::{ActorPath, outcome::backtrace::CalleeBacktrace};

/// The error of a callee, as it travels.
///
/// ```
/// # use callsign_tree as callsign;
/// # use wire::ErrorKind;
/// use callsign::CalleeError;
///
/// let error = CalleeError::new(ErrorKind::NotFound, "no quote for EURUSD");
/// assert_eq!(error.to_string(), "no quote for EURUSD");
/// assert!(error.causes.is_empty());
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq, Deserialize, Serialize)]
#[error("{message}")]
pub struct CalleeError {
    /// The kind of failure, for programs.
    pub kind: ErrorKind,
    /// The message, for people.
    pub message: String,
    /// The causes, from the nearest to the first.
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    pub causes: Box<[String]>,
    /// The function's own error, encoded, for callers that know its type.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub payload: Option<Box<[u8]>>,
    /// The name of the type of the function's own error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<Box<str>>,
    /// In which actor it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorPath>,
    /// The calls that led to where the function returned it, if `RUST_BACKTRACE=1` asks for that,
    /// and as far as that takes the error no time: see [`CalleeBacktrace`]. Within another error it
    /// is left out; [`NurseryError::backtraces`](crate::NurseryError::backtraces) has those of its
    /// leaves.
    #[serde(skip)]
    pub backtrace: Option<CalleeBacktrace>,
}

impl CalleeError {
    /// Makes an error without causes.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::CalleeError;
    /// use wire::ErrorKind;
    ///
    /// let error = CalleeError::new(ErrorKind::Failed, "the market is closed");
    /// assert!(error.to_string().contains("the market is closed"));
    /// ```
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            causes: Box::default(),
            payload: None,
            error_type: None,
            actor: None,
            backtrace: None,
        }
    }

    /// Adds the actor in which it happened, unless it is known.
    pub(crate) fn at(mut self, actor: &ActorPath) -> Self {
        self.actor.get_or_insert_with(|| actor.clone());
        self
    }

    /// Replaces the function's own error.
    pub(crate) fn set_own<E: Error + Serialize>(&mut self, error: &E) {
        self.payload = body::encode(error).ok().map(|it| it.to_vec().into());
    }

    /// Returns the function's own error, if it is an `E`.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{CalleeError, NurseryError};
    ///
    /// /// Returns the errors of the scope that a function has failed with.
    /// fn scope(error: &CalleeError) -> Option<NurseryError> {
    ///     error.own()
    /// }
    /// ```
    pub fn own<E: Error + DeserializeOwned>(&self) -> Option<E> {
        if self.error_type.as_deref() != Some(type_name::<E>()) {
            return None;
        }
        body::decode(self.payload.as_deref()?).ok()
    }
}

impl From<RemoteError> for CalleeError {
    fn from(error: RemoteError) -> Self {
        let RemoteError { kind, message, details } = error;
        let ErrorDetails { causes, actor, backtrace, payload } = *details.unwrap_or_default();
        let (error_type, payload) = payload.map(|it| (it.type_name.into(), it.body.into())).unzip();
        let actor = actor.and_then(|it| ActorPath::try_from(it).ok());
        let (causes, backtrace) = (causes.into(), backtrace.map(CalleeBacktrace::from_text));
        Self { kind, message, causes, payload, error_type, actor, backtrace }
    }
}

impl From<CalleeError> for RemoteError {
    fn from(error: CalleeError) -> Self {
        let CalleeError { kind, message, causes, payload, error_type, actor, backtrace } = error;
        let mut remote = Self::new(kind, message).with_causes(causes);
        if let Some(actor) = actor {
            remote = remote.with_actor(actor);
        }
        if let Some(text) = backtrace.as_ref().and_then(CalleeBacktrace::text) {
            remote = remote.with_backtrace(text);
        }
        if let Some(body) = payload.filter(|it| it.len() <= PAYLOAD_BYTES_MAX) {
            let type_name = error_type.unwrap_or_default().into_string();
            let payload = ErrorPayload { type_name, body: body.into_vec() };
            remote.details.get_or_insert_default().payload = Some(payload);
        }
        remote
    }
}

/// Caller and callee have different functions under the same path.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{CallError, Never};
///
/// fn advice(error: &CallError<Never>) -> Option<String> {
///     match error {
///         CallError::Mismatch(mismatch) => Some(format!("rebuild both: {mismatch}")),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq, Deserialize, Serialize)]
#[error(
    "`{path}` has the fingerprint {caller:016x} at the caller and {callee:016x} at the callee: \
     the two were built from different sources; build both from the same"
)]
pub struct Mismatch {
    /// The function.
    pub path: String,
    /// The fingerprint of what the caller wants to call.
    pub caller: u64,
    /// The fingerprint of what the callee has.
    pub callee: u64,
}

impl From<Mismatch> for CalleeError {
    fn from(mismatch: Mismatch) -> Self {
        let payload = body::encode(&mismatch).ok().map(|it| it.to_vec().into());
        Self { payload, ..Self::new(ErrorKind::Mismatch, mismatch.to_string()) }
    }
}

/// The error of a function that has none.
///
/// Why not `std::convert::Infallible`? Serde does not read or write it.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{CallError, Never};
///
/// // No function fails with it, so there is nothing to be handled.
/// fn own(error: CallError<Never>) -> String {
///     match error {
///         CallError::App(never) => match never {},
///         error => error.to_string(),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq, Deserialize, Serialize)]
pub enum Never {}
