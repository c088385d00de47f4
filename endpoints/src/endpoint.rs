//! The endpoint: the address at which an actor listens.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
    path::Path,
};

use multiaddr::{Multiaddr, Protocol};
use serde::{Serialize, Serializer};

use crate::{
    error::ParseEndpointError,
    tcp::{Host, TcpAddress},
    unix::{UnixAddress, UnixPath},
};

/// The address at which an actor listens. Its text is a multiaddr:
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
/// Two endpoints are equal if they have the same meaning, whatever their spelling.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::Endpoint;
///
/// let endpoint: Endpoint = "/ip4/127.0.0.1/tcp/5555".parse()?;
/// assert_eq!(endpoint.socket_addr(), Some("127.0.0.1:5555".parse()?));
/// assert_eq!(Endpoint::from_host_port("127.0.0.1", 5555)?, endpoint);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Endpoint {
    /// A Unix stream socket.
    Unix(UnixAddress),
    /// A TCP port.
    Tcp(TcpAddress),
    /// A numbered place within one process; 0 asks for one when bound.
    Memory(u64),
}

impl Endpoint {
    /// Appends its text, just as it is displayed: without a formatter where it is what nearly all
    /// are, a socket at a path without escapes or a port of an IPv4 address.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let endpoint: Endpoint = "/ip4/10.0.0.7/tcp/80".parse()?;
    /// let mut text = "at ".to_owned();
    /// endpoint.append_to(&mut text);
    /// assert_eq!(text, format!("at {endpoint}"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_to(&self, text: &mut String) {
        let is_usual = match self {
            Self::Unix(unix) => unix.append_plain(text),
            Self::Tcp(tcp) => tcp.append_usual(text),
            Self::Memory(_) => false,
        };
        if !is_usual {
            write!(text, "{self}").expect("writing to memory does not fail");
        }
    }

    /// Makes the endpoint of a socket file.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use std::path::Path;
    ///
    /// use callsign::Endpoint;
    ///
    /// let endpoint = Endpoint::from_unix_path(Path::new("/run/feed 1.sock"))?;
    /// assert_eq!(endpoint.to_string(), "/unix/run/feed%201.sock");
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ParseEndpointError`] when `path` is not an absolute, plain path that can be reached.
    pub fn from_unix_path(path: &Path) -> Result<Self, ParseEndpointError> {
        Ok(Self::Unix(UnixAddress::Path(UnixPath::new(path)?)))
    }

    /// Returns the same endpoint in the specification's spelling, for exchange with programs
    /// that read no other: `/unix/%2Frun%2Ffeed.sock`.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let endpoint: Endpoint = "/unix/run/feed.sock".parse()?;
    /// assert_eq!(endpoint.to_encoded(), "/unix/%2Frun%2Ffeed.sock");
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn to_encoded(&self) -> String {
        match self {
            Self::Unix(unix) => format!("/unix/{}", unix.to_encoded()),
            other => other.to_string(),
        }
    }

    /// Returns the IP address and the port, if the endpoint contains them. A host name has to be
    /// looked up first, and the number of an address's zone is known to the kernel only.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let check = |text: &str| Ok(text.parse::<Endpoint>()?.socket_addr());
    /// assert_eq!(check("/ip4/10.0.0.7/tcp/80")?, Some(([10, 0, 0, 7], 80).into()));
    /// assert_eq!(check("/dns/feed.example.org/tcp/80")?, None);
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let Self::Tcp(TcpAddress { host, port, .. }) = self else { return None };
        match host {
            Host::Ip4(ip) => Some((*ip, *port).into()),
            Host::Ip6(ip) => Some((*ip, *port).into()),
            Host::Ip6Zone { .. } | Host::Dns(..) => None,
        }
    }

    /// Tells whether this is a place to bind but not one to dial: a wildcard address, port 0 or
    /// `/memory/0`.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let check = |text: &str| Ok(text.parse::<Endpoint>()?.is_bind_only());
    /// assert!(check("/ip4/0.0.0.0/tcp/80")? && check("/ip4/127.0.0.1/tcp/0")?);
    /// assert!(!check("/ip4/127.0.0.1/tcp/80")?);
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn is_bind_only(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.port == 0 || tcp.host.is_wildcard(),
            Self::Memory(number) => *number == 0,
            Self::Unix(_) => false,
        }
    }

    /// Tells whether it is a Unix socket at a path, which is a file.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// assert!("/unix/run/feed.sock".parse::<Endpoint>()?.is_socket_file());
    /// assert!(!"/unix/@feed".parse::<Endpoint>()?.is_socket_file());
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn is_socket_file(&self) -> bool {
        matches!(self, Self::Unix(UnixAddress::Path(_)))
    }

    /// Tells whether others can read what is said there: it is TCP beyond the loopback, without TLS.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// assert!("/ip4/0.0.0.0/tcp/1616".parse::<Endpoint>()?.is_exposed());
    /// for private in ["/ip4/0.0.0.0/tcp/1616/tls", "/ip4/127.0.0.1/tcp/1616", "/unix/@feed"] {
    ///     assert!(!private.parse::<Endpoint>()?.is_exposed());
    /// }
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn is_exposed(&self) -> bool {
        matches!(self, Self::Tcp(tcp) if !tcp.tls && !tcp.host.is_loopback())
    }

    /// Tells whether it takes a certificate to listen or to connect there.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// assert!("/ip4/10.0.0.7/tcp/1616/tls".parse::<Endpoint>()?.is_tls());
    /// assert!(!"/ip4/10.0.0.7/tcp/1616".parse::<Endpoint>()?.is_tls());
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp(tcp) if tcp.tls)
    }

    /// Tells whether one actor that binds `self` keeps another on the same host from binding
    /// `other`. TLS makes no difference, and a wildcard address takes the others with it.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let [all, one] = ["/ip4/0.0.0.0/tcp/80".parse::<Endpoint>()?, "/ip4/10.0.0.7/tcp/80".parse()?];
    /// assert!(all.conflicts_with(&one), "a wildcard takes it with it");
    /// assert!(!one.conflicts_with(&"/ip4/10.0.0.8/tcp/80".parse()?));
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn conflicts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(own), Self::Tcp(theirs)) => {
                own.port != 0 && own.port == theirs.port && own.host.overlaps(&theirs.host)
            }
            _ => self == other && !self.is_bind_only(),
        }
    }

    /// Tells whether `self` and `other`, in one list, cannot both be bound. The rule is that of two
    /// actors, except that a `::` leaves IPv4 to an IPv4 address of the same port.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let [ip4, ip6] = ["/ip4/0.0.0.0/tcp/80".parse::<Endpoint>()?, "/ip6/::/tcp/80".parse()?];
    /// assert!(ip4.conflicts_with(&ip6) && !ip4.conflicts_in_list_with(&ip6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn conflicts_in_list_with(&self, other: &Self) -> bool {
        let is_ipv4 = |it: &Self| match it {
            Self::Tcp(tcp) => tcp.host.ip().map(|ip| ip.is_ipv4()),
            _ => None,
        };
        let are_of_two_families =
            is_ipv4(self).zip(is_ipv4(other)).is_some_and(|(own, theirs)| own != theirs);
        self.conflicts_with(other) && !are_of_two_families
    }
}

/// Takes the IP address and the port. The scope of an IPv6 address is a number that means
/// something only to the kernel that gave it, and is left out.
impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let host = match address.ip() {
            IpAddr::V4(ip) => Host::Ip4(ip),
            IpAddr::V6(ip) => Host::Ip6(ip),
        };
        Self::Tcp(TcpAddress { host, port: address.port(), tls: false })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(unix) => match unix.as_plain() {
                Some(path) => write!(f, "/unix{path}"),
                None => write!(f, "/unix/{}", unix.to_greedy()),
            },
            Self::Tcp(tcp) => write!(f, "{tcp}"),
            Self::Memory(number) => write!(f, "{}", memory(*number)),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(crate) fn memory(number: u64) -> Multiaddr {
    Multiaddr::from(Protocol::Memory(number))
}
