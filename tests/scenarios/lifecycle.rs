//! The start and the end of a registrar, and its messages.

use std::{fs, os::unix::net::UnixDatagram};

use rustix::process::Signal;

use crate::harness::{LIMIT, Node, Peer, Room, Running};

#[test]
fn asked_to_end_it_drains_and_leaves_nothing() {
    for signal in [Signal::TERM, Signal::INT] {
        let room = Room::new();
        fs::create_dir(room.file("run")).unwrap();
        let node = Node::start_with(
            &room,
            &[&room.unix("run/registrar.sock"), "/ip4/127.0.0.1/tcp/0"],
            // Sessions that were told of the end are not waited for.
            &["--drain-timeout", "1h"],
        );
        let mut registrant = node.run(&["register", "clock", "/unix/@clock"]);
        registrant.line_with("registered");
        let waiter = node.run(&["wait", "nobody", "--timeout", "1h"]);
        let silent = Peer::greet(node.endpoint());
        silent.close_writing();

        node.process().signal(signal);
        let ended = node.outcome();
        assert_eq!(ended.signal, Some(signal.as_raw()), "{ended}");
        assert_eq!(ended.stderr, "", "{ended}");
        let left: Vec<_> = fs::read_dir(room.file("run")).unwrap().collect();
        assert!(left.is_empty(), "it has left {left:?}");
        drop((registrant, waiter));
    }
}

#[test]
fn it_says_on_a_descriptor_when_it_is_ready() {
    let room = Room::new();
    let mut command = room.other_command("sh");
    let script = "exec \"$0\" registrar --listen \"$1\" --ready-fd 3 3>&1 >/dev/null";
    command.args(["-c", script, env!("CARGO_BIN_EXE_callsign"), &room.unix("registrar.sock")]);
    let mut running = Running::start(command);
    assert_eq!(running.line("a line", |_| true), "ready");
    room.callsign(&["status", "--registrar", &room.unix("registrar.sock")]).succeeds();
    running.stop().succeeds();

    let not_open = room.callsign(&["registrar", "--ready-fd", "77"]);
    not_open.ends_with(2).says(&["descriptor 77 of --ready-fd is not open"]);
}

#[test]
fn it_tells_the_service_manager() {
    let room = Room::new();
    let manager = UnixDatagram::bind(room.file("notify.sock")).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let receive = || {
        let mut buffer = [0; 256];
        let count = manager.recv(&mut buffer).expect("the service manager is told");
        String::from_utf8_lossy(&buffer[..count]).trim_end().to_owned()
    };
    let mut command = room.command(&["registrar", "--listen", &room.unix("registrar.sock")]);
    command.env("NOTIFY_SOCKET", room.file("notify.sock"));
    let running = Running::start(command);
    assert_eq!(receive(), "READY=1\nSTATUS=serving");
    room.callsign(&["status", "--registrar", &room.unix("registrar.sock")]).succeeds();
    running.signal(Signal::TERM);
    assert_eq!(receive(), "STOPPING=1\nSTATUS=sessions are ending");
    assert_eq!(running.outcome().signal, Some(15));
}

#[test]
fn a_second_one_says_who_holds_the_place() {
    let room = Room::new();
    let node = Node::listen(&room, &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"]);
    for place in node.endpoints() {
        let second = room.callsign(&["registrar", "--listen", place]);
        let second = second.ends_with(5).says(&[place, "callsign status"]);
        if place.starts_with("/unix") {
            second.says(&[&format!("process {} is", node.process().pid())]);
        }
    }
    // The first one is not affected.
    for place in node.endpoints() {
        room.callsign(&["status", "--registrar", place]).succeeds();
    }
}

#[test]
fn one_place_of_several_is_taken_and_none_stays_bound() {
    let room = Room::new();
    let node = Node::start(&room);
    let other = room.unix("other.sock");
    room.callsign(&["registrar", "--listen", &other, "--listen", node.endpoint()]).ends_with(5);
    assert!(!room.file("other.sock").exists());
    Node::listen(&room, &[&other]).stop().succeeds();
}

#[test]
fn port_0_is_told_as_the_real_port() {
    let room = Room::new();
    let node = Node::listen(&room, &["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0"]);
    let [place] = node.endpoints() else { panic!("{:?}", node.endpoints()) };
    let port: u16 = place.strip_prefix("/ip4/127.0.0.1/tcp/").unwrap().parse().unwrap();
    assert_ne!(port, 0);
    node.callsign(&["status"]).succeeds().prints(&[place]);
}
