//! A thousand clients whose registrar restarts.

use std::{io::Write, os::unix::net::UnixStream, time::Duration};

use discovery::{Client, ClientOptions, Registration};
use rustix::process::Signal;
use tokio::{runtime::Builder, time::timeout};

use crate::harness::{Counts, LIMIT, Node, Peer, Room, now, query};

#[test]
fn a_thousand_clients_come_back_and_are_not_in_the_way() {
    transport::raise_descriptor_limit().unwrap();
    let room = Room::new();
    let node = Node::start(&room);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let place = node.endpoint().to_owned();
    let kept: Vec<_> = runtime.block_on(async {
        let mut kept = Vec::with_capacity(CLIENTS);
        for number in 0..CLIENTS {
            let client = Client::open([&place], ClientOptions::default()).unwrap();
            let herd = Registration::new(format!("herd-{number}"));
            let herd = herd.endpoint("/unix/@herd").unwrap();
            // A busy registrar may take longer than a client waits, and is asked again.
            let registered = client.register_patiently(herd);
            kept.push(timeout(LIMIT, registered).await.unwrap().unwrap());
        }
        kept
    });
    let all = CLIENTS as u64;
    node.comes_to(Counts { instances: all, sessions: all, waiters: 0, watchers: 0 });

    let restarted = now();
    let node = node.restart();
    let ready = now();
    // Meanwhile another client looks names up, and is answered.
    let mut other = Peer::greet(node.endpoint());
    let (method, body) = query("herd-0");
    let (mut slowest, mut lookups) = (Duration::ZERO, 0_u64);
    let mut is_back = false;
    while !is_back {
        let asked = now();
        let answer = other.call(method, &body).expect("it is answered");
        (slowest, lookups) = (slowest.max(asked.elapsed()), lookups + 1);
        let found: wire::registrar::Answer = wire::decode_body(&answer).unwrap();
        is_back = found.total == 1 && kept.iter().all(|it| it.missing().is_empty());
        if restarted.elapsed() >= LIMIT {
            let missing: Vec<_> = kept.iter().flat_map(|it| it.missing()).collect();
            let (count, first) = (missing.len(), missing.first());
            panic!("{count} are not back within {LIMIT:?}: {first:?}; {}", found.total);
        }
    }
    println!(
        "{CLIENTS} clients are back {:.1?} after the kill and {:.1?} after the start; of {lookups} \
         look-ups meanwhile the slowest took {slowest:.1?}",
        restarted.elapsed(),
        ready.elapsed(),
    );
    drop(other);
    node.comes_to(Counts { instances: all, sessions: all, waiters: 0, watchers: 0 });
    drop(kept);
    node.comes_to(Counts { instances: 0, sessions: 0, waiters: 0, watchers: 0 });
}

/// They cost it turns, and those who still waited gave up as well.
#[test]
fn connections_whose_clients_have_given_up_get_no_turn() {
    let room = Room::new();
    let file = room.file("r.sock");
    let mut node = Node::start_with(&room, &[&room.unix("r.sock")], &["-vv"]);
    node.process().signal(Signal::STOP);
    for _ in 0..ABANDONED {
        let mut stream = UnixStream::connect(&file).unwrap();
        stream.write_all(&wire::preface::preface()).unwrap();
    }
    node.process().signal(Signal::CONT);
    for _ in 0..ABANDONED {
        node.says("gone before it was served");
    }
    node.callsign(&["ls"]).succeeds();
}

/// More than are accepted in a turn.
const ABANDONED: usize = 40;

/// As many as a busy host has programs.
const CLIENTS: usize = 1000;
