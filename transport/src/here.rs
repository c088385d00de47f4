//! This process's own location: kernel, network namespace, process, interfaces; and its stamps of
//! endpoints.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixDatagram,
    },
    sync::{Mutex, OnceLock},
};

use endpoints::{
    Endpoint, Here, Host, HostId, Interface, KernelId, NetnsId, ProcessId, RootId, SocketId, Stamp,
    Stamped, TcpAddress, UnixAddress, UnixPath, Unreachable,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::{
    diag,
    linux::{self, Handle, Kind},
    random::random_bytes,
};

/// Reads this process's location. It takes 25 to 50 µs, mostly for the interfaces; whatever can
/// change is read again in each call.
///
/// The network namespace and the interfaces are those of the calling thread.
///
/// ```
/// # use transport as callsign;
/// let here = callsign::here();
/// assert!(here.interfaces.iter().any(|it| it.ip.is_loopback()));
/// ```
pub fn here() -> Here {
    here_with(interfaces().unwrap_or_else(|error| {
        tracing::warn!(%error, "the network interfaces cannot be read");
        Vec::new()
    }))
}

/// Reads where this process stands, as [`here()`] does, without what none of the endpoints to be judged
/// needs: the interfaces, the network namespace, the number of this process. That saves most of the time.
///
/// ```
/// # use transport as callsign;
/// let port = "/ip4/127.0.0.1/tcp/5555".parse()?;
/// let path = "/unix/run/feed.sock".parse()?;
/// assert_eq!(callsign::here_for([&path, &port]).netns, callsign::here().netns);
/// assert_eq!(callsign::here_for([&path]).netns, None, "a path is the same in all of them");
/// # Ok::<(), endpoints::ParseEndpointError>(())
/// ```
pub fn here_for<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Here {
    let mut here = Here { kernel: kernel(), ..Here::default() };
    for endpoint in endpoints {
        match endpoint {
            Endpoint::Tcp(tcp) if !tcp.host.is_loopback() => return self::here(),
            // To ask for it takes a socket, and as long as to look at a path twice.
            Endpoint::Tcp(_) | Endpoint::Unix(UnixAddress::Abstract(_)) if here.netns.is_none() => {
                here.netns = netns();
            }
            Endpoint::Memory(_) => here.process = Some(process()),
            Endpoint::Tcp(_) | Endpoint::Unix(_) => {}
        }
    }
    here
}

fn here_with(interfaces: Vec<Interface>) -> Here {
    Here { kernel: kernel(), netns: netns(), process: Some(process()), interfaces }
}

/// Stamps an endpoint as this process sees it, for a program that cannot do so itself. It takes
/// 1 to 5 µs, and ten times that for a network address other than a loopback.
///
/// An endpoint that may be on another host is not stamped: another host's address, or a host name.
///
/// ```
/// # use transport as callsign;
/// let stamp = callsign::stamp(&"/ip4/127.0.0.1/tcp/5555".parse()?);
/// assert_eq!(stamp.kernel, callsign::here().kernel);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stamp(endpoint: &Endpoint) -> Stamp {
    let this_host = || Stamp { kernel: kernel(), netns: netns(), ..Stamp::default() };
    match endpoint {
        Endpoint::Memory(_) => Stamp { process: Some(process()), ..this_host() },
        Endpoint::Unix(UnixAddress::Abstract(_)) => this_host(),
        Endpoint::Unix(UnixAddress::Path(path)) => {
            Stamp { socket: look(path).ok(), root: root(), ..this_host() }
        }
        Endpoint::Tcp(tcp) if is_on_this_host(&tcp.host) => this_host(),
        Endpoint::Tcp(_) => Stamp::default(),
    }
}

/// Stamps an endpoint as [`stamp()`] does, for an actor that may listen there before this host has the
/// address (`ip_nonlocal_bind`): if anybody here does, the endpoint is this host's, and
/// [`Whereabouts`](crate::Whereabouts) withhold it until the address comes.
///
/// ```
/// # use transport as callsign;
/// # use endpoints::Stamp;
/// let of_another = "/ip4/192.0.2.7/tcp/5555".parse()?;
/// assert_eq!(callsign::stamp_listener(&of_another), Stamp::default(), "nobody listens there");
/// # Ok::<(), endpoints::ParseEndpointError>(())
/// ```
pub fn stamp_listener(endpoint: &Endpoint) -> Stamp {
    match endpoint {
        Endpoint::Tcp(tcp) if is_listened_at(tcp) => {
            Stamp { kernel: kernel(), netns: netns(), ..Stamp::default() }
        }
        _ => stamp(endpoint),
    }
}

/// Finds the socket that a path leads to, as `endpoints::rank` asks.
///
/// # Errors
///
/// [`Unreachable`], which says what is there instead.
///
/// ```
/// # use transport as callsign;
/// use std::path::Path;
///
/// # use endpoints::{UnixPath, Unreachable};
/// let path = UnixPath::new(Path::new("/run/no/such.sock"))?;
/// assert_eq!(callsign::look(&path), Err(Unreachable::Missing));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn look(path: &UnixPath) -> Result<SocketId, Unreachable> {
    socket(Handle::kind_at(path.as_path()))
}

/// Opens the socket that a path leads to, as a file.
pub(crate) fn open_socket(path: &UnixPath) -> Result<(Handle, SocketId), Unreachable> {
    let file = Handle::open(path.as_path()).map_err(unseen)?;
    let id = socket(file.kind())?;
    Ok((file, id))
}

/// Returns which socket a file is that was looked at.
fn socket(kind: io::Result<Kind>) -> Result<SocketId, Unreachable> {
    match kind.map_err(unseen)? {
        Kind::Socket(id) => Ok(id),
        Kind::Other(_) => Err(Unreachable::NotASocket),
    }
}

/// Returns why a path does not lead to a file that can be looked at.
fn unseen(error: io::Error) -> Unreachable {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unreachable::Missing,
        io::ErrorKind::PermissionDenied => Unreachable::NoPermission,
        _ => Unreachable::Unseen(error.to_string()),
    }
}

/// Returns the user that the socket file at a path belongs to; `None` if it cannot be seen, or is no
/// socket.
///
/// ```
/// # use transport as callsign;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use endpoints::UnixPath;
/// let path = UnixPath::new(std::path::Path::new("/run/no/such.sock"))?;
/// assert_eq!(callsign::socket_user(&path), None);
/// # Ok(())
/// # }
/// ```
pub fn socket_user(path: &UnixPath) -> Option<u32> {
    let file = Handle::open(path.as_path()).ok()?;
    file.user().ok().filter(|_| matches!(file.kind(), Ok(Kind::Socket(_))))
}

/// Tells whether the socket at a path is that one; `None` where it cannot be seen.
pub fn is_in_place(path: &UnixPath, socket: SocketId) -> Option<bool> {
    match look(path) {
        Ok(found) => Some(found.is_same(&socket)),
        Err(Unreachable::Missing | Unreachable::NotASocket) => Some(false),
        Err(_) => None,
    }
}

/// Tells whether an endpoint is still where it was stamped: a path leads to that socket, or this
/// host has that address. `None` if that is not visible from here.
pub fn is_there(stamped: &Stamped) -> Option<bool> {
    let Stamp { kernel: in_kernel, netns: in_netns, socket, .. } = stamped.stamp;
    match &stamped.endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => is_in_place(path, socket?),
        Endpoint::Tcp(tcp) => {
            let ip = tcp.host.ip().filter(|it| !it.is_unspecified())?;
            let is_here = in_kernel? == kernel()? && in_netns? == netns()?;
            is_here.then(|| has_now(&tcp.host, ip))?
        }
        Endpoint::Unix(UnixAddress::Abstract(_)) | Endpoint::Memory(_) => None,
    }
}

/// Returns the endpoints to publish for one that was bound: for a wildcard address, the address
/// of each interface; else the endpoint itself. IPv6 addresses that the kernel is about to take
/// away, or does not use yet, are left out.
pub fn expand(bound: &Endpoint, interfaces: &[Interface]) -> Vec<Endpoint> {
    let Endpoint::Tcp(tcp) = bound else { return vec![bound.clone()] };
    if !tcp.host.is_wildcard() {
        return vec![bound.clone()];
    }
    // `::` takes IPv4 as well; `0.0.0.0` takes nothing else.
    let takes_ipv6 = tcp.host.ip().is_some_and(|ip| ip.is_ipv6());
    let unfit = if takes_ipv6 { linux::unfit_addresses() } else { Vec::new() };
    let mut endpoints = Vec::new();
    for interface in interfaces.iter().filter(|it| !unfit.contains(&it.ip)) {
        let host = match interface.ip {
            IpAddr::V4(ip) => Host::Ip4(ip),
            IpAddr::V6(_) if !takes_ipv6 => continue,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                Host::Ip6Zone { zone: (*interface.name).into(), ip }
            }
            IpAddr::V6(ip) => Host::Ip6(ip),
        };
        let endpoint = Endpoint::Tcp(TcpAddress { host, port: tcp.port, tls: tcp.tls });
        if !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    }
    endpoints
}

pub(crate) fn interfaces() -> io::Result<Vec<Interface>> {
    let read = |it: if_addrs::Interface| {
        let prefix_bits = match &it.addr {
            if_addrs::IfAddr::V4(address) => address.prefixlen,
            if_addrs::IfAddr::V6(address) => address.prefixlen,
        };
        Interface { ip: it.ip(), prefix_bits, name: it.name }
    };
    // The loopback keeps its address when it is down, and nobody is reached there.
    let is_up = |it: &if_addrs::Interface| {
        !it.ip().is_loopback() || it.is_oper_up() || linux::is_loopback_up() != Some(false)
    };
    Ok(if_addrs::get_if_addrs()?.into_iter().filter(is_up).map(read).collect())
}

/// Makes this process use `host` in every stamp that it writes or compares, instead of what
/// its kernel drew when it booted. It is for once, before anything is stamped or dialed. Of its
/// danger, see [`HostId`].
///
/// # Errors
///
/// [`HostKnown`] when the process goes by another already.
///
/// ```
/// # use transport as callsign;
/// # use endpoints::HostId;
/// callsign::set_host_id(&HostId::new("rack-7")?)?;
/// assert!(callsign::set_host_id(&HostId::new("rack-8")?).is_err(), "it has said already");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn set_host_id(host: &HostId) -> Result<(), HostKnown> {
    let named = Some(KernelId(keyed_hash(HOST_KEY, host.as_str().as_bytes())));
    if *KERNEL.get_or_init(|| named) != named {
        return Err(HostKnown);
    }
    tracing::info!(target: "callsign", %host, "this host goes by a name of its own");
    Ok(())
}

/// The process has already set its host id.
///
/// ```
/// # use transport as callsign;
/// assert!(callsign::HostKnown.to_string().contains("already set"));
/// ```
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the host id of this process is already set, and cannot change")]
pub struct HostKnown;

/// Returns the running kernel; read once, because a process does not outlive its kernel.
pub(crate) fn kernel() -> Option<KernelId> {
    *KERNEL.get_or_init(|| {
        let boot_id = linux::boot_id().ok()?;
        Some(KernelId(keyed_hash(KERNEL_KEY, boot_id.as_bytes())))
    })
}

/// Returns the root folder below which this process sees paths, where the kernel tells it apart
/// from every other. It is read each time, because a process may take another.
pub fn root() -> Option<RootId> {
    let (mount, folder) = linux::root().ok()??;
    let numbers = [mount.to_be_bytes(), folder.to_be_bytes()];
    Some(RootId(keyed_hash(ROOT_KEY, numbers.as_flattened())))
}

/// Returns the network namespace in which `socket` was made.
pub(crate) fn netns_of(socket: BorrowedFd<'_>) -> Option<NetnsId> {
    linux::netns_cookie(socket).ok().map(NetnsId)
}

/// Returns the number that this process drew for itself. A fork draws its own.
pub(crate) fn process() -> ProcessId {
    static DRAWN: Mutex<Option<(u32, ProcessId)>> = Mutex::new(None);

    let pid = std::process::id();
    let mut drawn = DRAWN.lock().expect("nobody panics while drawing a number");
    match *drawn {
        Some((by, process)) if by == pid => process,
        _ => {
            let process = ProcessId(u64::from_ne_bytes(random_bytes()));
            *drawn = Some((pid, process));
            process
        }
    }
}

/// Returns the network namespace of the calling thread. It is read each time, because a thread
/// may move to another.
pub(crate) fn netns() -> Option<NetnsId> {
    netns_of(UnixDatagram::unbound().ok()?.as_fd())
}

/// Tells whether anybody here listens at exactly that address, whoever has it.
fn is_listened_at(tcp: &TcpAddress) -> bool {
    let Some(ip) = tcp.host.ip().filter(|it| !it.is_unspecified()) else { return false };
    diag::has_listener_at(SocketAddr::new(ip, tcp.port)).unwrap_or(false)
}

fn is_on_this_host(host: &Host) -> bool {
    let has = |ip: IpAddr| !ip.is_unspecified() && has_now(host, ip) == Some(true);
    host.is_loopback() || host.ip().is_some_and(has)
}

/// Tells whether one of these interfaces has the address of a host, and is the one that it names if it
/// names one.
pub(crate) fn has_host(interfaces: &[Interface], host: &Host) -> bool {
    let is_in_its_zone = |it: &Interface| match host {
        Host::Ip6Zone { zone, .. } => **zone == it.name,
        _ => true,
    };
    interfaces.iter().any(|it| Some(it.ip) == host.ip() && is_in_its_zone(it))
}

/// Tells whether this host has an address now, as the kernel's routes say: an interface may have it, or
/// a route of its own. `None` where the kernel does not say.
pub(crate) fn has_now(host: &Host, ip: IpAddr) -> Option<bool> {
    if matches!(host, Host::Ip6Zone { .. }) {
        return Some(has_host(&interfaces().ok()?, host));
    }
    has_ip_now(ip)
}

/// Tells whether this host has an address now, like [`has_now`], without a zone.
pub(crate) fn has_ip_now(ip: IpAddr) -> Option<bool> {
    match diag::is_of_this_host(SocketAddr::new(ip, 0)) {
        // The kernel keeps the routes of a loopback that is down.
        Ok(is_of_this_host) => {
            Some(is_of_this_host && !(ip.is_loopback() && linux::is_loopback_up() == Some(false)))
        }
        Err(error) => {
            tracing::debug!(%ip, %error, "the kernel does not say whose address it is");
            let is_known = !ip.is_loopback();
            is_known.then(|| Some(interfaces().ok()?.iter().any(|it| it.ip == ip)))?
        }
    }
}

fn keyed_hash(key: &[u8], bytes: &[u8]) -> u64 {
    let mut hash = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    hash.update(bytes);
    let digest = hash.finalize().into_bytes();
    let (first, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
    u64::from_be_bytes(*first)
}

/// The kernel id of this process's stamps, once it is set.
static KERNEL: OnceLock<Option<KernelId>> = OnceLock::new();

/// The key of the kernel's hash. It is not secret: it keeps the boot id itself private, and this
/// application's hash distinct from any other's.
const KERNEL_KEY: &[u8] = b"callsign: which kernel";

/// The key of a host's hash, if one was named: no name ever equals a kernel's.
const HOST_KEY: &[u8] = b"callsign: which host";

/// The key of a root's hash, for the same reasons.
const ROOT_KEY: &[u8] = b"callsign: which root";

/// Stamps a socket by the namespace in which it was made, whichever thread asks.
pub(crate) fn socket_stamp(socket: &impl AsFd) -> Stamp {
    Stamp { kernel: kernel(), netns: netns_of(socket.as_fd()), ..Stamp::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn here_is_the_same_at_each_look() {
        let first = here();
        assert_eq!(first.kernel, here().kernel);
        assert_eq!(first.netns, here().netns);
        assert_eq!(first.process, here().process);
        assert_eq!(root(), root());
        assert!(first.kernel.is_some() && first.process.is_some());
        let has = |ip: &str| first.interfaces.iter().any(|it| it.ip.to_string() == ip);
        assert!(has("127.0.0.1"), "{:?}", first.interfaces);
    }

    #[test]
    fn the_kernel_is_a_keyed_hash_that_any_version_must_repeat() {
        let mut hash = Hmac::<Sha256>::new_from_slice(b"callsign: which kernel").unwrap();
        hash.update(linux::boot_id().unwrap().as_bytes());
        let digest = format!("{:02x?}", &hash.finalize().into_bytes()[..8]);
        let digest = digest.replace([',', ' ', '[', ']'], "");
        assert_eq!(kernel().unwrap().to_string(), digest);
    }

    #[test]
    fn only_what_is_on_this_host_is_stamped() {
        let check = |text: &str, [kernel, netns, process, socket]: [bool; 4]| {
            let stamp = stamp(&text.parse().unwrap());
            let whole = here();
            let expect = |is: bool| is.then_some(());
            assert_eq!(stamp.kernel, expect(kernel).and(whole.kernel), "{text}");
            assert_eq!(stamp.netns, expect(netns).and(whole.netns), "{text}");
            assert_eq!(stamp.process, expect(process).and(whole.process), "{text}");
            assert_eq!(stamp.socket.is_some(), socket, "{text}");
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feed.sock");
        let unix = format!("/unix{}", path.display());
        check(&unix, [true, true, false, false]);
        let _bound = std::os::unix::net::UnixListener::bind(&path).unwrap();
        check(&unix, [true, true, false, true]);
        check("/unix/@feed", [true, true, false, false]);
        check("/memory/7", [true, true, true, false]);
        check("/ip4/127.0.0.1/tcp/7", [true, true, false, false]);
        check("/dns/localhost/tcp/7", [true, true, false, false]);
        for interface in here().interfaces.iter().filter(|it| it.ip.is_ipv4()) {
            check(&format!("/ip4/{}/tcp/7", interface.ip), [true, true, false, false]);
        }
        // From the block for documentation, which no interface has.
        check("/ip4/203.0.113.7/tcp/7", [false; 4]);
        check("/dns/market.example/tcp/7", [false; 4]);
        check("/ip6zone/nowhere0/ip6/fe80::7/tcp/7", [false; 4]);
    }

    #[test]
    fn wildcards_become_the_addresses_of_the_interfaces() {
        let interface = |(name, ip): (&str, &str)| Interface {
            name: name.to_owned(),
            ip: ip.parse().unwrap(),
            prefix_bits: 8,
        };
        let interfaces = [
            ("lo", "127.0.0.1"),
            ("eth0", "192.0.2.7"),
            ("eth0:1", "192.0.2.7"),
            ("lo", "::1"),
            ("eth0", "2001:db8::7"),
            ("eth0", "fe80::7"),
        ]
        .map(interface);
        let check = |bound: &str, expected: &[&str]| {
            let endpoints = expand(&bound.parse().unwrap(), &interfaces);
            let texts: Vec<_> = endpoints.iter().map(Endpoint::to_string).collect();
            assert_eq!(texts, expected, "{bound}");
        };
        check("/ip4/0.0.0.0/tcp/7", &["/ip4/127.0.0.1/tcp/7", "/ip4/192.0.2.7/tcp/7"]);
        check(
            "/ip6/::/tcp/7/tls",
            &[
                "/ip4/127.0.0.1/tcp/7/tls",
                "/ip4/192.0.2.7/tcp/7/tls",
                "/ip6/::1/tcp/7/tls",
                "/ip6/2001:db8::7/tcp/7/tls",
                "/ip6zone/eth0/ip6/fe80::7/tcp/7/tls",
            ],
        );
        for as_it_is in ["/ip4/127.0.0.1/tcp/7", "/unix/run/feed.sock", "/memory/7"] {
            check(as_it_is, &[as_it_is]);
        }
    }

    #[test]
    fn looks_say_what_is_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, expected: Unreachable| {
            let text = format!("/unix{}/{name}", folder.path().display());
            let Endpoint::Unix(UnixAddress::Path(path)) = text.parse().unwrap() else {
                panic!("{text} is no path")
            };
            assert_eq!(look(&path), Err(expected), "{name}");
        };
        std::fs::write(folder.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        check("nothing", Unreachable::Missing);
        check("file", Unreachable::NotASocket);
        check("link", Unreachable::NotASocket);
        check("file/below", Unreachable::Missing);
    }
}
