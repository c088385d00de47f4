//! A program that listens in its own mount namespace learns that others cannot reach it.

use std::fs;

use super::programs::python;
use crate::harness::{Node, Room, Running};

#[test]
fn a_path_that_the_registrar_does_not_find_is_said_at_registration() {
    let room = Room::new();
    let node = Node::listen(&room, &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"]);
    for folder in ["own", "shared"] {
        fs::create_dir(room.file(folder)).unwrap();
    }
    let own = room.file("own").display().to_string();
    let callsign = env!("CARGO_BIN_EXE_callsign");
    let in_private_at = |registrar: &str, words: &[&str]| {
        let mut command = room.other_command("unshare");
        let script = "mount -t tmpfs none \"$0\" || { echo none; exit 0; }; exec \"$@\"";
        command.args(["-m", "sh", "-c", script, &own, callsign, "--registrar", registrar]);
        command.args(words);
        Running::start(command)
    };
    let in_private = |words: &[&str]| in_private_at(node.endpoint(), words);
    let warning = "mount namespace of its own";
    let (hidden, shared) = (room.unix("own/x.sock"), room.unix("shared/x.sock"));
    let mut held = in_private(&["register", "held", &hidden]);
    let line = held.line_or_end("");
    if line.is_none_or(|it| !it.contains("registered")) {
        eprintln!("skipped: this user may not mount");
        return;
    }
    let said = held.says(warning);
    assert!(said.contains(&hidden), "{said}");
    held.stop();

    let python = python();
    let program = [&python[..], "-c", "print('up', flush=True); input()"];
    for (name, endpoint, is_warned) in [("hidden", &hidden, true), ("shared", &shared, false)] {
        let words = [&["register", name, endpoint, "--"], &program[..]].concat();
        let mut wrapped = in_private(&words);
        wrapped.line_with("up");
        wrapped.type_line("");
        let ended = wrapped.outcome().succeeds();
        assert_eq!(ended.stderr.contains(warning), is_warned, "{ended}");
    }
    let leased = in_private(&["register", "leased", &hidden, "--ttl", "1m"]);
    leased.outcome().succeeds().says(&[warning]);
    // Over the loopback the kernel identifies the listener.
    for (name, endpoint, is_warned) in [("hidden", &hidden, true), ("shared", &shared, false)] {
        let words = ["register", name, endpoint, "--ttl", "1m"];
        let leased = in_private_at(&node.endpoints()[1], &words).outcome().succeeds();
        assert_eq!(leased.stderr.contains(warning), is_warned, "{leased}");
    }
    // In the usual mount namespace the path is the same for all.
    let at_home = node.callsign(&["register", "home", &hidden, "--ttl", "1m"]).succeeds();
    assert!(!at_home.stderr.contains(warning), "{at_home}");
}
