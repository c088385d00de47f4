//! Exit codes tell programs what has happened.

use crate::harness::{Node, Room};

#[test]
fn not_there_is_1_and_unreachable_is_3() {
    let room = Room::new();
    let node = Node::start(&room);
    let nowhere = room.unix("nobody-listens.sock");
    let commands: &[&[&str]] = &[
        &["find", "nobody"],
        &["find", "nobody", "--all"],
        &["resolve", "nobody"],
        &["resolve", "nobody", "--explain"],
        &["connect", "nobody"],
        &["wait", "nobody", "--timeout", "50ms"],
        &["unregister", "nobody"],
        &["renew", "nobody"],
    ];
    for command in commands {
        node.callsign(command).ends_with(1).says(&["error: ", "nobody"]);
        let unreachable = room.callsign(&[&["--registrar", &nowhere], *command].concat());
        let unreachable = unreachable.ends_with(3).says(&["error: ", &nowhere, "hint: "]);
        assert!(!unreachable.stderr.contains("no actor"), "{unreachable}");

        let in_json = node.callsign(&[*command, &["--json"]].concat()).ends_with(1);
        assert_eq!(error_kind(&in_json.stderr), "not_found", "{in_json}");
        let args = [&["--registrar", &nowhere, "--json"], *command].concat();
        let in_json = room.callsign(&args).ends_with(3);
        assert_eq!(error_kind(&in_json.stderr), "unreachable", "{in_json}");
    }
    // Nothing is there, and that is an answer.
    node.callsign(&["ls"]).succeeds();
    node.callsign(&["ls", "nobody*"]).succeeds();
    for command in [&["ls"][..], &["watch"], &["status"], &["register", "x", "/unix/@x"]] {
        room.callsign(&[&["--registrar", &nowhere], command].concat()).ends_with(3);
    }
}

#[test]
fn what_is_written_wrongly_is_2() {
    let room = Room::new();
    let node = Node::start(&room);
    let commands: &[&[&str]] = &[
        &[],
        &["fnid", "web"],
        &["find"],
        &["find", "two words"],
        &["find", "web", "--everything"],
        &["ls", "a/b"],
        &["wait", "web", "--timeout", "soon"],
        &["register"],
        &["register", "web"],
        &["register", "web", "localhost:80"],
        &["register", "web", "/ip4/127.0.0.1/udp/80"],
        &["register", "web", "/ip4/127.0.0.1/tcp/0"],
        &["register", "web", "/unix/@web", "--meta", "desk"],
        &["register", "web", "/unix/@web", "--ttl", "1ms"],
        &["find", "web", "--config", "not-there.toml", "--registrar", "web"],
        &["registrar"],
        &["check", "not-there.toml"],
    ];
    let alone: &[&[&str]] = &[
        &["registrar", "--listen", "/uds/x"],
        &["registrar", "--listen", node.endpoint(), "--heartbeat", "1"],
        &["registrar", "--listen", "/unix/nowhere/at/all.sock"],
        &["registrar", "--config", "not-there.toml"],
    ];
    let asking = commands.iter().map(|it| node.callsign(it));
    for outcome in asking.chain(alone.iter().map(|it| room.callsign(it))) {
        let outcome = outcome.ends_with(2);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        let is_told = said.contains("error: ") || said.contains("Usage: callsign");
        assert!(is_told, "{outcome}");
    }
}

/// Reads the kind of an error that is written for programs.
fn error_kind(stderr: &str) -> String {
    let object = stderr.lines().filter_map(|it| serde_json::from_str(it).ok());
    let mut kinds =
        object.filter_map(|it: serde_json::Value| it["error"]["kind"].as_str().map(str::to_owned));
    kinds.next().unwrap_or_default()
}
