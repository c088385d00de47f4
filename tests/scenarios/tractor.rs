//! Programs of the Python project tractor, which do not know of callsign.
//!
//! The programs are `tractor.py`, with the MessagePack package that `cargo xtask test` installs.

#![expect(clippy::print_stderr, reason = "who runs a test reads what it says")]

use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Node, Peer, Room, Running};

#[test]
fn a_root_and_its_child_live_over_tcp() {
    live("tcp");
}

#[test]
fn a_root_and_its_child_live_over_unix_sockets() {
    live("unix");
}

fn live(transport: &str) {
    let Some(python) = python() else { return };
    let room = Room::new();
    let endpoints = [&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"];
    let node = Node::start_with(&room, &endpoints, &["-v"]);
    let mut watch = node.run(&["watch", "--json"]);
    watch.json("that it has begun", |it| it["change"] == "synced");
    let mut root = Actor::start(&node, &python, "root", transport);
    let child = Actor::start(&node, &python, "child", transport);
    watch.json("the child", |it| it["name"] == "child");

    let there = json!([child.addr]);
    assert_eq!(root.ask("find child"), there);
    assert_eq!(root.ask("wait child"), there);
    // An answer has no room for a suggestion, but the node's log has.
    assert_eq!(root.ask("find chidl"), Value::Null);
    let registry = root.ask("registry");
    // Both, and the registrar itself.
    assert_eq!(registry.as_object().unwrap().len(), 3, "{registry}");
    // Attempts to report it gone, or to end the registrar, have no effect.
    assert_eq!(root.ask(&format!("delete {}", child.addr)), Value::Null);
    assert_eq!(root.ask("cancel"), json!(false));
    assert_eq!(root.ask("find child"), there);

    let listed = node.callsign(&["ls", "--json"]).json();
    let kept: Vec<_> = listed.as_array().unwrap().iter().map(|it| &it["lifetime"]).collect();
    assert_eq!(kept, ["foreign", "foreign"]);
    node.callsign(&["find", "child"]).succeeds().prints(&["foreign", "protocol = tractor"]);
    // The node's own client for tractor registrars finds both, too.
    let asked = format!("tractor+{}", node.endpoint());
    room.callsign(&["ls", "--registrar", &asked]).succeeds().prints(&["child", "root", "foreign"]);
    let found = room.callsign(&["find", "child", "--registrar", &asked, "--json"]).json();
    assert_eq!(found["nearest"], listed[0]["nearest"]);

    child.running.signal(Signal::KILL);
    let removed = watch.json("that the child has gone", |it| it["change"] == "remove");
    // Over TCP only a look shows that it is gone.
    let reason = if transport == "unix" { "process-ended" } else { "found-dead" };
    assert_eq!(removed["reason"], reason);
    assert_eq!(root.ask("find child"), Value::Null);

    assert_eq!(root.ask("unregister"), Value::Null);
    assert_eq!(node.callsign(&["ls", "--json"]).json(), json!([]));
    let slip = r#"an unknown name name=chidl meant="[\"child\"]""#;
    node.stop().says(&[slip]);
}

#[test]
fn tractor_programs_and_callsigns_actors_find_each_other() {
    let Some(python) = python() else { return };
    let room = Room::new();
    let node = listen(&room);
    let mut snake = Actor::start(&node, &python, "snake", "unix");
    // Nobody listens there, which `register` would wait for.
    let feed = ["register", "feed", "/ip4/127.0.0.1/tcp/7", "--state", "ready"];
    let mut feed = node.run(&feed);
    feed.line_with("feed");
    assert_eq!(snake.ask("wait feed"), json!([["127.0.0.1", 7]]));
    node.callsign(&["wait", "snake"]).succeeds().prints(&["snake"]);

    // Over callsign, a caller is connected to the program itself, which introduces itself
    // immediately.
    let said = node.run(&["connect", "snake"]).outcome();
    assert!(said.stdout.contains("msg_type") && said.stdout.contains("snake"), "{said}");
}

/// They register only once, so one whose folder is away while somebody looks stays in the list.
#[test]
fn a_tractor_program_whose_folder_is_away_for_a_moment_is_found_again() {
    let Some(python) = python() else { return };
    let room = Room::new();
    let node = listen(&room);
    let folder = room.file("sockets");
    fs::create_dir(&folder).unwrap();
    let mut snake = Actor::start_in(&folder, &node, &python, "snake", "unix");
    let mut root = Actor::start(&node, &python, "root", "unix");
    for asks in ["connect", "delete"] {
        fs::rename(&folder, room.file("away")).unwrap();
        if asks == "connect" {
            node.callsign(&["connect", "snake"]).ends_with(1).says(&["no such socket"]);
        } else {
            root.ask(&format!("delete {}", snake.addr));
        }
        let listed = node.callsign(&["ls", "snake", "--json"]).json();
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{asks}: {listed}");
        fs::rename(room.file("away"), &folder).unwrap();
        assert_eq!(snake.ask("find snake"), json!([snake.addr]), "{asks}");
        let said = node.run(&["connect", "snake"]).outcome();
        assert!(said.stdout.contains("msg_type"), "{asks}: {said}");
    }
    let mut watch = node.run(&["watch", "snake", "--json"]);
    watch.json("that it has begun", |it| it["change"] == "synced");
    fs::rename(&folder, room.file("away")).unwrap();
    snake.running.signal(Signal::KILL);
    watch.json("that it has gone", |it| it["change"] == "remove");
}

/// Returns what a node has written down of tractor's programs.
fn written_down(room: &Room) -> String {
    let files = fs::read_dir(room.file("callsign")).into_iter().flatten().flatten();
    let ledgers = files.filter(|it| it.file_name().to_string_lossy().starts_with("tractor-"));
    ledgers.filter_map(|it| fs::read_to_string(it.path()).ok()).collect()
}

/// They register only once, so the node's knowledge of them outlives it.
#[test]
fn tractor_registrations_outlive_the_node() {
    let Some(python) = python() else { return };
    for end in [|it: Node<'_>| it.kill(), |it: Node<'_>| it.stop()] {
        let room = Room::new();
        let socket = room.unix("registrar.sock");
        let node = Node::listen(&room, &[&socket, "/ip4/127.0.0.1/tcp/0"]);
        let mut snake = Actor::start(&node, &python, "snake", "unix");
        let ends = Actor::start(&node, &python, "ends", "unix");
        let over_tcp = Actor::start(&node, &python, "over%20tcp", "tcp");
        let listed = |node: &Node<'_>| {
            let listed = node.callsign(&["ls", "--json"]).json();
            let names = listed.as_array().unwrap().iter().map(|it| it["name"].to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(listed(&node), r#""ends" "over%2520tcp" "snake""#);
        // What came last is written down a moment later.
        while !written_down(&room).contains("over%2520tcp") {
            sleep(Duration::from_millis(5));
        }
        drop(end(node));

        // Only living ones are known again.
        ends.running.signal(Signal::KILL);
        drop(ends);
        let node = Node::listen(&room, &[&socket]);
        assert_eq!(listed(&node), r#""over%2520tcp" "snake""#);
        assert_eq!(snake.ask("find snake"), json!([snake.addr]));
        assert_eq!(snake.ask("find over%20tcp"), json!([over_tcp.addr]));
        let mut watch = node.run(&["watch", "snake", "--json"]);
        watch.json("that it has begun", |it| it["change"] == "synced");
        snake.running.signal(Signal::KILL);
        let removed = watch.json("that it has gone", |it| it["change"] == "remove");
        assert_eq!(removed["reason"], "process-ended");
    }
}

#[test]
fn the_defaults_of_tractor_are_served_if_asked_for() {
    let room = Room::new();
    // Port 1616 is shared by the whole machine: another program may have it, and other tests must
    // not find it.
    let mut command = if rustix::process::geteuid().is_root() {
        let mut own_network = room.other_command("unshare");
        own_network.args(["--net", "sh", "-c", "ip link set lo up; exec \"$0\" \"$@\""]);
        own_network.arg(env!("CARGO_BIN_EXE_callsign"));
        own_network
    } else {
        room.command(&[])
    };
    command.args(["registrar", "--tractor-defaults", "--listen", &room.unix("registrar.sock")]);
    std::fs::set_permissions(room.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let mut node = Running::start(command);
    let socket = room.unix("tractor/registry@1616.sock");
    let line = node.line_or_end("listening on /ip4/127.0.0.1/tcp/1616");
    match line {
        Some(_) => {
            node.line_with(&socket);
            node.stop().succeeds();
        }
        None => drop(node.outcome().ends_with(2).says(&["/ip4/127.0.0.1/tcp/1616", "in use"])),
    }

    let settings = room.write("callsign.toml", "[registrar]\ntractor = false\n");
    let refused = room.callsign(&["registrar", "--tractor-defaults", "--config", &settings]);
    refused.ends_with(2).says(&["tractor = false"]);
}

#[test]
fn tractor_programs_are_let_in_as_far_as_the_settings_say() {
    let room = Room::new();
    let unix = room.unix("registrar.sock");
    let listen = [&*unix, "/ip4/127.0.0.1/tcp/0", "/ip4/0.0.0.0/tcp/0"];
    let check = |setting: &str, expected: [bool; 3]| {
        let settings =
            room.write("callsign.toml", &format!("[registrar]\ninsecure = true\n{setting}\n"));
        let node = Node::start_with(&room, &listen, &["--config", &settings]);
        let is_let_in = node.endpoints().iter().map(|it| is_let_in(it));
        assert_eq!(is_let_in.collect::<Vec<_>>(), expected, "{setting}");
        node.stop().succeeds();
    };
    check("", [true, true, false]);
    check("tractor = true", [true, true, true]);
    check("tractor = false", [false, false, false]);
}

/// Asks for the peer's identity as a tractor program does, and tells whether there was an answer.
fn is_let_in(endpoint: &str) -> bool {
    let golden = include_str!("../../gateway/tests/frames.txt");
    let probe = golden.lines().find_map(|it| it.strip_prefix("Aid: ")).unwrap();
    let digits: Vec<_> = probe.chars().collect();
    let bytes = digits.chunks(2).map(|it| it.iter().collect::<String>());
    let bytes: Vec<_> = bytes.map(|it| u8::from_str_radix(&it, 16).unwrap()).collect();

    let mut peer = Peer::dial(&endpoint.replace("0.0.0.0", "127.0.0.1"));
    peer.send_bytes(&bytes);
    peer.rest().windows(3).any(|it| it == b"Aid")
}

#[test]
fn a_registrar_of_tractors_that_is_away_is_not_an_empty_one() {
    let room = Room::new();
    let nowhere = format!("tractor+{}", room.unix("nobody.sock"));
    for command in [&["ls"][..], &["find", "child"]] {
        let asked = room.callsign(&[command, &["--registrar", &nowhere]].concat());
        asked.ends_with(3).says(&["does not answer", "no such socket file"]);
    }
    let asked = room.callsign(&["watch", "--registrar", &nowhere]);
    asked.ends_with(2).says(&["is a registrar of tractor's"]);

    let node = Node::start(&room);
    let asked = format!("tractor+{}", node.endpoint());
    let found = room.callsign(&["find", "child", "--registrar", &asked]);
    found.ends_with(1).says(&["no actor `child` is registered at tractor+"]);
    // Suggestions include tractor's names, and both kinds together.
    let lease = ["register", "child", "/unix/@child-of-both", "--ttl", "10m", "--state", "ready"];
    node.callsign(&lease).succeeds();
    let found = room.callsign(&["find", "chidl", "--registrar", &asked]);
    found.ends_with(1).says(&["did you mean `child`?"]);
    let other = Node::listen(&room, &[&room.unix("other.sock")]);
    let both = ["find", "chidl", "--registrar", other.endpoint(), "--registrar", &asked];
    room.callsign(&both).ends_with(1).says(&["did you mean `child`?"]);
    node.callsign(&["unregister", "child"]).succeeds();
    // If a registrar of callsign's is named too, it is asked as well.
    let own = ["find", "child", "--registrar", node.endpoint()];
    let both = room.callsign(&[&own[..], &["--registrar", &nowhere]].concat());
    both.ends_with(1).says(&["does not answer", "no actor `child`"]);
}

/// A tractor program that runs.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) running: Running,
    addr: Value,
}

impl Actor {
    pub(crate) fn start(node: &Node<'_>, python: &Path, name: &str, transport: &str) -> Self {
        Self::start_in(node.room().path(), node, python, name, transport)
    }

    /// Starts it with its socket in a folder.
    fn start_in(
        folder: &Path,
        node: &Node<'_>,
        python: &Path,
        name: &str,
        transport: &str,
    ) -> Self {
        let at = match transport {
            "tcp" => node.endpoints()[1].rsplit('/').next().unwrap(),
            _ => node.endpoints()[0].strip_prefix("/unix").unwrap(),
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/scenarios/tractor.py");
        let mut command = node.room().other_command(&python.display().to_string());
        command.args([script, at, name, transport]).arg(folder);
        let mut running = Running::start(command);
        let addr = running.json("its address", Value::is_array);
        Self { running, addr }
    }

    /// Gives it a command, and returns its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, words: &str) -> Value {
        self.running.type_line(words);
        self.running.json("an answer", |_| true)
    }
}

fn listen(room: &Room) -> Node<'_> {
    Node::listen(room, &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"])
}

/// Returns the Python that has the MessagePack package, or says that the test is skipped.
pub(crate) fn python() -> Option<PathBuf> {
    let binary = Path::new(env!("CARGO_BIN_EXE_callsign"));
    let target = binary.ancestors().nth(2).unwrap();
    let python = target.join("python/bin/python3");
    if !python.exists() {
        eprintln!("SKIPPED: `cargo xtask test` has installed no MessagePack for Python");
        return None;
    }
    Some(python)
}
