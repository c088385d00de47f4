//! The listener at an endpoint, as the kernel reports it.
//!
//! A connection made only to look is one that a program has lost: a server that accepts a single
//! one ends, and one that is careless about writes may die of it. So this module asks the kernel,
//! which knows every socket of this network namespace, and the program notices nothing.
//!
//! An endpoint that the kernel does not show from here is [`Listening::Unknown`], never "nobody":
//! another host, a name that must be looked up, and the socket of a path whose listener is in
//! another network namespace.

use std::{
    ffi::OsStr,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use endpoints::{Endpoint, Host, SocketId, TcpAddress, UnixAddress, UnixPath};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use thiserror::Error;

use crate::{
    diag::{self, TcpSocket, UnixSocket},
    here,
    linux::{Handle, Kind},
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

/// Why nobody can be connected to at an endpoint.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Silence {
    /// Nobody listens.
    #[error("nobody listens there")]
    NotListening,
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
/// It takes some 20 µs for a port, and for a Unix socket as much for every hundred that exist.
pub fn listening(endpoint: &Endpoint) -> Listening {
    let asked = match endpoint {
        Endpoint::Tcp(tcp) => listening_at_port(tcp),
        Endpoint::Unix(UnixAddress::Path(path)) => listening_at_path(path),
        Endpoint::Unix(UnixAddress::Abstract(name)) => listening_at_name(name),
        Endpoint::Memory(_) => Ok(Listening::Unknown),
    };
    asked.unwrap_or_else(|error| {
        tracing::debug!(%endpoint, %error, "the kernel does not say who listens");
        Listening::Unknown
    })
}

fn listening_at_port(tcp: &TcpAddress) -> io::Result<Listening> {
    let Some(ips) = ips_of(&tcp.host) else { return Ok(Listening::Unknown) };
    if !ips.iter().all(|ip| is_of_this_host(*ip)) {
        return Ok(Listening::Unknown);
    }
    let listeners = diag::tcp_listeners(tcp.port)?;
    let sockets = ips.iter().flat_map(|ip| taking(&listeners, *ip)).collect::<Vec<_>>();
    Ok(some_or_nobody(sockets))
}

/// Returns the addresses of a host, if they are known without a query.
fn ips_of(host: &Host) -> Option<Vec<IpAddr>> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    match host {
        Host::Dns(..) if host.is_loopback() => Some(loopback.to_vec()),
        _ => host.ip().map(|ip| vec![ip]),
    }
}

fn is_of_this_host(ip: IpAddr) -> bool {
    let has = |ip| here::interfaces().is_ok_and(|all| all.iter().any(|it| it.ip == ip));
    ip.is_unspecified() || ip.is_loopback() || has(ip)
}

/// Returns the sockets among which the kernel chooses for a connection to an address: those with
/// that exact address before wildcards, and among these IPv4's own before IPv6's.
fn taking(listeners: &[TcpSocket], ip: IpAddr) -> Vec<ListeningSocket> {
    let rank = |it: &TcpSocket| match (it.address.ip(), ip) {
        (own, ip) if own == ip => Some(0),
        (IpAddr::V4(own), IpAddr::V4(_)) => own.is_unspecified().then_some(1),
        (IpAddr::V6(own), IpAddr::V6(_)) => own.is_unspecified().then_some(2),
        (IpAddr::V6(own), IpAddr::V4(_)) => (own.is_unspecified() && !it.is_ipv6_only).then_some(2),
        (IpAddr::V4(_), IpAddr::V6(_)) => None,
    };
    let Some(best) = listeners.iter().filter_map(rank).min() else { return Vec::new() };
    let taking = listeners.iter().filter(|it| rank(it) == Some(best));
    taking.map(|it| ListeningSocket { inode: it.inode, uid: Some(it.uid), file: None }).collect()
}

fn listening_at_path(path: &UnixPath) -> io::Result<Listening> {
    let handle = match Handle::open(path.as_path()) {
        Ok(handle) => handle,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Listening::Nobody(missing(path.as_path())));
        }
        // A folder that one may not look into.
        Err(error) => return Err(error),
    };
    listening_at_file(&handle, path)
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

/// Asks for the listener at an open file, to which the path led.
pub(crate) fn listening_at_file(handle: &Handle, path: &UnixPath) -> io::Result<Listening> {
    let id = match handle.kind()? {
        Kind::Socket(id) => id,
        Kind::Other(found) => return Ok(Listening::Nobody(Silence::NotASocket { found })),
    };
    let sockets = diag::unix_sockets()?;
    let has_file = |it: &&UnixSocket| it.file == Some(file_number(id));
    // Some file systems (overlayfs, btrfs) report another device than the kernel has; then the name
    // under which the socket was bound decides.
    let has_name = |it: &&UnixSocket| {
        let name = OsStr::from_bytes(it.name.strip_suffix(b"\0").unwrap_or(&it.name));
        let file_name = Path::new(name).file_name();
        it.file.is_some_and(|(inode, _)| inode == id.ino as u32)
            && file_name.is_some()
            && file_name == path.as_path().file_name()
    };
    let found = sockets.iter().find(has_file).or_else(|| sockets.iter().find(has_name));
    match found {
        Some(socket) => Ok(of_unix([socket], Some(id))),
        None => bound_anywhere(handle),
    }
}

/// Asks whether anybody has bound a socket file, in whatever network namespace. A datagram socket
/// that connects to it sends nothing, and if the types differ reaches nobody at all.
fn bound_anywhere(handle: &Handle) -> io::Result<Listening> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    match connect(&probe, &SocketAddrUnix::new(handle.path())?) {
        Ok(()) => Ok(Listening::Nobody(Silence::OtherType { found: "datagram" })),
        Err(rustix::io::Errno::CONNREFUSED) => Ok(Listening::Nobody(Silence::NotListening)),
        // The name is in use but not visible, or may not be tried.
        Err(_) => Ok(Listening::Unknown),
    }
}

fn listening_at_name(name: &str) -> io::Result<Listening> {
    let sockets = diag::unix_sockets()?;
    let is_abstract = |it: &&UnixSocket| it.name.first() == Some(&0);
    let found: Vec<_> = sockets
        .iter()
        .filter(is_abstract)
        .filter(|it| it.name.get(1..) == Some(name.as_bytes()))
        .collect();
    if !found.is_empty() {
        // A stream socket and a datagram socket may have the same name.
        return Ok(of_unix(found, None));
    }
    let padded = sockets.iter().filter(is_abstract).filter(|it| it.is_listening).find_map(|it| {
        let theirs = str::from_utf8(it.name.get(1..)?).ok()?;
        (theirs.trim_end_matches('\0') == name.trim_end_matches('\0')).then_some(theirs)
    });
    let silence = padded.map_or(Silence::NotListening, |it| Silence::Padded {
        at: Endpoint::Unix(UnixAddress::Abstract(it.into())),
    });
    Ok(Listening::Nobody(silence))
}

/// Describes the sockets of one name.
fn of_unix<'a>(
    found: impl IntoIterator<Item = &'a UnixSocket>,
    file: Option<SocketId>,
) -> Listening {
    let mut silence = Silence::NotListening;
    let mut sockets = Vec::new();
    for socket in found {
        match i32::from(socket.socket_type) {
            libc::SOCK_STREAM if socket.is_listening => {
                sockets.push(ListeningSocket { inode: socket.inode, uid: socket.uid, file });
            }
            libc::SOCK_STREAM => silence = Silence::Bound,
            libc::SOCK_DGRAM => silence = Silence::OtherType { found: "datagram" },
            libc::SOCK_SEQPACKET => silence = Silence::OtherType { found: "seqpacket" },
            _ => {}
        }
    }
    if sockets.is_empty() { Listening::Nobody(silence) } else { Listening::Sockets(sockets) }
}

fn some_or_nobody(sockets: Vec<ListeningSocket>) -> Listening {
    if sockets.is_empty() {
        Listening::Nobody(Silence::NotListening)
    } else {
        Listening::Sockets(sockets)
    }
}

/// Numbers a file as sock_diag does: half of its inode number, and the device as it is within the
/// kernel, with twenty bits for the minor number.
fn file_number(id: SocketId) -> (u32, u32) {
    let device = rustix::fs::major(id.dev) << 20 | rustix::fs::minor(id.dev);
    (id.ino as u32, device)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

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
            uid: 0,
            inode,
        });
        let check = |listeners: &[TcpSocket], ip: &str, expected: &[u64]| {
            let taking = taking(listeners, ip.parse().unwrap());
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
