//! The kernel reports who listens, and the listener notices nothing.

use std::{
    io,
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    },
    path::Path,
    process::{Command, Stdio},
};

use endpoints::Endpoint;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket,
    sockopt::{set_ipv6_v6only, set_socket_reuseport},
};
use transport::{
    Listening, ListeningSocket, Process, Silence, Whose, holders, listening, listening_at_each,
    whose,
};

use crate::common::{has_ipv6, unix};

#[test]
fn a_port_is_seen_and_not_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let at = |host: &str| format!("/{host}/tcp/{port}");

    let [socket] = seen(&at("ip4/127.0.0.1"))[..] else { panic!("one listens") };
    assert_eq!(socket.uid, Some(rustix::process::geteuid().as_raw()));
    assert_eq!(seen(&at("dns/localhost")), [socket]);
    assert_eq!(silence(&at("ip4/127.0.0.2")), Silence::NotListening);
    assert_eq!(silence(&at("ip6/::1")), Silence::NotListening);
    // From the block for documentation, which no interface has.
    for elsewhere in ["ip4/203.0.113.7", "dns/market.example"] {
        assert_eq!(listening(&at(elsewhere).parse().unwrap()), Listening::Unknown, "{elsewhere}");
    }
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);

    // Neither a connection nor a port that is only bound listens.
    let connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    drop(listener);
    assert_eq!(silence(&at("ip4/127.0.0.1")), Silence::NotListening);
    drop(connection);
}

#[test]
fn an_ipv6_wildcard_takes_ipv4_where_it_says_so() {
    if !has_ipv6() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let check = |is_ipv6_only: bool| {
        let listener = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        set_ipv6_v6only(&listener, is_ipv6_only).unwrap();
        bind(&listener, &"[::]:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
        listen(&listener, 1).unwrap();
        let port = TcpListener::from(listener.try_clone().unwrap()).local_addr().unwrap().port();
        assert_eq!(seen(&format!("/ip6/::1/tcp/{port}")).len(), 1);
        assert_eq!(seen(&format!("/ip6/::/tcp/{port}")).len(), 1);
        let by_ipv4 = listening(&format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap());
        assert_eq!(matches!(by_ipv4, Listening::Sockets(_)), !is_ipv6_only, "{by_ipv4:?}");
    };
    check(true);
    check(false);
}

#[test]
fn all_that_share_a_port_are_seen() {
    let share = |port: u16| {
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        set_socket_reuseport(&listener, true).unwrap();
        bind(&listener, &std::net::SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        listen(&listener, 1).unwrap();
        TcpListener::from(listener)
    };
    let first = share(0);
    let port = first.local_addr().unwrap().port();
    let _second = share(port);
    assert_eq!(seen(&format!("/ip4/127.0.0.1/tcp/{port}")).len(), 2);
}

#[test]
fn a_socket_file_is_seen_by_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = |name: &str| unix(&at(name)).to_string();

    let listener = UnixListener::bind(at("feed.sock")).unwrap();
    let [socket] = seen(&text("feed.sock"))[..] else { panic!("one listens") };
    assert!(socket.file.is_some());
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);

    // The path passes to another listener, which is seen instead of the first.
    std::fs::remove_file(at("feed.sock")).unwrap();
    assert_eq!(silence(&text("feed.sock")), Silence::Missing);
    let second = UnixListener::bind(at("feed.sock")).unwrap();
    assert_ne!(seen(&text("feed.sock")), [socket]);
    drop(second);
    assert_eq!(silence(&text("feed.sock")), Silence::NotListening);

    let _datagrams = UnixDatagram::bind(at("log.sock")).unwrap();
    assert_eq!(silence(&text("log.sock")), Silence::OtherType { found: "datagram" });
    let packets = socket_at(&at("packets.sock"), SocketType::SEQPACKET);
    listen(&packets, 1).unwrap();
    assert_eq!(silence(&text("packets.sock")), Silence::OtherType { found: "seqpacket" });
    let _bound_alone = socket_at(&at("early.sock"), SocketType::STREAM);
    assert_eq!(silence(&text("early.sock")), Silence::Bound);
    std::fs::write(at("file"), "").unwrap();
    assert_eq!(silence(&text("file")), Silence::NotASocket { found: "a regular file" });
}

#[test]
fn an_abstract_name_is_seen_byte_for_byte() {
    let name = format!("callsign-test-{}", std::process::id());
    let text = format!("/unix/@{name}");
    assert_eq!(silence(&text), Silence::NotListening);

    let mut padded = name.clone().into_bytes();
    padded.resize(107, 0);
    let address = SocketAddr::from_abstract_name(&padded).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let Silence::Padded { at } = silence(&text) else { panic!("it is found") };
    assert_eq!(at.to_string(), format!("{text}{}", "%00".repeat(107 - name.len())));
    assert_eq!(seen(&at.to_string()).len(), 1);
    assert_eq!(at.to_string().parse::<Endpoint>().unwrap(), at);
}

#[test]
fn many_places_are_looked_at_together_each_for_itself() {
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name);
    let text = |name: &str| unix(&at(name)).to_string();
    let _files: Vec<_> = ["a", "b"].iter().map(|it| UnixListener::bind(at(it)).unwrap()).collect();
    let _datagrams = UnixDatagram::bind(at("c")).unwrap();
    let ports: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let mut places: Vec<_> = ports
        .iter()
        .map(|it| format!("/ip4/127.0.0.1/tcp/{}", it.local_addr().unwrap().port()))
        .collect();
    let name = format!("callsign-together-{}", std::process::id());
    let named = |name: &[u8]| {
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
    };
    let _names = [named(name.as_bytes()), named(format!("{name}-p\0").as_bytes())];
    for suffix in ["", "-p", "-p%00", "-none"] {
        places.push(format!("/unix/@{name}{suffix}"));
    }
    places.extend(["b", "a", "c", "none", "a"].map(text));
    places.extend(
        ["/memory/7", "/dns/market.example/tcp/7", "/ip4/203.0.113.7/tcp/7"].map(Into::into),
    );
    places.push("/ip4/127.0.0.2/tcp/9".to_owned());
    let endpoints: Vec<Endpoint> = places.iter().map(|it| it.parse().unwrap()).collect();
    let alone: Vec<_> = endpoints.iter().map(listening).collect();
    assert_eq!(listening_at_each(&endpoints), alone);
    let found = alone.iter().filter(|it| matches!(it, Listening::Sockets(_))).count();
    assert_eq!(found, 2 + 2 + 3, "{alone:?}");
    assert_eq!(listening_at_each(&[]), []);
}

#[test]
fn the_holders_of_a_socket_are_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    let sockets = seen(&endpoint);
    let own = Process::own().unwrap();
    assert_eq!(holders(&sockets), [own]);
    assert_eq!(whose(&sockets, &[own]), Whose::Theirs);

    // A child inherits it, and so does its grandchild: both descend from this process.
    let mut child = Command::new("sh")
        .args(["-c", "cat & read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::from(OwnedFd::from(listener)))
        .spawn()
        .unwrap();
    assert_eq!(whose(&sockets, &[own]), Whose::Theirs);
    let theirs = Process::of(child.id().cast_signed()).unwrap();
    assert_eq!(whose(&sockets, &[theirs]), Whose::Theirs);

    let mut stranger = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let another = Process::of(stranger.id().cast_signed()).unwrap();
    let Whose::Others(Some(holder)) = whose(&sockets, &[another]) else { panic!("it is another") };
    assert!(holders(&sockets).contains(&holder));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    // The grandchild, whom nobody awaits, holds it for a moment longer.
    while whose(&sockets, &[theirs]) != Whose::Others(None) {
        std::thread::yield_now();
    }
}

#[test]
fn a_socket_that_closes_between_two_looks_is_nobody_elses() {
    let workers = sharing(0);
    let endpoint = format!("/ip4/127.0.0.1/tcp/{}", workers.local_addr().unwrap().port());
    let worker = sharing(workers.local_addr().unwrap().port());
    let sockets = seen(&endpoint);
    assert_eq!(sockets.len(), 2);
    let own = [Process::own().unwrap()];
    drop(worker);
    assert_eq!(whose(&sockets, &own), Whose::Theirs);
    // Nothing is known of a place where all have closed.
    drop(workers);
    assert_eq!(whose(&sockets, &own), Whose::Others(None));
}

/// Listens at a port that others may share.
fn sharing(port: u16) -> TcpListener {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_reuseport(&socket, true).unwrap();
    bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    listen(&socket, 1).unwrap();
    socket.into()
}

#[track_caller]
fn seen(endpoint: &str) -> Vec<ListeningSocket> {
    match listening(&endpoint.parse().unwrap()) {
        Listening::Sockets(sockets) => sockets,
        other => panic!("{endpoint}: {other:?}"),
    }
}

#[track_caller]
fn silence(endpoint: &str) -> Silence {
    match listening(&endpoint.parse().unwrap()) {
        Listening::Nobody(silence) => silence,
        other => panic!("{endpoint}: {other:?}"),
    }
}

fn socket_at(path: &Path, kind: SocketType) -> OwnedFd {
    let bound = socket(AddressFamily::UNIX, kind, None).unwrap();
    bind(&bound, &SocketAddrUnix::new(path).unwrap()).unwrap();
    bound
}
