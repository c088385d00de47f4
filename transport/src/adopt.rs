//! A listener from a socket that already exists: from a service manager, the parent process, or the
//! standard library.
//!
//! The kernel says what the socket is: whether it listens, its address, and whether its path still
//! leads to it. The file at its path belongs to its maker: it is not removed at the end, and not
//! created again after it has vanished.

use std::{
    io,
    net::{SocketAddr, SocketAddrV6},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net,
    },
    path::{Path, PathBuf},
};

use endpoints::{Endpoint, Host, ParseEndpointError, Stamp, TcpAddress, UnixAddress, UnixPath};
use rustix::{
    fs::{FileType, fstat},
    io::{FdFlags, fcntl_setfd, ioctl_fionbio},
    net::{AddressFamily, SocketType, getpeername, ipproto, sockopt},
};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};

use crate::{
    here,
    here::socket_stamp,
    holders::Holder,
    linux::describe,
    listen::Listener,
    listening::{Listening, Silence, listening},
    place::Place,
};

impl Listener {
    /// Adopts a socket that already listens: a listener of the standard library, or a descriptor
    /// from a service manager or the parent process. A listener of tokio becomes one of the
    /// standard library by its `into_std`.
    ///
    /// It is stamped and published like one that was bound here. It becomes non-blocking, and child
    /// processes do not inherit it. Dropping this leaves the socket file in place, and a vanished
    /// file is not created again: both are the maker's business.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Listener;
    ///
    /// let bound = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let port = bound.local_addr()?.port();
    /// let listener = Listener::from_std(bound)?;
    /// assert_eq!(listener.bound().to_string(), format!("/ip4/127.0.0.1/tcp/{port}"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AdoptError`], which says what it is instead of a listener.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that drives I/O and time.
    pub fn from_std(listener: impl Into<OwnedFd>) -> Result<Self, AdoptError> {
        let socket = listener.into();
        let family = check(socket.as_fd())?;
        fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(io::Error::from)?;
        ioctl_fionbio(&socket, true).map_err(io::Error::from)?;
        match family {
            AddressFamily::UNIX => Self::adopt_unix(socket.into()),
            _ => Self::adopt_tcp(socket.into()),
        }
    }

    fn adopt_tcp(listener: std::net::TcpListener) -> Result<Self, AdoptError> {
        let bound = endpoint_of(listener.local_addr()?)?;
        Ok(Self::at_port(bound, TcpListener::from_std(listener)?))
    }

    fn adopt_unix(listener: net::UnixListener) -> Result<Self, AdoptError> {
        let address = listener.local_addr()?;
        if let Some(name) = address.as_abstract_name() {
            let name = str::from_utf8(name).map_err(|_| AdoptError::NotUtf8)?;
            return Ok(Self::at_name(name, UnixListener::from_std(listener)?));
        }
        let path = address.as_pathname().ok_or(AdoptError::Nameless)?;
        let (path, stamp) = at_path(path, &listener)?;
        let place = Place::adopt(&path, UnixListener::from_std(listener)?, stamp);
        Ok(Self::at_path(&Endpoint::Unix(UnixAddress::Path(path)), place))
    }
}

impl TryFrom<net::UnixListener> for Listener {
    type Error = AdoptError;

    fn try_from(listener: net::UnixListener) -> Result<Self, AdoptError> {
        Self::from_std(listener)
    }
}

impl TryFrom<std::net::TcpListener> for Listener {
    type Error = AdoptError;

    fn try_from(listener: std::net::TcpListener) -> Result<Self, AdoptError> {
        Self::from_std(listener)
    }
}

impl TryFrom<OwnedFd> for Listener {
    type Error = AdoptError;

    fn try_from(descriptor: OwnedFd) -> Result<Self, AdoptError> {
        Self::from_std(descriptor)
    }
}

/// Why a descriptor cannot be taken as a listener.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{net::UdpSocket, os::fd::OwnedFd};
///
/// use callsign::{AdoptError, Listener};
///
/// let socket = OwnedFd::from(UdpSocket::bind("127.0.0.1:0")?);
/// assert!(matches!(Listener::try_from(socket), Err(AdoptError::OtherType { .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The descriptor is not a socket.
    #[error("it is {found}, not a socket")]
    NotASocket {
        /// A description of the socket.
        found: &'static str,
    },
    /// It is a socket of a type that accepts no connections, or not as streams.
    #[error("it is a {found} socket; only a stream socket can take connections here")]
    OtherType {
        /// The type, in a word.
        found: &'static str,
    },
    /// It is neither a Unix socket nor one of TCP.
    #[error("it is neither a Unix socket nor a TCP socket")]
    OtherProtocol,
    /// It is a connection: service managers that accept by themselves hand on one for each.
    #[error("it is a connection, not a socket that takes connections")]
    Connection,
    /// It does not listen.
    #[error("it does not listen: `listen` has to be called before it is handed on")]
    NotListening,
    /// It has no name to connect to.
    #[error("it has no name")]
    Nameless,
    /// Its name is not valid text, and cannot be published.
    #[error("its name is not UTF-8")]
    NotUtf8,
    /// Its path cannot be written as an endpoint.
    #[error("its path cannot be published")]
    Path(#[from] ParseEndpointError),
    /// Its path has a meaning only to its maker.
    #[error("its path `{}` does not lead to it from here; bind it by its absolute path", .path.display())]
    Elsewhere {
        /// The path that it was bound by.
        path: PathBuf,
    },
    /// Another socket now listens at its path.
    #[error("another socket has taken its path `{path}`{}", .holder.as_ref().map(|it| format!(": {it}")).unwrap_or_default())]
    Displaced {
        /// The path.
        path: String,
        /// The holder of the other socket, if the kernel says.
        holder: Option<Holder>,
    },
    /// Its address is of an interface that this host does not have.
    #[error("this host has no network interface of number {index}")]
    NoInterface {
        /// The number of the interface.
        index: u32,
    },
    /// The kernel does not say what it is, or the runtime rejects it.
    #[error("it cannot be looked at")]
    Io(#[from] io::Error),
}

/// Checks that a descriptor is a stream socket that listens, and returns its family.
fn check(socket: BorrowedFd<'_>) -> Result<AddressFamily, AdoptError> {
    let socket_type = match sockopt::socket_type(socket) {
        Err(rustix::io::Errno::NOTSOCK) => {
            let status = fstat(socket).map_err(io::Error::from)?;
            let found = describe(FileType::from_raw_mode(status.st_mode));
            return Err(AdoptError::NotASocket { found });
        }
        socket_type => socket_type.map_err(io::Error::from)?,
    };
    let family = sockopt::socket_domain(socket).map_err(io::Error::from)?;
    let is_tcp = || {
        let protocol = sockopt::socket_protocol(socket);
        // A socket bound for MPTCP accepts TCP connections as well.
        protocol.is_ok_and(|it| matches!(it, Some(ipproto::TCP | ipproto::MPTCP)))
    };
    match (family, socket_type) {
        (AddressFamily::UNIX, SocketType::STREAM) => {}
        (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM) if is_tcp() => {}
        (_, SocketType::DGRAM) => return Err(AdoptError::OtherType { found: "datagram" }),
        (_, SocketType::SEQPACKET) => return Err(AdoptError::OtherType { found: "seqpacket" }),
        (_, SocketType::RAW) => return Err(AdoptError::OtherType { found: "raw" }),
        _ => return Err(AdoptError::OtherProtocol),
    }
    match sockopt::socket_acceptconn(socket).map_err(io::Error::from)? {
        true => Ok(family),
        false if getpeername(socket).is_ok() => Err(AdoptError::Connection),
        false => Err(AdoptError::NotListening),
    }
}

/// Returns the endpoint of a listening port. An IPv4 address in IPv6 notation is IPv4.
fn endpoint_of(address: SocketAddr) -> Result<Endpoint, AdoptError> {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => zoned(v6),
        _ => Ok(SocketAddr::new(address.ip().to_canonical(), address.port()).into()),
    }
}

/// Returns the endpoint of an address that is valid on one link only.
fn zoned(address: SocketAddrV6) -> Result<Endpoint, AdoptError> {
    let index = address.scope_id();
    let interfaces = if_addrs::get_if_addrs()?;
    let interface = interfaces.into_iter().find(|it| it.index == Some(index));
    let zone = interface.ok_or(AdoptError::NoInterface { index })?.name;
    let host = Host::Ip6Zone { zone: (*zone).into(), ip: *address.ip() };
    Ok(Endpoint::Tcp(TcpAddress { host, port: address.port(), tls: false }))
}

/// Finds the path at which others reach a socket, and stamps it.
fn at_path(bound: &Path, listener: &net::UnixListener) -> Result<(UnixPath, Stamp), AdoptError> {
    // These names are valid for the process that bound it, or that was in its folder then.
    let is_own = bound.is_relative() || bound.starts_with("/proc");
    let path = match UnixPath::new(bound) {
        Ok(path) if !is_own => path,
        _ => UnixPath::new(&plain(bound)?)?,
    };
    let inode = fstat(listener).map_err(io::Error::from)?.st_ino;
    let stamp = Stamp { root: here::root(), ..socket_stamp(listener) };
    match listening(&Endpoint::Unix(UnixAddress::Path(path.clone()))) {
        Listening::Sockets(sockets) => match sockets.iter().find(|it| it.inode == inode) {
            Some(own) => Ok((path, Stamp { socket: own.file, ..stamp })),
            None if is_own => Err(AdoptError::Elsewhere { path: bound.to_owned() }),
            None => {
                let holder = Holder::of(&sockets);
                Err(AdoptError::Displaced { path: path.as_str().to_owned(), holder })
            }
        },
        Listening::Nobody(_) if is_own => Err(AdoptError::Elsewhere { path: bound.to_owned() }),
        Listening::Nobody(silence) => {
            // Its maker may see another file system than this process, in which it is correct. It
            // does not count as near: its stamp names neither the file nor the root.
            let what = match &silence {
                Silence::NotListening => "it leads to a dead socket".to_owned(),
                other => other.to_string(),
            };
            let at = path.as_str();
            tracing::warn!(
                path = at,
                what,
                "the path of a socket that was handed on leads elsewhere"
            );
            Ok((path, socket_stamp(listener)))
        }
        // It is from another network namespace, and cannot be told apart from another one at its
        // path.
        Listening::Unknown => {
            let socket = here::look(&path).ok();
            Ok((path, Stamp { socket, ..stamp }))
        }
    }
}

/// Returns the plain and absolute path to the same file.
fn plain(path: &Path) -> Result<PathBuf, AdoptError> {
    let elsewhere = || AdoptError::Elsewhere { path: path.to_owned() };
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(elsewhere)?;
    Ok(folder.canonicalize().map_err(|_| elsewhere())?.join(name))
}
