//! Where an actor listens.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    str::FromStr,
};

use multiaddr::{Multiaddr, Protocol};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::parse::{self, ParseEndpointError};

/// Where an actor listens. Its text is a multiaddr, as people write it:
///
/// | text | meaning |
/// |---|---|
/// | `/unix/run/feed.sock`, `/unix/%2Frun%2Ffeed.sock` | a Unix socket at a path |
/// | `/unix/@feed` | a Unix socket with an abstract name |
/// | `/ip4/127.0.0.1/tcp/5555`, `/ip6/::1/tcp/5555` | TCP |
/// | `/ip6zone/eth0/ip6/fe80::1/tcp/5555` | TCP on a link-local address |
/// | `/dns/host/tcp/5555`, `/dns4/…`, `/dns6/…` | TCP at a name, looked up when dialed |
/// | `…/tcp/5555/tls` | TLS on TCP |
/// | `/memory/7` | within one process |
///
/// Two endpoints are equal when they mean the same, however they were written.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Endpoint {
    /// A Unix stream socket.
    Unix(UnixAddress),
    /// A TCP port.
    Tcp(TcpAddress),
    /// A numbered place within one process.
    Memory(u64),
}

impl Endpoint {
    /// Makes the endpoint of a `[host, port]` pair: an IP address or a host name, and a port.
    ///
    /// # Errors
    ///
    /// [`ParseEndpointError`] when `host` is neither.
    pub fn from_host_port(host: &str, port: u16) -> Result<Self, ParseEndpointError> {
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => Host::Ip4(ip),
            Ok(IpAddr::V6(ip)) => Host::Ip6(ip),
            Err(_) => Host::Dns(parse::dns_name(host)?, DnsFamily::Any),
        };
        Ok(Self::Tcp(TcpAddress { host, port, tls: false }))
    }

    /// Returns the same endpoint in the specification's spelling, for exchange with programs
    /// that read no other: `/unix/%2Frun%2Ffeed.sock`.
    pub fn to_encoded(&self) -> String {
        match self {
            Self::Unix(unix) => {
                format!("/unix/{}", utf8_percent_encode(&unix.to_value(), ENCODED_SEGMENT))
            }
            other => other.to_string(),
        }
    }

    /// Returns the binary multiaddr. A Unix path keeps its leading slash.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self::Unix(unix) = self else { return self.network().to_vec() };
        let value = unix.to_value();
        let mut bytes = UNIX_CODE.to_vec();
        let mut length = value.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(value.as_bytes());
        bytes
    }

    /// Reads a binary multiaddr. A Unix path may come with its leading slash or without.
    ///
    /// # Errors
    ///
    /// [`ParseEndpointError`] when the bytes are no multiaddr, or not one of an endpoint.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseEndpointError> {
        match bytes.strip_prefix(&UNIX_CODE) {
            Some(value) => parse::unix_bytes(value),
            None => parse::network_bytes(bytes),
        }
    }

    /// Tells whether this is a place to bind but not one to dial: a wildcard address or port 0.
    pub fn is_bind_only(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.port == 0 || tcp.host.is_wildcard(),
            Self::Memory(number) => *number == 0,
            Self::Unix(_) => false,
        }
    }

    fn network(&self) -> Multiaddr {
        match self {
            Self::Unix(_) => unreachable!("a Unix address is encoded by our own codec"),
            Self::Memory(number) => Multiaddr::from(Protocol::Memory(*number)),
            Self::Tcp(tcp) => {
                let mut multiaddr = Multiaddr::empty();
                match &tcp.host {
                    Host::Ip4(ip) => multiaddr.push(Protocol::Ip4(*ip)),
                    Host::Ip6(ip) => multiaddr.push(Protocol::Ip6(*ip)),
                    Host::Ip6Zone { zone, ip } => {
                        multiaddr.push(Protocol::Ip6zone(Cow::Borrowed(zone)));
                        multiaddr.push(Protocol::Ip6(*ip));
                    }
                    Host::Dns(name, family) => {
                        let name = Cow::Borrowed(name.as_str());
                        multiaddr.push(match family {
                            DnsFamily::Any => Protocol::Dns(name),
                            DnsFamily::V4 => Protocol::Dns4(name),
                            DnsFamily::V6 => Protocol::Dns6(name),
                        });
                    }
                }
                multiaddr.push(Protocol::Tcp(tcp.port));
                if tcp.tls {
                    multiaddr.push(Protocol::Tls);
                }
                multiaddr
            }
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let host = match address.ip() {
            IpAddr::V4(ip) => Host::Ip4(ip),
            IpAddr::V6(ip) => Host::Ip6(ip),
        };
        Self::Tcp(TcpAddress { host, port: address.port(), tls: false })
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        parse::endpoint(text)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(unix) => {
                let value = unix.to_value();
                let segments = value.strip_prefix('/').unwrap_or(&value);
                write!(f, "/unix/{}", utf8_percent_encode(segments, GREEDY_PATH))
            }
            other => write!(f, "{}", other.network()),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The address of a Unix socket.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum UnixAddress {
    /// A socket file.
    Path(UnixPath),
    /// A name without a file, known within one network namespace; without the leading `@`.
    Abstract(Box<str>),
}

impl UnixAddress {
    /// Returns the value of the multiaddr component: the path, or `@` and the name.
    fn to_value(&self) -> Cow<'_, str> {
        match self {
            Self::Path(path) => Cow::Borrowed(path.as_str()),
            Self::Abstract(name) => Cow::Owned(format!("@{name}")),
        }
    }
}

/// The absolute, plain path of a socket file: no `.`, no `..`, no empty part, no NUL.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixPath(Box<str>);

impl UnixPath {
    /// The most bytes that the last part of a path may have. A longer path than the 107 bytes of
    /// `sun_path` is reached as `/proc/self/fd/N/<last part>` through a descriptor of its
    /// folder; what is left beside that prefix and a descriptor of seven digits is this.
    pub const FILE_NAME_BYTES_MAX: usize = 107 - "/proc/self/fd/1234567/".len();

    /// The most bytes that a whole path may have: Linux's `PATH_MAX`, less the closing NUL.
    pub const BYTES_MAX: usize = 4095;

    pub(crate) fn new_unchecked(path: String) -> Self {
        Self(path.into())
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }
}

/// A TCP port of a host.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TcpAddress {
    /// Which host.
    pub host: Host,
    /// Which port; 0 asks the kernel for one when bound.
    pub port: u16,
    /// Whether TLS is spoken on it.
    pub tls: bool,
}

/// A host that speaks TCP.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Host {
    /// An IPv4 address.
    Ip4(Ipv4Addr),
    /// An IPv6 address.
    Ip6(Ipv6Addr),
    /// An IPv6 address that means something only on one link.
    Ip6Zone {
        /// The interface, by the name that its own host gives it.
        zone: Box<str>,
        /// The address on that link.
        ip: Ipv6Addr,
    },
    /// A name to be looked up.
    Dns(DnsName, DnsFamily),
}

impl Host {
    /// Returns the IP address, unless the host is given by name. An IPv4 address that is written
    /// as IPv6 (`::ffff:127.0.0.1`) is returned as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip4(ip) => Some(IpAddr::V4(*ip)),
            Self::Ip6(ip) | Self::Ip6Zone { ip, .. } => Some(IpAddr::V6(*ip).to_canonical()),
            Self::Dns(..) => None,
        }
    }

    /// Tells whether this is `0.0.0.0` or `::`, which bind every address and name none.
    pub fn is_wildcard(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// Tells whether this stays within the network namespace of the one who reads it.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Dns(name, _) => name.is_localhost(),
            other => other.ip().is_some_and(|ip| ip.is_loopback()),
        }
    }
}

/// A host name, in lower case: 1 to 253 bytes, in labels of 1 to 63 (RFC 1035, section 2.3.4).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DnsName(Box<str>);

impl DnsName {
    pub(crate) fn new_unchecked(name: String) -> Self {
        Self(name.into())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether the name is `localhost` or below it (RFC 6761, section 6.3).
    fn is_localhost(&self) -> bool {
        let name = self.0.strip_suffix('.').unwrap_or(&self.0);
        name == "localhost" || name.ends_with(".localhost")
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Which addresses of a name are asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DnsFamily {
    /// IPv4 and IPv6.
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// The code of `/unix` in the multicodec table, 400, as a variable-length integer.
const UNIX_CODE: [u8; 2] = [0x90, 0x03];

/// What is escaped in a path that is written out greedily: `%` itself, so that reading undoes
/// printing, and what would not survive a line of text.
const GREEDY_PATH: &AsciiSet = &CONTROLS.add(b'%').add(b' ');

/// What is escaped in a path that is written as one segment.
const ENCODED_SEGMENT: &AsciiSet = &GREEDY_PATH.add(b'/');
