//! Several registrars, and several instances of one name.

use std::{net::TcpListener, os::unix::net::UnixListener};

use crate::harness::{Node, Room};

#[test]
fn one_registrar_of_two_is_enough() {
    let room = Room::new();
    let first = Node::listen(&room, &[&room.unix("first.sock")]);
    let second = Node::listen(&room, &["/ip4/127.0.0.1/tcp/0"]);
    let (one, two) = (first.endpoint().to_owned(), second.endpoint().to_owned());
    let both = |args: &[&str]| {
        room.callsign(&[&["--registrar", &one, "--registrar", &two], args].concat())
    };
    both(&["register", "clock", "/unix/@clock", "--ttl", "10m"]).succeeds();
    first.callsign(&["find", "clock"]).succeeds();
    second.callsign(&["find", "clock"]).succeeds();
    let found = both(&["find", "clock", "--all", "--json"]).succeeds();
    assert_eq!(found.json().as_array().unwrap().len(), 1, "it is one instance\n{found}");
    assert_eq!(found.stderr, "");

    // One is down: all is found still, and it is said which one does not answer.
    second.kill();
    both(&["find", "clock"]).succeeds().says(&["warning: ", &two]);
    both(&["ls"]).succeeds().prints(&["clock"]);
    both(&["find", "nobody"]).ends_with(1).says(&["nobody"]);
    both(&["register", "late", "/unix/@late", "--ttl", "10m"]).succeeds();
    both(&["status"]).succeeds().prints(&["up", "down"]);

    // Both are down, and that does not look like an actor that is not there.
    first.kill();
    both(&["find", "clock"]).ends_with(3).says(&[&one, &two]);
    both(&["ls"]).ends_with(3);
    both(&["status"]).ends_with(3);
    let args = ["--registrar", &one, "--registrar", &two, "register", "later", "/unix/@later"];
    let mut later = room.run(&[&args[..], &["--ttl", "10m"]].concat());
    later.says("it is registered when one answers");
}

#[test]
fn nobody_waits_for_longer_than_he_has_patience() {
    let room = Room::new();
    let node = Node::start(&room);
    // They take connections, as a registrar does that hangs, and say nothing.
    let _unix = UnixListener::bind(room.file("mute.sock")).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = format!("/ip4/127.0.0.1/tcp/{}", tcp.local_addr().unwrap().port());
    for mute in [room.unix("mute.sock"), tcp] {
        let both = ["--registrar", &mute, "--registrar", node.endpoint()];
        let patient = |args: &[&str]| room.callsign(&[&both[..], args].concat());
        let hasty = |args: &[&str]| {
            // It has not even been found out that it does not answer.
            let outcome = patient(&[args, &["--patience", "0s"]].concat());
            assert!(!outcome.stderr.contains("2s"), "{outcome}");
            outcome
        };
        hasty(&["register", "clock", "/unix/@clock", "--ttl", "10m"]).succeeds();
        for command in [&["find", "clock"][..], &["ls"], &["resolve", "clock"]] {
            hasty(command).succeeds().says(&[&mute, "it has not answered yet"]);
        }
        hasty(&["wait", "clock"]).succeeds();
        hasty(&["renew", "clock"]).succeeds();
        hasty(&["find", "nobody"]).ends_with(1);
        hasty(&["status"]).succeeds().prints(&["up", "down", "it has not answered yet"]);
        let patient = patient(&["find", "clock"]).succeeds().says(&[&mute]);
        assert!(patient.stderr.contains("2s") || patient.stderr.contains("yet"), "{patient}");
        hasty(&["unregister", "clock"]).succeeds();
    }
}

#[test]
fn five_instances_of_one_name_are_all_found_newest_first() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut uuids = Vec::new();
    for number in 1..=5 {
        let endpoint = format!("/unix/@five-{number}");
        let registered = node.callsign(&["register", "five", &endpoint, "--ttl", "10m", "--json"]);
        uuids.insert(0, registered.succeeds().json()["uuid"].clone());
    }
    let uuids_of = |args: &[&str]| {
        let listed = node.callsign(args).succeeds().json();
        listed.as_array().unwrap().iter().map(|it| it["uuid"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(uuids_of(&["find", "five", "--all", "--json"]), uuids);
    assert_eq!(uuids_of(&["ls", "five", "--json"]).len(), 5);
    // One that is meant alone has to be told from the others.
    node.callsign(&["unregister", "five"]).ends_with(2).says(&["5 instances"]);
    let newest = uuids[0].as_str().unwrap();
    let found = node.callsign(&["find", "five", "--json"]).succeeds().json();
    assert_eq!(found["uuid"], newest);

    node.callsign(&["unregister", newest]).succeeds();
    assert_eq!(uuids_of(&["find", "five", "--all", "--json"]), uuids[1..]);
    node.callsign(&["unregister", "five", "--all"]).succeeds();
    node.callsign(&["find", "five"]).ends_with(1);
}
