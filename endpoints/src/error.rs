//! What is wrong with a text that is not an endpoint, where, and what to write instead.

use std::{
    fmt::{self, Write},
    ops::Range,
};

use thiserror::Error;

use crate::{
    endpoint::Endpoint,
    meant::{self, EXAMPLE_PORT, Meant},
    plain::{is_plain, write_plain},
    unix::{ABSTRACT_NAME_BYTES_MAX, UnixPath},
};

/// A text that is not an endpoint: what is wrong, and where.
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
    /// The port that stood beside the text in a pair.
    port: Option<u16>,
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
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the bytes of [`text`](Self::text) that are at fault. It may be empty, where
    /// something is missing.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Returns what is wrong.
    pub fn kind(&self) -> &ParseEndpointErrorKind {
        &self.kind
    }

    /// Returns the endpoint that was probably meant, where that can be guessed.
    pub fn suggestion(&self) -> Option<Endpoint> {
        meant::endpoint(&self.text, self.port).map(|it| it.endpoint)
    }

    /// Returns what to write instead, where that can be guessed. It is one line. An endpoint in it
    /// is one that can be read.
    pub fn help(&self) -> Option<String> {
        self.help_for(EXAMPLE_PORT, Some)
    }

    /// Returns what to write instead at a place that does not take every endpoint. `fit` makes a
    /// suggestion one that is taken there, or returns `None` if none like it is. `example_port`
    /// stands where none was written.
    pub fn help_for(
        &self,
        example_port: u16,
        fit: impl FnOnce(Endpoint) -> Option<Endpoint>,
    ) -> Option<String> {
        let meant = meant::endpoint(&self.text, self.port)
            .map(|it| it.with_example_port(example_port))
            .and_then(|it| Some(Meant { endpoint: fit(it.endpoint)?, ..it }))
            // It would end the quotation that it is shown in.
            .filter(|it| !it.endpoint.to_string().contains('`'));
        match meant {
            Some(meant) => Some(self.words(&meant)),
            None => self.rule().map(str::to_owned),
        }
    }

    /// Says what to write, where that can be guessed.
    fn words(&self, meant: &Meant) -> String {
        use ParseEndpointErrorKind as Kind;

        let endpoint = &meant.endpoint;
        match &self.kind {
            _ if meant.has_example_port => format!("add a port: `{endpoint}`"),
            Kind::MissingHost { protocol: "tcp" } if self.text.starts_with("/tcp") => {
                format!("put a host before it: `{endpoint}`")
            }
            Kind::MissingHost { .. } => format!("TLS stands last: `{endpoint}`"),
            Kind::RelativePath { .. } => format!("the path begins at the root: `{endpoint}`"),
            Kind::TrailingSlash => format!("leave out this slash: `{endpoint}`"),
            Kind::UnknownProtocol { .. } if matches!(endpoint, Endpoint::Unix(_)) => {
                format!("a Unix socket is written `{endpoint}`")
            }
            Kind::Unsupported { .. } | Kind::Trailing { .. }
                if matches!(endpoint, Endpoint::Tcp(_)) =>
            {
                format!("an endpoint is a place, not what is spoken there: `{endpoint}`")
            }
            _ => format!("did you mean `{endpoint}`?"),
        }
    }

    /// Says how it is written in general.
    fn rule(&self) -> Option<&'static str> {
        use ParseEndpointErrorKind as Kind;

        match &self.kind {
            Kind::Empty => Some(EXAMPLES),
            Kind::NoLeadingSlash | Kind::RelativePath { .. }
                if meant::is_relative_path(&self.text) =>
            {
                Some("write the path of a socket from the root: `/unix/<path>`")
            }
            Kind::NoLeadingSlash => Some(EXAMPLES),
            Kind::TrailingSlash if self.text == "/" => Some(EXAMPLES),
            Kind::UnknownProtocol { .. } if self.text.split('/').any(|part| part == "..") => {
                Some("write the path without `..`, and as `/unix/<path>`")
            }
            Kind::UnknownProtocol { .. } | Kind::Unsupported { .. } => Some(SUPPORTED),
            Kind::MissingHost { protocol: "tls" } => {
                Some("TLS stands last: `/ip4/127.0.0.1/tcp/5555/tls`")
            }
            Kind::NotPlain { path } if path.split('/').any(|part| part == "..") => {
                Some("write the path without `..`")
            }
            Kind::PathTooLong { .. } => Some("put the socket into a nearer folder"),
            Kind::FileNameTooLong { .. } => Some("give the socket a shorter name"),
            _ => None,
        }
    }
}

impl fmt::Display for ParseEndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ParseEndpointErrorKind as Kind;

        let kind = &self.kind;
        match kind {
            _ if self.text.is_empty() => write!(f, "{kind}"),
            Kind::NoLeadingSlash => write!(f, "{kind} of {}", Quoted(&self.text)),
            // These quote what they are about.
            Kind::InvalidValue { .. } | Kind::RelativePath { .. }
                if self.span == (0..self.text.len()) =>
            {
                write!(f, "{kind}")
            }
            _ => write!(f, "{kind} in {}", Quoted(&self.text)),
        }
    }
}

/// What is wrong with a text that is not an endpoint.
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
    #[error("a path of {bytes} bytes, where Linux takes {}", UnixPath::BYTES_MAX)]
    PathTooLong { bytes: usize },
    #[error(
        "a file name of {bytes} bytes at the end of a path of over {}, \
         where {} can be reached",
        UnixPath::SUN_PATH_BYTES_MAX,
        UnixPath::FILE_NAME_BYTES_MAX
    )]
    FileNameTooLong { bytes: usize },
    #[error("an abstract name of {bytes} bytes, where Linux takes 1 to {ABSTRACT_NAME_BYTES_MAX}")]
    AbstractNameLength { bytes: usize },
    #[error("no `/ip6/<address>` after `/ip6zone/<interface>`")]
    ZoneWithoutIp6,
    #[error("bytes that are no multiaddr ({0})")]
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

const EXAMPLES: &str = "an endpoint is a multiaddr, such as `/ip4/127.0.0.1/tcp/5555` \
    or `/unix/run/feed.sock`";

const SUPPORTED: &str = "supported are `/unix/<path>`, `/unix/@<name>`, \
    `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`, `/ip6zone/<interface>/ip6/<address>/tcp/<port>`, \
    each with TLS as `/tcp/<port>/tls`, and `/memory/<number>`";
