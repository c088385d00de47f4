//! Why something was not done, as the peer is told.

use wire::{ErrorKind, RemoteError};

use super::Uid;

/// Why something was not done, as the peer is told: the type of an exception, and what it says.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) kind: &'static str,
    pub(super) message: String,
    /// Who cancelled the call, if that is why.
    pub(super) canceller: Option<Uid>,
}

impl Refused {
    pub(super) fn new(kind: &'static str, message: impl ToString) -> Self {
        Self { kind, message: message.to_string(), canceller: None }
    }

    /// What was sent is not a message.
    pub(super) fn unreadable(error: &dyn std::error::Error) -> Self {
        Self::new("MsgTypeError", format!("the message cannot be read: {error}"))
    }

    /// What was sent has no place there.
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
