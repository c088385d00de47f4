//! The peer's identity, from the kernel.
//!
//! Over a Unix socket that is the user of the process that made it, with its groups. Over TCP it is
//! the user of the peer's own socket, if that is on this host and in this network namespace; the
//! kernel's list of sockets has it by the addresses of both ends. For a peer beyond, only the
//! address is known.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, SocketType},
    process::geteuid,
};

use crate::{Peer, Stream, TcpEnds, diag, identity, linux};

/// The peer's identity, from the kernel.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Who {
    /// A user of this host.
    User {
        /// Its number.
        uid: u32,
        /// The groups of its process when it connected; unknown over TCP.
        groups: Vec<u32>,
    },
    /// A user of this host without a number in this kernel's view: an unmapped user of a user
    /// namespace, and over TCP the holder of the other end in another network namespace.
    Unknown,
    /// Gone: over the loopback, or another address of this host, the holder of the other end has
    /// closed it.
    Gone,
    /// A peer at an address beyond this host, or in another of its network namespaces.
    Address(IpAddr),
    /// This process.
    Here,
}

impl Who {
    /// Tells whether it is the user of this process, or root, whom nobody can keep from anything.
    pub fn is_own_or_root(&self) -> bool {
        matches!(self, Self::User { uid, .. } if *uid == 0 || *uid == geteuid().as_raw())
    }
}

impl Stream {
    /// Asks the kernel for the peer's identity. It takes some 10 µs, and the answer is a present
    /// one: over TCP a peer that has closed its socket is unknown.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::{Stream, Who};
    ///
    /// /// Names the peer, for a log.
    /// fn name(stream: &Stream) -> String {
    ///     match stream.who() {
    ///         Who::User { uid, .. } => format!("user {uid}"),
    ///         Who::Address(address) => address.to_string(),
    ///         Who::Here => "this process".to_owned(),
    ///         _ => "somebody".to_owned(),
    ///     }
    /// }
    /// ```
    pub fn who(&self) -> Who {
        match (self.peer(), self.fd(), self.tcp_ends()) {
            (Peer::Unix { uid: Some(uid), gid, .. }, Some(fd), _) => {
                Who::User { uid: *uid, groups: groups(fd, *gid) }
            }
            (Peer::Tcp(_), Some(fd), Some(ends)) => match ends.who_at(Some(fd)) {
                who @ Who::User { .. } => who,
                _ if ends.far_is_gone(fd) => Who::Gone,
                who => who,
            },
            (Peer::Memory, ..) => Who::Here,
            _ => Who::Unknown,
        }
    }

    /// Tells whether nobody is at the other end any more, so that no answer is read. One that only says
    /// no more may still read; over TCP that looks the same until something is written.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Listener, dial};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("feed.sock");
    /// let listener = Listener::bind(&format!("/unix{}", path.display()).parse()?).await?;
    /// let caller = dial(listener.bound()).await?;
    /// let called = listener.accept().await?;
    /// assert!(!called.is_abandoned());
    /// drop(caller);
    /// assert!(called.is_abandoned());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_abandoned(&self) -> bool {
        self.fd().is_some_and(|it| has_told(it, PollFlags::empty()).intersects(GONE))
    }
}

impl TcpEnds {
    /// Asks the kernel for the holder of the other end, as [`Stream::who`] does.
    pub fn who(&self) -> Who {
        self.who_at(None)
    }

    /// Asks for the holder of the other end, of the socket `near` if that is given.
    fn who_at(&self, near: Option<BorrowedFd<'_>>) -> Who {
        // Every connection is checked: a caller on this host may use any address of it.
        let holder = self.holder(near);
        if let Ok(Some(uid)) = holder {
            return match identity::known_user(uid) {
                Some(uid) => Who::User { uid, groups: Vec::new() },
                None => Who::Unknown,
            };
        }
        if let Err(error) = &holder {
            tracing::debug!(far = %self.far, %error, "the kernel does not identify a peer");
        }
        let (near, far) = (self.near.ip().to_canonical(), self.far.ip().to_canonical());
        if near.is_loopback() || far.is_loopback() || near == far {
            Who::Unknown
        } else {
            Who::Address(far)
        }
    }

    /// Returns the user that has the other end open, if its socket is on this host, and is
    /// connected to this one. What only looks like that has no say:
    ///
    /// - A socket bound to another host's address, which any user may have (`IPV6_FREEBIND`).
    /// - A later one between the same two addresses, after this connection was reset.
    /// - One between the same two addresses in another network namespace than this connection's.
    fn holder(&self, near: Option<BorrowedFd<'_>>) -> io::Result<Option<u32>> {
        let holders = diag::TcpHolders::new()?;
        let Some(holder) = holders.of(self.far, self.near)? else { return Ok(None) };
        let is_loopback = self.far.ip().to_canonical().is_loopback();
        if !is_loopback && !diag::is_of_this_host(self.far)? {
            return Ok(None);
        }
        if let Some(near) = near {
            let inode = rustix::fs::fstat(near)?.st_ino;
            let listed = holders.of(self.near, self.far)?;
            if listed.is_none_or(|it| u64::from(it.inode) != inode) {
                return Ok(None);
            }
        }
        Ok(Some(holder.uid))
    }

    /// Tells whether the other end of the connection at `near` has no holder any more. The kernel's
    /// list covers this network namespace: it shows nothing of a socket handed over from another.
    /// It includes an end that was shut down for writing only. Behind another address of this host
    /// there may be a machine whose address was translated to that: it is gone only if its end has
    /// arrived.
    fn far_is_gone(&self, near: BorrowedFd<'_>) -> bool {
        let is_loopback = |it: SocketAddr| it.ip().to_canonical().is_loopback();
        let is_by_loopback = is_loopback(self.near) && is_loopback(self.far);
        let is_of_this_host = || diag::is_of_this_host(self.far).unwrap_or(false);
        (is_by_loopback || (has_hung_up(near) && is_of_this_host()))
            && is_of_this_namespace(near)
            && matches!(self.holder(Some(near)), Ok(None))
    }
}

/// Tells whether the other end of a socket has stopped sending.
fn has_hung_up(socket: BorrowedFd<'_>) -> bool {
    !has_told(socket, PollFlags::RDHUP).is_empty()
}

/// Returns what is to be told of a socket at once, besides what is always told.
fn has_told(socket: BorrowedFd<'_>, wanted: PollFlags) -> PollFlags {
    let mut polled = [PollFd::from_borrowed_fd(socket, wanted)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut polled, Some(&at_once)) {
        Ok(1..) => polled[0].revents(),
        _ => PollFlags::empty(),
    }
}

/// What is told of a socket whose other end is closed in both directions.
const GONE: PollFlags = PollFlags::HUP.union(PollFlags::ERR);

/// Tells whether a socket belongs to the network namespace of the calling thread; `false` if the
/// kernel does not say, before Linux 5.14.
fn is_of_this_namespace(socket: BorrowedFd<'_>) -> bool {
    let new = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).ok();
    let of_new = new.and_then(|it| linux::netns_cookie(it.as_fd()).ok());
    of_new.is_some() && of_new == linux::netns_cookie(socket).ok()
}

/// Returns the groups of the process at the other end of a Unix socket when it connected.
fn groups(socket: BorrowedFd<'_>, primary: Option<u32>) -> Vec<u32> {
    let mut groups: Vec<u32> = linux::peer_groups(socket)
        .inspect_err(|error| tracing::debug!(%error, "the kernel does not tell a peer's groups"))
        .unwrap_or_default();
    groups.retain(|it| identity::known_group(*it).is_some());
    groups.extend(primary.filter(|it| !groups.contains(it)));
    groups
}
