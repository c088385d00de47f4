//! Schemes: how URLs and the settings of other programs begin.

use std::net::{Ipv4Addr, Ipv6Addr};

use percent_encoding::percent_decode_str;

use super::{Meant, Parts, ROOTS, abstract_name, authority, is_socket, path};
use crate::tcp::{DnsFamily, Host};

/// The meaning of a scheme for the rest of a string.
#[derive(Clone, Copy)]
pub(crate) enum Scheme {
    Unix,
    Abstract,
    /// With the usual port of the service, if it has one.
    Tcp {
        family: DnsFamily,
        port: Option<u16>,
        tls: bool,
    },
    /// An unknown scheme: an explicit address can still be read.
    Unknown,
    /// A scheme without an endpoint.
    Foreign,
}

impl Scheme {
    /// Splits the scheme from the beginning of a string, if there is one.
    pub(super) fn of(text: &str) -> Option<(Self, &str)> {
        if text.parse::<Ipv6Addr>().is_ok() {
            return None;
        }
        // HAProxy writes `ipv4@10.0.0.1:80`.
        let at = text.split_once('@').and_then(|(name, rest)| Some((Self::before_at(name)?, rest)));
        if at.is_some() {
            return at;
        }
        let (name, rest) = text.split_once(':')?;
        let is_name = |it: u8| it.is_ascii_alphanumeric() || b"+.-".contains(&it);
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        let lower = name.to_ascii_lowercase();
        // Other words without the slashes are host names, such as `redis` in `redis:6379`.
        let scheme =
            if rest.starts_with("//") { Self::of_url(&lower) } else { Self::always(&lower)? };
        Some((scheme, rest))
    }

    fn before_at(name: &str) -> Option<Self> {
        match name {
            "unix" => Some(Self::Unix),
            "abns" => Some(Self::Abstract),
            "ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6" | "fd" => Self::always(name),
            _ => None,
        }
    }

    /// Returns a scheme that counts even without slashes after it.
    fn always(name: &str) -> Option<Self> {
        let tcp = |family| Self::Tcp { family, port: None, tls: false };
        Some(match name {
            "unix" | "uds" | "ipc" | "file" | "local" | "unix-connect" | "unix-client" => {
                Self::Unix
            }
            "unix-abstract" | "abstract" | "abstract-connect" | "abstract-client" => Self::Abstract,
            "tcp" | "dns" | "tcp-connect" => tcp(DnsFamily::Any),
            "tcp4" | "ipv4" | "tcp4-connect" => tcp(DnsFamily::V4),
            "tcp6" | "ipv6" | "tcp6-connect" => tcp(DnsFamily::V6),
            _ if FOREIGN.contains(&name) => Self::Foreign,
            _ => return None,
        })
    }

    /// Tells whether a text names a kind that no endpoint has.
    pub(crate) fn is_foreign(text: &str) -> bool {
        matches!(Self::of(text.trim()), Some((Self::Foreign, _)))
    }

    /// Reads the scheme of a URL. It may have several parts: `postgresql+psycopg`, `tls+tcp`.
    fn of_url(name: &str) -> Self {
        let parts = || name.split('+');
        let is_any = |known: fn(&str) -> bool| parts().any(known);
        if is_any(|it| FOREIGN.contains(&it)) {
            return Self::Foreign;
        }
        if is_any(|it| matches!(Self::always(it), Some(Self::Unix)) || it == "socket") {
            return Self::Unix;
        }
        let tls = is_any(|it| is_tls(it) || SERVICES.iter().any(|(of, _, tls)| *of == it && *tls));
        let service = parts().find_map(|it| SERVICES.iter().find(|(of, ..)| *of == it));
        let known = parts().find_map(Self::always);
        match (known, service) {
            (Some(Self::Tcp { family, .. }), service) => {
                Self::Tcp { family, port: service.map(|it| it.1), tls }
            }
            (Some(known), _) => known,
            (None, Some((_, port, _))) => {
                Self::Tcp { family: DnsFamily::Any, port: Some(*port), tls }
            }
            (None, None) if tls => Self::Tcp { family: DnsFamily::Any, port: None, tls },
            (None, None) => Self::Unknown,
        }
    }

    /// Reads the rest after the scheme. `port` is the port beside it in a pair.
    pub(super) fn read(self, rest: &str, port: Option<u16>) -> Option<Meant> {
        match self {
            Self::Foreign => None,
            Self::Abstract => {
                let (name, _) = rest.split_once(',').unwrap_or((rest, ""));
                abstract_name(name.trim_start_matches('/'))
            }
            Self::Unix => unix(rest),
            Self::Tcp { .. } | Self::Unknown => {
                let is_url = rest.starts_with("//");
                let place = rest.strip_prefix("//").unwrap_or(rest);
                let Some(alone) = place.strip_prefix('/') else {
                    return self.tcp(place, is_url, port);
                };
                // No host precedes it. In a URL it is a path of the service: a database, say.
                let first = alone.split('/').next().unwrap_or_default();
                match ROOTS.contains(&first) {
                    true => path(alone),
                    false if is_url && matches!(self, Self::Tcp { port: Some(_), .. }) => None,
                    false => self.tcp(alone, true, port).filter(|it| !it.has_example_port),
                }
            }
        }
    }

    /// Reads a host and a port, with the text around them.
    fn tcp(self, text: &str, is_url: bool, port: Option<u16>) -> Option<Meant> {
        let (family, usual, tls) = match self {
            Self::Tcp { family, port, tls } => (family, port, tls),
            Self::Unknown => (DnsFamily::Any, None, false),
            _ => return None,
        };
        let place = &text[..text.find(['/', '?', '#']).unwrap_or(text.len())];
        let place = match place.rsplit_once('@') {
            Some(("", _)) => return None,
            Some((_, place)) => place,
            None => place,
        };
        // In a URL that would be a host.
        if is_url && place.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        let (host, written) = authority(place)?;
        // Without a port, `//run/x.sock` may be a path whose third slash has been forgotten.
        if written.is_none() && (matches!(self, Self::Unknown) || is_socket(text)) {
            return None;
        }
        let names_no_address = place.starts_with([':', '*']) || !place.contains([':', '.']);
        let host = match (family, host) {
            (DnsFamily::Any, host) => host,
            (family, Host::Dns(name, _)) => Host::Dns(name, family),
            (DnsFamily::V4, host @ Host::Ip4(_)) => host,
            (DnsFamily::V6, host @ (Host::Ip6(_) | Host::Ip6Zone { .. })) => host,
            (DnsFamily::V6, Host::Ip4(ip)) if names_no_address => Host::Ip6(match ip {
                Ipv4Addr::UNSPECIFIED => Ipv6Addr::UNSPECIFIED,
                _ => Ipv6Addr::LOCALHOST,
            }),
            _ => return None,
        };
        let written = written.or(usual.filter(|_| port.is_none()));
        let parts = Parts { port, tls, ..Parts::default() };
        parts.with_host(host)?.with_port(written)?.finish()
    }
}

/// Returns the port of a service, as `/etc/services` has it.
pub(super) fn service_port(name: &str) -> Option<u16> {
    // Protocols over HTTP have no port of their own.
    let is_of_http = matches!(name, "ws" | "wss");
    let mut services = SERVICES.iter().filter(|_| !is_of_http);
    services.find(|(service, ..)| service.eq_ignore_ascii_case(name)).map(|it| it.1)
}

fn is_tls(part: &str) -> bool {
    matches!(part, "tls" | "ssl" | "tcps" | "grpcs")
}

/// Reads a path, or an abstract name.
fn unix(rest: &str) -> Option<Meant> {
    // As the D-Bus has it: `unix:path=/run/bus,guid=…`.
    let (value, _) = rest.split_once(',').unwrap_or((rest, ""));
    if let Some(name) = value.strip_prefix("abstract=") {
        return abstract_name(name);
    }
    if let Some(value) = value.strip_prefix("path=") {
        return value.strip_prefix('/').and_then(path);
    }
    // A path or query of a URL is no part of the address.
    let ends = [".sock:", ".socket:", ".sock,", ".socket,"];
    let end = ends.iter().find_map(|it| Some(rest.find(it)? + it.len() - 1));
    let rest = &rest[..end.unwrap_or(rest.len())];
    let Some(url) = rest.strip_prefix("//") else {
        return match rest.strip_prefix('@') {
            Some(name) => abstract_name(name),
            None => rest.strip_prefix('/').and_then(path),
        };
    };
    let url = url.split(['?', '#']).next().unwrap_or_default();
    if let Some(name) = url.strip_prefix('@') {
        // `@/run/x.sock` is nobody's, or a name that begins so.
        return if name.starts_with('/') { None } else { abstract_name(name) };
    }
    let (first, after) = url.split_at(url.find('/').unwrap_or(url.len()));
    let decoded = percent_decode_str(url).decode_utf8().ok()?;
    match first {
        // A host of this name means no other host.
        "" | "localhost" => path(&percent_decode_str(after).decode_utf8().ok()?),
        // `unix://user:word@/run/x.sock`.
        _ if first.ends_with('@') => path(&percent_decode_str(after).decode_utf8().ok()?),
        // `http+unix://%2Frun%2Fx.sock/what/is/asked/for`.
        _ if first.get(..3).is_some_and(|it| it.eq_ignore_ascii_case("%2f")) => {
            path(&percent_decode_str(first).decode_utf8().ok()?)
        }
        // The third slash has often been forgotten.
        _ if ROOTS.contains(&first) && !after.is_empty() => path(&decoded),
        _ => None,
    }
}

/// Schemes without an endpoint over TCP or a Unix socket, and words that mean any address.
const FOREIGN: &[&str] = &[
    "udp",
    "udp4",
    "udp6",
    "quic",
    "h3",
    "sctp",
    "dccp",
    "icmp",
    "vsock",
    "hvsock",
    "tipc",
    "pgm",
    "epgm",
    "norm",
    "inproc",
    "npipe",
    "pipe",
    "unixgram",
    "unixpacket",
    "unix-dgram",
    "unix-stream",
    "fd",
    "fds",
    "sd",
    "systemd",
    "launchd",
    "stdio",
    "std",
    "exec",
    "memory",
    "mem",
    "data",
    "coap",
    "coaps",
    "dtls",
    "xds",
    "passthrough",
    "srv",
    "dns+srv",
    "s3",
    "gs",
    "tcp-listen",
    "tcp4-listen",
    "tcp6-listen",
    "unix-listen",
    "abstract-listen",
    "mailto",
    "urn",
];

/// The default port of a protocol, from IANA, and whether it uses TLS.
const SERVICES: &[(&str, u16, bool)] = &[
    ("http", 80, false),
    ("ws", 80, false),
    ("https", 443, true),
    ("wss", 443, true),
    ("redis", 6379, false),
    ("rediss", 6379, true),
    ("postgres", 5432, false),
    ("postgresql", 5432, false),
    ("mysql", 3306, false),
    ("mongodb", 27017, false),
    ("amqp", 5672, false),
    ("amqps", 5671, true),
    ("mqtt", 1883, false),
    ("mqtts", 8883, true),
    ("nats", 4222, false),
    ("ldap", 389, false),
    ("ldaps", 636, true),
    ("ftp", 21, false),
    ("ftps", 990, true),
    ("ssh", 22, false),
    ("sftp", 22, false),
    ("smtp", 25, false),
];
