//! A storm of connections costs its owner, and nobody else.

use std::{
    sync::mpsc::{TryRecvError, channel},
    thread,
};

use rustix::process::geteuid;
use serde_json::Value;
use wire::{Frame, Owner, Quota, QuotaExceeded, RemoteError, preface::preface};

use crate::{
    chance::become_user,
    harness::{Counts, LIMIT, Node, Peer, Room, now},
};

#[test]
fn a_storm_of_connections_is_paid_by_its_owner_and_others_are_answered() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root to be another user");
        return;
    }
    let room = Room::new();
    let place = room.abstract_unix("r");
    let settings = format!("[quotas.\"user:{STORMING}\"]\ncpu = {QUOTA_PERCENT}\n");
    let settings = room.write("callsign.toml", &settings);
    let node = Node::start_with(&room, &[&place], &["--config", &settings]);
    let mut calm = Peer::greet(&place);

    thread::scope(|scope| {
        let ((stop, is_over), (refused, refusals)) = (channel::<()>(), channel());
        let place = &place;
        scope.spawn(move || {
            become_user(STORMING);
            while is_over.try_recv() == Err(TryRecvError::Empty) {
                (0..BURST).for_each(|_| drop(Peer::dial(place)));
                if let Some(error) = turned_away(place) {
                    refused.send(error).expect("it is heard until it stops");
                }
            }
        });
        let error = refusals.recv().expect("it gets no more connections");
        let exceeded = QuotaExceeded::of(&error).unwrap();
        assert_eq!((exceeded.quota, exceeded.owner), (Quota::Cpu, Owner::User(STORMING)));
        assert!(error.message.contains("of a processor here, of at most 1%"), "{}", error.message);

        (0..CALLS).for_each(|_| calm.sync());
        (0..NEWCOMERS).for_each(|_| Peer::greet(place).sync());
        until(&node, |cpu| cpu.is_some_and(|it| it["used"].as_u64() > Some(QUOTA_PERCENT)));
        drop(stop);
        refusals.iter().for_each(drop);
    });

    // Once it has paid, it is served as before.
    drop(calm);
    until(&node, |cpu| cpu.is_none());
    node.comes_to(Counts { instances: 0, sessions: 0, waiters: 0, watchers: 0 });
    thread::scope(|scope| {
        scope.spawn(|| {
            become_user(STORMING);
            Peer::greet(&place).sync();
        });
    });
    node.stop().succeeds();
}

/// Connects, and returns the registrar's reason not to serve the connection.
fn turned_away(place: &str) -> Option<RemoteError> {
    let mut peer = Peer::dial(place);
    let mut hello = bytes::BytesMut::from(&preface()[..]);
    Frame::Hello(Box::default()).encode(&mut hello).unwrap();
    // The registrar may have closed it already.
    peer.try_send_bytes(&hello).ok();
    match Frame::decode(&peer.frame()?).unwrap() {
        Frame::Goodbye { error, .. } => error.map(|it| *it),
        _ => None,
    }
}

/// Waits until the storming owner's use of the processor shows.
#[track_caller]
fn until(node: &Node<'_>, is_so: impl Fn(Option<&Value>) -> bool) {
    let began = now();
    loop {
        let shown = node.callsign(&["status", "--owners", "--json"]).succeeds().json();
        let owners = shown[0]["owners"].as_array().unwrap();
        let storming = owners.iter().find(|it| it["owner"] == Owner::User(STORMING).to_string());
        if is_so(storming.map(|it| &it["cpu"])) {
            return;
        }
        assert!(began.elapsed() < LIMIT, "{shown}");
    }
}

const STORMING: u32 = 4711;
const QUOTA_PERCENT: u64 = 1;

/// Enough simultaneous connections for the greatest debt.
const BURST: usize = 1000;

const CALLS: usize = 1000;
const NEWCOMERS: usize = 20;
