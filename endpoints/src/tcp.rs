//! TCP ports and the hosts that they are on.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use multiaddr::{Multiaddr, Protocol};

/// A TCP port of a host.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Endpoint, Host, TcpAddress};
///
/// let host = Host::Ip4([192, 0, 2, 7].into());
/// let endpoint = Endpoint::Tcp(TcpAddress { host, port: 5555, tls: true });
/// assert_eq!(endpoint.to_string(), "/ip4/192.0.2.7/tcp/5555/tls");
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TcpAddress {
    /// The host.
    pub host: Host,
    /// The port; 0 asks the kernel for one when bound.
    pub port: u16,
    /// Whether TLS is spoken on it.
    pub tls: bool,
}

impl TcpAddress {
    pub(crate) fn to_multiaddr(&self) -> Multiaddr {
        let mut multiaddr = Multiaddr::empty();
        match &self.host {
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
        multiaddr.push(Protocol::Tcp(self.port));
        if self.tls {
            multiaddr.push(Protocol::Tls);
        }
        multiaddr
    }
}

impl TcpAddress {
    /// Appends what Display writes, if it is a port of an IPv4 address. Tells whether it is.
    pub(crate) fn append_usual(&self, text: &mut String) -> bool {
        let (Host::Ip4(ip), false) = (&self.host, self.tls) else { return false };
        text.push_str("/ip4");
        for (octet, before) in ip.octets().into_iter().zip(['/', '.', '.', '.']) {
            text.push(before);
            append_number(text, octet.into());
        }
        text.push_str("/tcp/");
        append_number(text, self.port);
        true
    }
}

fn append_number(text: &mut String, number: u16) {
    if number >= 10 {
        append_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

impl fmt::Display for TcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls } = self;
        // As `multiaddr` writes it, which makes a binary one first.
        match host {
            Host::Ip4(ip) => write!(f, "/ip4/{ip}/tcp/{port}")?,
            Host::Ip6(ip) => write!(f, "/ip6/{ip}/tcp/{port}")?,
            Host::Ip6Zone { .. } | Host::Dns(..) => return write!(f, "{}", self.to_multiaddr()),
        }
        f.write_str(if *tls { "/tls" } else { "" })
    }
}

/// A host that speaks TCP.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::Host;
///
/// let host = Host::Ip4([0, 0, 0, 0].into());
/// assert!(host.is_wildcard() && !host.is_loopback());
/// assert_eq!(host.ip(), Some("0.0.0.0".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Host {
    /// An IPv4 address.
    Ip4(Ipv4Addr),
    /// An IPv6 address.
    Ip6(Ipv6Addr),
    /// An IPv6 address that is valid on one link only.
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
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let Endpoint::Tcp(tcp) = "/ip6/::ffff:10.0.0.7/tcp/80".parse()? else { panic!("it is TCP") };
    /// assert_eq!(tcp.host.ip(), Some("10.0.0.7".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip4(ip) => Some(IpAddr::V4(*ip)),
            Self::Ip6(ip) | Self::Ip6Zone { ip, .. } => Some(IpAddr::V6(*ip).to_canonical()),
            Self::Dns(..) => None,
        }
    }

    /// Tells whether this is `0.0.0.0` or `::`, which bind every address and name none.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let Endpoint::Tcp(tcp) = "/ip4/0.0.0.0/tcp/80".parse()? else { panic!("it is TCP") };
    /// assert!(tcp.host.is_wildcard() && !tcp.host.is_loopback());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_wildcard(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// Tells whether this address stays within its reader's network namespace.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let Endpoint::Tcp(tcp) = "/dns/localhost/tcp/80".parse()? else { panic!("it is TCP") };
    /// assert!(tcp.host.is_loopback());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Dns(name, _) => name.is_localhost(),
            other => other.ip().is_some_and(|ip| ip.is_loopback()),
        }
    }

    /// Tells whether binding a port of `self` also takes that port of `other`, as far as is known
    /// without a look-up.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.is_same(other) || self.covers(other) || other.covers(self)
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dns(own, _), Self::Dns(theirs, _)) => own == theirs,
            (Self::Ip6Zone { .. }, _) | (_, Self::Ip6Zone { .. }) => self == other,
            _ => self.ip().is_some() && self.ip() == other.ip(),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self.ip(), other.ip()) {
            (Some(IpAddr::V4(_)), Some(IpAddr::V6(_))) => false,
            // `::` takes IPv4 too (net.ipv6.bindv6only is 0 by default).
            (Some(own), Some(_)) => own.is_unspecified(),
            (Some(own), None) => own.is_unspecified() && other.is_loopback(),
            (None, _) => false,
        }
    }
}

/// A host name, in lower case: 1 to 253 bytes, in labels of 1 to 63 (RFC 1035, section 2.3.4).
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Endpoint, Host, TcpAddress};
///
/// let endpoint: Endpoint = "/dns/Market.example/tcp/5555".parse()?;
/// let Endpoint::Tcp(TcpAddress { host: Host::Dns(name, _), .. }) = endpoint else {
///     unreachable!("it has a name")
/// };
/// assert_eq!(name.as_str(), "market.example");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DnsName(Box<str>);

impl DnsName {
    /// Checks `text` and takes it as a name.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::DnsName;
    ///
    /// assert_eq!(DnsName::new("Market.example")?.as_str(), "market.example");
    /// assert!(DnsName::new("10.0.0.256").is_err());
    /// # Ok::<(), &str>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The rule that it breaks, in words.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let plain = text.strip_suffix('.').unwrap_or(text);
        if !plain.is_ascii() {
            return Err("write letters beyond a to z in the form of DNS: xn--…");
        }
        if plain.len() > 253 {
            return Err("a host name has at most 253 bytes");
        }
        for label in plain.split('.') {
            let is_good = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
            let rule = match label {
                "" => "no part of a host name is empty",
                _ if label.len() > 63 => "each part of a host name has at most 63 bytes",
                _ if !label.bytes().all(is_good) => "a host name has letters, digits, - and dots",
                _ if label.len() == 4 && label.eq_ignore_ascii_case("xn--") => {
                    "nothing follows xn--, which begins an encoded name"
                }
                _ if label.starts_with('-') || label.ends_with('-') => {
                    "each part of a host name begins and ends with a letter or a digit"
                }
                // Names of services (RFC 8552). Elsewhere they stand for many hosts.
                _ if label.starts_with('_') => {
                    "a part that begins with _ names a service, not a host"
                }
                _ => continue,
            };
            return Err(rule);
        }
        // A last label of digits only is a mistyped IPv4 address, not a host name (RFC 3696, 2).
        let last = plain.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|it| it.is_ascii_digit()) {
            return Err("a host name cannot end in a number; an IPv4 address has four, up to 255");
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// Returns the name as text.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::{Endpoint, Host};
    ///
    /// let Endpoint::Tcp(tcp) = "/dns/db.example/tcp/80".parse()? else { panic!("it is TCP") };
    /// let Host::Dns(name, _) = tcp.host else { panic!("it is a name") };
    /// assert_eq!(name.as_str(), "db.example");
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
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

/// The addresses of a name to look up.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{DnsFamily, Endpoint, Host, TcpAddress};
///
/// let endpoint: Endpoint = "/dns6/market.example/tcp/5555".parse()?;
/// let Endpoint::Tcp(TcpAddress { host: Host::Dns(_, family), .. }) = endpoint else {
///     unreachable!("it has a name")
/// };
/// assert_eq!(family, DnsFamily::V6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DnsFamily {
    /// IPv4 and IPv6.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}
