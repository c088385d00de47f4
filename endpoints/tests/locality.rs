//! The localities of endpoints, and the reasons why some are left out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::IpAddr, slice};

use endpoints::{
    Endpoint, Here, Interface, KernelId, Locality, NetnsId, ProcessId, SocketId, Stamp, Stamped,
    UnixPath, Unreachable, locate, prefer_addr, rank,
};

const SOCKET: SocketId = SocketId { dev: 1, ino: 2, born_ns: Some(3) };

fn here() -> Here {
    let interface = |name: &str, ip: &str, prefix_bits| Interface {
        name: name.to_owned(),
        ip: ip.parse::<IpAddr>().unwrap(),
        prefix_bits,
    };
    Here {
        kernel: Some(KernelId(1)),
        netns: Some(NetnsId(1)),
        process: Some(ProcessId(1)),
        interfaces: vec![
            interface("lo", "127.0.0.1", 8),
            interface("eth0", "10.0.0.1", 24),
            interface("eth0", "2001:db8::1", 64),
            interface("eth0", "fe80::1", 64),
            interface("tun0", "192.0.2.1", 32),
            interface("odd0", "198.51.100.1", 0),
        ],
    }
}

/// Reads a stamp: `k` for the kernel, `n` for the network namespace, `p` for the process, `s` for
/// the socket file, each followed by 1 if it is that of [`here`].
fn stamp(text: &str) -> Stamp {
    let mut stamp = Stamp::default();
    for part in text.split_whitespace() {
        let (kind, number) = part.split_at(1);
        let number: u64 = number.parse().unwrap();
        match kind {
            "k" => stamp.kernel = Some(KernelId(number)),
            "n" => stamp.netns = Some(NetnsId(number)),
            "p" => stamp.process = Some(ProcessId(number)),
            "s" => stamp.socket = Some(SocketId { ino: 1 + number, ..SOCKET }),
            other => panic!("no such part of a stamp: {other}"),
        }
    }
    stamp
}

fn stamped(endpoint: &str, stamp_text: &str) -> Stamped {
    Stamped { endpoint: endpoint.parse().unwrap(), stamp: stamp(stamp_text) }
}

/// Checks against a file system in which a file's name says what is found there.
fn look(path: &UnixPath) -> Result<SocketId, Unreachable> {
    match path.as_str() {
        "/meant" => Ok(SOCKET),
        "/rebound" => Ok(SocketId { born_ns: Some(4), ..SOCKET }),
        "/missing" => Err(Unreachable::Missing),
        "/file" => Err(Unreachable::NotASocket),
        "/locked" => Err(Unreachable::NoPermission),
        _ => Err(Unreachable::Unseen("too many links".to_owned())),
    }
}

#[test]
fn stamps_decide_how_near_an_endpoint_is() {
    use Locality::*;

    let check = |endpoint: &str, stamp: &str, expected: Result<Locality, Unreachable>| {
        let found = locate(&stamped(endpoint, stamp), &here(), &look);
        assert_eq!(found, expected, "{endpoint} stamped {stamp:?}");
    };
    let unseen = Unreachable::Unseen("too many links".to_owned());

    check("/memory/7", "k1 n1 p1", Ok(InProcess));
    check("/memory/7", "k1 n1 p2", Err(Unreachable::OtherProcess));
    check("/memory/7", "k1 n1", Err(Unreachable::NoStamp));

    // A path leads across network namespaces; the socket that it leads to counts.
    check("/unix/meant", "k1 n1 s1", Ok(UnixSocket));
    check("/unix/meant", "k1 n2 s1", Ok(UnixSocket));
    check("/unix/meant", "k1 s1", Ok(UnixSocket));
    check("/unix/meant", "k2 n1 s1", Err(Unreachable::OtherHost));
    check("/unix/meant", "n1 s1", Err(Unreachable::KernelNotSaid));
    check("/unix/meant", "", Err(Unreachable::NoStamp));
    check("/unix/meant", "k1 n1", Err(Unreachable::NoSocketStamp));
    check("/unix/meant", "k1 n1 s2", Err(Unreachable::OtherSocket));
    check("/unix/rebound", "k1 n1 s1", Err(Unreachable::OtherSocket));
    check("/unix/missing", "k1 n1 s1", Err(Unreachable::Missing));
    check("/unix/file", "k1 n1 s1", Err(Unreachable::NotASocket));
    check("/unix/locked", "k1 n1 s1", Err(Unreachable::NoPermission));
    check("/unix/loop", "k1 n1 s1", Err(unseen));

    for local in ["/unix/@feed", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/dns/localhost/tcp/1"] {
        let nearest = if local.starts_with("/unix") { UnixSocket } else { Loopback };
        check(local, "k1 n1", Ok(nearest));
        check(local, "k1 n2", Err(Unreachable::OtherNetns));
        check(local, "k2 n1", Err(Unreachable::OtherHost));
        check(local, "k1", Err(Unreachable::NetnsNotSaid));
        check(local, "", Err(Unreachable::NoStamp));
    }
    check("/ip6/::ffff:127.0.0.1/tcp/1", "k1 n2", Err(Unreachable::OtherNetns));
    check("/ip4/127.9.9.9/tcp/1", "k1 n1", Ok(Loopback));

    // An address of this host reaches it, whatever other host has the same one.
    check("/ip4/10.0.0.1/tcp/1", "k1 n1", Ok(ThisHost));
    check("/ip4/10.0.0.1/tcp/1", "k1", Ok(ThisHost));
    check("/ip4/10.0.0.1/tcp/1", "", Ok(ThisHost));
    check("/ip6/::ffff:10.0.0.1/tcp/1", "k1 n1", Ok(ThisHost));
    check("/ip4/10.0.0.1/tcp/1", "k1 n2", Err(Unreachable::AddressIsOurs));
    check("/ip4/10.0.0.1/tcp/1", "k2 n1", Err(Unreachable::AddressIsOurs));
    check("/ip4/172.17.0.2/tcp/1", "k1 n2", Ok(ThisHost));
    check("/dns/feed.example/tcp/1", "k1 n1", Ok(ThisHost));
    check("/dns/feed.example/tcp/1", "k2", Ok(Remote));

    check("/ip4/10.0.0.9/tcp/1", "k2 n1", Ok(SameSubnet));
    check("/ip4/10.0.0.9/tcp/1", "", Ok(SameSubnet));
    check("/ip6/2001:db8::9/tcp/1/tls", "", Ok(SameSubnet));
    check("/ip4/10.0.1.9/tcp/1", "", Ok(Remote));
    check("/ip4/192.0.2.2/tcp/1", "", Ok(Remote));
    check("/ip4/198.51.100.2/tcp/1", "", Ok(Remote));
    check("/ip6/2001:db8:0:1::9/tcp/1", "k2", Ok(Remote));

    // A zone is the name of a link, which every host chooses.
    check("/ip6zone/eth0/ip6/fe80::9/tcp/1", "k1 n1", Ok(ThisHost));
    check("/ip6zone/eth0/ip6/fe80::9/tcp/1", "", Ok(SameSubnet));
    let other_zone = |zone: &str| Err(Unreachable::OtherZone(zone.to_owned()));
    check("/ip6zone/eth0/ip6/fe80::9/tcp/1", "k1 n2", other_zone("eth0"));
    check("/ip6zone/eth0/ip6/fe80::9/tcp/1", "k2 n1", other_zone("eth0"));
    check("/ip6zone/wlan7/ip6/fe80::9/tcp/1", "", other_zone("wlan7"));
    check("/ip6/fe80::9/tcp/1", "k1 n1", Err(Unreachable::NoZone));
    check("/ip6zone/eth0/ip6/2001:db8::9/tcp/1", "k2 n1", Ok(SameSubnet));

    for bind_only in ["/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1", "/ip4/10.0.0.1/tcp/0", "/memory/0"] {
        check(bind_only, "k1 n1 p1", Err(Unreachable::BindOnly));
    }
}

#[test]
fn a_time_of_birth_that_is_not_known_speaks_against_nothing() {
    let check = |stamped: Option<u64>, seen: Option<u64>, expected: bool| {
        let [stamped, seen] = [stamped, seen].map(|born_ns| SocketId { born_ns, ..SOCKET });
        assert_eq!(stamped.is_same(&seen), expected, "{stamped:?} {seen:?}");
    };
    check(Some(3), Some(3), true);
    check(Some(3), Some(4), false);
    check(None, Some(3), true);
    check(Some(3), None, true);
    check(None, None, true);
    assert!(!SOCKET.is_same(&SocketId { ino: 3, born_ns: None, ..SOCKET }));
    assert!(!SOCKET.is_same(&SocketId { dev: 2, born_ns: None, ..SOCKET }));

    let mut unborn = stamped("/unix/meant", "k1 n1 s1");
    unborn.stamp.socket = Some(SocketId { born_ns: None, ..SOCKET });
    assert_eq!(locate(&unborn, &here(), &look), Ok(Locality::UnixSocket));
}

#[test]
fn an_unknown_network_namespace_is_a_reason() {
    let here = Here { netns: None, ..here() };
    for local in ["/unix/@feed", "/ip4/127.0.0.1/tcp/1"] {
        let found = locate(&stamped(local, "k1 n1"), &here, &look);
        assert_eq!(found, Err(Unreachable::HereNetnsUnknown), "{local}");
    }
    assert_eq!(locate(&stamped("/unix/meant", "k1 s1"), &here, &look), Ok(Locality::UnixSocket));
}

#[test]
fn without_an_own_identity_nothing_is_local() {
    let nowhere = Here::default();
    let check = |endpoint: &str, expected: Result<Locality, Unreachable>| {
        let found = locate(&stamped(endpoint, "k1 n1 p1 s1"), &nowhere, &look);
        assert_eq!(found, expected, "{endpoint}");
    };
    check("/memory/1", Err(Unreachable::HereUnknown));
    check("/unix/meant", Err(Unreachable::HereUnknown));
    check("/unix/@feed", Err(Unreachable::HereUnknown));
    check("/ip4/127.0.0.1/tcp/1", Err(Unreachable::HereUnknown));
    check("/ip4/10.0.0.1/tcp/1", Ok(Locality::Remote));
    check("/dns/feed/tcp/1", Ok(Locality::Remote));
}

#[test]
fn the_nearest_comes_first_and_equals_keep_their_order() {
    let endpoints = [
        stamped("/ip4/203.0.113.1/tcp/1", "k2 n1"),
        stamped("/ip4/0.0.0.0/tcp/1", "k1 n1"),
        stamped("/ip4/10.0.0.1/tcp/1", "k1 n1"),
        stamped("/unix/missing", "k1 n1 s1"),
        stamped("/ip4/10.0.0.9/tcp/1", "k2 n1"),
        stamped("/unix/@second", "k1 n1"),
        stamped("/ip4/127.0.0.1/tcp/2", "k1 n1"),
        stamped("/unix/meant", "k1 n1 s1"),
        stamped("/memory/1", "k1 n1 p1"),
        stamped("/ip4/127.0.0.1/tcp/1", "k1 n1"),
    ];
    let ranked: Vec<_> = rank(&endpoints, &here(), &look)
        .iter()
        .map(|it| match &it.verdict {
            Ok(locality) => format!("{} {locality}", it.stamped.endpoint),
            Err(reason) => format!("{} left out: {reason}", it.stamped.endpoint),
        })
        .collect();
    assert_eq!(
        ranked,
        [
            "/memory/1 in process",
            "/unix/@second unix socket",
            "/unix/meant unix socket",
            "/ip4/127.0.0.1/tcp/2 loopback",
            "/ip4/127.0.0.1/tcp/1 loopback",
            "/ip4/10.0.0.1/tcp/1 this host",
            "/ip4/10.0.0.9/tcp/1 same subnet",
            "/ip4/203.0.113.1/tcp/1 remote",
            "/ip4/0.0.0.0/tcp/1 left out: a wildcard address or port 0 can be bound, not dialed",
            "/unix/missing left out: no such socket",
        ]
    );
}

#[test]
fn the_preferred_one_is_the_nearest_within_reach() {
    let far = stamped("/ip4/203.0.113.1/tcp/1", "k2 n1");
    let near = stamped("/unix/meant", "k1 n1 s1");
    let gone = stamped("/unix/missing", "k1 n1 s1");
    let here = here();

    let all = [gone.clone(), far.clone(), near.clone()];
    assert_eq!(prefer_addr(&all, &here, &look), Some(&near));
    assert_eq!(prefer_addr(&all[..2], &here, &look), Some(&far));
    assert_eq!(prefer_addr(slice::from_ref(&gone), &here, &look), None);
    assert_eq!(prefer_addr([], &here, &look), None);
}

#[test]
fn a_stamp_survives_json_whole_and_in_part() {
    let check = |stamp_text: &str, json: &str| {
        let stamp = stamp(stamp_text);
        assert_eq!(serde_json::to_string(&stamp).unwrap(), json);
        assert_eq!(serde_json::from_str::<Stamp>(json).unwrap(), stamp);
    };
    check("", "{}");
    check(
        "k1 n255 s1",
        r#"{"kernel":"0000000000000001","netns":"00000000000000ff","socket":{"dev":1,"ino":2,"born_ns":3}}"#,
    );
    let bare = Stamped::bare(Endpoint::Memory(7));
    assert_eq!(serde_json::from_str::<Stamped>(r#"{"endpoint":"/memory/7"}"#).unwrap(), bare);
}
