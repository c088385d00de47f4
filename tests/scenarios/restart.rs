//! A registrar that is killed and returns: no cleanup is needed, and all are registered again.

use rustix::process::Signal;

use crate::harness::{Counts, Node, Peer, Room};

#[test]
fn all_come_back_by_themselves_when_the_registrar_does() {
    let room = Room::new();
    let node = Node::listen(&room, &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"]);
    let places = node.endpoints().to_vec();

    let over = |place: &str, args: &[&str]| room.run(&[&["--registrar", place], args].concat());
    let mut watches: Vec<_> =
        places.iter().map(|it| over(it, &["watch", "steady*", "--json"])).collect();
    let mut registrants = Vec::new();
    let names = ["steady-0", "steady-1"];
    for (name, place) in names.iter().zip(&places) {
        let mut registrant =
            over(place, &["register", name, &format!("/unix/@{name}"), "--state", "ready"]);
        registrant.line_with("registered");
        registrants.push(registrant);
    }
    // A wait in the meantime continues.
    let waiters: Vec<_> = places.iter().map(|it| over(it, &["wait", "late"])).collect();
    for watch in &mut watches {
        for name in names {
            watch.json(name, |it| it["change"] == "add" && it["name"] == name);
        }
    }
    node.comes_to(Counts { instances: 2, sessions: 6, waiters: 2, watchers: 2 });

    let node = node.restart();
    assert_eq!(node.endpoints(), places, "it listens where it did");

    for name in names {
        node.callsign(&["wait", name, "--timeout", "5m"]).succeeds();
    }
    for watch in &mut watches {
        watch.json("word that it is lost", |it| it["change"] == "stale");
        // Whether it returns before the registrants is chance.
        let mut missing = names.to_vec();
        while !missing.is_empty() {
            let back = watch.json("an instance that is back", |it| {
                it["change"] == "add" || it["change"] == "update"
            });
            missing.retain(|it| back["name"] != **it);
        }
    }
    node.comes_to(Counts { instances: 2, sessions: 6, waiters: 2, watchers: 2 });

    node.callsign(&["register", "late", "/unix/@late", "--ttl", "10m"]).succeeds();
    for waiter in waiters {
        waiter.outcome().succeeds().prints(&["/unix/@late"]);
    }
    for registrant in registrants {
        registrant.stop().succeeds();
    }
    node.callsign(&["find", "steady-0"]).ends_with(1);
}

#[test]
fn killed_again_and_again_it_starts_again_at_the_same_places() {
    let room = Room::new();
    let mut node = Node::listen(&room, &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"]);
    for _ in 0..5 {
        // Connections that are open when it dies do not keep its port from the next run.
        let open: Vec<_> = node.endpoints().iter().map(|it| Peer::greet(it)).collect();
        node = node.restart();
        node.callsign(&["status"]).succeeds();
        open.into_iter().for_each(Peer::closes);
    }
    node.stop().succeeds();
    assert!(!room.file("registrar.sock").exists());
}

#[test]
fn a_registrar_that_is_told_to_end_tells_of_no_other_end() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    for signal in [Signal::TERM, Signal::INT, Signal::TERM, Signal::INT] {
        let node = Node::start_with(&room, &[&place], &["--settle-time", "1m"]);
        let mut registrants = Vec::new();
        for at in 0..4 {
            let name = format!("steady-{at}");
            let mut registrant =
                node.run(&["register", &name, &format!("/unix/@{name}"), "--state", "ready"]);
            registrant.line_with("registered");
            registrants.push(registrant);
        }
        let mut watch = node.run(&["watch", "--json"]);
        watch.json("the end of the snapshot", |it| it["change"] == "synced");
        node.stop_by(signal).succeeds();
        let next = watch.json("a change", |_| true);
        assert_eq!(next["change"], "stale", "{next}");

        // The next run does not take its own ignorance for knowledge.
        let next = Node::start_with(&room, &[&place], &["--settle-time", "1m"]);
        for at in 0..4 {
            next.callsign(&["find", &format!("steady-{at}")]).succeeds();
        }
        watch.json("that all are back", |it| {
            assert_ne!(it["change"], "remove", "{it}");
            it["change"] == "synced"
        });
        next.kill();
    }
}
