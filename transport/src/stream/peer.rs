//! The other end of a stream.

use std::{fmt, net::SocketAddr};

/// Both ends of a TCP connection: they let the kernel find the holder of the other one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpEnds {
    pub(crate) near: SocketAddr,
    pub(crate) far: SocketAddr,
}

/// The machine's description of the other end of a connection. It is no proof of identity: see
/// [`Peer::Unix`].
///
/// ```
/// # use transport as callsign;
/// use callsign::{Peer, Stream};
///
/// let (near, _far) = Stream::pair();
/// assert_eq!(*near.peer(), Peer::Memory);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// The process that made the other end of a Unix socket. To a dialer, that is the process that
    /// called `listen`: if one process listens for another, as systemd does, it is not the one that
    /// answers.
    Unix {
        /// Its number, unless it is outside of this process's PID namespace.
        pid: Option<i32>,
        /// Its user. Unknown if the kernel has no number for it: in a user namespace, all unmapped
        /// users share one number, which identifies nobody.
        uid: Option<u32>,
        /// Its group, with the same restriction.
        gid: Option<u32>,
    },
    /// The address of the other end.
    Tcp(SocketAddr),
    /// This process.
    Memory,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { pid, uid, .. } => {
                match pid {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("a process")?,
                }
                match uid {
                    Some(uid) => write!(f, " of user {uid}"),
                    None => f.write_str(" of an unknown user"),
                }
            }
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Memory => f.write_str("this process"),
        }
    }
}

/// Returns the address as the peer has it: a listener on `::` sees IPv4 callers as
/// `::ffff:192.0.2.1`.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}
