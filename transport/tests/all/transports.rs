//! Every transport: bound, dialed, used; and the errors when that is impossible.

use std::{io::IoSlice, path::Path, time::Duration};

use endpoints::{Endpoint, UnixAddress, UnixPath, locate};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use transport::{
    BindError, DialError, Listener, Peer, Stream, dial, dial_socket, dial_stamped, dial_within,
    here, look,
};

use crate::common::{as_nobody, bounded, has_ipv6, unix};

#[tokio::test]
async fn every_transport_carries_bytes_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a-folder-with-a-long-name".repeat(9));
    std::fs::create_dir(&deep).unwrap();
    let long = unix(&deep.join("feed.sock"));
    assert!(long.to_string().len() > 2 * 108, "{long}");

    let mut endpoints = vec![unix(&folder.path().join("feed.sock")), long];
    let own = std::process::id();
    for text in [
        &format!("/unix/@callsign-transport-test-{own}"),
        "/ip4/127.0.0.1/tcp/0",
        "/dns4/localhost/tcp/0",
        "/memory/0",
        "/memory/7",
    ] {
        endpoints.push(text.parse().unwrap());
    }
    if has_ipv6() {
        endpoints.push("/ip6/::1/tcp/0".parse().unwrap());
    }
    for interface in here().interfaces {
        if interface.ip.to_string().starts_with("fe80:") {
            let text = format!("/ip6zone/{}/ip6/{}/tcp/0", interface.name, interface.ip);
            endpoints.push(text.parse().unwrap());
        }
    }
    for endpoint in endpoints {
        bounded(async {
            let listener = Listener::bind(&endpoint).await.unwrap();
            assert!(!listener.bound().is_bind_only(), "{}", listener.bound());
            let (caller, called) = connect(&listener, listener.bound()).await;
            echo(caller, called).await;

            let published = listener.published();
            assert_eq!(published.len(), 1);
            assert_eq!(published[0].endpoint, *listener.bound());
            let locality = locate(&published[0], &here(), &look);
            assert!(locality.is_ok_and(|it| it.is_within_host()), "{endpoint}");
            dial_stamped(&published[0], Duration::from_secs(10)).await.unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn a_wildcard_is_published_as_addresses_that_can_be_dialed() {
    for (wildcard, also_ipv6) in [("/ip4/0.0.0.0/tcp/0", false), ("/ip6/::/tcp/0", true)] {
        if also_ipv6 && !has_ipv6() {
            continue;
        }
        bounded(async {
            let listener = Listener::bind(&wildcard.parse().unwrap()).await.unwrap();
            let published = listener.published();
            let expected =
                here().interfaces.iter().filter(|it| also_ipv6 || it.ip.is_ipv4()).count();
            assert_eq!(published.len(), expected);
            for stamped in published {
                assert!(!stamped.endpoint.is_bind_only(), "{}", stamped.endpoint);
                let locality = locate(&stamped, &here(), &look);
                assert!(locality.is_ok_and(|it| it.is_within_host()), "{}", stamped.endpoint);
                let (caller, called) = connect(&listener, &stamped.endpoint).await;
                echo(caller, called).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn the_peer_is_what_the_machine_says() {
    let folder = tempfile::tempdir().unwrap();
    let own = Peer::Unix {
        pid: Some(std::process::id() as i32),
        uid: Some(rustix::process::geteuid().as_raw()),
        gid: Some(rustix::process::getegid().as_raw()),
    };
    let listener = Listener::bind(&unix(&folder.path().join("feed.sock"))).await.unwrap();
    let (caller, called) = connect(&listener, listener.bound()).await;
    assert_eq!((*caller.peer(), *called.peer()), (own, own));
    caller.peer_process().unwrap();

    let wildcard = if has_ipv6() { "/ip6/::/tcp/0" } else { "/ip4/0.0.0.0/tcp/0" };
    let listener = Listener::bind(&wildcard.parse().unwrap()).await.unwrap();
    let Endpoint::Tcp(tcp) = listener.bound() else { panic!("{}", listener.bound()) };
    let endpoint = Endpoint::from_host_port("127.0.0.1", tcp.port).unwrap();
    let (caller, called) = connect(&listener, &endpoint).await;
    let Peer::Tcp(address) = called.peer() else { panic!("{}", called.peer()) };
    assert!(address.is_ipv4(), "{address}");
    assert_eq!(caller.peer().to_string(), format!("127.0.0.1:{}", tcp.port));
    assert_eq!(caller.peer_process().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_place_in_memory_is_free_again_when_its_listener_is_gone() {
    let endpoint = "/memory/77".parse().unwrap();
    let error = dial(&endpoint).await.unwrap_err();
    assert!(matches!(error, DialError::Refused), "{error:?}");
    let listener = Listener::bind(&endpoint).await.unwrap();
    let error = Listener::bind(&endpoint).await.unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    drop(listener);
    Listener::bind(&endpoint).await.unwrap();

    let free = "/memory/0".parse().unwrap();
    let (one, other) = (Listener::bind(&free).await.unwrap(), Listener::bind(&free).await.unwrap());
    assert_ne!(one.bound(), other.bound());
}

#[tokio::test]
async fn a_failed_dial_says_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    drop(std::os::unix::net::UnixListener::bind(path("dead")).unwrap());
    std::fs::write(path("file"), "").unwrap();
    std::os::unix::fs::symlink(path("dead"), path("link")).unwrap();
    let _datagram = std::os::unix::net::UnixDatagram::bind(path("datagram")).unwrap();
    // While a port is taken on one address, nobody gets it on another.
    let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let closed = listener.bound().to_string().replace("127.0.0.1", "127.0.0.2");

    let check = async |endpoint: &str, expected: &str, is_evidence: bool| {
        let endpoint = match endpoint.strip_prefix("F/") {
            Some(name) => unix(&path(name)),
            None => endpoint.parse().unwrap(),
        };
        let error = bounded(dial(&endpoint)).await.unwrap_err();
        assert_eq!(error.to_string(), expected, "{endpoint}");
        assert_eq!(error.is_evidence(), is_evidence, "{endpoint}");
    };
    let refused = "connection refused: nobody listens there";
    check("F/dead", refused, true).await;
    check(&closed, refused, true).await;
    check("/unix/@callsign-transport-test-nobody", refused, true).await;
    check("F/nothing", "there is no such socket file", true).await;
    check("F/no/such/folder", "there is no such socket file", true).await;
    let other = |found: &str| format!("there is {found} in its place, not a stream socket");
    check("F/file", &other("a regular file"), true).await;
    check("F/link", &other("a symbolic link"), true).await;
    check("F/datagram", &other("a socket of another type"), true).await;
    let bind_only = "a wildcard address or port 0 can be bound, not dialed";
    check("/ip4/0.0.0.0/tcp/7", bind_only, false).await;
    check("/ip4/127.0.0.1/tcp/0", bind_only, false).await;
    check("/memory/0", bind_only, false).await;
    check("/ip4/127.0.0.1/tcp/7/tls", "TLS needs a certificate, and this program has none", false)
        .await;
}

#[tokio::test]
async fn a_host_without_an_address_is_not_said_to_be_silent() {
    let nowhere: Endpoint = "/dns/no-such-host.invalid/tcp/80".parse().unwrap();
    // Nothing is known of the host within this time.
    let error = dial_within(&nowhere, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, DialError::NoSuchHost(_)), "{error}");
    let silent: Endpoint = "/ip4/192.0.2.1/tcp/80".parse().unwrap();
    let error = dial_within(&silent, Duration::ZERO).await.unwrap_err();
    assert!(!matches!(error, DialError::NoSuchHost(_)), "{error}");
}

#[test]
fn missing_permission_is_reported_as_such() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let _bound = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let closed = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(folder.path(), closed).unwrap();

    as_nobody(async {
        let error = dial(&unix(&path)).await.unwrap_err();
        assert!(matches!(error, DialError::NoPermission), "{error:?}");
        assert!(!error.is_evidence());
        let error = Listener::bind(&unix(&path)).await.unwrap_err();
        assert!(matches!(error, BindError::NoPermission { .. }), "{error:?}");
        assert_eq!(look(&unix_path(&unix(&path))), Err(endpoints::Unreachable::NoPermission));
    });
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn a_full_queue_is_busy_and_not_dead() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slow.sock");
    let descriptor = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&descriptor, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&descriptor, 1).unwrap();
    let listener = std::os::unix::net::UnixListener::from(descriptor);
    let endpoint = unix(&path);

    let mut waiting = Vec::new();
    let error = loop {
        match dial_within(&endpoint, Duration::ZERO).await {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 10, "the queue has no end");
    };
    assert!(matches!(error, DialError::Busy) && !error.is_evidence(), "{error:?}");

    // A waiting client gets in once there is room.
    let mut dialing = tokio::task::JoinSet::new();
    dialing.spawn(async move { dial(&endpoint).await });
    tokio::task::yield_now().await;
    listener.accept().unwrap();
    bounded(dialing.join_next()).await.unwrap().unwrap().unwrap();

    let in_use = Listener::bind(&unix(&path)).await.unwrap_err();
    assert!(matches!(in_use, BindError::InUse { .. }), "{in_use:?}");
    assert!(path.exists());
}

#[tokio::test]
async fn a_full_place_in_memory_is_busy() {
    let listener = Listener::bind(&"/memory/0".parse().unwrap()).await.unwrap();
    let mut waiting = Vec::new();
    let error = loop {
        match dial_within(listener.bound(), Duration::ZERO).await {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 10_000, "the queue has no end");
    };
    assert!(matches!(error, DialError::Busy), "{error:?}");
}

#[tokio::test]
async fn a_swapped_socket_is_never_reached() {
    let folder = tempfile::tempdir().unwrap();
    let meant = Listener::bind(&unix(&folder.path().join("feed.sock"))).await.unwrap();
    let other = folder.path().join("impostor.sock");
    let impostor = std::os::unix::net::UnixListener::bind(&other).unwrap();
    impostor.set_nonblocking(true).unwrap();

    let path = unix_path(meant.bound());
    let seen = look(&path).unwrap();
    dial_socket(&path, Some(seen)).await.unwrap();
    std::fs::rename(&other, path.as_path()).unwrap();

    let error = dial_socket(&path, Some(seen)).await.unwrap_err();
    assert!(matches!(error, DialError::OtherSocket), "{error:?}");
    let stamped = &meant.published()[0];
    let error = dial_stamped(stamped, Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(error, DialError::OtherSocket), "{error:?}");
    assert_eq!(impostor.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    dial_socket(&path, None).await.unwrap();
    impostor.accept().unwrap();
}

/// Futures that the layers above spawn on a runtime with several threads must be `Send`.
#[test]
fn every_future_may_move_between_threads() {
    fn check(_: impl Future + Send) {}

    let endpoint = "/memory/7".parse().unwrap();
    let stamped = endpoints::Stamped::bare(unix(Path::new("/nowhere")));
    let path = unix_path(&stamped.endpoint);
    check(dial(&endpoint));
    check(dial_stamped(&stamped, Duration::ZERO));
    check(dial_socket(&path, None));
    check(Listener::bind(&endpoint));
    check(async {
        let listener = Listener::bind(&endpoint).await.unwrap();
        listener.accept().await.unwrap().peer_process().unwrap().ended().await.unwrap();
    });
}

async fn connect(listener: &Listener, endpoint: &Endpoint) -> (Stream, Stream) {
    let (caller, called) = bounded(async { tokio::join!(dial(endpoint), listener.accept()) }).await;
    (caller.unwrap_or_else(|error| panic!("{endpoint}: {error:?}")), called.unwrap())
}

/// Sends more than any buffer holds, in pieces, and reads it back.
async fn echo(caller: Stream, called: Stream) {
    const PIECE: &[u8] = &[7; 10_000];
    assert!(caller.is_write_vectored());
    let (mut from_caller, mut to_caller) = tokio::io::split(called);
    let (mut from_called, mut to_called) = tokio::io::split(caller);
    let echoing = async {
        tokio::io::copy(&mut from_caller, &mut to_caller).await.unwrap();
        to_caller.shutdown().await.unwrap();
    };
    let sending = async {
        for _ in 0..100 {
            let mut slices = [IoSlice::new(&PIECE[..1]), IoSlice::new(&PIECE[1..])];
            let mut slices = &mut slices[..];
            while !slices.is_empty() {
                let sent = to_called.write_vectored(slices).await.unwrap();
                IoSlice::advance_slices(&mut slices, sent);
            }
        }
        to_called.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let hearing = from_called.read_to_end(&mut heard);
    let ((), (), heard_bytes) = bounded(async { tokio::join!(echoing, sending, hearing) }).await;
    assert_eq!(heard_bytes.unwrap(), 100 * PIECE.len());
    assert!(heard.iter().all(|it| *it == 7));
}

fn unix_path(endpoint: &Endpoint) -> UnixPath {
    match endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => path.clone(),
        other => panic!("{other} is no path"),
    }
}
