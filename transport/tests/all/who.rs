//! The peer's identity, according to the kernel.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use rustix::process::{Uid, getegid, geteuid};
use transport::{Stream, Who};

use crate::common::has_ipv6;

/// The interval between two questions to the kernel about the other end.
const PAUSE: Duration = Duration::from_millis(1);

#[test]
fn over_a_unix_socket_it_is_the_user_with_its_groups() {
    in_runtime(|| {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let near = Stream::try_from(tokio::net::UnixStream::from_std(near).unwrap()).unwrap();
        let Who::User { uid, groups } = near.who() else { panic!("{:?}", near.who()) };
        assert_eq!(uid, geteuid().as_raw());
        assert!(groups.contains(&getegid().as_raw()), "{groups:?}");
        drop(far);
    });
}

#[test]
fn over_the_loopback_it_is_the_user_of_the_socket() {
    let mut pairs = vec![
        ("127.0.0.1:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.1"),
        ("127.0.0.5:0", "127.0.0.5"),
    ];
    if has_ipv6() {
        // A listener on `::` takes IPv4 too, and some callers speak IPv4 by an IPv6 socket.
        pairs.extend([("[::1]:0", "::1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::ffff:127.0.0.1")]);
        pairs.push(("127.0.0.1:0", "::ffff:127.0.0.1"));
    }
    for (listen, dial) in pairs {
        let listener = TcpListener::bind(listen).unwrap();
        let port = listener.local_addr().unwrap().port();
        let at = SocketAddr::new(dial.parse().unwrap(), port);
        let mine = TcpStream::connect(at).unwrap();
        assert_eq!(who(&listener), user(geteuid().as_raw()), "{listen} {dial}");
        if geteuid().is_root() {
            let theirs = connect_as(4711, at);
            assert_eq!(who(&listener), user(4711), "{listen} {dial}");
            drop(theirs);
        }
        drop(mine);
    }
}

#[test]
fn a_peer_that_has_gone_is_unknown_and_not_root() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(TcpStream::connect(at).unwrap());
    in_runtime(|| {
        let stream = accept(&listener);
        // The kernel may tell this end a moment later.
        while stream.who() != Who::Gone {
            std::thread::sleep(PAUSE);
        }
    });

    // Whether it has closed its end, or waits for ours.
    let left = TcpStream::connect(at).unwrap();
    let stream = in_runtime(|| {
        let stream = accept(&listener);
        assert_eq!(stream.who(), user(geteuid().as_raw()));
        left.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(stream.who(), user(geteuid().as_raw()));
        drop(left);
        while stream.who() != Who::Gone {
            std::thread::sleep(PAUSE);
        }
        stream
    });
    drop(stream);
}

/// This host has addresses beside the loopback's, over which its users come as well.
#[test]
fn a_peer_that_has_gone_is_unknown_at_every_address_of_this_host() {
    let addresses = transport::here().interfaces.into_iter().map(|it| it.ip);
    for ip in addresses.filter(|it| it.is_ipv4() || it.is_loopback()) {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let there = TcpStream::connect(at).unwrap();
        assert_eq!(who(&listener), user(geteuid().as_raw()), "{ip}");
        drop(there);
        drop(TcpStream::connect(at).unwrap());
        assert_eq!(who(&listener), Who::Gone, "{ip}");
    }
}

/// Takes the next connection, and asks for its peer.
fn who(listener: &TcpListener) -> Who {
    in_runtime(|| accept(listener).who())
}

/// Takes the next connection, within a runtime.
pub(crate) fn accept(listener: &TcpListener) -> Stream {
    let accepted = listener.accept().unwrap().0;
    accepted.set_nonblocking(true).unwrap();
    Stream::try_from(tokio::net::TcpStream::from_std(accepted).unwrap()).unwrap()
}

pub(crate) fn user(uid: u32) -> Who {
    Who::User { uid, groups: Vec::new() }
}

/// Connects as another user, on a separate thread: Linux keeps the user for each thread.
fn connect_as(uid: u32, at: SocketAddr) -> TcpStream {
    let connect = || {
        let uid = Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        TcpStream::connect(at).unwrap()
    };
    std::thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

pub(crate) fn in_runtime<T>(run: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    run()
}
