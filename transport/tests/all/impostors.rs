//! Sockets of this host that look like the other end of a connection, and are not.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use rustix::process::geteuid;
use socket2::{Domain, Socket, Type};
use transport::Who;

use crate::who::{accept, in_runtime, user};

/// A remote peer is not the local user whose socket is bound to its address and port, and has sent
/// its first packet, and no more: any user may have that over IPv6, and some over IPv4.
#[test]
fn a_remote_peer_is_not_the_user_of_a_socket_bound_to_its_address() {
    let Some(machines) = Machines::make() else { return };
    for (here, there) in
        [("fd16::1", "fd16::2"), ("192.0.2.1", "192.0.2.2"), ("::ffff:192.0.2.1", "192.0.2.2")]
    {
        let listen = if here.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let listener = TcpListener::bind(listen).unwrap();
        let port = listener.local_addr().unwrap().port();
        let at = SocketAddr::new(here.parse::<IpAddr>().unwrap().to_canonical(), port);
        let (from, _peer) = machines.there(move || {
            let peer = TcpStream::connect(at).unwrap();
            (peer.local_addr().unwrap(), peer)
        });
        let stream = in_runtime(|| accept(&listener));
        let who = || in_runtime(|| stream.who());
        let beyond = Who::Address(there.parse().unwrap());
        assert_eq!(who(), beyond, "{at}");
        for nonlocal_bind in ["0", "1"] {
            for family in ["ipv4", "ipv6"] {
                let setting = format!("/proc/sys/net/{family}/ip_nonlocal_bind");
                std::fs::write(setting, nonlocal_bind).unwrap();
            }
            let impostor = connecting(from, at);
            assert_eq!(impostor.local_addr().unwrap().as_socket(), Some(from));
            assert!(impostor.peer_addr().is_err(), "it is not connected");
            assert_eq!(who(), beyond, "{at}, nonlocal_bind {nonlocal_bind}");
        }
    }
}

/// A socket handed over from another network namespace is not judged by the sockets of this one.
#[test]
fn the_same_addresses_in_another_network_are_another_peer() {
    let Some(machines) = Machines::make() else { return };
    let (listener, peer) = machines.there(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener, peer)
    });
    let (at, from) = (listener.local_addr().unwrap(), peer.local_addr().unwrap());
    let handed = in_runtime(|| accept(&listener));
    let (_twin, _other) = (TcpListener::bind(at).unwrap(), connecting(from, at));
    assert_eq!(in_runtime(|| handed.who()), Who::Unknown);
}

/// Whoever has the port after a peer that was reset is not that peer.
#[test]
fn the_next_at_the_same_addresses_is_another_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    // Nobody else on this host takes a port of that address meanwhile.
    let first = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    first.bind(&SocketAddr::from(([127, 9, 1, 7], 0)).into()).unwrap();
    first.connect(&at.into()).unwrap();
    let from = first.local_addr().unwrap().as_socket().unwrap();
    let reset = in_runtime(|| accept(&listener));
    first.set_linger(Some(Duration::ZERO)).unwrap();
    drop(first);
    let _next = connecting(from, at);
    let next = in_runtime(|| accept(&listener));
    assert_eq!(in_runtime(|| reset.who()), Who::Gone);
    assert_eq!(in_runtime(|| next.who()), user(geteuid().as_raw()));
}

/// Connects from an address of any host, and does not wait for an answer.
fn connecting(from: SocketAddr, to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, None).unwrap();
    if !from.ip().is_loopback() {
        match from {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true).unwrap(),
            SocketAddr::V6(_) => socket.set_freebind_v6(true).unwrap(),
        }
    }
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&from.into()).unwrap();
    drop(socket.connect(&to.into()));
    socket
}

/// Two machines with a link between them. The calling thread is on the one, and is not to go back.
struct Machines {
    there: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Machines {
    /// Makes them; `None` where nobody may.
    fn make() -> Option<Self> {
        let (jobs, to_run) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (is_there, came) = mpsc::channel();
        if !geteuid().is_root() || unshare(CloneFlags::CLONE_NEWNET).is_err() {
            eprintln!("skipped: network namespaces cannot be made here");
            return None;
        }
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            is_there.send(rustix::thread::gettid()).unwrap();
            to_run.iter().for_each(|job| job());
        });
        let other = came.recv().unwrap().as_raw_nonzero();
        ip("link set lo up");
        ip(&format!("link add near type veth peer name far netns {other}"));
        let machines = Self { there: jobs };
        lay("near", ["192.0.2.1/24", "fd16::1/64"]);
        machines.there(|| {
            ip("link set lo up");
            lay("far", ["192.0.2.2/24", "fd16::2/64"]);
        });
        Some(machines)
    }

    /// Runs something on the other machine.
    fn there<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.there.send(Box::new(move || done.send(run()).unwrap())).unwrap();
        result.recv().unwrap()
    }
}

fn lay(device: &str, addresses: [&str; 2]) {
    for address in addresses {
        // Without a check whether another has it, which takes seconds.
        let nodad = if address.contains(':') { "nodad" } else { "" };
        ip(&format!("address add {address} dev {device} {nodad}"));
    }
    ip(&format!("link set {device} up"));
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}
