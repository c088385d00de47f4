//! Guesses: from a string that is not an endpoint to the one that was probably meant.
//!
//! Addresses are guessed nowhere else. The result is an [`Endpoint`], not a string, so every
//! suggestion can be parsed. There is no result if several are possible: no suggestion is better
//! than a wrong one.

mod ip4;
mod scheme;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use percent_encoding::percent_decode_str;

use self::{
    ip4::short_ip4,
    scheme::{Scheme, service_port},
};
use crate::{
    endpoint::Endpoint,
    parse::{self, PROTOCOLS},
    plain::is_typographic_quote,
    slip::{is_of_windows, placeholder},
    tcp::{DnsFamily, DnsName, Host, TcpAddress},
    unix::{UnixAddress, UnixPath},
};

/// An endpoint that was possibly meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Meant {
    pub(crate) endpoint: Endpoint,
    /// Whether the port is an example, because none was written.
    pub(crate) has_example_port: bool,
}

impl Meant {
    /// Replaces the port if none was written.
    pub(crate) fn with_example_port(mut self, port: u16) -> Self {
        if let (true, Endpoint::Tcp(tcp)) = (self.has_example_port, &mut self.endpoint) {
            tcp.port = port;
        }
        self
    }
}

/// Reads several endpoints from one string. Returns nothing if one of them is not
/// understood.
pub(crate) fn several(text: &str) -> Vec<Endpoint> {
    if text.len() > TEXT_BYTES_MAX {
        return Vec::new();
    }
    let is_separator = |it: char| it.is_whitespace() || matches!(it, ',' | ';' | '|');
    let items = text.split(is_separator).map(|it| it.trim_matches(is_noise));
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for item in items.filter(|it| !it.is_empty()) {
        let read = match (endpoints.last(), port(item)) {
            // Another port of the same host.
            (Some(Endpoint::Tcp(tcp)), Some(port)) => {
                Some(Endpoint::Tcp(TcpAddress { port, ..tcp.clone() }))
            }
            (Some(_), Some(_)) => None,
            _ => item.parse().ok().or_else(|| {
                any_endpoint(item, None).filter(|it| !it.has_example_port).map(|it| it.endpoint)
            }),
        };
        match read.filter(|it| it.nowhere().is_none()) {
            Some(endpoint) => endpoints.push(endpoint),
            None => return Vec::new(),
        }
    }
    if endpoints.len() > 1 { endpoints } else { Vec::new() }
}

/// Reads a string as loosely as possible. `port` is the port beside it in a pair.
pub(crate) fn endpoint(text: &str, port: Option<u16>) -> Option<Meant> {
    let meant = any_endpoint(text, port)?;
    // A path beside a port contradicts it.
    (port.is_none() || matches!(meant.endpoint, Endpoint::Tcp(_))).then_some(meant)
}

fn any_endpoint(text: &str, port: Option<u16>) -> Option<Meant> {
    // No address is longer than a path, but untrusted text may be.
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let text = text.trim_matches(is_noise);
    // Its value is unknown here.
    if placeholder(text).is_some() || is_of_windows(text) {
        return None;
    }
    let slashed = text.replace('\\', "/");
    let text = slashed.as_str();
    let parts = Parts { port, ..Parts::default() };
    if port.is_some() && Word::of(text) == Word::Foreign {
        return None;
    }
    // As shells have it.
    if let Some(place) = text.strip_prefix("/dev/tcp/") {
        return multiaddr(place, parts);
    }
    if let Some(name) = text.strip_prefix(['@', '\0']) {
        return abstract_name(name);
    }
    if let Some((scheme, rest)) = Scheme::of(text) {
        return scheme.read(rest, port);
    }
    let (first, after) = text.split_once('/').unwrap_or((text, ""));
    let second = after.split('/').next().unwrap_or_default();
    if first.is_empty() || parse::is_protocol(first) || second.eq_ignore_ascii_case("tcp") {
        return multiaddr(text, parts);
    }
    let (host, written) = match (authority(first)?, after) {
        // Beside a port it is a host, which has other meanings elsewhere.
        _ if port.is_some() && first == "0" => (Host::Ip4(Ipv4Addr::UNSPECIFIED), None),
        // No host has such an address.
        _ if port.is_none() && port_of_any(first).is_some() => {
            (Host::Ip6(Ipv6Addr::UNSPECIFIED), port_of_any(first))
        }
        (place, "") => place,
        // A path or query is no part of the address.
        ((host, Some(written)), _) if first.contains(':') => (host, Some(written)),
        // `localhost/80`. After an IP address, this may be the length of a prefix.
        ((host @ Host::Dns(..), None), number) if !Word::of(first).is_known() => {
            (host, Some(self::port(number).filter(|it| *it != 0)?))
        }
        _ => return None,
    };
    if written.is_none() && port.is_none() && !host.is_loopback() && host.ip().is_none() {
        // A lone word may be anything.
        return None;
    }
    parts.with_host(host)?.with_port(written)?.finish()
}

/// Tells whether a text names a kind that no endpoint has, as `udp://…` does.
pub(crate) fn is_foreign(text: &str) -> bool {
    Scheme::is_foreign(text)
}

/// Tells whether `text` is a path that does not begin at the root.
pub(crate) fn is_relative_path(text: &str) -> bool {
    let text = text.trim_matches(is_noise);
    let (first, rest) = text.split_once('/').unwrap_or((text, ""));
    // `10.0.0.1/80`, `80/tcp`, `10.0.0.0/24`.
    let is_place = authority(first)
        .is_some_and(|(host, port)| host.ip().is_some() || port.is_some())
        || !rest.is_empty() && rest.bytes().all(|it| it.is_ascii_digit());
    !is_place && !first.is_empty() && !text.contains(':') && (text.contains('/') || is_socket(text))
}

/// The parts understood so far.
#[derive(Clone, Debug, Default)]
struct Parts {
    host: Option<Host>,
    zone: Option<Box<str>>,
    port: Option<u16>,
    tls: bool,
}

impl Parts {
    /// Adds a host; an endpoint has only one.
    fn with_host(mut self, host: Host) -> Option<Self> {
        self.host.replace(host).is_none().then_some(self)
    }

    /// Adds a port, if there is one; two different ones contradict each other.
    fn with_port(mut self, port: Option<u16>) -> Option<Self> {
        if port.is_some() && self.port.is_some() && self.port != port {
            return None;
        }
        self.port = port.or(self.port);
        Some(self)
    }

    fn finish(self) -> Option<Meant> {
        let host = match (self.host, self.zone) {
            (host, None) => host,
            (Some(Host::Ip6(ip)), Some(zone)) => Some(Host::Ip6Zone { zone, ip }),
            _ => return None,
        };
        // A port without a host means this host.
        let host = host.or(self.port.map(|_| Host::Ip4(Ipv4Addr::LOCALHOST)))?;
        let port = self.port.unwrap_or(EXAMPLE_PORT);
        Some(Meant {
            endpoint: Endpoint::Tcp(TcpAddress { host, port, tls: self.tls }),
            has_example_port: self.port.is_none(),
        })
    }
}

/// Reads components in any order, under other names, and with any text between them.
fn multiaddr(text: &str, mut parts: Parts) -> Option<Meant> {
    let mut rest = text;
    let first = segment(&mut rest)?;
    if is_path(first, text) {
        // A folder is not a socket.
        return unix(text).filter(|_| !rest.trim_matches('/').is_empty() || is_socket(first));
    }
    let mut word = first;
    let mut family = None;
    loop {
        match Word::of(word) {
            Word::Unix => return unix(rest),
            Word::Memory if parts.host.is_none() => {
                let number = segment(&mut rest)?.trim().parse().ok()?;
                return segment(&mut rest).is_none().then(|| Endpoint::Memory(number).into());
            }
            Word::Host(only) => {
                let value = segment(&mut rest)?;
                if parse::is_protocol(value) {
                    return None;
                }
                family = only;
                let (host, port) = match value {
                    "0" if !rest.is_empty() => (Host::Ip4(Ipv4Addr::UNSPECIFIED), None),
                    // The beginning of the best-known address, rather than a port.
                    "127" => (Host::Ip4(Ipv4Addr::LOCALHOST), None),
                    _ => authority(value)?,
                };
                parts = parts.with_host(host)?.with_port(port)?;
            }
            Word::Zone => parts.zone = Some(zone(segment(&mut rest)?)?),
            Word::Tcp => {
                let mut ahead = rest;
                // `/tcp/10.0.0.1/80`, as others have it.
                match segment(&mut ahead) {
                    Some(value) if port(value).or_else(|| service_port(value)).is_some() => {
                        parts = parts.with_port(port(value).or_else(|| service_port(value)))?;
                        rest = ahead;
                    }
                    Some(value) if parts.host.is_none() && !Word::of(value).is_known() => {
                        let (host, port) = authority(value)?;
                        parts = parts.with_host(host)?.with_port(port)?;
                        rest = ahead;
                    }
                    Some(value) if !Word::of(value).follows_tcp() => return None,
                    None if parts.host.is_none() => {
                        parts.host = Some(Host::Ip4(Ipv4Addr::LOCALHOST));
                    }
                    _ => {}
                }
            }
            Word::Tls => parts.tls = true,
            // The application protocol is no part of the address.
            Word::Spoken { values, tls } if parts.host.is_some() => {
                parts.tls |= tls;
                for _ in 0..values {
                    segment(&mut rest)?;
                }
            }
            Word::Unknown if parts.host.is_some() => {
                parts = parts.with_port(Some(port(word)?))?;
            }
            Word::Unknown => {
                // A host whose protocol was left out.
                let (host, port) = authority(word)?;
                let mut ahead = rest;
                let follows = segment(&mut ahead).is_some_and(|it| {
                    matches!(Word::of(it), Word::Tcp) || self::port(it).is_some()
                });
                if port.is_none() && !follows && host.ip().is_none() {
                    return None;
                }
                parts = parts.with_host(host)?.with_port(port)?;
            }
            _ => return None,
        }
        word = match segment(&mut rest) {
            Some(next) => next,
            None => break,
        };
    }
    if let (Some(only), Some(Host::Dns(_, family))) = (family, &mut parts.host) {
        *family = only;
    }
    parts.finish()
}

/// Takes the text up to the next slash; empty parts are skipped.
fn segment<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start_matches('/');
    let (segment, after) = text.split_at(text.find('/').unwrap_or(text.len()));
    *rest = after;
    Some(segment).filter(|it| !it.trim().is_empty())
}

/// The possible meaning of a word of a multiaddr.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Word {
    Unix,
    Host(Option<DnsFamily>),
    Zone,
    Tcp,
    Tls,
    Memory,
    /// A protocol on top of TCP, with this number of values.
    Spoken {
        values: usize,
        tls: bool,
    },
    /// A protocol that is not part of any endpoint, nor on top of one.
    Foreign,
    Unknown,
}

impl Word {
    fn of(text: &str) -> Self {
        let spoken = |values, tls| Self::Spoken { values, tls };
        let lower = text.trim().to_ascii_lowercase();
        match &*lower {
            "unix" | "uds" | "sock" | "socket" | "ipc" | "file" | "pipe" | "unix-abstract" => {
                Self::Unix
            }
            "ip4" | "ip6" | "ip" | "ipv4" | "ipv6" | "inet" | "inet4" | "inet6" | "host" => {
                Self::Host(None)
            }
            "dns" | "hostname" | "name" => Self::Host(Some(DnsFamily::Any)),
            "dns4" => Self::Host(Some(DnsFamily::V4)),
            "dns6" => Self::Host(Some(DnsFamily::V6)),
            "ip6zone" | "zone" | "scope" => Self::Zone,
            "tcp" | "tcp4" | "tcp6" | "port" => Self::Tcp,
            "tls" | "ssl" => Self::Tls,
            "memory" | "mem" => Self::Memory,
            "ws" | "http" | "noise" | "yamux" | "plaintextv2" => spoken(0, false),
            "wss" | "https" => spoken(0, true),
            "p2p" | "ipfs" | "http-path" => spoken(1, false),
            "sni" => spoken(1, false),
            "udp" | "utp" | "udt" | "quic" | "quic-v1" | "sctp" | "dccp" | "webtransport"
            | "webrtc" | "webrtc-direct" | "p2p-circuit" | "onion" | "onion3" | "garlic64"
            | "dnsaddr" | "ipcidr" | "certhash" => Self::Foreign,
            _ => Self::one_slip_away(&lower),
        }
    }

    fn one_slip_away(lower: &str) -> Self {
        // Nothing longer is one slip away from a protocol, and the search takes the square of it.
        if lower.len() > 16 || lower.bytes().all(|it| it.is_ascii_digit()) {
            return Self::Unknown;
        }
        // Swapped letters count as one slip, so that `tpc` finds `tcp`.
        let nearest = PROTOCOLS
            .iter()
            .map(|(protocol, _)| (strsim::damerau_levenshtein(lower, protocol), *protocol))
            .filter(|(slips, _)| *slips <= 1)
            .min();
        match nearest {
            Some((1, protocol)) => Self::of(protocol),
            _ => Self::Unknown,
        }
    }

    /// Tells whether it may follow `tcp` if the port was forgotten.
    fn follows_tcp(self) -> bool {
        matches!(self, Self::Tls | Self::Zone | Self::Host(_))
    }

    fn is_known(self) -> bool {
        self != Self::Unknown
    }
}

/// Tells whether a string that begins with a slash is more likely a path than a multiaddr.
fn is_path(first: &str, text: &str) -> bool {
    ROOTS.contains(&first) || is_socket(text) && !Word::of(first).is_known()
}

fn is_socket(path: &str) -> bool {
    path.ends_with(".sock") || path.ends_with(".socket")
}

/// Takes a path, or an abstract name, in either spelling.
fn unix(text: &str) -> Option<Meant> {
    let text = text.trim_start_matches('/');
    if let Some(name) = text.strip_prefix('@') {
        return abstract_name(&percent_decode_str(name).decode_utf8().ok()?);
    }
    path(&percent_decode_str(text).decode_utf8().ok()?)
}

fn abstract_name(name: &str) -> Option<Meant> {
    let name = name.trim_matches(parse::is_blank);
    // A slash at the end is seldom part of the name.
    let name = UnixAddress::from_abstract_name(name.trim_end_matches('/')).ok()?;
    Some(Endpoint::Unix(name).into())
}

/// Normalises a path. Only the file system knows where `..` leads.
fn path(path: &str) -> Option<Meant> {
    let parts = path.split('/').map(|it| it.trim_matches(parse::is_blank));
    let parts = parts.filter(|part| !matches!(*part, "" | "."));
    let plain: String = parts.flat_map(|part| ["/", part]).collect();
    if plain.is_empty() {
        return None;
    }
    let path = UnixPath::absolute(plain).ok()?;
    Some(Endpoint::Unix(UnixAddress::Path(path)).into())
}

/// Reads `::80`, which is written as an IPv6 address, but means a port at every address.
fn port_of_any(text: &str) -> Option<u16> {
    port(text.strip_prefix("::")?).filter(|it| *it > 9)
}

/// Reads a host, and the port that may stand behind it after a colon, a comma or a space.
fn authority(text: &str) -> Option<(Host, Option<u16>)> {
    let text = text.trim();
    if let Some((host, number)) = text.rsplit_once([' ', ',', '\t']) {
        let (host, port) = (host.trim_end_matches([' ', ',', '\t', ':']), port(number)?);
        return match authority(host)? {
            // Two ports mean two places.
            (host, None) => Some((host, Some(port))),
            _ => None,
        };
    }
    if let Some(inside) = text.strip_prefix('[') {
        let (host, after) = inside.split_once(']')?;
        let port = match after.strip_prefix(':') {
            Some(text) => Some(port(text)?),
            None => after.is_empty().then_some(None)?,
        };
        return Some((ip6(host)?, port));
    }
    if let Some(number) = port(text) {
        return Some((Host::Ip4(Ipv4Addr::LOCALHOST), Some(number)));
    }
    let named = |it: &str| port(it).or_else(|| service_port(it));
    let split = text.rsplit_once(':').and_then(|(before, after)| Some((before, named(after)?)));
    // `::1:80` is an address too, but nobody writes that one.
    let (before, number) = match split {
        Some((before, number)) => match (text.parse::<Ipv6Addr>(), before.parse::<Ipv6Addr>()) {
            (Ok(_), Ok(ip)) if ip.is_loopback() => (before, Some(number)),
            (Ok(_), _) => (text, None),
            // `80:::1` has its port before its host.
            (Err(_), Ok(ip)) if before.ends_with("::") && !ip.is_unspecified() => return None,
            _ => (before, Some(number)),
        },
        None => (text, None),
    };
    let host = match before {
        "" => number.map(|_| Host::Ip4(Ipv4Addr::LOCALHOST))?,
        "*" => Host::Ip4(Ipv4Addr::UNSPECIFIED),
        _ => match before.parse() {
            Ok(IpAddr::V4(ip)) => Host::Ip4(ip),
            _ => ip6(before)
                .or_else(|| short_ip4(before).map(Host::Ip4))
                .or_else(|| Some(Host::Dns(DnsName::new(before).ok()?, DnsFamily::Any)))?,
        },
    };
    Some((host, number))
}

/// Reads an IPv6 address, with a zone or without.
fn ip6(text: &str) -> Option<Host> {
    let Some((ip, after)) = text.split_once('%') else {
        return text.parse().ok().map(Host::Ip6);
    };
    // RFC 6874 writes the `%` of a URL as `%25`.
    let name = after.strip_prefix("25").filter(|it| !it.is_empty()).unwrap_or(after);
    Some(Host::Ip6Zone { zone: zone(name)?, ip: ip.parse().ok()? })
}

/// Takes the name of an interface. A number means something only to one kernel.
fn zone(text: &str) -> Option<Box<str>> {
    let text = text.trim().trim_start_matches('%');
    let is_number = text.bytes().all(|it| it.is_ascii_digit());
    (parse::is_interface(text) && !is_number).then(|| text.into())
}

fn port(text: &str) -> Option<u16> {
    let text = text.trim();
    text.bytes().all(|it| it.is_ascii_digit()).then(|| text.parse().ok())?
}

impl From<Endpoint> for Meant {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoint, has_example_port: false }
    }
}

/// Tells whether a character surrounds an address when it is copied.
fn is_noise(character: char) -> bool {
    parse::is_blank(character)
        || matches!(character, '"' | '\'' | '`' | '<' | '>' | ',' | ';')
        || is_typographic_quote(character)
}

/// The folders in which sockets usually lie.
const ROOTS: &[&str] = &[
    "dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "tmp", "usr", "var", "data",
];

/// A port for examples, above those of well-known services.
pub(crate) const EXAMPLE_PORT: u16 = 5555;

/// More than the longest path with every byte escaped.
const TEXT_BYTES_MAX: usize = 4 * UnixPath::BYTES_MAX;
