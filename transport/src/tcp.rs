//! TCP: from a host to its addresses, and to the first of them that answers.

use std::{
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs, UdpSocket},
    time::Duration,
};

use endpoints::{DnsFamily, DnsName, Endpoint, Host, TcpAddress};
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};

use crate::{
    beside,
    error::{DialError, ResolveError},
    linux::is_loopback_up,
};

/// Connects to the first of `addresses` that answers ("Happy Eyeballs", RFC 8305): the next is
/// tried when one has failed, or has not answered for a while; the rest are dropped.
pub(crate) async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, DialError> {
    if let [address] = addresses[..] {
        return connect_one(address).await;
    }
    let mut untried = alternate_families(addresses).into_iter().peekable();
    let mut tried = JoinSet::new();
    let mut failure = None;
    loop {
        if let Some(address) = untried.next() {
            tried.spawn(connect_one(address));
        }
        let outcome = tokio::select! {
            outcome = tried.join_next() => outcome,
            () = sleep(STAGGER), if untried.peek().is_some() => continue,
        };
        match outcome {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => {
                // Of several failures the most informative is returned: a refusal.
                if failure.is_none() || matches!(error, DialError::Refused) {
                    failure = Some(error);
                }
            }
            Some(Err(error)) => failure = Some(DialError::Io(error.into())),
            None => return Err(failure.unwrap_or(DialError::Unreachable)),
        }
    }
}

/// Binds the first of `addresses` that can be bound, and listens: for a `::` on IPv4 as well, or on
/// IPv6 only.
pub(crate) fn listen(addresses: &[SocketAddr], is_ipv6_only: bool) -> io::Result<TcpListener> {
    let mut failure = None;
    for address in addresses {
        match listen_on(*address, is_ipv6_only) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// Returns the addresses of a host: at least one.
pub(crate) async fn resolve(tcp: &TcpAddress) -> Result<Vec<SocketAddr>, ResolveError> {
    match &tcp.host {
        Host::Dns(name, family) => look_up(name, *family, tcp.port).await,
        _ => literal(tcp).map(|it| it.into_iter().collect()),
    }
}

/// Tells why the host of an endpoint cannot be found from here: there is no address for its name, or
/// no such interface. Nobody is connected to; a name is looked up.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use transport::unknown_host;
///
/// assert!(unknown_host(&"/ip4/192.0.2.7/tcp/80".parse()?).await.is_none());
/// let zone = "/ip6zone/no-such-zone/ip6/fe80::1/tcp/80";
/// assert!(unknown_host(&zone.parse()?).await.is_some());
/// # Ok(())
/// # }
/// ```
pub async fn unknown_host(endpoint: &Endpoint) -> Option<ResolveError> {
    match endpoint {
        Endpoint::Tcp(tcp) => resolve(tcp).await.err(),
        Endpoint::Unix(_) | Endpoint::Memory(_) => None,
    }
}

/// Returns the address of a host, unless it is a name.
pub(crate) fn literal(tcp: &TcpAddress) -> Result<Option<SocketAddr>, ResolveError> {
    if let Some(nowhere) = tcp.host.nowhere() {
        return Err(nowhere.into());
    }
    match &tcp.host {
        Host::Ip4(ip) => Ok(Some(SocketAddr::new(IpAddr::V4(*ip), tcp.port))),
        Host::Ip6(ip) => Ok(Some(SocketAddr::new(IpAddr::V6(*ip), tcp.port))),
        Host::Ip6Zone { zone, ip } => {
            let scope = interface_index(zone)
                .ok_or_else(|| ResolveError::NoInterface { zone: zone.to_string() })?;
            Ok(Some(SocketAddrV6::new(*ip, tcp.port, 0, scope).into()))
        }
        Host::Dns(..) => Ok(None),
    }
}

async fn look_up(
    name: &DnsName,
    family: DnsFamily,
    port: u16,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let in_turn = LOOK_UPS.acquire().await.expect("it is never closed");
    let asked = name.clone();
    let look_up = move || {
        let _in_turn = in_turn;
        (asked.as_str(), port).to_socket_addrs()
    };
    let found = beside("resolver", look_up)
        .await
        .flatten()
        .map_err(|source| ResolveError::Lookup { name: name.to_string(), source })?;
    let addresses: Vec<_> = found
        .filter(|address| match family {
            DnsFamily::Any => true,
            DnsFamily::V4 => address.is_ipv4(),
            DnsFamily::V6 => address.is_ipv6(),
        })
        .collect();
    if addresses.is_empty() {
        let family = match family {
            DnsFamily::Any => "IP",
            DnsFamily::V4 => "IPv4",
            DnsFamily::V6 => "IPv6",
        };
        return Err(ResolveError::NoAddress { name: name.to_string(), family });
    }
    Ok(addresses)
}

fn interface_index(name: &str) -> Option<u32> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    interfaces.into_iter().find(|it| it.name == name)?.index
}

/// Alternates the families, beginning with the resolver's first choice; within a family the
/// resolver's order stays (RFC 8305, section 4).
fn alternate_families(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|it| it.is_ipv6() == first_is_ipv6);
    let (mut this, mut that) = (first.into_iter().peekable(), second.into_iter().peekable());
    let mut ordered = Vec::with_capacity(this.len() + that.len());
    while let Some(address) = this.next() {
        ordered.push(address);
        if that.peek().is_some() {
            mem::swap(&mut this, &mut that);
        }
    }
    ordered
}

async fn connect_one(address: SocketAddr) -> Result<TcpStream, DialError> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    connect_from(socket.map_err(DialError::from_io)?, address).await
}

async fn connect_from(socket: TcpSocket, address: SocketAddr) -> Result<TcpStream, DialError> {
    let connected = socket.connect(address).await;
    let stream = connected.map_err(|error| match no_loopback(address.ip(), error.kind()) {
        Some(error) => error,
        None => DialError::from_io(error),
    })?;
    // If nobody listens on an ephemeral port, the kernel may give that very port to the caller,
    // which is then connected to itself.
    let is_itself = stream.local_addr().is_ok_and(|own| own == address);
    if is_itself { Err(DialError::Refused) } else { Ok(stream) }
}

/// Says why there is no way to an address of the loopback, if that is what has failed.
fn no_loopback(address: IpAddr, failed: io::ErrorKind) -> Option<DialError> {
    use io::ErrorKind as E;

    let is_ours = |it: &IpAddr| UdpSocket::bind((*it, 0)).is_ok();
    let is_missing = match failed {
        E::NetworkUnreachable | E::HostUnreachable => true,
        // The kernel says so of an address of IPv6, and also if all ports are taken.
        E::AddrNotAvailable => !is_ours(&address),
        _ => false,
    };
    if !address.is_loopback() || !is_missing {
        return None;
    }
    if is_loopback_up() != Some(true) {
        return Some(DialError::LoopbackDown);
    }
    let other = match address {
        IpAddr::V4(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST.into(),
    };
    Some(DialError::NoLoopback { address, instead: Some(other).filter(is_ours) })
}

fn listen_on(address: SocketAddr, is_ipv6_only: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let IpAddr::V6(ip) = address.ip() {
        // A lone `::` takes IPv4 as well, whatever this host's default.
        set_ipv6_v6only(&socket, is_ipv6_only && ip.is_unspecified())?;
    }
    if address.port() != 0 {
        // A restart need not wait until the connections of the last run are forgotten. A free port
        // does not need that, and could with it be one that another program is about to listen on.
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address)?;
    // The connections of this run have to allow that too, also on a port that was free: the next
    // run may ask for the very port that this one was given.
    socket.set_reuseaddr(true)?;
    socket.listen(BACKLOG)
}

/// The names that are looked up at a time, each on a thread: more than anybody dials together, unless
/// the host's resolver hangs.
static LOOK_UPS: Semaphore = Semaphore::const_new(64);

/// The backlog: a burst of clients that all reconnect together, at a few hundred bytes each. A client
/// that finds the queue full tries again after a second; in a longer one it would wait behind all of a
/// crowd, whose handshakes come first.
const BACKLOG: u32 = 1024;

/// The wait for one address before the next is tried beside it: the recommendation of RFC 8305,
/// section 5.
const STAGGER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let check = |given: &[&str], expected: &[&str]| {
            let parse = |it: &[&str]| it.iter().map(|it| it.parse().unwrap()).collect::<Vec<_>>();
            assert_eq!(alternate_families(parse(given)), parse(expected));
        };
        check(&[], &[]);
        check(&["10.0.0.1:7"], &["10.0.0.1:7"]);
        check(
            &["[::1]:7", "[::2]:7", "[::3]:7", "10.0.0.1:7"],
            &["[::1]:7", "10.0.0.1:7", "[::2]:7", "[::3]:7"],
        );
        check(
            &["10.0.0.1:7", "10.0.0.2:7", "[::1]:7", "[::2]:7", "[::3]:7"],
            &["10.0.0.1:7", "[::1]:7", "10.0.0.2:7", "[::2]:7", "[::3]:7"],
        );
    }

    #[tokio::test]
    async fn the_second_address_answers_where_the_first_refuses() {
        let listener = listen(&["127.0.0.1:0".parse().unwrap()], false).unwrap();
        let open = listener.local_addr().unwrap();
        let closed = SocketAddr::new("127.0.0.2".parse().unwrap(), open.port());

        let stream = connect(vec![closed, open]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        let error = connect(vec![closed, closed]).await.unwrap_err();
        assert!(matches!(error, DialError::Refused), "{error:?}");
    }

    #[tokio::test]
    async fn a_connection_to_oneself_is_a_refusal() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let error = connect_from(socket, own).await.unwrap_err();
        assert!(matches!(error, DialError::Refused), "{error:?}");
    }

    #[tokio::test]
    async fn hosts_without_an_address_say_why() {
        let check = async |host: &str, expected: &str| {
            let endpoints::Endpoint::Tcp(tcp) = format!("/{host}/tcp/7").parse().unwrap() else {
                panic!("{host} is no host")
            };
            assert_eq!(resolve(&tcp).await.unwrap_err().to_string(), expected);
        };
        check(
            "ip6zone/nowhere0/ip6/fe80::1",
            "this host has no network interface `nowhere0` with an address",
        )
        .await;
        check("ip6/fe80::1", "fe80::1 is a link-local address, which needs its interface").await;
    }
}
