//! What is wrong with a text that is not an endpoint, where, and what to write instead.

use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv6Addr},
    ops::Range,
};

use thiserror::Error;

use crate::{
    endpoint::Endpoint,
    parse::{HOST_NAME, IPV4, IPV6, PROTOCOLS},
    tcp::DnsName,
    unix::{ABSTRACT_NAME_BYTES_MAX, UnixPath},
};

/// A text that is not an endpoint: what is wrong, and where.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub struct ParseEndpointError {
    text: String,
    span: Range<usize>,
    kind: ParseEndpointErrorKind,
}

impl ParseEndpointError {
    pub(crate) fn new(text: &str, span: Range<usize>, kind: ParseEndpointErrorKind) -> Self {
        Self { text: text.to_owned(), span, kind }
    }

    pub(crate) fn of_whole(text: &str, kind: ParseEndpointErrorKind) -> Self {
        Self::new(text, 0..text.len(), kind)
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

    /// Returns what to write instead, where that can be guessed. It is one line.
    pub fn help(&self) -> Option<String> {
        // It is made of what was written, which may hold anything.
        self.guess().map(|it| on_one_line(it.chars()))
    }

    fn guess(&self) -> Option<String> {
        use ParseEndpointErrorKind as Kind;

        match &self.kind {
            Kind::Empty => Some(EXAMPLES.to_owned()),
            Kind::NoLeadingSlash => Some(match foreign_spelling(&self.text) {
                Some(endpoint) => format!("did you mean `{endpoint}`?"),
                None => EXAMPLES.to_owned(),
            }),
            Kind::UnknownProtocol { name } => Some(match suggestion(name) {
                Some(better) => format!("did you mean `/{better}/…`, as in `{}`?", {
                    let mut text = self.text.clone();
                    text.replace_range(self.span.clone(), better);
                    text
                }),
                None if self.span.start == 1 && looks_like_path(name, &self.text) => {
                    format!("a Unix socket is written `/unix{}`", self.text)
                }
                None => SUPPORTED.to_owned(),
            }),
            Kind::Unsupported { .. } => Some(SUPPORTED.to_owned()),
            Kind::InvalidValue { value, expected } => {
                host_component(value, expected).map(|it| format!("did you mean `{it}`?"))
            }
            Kind::MissingPort => {
                let mut text = self.text.clone();
                text.insert_str(self.span.start, "/tcp/5555");
                Some(format!("add a port: `{text}`"))
            }
            Kind::MissingHost { protocol: "tcp" } => {
                Some(format!("put a host before it: `/ip4/127.0.0.1{}`", self.text))
            }
            Kind::MissingHost { .. } => {
                Some("`/tls` stands last: `/ip4/127.0.0.1/tcp/5555/tls`".to_owned())
            }
            Kind::RelativePath { path } => {
                Some(format!("write the path from the root: `/unix/{path}` means `/{path}`"))
            }
            Kind::NotPlain { path } if path.split('/').any(|part| part == "..") => {
                Some("write the path without `..`".to_owned())
            }
            Kind::NotPlain { path } => {
                let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
                let plain: String = parts.flat_map(|part| ["/", part]).collect();
                Some(format!("did you mean `/unix{plain}`?"))
            }
            Kind::PathTooLong { .. } => Some("put the socket into a nearer folder".to_owned()),
            Kind::FileNameTooLong { .. } => Some("give the socket a shorter name".to_owned()),
            Kind::TrailingSlash => Some("leave out this `/`".to_owned()),
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

/// A foreign text, fit for one line of a message: quoted, without control characters, not long.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Longer than any endpoint that is not a path of unusual length.
        const CHARACTERS_MAX: usize = 160;

        f.write_char('`')?;
        f.write_str(&on_one_line(self.0.chars().take(CHARACTERS_MAX)))?;
        f.write_str(if self.0.chars().nth(CHARACTERS_MAX).is_some() { "…`" } else { "`" })
    }
}

/// Returns characters with escapes in the place of those that control a terminal.
fn on_one_line(characters: impl Iterator<Item = char>) -> String {
    let mut line = String::new();
    for character in characters {
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    line
}

/// Returns the protocol that somebody who wrote `name` may have meant.
fn suggestion(name: &str) -> Option<&'static str> {
    // Nothing longer is one slip away from a protocol, and the search takes the square of it.
    if name.len() > 16 {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    match &*lower {
        "uds" | "sock" | "socket" | "ipc" | "file" | "pipe" | "unix-abstract" => {
            return Some("unix");
        }
        "ip" | "ipv4" | "inet" | "host" => return Some("ip4"),
        "ipv6" | "inet6" => return Some("ip6"),
        "hostname" | "name" => return Some("dns"),
        "mem" => return Some("memory"),
        "port" => return Some("tcp"),
        _ => {}
    }
    // Swapped letters count as one slip, so that `tpc` finds `tcp`.
    PROTOCOLS
        .iter()
        .map(|(protocol, _)| (strsim::damerau_levenshtein(&lower, protocol), *protocol))
        .filter(|(slips, _)| *slips <= 1)
        .min()
        .map(|(_, protocol)| protocol)
}

/// Tells whether `/name/…` is more likely a path of a socket than a multiaddr.
fn looks_like_path(name: &str, text: &str) -> bool {
    matches!(name, "dev" | "home" | "mnt" | "opt" | "run" | "srv" | "tmp" | "usr" | "var")
        || text.ends_with(".sock")
        || text.ends_with(".socket")
}

/// Reads other ways to write an endpoint, to say how it is written here.
fn foreign_spelling(text: &str) -> Option<Endpoint> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return format!("/unix/{}", path.trim_start_matches('/')).parse().ok();
    }
    if scheme.is_none() && text.starts_with('@') {
        return format!("/unix/{text}").parse().ok();
    }
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    Endpoint::from_host_port(host, port.parse().ok()?).ok()
}

/// Writes the host that `value` names with its right protocol.
fn host_component(value: &str, expected: &str) -> Option<String> {
    if ![IPV4, IPV6, HOST_NAME].contains(&expected) {
        return None;
    }
    if let Some((ip, zone)) = value.split_once('%')
        && ip.parse::<Ipv6Addr>().is_ok()
    {
        return Some(format!("/ip6zone/{zone}/ip6/{ip}"));
    }
    match value.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => Some(format!("/ip4/{ip}")),
        Ok(IpAddr::V6(ip)) => Some(format!("/ip6/{ip}")),
        Err(_) => DnsName::new(value).map(|name| format!("/dns/{name}")),
    }
}

const EXAMPLES: &str = "an endpoint is a multiaddr, such as `/ip4/127.0.0.1/tcp/5555` \
    or `/unix/run/feed.sock`";

const SUPPORTED: &str = "supported are `/unix/<path>`, `/unix/@<name>`, \
    `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`, `/ip6zone/<interface>/ip6/<address>/tcp/<port>`, \
    each `/tcp/<port>` with or without `/tls`, and `/memory/<number>`";
