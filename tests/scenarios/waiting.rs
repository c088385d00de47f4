//! Those who wait for a name.

use rustix::{
    event::{Timespec, epoll},
    fd::AsFd,
};
use wire::{
    decode_body, encode_body,
    registrar::{Answer, WAIT, WATCH, Wait, Watch},
};

use crate::harness::{Counts, LIMIT, Node, Peer, Room, register, registration, stamped};

#[test]
fn all_who_wait_are_woken_once_in_the_order_in_which_they_asked() {
    let room = Room::new();
    let node = Node::start(&room);
    let wait = encode_body(&Wait { name: "late".parse().unwrap() });
    let mut waiters: Vec<_> = (0..8).map(|_| Peer::greet(node.endpoint())).collect();
    // They ask in another order than they came.
    let order = [3, 0, 7, 1, 6, 2, 5, 4];
    for at in order {
        waiters[at].begin(WAIT, &wait);
        waiters[at].sync();
    }
    assert_eq!(node.counts().waiters, 8);

    // The kernel tells of sockets in the order in which something has come to them.
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    for (at, waiter) in waiters.iter().enumerate() {
        let data = epoll::EventData::new_u64(at as u64);
        let once = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&queue, waiter.as_fd(), data, once).unwrap();
    }
    let mut registrant = Peer::greet(node.endpoint());
    let (method, body) = register(&registration("late", vec![stamped("/unix/@late")]));
    registrant.call(method, &body).unwrap();

    let mut woken = Vec::new();
    while woken.len() < order.len() {
        let mut events = Vec::with_capacity(order.len());
        let limit = Timespec { tv_sec: LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
        let buffer = rustix::buffer::spare_capacity(&mut events);
        let count = epoll::wait(&queue, buffer, Some(&limit)).unwrap();
        assert!(count > 0, "only {woken:?} were woken");
        woken.extend(events.iter().map(|it: &epoll::Event| it.data.u64() as usize));
    }
    assert_eq!(woken, order);

    // Another instance wakes nobody again: what each hears next is what it asks next.
    let (method, body) = register(&registration("late", vec![]));
    registrant.call(method, &body).unwrap();
    for waiter in &mut waiters {
        let (_, answer) = waiter.answer();
        let answer: Answer = decode_body(&answer.unwrap()).unwrap();
        assert_eq!(answer.records.len(), 1);
        let own = waiter.begin("registrar.none", b"\xc0");
        assert_eq!(waiter.answer().0, own);
    }
    assert_eq!(node.counts().waiters, 0);
}

#[test]
fn whoever_stops_waiting_leaves_nothing_behind() {
    let room = Room::new();
    let node = Node::listen(&room, &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"]);
    let nothing = Counts { instances: 0, sessions: 0, waiters: 0, watchers: 0 };

    for place in node.endpoints() {
        // A program that is killed.
        let run = |args: &[&str]| room.run(&[&["--registrar", place], args].concat());
        let programs = [run(&["wait", "nobody"]), run(&["watch", "nobody"])];
        node.comes_to(Counts { sessions: 2, waiters: 1, watchers: 1, ..nothing });
        programs.into_iter().for_each(|it| drop(it.kill()));
        node.comes_to(nothing);

        // A program that gives up.
        let waited = run(&["wait", "nobody", "--timeout", "100ms"]).outcome();
        waited.ends_with(1).says(&["nobody", "100ms"]);
        node.comes_to(nothing);

        // A session that goes on without its calls.
        let mut peer = Peer::greet(place);
        let wait = encode_body(&Wait { name: "nobody".parse().unwrap() });
        let watch = encode_body(&Watch { pattern: "*".parse().unwrap(), seen: None });
        let calls = [peer.begin(WAIT, &wait), peer.begin(WATCH, &watch)];
        peer.sync();
        node.comes_to(Counts { sessions: 1, waiters: 1, watchers: 1, ..nothing });
        for id in calls {
            peer.send(&wire::Frame::Cancel { id });
        }
        peer.sync();
        node.comes_to(Counts { sessions: 1, ..nothing });
        drop(peer);
        node.comes_to(nothing);
    }
}

#[test]
fn whoever_waits_is_answered_when_it_comes() {
    let room = Room::new();
    let node = Node::start(&room);
    let waiters: Vec<_> = (0..3).map(|_| node.run(&["wait", "late", "--json"])).collect();
    node.comes_to(Counts { instances: 0, sessions: 3, waiters: 3, watchers: 0 });
    node.callsign(&["register", "late", "/unix/@late", "--ttl", "10m"]).succeeds();
    for waiter in waiters {
        assert_eq!(waiter.outcome().succeeds().json()["name"], "late");
    }
    // One that is there already is in time, however short the limit is.
    node.callsign(&["wait", "late", "--timeout", "0s"]).succeeds();
}
