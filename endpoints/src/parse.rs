//! From text and bytes to an [`Endpoint`], and what was wrong with them.
//!
//! The `multiaddr` crate reads the network parts, one component at a time, so that an error can
//! name its component. It takes a single segment for `/unix` and does not decode it, so Unix
//! sockets are read here: the greedy spelling (an absolute path, as tractor, go-multiaddr and
//! py-multiaddr write it) and the one percent-encoded segment of the specification
//! (<https://github.com/multiformats/multiaddr/blob/master/protocols/unix.md>).

use std::{iter, ops::Range};

use multiaddr::{Multiaddr, Protocol};
use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::endpoint::{DnsFamily, DnsName, Endpoint, Host, TcpAddress, UnixAddress, UnixPath};

/// A text that is not an endpoint: what is wrong, and where.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{kind} in `{text}`")]
pub struct ParseEndpointError {
    text: String,
    span: Range<usize>,
    kind: ParseEndpointErrorKind,
}

impl ParseEndpointError {
    /// Returns the text that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the bytes of [`text`](Self::text) that are at fault. It may be empty, at the end.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Returns what is wrong.
    pub fn kind(&self) -> &ParseEndpointErrorKind {
        &self.kind
    }

    /// Returns what to write instead, where that can be guessed.
    pub fn help(&self) -> Option<String> {
        use ParseEndpointErrorKind as Kind;

        match &self.kind {
            Kind::NoLeadingSlash => Some(match host_port(&self.text) {
                Some(endpoint) => format!("did you mean `{endpoint}`?"),
                None => "an endpoint is a multiaddr, such as `/ip4/127.0.0.1/tcp/5555` \
                         or `/unix/run/feed.sock`"
                    .to_owned(),
            }),
            Kind::UnknownProtocol { name } => match suggestion(name) {
                Some(better) => {
                    let mut text = self.text.clone();
                    text.replace_range(self.span.clone(), better);
                    Some(format!("did you mean `/{better}/…`, as in `{text}`?"))
                }
                None => Some(SUPPORTED.to_owned()),
            },
            Kind::Unsupported { .. } => Some(SUPPORTED.to_owned()),
            Kind::MissingPort => Some(format!("add a port: `{}/tcp/5555`", self.text)),
            Kind::MissingHost => Some(format!(
                "put a host before it: `/ip4/127.0.0.1{}`",
                self.text.trim_end_matches('/')
            )),
            Kind::RelativePath { path } => {
                Some(format!("write the path from the root: `/unix/{path}` means `/{path}`"))
            }
            Kind::NotPlain => Some("leave out empty parts, `.` and `..`".to_owned()),
            Kind::PathTooLong { .. } | Kind::FileNameTooLong { .. } => {
                Some("give the socket a shorter file name".to_owned())
            }
            Kind::TrailingSlash => Some("leave out the last `/`".to_owned()),
            _ => None,
        }
    }
}

/// What is wrong with a text that is not an endpoint.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum ParseEndpointErrorKind {
    #[error("nothing stands")]
    Empty,
    #[error("no `/` at the beginning")]
    NoLeadingSlash,
    #[error("a `/` with nothing after it")]
    TrailingSlash,
    #[error("unknown protocol `{name}`")]
    UnknownProtocol { name: String },
    #[error("unsupported protocol `{name}`")]
    Unsupported { name: String },
    #[error("no value after `/{protocol}`")]
    MissingValue { protocol: &'static str },
    #[error("`{value}` is not {expected}")]
    InvalidValue { value: String, expected: &'static str },
    #[error("no `/tcp/<port>` after the host")]
    MissingPort,
    #[error("`/tcp` without a host before it")]
    MissingHost,
    #[error("`/{component}` after the end of the endpoint")]
    Trailing { component: String },
    #[error("a relative path `{path}`")]
    RelativePath { path: String },
    #[error("a path that is not plain")]
    NotPlain,
    #[error("a NUL")]
    Nul,
    #[error("bytes that are not UTF-8")]
    NotUtf8,
    #[error("a path of {bytes} bytes, where Linux takes {}", UnixPath::BYTES_MAX)]
    PathTooLong { bytes: usize },
    #[error(
        "a path of over 107 bytes that ends in a file name of {bytes}, \
         where {} can be reached",
        UnixPath::FILE_NAME_BYTES_MAX
    )]
    FileNameTooLong { bytes: usize },
    #[error("an abstract name of {bytes} bytes, where Linux takes 1 to {ABSTRACT_NAME_BYTES_MAX}")]
    AbstractNameLength { bytes: usize },
    #[error("`/ip6zone/<interface>` without an `/ip6/<address>` after it")]
    ZoneWithoutIp6,
    #[error("bytes that are no multiaddr ({0})")]
    NotBinary(String),
}

/// The longest abstract name: `sun_path` without the NUL that marks it.
const ABSTRACT_NAME_BYTES_MAX: usize = 107;

const SUPPORTED: &str = "supported are `/unix/<path>`, `/unix/@<name>`, \
    `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`, `/ip6zone/<interface>/ip6/<address>/tcp/<port>`, \
    each `/tcp/<port>` with or without `/tls`, and `/memory/<number>`";

pub(crate) fn endpoint(text: &str) -> Result<Endpoint, ParseEndpointError> {
    let fail = |span, kind| Err(ParseEndpointError { text: text.to_owned(), span, kind });

    if text.is_empty() {
        return fail(0..0, ParseEndpointErrorKind::Empty);
    }
    if !text.starts_with('/') {
        return fail(0..text.len(), ParseEndpointErrorKind::NoLeadingSlash);
    }
    let read = match text.strip_prefix("/unix/") {
        Some(value) => unix(value).map(Endpoint::Unix).map_err(|kind| ("/unix/".len(), kind)),
        None if text == "/unix" => {
            Err((text.len(), ParseEndpointErrorKind::MissingValue { protocol: "unix" }))
        }
        None => return network(text).or_else(|(span, kind)| fail(span, kind)),
    };
    read.or_else(|(start, kind)| fail(start..text.len(), kind))
}

pub(crate) fn unix_bytes(bytes: &[u8]) -> Result<Endpoint, ParseEndpointError> {
    let read = || {
        let mut length = 0_usize;
        let mut rest = bytes;
        for shift in [0, 7, 14] {
            let (byte, after) =
                rest.split_first().ok_or(ParseEndpointErrorKind::NotBinary("it ends early".into()))?;
            rest = after;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if rest.len() != length {
            let why = format!("{} bytes where {length} were announced", rest.len());
            return Err(ParseEndpointErrorKind::NotBinary(why));
        }
        let value = str::from_utf8(rest).map_err(|_| ParseEndpointErrorKind::NotUtf8)?;
        match value.strip_prefix('@') {
            Some(name) => abstract_name(name),
            None => path(format!("/{}", value.strip_prefix('/').unwrap_or(value))),
        }
    };
    read().map(Endpoint::Unix).map_err(not_text)
}

pub(crate) fn network_bytes(bytes: &[u8]) -> Result<Endpoint, ParseEndpointError> {
    let multiaddr = Multiaddr::try_from(bytes.to_vec())
        .map_err(|error| not_text(ParseEndpointErrorKind::NotBinary(error.to_string())))?;
    endpoint(&multiaddr.to_string())
}

pub(crate) fn dns_name(name: &str) -> Result<DnsName, ParseEndpointError> {
    checked_dns_name(name).map_err(|kind| ParseEndpointError {
        text: name.to_owned(),
        span: 0..name.len(),
        kind,
    })
}

fn unix(value: &str) -> Result<UnixAddress, ParseEndpointErrorKind> {
    if value.is_empty() {
        return Err(ParseEndpointErrorKind::MissingValue { protocol: "unix" });
    }
    let decoded = percent_decode_str(value)
        .decode_utf8()
        .map_err(|_| ParseEndpointErrorKind::NotUtf8)?
        .into_owned();
    if let Some(name) = decoded.strip_prefix('@') {
        return abstract_name(name);
    }

    // One segment that holds an encoded slash is the specification's spelling, which says
    // whether the path is absolute. All else is the greedy spelling, which leaves out the slash.
    let (first, after) = value.split_once('/').map_or((value, None), |it| (it.0, Some(it.1)));
    let first = percent_decode_str(first).decode_utf8_lossy();
    if !first.contains('/') {
        return path(format!("/{decoded}"));
    }
    match after {
        Some(component) => {
            Err(ParseEndpointErrorKind::Trailing { component: component.to_owned() })
        }
        None if decoded.starts_with('/') => path(decoded),
        None => Err(ParseEndpointErrorKind::RelativePath { path: decoded }),
    }
}

fn abstract_name(name: &str) -> Result<UnixAddress, ParseEndpointErrorKind> {
    if name.is_empty() || name.len() > ABSTRACT_NAME_BYTES_MAX {
        return Err(ParseEndpointErrorKind::AbstractNameLength { bytes: name.len() });
    }
    if name.contains('\0') {
        return Err(ParseEndpointErrorKind::Nul);
    }
    Ok(UnixAddress::Abstract(name.into()))
}

fn path(path: String) -> Result<UnixAddress, ParseEndpointErrorKind> {
    if path.contains('\0') {
        return Err(ParseEndpointErrorKind::Nul);
    }
    if path.ends_with('/') {
        return Err(ParseEndpointErrorKind::TrailingSlash);
    }
    if path[1..].split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(ParseEndpointErrorKind::NotPlain);
    }
    if path.len() > UnixPath::BYTES_MAX {
        return Err(ParseEndpointErrorKind::PathTooLong { bytes: path.len() });
    }
    let file_name = path.rsplit('/').next().unwrap_or_default();
    if path.len() > SUN_PATH_BYTES_MAX && file_name.len() > UnixPath::FILE_NAME_BYTES_MAX {
        return Err(ParseEndpointErrorKind::FileNameTooLong { bytes: file_name.len() });
    }
    Ok(UnixAddress::Path(UnixPath::new_unchecked(path)))
}

/// The longest path that fits `sun_path` beside its closing NUL.
const SUN_PATH_BYTES_MAX: usize = 107;

/// Reads every component, then checks that together they make an endpoint.
fn network(text: &str) -> Result<Endpoint, (Range<usize>, ParseEndpointErrorKind)> {
    let mut components = Components { text, at: 0 };
    let end = text.len()..text.len();

    let (protocol, span) = components.next()?.ok_or((end.clone(), ParseEndpointErrorKind::Empty))?;
    let host = match protocol {
        Protocol::Memory(number) => {
            components.finish()?;
            return Ok(Endpoint::Memory(number));
        }
        Protocol::Ip4(ip) => Host::Ip4(ip),
        Protocol::Ip6(ip) => Host::Ip6(ip),
        Protocol::Dns(name) => named(&name, DnsFamily::Any, &span)?,
        Protocol::Dns4(name) => named(&name, DnsFamily::V4, &span)?,
        Protocol::Dns6(name) => named(&name, DnsFamily::V6, &span)?,
        Protocol::Ip6zone(zone) => match components.next()? {
            Some((Protocol::Ip6(ip), _)) if !zone.is_empty() => {
                Host::Ip6Zone { zone: zone.into(), ip }
            }
            _ => return Err((span, ParseEndpointErrorKind::ZoneWithoutIp6)),
        },
        Protocol::Tcp(_) | Protocol::Tls => {
            return Err((span, ParseEndpointErrorKind::MissingHost));
        }
        other => return Err((tag(&span, &other), unsupported(&other))),
    };
    let port = match components.next()? {
        Some((Protocol::Tcp(port), _)) => port,
        Some((Protocol::Tls, _)) | None => return Err((end, ParseEndpointErrorKind::MissingPort)),
        Some((other, span)) => return Err((tag(&span, &other), unsupported(&other))),
    };
    let tls = match components.next()? {
        None => false,
        Some((Protocol::Tls, _)) => true,
        Some((_, span)) => {
            let component = text[span.clone()].to_owned();
            return Err((span, ParseEndpointErrorKind::Trailing { component }));
        }
    };
    components.finish()?;
    Ok(Endpoint::Tcp(TcpAddress { host, port, tls }))
}

fn named(
    name: &str,
    family: DnsFamily,
    span: &Range<usize>,
) -> Result<Host, (Range<usize>, ParseEndpointErrorKind)> {
    match checked_dns_name(name) {
        Ok(name) => Ok(Host::Dns(name, family)),
        Err(kind) => Err((span.clone(), kind)),
    }
}

fn checked_dns_name(name: &str) -> Result<DnsName, ParseEndpointErrorKind> {
    let plain = name.strip_suffix('.').unwrap_or(name);
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
    };
    let last = plain.rsplit('.').next().unwrap_or_default();
    // A last label of digits alone is a mistyped IPv4 address, not a host name (RFC 3696, 2).
    let is_good = plain.len() <= 253
        && plain.split('.').all(label_is_good)
        && !last.bytes().all(|it| it.is_ascii_digit());
    if !is_good {
        let expected = "an IP address or a host name";
        return Err(ParseEndpointErrorKind::InvalidValue { value: name.to_owned(), expected });
    }
    Ok(DnsName::new_unchecked(name.to_ascii_lowercase()))
}

/// The components of a multiaddr, each with the bytes where it stands, without its first slash.
struct Components<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Components<'a> {
    fn next(
        &mut self,
    ) -> Result<Option<(Protocol<'a>, Range<usize>)>, (Range<usize>, ParseEndpointErrorKind)> {
        if self.at == self.text.len() {
            return Ok(None);
        }
        let name_start = self.at + 1;
        let name = self.segment().unwrap_or_default();
        if name.is_empty() {
            return Err((self.at - 1..self.at, ParseEndpointErrorKind::TrailingSlash));
        }
        let name_span = name_start..self.at;
        let value_start = (self.at + 1).min(self.text.len());

        let parts = iter::once(name).chain(iter::from_fn(|| self.segment()));
        match Protocol::from_str_parts(parts) {
            Ok(protocol) => Ok(Some((protocol, name_start..self.at))),
            Err(multiaddr::Error::UnknownProtocolString(_)) => {
                Err((name_span, ParseEndpointErrorKind::UnknownProtocol { name: name.to_owned() }))
            }
            Err(_) => {
                let Some((protocol, expected)) =
                    EXPECTED.iter().find(|(protocol, _)| *protocol == name)
                else {
                    let name = name.to_owned();
                    return Err((name_span, ParseEndpointErrorKind::Unsupported { name }));
                };
                let value = &self.text[value_start..self.at.max(value_start)];
                if value.is_empty() {
                    let end = self.text.len()..self.text.len();
                    return Err((end, ParseEndpointErrorKind::MissingValue { protocol }));
                }
                let value = value.to_owned();
                let span = value_start..self.at;
                Err((span, ParseEndpointErrorKind::InvalidValue { value, expected }))
            }
        }
    }

    /// Fails if anything is left.
    fn finish(&mut self) -> Result<(), (Range<usize>, ParseEndpointErrorKind)> {
        match &self.text[self.at..] {
            "" => Ok(()),
            "/" => Err((self.at..self.at + 1, ParseEndpointErrorKind::TrailingSlash)),
            rest => {
                let component = rest[1..].to_owned();
                let span = self.at + 1..self.text.len();
                Err((span, ParseEndpointErrorKind::Trailing { component }))
            }
        }
    }

    /// Takes the text up to the next slash.
    fn segment(&mut self) -> Option<&'a str> {
        let rest = self.text[self.at..].strip_prefix('/')?;
        let segment = rest.split('/').next()?;
        self.at += 1 + segment.len();
        Some(segment)
    }
}

/// What each protocol that takes a value wants to see.
const EXPECTED: &[(&str, &str)] = &[
    ("ip4", "an IPv4 address"),
    ("ip6", "an IPv6 address"),
    ("ip6zone", "the name of an interface"),
    ("dns", "a host name"),
    ("dns4", "a host name"),
    ("dns6", "a host name"),
    ("tcp", "a port (0 to 65535)"),
    ("memory", "a number (0 to 18446744073709551615)"),
];

fn unsupported(protocol: &Protocol<'_>) -> ParseEndpointErrorKind {
    ParseEndpointErrorKind::Unsupported { name: protocol.tag().to_owned() }
}

/// Narrows the span of a component to its protocol's name.
fn tag(span: &Range<usize>, protocol: &Protocol<'_>) -> Range<usize> {
    span.start..span.start + protocol.tag().len()
}

/// Returns the protocol that somebody who wrote `name` may have meant.
fn suggestion(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    match &*lower {
        "uds" | "sock" | "socket" | "ipc" | "file" | "pipe" | "unix-abstract" => return Some("unix"),
        "ip" | "ipv4" | "inet" | "host" => return Some("ip4"),
        "ipv6" | "inet6" => return Some("ip6"),
        "hostname" | "name" => return Some("dns"),
        "mem" => return Some("memory"),
        "port" => return Some("tcp"),
        _ => {}
    }
    let known = ["unix", "tls"].into_iter().chain(EXPECTED.iter().map(|(protocol, _)| *protocol));
    // Swapped letters count as one slip, so that `tpc` finds `tcp`.
    known
        .map(|it| (strsim::damerau_levenshtein(&lower, it), it))
        .filter(|(slips, _)| *slips == 1)
        .min()
        .map(|(_, it)| it)
}

/// Reads `host:port`, which is not an endpoint but may be what was meant by one.
fn host_port(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    Endpoint::from_host_port(host, port.parse().ok()?).ok()
}

fn not_text(kind: ParseEndpointErrorKind) -> ParseEndpointError {
    ParseEndpointError { text: "binary multiaddr".to_owned(), span: 0..0, kind }
}
