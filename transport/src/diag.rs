//! The kernel's list of sockets, read over netlink (sock_diag(7)), and which addresses are its own
//! (rtnetlink(7)).
//!
//! No program notices: the kernel answers for the sockets of the calling thread's network
//! namespace, of all users, whoever the caller is.
//!
//! Why no crate for it? Those that read such messages (`netlink-packet-sock-diag`) do not expose
//! the inode and the device of a Unix socket, which tell one from another.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

/// A TCP socket that listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TcpSocket {
    pub(crate) address: SocketAddr,
    /// Whether it takes IPv6 only; `false` for an IPv4 one.
    pub(crate) is_ipv6_only: bool,
    /// The number of the only interface that it takes connections from (`SO_BINDTODEVICE`).
    pub(crate) device: Option<u32>,
    pub(crate) uid: u32,
    pub(crate) inode: u64,
}

/// A Unix socket that has a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct UnixSocket {
    /// The name as it was bound: an abstract one begins with a NUL.
    pub(crate) name: Vec<u8>,
    /// The file, as the kernel numbers it: the low half of its inode number, and the device.
    pub(crate) file: Option<(u32, u32)>,
    /// `SOCK_STREAM`, `SOCK_DGRAM` or `SOCK_SEQPACKET`.
    pub(crate) socket_type: u8,
    pub(crate) is_listening: bool,
    /// Known since Linux 5.3.
    pub(crate) uid: Option<u32>,
    pub(crate) inode: u64,
}

/// Returns the TCP sockets that listen at certain ports.
pub(crate) fn tcp_listeners(ports: &BTreeSet<u16>) -> io::Result<Vec<TcpSocket>> {
    let mut found = Vec::new();
    // The kernel selects by one port, and goes through all sockets for it.
    let port = match (ports.first(), ports.len()) {
        (None, _) => return Ok(found),
        (Some(port), 1) => *port,
        _ => 0,
    };
    // A kernel that does not select by port returns all of them.
    each_tcp_listener(port, |it| found.extend(ports.contains(&it.address.port()).then_some(it)))?;
    Ok(found)
}

/// Tells whether a TCP socket listens at exactly this address, which need not be one of this host.
pub(crate) fn has_listener_at(address: SocketAddr) -> io::Result<bool> {
    let listed = tcp_listeners(&BTreeSet::from([address.port()]))?;
    Ok(listed.iter().any(|it| it.address == canonical(address)))
}

/// Returns the TCP sockets that listen at any port.
pub(crate) fn all_tcp_listeners() -> io::Result<Vec<TcpSocket>> {
    let mut found = Vec::new();
    each_tcp_listener(0, |it| found.push(it))?;
    Ok(found)
}

/// Passes each TCP socket that listens at a port to `take`, where 0 stands for any port.
fn each_tcp_listener(port: u16, mut take: impl FnMut(TcpSocket)) -> io::Result<()> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut request = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
        request.extend((1u32 << TCP_LISTEN).to_ne_bytes());
        request.extend(port.to_be_bytes());
        // Any address and any interface, and no cookie.
        request.resize(INET_REQUEST_BYTES - 8, 0);
        request.extend([0xff; 8]);
        ask(&request, |message| read_tcp(message).into_iter().for_each(&mut take))?;
    }
    Ok(())
}

/// A TCP socket that is connected, and that a process has open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TcpHolder {
    pub(crate) uid: u32,
    pub(crate) inode: u32,
}

/// Asks for TCP sockets in the network namespace of the thread that made it.
pub(crate) struct TcpHolders(OwnedFd);

impl TcpHolders {
    pub(crate) fn new() -> io::Result<Self> {
        open(SOCKETS.protocol).map(Self)
    }

    /// Returns the holder of the TCP socket at `own` that is connected to `other`, if there is one.
    pub(crate) fn of(&self, own: SocketAddr, other: SocketAddr) -> io::Result<Option<TcpHolder>> {
        let mut holder = None;
        let request = request_for(own, other);
        let take = |message: &[u8]| holder = holder_of(message, canonical(own), canonical(other));
        match exchange_at(&self.0, &SOCKETS, NLM_F_REQUEST, &request, take) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            asked => asked.map(|()| holder),
        }
    }
}

fn request_for(own: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let (own, other) = (canonical(own), canonical(other));
    let family = if own.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut request = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(own.port().to_be_bytes());
    request.extend(other.port().to_be_bytes());
    request.extend(octets(own.ip()));
    request.extend(octets(other.ip()));
    // A link-local address is one of an interface.
    request.extend(scope_of(own).to_ne_bytes());
    request.extend([0xff; 8]);
    request
}

/// Reads the holder of the requested socket. If there is none, the kernel answers with one that
/// listens at the address; and it reports root for a socket that no process has open any more, or
/// yet. Only an open one has an inode.
///
/// A socket that has sent its first packet, and no more, may be bound to any address, another
/// host's included. A connected one has had an answer to that address.
fn holder_of(message: &[u8], own: SocketAddr, other: SocketAddr) -> Option<TcpHolder> {
    let state = u32::from(*message.get(1)?);
    let far_port = u16::from_be_bytes(message.get(6..8)?.try_into().ok()?);
    let is_ipv6 = i32::from(*message.first()?) == libc::AF_INET6;
    let far_ip = ip_from(message.get(24..40)?.try_into().ok()?, is_ipv6);
    let TcpSocket { address, uid, inode, .. } = read_tcp(message)?;
    let is_it = (address.ip(), address.port()) == (own.ip(), own.port())
        && (far_ip, far_port) == (other.ip(), other.port());
    let inode = u32::try_from(inode).ok().filter(|it| *it != 0)?;
    (is_it && CONNECTED.contains(&state)).then_some(TcpHolder { uid, inode })
}

/// Tells whether an address is one of this network namespace: whether its packets stay there. A
/// socket that may be bound to an address says nothing of that.
pub(crate) fn is_of_this_host(address: SocketAddr) -> io::Result<bool> {
    let address = canonical(address);
    let (family, octets) = match address.ip() {
        IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
    };
    let mut request = vec![family as u8, (octets.len() * 8) as u8];
    request.resize(ROUTE_BYTES, 0);
    let mut attribute = |kind: u16, value: &[u8]| {
        request.extend((value.len() as u16 + 4).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(value);
    };
    attribute(RTA_DST, &octets);
    match scope_of(address) {
        0 => {}
        interface => attribute(RTA_OIF, &interface.to_ne_bytes()),
    }
    let mut is_local = false;
    let read = |route: &[u8]| is_local = route.get(7) == Some(&RTN_LOCAL);
    match exchange(&ROUTES, NLM_F_REQUEST, &request, read) {
        Err(error) if error.raw_os_error().is_some_and(|it| NO_ROUTE.contains(&it)) => Ok(false),
        asked => asked.map(|()| is_local),
    }
}

/// Tells whether a change that the kernel tells of may concern an address of this network namespace:
/// that of a route does only if the route is to this host.
pub(crate) fn concerns_own_address(mut messages: &[u8]) -> bool {
    while let Some((kind, body, rest)) = next_message(messages) {
        let is_route = matches!(kind, RTM_NEWROUTE | RTM_DELROUTE);
        if !is_route || body.get(7) == Some(&RTN_LOCAL) {
            return true;
        }
        messages = rest;
    }
    // What cannot be read may be anything.
    !messages.is_empty()
}

fn scope_of(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(address) => address.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Returns the Unix sockets that have a name and are not connected.
pub(crate) fn unix_sockets() -> io::Result<Vec<UnixSocket>> {
    let mut found = Vec::new();
    each_unix_socket(|it| found.push(it))?;
    Ok(found)
}

/// Passes each Unix socket that has a name and is not connected to `take`.
pub(crate) fn each_unix_socket(mut take: impl FnMut(UnixSocket)) -> io::Result<()> {
    let mut request = vec![libc::AF_UNIX as u8, 0, 0, 0];
    request.extend((1u32 << TCP_LISTEN | 1 << TCP_CLOSE).to_ne_bytes());
    request.extend(0u32.to_ne_bytes());
    request.extend((SHOW_NAME | SHOW_FILE | SHOW_UID).to_ne_bytes());
    request.extend([0xff; 8]);
    ask(&request, |message| read_unix(message).into_iter().for_each(&mut take))
}

/// Sends a request for a list, and passes each entry to `take`.
fn ask(request: &[u8], take: impl FnMut(&[u8])) -> io::Result<()> {
    exchange(&SOCKETS, NLM_F_REQUEST | NLM_F_DUMP, request, take)
}

/// A kind of question to the kernel over netlink, and of the entries of its answer.
struct Question {
    protocol: Option<Protocol>,
    asks: u16,
    answers: u16,
}

const SOCKETS: Question = Question {
    protocol: Some(netlink::SOCK_DIAG),
    asks: SOCK_DIAG_BY_FAMILY,
    answers: SOCK_DIAG_BY_FAMILY,
};

const ROUTES: Question = Question { protocol: None, asks: RTM_GETROUTE, answers: RTM_NEWROUTE };

/// Sends a request, and passes each entry of the answer to `take`: one, unless it is for a list.
fn exchange(
    question: &Question,
    flags: u16,
    request: &[u8],
    take: impl FnMut(&[u8]),
) -> io::Result<()> {
    exchange_at(&open(question.protocol)?, question, flags, request, take)
}

/// Does the same at a socket, at which another one can follow unless that was for a list.
fn exchange_at(
    socket: &OwnedFd,
    question: &Question,
    flags: u16,
    request: &[u8],
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let length = (HEADER_BYTES + request.len()) as u32;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(question.asks.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(request);
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    sendto(socket, &message, SendFlags::empty(), &kernel)?;

    // An answer that is no list is one message. A buffer that is much larger takes longer to prepare
    // than the kernel to answer.
    let (mut short, mut long) = ([0; ENTRY_BYTES], Vec::new());
    let buffer = if flags & NLM_F_DUMP == 0 {
        &mut short[..]
    } else {
        long.resize(BUFFER_BYTES, 0);
        &mut long[..]
    };
    loop {
        let (_, received) = recv(socket, &mut *buffer, RecvFlags::empty())?;
        let mut rest = buffer.get(..received).ok_or(io::ErrorKind::InvalidData)?;
        while let Some((kind, body, after)) = next_message(rest) {
            rest = after;
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(error_of(body)),
                kind if kind == question.answers => take(body),
                _ => {}
            }
            if kind == question.answers && flags & NLM_F_DUMP == 0 {
                return Ok(());
            }
        }
        if !rest.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let kind = (AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC);
    let socket = socket_with(kind.0, kind.1, kind.2, protocol)?;
    // The kernel has answered before it returns; this is for one that never does.
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
    Ok(socket)
}

/// Splits off the first message: its kind, its body, and the rest.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let kind = u16_at(bytes, 4)?;
    let body = bytes.get(HEADER_BYTES..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn error_of(body: &[u8]) -> io::Error {
    match u32_at(body, 0).map(u32::cast_signed) {
        Some(number) if number < 0 => io::Error::from_raw_os_error(-number),
        _ => io::ErrorKind::InvalidData.into(),
    }
}

/// Reads `struct inet_diag_msg` and its attributes.
fn read_tcp(message: &[u8]) -> Option<TcpSocket> {
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let source: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    let is_ipv6 = i32::from(*message.first()?) == libc::AF_INET6;
    let is_ipv6_only = attributes(message.get(INET_MESSAGE_BYTES..)?)
        .any(|(kind, value)| kind == INET_DIAG_SKV6ONLY && value.first() == Some(&1));
    Some(TcpSocket {
        address: SocketAddr::new(ip_from(source, is_ipv6), port),
        is_ipv6_only,
        device: Some(u32_at(message, 40)?).filter(|it| *it != 0),
        uid: u32_at(message, 64)?,
        inode: u32_at(message, 68)?.into(),
    })
}

fn ip_from(octets: [u8; 16], is_ipv6: bool) -> IpAddr {
    let [a, b, c, d, ..] = octets;
    if is_ipv6 {
        IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
    } else {
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }
}

/// Reads `struct unix_diag_msg` and its attributes; `None` for a socket without a name.
fn read_unix(message: &[u8]) -> Option<UnixSocket> {
    let (mut name, mut file, mut uid) = (Vec::new(), None, None);
    for (kind, value) in attributes(message.get(UNIX_MESSAGE_BYTES..)?) {
        match kind {
            UNIX_DIAG_NAME => name = value.to_vec(),
            UNIX_DIAG_VFS => file = u32_at(value, 0).zip(u32_at(value, 4)),
            UNIX_DIAG_UID => uid = u32_at(value, 0),
            _ => {}
        }
    }
    let socket = UnixSocket {
        name,
        file,
        socket_type: *message.get(1)?,
        is_listening: u32::from(*message.get(2)?) == TCP_LISTEN,
        uid,
        inode: u32_at(message, 4)?.into(),
    };
    (!socket.name.is_empty()).then_some(socket)
}

/// Returns the attributes of a message: the kind and the value of each.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let (kind, value) = (u16_at(rest, 2)?, rest.get(4..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

// From linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, linux/unix_diag.h and net/tcp_states.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const HEADER_BYTES: usize = 16;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_REQUEST_BYTES: usize = 56;
const INET_MESSAGE_BYTES: usize = 72;
const INET_DIAG_SKV6ONLY: u16 = 11;
const UNIX_MESSAGE_BYTES: usize = 16;
const SHOW_NAME: u32 = 0x1;
const SHOW_FILE: u32 = 0x2;
const SHOW_UID: u32 = 0x40;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_UID: u16 = 7;
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;
/// `TCP_ESTABLISHED`, `_FIN_WAIT1`, `_FIN_WAIT2`, `_CLOSE_WAIT`, `_LAST_ACK` and `_CLOSING`.
const CONNECTED: [u32; 6] = [1, 4, 5, 8, 9, 11];

// From linux/rtnetlink.h.
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const ROUTE_BYTES: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTN_LOCAL: u8 = 2;
/// The answers for an address to which nothing leads.
const NO_ROUTE: [i32; 5] =
    [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL, libc::ENODEV];

/// The longest entry: some hundred bytes of a socket, with its attributes.
const ENTRY_BYTES: usize = 4096;

/// The longest batch that the kernel writes (`NLMSG_GOODSIZE` is a page or two).
const BUFFER_BYTES: usize = 64 * 1024;

/// The time limit for an answer: the kernel gives it within the requesting call.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_messages_are_ignored() {
        let mut message = vec![0; UNIX_MESSAGE_BYTES];
        assert_eq!(read_unix(&message), None, "it has no name");
        message.extend([6, 0, 0, 0, 0, b'x', 0, 0]);
        assert_eq!(read_unix(&message).unwrap().name, b"\0x");
        for length in 0..message.len() - 2 {
            assert_eq!(read_unix(&message[..length]), None, "{length}");
        }
        for length in 0..INET_MESSAGE_BYTES {
            assert_eq!(read_tcp(&vec![0; length]), None, "{length}");
        }
        assert_eq!(next_message(&[9, 0, 0, 0, 3, 0]), None);
        let endless = [0, 0, 0, 0, 1, 0];
        assert_eq!(attributes(&endless).count(), 0);
    }
}
