//! The endpoints that a setting accepts, and the faults of those that it does not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use endpoints::{Endpoint, Host, ParseEndpointError, TcpAddress};

use crate::diagnostic::{Diagnostic, Place};

/// The endpoints that a setting accepts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Use {
    /// Endpoints that an actor binds: all.
    Actor,
    /// Endpoints that a registrar binds: those that other processes can dial.
    Registrar,
    /// Endpoints at which a registrar answers HTTP: without TLS those that other hosts cannot dial,
    /// because HTTP is neither encrypted nor authenticated there.
    Http,
    /// Endpoints that are published as written: those that others can dial.
    Declared,
    /// Endpoints that this process dials.
    Dialed,
}

impl Use {
    /// Returns the endpoints that a table accepts.
    pub(crate) fn of_table(table: &str) -> Self {
        match table {
            "registrar" => Self::Registrar,
            "declared" => Self::Declared,
            "http" => Self::Http,
            _ => Self::Actor,
        }
    }

    pub(crate) fn takes(self, endpoint: &Endpoint) -> bool {
        // A program may ask a registrar within its own process, but no hint suggests it.
        let is_own = self == Self::Dialed && matches!(endpoint, Endpoint::Memory(_));
        !is_own && self.refusal(endpoint).is_none()
    }

    /// Returns the fault of an endpoint at this place.
    pub(crate) fn fault(self, endpoint: &Endpoint, place: Place) -> Option<Diagnostic> {
        if let Some((message, help)) = self.refusal(endpoint) {
            return Some(Diagnostic::error(message, place).help(help));
        }
        (*endpoint == Endpoint::Memory(0)).then(|| {
            let message = format!("`{endpoint}` gets a number that is not known in advance");
            Diagnostic::warning(message, place).help("write a fixed number".to_owned())
        })
    }

    /// Says why an endpoint is useless at this place, and what to write.
    fn refusal(self, endpoint: &Endpoint) -> Option<(String, Option<String>)> {
        if let Some(nowhere) = endpoint.nowhere() {
            return Some((nowhere.to_string(), Some(nowhere.help(endpoint))));
        }
        let (message, help) = match (self, endpoint) {
            (Self::Actor, _) => return None,
            (Self::Registrar | Self::Http, Endpoint::Memory(_)) => (
                format!("`{endpoint}` can be reached from within the same process alone"),
                "let it listen at a Unix socket or a port",
            ),
            (Self::Declared, Endpoint::Memory(_)) => (
                format!("`{endpoint}` is known only within one process"),
                "declare an endpoint that other processes can dial",
            ),
            (Self::Http, Endpoint::Tcp(tcp)) if !tcp.tls && !is_loopback(tcp) => {
                let host = match tcp.host.ip() {
                    Some(IpAddr::V6(_)) => Host::Ip6(Ipv6Addr::LOCALHOST),
                    _ => Host::Ip4(Ipv4Addr::LOCALHOST),
                };
                let near = Endpoint::Tcp(TcpAddress { host, ..tcp.clone() });
                let message = format!(
                    "`{endpoint}` can be reached from other hosts, and HTTP is not encrypted there"
                );
                let help = format!(
                    "add `/tls`, and a table `[tls]`: callers then need a certificate too; or \
                     write `{near}`, or a Unix socket"
                );
                return Some((message, Some(help)));
            }
            (Self::Dialed, _) if endpoint.is_bind_only() => {
                let seen = seen_from_here(endpoint).filter(|it| self.takes(it));
                let help = seen.map(|it| format!("did you mean `{it}`?"));
                return Some((format!("`{endpoint}` can be bound, but not dialed"), help));
            }
            (Self::Declared, Endpoint::Tcp(tcp)) if tcp.host.is_wildcard() => (
                format!("`{endpoint}` can be bound, but not dialed"),
                "write the address at which callers find the actor",
            ),
            (Self::Declared, Endpoint::Tcp(tcp)) if tcp.port == 0 => (
                format!("`{endpoint}` has no port that could be dialed"),
                "write the port at which callers find the actor",
            ),
            _ => return None,
        };
        Some((message, Some(help.to_owned())))
    }

    /// Returns a correction for a string that is not an endpoint.
    pub(crate) fn help(self, error: &ParseEndpointError) -> Option<String> {
        let port = match self {
            Self::Actor | Self::Declared => EXAMPLE_PORT,
            Self::Http => HTTP_PORT,
            Self::Registrar | Self::Dialed => DEFAULT_PORT,
        };
        error.help_for(port, |endpoint| match self {
            Self::Dialed => seen_from_here(&endpoint).filter(|it| self.takes(it)),
            _ => Some(endpoint).filter(|it| self.takes(it)),
        })
    }

    /// Returns a correction for a TOML string, which may hold several endpoints.
    pub(crate) fn help_in_toml(self, error: &ParseEndpointError) -> Option<String> {
        let several = error.several();
        let written: Option<Vec<_>> =
            several.iter().map(|it| toml_text(it).filter(|_| self.takes(it))).collect();
        match written.filter(|it| !it.is_empty()) {
            Some(written) => Some(format!("write a list: [{}]", written.join(", "))),
            None => self.help(error),
        }
    }
}

/// Tells whether an address is of the loopback, whatever anybody resolves.
fn is_loopback(tcp: &TcpAddress) -> bool {
    tcp.host.ip().is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// Writes an endpoint in quotes, which it must not contain itself.
pub(crate) fn toml_text(endpoint: &Endpoint) -> Option<String> {
    let text = endpoint.to_string();
    (!text.contains(['"', '\\', '`'])).then(|| format!("\"{text}\""))
}

/// A port for examples, above those of well-known services.
const EXAMPLE_PORT: u16 = 5555;

/// A port for examples of HTTP that takes no root.
const HTTP_PORT: u16 = 8080;

/// The default port of a registrar.
pub const DEFAULT_PORT: u16 = 1616;

/// Returns the endpoint at which a listener on this host can be dialed, if known.
pub fn seen_from_here(bound: &Endpoint) -> Option<Endpoint> {
    match bound {
        Endpoint::Tcp(tcp) if tcp.port == 0 => None,
        Endpoint::Tcp(tcp) if tcp.host.is_wildcard() => {
            // `::ffff:0.0.0.0` binds IPv4, however it is written.
            let host = match tcp.host.ip() {
                Some(IpAddr::V4(_)) => Host::Ip4(Ipv4Addr::LOCALHOST),
                _ => Host::Ip6(Ipv6Addr::LOCALHOST),
            };
            Some(Endpoint::Tcp(TcpAddress { host, ..tcp.clone() }))
        }
        // A number is known only within the process that bound it.
        Endpoint::Memory(_) => None,
        other => Some(other.clone()),
    }
}
