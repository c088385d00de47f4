//! Lines for an exclusive name: leader and standby.

use std::fs;

use rustix::process::Signal;

use crate::{
    harness::{Node, Room, Running},
    owners::{ALICE, BOB, Users},
};

/// Starts a node with the exclusive name `leader`, and with this much time for former clients to
/// return.
fn node<'room>(room: &'room Room, settle_time: &str) -> Node<'room> {
    let file = room.write("market.toml", "[names]\nleader = { exclusive = true }\n");
    let words = ["--config", &file, "--settle-time", settle_time];
    Node::start_with(room, &[&room.unix("registrar.sock")], &words)
}

/// A program that prints its fencing token until it is ended.
fn program(room: &Room) -> String {
    room.write("lead.sh", "echo \"leads by $CALLSIGN_TOKEN\"\nexec sleep 1000\n")
}

fn stand(node: &Node<'_>, place: &str, wait: &str) -> Running {
    let program = program(node.room());
    node.run(&["register", "leader", place, wait, "--", "sh", &program])
}

fn token(leading: &mut Running) -> u64 {
    let line = leading.line_with("leads by ");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Waits until so many wait in line.
fn comes_to(node: &Node<'_>, waiting: u64) {
    let mut watch = node.run(&["watch", "leader", "--json"]);
    watch.json("the length of the line", |it| it["waiting"] == waiting);
}

#[test]
fn a_program_starts_when_it_is_its_turn_and_each_has_a_higher_token() {
    let room = Room::new();
    let node = node(&room, "0s");
    let mut places = ["one", "two", "three", "four"].map(|it| room.abstract_unix(it)).into_iter();
    let mut stand = || stand(&node, &places.next().unwrap(), "--wait");
    let mut first = stand();
    let mut tokens = vec![token(&mut first)];
    let mut second = stand();
    second.says("waiting in line for `leader` as the next");
    let mut third = stand();
    third.says("behind one other");
    let mut fourth = stand();
    fourth.says("behind 2 others");
    comes_to(&node, 3);
    node.callsign(&["find", "leader", "--all"]).prints(&["3 in line for the name"]);
    node.callsign(&["ls"]).prints(&["starting, 3 waiting"]);
    node.callsign(&["status"]).prints(&["in line     3"]);

    // It dies, and all of its program with it.
    first.kill();
    tokens.push(token(&mut second));
    // A waiter leaves, and its program never starts.
    let given_up = third.stop();
    assert!(!given_up.stdout.contains("leads by"), "{given_up}");
    comes_to(&node, 1);
    // It ends well.
    second.stop();
    tokens.push(token(&mut fourth));
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
    let found = node.callsign(&["find", "leader", "--all", "--json"]).succeeds().json();
    assert_eq!((&found[0]["token"], &found[0]["waiting"]), (&tokens[2].into(), &0.into()));
    fourth.stop();
    node.callsign(&["find", "leader"]).ends_with(1);
}

#[test]
fn when_the_name_is_taken_from_it_a_program_is_ended() {
    let room = Room::new();
    let node = node(&room, "0s");
    let [one, two] = ["one", "two"].map(|it| room.abstract_unix(it));
    let mut first = stand(&node, &one, "--wait");
    let before = token(&mut first);
    let mut second = stand(&node, &two, "--wait");
    second.says("waiting in line");
    node.callsign(&["unregister", "leader"]).succeeds();
    assert!(token(&mut second) > before);
    first
        .outcome()
        .ends_with(125)
        .says(&["user 0 has taken it out", "the program is asked to end"]);

    // Without `--wait` the program starts, as ever.
    let program = program(&room);
    second.stop();
    let mut plain = node.run(&["register", "leader", &one, "--", "sh", &program]);
    token(&mut plain);
    node.callsign(&["unregister", "leader"]).succeeds();
    plain.says("its program goes on");
    plain.stop();
}

#[test]
fn a_wait_with_a_limit_ends_by_itself() {
    let room = Room::new();
    let node = node(&room, "0s");
    let [one, two] = ["one", "two"].map(|it| room.abstract_unix(it));
    let mut first = stand(&node, &one, "--wait");
    token(&mut first);
    let late = stand(&node, &two, "--wait=200ms").outcome().ends_with(1);
    assert!(!late.stdout.contains("leads by"), "{late}");
    late.says(&["`leader`", "within 200ms", "find leader"]);
    let lease = ["register", "leader", &two, "--ttl", "10m", "--wait=200ms"];
    node.callsign(&lease).ends_with(1).says(&["within 200ms"]);
    node.callsign(&["register", "leader", &two]).ends_with(4).says(&["--wait", "market.toml:2"]);
    comes_to(&node, 0);
    first.stop();

    // Without a rule, several could have it.
    let refused = node.callsign(&["register", "web", &one, "--wait", "--", "sleep", "1000"]);
    refused
        .ends_with(2)
        .says(&["`web` is not exclusive: no rule keeps others from having it", "exclusive = true"]);
    node.callsign(&["find", "web"]).ends_with(1);
    for wait in ["--wait", "--wait=1m"] {
        let lease = node.callsign(&["register", "web", &one, "--ttl", "10m", wait]);
        lease.ends_with(2).says(&["`web` is not exclusive", "exclusive = true"]);
        node.callsign(&["find", "web"]).ends_with(1);
    }
    // One that is there already stays as it is.
    node.callsign(&["register", "web", &one, "--ttl", "10m"]).ends_with(0);
    let lease = node.callsign(&["register", "web", &one, "--ttl", "10m", "--wait"]);
    lease.ends_with(2).says(&["`web` is not exclusive"]);
    node.callsign(&["find", "web"]).ends_with(0);
}

/// A lease once had no time to ask for the name at all, and the end of a wait for a registrar said
/// that the name was not free.
#[test]
fn however_short_a_wait_is_a_registrar_is_asked_and_only_its_word_counts() {
    let room = Room::new();
    let node = node(&room, "0s");
    let [one, two] = ["one", "two"].map(|it| room.abstract_unix(it));
    let leased: &[&str] = &["--ttl", "10m"];
    let held: &[&str] = &["--", "true"];
    let check = |place: &str, wait: &str, how: &[&str], exit: i32, expected: &[&str]| {
        let words = [&["register", "leader", place, wait][..], how].concat();
        node.callsign(&words).ends_with(exit).says(expected);
    };
    check(&one, "--wait=0s", held, 0, &["never seen to listen"]);
    check(&one, "--wait=0s", leased, 0, &["renew it in time"]);
    check(&one, "--wait=0s", leased, 0, &["renew it in time"]);
    for how in [leased, held] {
        check(&two, "--wait=0s", how, 1, &["`leader` was not free within 0s", "find leader"]);
    }
    node.process().signal(Signal::STOP);
    let not_known = "whether `leader` is free is not known after 500ms";
    for how in [leased, held] {
        check(&two, "--wait=500ms", how, 3, &[not_known, "registrar.sock"]);
    }
    node.process().signal(Signal::CONT);

    // Nobody listens at the place of a registrar, and then somebody does.
    let place = room.unix("late.sock");
    let run = |words: &[&str]| {
        let register = ["--registrar", &place, "register", "leader", &two];
        room.run(&[&register, words].concat())
    };
    for how in [leased, held] {
        for wait in ["--wait=0s", "--wait=300ms"] {
            let ended = run(&[&[wait][..], how].concat()).outcome().ends_with(3);
            ended.says(&["whether `leader` is free is not known", "there is no such socket file"]);
        }
    }
    let mut patient = run(&["--wait", "--ttl", "10m"]);
    patient.says("no registrar answers; `leader` cannot be found");
    let file = room.file("market.toml").display().to_string();
    let late = Node::start_with(&room, &[&place], &["--config", &file, "--settle-time", "0s"]);
    patient.outcome().succeeds().prints(&["registered leader["]);
    late.callsign(&["find", "leader", "--all"]).succeeds();
}

#[test]
fn a_lease_is_waited_out_and_waited_for() {
    let room = Room::new();
    let node = node(&room, "0s");
    let [one, two, three] = ["one", "two", "three"].map(|it| room.abstract_unix(it));
    node.callsign(&["register", "leader", &one, "--ttl", "300ms", "--wait"]).succeeds();
    let mut second = stand(&node, &two, "--wait");
    token(&mut second);
    let third = node.run(&["register", "leader", &three, "--ttl", "10m", "--wait", "--json"]);
    comes_to(&node, 1);
    second.stop();
    let registered = third.outcome().succeeds().json();
    assert_eq!(registered["lifetime"], "lease");
    let found = node.callsign(&["find", "leader", "--all", "--json"]).json();
    assert_eq!((&found[0]["uuid"], &found[0]["lifetime"]), (&registered["uuid"], &"lease".into()));
}

#[test]
fn a_holder_keeps_its_name_over_a_restart_and_over_a_stop() {
    let room = Room::new();
    let begun = node(&room, "0s");
    let [one, two] = ["one", "two"].map(|it| room.abstract_unix(it));
    let mut first = begun.run(&["register", "leader", &one, "--", "sh", &program(&room)]);
    let before = token(&mut first);
    let mut second = stand(&begun, &two, "--wait");
    second.says("waiting in line");
    let mut third = begun.run(&["register", "leader", &room.abstract_unix("three"), "--wait"]);
    third.says("waiting in line");

    // The holder hears of nothing while all others return.
    first.signal(Signal::STOP);
    begun.kill();
    let node = node(&room, "1m");
    let in_line = |node: &Node<'_>| {
        node.callsign(&["status", "--json"]).json()[0]["status"]["in_line"].as_u64()
    };
    while in_line(&node) != Some(2) {}
    // Nor does its place go to a waiter, or a look-up, while the holder may return.
    stand(&node, &one, "--wait=1s").outcome().ends_with(1);
    let said = "the former holder may return within";
    let mut asks = node.run(&["register", "leader", &room.abstract_unix("four")]);
    asks.says(said);
    let lease = ["register", "leader", &room.abstract_unix("five"), "--ttl", "5m"];
    let mut leases = node.run(&lease);
    leases.says(said);
    assert!(!node.callsign(&["ls"]).stdout.contains("leader"));
    drop((asks, leases));
    first.signal(Signal::CONT);
    comes_to(&node, 2);
    let found = node.callsign(&["find", "leader", "--all", "--json"]).json();
    assert_eq!(found[0]["token"].as_u64(), Some(before), "{found}");
    // A stopped holder still has the name.
    first.signal(Signal::STOP);
    let mut watch = node.run(&["watch", "leader", "--json"]);
    watch.json("word of its silence", |it| it["suspicion"]["silent"] == true);
    assert_eq!(in_line(&node), Some(2));
    first.signal(Signal::CONT);
    first.stop();
    drop((second, third));
}

/// One that hangs once got the name when its turn came, and kept it from all others.
#[test]
fn a_waiter_that_hangs_is_passed_over_until_it_answers() {
    let room = Room::new();
    let tcp = "/ip4/127.0.0.1/tcp/0".to_owned();
    for listen in [room.unix("registrar.sock"), tcp] {
        let file = room.write("market.toml", "[names]\nleader = { exclusive = true }\n");
        let words = ["--config", &file, "--settle-time", "0s"];
        let node = Node::start_with(&room, &[&listen], &words);
        let places = ["one", "two", "three"].map(|it| room.abstract_unix(it));
        let mut first = stand(&node, &places[0], "--wait");
        let mut tokens = vec![token(&mut first)];
        let mut second = stand(&node, &places[1], "--wait");
        second.says("waiting in line for `leader` as the next");
        let mut third = stand(&node, &places[2], "--wait");
        third.says("behind one other");
        // Just before its turn, so that nobody knows it yet.
        second.signal(Signal::STOP);
        first.kill();
        tokens.push(token(&mut third));
        second.signal(Signal::CONT);
        third.kill();
        tokens.push(token(&mut second));
        assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
        let found = node.callsign(&["find", "leader", "--all", "--json"]).succeeds().json();
        assert_eq!(found[0]["token"].as_u64(), tokens.last().copied(), "{found}");
        second.stop();
        node.stop();
    }
}

/// While the holder's registrar hangs, another one may answer at its address.
#[test]
fn a_holder_keeps_its_name_at_the_successor_of_a_stopped_registrar() {
    let room = Room::new();
    let stopped = node(&room, "0s");
    let [one, two] = ["one", "two"].map(|it| room.abstract_unix(it));
    let mut first = stand(&stopped, &one, "--wait");
    let before = token(&mut first);
    let mut second = stand(&stopped, &two, "--wait");
    second.says("waiting in line");
    stopped.process().signal(Signal::STOP);
    for file in ["registrar.sock", "registrar.sock.lock"] {
        fs::remove_file(room.file(file)).unwrap();
    }
    let node = node(&room, "1m");
    comes_to(&node, 1);
    let found = node.callsign(&["find", "leader", "--all", "--json"]).json();
    assert_eq!(found[0]["token"].as_u64(), Some(before), "{found}");
    // The first program has run all the time.
    first.stop();
    stopped.process().signal(Signal::CONT);
    stopped.outcome().ends_with(5);
    drop(second);
}

#[test]
fn two_users_stand_in_one_line_and_neither_takes_the_others_place() {
    let Some(users) = Users::new() else { return };
    let rules = "[registrar]\nsettle_time = \"0s\"\n[quotas]\nwaits = 3\n[names]\n\
                 leader = { register = [\"any\"], exclusive = true }\n";
    let file = users.room.write("market.toml", rules);
    let node = users.node_with(&["/ip4/127.0.0.1/tcp/0"], &["--config", &file]);
    let program = program(&users.room);
    let registrars = node.endpoints().to_vec();
    for registrar in &registrars {
        let mut numbers = 0..;
        let mut stand = |user| {
            let place = users.room.abstract_unix(&format!("place-{:?}", numbers.next()));
            let words = ["register", "leader", &place, "--wait", "--", "sh", &program];
            users.run(user, registrar, &words)
        };
        let mut first = stand(ALICE);
        let before = token(&mut first);
        // Bob has used up his waits, and keeps nobody from the line.
        let mut of_bob = Vec::new();
        for place in ["as the next", "behind one other", "behind 2 others"] {
            let mut waiting = stand(BOB);
            waiting.says(place);
            of_bob.push(waiting);
        }
        stand(BOB).outcome().ends_with(4).says(&["user 4712", "waiting calls"]);
        let mut second = stand(ALICE);
        second.says("behind 3 others");
        let by_bob = |words: &[&str]| users.run(BOB, registrar, words).outcome();
        by_bob(&["unregister", "leader"]).ends_with(4);
        by_bob(&["drain", "leader"]).ends_with(4);
        by_bob(&["register", "leader", "/unix/@x", "--ttl", "5m"]).ends_with(4);
        first.kill();
        let mut next = of_bob.remove(0);
        let after = token(&mut next);
        assert!(after > before);
        for waiting in of_bob {
            waiting.stop();
        }
        next.stop();
        assert!(token(&mut second) > after);
        second.stop();
    }
}

#[test]
fn in_line_every_signal_ends_what_it_would_end_by_itself() {
    let room = Room::new();
    let node = node(&room, "0s");
    let mut first = node.run(&["register", "leader", &room.abstract_unix("one"), "--wait"]);
    first.line_with("registered");
    let two = room.abstract_unix("two");
    let program = program(&room);
    let register = ["register", "leader", &two, "--wait"];
    let with_command = [&register[..], &["--", "sh", &program]].concat();
    let lease = [&register[..], &["--ttl", "10m"]].concat();
    for words in [&register[..], &with_command, &lease] {
        for signal in [Signal::QUIT, Signal::USR1, Signal::USR2, Signal::ALARM, Signal::POWER] {
            let second = node.run(words);
            comes_to(&node, 1);
            second.signal(Signal::WINCH);
            second.signal(signal);
            let ended = second.outcome();
            assert_eq!(ended.signal, Some(signal.as_raw()), "{words:?} {ended}");
            assert!(!ended.stdout.contains("leads by"), "{ended}");
            comes_to(&node, 0);
        }
    }
    first.stop();
}
