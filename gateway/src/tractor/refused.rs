//! Refusals, as the peer sees them.

use wire::{ErrorKind, RemoteError};

use super::Uid;

/// A refusal, as the peer sees it: the type of an exception, and its message.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) kind: &'static str,
    pub(super) message: String,
    /// The canceller of the call, if that is the reason.
    pub(super) canceller: Option<Uid>,
}

impl Refused {
    pub(super) fn new(kind: &'static str, message: impl ToString) -> Self {
        Self { kind, message: message.to_string(), canceller: None }
    }

    /// The data is not a message.
    pub(super) fn unreadable(error: &dyn std::error::Error) -> Self {
        Self::new("MsgTypeError", format!("the message cannot be read: {error}"))
    }

    /// The message is out of place.
    pub(super) fn unexpected(msg_type: &str) -> Self {
        let shown: String = msg_type.chars().take(64).collect();
        Self::new("MsgTypeError", format!("a registrar takes no {shown:?} after the handshake"))
    }
}

impl From<RemoteError> for Refused {
    fn from(error: RemoteError) -> Self {
        let kind = match error.kind {
            ErrorKind::NotFound => "KeyError",
            ErrorKind::Denied => "PermissionError",
            ErrorKind::Invalid => "ValueError",
            _ => "RuntimeError",
        };
        Self::new(kind, error.message)
    }
}
