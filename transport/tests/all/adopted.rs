//! Listeners from sockets that others have made.

use std::{
    fs, io,
    net::{self as std_net, Ipv4Addr, SocketAddr, UdpSocket},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{self, UnixDatagram, UnixStream},
    },
};

use endpoints::{Endpoint, Stamp};
use rustix::{
    fs::{OFlags, fcntl_getfl},
    io::{FdFlags, dup, fcntl_getfd, fcntl_setfd, ioctl_fionbio},
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket, socket_with,
        sockopt::set_ipv6_v6only,
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::{AdoptError, Listener, dial_stamped, listening, stamp};

use crate::common::{TOO_LONG, bounded, has_ipv6, unix};

/// Sends a byte through a listener, over everything that it publishes.
async fn answers(listener: &Listener) {
    for published in listener.published() {
        let mut caller = dial_stamped(&published, TOO_LONG).await.unwrap();
        let mut called = bounded(listener.accept()).await.unwrap();
        caller.write_all(b"x").await.unwrap();
        assert_eq!(called.read_u8().await.unwrap(), b'x', "{}", published.endpoint);
    }
}

#[tokio::test]
async fn a_listener_of_the_standard_library_is_stamped_like_one_bound_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let at_path = Listener::try_from(net::UnixListener::bind(&path).unwrap()).unwrap();
    assert_eq!(at_path.bound(), &unix(&path));

    let name = format!("callsign-adopted-{}", std::process::id());
    let address = net::SocketAddr::from_abstract_name(&name).unwrap();
    let at_name = net::UnixListener::bind_addr(&address).unwrap();
    let at_name = Listener::try_from(at_name).unwrap();
    assert_eq!(at_name.bound().to_string(), format!("/unix/@{name}"));

    let at_port = std_net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = at_port.local_addr().unwrap().port();
    let at_port = Listener::try_from(at_port).unwrap();
    assert_eq!(at_port.bound().to_string(), format!("/ip4/127.0.0.1/tcp/{port}"));

    for listener in [at_path, at_name, at_port] {
        let published = listener.published();
        assert_eq!(published.len(), 1);
        assert_eq!(&published[0].endpoint, listener.bound());
        assert_eq!(published[0].stamp, stamp(listener.bound()));
        answers(&listener).await;
    }
}

#[tokio::test]
async fn a_descriptor_is_taken_as_it_was_handed_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let handed_on = OwnedFd::from(net::UnixListener::bind(&path).unwrap());
    fcntl_setfd(&handed_on, FdFlags::empty()).unwrap();
    ioctl_fionbio(&handed_on, false).unwrap();
    // The flags of the socket show through a copy, those of the descriptor by its number.
    let copy = dup(&handed_on).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&handed_on);

    let listener = Listener::try_from(handed_on).unwrap();
    assert!(fcntl_getfl(&copy).unwrap().contains(OFlags::NONBLOCK));
    let status = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    let flags = status.lines().find_map(|it| it.strip_prefix("flags:")).unwrap();
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    assert_ne!(flags & OFlags::CLOEXEC.bits(), 0, "{status}");
    assert!(!fcntl_getfd(&copy).unwrap().contains(FdFlags::CLOEXEC));
    answers(&listener).await;

    // The maker still has the socket, and its file is there for the next user.
    listener.close().unwrap();
    let next = Listener::from_std(copy).unwrap();
    answers(&next).await;
    drop(next);
    assert!(path.exists());
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "no lock was made");
}

#[tokio::test]
async fn a_wildcard_that_was_handed_on_is_followed_like_another() {
    let mut wildcards = vec![("0.0.0.0:0", false)];
    if has_ipv6() {
        wildcards.extend([("[::]:0", false), ("[::]:0", true), ("[::ffff:0.0.0.0]:0", false)]);
    }
    for (address, is_ipv6_only) in wildcards {
        let address: SocketAddr = address.parse().unwrap();
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let handed_on = socket(family, SocketType::STREAM, None).unwrap();
        if address.is_ipv6() {
            set_ipv6_v6only(&handed_on, is_ipv6_only).unwrap();
        }
        bind(&handed_on, &address).unwrap();
        listen(&handed_on, 8).unwrap();
        let listener = Listener::from_std(handed_on).unwrap();

        let published = listener.published();
        let has = |text: &str| published.iter().any(|it| it.endpoint.to_string().starts_with(text));
        assert_eq!(has("/ip4/127.0.0.1/tcp/"), !is_ipv6_only, "{address}");
        let takes_ipv6 = address.ip().to_canonical().is_ipv6();
        assert_eq!(has("/ip6/::1/tcp/"), takes_ipv6, "{address}");
        let loopback = |it: &&endpoints::Stamped| matches!(&it.endpoint, Endpoint::Tcp(tcp) if tcp.host.is_loopback());
        for published in published.iter().filter(loopback) {
            let caller = dial_stamped(published, TOO_LONG).await.unwrap();
            bounded(listener.accept()).await.unwrap();
            drop(caller);
        }
    }
}

#[tokio::test]
async fn other_descriptors_than_listeners_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let check = |descriptor: OwnedFd, expected: &str| {
        let error = Listener::try_from(descriptor).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(fs::File::create(at("file")).unwrap().into(), "it is a regular file, not a socket");
    check(fs::File::open(folder.path()).unwrap().into(), "it is a folder, not a socket");
    check(io::pipe().unwrap().0.into(), "it is a pipe, not a socket");
    let datagram = "it is a datagram socket; only a stream socket can take connections here";
    check(UnixDatagram::bind(at("datagram")).unwrap().into(), datagram);
    check(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into(), datagram);
    let sequential = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    bind(&sequential, &SocketAddrUnix::new(at("sequential")).unwrap()).unwrap();
    listen(&sequential, 8).unwrap();
    check(sequential, "it is a seqpacket socket; only a stream socket can take connections here");

    let connection = "it is a connection, not a socket that takes connections";
    check(UnixStream::pair().unwrap().0.into(), connection);
    let listener = std_net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stream = std_net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    check(stream.into(), connection);

    let deaf = "it does not listen: `listen` has to be called before it is handed on";
    let bound = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&bound, &SocketAddrUnix::new(at("bound")).unwrap()).unwrap();
    check(bound, deaf);
    check(socket(AddressFamily::INET, SocketType::STREAM, None).unwrap(), deaf);

    let nameless = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&nameless, &SocketAddrUnix::new_abstract_name(b"callsign \xff").unwrap()).unwrap();
    listen(&nameless, 8).unwrap();
    check(nameless, "its name is not UTF-8");
}

#[tokio::test]
async fn the_path_of_a_socket_that_was_handed_on_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let listener = Listener::try_from(net::UnixListener::bind(&path).unwrap()).unwrap();

    // This process does not bind it again; whoever does owns it.
    fs::remove_file(&path).unwrap();
    let other = Listener::bind(&unix(&path)).await.unwrap();
    let error = bounded(listener.accept()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(listener.is_displaced());
    drop(listener);
    answers(&other).await;
}

#[tokio::test]
async fn a_socket_whose_path_leads_to_another_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let first = net::UnixListener::bind(&path).unwrap();
    fs::rename(&path, folder.path().join("aside.sock")).unwrap();
    let _second = net::UnixListener::bind(&path).unwrap();
    let error = Listener::try_from(first).unwrap_err();
    assert!(matches!(error, AdoptError::Displaced { .. }), "{error:?}");
}

#[tokio::test]
async fn a_socket_whose_path_leads_nowhere_is_taken_for_near_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let handed_on = net::UnixListener::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let listener = Listener::try_from(handed_on).unwrap();
    let Stamp { socket, root, kernel, .. } = listener.published()[0].stamp;
    assert_eq!((socket, root), (None, None));
    assert_eq!(kernel, transport::here().kernel);
}

#[tokio::test]
async fn a_path_that_means_something_to_its_maker_alone_is_made_plain() {
    let folder = tempfile::tempdir().unwrap();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held = rustix::fs::open(folder.path(), flags, rustix::fs::Mode::empty()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&held);
    let through = |name: &str| {
        let flags = SocketFlags::CLOEXEC;
        let made = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let path = format!("/proc/self/fd/{number}/{name}");
        bind(&made, &SocketAddrUnix::new(&*path).unwrap()).unwrap();
        listen(&made, 8).unwrap();
        made
    };
    let path = folder.path().canonicalize().unwrap().join("feed.sock");
    let listener = Listener::from_std(through("feed.sock")).unwrap();
    assert_eq!(listener.bound(), &unix(&path));
    assert!(matches!(listening(listener.bound()), transport::Listening::Sockets(_)));
    answers(&listener).await;

    let orphan = through("orphan.sock");
    drop(held);
    let error = Listener::from_std(orphan).unwrap_err();
    assert!(matches!(error, AdoptError::Elsewhere { .. }), "{error:?}");
}

#[tokio::test]
async fn an_adopted_socket_covers_its_listed_endpoints() {
    let tcp = |host: &str, port: u16| -> Endpoint { format!("{host}/tcp/{port}").parse().unwrap() };
    let check = |bound: std::net::TcpListener, taken_in: &[&str], not: &[&str]| {
        let port = bound.local_addr().unwrap().port();
        let listener = Listener::from_std(bound).unwrap();
        for host in taken_in {
            assert!(listener.takes_in(&tcp(host, port)), "{host} by {listener:?}");
            assert!(!listener.takes_in(&tcp(host, port ^ 1)), "another port of {host}");
        }
        for host in not {
            assert!(!listener.takes_in(&tcp(host, port)), "{host} by {listener:?}");
        }
    };
    let any = |is_ipv6_only| {
        let bound =
            socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let bound = bound.unwrap();
        rustix::net::sockopt::set_ipv6_v6only(&bound, is_ipv6_only).unwrap();
        bind(&bound, &std::net::SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, 0, 0, 0))
            .unwrap();
        listen(&bound, 8).unwrap();
        std::net::TcpListener::from(bound)
    };
    let ip4 = ["/ip4/0.0.0.0", "/ip4/127.0.0.1", "/ip4/203.0.113.7"];
    let ip6 = ["/ip6/::", "/ip6/::1", "/ip6/2001:db8::7", "/ip6zone/lo/ip6/fe80::1"];
    check(any(false), &[&ip6[..], &ip4, &["/dns/localhost"]].concat(), &[]);
    check(any(true), &ip6, &ip4);
    check(std::net::TcpListener::bind("0.0.0.0:0").unwrap(), &ip4, &ip6);
    let elsewhere = ["/ip4/0.0.0.0", "/ip4/203.0.113.7", "/ip6/::", "/ip6/::1"];
    check(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), &["/ip4/127.0.0.1"], &elsewhere);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("feed.sock");
    let listener = Listener::from_std(net::UnixListener::bind(&path).unwrap()).unwrap();
    assert!(listener.takes_in(&unix(&path)));
    assert!(!listener.takes_in(&unix(&path.with_extension("other"))));
}
