//! Errors that cross a connection.

use std::{error::Error as StdError, fmt, iter};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, SeqAccess, Visitor},
};
use thiserror::Error;

use crate::{WireError, decode_body, encode_body};

/// An error reported by the other side.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::{ErrorKind, RemoteError};
///
/// let error = RemoteError::new(ErrorKind::Denied, "registered by user 7");
/// assert_eq!(error.kind, ErrorKind::Denied);
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq, Deserialize, Serialize)]
#[error("{message}")]
pub struct RemoteError {
    /// The kind of failure, for programs.
    pub kind: ErrorKind,
    /// The message, for people.
    pub message: String,
    /// Further details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<ErrorDetails>>,
}

/// The details of a [`RemoteError`]. All of them are optional.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::{ErrorKind, RemoteError};
///
/// let error = RemoteError::new(ErrorKind::Failed, "no quote").with_actor("/base/feed");
/// let details = error.details.expect("an actor was told");
/// assert_eq!(details.actor.as_deref(), Some("/base/feed"));
/// assert!(details.causes.is_empty());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct ErrorDetails {
    /// The causes, nearest first; at most [`CAUSES_MAX`], further ones are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded")]
    pub causes: Vec<String>,
    /// The path of the actor that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The backtrace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backtrace: Option<String>,
    /// The error itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<ErrorPayload>,
}

/// A value of the other side's own error type, for callers that know the type.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::{ErrorKind, RemoteError};
///
/// let error = RemoteError::new(ErrorKind::Failed, "no quote");
/// let error = error.with_payload("market::NoQuote", "EURUSD");
/// let payload = error.details.and_then(|it| it.payload);
/// assert_eq!(payload.expect("it is short").type_name, "market::NoQuote");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ErrorPayload {
    /// The name of the type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The value, a MessagePack document.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl RemoteError {
    /// Makes an error. A text beyond [`MESSAGE_BYTES_MAX`] is cut off.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{ErrorKind, RemoteError};
    ///
    /// let error = RemoteError::new(ErrorKind::Failed, "no quote");
    /// assert_eq!(error.message, "no quote");
    /// ```
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: cut(message.into(), MESSAGE_BYTES_MAX), details: None }
    }

    /// Makes an error of one of this side, with its causes.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{ErrorKind, RemoteError};
    ///
    /// let cause = "7x".parse::<u16>().expect_err("it is no number");
    /// let error = RemoteError::of(ErrorKind::Invalid, &cause);
    /// assert_eq!(error.message, "invalid digit found in string");
    /// ```
    pub fn of(kind: ErrorKind, error: &dyn StdError) -> Self {
        let causes = iter::successors(error.source(), |&it| it.source());
        Self::new(kind, error.to_string()).with_causes(causes.map(ToString::to_string))
    }

    /// Adds the causes, nearest first.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{ErrorKind, RemoteError};
    ///
    /// let error = RemoteError::new(ErrorKind::Failed, "no quote")
    ///     .with_causes(["cannot read the file", "no such file"]);
    /// let details = error.details.expect("causes were told");
    /// assert_eq!(details.causes[0], "cannot read the file");
    /// ```
    #[must_use]
    pub fn with_causes<T: Into<String>>(mut self, causes: impl IntoIterator<Item = T>) -> Self {
        let causes = causes.into_iter().take(CAUSES_MAX);
        let causes: Vec<_> = causes.map(|it| cut(it.into(), MESSAGE_BYTES_MAX)).collect();
        if !causes.is_empty() {
            self.details_mut().causes = causes;
        }
        self
    }

    /// Tells where in the tree of actors it happened.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{ErrorKind, RemoteError};
    ///
    /// let error = RemoteError::new(ErrorKind::Failed, "no quote").with_actor("/base/feed");
    /// assert_eq!(error.details.and_then(|it| it.actor).as_deref(), Some("/base/feed"));
    /// ```
    #[must_use]
    pub fn with_actor(mut self, actor: impl Into<String>) -> Self {
        self.details_mut().actor = Some(cut(actor.into(), MESSAGE_BYTES_MAX));
        self
    }

    /// Tells where in the code it happened.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// # use std::backtrace::Backtrace;
    /// use callsign::{ErrorKind, RemoteError};
    ///
    /// let here = Backtrace::force_capture().to_string();
    /// let error = RemoteError::new(ErrorKind::Internal, "out of bounds").with_backtrace(here);
    /// assert!(error.details.is_some_and(|it| it.backtrace.is_some()));
    /// ```
    #[must_use]
    pub fn with_backtrace(mut self, backtrace: impl Into<String>) -> Self {
        self.details_mut().backtrace = Some(cut(backtrace.into(), BACKTRACE_BYTES_MAX));
        self
    }

    /// Adds the error value itself, for callers that know its type. A value of more than
    /// [`PAYLOAD_BYTES_MAX`] is left out; the messages remain.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{ErrorKind, RemoteError};
    ///
    /// // A value of the application's error type, under a name that both sides know.
    /// let error = RemoteError::new(ErrorKind::Failed, "no quote for EURUSD");
    /// let error = error.with_payload("market::NoQuote", "EURUSD");
    /// assert_eq!(error.payload::<String>("market::NoQuote")?.as_deref(), Some("EURUSD"));
    /// # Ok::<(), callsign::WireError>(())
    /// ```
    #[must_use]
    pub fn with_payload<T: Serialize + ?Sized>(mut self, type_name: &str, error: &T) -> Self {
        let body = encode_body(error);
        if body.len() <= PAYLOAD_BYTES_MAX {
            let type_name = type_name.to_owned();
            self.details_mut().payload = Some(ErrorPayload { type_name, body });
        }
        self
    }

    /// Returns the error value, if there is one of that type.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{ErrorKind, RemoteError};
    ///
    /// let error = RemoteError::new(ErrorKind::Failed, "no quote");
    /// let error = error.with_payload("market::NoQuote", "EURUSD");
    /// assert_eq!(error.payload::<String>("market::Closed")?, None, "it is of another type");
    /// assert!(error.payload::<u32>("market::NoQuote").is_err(), "it is no number");
    /// # Ok::<(), callsign::WireError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] if it cannot be read.
    pub fn payload<T: DeserializeOwned>(&self, type_name: &str) -> Result<Option<T>, WireError> {
        let payload = self.details.as_ref().and_then(|it| it.payload.as_ref());
        match payload.filter(|it| it.type_name == type_name) {
            Some(payload) => decode_body(&payload.body).map(Some),
            None => Ok(None),
        }
    }

    fn details_mut(&mut self) -> &mut ErrorDetails {
        self.details.get_or_insert_default()
    }
}

/// The most causes of an error: far more than a person reads.
pub const CAUSES_MAX: usize = 32;

/// The longest message or cause that is sent: room for a page of text.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// The longest backtrace that is sent: room for some hundred frames.
pub const BACKTRACE_BYTES_MAX: usize = 64 * 1024;

/// The longest error value that is sent, so that an error never fills a frame.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

fn cut(mut text: String, bytes_max: usize) -> String {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Reads the first causes, and skips the rest.
fn bounded<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct First;

    impl<'a> Visitor<'a> for First {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts")
        }

        fn visit_unit<E>(self) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut causes = Vec::new();
            while causes.len() < CAUSES_MAX {
                match list.next_element()? {
                    Some(cause) => causes.push(cause),
                    None => return Ok(causes),
                }
            }
            while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(causes)
        }
    }

    deserializer.deserialize_any(First)
}

/// The kind of failure of a [`RemoteError`]. A kind that a later version adds arrives as
/// [`Other`](Self::Other).
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::ErrorKind;
///
/// assert_eq!(ErrorKind::NotFound.to_string(), "not-found");
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub enum ErrorKind {
    /// The requested instance does not exist.
    NotFound,
    /// The call's arguments cannot be read, or contradict each other.
    Invalid,
    /// The caller may not do this.
    Denied,
    /// A bound was reached.
    LimitReached,
    /// The owner would use more than its quota; [`QuotaExceeded`](crate::QuotaExceeded) says which.
    QuotaExceeded,
    /// There is no such method here.
    NoSuchMethod,
    /// The call was cancelled.
    Cancelled,
    /// The other side is going away.
    ShuttingDown,
    /// The other side failed.
    Internal,
    /// The call took longer than its caller allowed.
    TimedOut,
    /// The called function returned its own error.
    Failed,
    /// The called function is another one there.
    Mismatch,
    /// The registrar has just started, and the former holder may still return; ask again when it
    /// has settled.
    Unsettled,
    /// Whoever decides cannot be asked now: the registrar is cut off from its cluster.
    Undecided,
    /// A kind that this version does not know.
    Other(String),
}

const KINDS: [(ErrorKind, &str); 14] = [
    (ErrorKind::NotFound, "not-found"),
    (ErrorKind::Invalid, "invalid"),
    (ErrorKind::Denied, "denied"),
    (ErrorKind::LimitReached, "limit-reached"),
    (ErrorKind::QuotaExceeded, "quota-exceeded"),
    (ErrorKind::NoSuchMethod, "no-such-method"),
    (ErrorKind::Cancelled, "cancelled"),
    (ErrorKind::ShuttingDown, "shutting-down"),
    (ErrorKind::Internal, "internal"),
    (ErrorKind::TimedOut, "timed-out"),
    (ErrorKind::Failed, "failed"),
    (ErrorKind::Mismatch, "mismatch"),
    (ErrorKind::Unsettled, "unsettled"),
    (ErrorKind::Undecided, "undecided"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_details_of_an_error_are_bounded() {
        let error = RemoteError::new(ErrorKind::Internal, "ä".repeat(MESSAGE_BYTES_MAX))
            .with_causes(iter::repeat_n("cause", 100))
            .with_payload("Huge", &vec![0_u64; PAYLOAD_BYTES_MAX]);
        assert_eq!(error.message.len(), MESSAGE_BYTES_MAX);
        let details = error.details.unwrap();
        assert_eq!((details.causes.len(), &details.payload), (CAUSES_MAX, &None));

        let causes = vec!["cause".to_owned(); 100_000];
        let sent = ErrorDetails { causes, actor: Some("root".to_owned()), ..*details };
        let read: ErrorDetails = decode_body(&encode_body(&sent)).unwrap();
        assert_eq!((read.causes.len(), read.actor), (CAUSES_MAX, sent.actor));
    }

    #[test]
    fn an_error_is_known_by_its_type_alone() {
        let error = RemoteError::new(ErrorKind::Internal, "no").with_payload("Mine", &7_u8);
        assert_eq!(error.payload("Mine"), Ok(Some(7_u8)));
        assert_eq!(error.payload::<u8>("Theirs"), Ok(None));
        assert!(error.payload::<String>("Mine").is_err());
    }
}
