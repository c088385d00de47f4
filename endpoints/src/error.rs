//! The errors of parsing an endpoint: the fault, its place, and the remedy.

use std::{
    fmt::{self, Write},
    ops::Range,
};

use thiserror::Error;

use crate::{
    limits::{ABSTRACT_NAME_BYTES_MAX, FILE_NAME_BYTES_MAX, PATH_BYTES_MAX, SUN_PATH_BYTES_MAX},
    plain::{is_plain, write_plain},
};

/// A string that is not an endpoint: the fault and its place.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::Endpoint;
///
/// let error = "/uds/run/feed.sock".parse::<Endpoint>().unwrap_err();
/// assert_eq!(&error.text()[error.span()], "uds");
/// assert_eq!(error.help().as_deref(), Some("a Unix socket is written `/unix/run/feed.sock`"));
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub struct ParseEndpointError {
    text: String,
    span: Range<usize>,
    kind: ParseEndpointErrorKind,
    /// The port beside the string in a pair.
    pub(crate) port: Option<u16>,
}

impl ParseEndpointError {
    pub(crate) fn new(text: &str, span: Range<usize>, kind: ParseEndpointErrorKind) -> Self {
        Self { text: text.to_owned(), span, kind, port: None }
    }

    pub(crate) fn of_whole(text: &str, kind: ParseEndpointErrorKind) -> Self {
        Self::new(text, 0..text.len(), kind)
    }

    pub(crate) fn of_pair(host: &str, port: u16, kind: ParseEndpointErrorKind) -> Self {
        Self { port: Some(port), ..Self::of_whole(host, kind) }
    }

    /// Returns the text that was read; it is empty if bytes were.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let error = "/ip4/10.0.0.7/udp/1".parse::<Endpoint>().unwrap_err();
    /// assert_eq!(error.text(), "/ip4/10.0.0.7/udp/1");
    /// ```
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the bytes of [`text`](Self::text) that are at fault. It may be empty, where
    /// something is missing.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let error = "/ip4/10.0.0.7/udp/1".parse::<Endpoint>().unwrap_err();
    /// assert_eq!(&error.text()[error.span()], "udp");
    /// ```
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Returns the fault.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::{Endpoint, ParseEndpointErrorKind};
    ///
    /// let error = "/ip4/10.0.0.7".parse::<Endpoint>().unwrap_err();
    /// assert!(matches!(error.kind(), ParseEndpointErrorKind::MissingPort));
    /// ```
    pub fn kind(&self) -> &ParseEndpointErrorKind {
        &self.kind
    }
}

impl fmt::Display for ParseEndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ParseEndpointErrorKind as Kind;

        let kind = &self.kind;
        match kind {
            _ if self.text.is_empty() => write!(f, "{kind}"),
            Kind::NoLeadingSlash => write!(f, "{kind} of {}", Quoted(&self.text)),
            // These quote the faulty text.
            Kind::InvalidValue { .. }
            | Kind::InvalidHostName { .. }
            | Kind::ProtocolAsHost { .. }
            | Kind::RelativePath { .. }
            | Kind::Blank { .. }
                if self.span == (0..self.text.len()) =>
            {
                write!(f, "{kind}")
            }
            _ => write!(f, "{kind} in {}", Quoted(&self.text)),
        }
    }
}

/// The fault of a string that is not an endpoint.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Endpoint, ParseEndpointErrorKind};
///
/// let error = "".parse::<Endpoint>().unwrap_err();
/// assert!(matches!(error.kind(), ParseEndpointErrorKind::Empty));
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum ParseEndpointErrorKind {
    #[error("an endpoint cannot be empty")]
    Empty,
    #[error("no `/` at the beginning")]
    NoLeadingSlash,
    #[error("a `/` with nothing after it")]
    TrailingSlash,
    #[error("unknown protocol {}", Quoted(name))]
    UnknownProtocol { name: String },
    #[error("unsupported protocol `{name}`")]
    Unsupported { name: String },
    #[error("no value after `/{protocol}`")]
    MissingValue { protocol: &'static str },
    #[error("{} is not {expected}", Quoted(value))]
    InvalidValue { value: String, expected: &'static str },
    #[error("{} is not {expected}", Quoted(name))]
    InvalidHostName { name: String, expected: &'static str, rule: &'static str },
    #[error("{} is a protocol, not a host", Quoted(name))]
    ProtocolAsHost { name: String },
    #[error("a blank at the start or end of {}", Quoted(part))]
    Blank { part: String },
    #[error("more than one endpoint")]
    Several,
    #[error("no `/tcp/<port>` after the host")]
    MissingPort,
    #[error("no host before `/{protocol}`")]
    MissingHost { protocol: &'static str },
    #[error("something after the end of the endpoint: {}", Quoted(component))]
    Trailing { component: String },
    #[error("a relative path {}", Quoted(path))]
    RelativePath { path: String },
    #[error("a path with an empty part, `.` or `..`")]
    NotPlain { path: String },
    #[error("a NUL")]
    Nul,
    #[error("bytes that are not UTF-8")]
    NotUtf8,
    #[error("a path of {bytes} bytes, where Linux takes {PATH_BYTES_MAX}")]
    PathTooLong { bytes: usize },
    #[error(
        "a file name of {bytes} bytes at the end of a path of over {SUN_PATH_BYTES_MAX}, \
         where {FILE_NAME_BYTES_MAX} can be reached"
    )]
    FileNameTooLong { bytes: usize },
    #[error("an abstract name of {bytes} bytes, where Linux takes 1 to {ABSTRACT_NAME_BYTES_MAX}")]
    AbstractNameLength { bytes: usize },
    #[error("no `/ip6/<address>` after `/ip6zone/<interface>`")]
    ZoneWithoutIp6,
    #[error("bytes that are not a multiaddr ({0})")]
    NotBinary(String),
}

/// A foreign text, fit for one line of a message: quoted, [plain](crate::Plain), not long.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Longer than any endpoint that is not a path of unusual length.
        const CHARACTERS_MAX: usize = 160;

        f.write_char('`')?;
        write_plain(f, self.0.chars().take(CHARACTERS_MAX), is_plain)?;
        f.write_str(if self.0.chars().nth(CHARACTERS_MAX).is_some() { "…`" } else { "`" })
    }
}
