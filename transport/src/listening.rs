//! The listener at an endpoint, as the kernel reports it.
//!
//! A connection made only to look is one that a program has lost: a server that accepts a single
//! one ends, and one that is careless about writes may die of it. So this module asks the kernel,
//! which knows every socket of this network namespace, and the program notices nothing.
//!
//! An endpoint that the kernel does not show from here is [`Listening::Unknown`], never "nobody":
//! another host, a name that must be looked up, and the socket of a path whose listener is in
//! another network namespace.

mod picked;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use endpoints::{Endpoint, Host, SocketId, Stamp, Stamped, TcpAddress, UnixAddress, UnixPath};
use thiserror::Error;

use self::picked::{Picked, SocketFile};
use crate::{
    diag::{self, TcpSocket},
    here,
    linux::{self, Handle},
};

/// The listener at an endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listening {
    /// These sockets do, at least one, and a connection would reach one of them.
    Sockets(Vec<ListeningSocket>),
    /// Nobody does.
    Nobody(Silence),
    /// Unknown from here: only a connection would tell.
    Unknown,
}

/// A socket that listens, as the kernel knows it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ListeningSocket {
    /// Its number, which identifies the descriptors that hold it.
    pub inode: u64,
    /// The user who made it, where the kernel says.
    pub uid: Option<u32>,
    /// The socket file, if it is one at a path.
    pub file: Option<SocketId>,
}

impl ListeningSocket {
    /// Tells whether it is at the very socket file that was stamped.
    ///
    /// ```
    /// use endpoints::{SocketId, Stamp};
    /// use transport::ListeningSocket;
    ///
    /// let file = Some(SocketId { dev: 1, ino: 2, born_ns: None });
    /// let socket = ListeningSocket { inode: 7, uid: None, file };
    /// assert!(socket.is_that_of(&Stamp { socket: file, ..Stamp::default() }));
    /// assert!(!socket.is_that_of(&Stamp::default()));
    /// ```
    pub fn is_that_of(&self, stamp: &Stamp) -> bool {
        self.file.is_some() && self.file == stamp.socket
    }
}

/// Why nobody can be connected to at an endpoint.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Silence {
    /// Nobody listens.
    #[error("nobody listens there")]
    NotListening,
    /// The address is not one of this host any more; another host may have it.
    #[error("this host no longer has that address")]
    AddressGone,
    /// A program listens there, and the address is not one of this host, or not yet: connections to it
    /// go to whichever host has it.
    #[error("this host has no address {address}")]
    NoAddress {
        /// The address.
        address: IpAddr,
    },
    /// The loopback interface is down.
    #[error("the loopback interface is down")]
    LoopbackDown,
    /// There is no such file.
    #[error("there is no such socket file")]
    Missing,
    /// A folder on the way to it is not there.
    #[error("there is no folder `{}`", .folder.display())]
    NoFolder {
        /// The first that is missing.
        folder: PathBuf,
    },
    /// What leads to it is no folder.
    #[error("`{}` on the way to it is not a folder", .file.display())]
    NotAFolder {
        /// The file in its place.
        file: PathBuf,
    },
    /// A socket has the place that does not listen, or not yet.
    #[error("there is a socket that does not listen")]
    Bound,
    /// The path leads to something else.
    #[error("there is {found} in its place, not a socket")]
    NotASocket {
        /// A description of the target.
        found: &'static str,
    },
    /// A socket is there, of a type that takes no such connection.
    #[error("there is a {found} socket in its place; only stream sockets can be connected to")]
    OtherType {
        /// The type, in a word.
        found: &'static str,
    },
    /// Nobody has the name, but a longer one, padded with NULs, is in use.
    #[error("nobody listens there, but at the longer name `{at}`")]
    Padded {
        /// The name in use.
        at: Endpoint,
    },
}

/// Asks the kernel for the listener at an endpoint. The listener does not notice.
///
/// The kernel goes through the sockets of the network namespace for it, whoever has made them: a
/// hundred in some 20 µs, and sixty thousand in a tenth of a second.
pub fn listening(endpoint: &Endpoint) -> Listening {
    listening_at_each(std::slice::from_ref(endpoint)).pop().unwrap_or(Listening::Unknown)
}

/// Asks the kernel for the listener at each of some endpoints, and answers in their order. It takes
/// about as long as for one of them, and every answer is younger than the call.
///
/// ```
/// use transport::{Listening, Silence, listening_at_each};
///
/// let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let endpoints = [taken.local_addr()?.into(), "/unix/@nobody-has-this-name".parse()?];
/// let [at_port, at_name] = &listening_at_each(&endpoints)[..] else { unreachable!() };
/// assert!(matches!(at_port, Listening::Sockets(_)));
/// assert_eq!(*at_name, Listening::Nobody(Silence::NotListening));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn listening_at_each(endpoints: &[Endpoint]) -> Vec<Listening> {
    // Asked once for all of them.
    let known = RefCell::new(BTreeMap::new());
    let is_own = |ip: IpAddr| {
        let ask = || here::has_ip_now(ip).unwrap_or(ip.is_loopback());
        ip.is_unspecified() || *known.borrow_mut().entry(ip).or_insert_with(ask)
    };
    let places = endpoints.iter().map(|it| or_unknown(it, AskedPlace::of(it, is_own)));
    let places: Vec<_> =
        places.map(|it| it.unwrap_or(AskedPlace::Known(Listening::Unknown))).collect();
    let (mut ports, mut picked) = (BTreeSet::new(), Picked::default());
    for place in &places {
        match place {
            AskedPlace::Port(port, _) => drop(ports.insert(*port)),
            AskedPlace::File(_, file) => picked.want_file(file),
            AskedPlace::Name(name) => picked.want_name(name),
            AskedPlace::Known(_) => {}
        }
    }
    let lists = diag::tcp_listeners(&ports).and_then(|tcp| Ok((tcp, picked.pick()?)));
    let lists = or_unknown("the list of sockets", lists);
    let answer = |(endpoint, place)| {
        let answer = match (place, &lists) {
            (AskedPlace::Known(answer), _) => Ok(answer),
            (_, None) => Ok(Listening::Unknown),
            (AskedPlace::Port(port, ips), Some((tcp, _))) => Ok(listening_at_port(tcp, port, &ips)),
            (AskedPlace::File(handle, file), Some((_, unix))) => unix.at_file(&handle, &file),
            (AskedPlace::Name(name), Some((_, unix))) => Ok(unix.at_name(name)),
        };
        or_unknown(endpoint, answer).unwrap_or(Listening::Unknown)
    };
    endpoints.iter().zip(places).map(answer).collect()
}

/// Tells whether the address of an endpoint is not one of this host. That of a name is not known.
///
/// ```
/// use transport::is_of_other_host;
///
/// assert!(is_of_other_host(&"/ip4/192.0.2.7/tcp/80".parse()?));
/// assert!(!is_of_other_host(&"/ip4/127.0.0.1/tcp/80".parse()?));
/// assert!(!is_of_other_host(&"/dns/example.org/tcp/80".parse()?));
/// # Ok::<(), endpoints::ParseEndpointError>(())
/// ```
pub fn is_of_other_host(endpoint: &Endpoint) -> bool {
    let Endpoint::Tcp(tcp) = endpoint else { return false };
    let ip = tcp.host.ip().filter(|it| !it.is_unspecified());
    ip.is_some_and(|ip| here::has_now(&tcp.host, ip) == Some(false))
}

/// Tells why nobody is led to the program that listens here at an endpoint whose address is not one of
/// this host (`ip_nonlocal_bind`, `IP_FREEBIND`); `None` if there is no such program. One at a wildcard
/// address may be reached by another host's address, which a router translates.
///
/// ```
/// use transport::without_address;
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// assert_eq!(without_address(&listener.local_addr()?.into()), None, "the loopback is here");
/// assert_eq!(without_address(&"/ip4/192.0.2.7/tcp/80".parse()?), None, "it is another host's");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn without_address(endpoint: &Endpoint) -> Option<Silence> {
    let Endpoint::Tcp(tcp) = endpoint else { return None };
    let ip = tcp.host.ip().filter(|_| is_of_other_host(endpoint))?;
    let listens = diag::has_listener_at(SocketAddr::new(ip, tcp.port));
    or_unknown(endpoint, listens)?.then(|| missing_address(ip))
}

/// Says what is wrong with an address that is not one of this host.
fn missing_address(address: IpAddr) -> Silence {
    if is_lost_with_loopback(address) {
        Silence::LoopbackDown
    } else {
        Silence::NoAddress { address }
    }
}

/// Returns why a program that has listened at an endpoint is not reached there any more, though it may
/// listen: its address is not one of this host now.
///
/// ```
/// use transport::lost_address;
///
/// assert_eq!(lost_address(&"/ip4/127.0.0.1/tcp/80".parse()?), None, "it is there");
/// # Ok::<(), endpoints::ParseEndpointError>(())
/// ```
pub fn lost_address(endpoint: &Endpoint) -> Option<Silence> {
    let Endpoint::Tcp(tcp) = endpoint else { return None };
    let ip = tcp.host.ip().filter(|_| is_of_other_host(endpoint))?;
    Some(if is_lost_with_loopback(ip) { Silence::LoopbackDown } else { Silence::AddressGone })
}

fn is_lost_with_loopback(address: IpAddr) -> bool {
    address.is_loopback() && linux::is_loopback_up() == Some(false)
}

fn or_unknown<T>(what: impl fmt::Display, told: io::Result<T>) -> Option<T> {
    told.inspect_err(|error| tracing::debug!(%what, %error, "the kernel does not say who listens"))
        .ok()
}

/// A place, and what of it is known without a list of sockets.
enum AskedPlace<'a> {
    Known(Listening),
    Port(u16, Vec<IpAddr>),
    File(Handle, SocketFile<'a>),
    Name(&'a str),
}

impl<'a> AskedPlace<'a> {
    /// Takes an endpoint, and what tells whether an address is one of this host.
    fn of(endpoint: &'a Endpoint, is_own: impl Fn(IpAddr) -> bool) -> io::Result<Self> {
        Ok(match endpoint {
            // The kernel lists it with the number of its interface, which may have another name by now.
            Endpoint::Tcp(TcpAddress { host: Host::Ip6Zone { .. }, .. })
                if is_of_other_host(endpoint) =>
            {
                Self::Known(Listening::Unknown)
            }
            Endpoint::Tcp(tcp) => match ips_of(&tcp.host) {
                Some(ips) if ips.iter().all(|ip| is_own(*ip)) => Self::Port(tcp.port, ips),
                _ => Self::Known(Listening::Unknown),
            },
            Endpoint::Unix(UnixAddress::Path(path)) => match Handle::open(path.as_path()) {
                Ok(handle) => match SocketFile::of(&handle, path)? {
                    Ok(file) => Self::File(handle, file),
                    Err(silence) => Self::Known(Listening::Nobody(silence)),
                },
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    Self::Known(Listening::Nobody(missing(path.as_path())))
                }
                // A folder that one may not look into.
                Err(error) => return Err(error),
            },
            Endpoint::Unix(UnixAddress::Abstract(name)) => Self::Name(name),
            Endpoint::Memory(_) => Self::Known(Listening::Unknown),
        })
    }
}

pub(crate) fn listening_at_port(listeners: &[TcpSocket], port: u16, ips: &[IpAddr]) -> Listening {
    let takes = |it: &&TcpSocket| {
        it.address.port() == port
            && it.device.is_none_or(|device| ips.iter().any(|ip| linux::has_device(device, *ip)))
    };
    let at_port: Vec<_> = listeners.iter().filter(takes).collect();
    let sockets: Vec<_> = ips.iter().flat_map(|ip| taking(&at_port, *ip)).collect();
    if sockets.is_empty() {
        Listening::Nobody(Silence::NotListening)
    } else {
        Listening::Sockets(sockets)
    }
}

/// Returns the addresses of a host, if they are known without a query.
pub(crate) fn ips_of(host: &Host) -> Option<Vec<IpAddr>> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    match host {
        Host::Dns(..) if host.is_loopback() => Some(loopback.to_vec()),
        _ => host.ip().map(|ip| vec![ip]),
    }
}

/// Returns the sockets among which the kernel chooses for a connection to an address: those with
/// that exact address before wildcards, and among these IPv4's own before IPv6's.
fn taking(listeners: &[&TcpSocket], ip: IpAddr) -> Vec<ListeningSocket> {
    let rank = |it: &TcpSocket| match (it.address.ip(), ip) {
        (own, ip) if own == ip => Some(0),
        (IpAddr::V4(own), IpAddr::V4(_)) => own.is_unspecified().then_some(1),
        (IpAddr::V6(own), IpAddr::V6(_)) => own.is_unspecified().then_some(2),
        (IpAddr::V6(own), IpAddr::V4(_)) => (own.is_unspecified() && !it.is_ipv6_only).then_some(2),
        (IpAddr::V4(_), IpAddr::V6(_)) => None,
    };
    let Some(best) = listeners.iter().filter_map(|it| rank(it)).min() else { return Vec::new() };
    let taking = listeners.iter().filter(|it| rank(it) == Some(best));
    taking.map(|it| ListeningSocket { inode: it.inode, uid: Some(it.uid), file: None }).collect()
}

/// Says what there is instead of a file that is not there.
fn missing(path: &Path) -> Silence {
    let above: Vec<_> = path.ancestors().skip(1).collect();
    let first = above.iter().rev().find_map(|it| match fs::metadata(it) {
        Ok(found) if found.is_dir() => None,
        Ok(_) => Some(Silence::NotAFolder { file: it.to_path_buf() }),
        // Whatever else is wrong with it, the file itself was looked for.
        Err(error) if error.kind() != io::ErrorKind::NotFound => None,
        Err(_) => Some(Silence::NoFolder { folder: it.to_path_buf() }),
    });
    first.unwrap_or(Silence::Missing)
}

/// Tells whether the very socket of a stamped path still listens while nothing is at the path: its
/// folder is away, perhaps for a moment, or its file has been removed.
///
/// ```
/// # use transport as callsign;
/// use std::os::unix::net::UnixListener;
///
/// use callsign::listens_elsewhere;
/// use endpoints::{Endpoint, Stamped};
///
/// let folder = tempfile::tempdir()?;
/// let at = |path: &str| folder.path().join(path);
/// std::fs::create_dir(at("here"))?;
/// let listener = UnixListener::bind(at("here/a.sock"))?;
/// let endpoint = Endpoint::from_unix_path(&at("here/a.sock"))?;
/// let stamped = Stamped { stamp: callsign::stamp(&endpoint), endpoint };
/// assert!(!listens_elsewhere(&stamped), "it is there");
/// std::fs::rename(at("here"), at("away"))?;
/// assert!(listens_elsewhere(&stamped));
/// drop(listener);
/// assert!(!listens_elsewhere(&stamped));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn listens_elsewhere(Stamped { endpoint, stamp }: &Stamped) -> bool {
    let (Endpoint::Unix(UnixAddress::Path(path)), Some(socket)) = (endpoint, stamp.socket) else {
        return false;
    };
    let is_missing = matches!(
        listening(endpoint),
        Listening::Nobody(Silence::Missing | Silence::NoFolder { .. } | Silence::NotAFolder { .. })
    );
    is_missing
        && or_unknown("the list of sockets", picked::is_listening(socket, path)) == Some(true)
}

/// Asks for the listener at an open file, to which the path led.
pub(crate) fn listening_at_file(handle: &Handle, path: &UnixPath) -> io::Result<Listening> {
    match SocketFile::of(handle, path)? {
        Ok(file) => {
            let mut picked = Picked::default();
            picked.want_file(&file);
            picked.pick()?.at_file(handle, &file)
        }
        Err(silence) => Ok(Listening::Nobody(silence)),
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn what_is_missing_on_the_way_to_a_socket_is_named() {
        let room = tempfile::tempdir().unwrap();
        let at = |path: &str| room.path().join(path);
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
        let check = |path: &str, expected: Silence| {
            let path = UnixPath::new(&at(path)).unwrap();
            let asked = listening(&Endpoint::Unix(UnixAddress::Path(path)));
            assert_eq!(asked, Listening::Nobody(expected));
        };
        let none = |path: &str| Silence::NoFolder { folder: at(path) };
        check("a.sock", Silence::Missing);
        check("folder/a.sock", Silence::Missing);
        check("none/a.sock", none("none"));
        check("none/below/a.sock", none("none"));
        check("folder/none/a.sock", none("folder/none"));
        check("link/a.sock", none("link"));
        check("file/a.sock", Silence::NotAFolder { file: at("file") });
        check("file/below/a.sock", Silence::NotAFolder { file: at("file") });
        check("folder", Silence::NotASocket { found: "a folder" });
        check("link", Silence::NotASocket { found: "a symbolic link" });
    }

    #[test]
    fn the_kernel_chooses_the_closest_listener() {
        let listeners = [
            ("0.0.0.0:7", false, 1),
            ("127.0.0.1:7", false, 2),
            ("[::]:7", false, 3),
            ("[::1]:7", false, 4),
            ("[::1]:7", false, 5),
        ]
        .map(|(address, is_ipv6_only, inode)| TcpSocket {
            address: address.parse::<SocketAddr>().unwrap(),
            is_ipv6_only,
            device: None,
            uid: 0,
            inode,
        });
        let check = |listeners: &[TcpSocket], ip: &str, expected: &[u64]| {
            let listeners: Vec<_> = listeners.iter().collect();
            let taking = taking(&listeners, ip.parse().unwrap());
            let inodes: Vec<_> = taking.iter().map(|it| it.inode).collect();
            assert_eq!(inodes, expected, "{ip}");
        };
        check(&listeners, "127.0.0.1", &[2]);
        check(&listeners, "192.0.2.7", &[1]);
        check(&listeners, "::1", &[4, 5]);
        check(&listeners, "2001:db8::7", &[3]);
        // IPv4 goes to an IPv6 socket only if no other takes it, and that one takes both.
        check(&listeners[2..], "192.0.2.7", &[3]);
        let alone = [TcpSocket { is_ipv6_only: true, ..listeners[2].clone() }];
        check(&alone, "192.0.2.7", &[]);
        check(&alone, "::1", &[3]);
    }
}
