//! Clients that wait for a name.

use std::{fs, os::unix::net::UnixListener};

use rustix::{
    event::{Timespec, epoll},
    fd::AsFd,
    process::Signal,
};
use wire::{
    decode_body, encode_body,
    registrar::{Answer, WAIT, WATCH, Wait, Watch},
};

use super::supervision::on_terminal;
use crate::harness::{Counts, LIMIT, Node, Peer, Room, register, registration, stamped};

#[test]
fn all_who_wait_are_woken_once_in_the_order_in_which_they_asked() {
    let room = Room::new();
    // Sessions that have nothing else to do, such as to give signs of life.
    let calm = ["--heartbeat", "1h"];
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &calm);
    let wait = encode_body(&Wait { name: "late".parse().unwrap() });
    let mut waiters: Vec<_> = (0..8).map(|_| Peer::greet(node.endpoint())).collect();
    // They ask in another order than they connected.
    let order = [3, 0, 7, 1, 6, 2, 5, 4];
    for at in order {
        waiters[at].begin(WAIT, &wait);
        waiters[at].sync();
    }
    assert_eq!(node.counts().waiters, 8);

    // The kernel reports sockets in the order of their events.
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

    // Another instance does not wake them again: each client's next answer is to its next query.
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
fn an_abandoned_wait_leaves_nothing_behind() {
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

        // A session that continues without its calls.
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
fn a_waiter_is_answered_when_the_instance_comes() {
    let room = Room::new();
    let node = Node::start(&room);
    let waiters: Vec<_> = (0..3).map(|_| node.run(&["wait", "late", "--json"])).collect();
    node.comes_to(Counts { instances: 0, sessions: 3, waiters: 3, watchers: 0 });
    node.callsign(&["register", "late", "/unix/@late", "--ttl", "10m"]).succeeds();
    for waiter in waiters {
        assert_eq!(waiter.outcome().succeeds().json()["name"], "late");
    }
    // An instance that is already there is in time, however short the limit.
    node.callsign(&["wait", "late", "--timeout", "0s"]).succeeds();
}

#[test]
fn a_wait_is_for_the_registrar_too() {
    for listen in ["late.sock", ""] {
        let room = Room::new();
        let place = match listen {
            "" => room.abstract_unix("registrar"),
            file => room.unix(file),
        };
        let run = |args: &[&str]| room.run(&[&["--registrar", &place], args].concat());
        // Without a limit it prints what it waits for, once.
        let mut endless = run(&["wait", "late"]);
        endless.says("waiting for `late`: no registrar can be reached");
        let timed = run(&["wait", "late", "--timeout", "5m", "--json"]);
        let node = Node::listen(&room, &[&place]);
        node.comes_to(Counts { instances: 0, sessions: 2, waiters: 2, watchers: 0 });
        node.callsign(&["register", "late", "/unix/@late", "--ttl", "10m"]).succeeds();
        let endless = endless.outcome().succeeds();
        assert!(endless.stdout.starts_with("/unix/@late\n"), "{endless}");
        assert_eq!(endless.stderr.matches("waiting for").count(), 1, "{endless}");
        let timed = timed.outcome().succeeds();
        assert_eq!((&timed.json()["name"], &*timed.stderr), (&"late".into(), ""));
    }
}

/// With a time limit it once said nothing before the end of that.
#[test]
fn on_a_terminal_a_wait_with_a_limit_says_what_it_waits_for() {
    let room = Room::new();
    let node = Node::start(&room);
    node.callsign(&["register", "slow", "/unix/@slow", "--ttl", "10m", "--state", "starting"])
        .succeeds();
    let nowhere = room.unix("nowhere.sock");
    node.callsign(&["register", "far", &nowhere, "--ttl", "10m"]).succeeds();
    let check = |line: &str, expected: &str| {
        let script = format!("$CALLSIGN wait {line} 2>&1");
        let mut terminal = on_terminal(&room, &node, &["sh", "-c", &script]);
        terminal.line_with(&format!("waiting for {expected}"));
    };
    check("late --timeout 5m", "`late`: no such actor is registered");
    check("slow --timeout 5m", "`slow`: 1 starting and none ready");
    check("far --timeout 5m", "`far`: registered, and cannot be reached from here");
    let away = format!("late --timeout 5m --registrar {nowhere}");
    check(&away, "`late`: no registrar can be reached");
    // Once, and not where only a program reads.
    let script = "$CALLSIGN wait late --timeout 1s 2>&1";
    let mut terminal = on_terminal(&room, &node, &["sh", "-c", script]);
    assert_eq!(terminal.line_or_end("no such line is there"), None);
    let said = terminal.outcome();
    assert_eq!(said.stdout.matches("waiting for").count(), 1, "{said}");
    let silent = node.callsign(&["wait", "late", "--timeout", "1s"]).ends_with(1);
    assert!(!silent.stderr.contains("waiting for"), "{silent}");
}

#[test]
fn a_wait_for_no_registrar_at_all_is_not_one_in_vain() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let wait =
        |args: &[&str]| room.callsign(&[&["--registrar", &place, "wait", "feed"], args].concat());
    wait(&["--timeout", "200ms"]).ends_with(3).says(&[
        "whether `feed` is there is not known after 200ms",
        "there is no such socket file",
    ]);
    // A lasting failure ends the wait immediately, whatever the time.
    room.write("registrar.sock", "");
    wait(&[]).ends_with(3).says(&["a regular file in its place"]);
    wait(&["--timeout", "5m"]).ends_with(3).says(&["a regular file in its place"]);
}

#[test]
fn a_wait_for_a_stopped_registrar_ends_without_an_answer() {
    let room = Room::new();
    let node = Node::listen(&room, &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"]);
    node.process().signal(Signal::STOP);
    for place in node.endpoints() {
        for limit in ["0s", "100ms", "1s"] {
            let wait = ["--registrar", place, "wait", "feed", "--timeout", limit];
            let told = format!("whether `feed` is there is not known after {limit}");
            room.callsign(&wait).ends_with(3).says(&[&told]);
        }
    }
    node.process().signal(Signal::CONT);
    // One that it can ask is asked, however short the time.
    node.callsign(&["wait", "feed", "--timeout", "0s"]).ends_with(1);
}

#[test]
fn a_wait_is_for_what_can_be_reached() {
    let room = Room::new();
    let node = Node::start(&room);
    room.write("elsewhere.toml", "[host]\nid = \"elsewhere\"\n");
    let elsewhere = ["--config", "elsewhere.toml"];
    let (gone, far) = (room.unix("gone.sock"), "/ip4/127.0.0.1/tcp/5555");
    let listener = UnixListener::bind(room.file("gone.sock")).unwrap();
    let lease = |words: &[&str]| {
        node.callsign(&[&["register"], words, &["--ttl", "10m"]].concat()).succeeds();
    };
    lease(&["gone", &gone]);
    lease(&[&["far", far], &elsewhere[..]].concat());
    node.callsign(&["wait", "gone", "--timeout", "5m"]).succeeds().prints(&[&gone]);
    drop(listener);
    fs::remove_file(room.file("gone.sock")).unwrap();

    for (name, endpoint, why) in
        [("gone", &*gone, "no such socket"), ("far", far, "on another host")]
    {
        // For the same reasons as `find`.
        let found = node.callsign(&["find", name]).ends_with(1);
        let waited = node.callsign(&["wait", name, "--timeout", "100ms"]).ends_with(1);
        assert_eq!((&*found.stdout, &*waited.stdout), ("", ""));
        let reasons = |text: &str| text.split_once(":\n").unwrap().1.to_owned();
        assert_eq!(reasons(&found.stderr), reasons(&waited.stderr), "{waited}");

        // A caller that accepts an unreachable instance still gets an endpoint.
        let anywhere = node.callsign(&["wait", name, "--anywhere", "--timeout", "5m"]).succeeds();
        assert_eq!(anywhere.stdout.lines().next(), Some(endpoint), "{anywhere}");
        anywhere.prints(&[why]);
    }

    // It ends when an instance comes within reach.
    let mut waiters = [node.run(&["wait", "gone"]), node.run(&["wait", "far"])];
    waiters.iter_mut().for_each(|it| {
        it.says("cannot be reached from here");
    });
    lease(&["far", far]);
    let _listener = UnixListener::bind(room.file("gone.sock")).unwrap();
    lease(&["gone", &gone]);
    for (waiter, endpoint) in waiters.into_iter().zip([&*gone, far]) {
        let waited = waiter.outcome().succeeds();
        assert_eq!(waited.stdout.lines().next(), Some(endpoint), "{waited}");
    }
}

#[test]
fn a_watch_begins_before_the_registrar() {
    for listen in ["late.sock", ""] {
        let room = Room::new();
        let place = match listen {
            "" => room.abstract_unix("registrar"),
            file => room.unix(file),
        };
        let run = |args: &[&str]| room.run(&[&["--registrar", &place, "watch"], args].concat());
        let (mut json, mut plain) = (run(&["--json"]), run(&[]));
        let stale = json.json("a line", |_| true);
        assert_eq!(stale["change"], "stale", "{stale}");
        assert_eq!(stale["registrars"][0]["registrar"], *place, "{stale}");
        plain.says("no registrar answers; what comes and goes is not seen");

        let node = Node::listen(&room, &[&place]);
        assert_eq!(json.json("a line", |_| true)["change"], "synced");
        plain.says("the registrar is there");
        node.callsign(&["register", "feed", "/unix/@feed", "--ttl", "10m"]).succeeds();
        assert_eq!(json.json("a line", |_| true)["name"], "feed");
        plain.line_with("+ feed");
        node.kill();
        assert_eq!(json.json("a line", |_| true)["change"], "stale");
        plain.says("no registrar answers");
    }
}

#[test]
fn a_watch_does_not_begin_where_no_registrar_can_come() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    room.write("registrar.sock", "");
    room.callsign(&["--registrar", &place, "watch"]).ends_with(3).says(&["a regular file"]);
    let tls = "/ip4/127.0.0.1/tcp/1616/tls";
    room.callsign(&["--registrar", tls, "watch"]).ends_with(3).says(&["TLS needs a certificate"]);
}
