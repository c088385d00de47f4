//! From text and bytes to an [`Endpoint`].
//!
//! The `multiaddr` crate reads the network parts, one component at a time, so that an error can
//! name its component. Unix sockets are read by their own codec, which takes the whole rest.

use std::{borrow::Cow, iter, net::IpAddr, ops::Range, str::FromStr};

use multiaddr::{Error as MultiaddrError, Protocol};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    endpoint::{Endpoint, memory},
    error::{ParseEndpointError, ParseEndpointErrorKind as Kind},
    plain::is_plain,
    tcp::{DnsFamily, DnsName, Host, TcpAddress},
    unix::UnixAddress,
};

impl Endpoint {
    /// Makes the endpoint of a `[host, port]` pair: an IP address or a host name, and a port.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let endpoint = Endpoint::from_host_port("feed.example.org", 80)?;
    /// assert_eq!(endpoint.to_string(), "/dns/feed.example.org/tcp/80");
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ParseEndpointError`] when `host` is neither.
    pub fn from_host_port(host: &str, port: u16) -> Result<Self, ParseEndpointError> {
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => Host::Ip4(ip),
            Ok(IpAddr::V6(ip)) => Host::Ip6(ip),
            Err(_) => Host::Dns(host_name(host, port)?, DnsFamily::Any),
        };
        Ok(Self::Tcp(TcpAddress { host, port, tls: false }))
    }

    /// Returns the binary multiaddr. A Unix path keeps its leading slash, as go-multiaddr has
    /// it; py-multiaddr drops it. So compare endpoints, never their bytes.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let endpoint: Endpoint = "/ip4/10.0.0.7/tcp/80".parse()?;
    /// assert_eq!(endpoint.to_bytes(), [4, 10, 0, 0, 7, 6, 0, 80]);
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Unix(unix) => unix_to_bytes(unix),
            Self::Tcp(tcp) => tcp.to_multiaddr().to_vec(),
            Self::Memory(number) => memory(*number).to_vec(),
        }
    }

    /// Reads a binary multiaddr. A Unix path may come with its leading slash or without.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let endpoint: Endpoint = "/ip4/10.0.0.7/tcp/80".parse()?;
    /// assert_eq!(Endpoint::from_bytes(&endpoint.to_bytes())?, endpoint);
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ParseEndpointError`] when the bytes are no multiaddr, or not one of an endpoint.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseEndpointError> {
        endpoint_of_bytes(bytes)
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        endpoint(text)
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = ParseEndpointError;

    fn try_from(text: &str) -> Result<Self, ParseEndpointError> {
        text.parse()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = ParseEndpointError;

    fn try_from(text: String) -> Result<Self, ParseEndpointError> {
        text.parse()
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Reads the text of an endpoint.
fn endpoint(text: &str) -> Result<Endpoint, ParseEndpointError> {
    if let Some(endpoint) = usual(text) {
        return Ok(endpoint);
    }
    let read = || {
        if text.is_empty() {
            return Err((0..0, Kind::Empty));
        }
        if !text.starts_with('/') {
            return Err((0..text.len(), Kind::NoLeadingSlash));
        }
        if let Some(second) = second_endpoint(text) {
            return Err((second, Kind::Several));
        }
        if let Some(fault) = blank_edge(text) {
            return Err(fault);
        }
        match text.strip_prefix(UNIX) {
            Some("") | None => assemble(TextComponents { text, at: 0 }, text.len()),
            Some(value) => UnixAddress::read(value)
                .map(Endpoint::Unix)
                .map_err(|kind| (UNIX.len()..text.len(), kind)),
        }
    };
    read().map_err(|(span, kind)| ParseEndpointError::new(text, span, kind))
}

/// Reads what nearly all endpoints are, a socket at a path without escapes or a port of an IPv4
/// address, in a tenth of the time.
fn usual(text: &str) -> Option<Endpoint> {
    if let Some(path) = text.strip_prefix("/unix")
        && path.starts_with('/')
    {
        return UnixAddress::read_plain(path).map(Endpoint::Unix);
    }
    let (ip, port) = text.strip_prefix("/ip4/")?.split_once('/')?;
    let port = port.strip_prefix("tcp/")?;
    let is_number = port.bytes().all(|it| it.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_number)?;
    let host = Host::Ip4(ip.parse().ok()?);
    Some(Endpoint::Tcp(TcpAddress { host, port, tls: false }))
}

/// Finds a part with a blank at an edge: nobody sees one there, and hardly anybody means it. An
/// intended one is escaped.
fn blank_edge(text: &str) -> Option<Fault> {
    let mut at = 0;
    for part in text.split('/') {
        let value = part.strip_prefix('@').unwrap_or(part);
        if value.starts_with(is_blank) || value.ends_with(is_blank) {
            return Some((at..at + part.len(), Kind::Blank { part: part.to_owned() }));
        }
        at += part.len() + 1;
    }
    None
}

/// Tells whether a character is invisible.
pub(crate) fn is_blank(character: char) -> bool {
    let is_invisible = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    character.is_whitespace() || is_invisible
}

/// Finds the beginning of a second endpoint in a list that was written as one text. A path that
/// looks like this is written with its slashes escaped.
fn second_endpoint(text: &str) -> Option<Range<usize>> {
    let begins = |it: &str| is_protocol(it) && !matches!(it, "tcp" | "tls");
    let separators =
        text.match_indices([',', ';', '|']).chain(text.match_indices(char::is_whitespace));
    separators
        .filter_map(|(at, separator)| {
            let after = text[at + separator.len()..].trim_start();
            let start = text.len() - after.len();
            let (protocol, _) = after.strip_prefix('/')?.split_once('/')?;
            begins(protocol)
                .then(|| start..start + after.find([',', ';', '|']).unwrap_or(after.len()))
        })
        .min_by_key(|it| it.start)
}

/// Tells whether an endpoint may begin with this protocol.
pub(crate) fn is_protocol(text: &str) -> bool {
    PROTOCOLS.iter().any(|(it, _)| text.eq_ignore_ascii_case(it))
}

/// Reads a binary multiaddr.
fn endpoint_of_bytes(bytes: &[u8]) -> Result<Endpoint, ParseEndpointError> {
    let read = || {
        let Some(rest) = bytes.strip_prefix(&UNIX_CODE) else {
            return assemble(binary_components(bytes), 0).map_err(|(_, kind)| kind);
        };
        let (length, value) = match *rest {
            [low, ref value @ ..] if low < 0x80 => (usize::from(low), value),
            [low, high, ref value @ ..] if high < 0x80 => {
                (usize::from(low & 0x7f) | usize::from(high) << 7, value)
            }
            _ => return Err(Kind::NotBinary("no path length".to_owned())),
        };
        if value.len() != length {
            let why = format!("{} bytes where {length} were announced", value.len());
            return Err(Kind::NotBinary(why));
        }
        UnixAddress::read_bytes(value).map(Endpoint::Unix)
    };
    read().map_err(|kind| ParseEndpointError::new("", 0..0, kind))
}

/// Writes a Unix address as a binary multiaddr.
fn unix_to_bytes(unix: &UnixAddress) -> Vec<u8> {
    let value = unix.to_value();
    let mut bytes = UNIX_CODE.to_vec();
    // Seven bits a byte, the low ones first. No path is longer than two bytes can say.
    let length = value.len();
    if length < 0x80 {
        bytes.push(length as u8);
    } else {
        bytes.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// Reads the host name of a `[host, port]` pair.
fn host_name(text: &str, port: u16) -> Result<DnsName, ParseEndpointError> {
    // A host may be called `dns`, and hardly any of the others.
    let is_protocol = text.eq_ignore_ascii_case("udp") || is_protocol(text);
    let kind = match DnsName::new(text) {
        Ok(name) if !is_protocol || name.as_str() == "dns" => return Ok(name),
        Ok(_) => Kind::ProtocolAsHost { name: text.to_owned() },
        Err(rule) if is_like_a_name(text) => {
            Kind::InvalidHostName { name: text.to_owned(), expected: IP_OR_HOST_NAME, rule }
        }
        Err(_) => Kind::InvalidValue { value: text.to_owned(), expected: IP_OR_HOST_NAME },
    };
    Err(ParseEndpointError::of_pair(text, port, kind))
}

/// Tells whether a text consists of characters of host names, so that a rule of host names explains
/// its fault best.
fn is_like_a_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| it.is_alphanumeric() || ".-_".contains(it))
}

/// The faulty bytes of the text, and the fault.
type Fault = (Range<usize>, Kind);

/// A component of a multiaddr.
struct Component<'a> {
    protocol: Protocol<'a>,
    /// The place of the component, including its slash.
    span: Range<usize>,
    /// The place of its value.
    value: Range<usize>,
}

/// Checks that the components together make an endpoint. The text ends at `end`.
fn assemble<'a>(
    mut components: impl Iterator<Item = Result<Component<'a>, Fault>>,
    end: usize,
) -> Result<Endpoint, Fault> {
    let mut next = || components.next().transpose();

    let first = next()?.ok_or((end..end, Kind::Empty))?;
    let host = match first.protocol {
        Protocol::Memory(number) => {
            return next()?.map_or(Ok(Endpoint::Memory(number)), |it| Err(trailing(&it)));
        }
        Protocol::Ip4(ip) => Host::Ip4(ip),
        Protocol::Ip6(ip) => Host::Ip6(ip),
        Protocol::Dns(name) => dns(&name, DnsFamily::Any, first.value)?,
        Protocol::Dns4(name) => dns(&name, DnsFamily::V4, first.value)?,
        Protocol::Dns6(name) => dns(&name, DnsFamily::V6, first.value)?,
        Protocol::Ip6zone(zone) => {
            let zone = interface(&zone, first.value)?;
            match next()? {
                Some(Component { protocol: Protocol::Ip6(ip), .. }) => Host::Ip6Zone { zone, ip },
                _ => return Err((first.span, Kind::ZoneWithoutIp6)),
            }
        }
        Protocol::Tcp(_) => return Err((first.span, Kind::MissingHost { protocol: "tcp" })),
        Protocol::Tls => return Err((first.span, Kind::MissingHost { protocol: "tls" })),
        other => return Err((first.span, Kind::Unsupported { name: other.tag().to_owned() })),
    };
    let port = match next()? {
        Some(Component { protocol: Protocol::Tcp(port), .. }) => port,
        Some(other) => return Err((other.span, Kind::MissingPort)),
        None => return Err((end..end, Kind::MissingPort)),
    };
    let (tls, after) = match next()? {
        Some(Component { protocol: Protocol::Tls, .. }) => (true, next()?),
        other => (false, other),
    };
    match after {
        None => Ok(Endpoint::Tcp(TcpAddress { host, port, tls })),
        Some(component) => Err(trailing(&component)),
    }
}

fn dns(name: &str, family: DnsFamily, span: Range<usize>) -> Result<Host, Fault> {
    match DnsName::new(name) {
        Ok(name) => Ok(Host::Dns(name, family)),
        Err(rule) => {
            Err((span, Kind::InvalidHostName { name: name.to_owned(), expected: HOST_NAME, rule }))
        }
    }
}

/// Checks the name of a network interface by the kernel's rules (`dev_valid_name`).
fn interface(name: &str, span: Range<usize>) -> Result<Box<str>, Fault> {
    if is_interface(name) {
        Ok(name.into())
    } else {
        Err((span, Kind::InvalidValue { value: name.to_owned(), expected: INTERFACE }))
    }
}

pub(crate) fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.chars().any(|it| " /:".contains(it) || !is_plain(it))
}

fn trailing(component: &Component<'_>) -> Fault {
    let text = component.protocol.to_string();
    (component.span.clone(), Kind::Trailing { component: text })
}

/// The components of a string that begins with a slash.
struct TextComponents<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for TextComponents<'a> {
    type Item = Result<Component<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let name = self.segment()?;
        Some(self.component(name).map(|(protocol, value)| Component {
            protocol,
            span: start..self.at,
            value,
        }))
    }
}

impl<'a> TextComponents<'a> {
    /// Reads the component of the protocol at `name`, with the place of its value.
    fn component(&mut self, name: Range<usize>) -> Result<(Protocol<'a>, Range<usize>), Fault> {
        let text = self.text;
        if name.is_empty() {
            return Err((name.start - 1..name.start, Kind::TrailingSlash));
        }
        let Some(&(protocol, expected)) =
            PROTOCOLS.iter().find(|(it, _)| *it == &text[name.clone()])
        else {
            let kind = unsupported(&text[name.clone()]);
            return Err((name, kind));
        };
        let Some(expected) = expected else { return Ok((Protocol::Tls, name.end..name.end)) };

        let value = self.segment().unwrap_or(name.end..name.end);
        if value.is_empty() {
            return Err((value, Kind::MissingValue { protocol }));
        }
        // Rust reads a plus sign, and no other reader of multiaddrs does.
        let is_signed = text[value.clone()].starts_with('+');
        match Protocol::from_str_parts([protocol, &text[value.clone()]].into_iter()) {
            Ok(protocol) if !is_signed => Ok((protocol, value)),
            _ => {
                let kind = Kind::InvalidValue { value: text[value.clone()].to_owned(), expected };
                Err((value, kind))
            }
        }
    }

    /// Takes the text between this slash and the next.
    fn segment(&mut self) -> Option<Range<usize>> {
        let rest = self.text[self.at..].strip_prefix('/')?;
        let start = self.at + 1;
        self.at = start + rest.find('/').unwrap_or(rest.len());
        Some(start..self.at)
    }
}

/// Distinguishes a protocol that multiaddr has, and no endpoint uses, from an unknown one.
fn unsupported(name: &str) -> Kind {
    let name = name.to_owned();
    match Protocol::from_str_parts(iter::once(&*name)) {
        Err(MultiaddrError::UnknownProtocolString(_)) => Kind::UnknownProtocol { name },
        _ => Kind::Unsupported { name },
    }
}

fn binary_components(bytes: &[u8]) -> impl Iterator<Item = Result<Component<'_>, Fault>> {
    let mut rest = bytes;
    iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let read = Protocol::from_bytes(rest);
        // After a fault nothing can be read.
        rest = read.as_ref().map_or(&[], |(_, rest)| rest);
        Some(match read {
            Ok((protocol, _)) => Ok(Component { protocol, span: 0..0, value: 0..0 }),
            Err(error) => Err((0..0, Kind::NotBinary(error.to_string()))),
        })
    })
}

pub(crate) const UNIX: &str = "/unix/";

/// The code of `/unix` in the multicodec table, 400, as a variable-length integer.
const UNIX_CODE: [u8; 2] = [0x90, 0x03];

/// The protocols of endpoints, each with what its value should be.
pub(crate) const PROTOCOLS: &[(&str, Option<&str>)] = &[
    ("unix", Some("a path or an `@` and a name")),
    ("ip4", Some(IPV4)),
    ("ip6", Some(IPV6)),
    ("ip6zone", Some(INTERFACE)),
    ("dns", Some(HOST_NAME)),
    ("dns4", Some(HOST_NAME)),
    ("dns6", Some(HOST_NAME)),
    ("tcp", Some("a port (0 to 65535)")),
    ("tls", None),
    ("memory", Some("a number (0 to 18446744073709551615)")),
];

const IPV4: &str = "an IPv4 address";
const IPV6: &str = "an IPv6 address";
const HOST_NAME: &str = "a host name";
const IP_OR_HOST_NAME: &str = "an IP address or a host name";
const INTERFACE: &str = "the name of an interface";
