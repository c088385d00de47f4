//! Lists of endpoints with one port.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use endpoints::{Endpoint, Stamped};
use transport::{BindError, BindOptions, Listener, dial_stamped};

use crate::common::{TOO_LONG, bounded, has_ipv6, unix};

async fn bind(list: &[Endpoint]) -> Vec<Listener> {
    Listener::bind_all(list, BindOptions::default()).await.unwrap()
}

fn parse(list: &[&str], port: u16) -> Vec<Endpoint> {
    list.iter().map(|it| it.replace('N', &port.to_string()).parse().unwrap()).collect()
}

/// Returns a port that both families have free.
fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

fn port_of(listener: &Listener) -> u16 {
    let Endpoint::Tcp(tcp) = listener.bound() else { panic!("{listener:?} has no port") };
    tcp.port
}

/// Connects to an address, and tells which of the listeners took it.
async fn who_takes(listeners: &[Listener], address: SocketAddr) -> usize {
    let _caller = TcpStream::connect(address).unwrap();
    let last = listeners.len() - 1;
    let taken = async {
        tokio::select! {
            biased;
            stream = listeners[0].accept() => (0, stream),
            stream = listeners[last].accept() => (last, stream),
        }
    };
    let (at, stream) = bounded(taken).await;
    drop(stream.unwrap());
    at
}

#[tokio::test]
async fn both_families_have_their_own_listener_in_either_order() {
    if !has_ipv6() {
        return;
    }
    let (ip4, ip6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    for (list, takes_ip4, takes_ip6) in [
        (["/ip4/0.0.0.0/tcp/N", "/ip6/::/tcp/N"], 0, 1),
        (["/ip6/::/tcp/N", "/ip4/0.0.0.0/tcp/N"], 1, 0),
        (["/ip6/::/tcp/N", "/ip4/127.0.0.1/tcp/N"], 1, 0),
        (["/ip4/127.0.0.1/tcp/N", "/ip6/::1/tcp/N"], 0, 1),
        (["/ip6/::1/tcp/N", "/ip4/0.0.0.0/tcp/N"], 1, 0),
        (["/ip6/::/tcp/N", "/ip6/::/tcp/N"], 0, 0),
    ] {
        let port = free_port();
        let listeners = bind(&parse(&list, port)).await;
        assert_eq!(who_takes(&listeners, (ip4, port).into()).await, takes_ip4, "{list:?}");
        assert_eq!(who_takes(&listeners, (ip6, port).into()).await, takes_ip6, "{list:?}");
    }
}

#[tokio::test]
async fn port_0_is_one_port_for_both_families() {
    if !has_ipv6() {
        return;
    }
    for (list, is_one) in [
        (["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"], true),
        (["/ip6/::/tcp/0", "/ip4/0.0.0.0/tcp/0"], true),
        (["/ip6/::1/tcp/0", "/ip4/127.0.0.1/tcp/0"], true),
        // One is for this host alone, the other for all.
        (["/ip6/::/tcp/0", "/ip4/127.0.0.1/tcp/0"], false),
    ] {
        let list = parse(&list, 0);
        let own = Listener::bind_all_own(&list).unwrap().unwrap();
        for listeners in [bind(&list).await, own] {
            let ports: Vec<_> = listeners.iter().map(port_of).collect();
            assert_eq!(ports[0] == ports[1], is_one, "{list:?} {ports:?}");
        }
    }
}

#[tokio::test]
async fn a_port_that_one_family_has_not_free_is_drawn_again() {
    if !has_ipv6() {
        return;
    }
    // Half of the ports are taken for IPv6, so that one in two draws has to be given back.
    let Ok(range) = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range") else {
        return;
    };
    let ports: Vec<u16> = range.split_whitespace().map(|it| it.parse().unwrap()).collect();
    let taken: Vec<_> = (ports[0]..=ports[1])
        .step_by(97)
        .filter_map(|it| TcpListener::bind((Ipv6Addr::LOCALHOST, it)).ok())
        .collect();
    assert!(!taken.is_empty());
    for _ in 0..200 {
        let list = parse(&["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"], 0);
        let listeners = bind(&list).await;
        assert_eq!(port_of(&listeners[0]), port_of(&listeners[1]));
    }
}

#[tokio::test]
async fn each_of_both_wildcards_publishes_its_family() {
    if !has_ipv6() {
        return;
    }
    let listeners = bind(&parse(&["/ip6/::/tcp/0", "/ip4/0.0.0.0/tcp/0"], 0)).await;
    let is_ip4 = |it: &Stamped| it.endpoint.to_string().starts_with("/ip4/");
    let [ip6, ip4] = [listeners[0].published(), listeners[1].published()];
    assert!(!ip6.is_empty() && !ip6.iter().any(is_ip4), "{ip6:?}");
    assert!(!ip4.is_empty() && ip4.iter().all(is_ip4), "{ip4:?}");
    let all = [ip6.to_vec(), ip4.to_vec()].concat();
    for published in all.iter().filter(|it| it.endpoint.to_string().contains("/ip6/::1/")) {
        bounded(dial_stamped(published, TOO_LONG)).await.unwrap();
    }

    // Alone it takes both.
    let alone = bind(&parse(&["/ip6/::/tcp/0"], 0)).await;
    assert!(alone[0].published().iter().any(is_ip4));
}

#[tokio::test]
async fn endpoints_that_cannot_be_bound_together_are_an_error_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = unix(&folder.path().join("feed.sock"));
    let port = free_port();
    let list =
        [vec![path.clone()], parse(&["/ip4/0.0.0.0/tcp/N", "/ip4/127.0.0.1/tcp/N"], port)].concat();
    let error = Listener::bind_all(&list, BindOptions::default()).await.unwrap_err();
    assert_eq!(error.endpoint, list[2]);
    assert!(matches!(error.source, BindError::InUse { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot listen on `{}`", list[2]));
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();

    let mut list = vec![path, "/unix/no/such/folder/x.sock".parse().unwrap()];
    for _ in 0..2 {
        let error = Listener::bind_all(&list, BindOptions::default()).await.unwrap_err();
        assert!(matches!(error.source, BindError::NoFolder { .. }), "{error:?}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        list.reverse();
    }
}
