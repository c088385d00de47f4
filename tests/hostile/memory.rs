//! The memory cost of clients that ask for much and read nothing: the bound of their unread data,
//! and one answer.

use std::{collections::BTreeMap, time::Duration};

use bytes::BytesMut;
use endpoints::NamePattern;
use wire::{
    Frame, encode_body,
    registrar::{FIND, LIST, List, QUERY, Query, RECORDS_BYTES_MAX, WAIT, WATCH, Wait, Watch},
};

use crate::{
    KEPT_KIB_MAX, endure,
    harness::{LIMIT, Node, Peer, now, register, registration},
};

/// The number of such clients.
const STRANGERS: usize = 40;

/// The cost of each: its unread data, one answer, both once more where a buffer has grown to hold
/// them, and its own messages.
const EACH_KIB_MAX: u64 = (2 * (256 * 1024 + RECORDS_BYTES_MAX) as u64 + 128 * 1024) / 1024;

/// Registers instances of one name with as much metadata as may be.
fn register_fat(registrant: &mut Peer, name: &str, instances: usize) {
    for _ in 0..instances {
        let mut fat = registration(name, vec![]);
        fat.metadata = BTreeMap::from([("text".to_owned(), "x".repeat(16_000))]);
        let (method, body) = register(&fat);
        registrant.call(method, &body).unwrap();
    }
}

/// Lets strangers send something until the node reads no more of it, and weighs the node.
fn unread(node: &Node<'_>, endpoint: &str, questions: impl Fn(usize) -> BytesMut) {
    let before_kib = node.resident_kib();
    let strangers: Vec<_> = (0..STRANGERS)
        .map(|number| {
            let mut stranger = Peer::greet(endpoint);
            let questions = questions(number);
            let began = now();
            while is_listened_to(&mut stranger, &questions) {
                assert!(began.elapsed() < LIMIT, "it is listened to");
            }
            stranger
        })
        .collect();
    weigh(node, before_kib);
    Peer::greet(endpoint).sync();
    drop(strangers);
}

/// Sends something to a node that may not read. Over TCP, a peer without a heartbeat is cut off.
fn is_listened_to(stranger: &mut Peer, bytes: &[u8]) -> bool {
    stranger.set_limit(Duration::from_millis(50));
    stranger.try_send_bytes(bytes).is_ok()
}

fn weigh(node: &Node<'_>, before_kib: u64) {
    let most = before_kib + STRANGERS as u64 * EACH_KIB_MAX + KEPT_KIB_MAX;
    let during_kib = node.resident_kib();
    assert!(
        during_kib < most,
        "{before_kib} KiB were resident before, and {during_kib} KiB while nobody reads"
    );
}

/// A peer that asks and does not read is not read either: its questions wait in the kernel, not in
/// the node.
#[test]
fn a_client_that_never_reads_is_not_read() {
    endure(|node, endpoint| {
        // Over a Unix socket, a busy client is not cut.
        let mut registrant = Peer::greet(node.endpoint());
        register_fat(&mut registrant, "large", 300);
        let all = Query { all: true, ..Query::of("large") };
        let list = List { pattern: NamePattern::any(), after: 0 };
        let asked =
            [(QUERY, encode_body(&all)), (FIND, encode_body(&all)), (LIST, encode_body(&list))];
        unread(node, endpoint, |number| {
            let (method, body) = &asked[number % asked.len()];
            let mut questions = BytesMut::new();
            for id in 0..1000 {
                Frame::Call { id: 2 * id, method, body, within_ms: None }
                    .encode(&mut questions)
                    .unwrap();
            }
            questions
        });
    });
}

/// Unread changes of watchers are kept once for all of them.
#[test]
fn a_watcher_that_never_reads_costs_no_more() {
    endure(|node, endpoint| {
        // Over a Unix socket, a busy client is not cut.
        let mut registrant = Peer::greet(node.endpoint());
        register_fat(&mut registrant, "large", 100);
        let before_kib = node.resident_kib();
        let strangers: Vec<_> = (0..STRANGERS)
            .map(|_| {
                let mut stranger = Peer::greet(endpoint);
                let patterns = ["*", "large", "l*", "l?rge"].iter().cycle().take(256);
                let mut watches = BytesMut::new();
                for (id, pattern) in (0..).step_by(2).zip(patterns) {
                    let pattern = NamePattern::new(pattern).unwrap();
                    let body = encode_body(&Watch { pattern, seen: None });
                    Frame::Call { id, method: WATCH, body: &body, within_ms: None }
                        .encode(&mut watches)
                        .unwrap();
                    Frame::Credit { id, items: 1_000_000 }.encode(&mut watches).unwrap();
                }
                is_listened_to(&mut stranger, &watches);
                stranger
            })
            .collect();
        let mut changing = registration("large", vec![]);
        for number in 0..500 {
            changing.metadata = BTreeMap::from([(number.to_string(), "x".repeat(2000))]);
            let (method, body) = register(&changing);
            registrant.call(method, &body).unwrap();
        }
        weigh(node, before_kib);
        drop(strangers);
    });
}

#[test]
fn a_waiter_that_never_reads_costs_no_more() {
    endure(|node, endpoint| {
        let wait = encode_body(&Wait { name: "large".parse().unwrap() });
        let strangers: Vec<_> = (0..STRANGERS)
            .map(|_| {
                let mut stranger = Peer::greet(endpoint);
                for _ in 0..1024 {
                    stranger.begin(WAIT, &wait);
                }
                stranger.sync();
                stranger
            })
            .collect();
        // Over a Unix socket, a busy client is not cut.
        let mut registrant = Peer::greet(node.endpoint());
        let before_kib = node.resident_kib();
        register_fat(&mut registrant, "large", 20);
        weigh(node, before_kib);
        drop(strangers);
    });
}

/// Of a frame that is announced and does not come, only the arrived part is kept.
#[test]
fn half_a_frame_costs_half_a_frame() {
    endure(|node, endpoint| {
        let before_kib = node.resident_kib();
        let mut strangers: Vec<_> = (0..100).map(|_| Peer::greet(endpoint)).collect();
        for (number, stranger) in strangers.iter_mut().enumerate() {
            // Half of them announce too much, and are cut.
            let announced: u32 = if number % 2 == 0 { 128 << 10 } else { 16 << 20 };
            drop(stranger.try_send_bytes(&announced.to_le_bytes()));
            drop(stranger.try_send_bytes(&[0xc0; 100 * 1024]));
        }
        weigh(node, before_kib);
        for (number, stranger) in strangers.into_iter().enumerate() {
            if number % 2 == 1 {
                stranger.closes();
            }
        }
        Peer::greet(endpoint).sync();
    });
}
