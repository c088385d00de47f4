//! Errors that cross a connection.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the other side says went wrong.
#[derive(Clone, Debug, Eq, Error, PartialEq, Deserialize, Serialize)]
#[error("{message}")]
pub struct RemoteError {
    /// What kind of failure it is, for programs.
    pub kind: ErrorKind,
    /// What happened, for people.
    pub message: String,
}

impl RemoteError {
    /// Makes an error.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What kind of failure a [`RemoteError`] is. A kind that a later version adds arrives as
/// [`Other`](Self::Other).
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub enum ErrorKind {
    /// What was asked for is not there.
    NotFound,
    /// The call's arguments cannot be read, or contradict each other.
    Invalid,
    /// The caller may not do this.
    Denied,
    /// A bound was reached.
    LimitReached,
    /// Nothing of that name can be called here.
    NoSuchMethod,
    /// The call was cancelled.
    Cancelled,
    /// The other side is going away.
    ShuttingDown,
    /// The other side failed.
    Internal,
    /// A kind that this version does not know.
    Other(String),
}

const KINDS: [(ErrorKind, &str); 8] = [
    (ErrorKind::NotFound, "not-found"),
    (ErrorKind::Invalid, "invalid"),
    (ErrorKind::Denied, "denied"),
    (ErrorKind::LimitReached, "limit-reached"),
    (ErrorKind::NoSuchMethod, "no-such-method"),
    (ErrorKind::Cancelled, "cancelled"),
    (ErrorKind::ShuttingDown, "shutting-down"),
    (ErrorKind::Internal, "internal"),
];

impl From<String> for ErrorKind {
    fn from(text: String) -> Self {
        match KINDS.iter().find(|(_, it)| *it == text) {
            Some((kind, _)) => kind.clone(),
            None => Self::Other(text),
        }
    }
}

impl From<ErrorKind> for String {
    fn from(kind: ErrorKind) -> Self {
        kind.to_string()
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Other(text) => text,
            known => KINDS
                .iter()
                .find(|(kind, _)| kind == known)
                .map(|(_, text)| *text)
                .expect("every kind but `Other` is in the table"),
        };
        f.pad(text)
    }
}
