//! The memory of one owner, however many sessions it has: at most its quota, whatever it does, and
//! all of it is returned.

use std::{collections::BTreeMap, thread, time::Duration};

use bytes::BytesMut;
use endpoints::NamePattern;
use wire::{
    ErrorKind, Frame, Quota, QuotaExceeded, encode_body,
    registrar::{FIND, LIST, List, QUERY, Query, WAIT, WATCH, Wait, Watch},
};

use crate::{
    KEPT_KIB_MAX,
    harness::{Counts, LIMIT, Node, Peer, Room, now, register, registration},
};

/// The sessions of one owner: all except those of the observers.
const SESSIONS: usize = 4096 - 16;

/// The node's memory, whatever they do.
const RESIDENT_KIB_MAX: u64 = 256 * 1024;

/// Lets all sessions of one owner do something, and weighs the node then, and once they have gone.
#[track_caller]
fn endure_crowd(abuse: impl Fn(&mut [Peer])) {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let node = Node::listen(&room, &[&place]);
    let before_kib = node.resident_kib();
    let mut peers: Vec<_> = (0..SESSIONS).map(|_| Peer::greet(&place)).collect();
    abuse(&mut peers);
    // Everything sent has been read when a newcomer has had a turn.
    sync(&place);
    let during_kib = node.resident_kib();
    assert!(during_kib < RESIDENT_KIB_MAX, "{during_kib} KiB are resident");

    drop(peers);
    sync(&place);
    node.comes_to(Counts { instances: 0, sessions: 0, waiters: 0, watchers: 0 });
    let (began, most_kib) = (now(), before_kib + KEPT_KIB_MAX);
    while node.resident_kib() > most_kib {
        let after_kib = node.resident_kib();
        let all =
            format!("{before_kib} KiB before, {during_kib} KiB during, {after_kib} KiB after");
        assert!(began.elapsed() < LIMIT, "it does not come back: {all}");
        thread::sleep(Duration::from_millis(20));
    }
    node.stop().succeeds();
}

/// Connects as one more session, and is answered.
#[track_caller]
fn sync(place: &str) {
    Peer::greet(place).sync();
}

/// Registers a hundred instances that make a long answer together.
fn register_fat(peer: &mut Peer) {
    for _ in 0..100 {
        let mut fat = registration("large", vec![]);
        fat.metadata = BTreeMap::from([("text".to_owned(), "x".repeat(16_000))]);
        let (method, body) = register(&fat);
        peer.call(method, &body).unwrap();
    }
}

/// Sends calls to a node that may not read, or may have closed.
fn send_calls(peer: &mut Peer, calls: impl IntoIterator<Item = (&'static str, Vec<u8>)>) {
    let mut bytes = BytesMut::new();
    for (id, (method, body)) in (1_000_000..).step_by(2).zip(calls) {
        Frame::Call { id, method, body: &body, within_ms: None }.encode(&mut bytes).unwrap();
        if method == WATCH {
            Frame::Credit { id, items: 1_000_000 }.encode(&mut bytes).unwrap();
        }
    }
    peer.set_limit(Duration::from_millis(50));
    drop(peer.try_send_bytes(&bytes));
}

#[test]
fn sessions_that_say_nothing() {
    endure_crowd(|_| {});
}

#[test]
fn frames_that_are_never_finished() {
    endure_crowd(|peers| {
        for (at, peer) in peers.iter_mut().enumerate() {
            let announced = 128 * 1024 - at as u32;
            peer.set_limit(Duration::from_millis(50));
            drop(peer.try_send_bytes(&announced.to_le_bytes()));
            drop(peer.try_send_bytes(&vec![0xc0; announced as usize - 1]));
        }
    });
}

#[test]
fn answers_that_nobody_reads() {
    endure_crowd(|peers| {
        register_fat(&mut peers[0]);
        let query = encode_body(&Query::of("large")).to_vec();
        let list = encode_body(&List { pattern: NamePattern::any(), after: 0 }).to_vec();
        for (at, peer) in peers.iter_mut().enumerate().skip(1) {
            let call = match at % 3 {
                0 => (QUERY, query.clone()),
                1 => (FIND, query.clone()),
                _ => (LIST, list.clone()),
            };
            send_calls(peer, vec![call; 4]);
        }
    });
}

/// The buffers of a long answer are free once it is read.
#[test]
fn answers_that_all_have_read() {
    endure_crowd(|peers| {
        register_fat(&mut peers[0]);
        let query = encode_body(&Query::of("large"));
        for peer in &mut peers[1..] {
            peer.call(QUERY, &query).unwrap();
        }
    });
}

#[test]
fn watches_that_nobody_reads() {
    endure_crowd(|peers| {
        register_fat(&mut peers[0]);
        for (at, peer) in peers.iter_mut().enumerate().skip(1) {
            let watches = (0..8).map(|number| {
                let text = match number {
                    0..4 => "l*".to_owned(),
                    _ => format!("{at}*{}{number}?*b", "abcdefghijkl".repeat(15)),
                };
                let pattern = NamePattern::new(&text).unwrap();
                (WATCH, encode_body(&Watch { pattern, seen: None }).to_vec())
            });
            send_calls(peer, watches);
        }
        // Nobody reads any of this; requests beyond the quota are refused.
        for number in 0..100 {
            let mut changed = registration("large", vec![]);
            changed.metadata = BTreeMap::from([(number.to_string(), "x".repeat(16_000))]);
            let (method, body) = register(&changed);
            drop(peers[0].call(method, &body));
        }
    });
}

#[test]
fn waits_and_registrations() {
    endure_crowd(|peers| {
        for (at, peer) in peers.iter_mut().enumerate() {
            let calls = (0..16).map(|number| {
                let name = format!("{}-{at}-{number}", "n".repeat(200));
                if number % 2 == 0 {
                    return (
                        WAIT,
                        encode_body(&Wait { name: format!("w{name}").parse().unwrap() }).to_vec(),
                    );
                }
                let mut registration = registration(&name, vec![]);
                if number % 4 == 1 {
                    registration.metadata = BTreeMap::from([("text".to_owned(), "x".repeat(3000))]);
                }
                let (method, body) = register(&registration);
                (method, body.to_vec())
            });
            send_calls(peer, calls);
        }
    });
}

/// An owner that has used up its memory learns of it, and may still connect and free some.
#[test]
fn an_owner_that_holds_too_much_lets_go_of_it() {
    let room = Room::new();
    let file = room.write("market.toml", "[quotas.trusted]\nbytes = \"16MiB\"\n");
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &["--config", &file]);
    let mut peer = Peer::greet(node.endpoint());
    let mut fill = |text_bytes: usize| loop {
        let mut large = registration("large", vec![]);
        large.metadata = BTreeMap::from([("text".to_owned(), "x".repeat(text_bytes))]);
        let (method, body) = register(&large);
        if let Err(error) = peer.call(method, &body) {
            break error;
        }
    };
    // What is left after the large ones has room for no small one either.
    fill(16_000);
    let refused = fill(0);
    assert_eq!(refused.kind, ErrorKind::QuotaExceeded);
    let exceeded = QuotaExceeded::of(&refused).unwrap();
    assert_eq!(exceeded.quota, Quota::Bytes);
    assert!(exceeded.used + exceeded.asked > exceeded.limit, "{exceeded:?}");
    let register_small = ["register", "small", "/unix/@small"];
    let told = node.callsign(&register_small).ends_with(4);
    told.says(&["user 0 holds", "read the answers, register less, or raise `bytes`"]);
    // A list longer than a socket's buffer shows that the node knows its contents.
    node.callsign(&["unregister", "large", "--all"]).succeeds();
    let (method, body) = register(&registration("small", vec![]));
    Peer::greet(node.endpoint()).call(method, &body).unwrap();
    node.stop().succeeds();
}
