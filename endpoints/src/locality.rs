//! Locality: the nearness of an endpoint, as seen from here.
//!
//! Nearness depends on the dialer, not on the registrar: one caller's local socket is out of reach
//! of the next. Ranking is pure. [`Here`] holds all it needs to know of this machine; one question
//! only the file system can answer, which socket a path leads to, goes to a [`Look`] that the
//! caller supplies.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Endpoint, Host, KernelId, NetnsId, ProcessId, SocketId, Stamp, Stamped, TcpAddress,
    UnixAddress, UnixPath, error::Quoted,
};

/// The distance of an endpoint from the dialer; less is nearer.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::Locality;
///
/// assert!(Locality::UnixSocket < Locality::Loopback, "the lesser is the nearer");
/// assert!(!Locality::Remote.is_within_host());
/// assert_eq!(Locality::SameSubnet.to_string(), "same subnet");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Locality {
    /// Within this process.
    InProcess,
    /// A Unix socket of this kernel.
    UnixSocket,
    /// The loopback of this network namespace.
    Loopback,
    /// A network address of this host.
    ThisHost,
    /// A network address that one of this host's interfaces reaches without a router.
    SameSubnet,
    /// Any other network address.
    Remote,
}

impl Locality {
    /// Tells whether the endpoint is on this host.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Locality;
    ///
    /// assert!(Locality::UnixSocket.is_within_host());
    /// ```
    pub fn is_within_host(self) -> bool {
        self <= Self::ThisHost
    }

    /// Returns the locality in a word or two, for people.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Locality;
    ///
    /// assert_eq!(Locality::SameSubnet.as_str(), "same subnet");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProcess => "in process",
            Self::UnixSocket => "unix socket",
            Self::Loopback => "loopback",
            Self::ThisHost => "this host",
            Self::SameSubnet => "same subnet",
            Self::Remote => "remote",
        }
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A dialer's own location. Unreadable parts are absent.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Here, KernelId};
///
/// let here = Here { kernel: Some(KernelId(7)), ..Here::default() };
/// assert_eq!(here.stamp().kernel, here.kernel);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Here {
    /// The running kernel.
    pub kernel: Option<KernelId>,
    /// The network namespace.
    pub netns: Option<NetnsId>,
    /// The process.
    pub process: Option<ProcessId>,
    /// The addresses of the network interfaces.
    pub interfaces: Vec<Interface>,
}

impl Here {
    /// Returns the stamp of a listener bound here, without the socket file.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::{Here, NetnsId};
    ///
    /// let here = Here { netns: Some(NetnsId(7)), ..Here::default() };
    /// assert_eq!(here.stamp().netns, here.netns);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stamp(&self) -> Stamp {
        let Self { kernel, netns, process, .. } = *self;
        Stamp { kernel, netns, process, ..Stamp::default() }
    }

    /// Tells whether an interface of this host has an address.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::{Here, Interface};
    ///
    /// let (name, ip) = ("eth0".to_owned(), "10.0.0.7".parse()?);
    /// let interface = Interface { name, ip, prefix_bits: 24 };
    /// let here = Here { interfaces: vec![interface], ..Here::default() };
    /// assert!(here.has_address(ip));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn has_address(&self, ip: IpAddr) -> bool {
        self.interfaces.iter().any(|it| it.ip.to_canonical() == ip)
    }

    /// Returns the locality of a peer at an address.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::{Here, Locality};
    ///
    /// let here = Here::default();
    /// assert_eq!(here.locality_of("127.0.0.1".parse()?), Locality::Loopback);
    /// assert_eq!(here.locality_of("192.0.2.7".parse()?), Locality::Remote);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn locality_of(&self, ip: IpAddr) -> Locality {
        let ip = ip.to_canonical();
        match () {
            () if ip.is_loopback() => Locality::Loopback,
            () if self.has_address(ip) => Locality::ThisHost,
            () if self.has_subnet_of(ip) => Locality::SameSubnet,
            () => Locality::Remote,
        }
    }

    fn has_subnet_of(&self, ip: IpAddr) -> bool {
        self.interfaces.iter().any(|it| !it.ip.is_loopback() && it.reaches(ip))
    }
}

/// An address of a network interface.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::Interface;
///
/// let loopback =
///     Interface { name: "lo".to_owned(), ip: "127.0.0.1".parse()?, prefix_bits: 8 };
/// assert!(loopback.ip.is_loopback());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Interface {
    /// The interface's name.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
    /// The number of leading bits that name the subnet.
    pub prefix_bits: u8,
}

impl Interface {
    /// Tells whether an address is in its subnet.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Interface;
    ///
    /// let (name, ip) = ("eth0".to_owned(), "10.0.0.7".parse()?);
    /// let interface = Interface { name, ip, prefix_bits: 24 };
    /// assert!(interface.reaches("10.0.0.200".parse()?));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn reaches(&self, ip: IpAddr) -> bool {
        let common_bits = match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        // A prefix of no bits names no subnet, but the whole Internet.
        self.prefix_bits > 0 && common_bits >= self.prefix_bits.into()
    }
}

/// Finds the socket that a path leads to from here.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Look, Unreachable};
///
/// // For a place from which no file is seen.
/// let blind: &Look<'_> = &|_| Err(Unreachable::Missing);
/// ```
pub type Look<'a> = dyn Fn(&UnixPath) -> Result<SocketId, Unreachable> + 'a;

/// Why an endpoint is left out: it cannot be reached from here, or cannot be proved to be meant.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::Unreachable;
///
/// assert_eq!(Unreachable::OtherHost.to_string(), "it is on another host");
/// ```
#[derive(Clone, Debug, Eq, Error, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum Unreachable {
    #[error("its registrant did not say where it is")]
    NoStamp,
    #[error(
        "its registrant could not learn which kernel it runs on; `[host] id` in its settings says it"
    )]
    KernelNotSaid,
    #[error("this process could not learn where it is itself")]
    HereUnknown,
    #[error("its registrant could not tell its network namespace")]
    NetnsNotSaid,
    #[error("this process could not learn its own network namespace")]
    HereNetnsUnknown,
    #[error("it is on another host")]
    OtherHost,
    #[error("it is in another network namespace of this host")]
    OtherNetns,
    #[error("it is in another process")]
    OtherProcess,
    #[error("no socket was seen there when it was registered")]
    NoSocketStamp,
    #[error("no such socket")]
    Missing,
    #[error("the path leads to something that is not a socket")]
    NotASocket,
    #[error("the path leads to another socket than the one registered")]
    OtherSocket,
    #[error("nobody listens there yet")]
    NotListening,
    #[error("a program of user {0} listens there, and it is another user's")]
    OtherUser(u32),
    #[error("no permission to look at the path")]
    NoPermission,
    #[error("the path cannot be looked at: {0}")]
    Unseen(String),
    #[error("its address is one of this host's own, and its registrant is elsewhere")]
    AddressIsOurs,
    #[error("its zone {} is a link of another host or network namespace", Quoted(.0))]
    OtherZone(String),
    #[error("it is a link-local address, and its zone is not given")]
    NoZone,
    #[error("a wildcard address or port 0 can be bound, not dialed")]
    BindOnly,
}

/// An endpoint with its verdict.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ranked<T> {
    /// The endpoint with its registrant's stamp, or a value that holds one.
    pub stamped: T,
    /// Its locality, or why it is left out.
    pub verdict: Result<Locality, Unreachable>,
}

/// Judges every endpoint and sorts those within reach to the front, nearest first. Equals keep
/// their order, so that the caller decides the order within a tier.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Here, Stamped, rank};
///
/// let near = Stamped::bare("/ip4/192.0.2.7/tcp/5555".parse()?);
/// let candidates = rank([&near], &Here::default(), &|_| unreachable!("there is no path"));
/// assert_eq!(candidates.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rank<T: AsRef<Stamped>>(
    endpoints: impl IntoIterator<Item = T>,
    here: &Here,
    look: &Look<'_>,
) -> Vec<Ranked<T>> {
    let judge = |stamped: T| {
        let verdict = locate(stamped.as_ref(), here, look);
        Ranked { stamped, verdict }
    };
    let mut candidates: Vec<_> = endpoints.into_iter().map(judge).collect();
    candidates.sort_by_key(|it| it.verdict.as_ref().map_or((true, None), |it| (false, Some(*it))));
    candidates
}

/// Returns the nearest endpoint within reach, the first of equals.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Here, Stamped, prefer_addr};
///
/// let remote = Stamped::bare("/ip4/192.0.2.7/tcp/5555".parse()?);
/// // Nothing says that it is on this host, so it is not taken.
/// let unstamped = Stamped::bare("/unix/run/feed.sock".parse()?);
/// let endpoints = [unstamped, remote.clone()];
/// let nearest = prefer_addr(&endpoints, &Here::default(), &|_| unreachable!("it has no stamp"));
/// assert_eq!(nearest, Some(&remote));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prefer_addr<'a>(
    endpoints: impl IntoIterator<Item = &'a Stamped>,
    here: &Here,
    look: &Look<'_>,
) -> Option<&'a Stamped> {
    let nearest = rank(endpoints, here, look).into_iter().next()?;
    nearest.verdict.is_ok().then_some(nearest.stamped)
}

/// Tells how near an endpoint is.
///
/// # Errors
///
/// [`Unreachable`] says why the endpoint is not to be dialed from here.
pub fn locate(stamped: &Stamped, here: &Here, look: &Look<'_>) -> Result<Locality, Unreachable> {
    let stamp = &stamped.stamp;
    match &stamped.endpoint {
        endpoint if endpoint.is_bind_only() => Err(Unreachable::BindOnly),
        Endpoint::Memory(_) => {
            same(stamp.process, here.process, Unreachable::OtherProcess)?;
            Ok(Locality::InProcess)
        }
        Endpoint::Unix(UnixAddress::Path(path)) => {
            same_kernel(stamp, here)?;
            let meant = stamp.socket.ok_or(Unreachable::NoSocketStamp)?;
            if !look(path)?.is_same(&meant) {
                return Err(Unreachable::OtherSocket);
            }
            Ok(Locality::UnixSocket)
        }
        Endpoint::Unix(UnixAddress::Abstract(_)) => {
            same_netns(stamp, here)?;
            Ok(Locality::UnixSocket)
        }
        Endpoint::Tcp(tcp) if tcp.host.is_loopback() => {
            same_netns(stamp, here)?;
            Ok(Locality::Loopback)
        }
        Endpoint::Tcp(tcp) => locate_tcp(tcp, stamp, here),
    }
}

fn locate_tcp(tcp: &TcpAddress, stamp: &Stamp, here: &Here) -> Result<Locality, Unreachable> {
    let same_kernel = stamp.kernel.is_some() && stamp.kernel == here.kernel;
    let Some(ip) = tcp.host.ip() else {
        return Ok(if same_kernel { Locality::ThisHost } else { Locality::Remote });
    };

    if is_link_local(ip) {
        let Host::Ip6Zone { zone, .. } = &tcp.host else { return Err(Unreachable::NoZone) };
        // A zone is a name that its own host gave to a link; elsewhere it may name another link.
        let known_here = here.interfaces.iter().any(|it| *it.name == **zone);
        return match stamp.kernel {
            Some(_) if same_netns(stamp, here).is_ok() => Ok(Locality::ThisHost),
            None if known_here => Ok(Locality::SameSubnet),
            _ => Err(Unreachable::OtherZone(zone.to_string())),
        };
    }
    if here.has_address(ip) {
        // A dial of our own address reaches this host, even if another host has the same address.
        let is_elsewhere = differ(stamp.kernel, here.kernel) || differ(stamp.netns, here.netns);
        return if is_elsewhere { Err(Unreachable::AddressIsOurs) } else { Ok(Locality::ThisHost) };
    }
    if same_kernel {
        Ok(Locality::ThisHost)
    } else if here.has_subnet_of(ip) {
        Ok(Locality::SameSubnet)
    } else {
        Ok(Locality::Remote)
    }
}

fn same_kernel(stamp: &Stamp, here: &Here) -> Result<(), Unreachable> {
    same(stamp.kernel, here.kernel, Unreachable::OtherHost).map_err(|unreachable| {
        match unreachable {
            // It has no more to say.
            Unreachable::NoStamp if *stamp != Stamp::default() => Unreachable::KernelNotSaid,
            other => other,
        }
    })
}

fn same_netns(stamp: &Stamp, here: &Here) -> Result<(), Unreachable> {
    same_kernel(stamp, here)?;
    same(stamp.netns, here.netns, Unreachable::OtherNetns).map_err(
        |unreachable| match unreachable {
            Unreachable::NoStamp => Unreachable::NetnsNotSaid,
            Unreachable::HereUnknown => Unreachable::HereNetnsUnknown,
            other => other,
        },
    )
}

/// Passes only if both sides are known and equal: an unknown side never counts as local.
fn same<T: PartialEq>(
    stamped: Option<T>,
    here: Option<T>,
    otherwise: Unreachable,
) -> Result<(), Unreachable> {
    match (stamped, here) {
        (Some(stamped), Some(here)) if stamped == here => Ok(()),
        (None, _) => Err(Unreachable::NoStamp),
        (_, None) => Err(Unreachable::HereUnknown),
        _ => Err(otherwise),
    }
}

/// Tells whether both sides are known, and not equal.
fn differ<T: PartialEq>(stamped: Option<T>, here: Option<T>) -> bool {
    stamped.is_some() && here.is_some() && stamped != here
}

fn is_link_local(ip: IpAddr) -> bool {
    // An IPv4 one (169.254.0.0/16) needs no zone: the routing table knows its link.
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
