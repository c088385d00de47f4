//! Exit codes report the result to programs.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::{ffi::OsStrExt, net::UnixListener},
    process::Stdio,
};

use crate::{
    harness::{Node, Room, Running, free_port},
    owners::{ALICE, Users},
};

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
    // "Not found" is an answer.
    node.callsign(&["ls"]).succeeds();
    node.callsign(&["ls", "nobody*"]).succeeds();
    for command in [&["ls"][..], &["status"]] {
        room.callsign(&[&["--registrar", &nowhere], command].concat()).ends_with(3);
    }
}

#[test]
fn usage_errors_are_2() {
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

#[test]
fn denials_are_4() {
    let Some(users) = Users::new() else { return };
    let node = users.node(&[]);
    node.callsign(&["register", "web", "/unix/@web-of-denied", "--ttl", "10m"]).succeeds();
    for command in ["unregister", "renew", "drain"] {
        let denied = users.run(ALICE, node.endpoint(), &["--json", command, "web"]);
        let denied = denied.outcome().ends_with(4);
        assert_eq!(error_kind(&denied.stderr), "denied", "{denied}");
    }
}

/// Of several instances, all that may be removed are, whatever the others.
#[test]
fn partial_denials_are_4() {
    let Some(users) = Users::new() else { return };
    let node = users.node(&[]);
    let alice = |args: &[&str]| users.run(ALICE, node.endpoint(), args).outcome();
    for (round, json) in [&[][..], &["--json"]].into_iter().enumerate() {
        for number in 0..4 {
            let endpoint = format!("/unix/@web-of-several-{round}-{number}");
            let args = ["register", "web", &endpoint, "--ttl", "10m"];
            if number % 2 == 0 { alice(&args) } else { node.callsign(&args) }.succeeds();
        }
        let denied = alice(&[&["unregister", "web", "--all"], json].concat()).ends_with(4);
        let gone = match json {
            [] => denied.stdout.matches("unregistered web[").count(),
            _ => denied.json().as_array().unwrap().len(),
        };
        assert_eq!(gone, 2, "{denied}");
        assert_eq!(denied.stderr.matches("stays").count(), 2, "{denied}");
        node.callsign(&["unregister", "web", "--all"]).succeeds();
    }
}

#[test]
fn places_in_use_are_5() {
    let room = Room::new();
    let node = Node::start(&room);
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = format!("/ip4/127.0.0.1/tcp/{}", port.local_addr().unwrap().port());
    for taken in [node.endpoint(), &tcp] {
        let refused = room.callsign(&["registrar", "--listen", taken, "--json"]).ends_with(5);
        assert_eq!(error_kind(&refused.stderr), "in_use", "{refused}");
    }

    // Another one takes its place while it runs: that of its socket, or the folder's.
    let places = ["one.sock", "two/registrar.sock"];
    fs::create_dir(room.file("two")).unwrap();
    for (place, is_folder) in places.into_iter().zip([false, true]) {
        let displaced = Node::listen(&room, &[&room.unix(place)]);
        if is_folder {
            fs::rename(room.file("two"), room.file("away")).unwrap();
            fs::create_dir(room.file("two")).unwrap();
        } else {
            fs::remove_file(room.file(place)).unwrap();
            fs::remove_file(room.file(&format!("{place}.lock"))).unwrap();
        }
        let _successor = UnixListener::bind(room.file(place)).unwrap();
        displaced.outcome().ends_with(5).says(&["nobody can reach the registrar any more"]);
    }
}

#[test]
fn failed_output_is_6() {
    let room = Room::new();
    let node = Node::start(&room);
    node.callsign(&["register", "web", "/unix/@web-of-output", "--ttl", "10m"]).succeeds();
    let registrar = format!("--registrar {}", node.endpoint());
    for command in ["ls", "ls --json", "find web", "watch", "status", "--help", "ls --help", "man"]
    {
        let (program, named) = (env!("CARGO_BIN_EXE_callsign"), &registrar);
        let named = if command.contains("help") { "" } else { named };
        let mut full = room.other_command("sh");
        full.args(["-c", &format!("exec {program} {named} {command} > /dev/full")]);
        let outcome = Running::start(full).outcome().ends_with(6);
        outcome.says(&["cannot write to standard output", "No space left"]);
    }
}

#[test]
fn without_a_standard_output_what_is_to_be_printed_is_6() {
    let room = Room::new();
    let node = Node::start(&room);
    node.callsign(&["register", "web", "/unix/@web-of-no-output", "--ttl", "10m"]).succeeds();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _speaking = std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::Write as _;
            drop(stream.unwrap().write_all(b"hello"));
        }
    });
    let talks = format!("/ip4/127.0.0.1/tcp/{port}");
    node.callsign(&["register", "talks", &talks, "--ttl", "10m"]).succeeds();
    room.callsign(&["keys", "init", "closed"]).succeeds();
    let registrar = format!("--registrar {}", node.endpoint());
    let closed = |command: &str| {
        let program = env!("CARGO_BIN_EXE_callsign");
        let named =
            if command.contains("help") || command == "--version" { "" } else { &registrar };
        let mut closed = room.other_command("sh");
        closed.args(["-c", &format!("exec {program} {named} {command} >&-")]);
        Running::start(closed).outcome()
    };
    for command in [
        "ls",
        "ls --json",
        "find web",
        "find web --all --json",
        "resolve talks",
        "connect talks",
        "watch",
        "wait talks",
        "status",
        "whoami",
        "renew web",
        "register more /unix/@more-of-no-output --ttl 10m",
        "check /dev/null",
        "completions bash",
        "schema",
        "man",
        "keys show closed/ca.pem",
        "keys issue closed feed",
        "--help",
        "help ls",
        "--version",
    ] {
        closed(command).ends_with(6).says(&["cannot write to standard output", "Bad file desc"]);
    }
    // What prints nothing does not need one, and an error comes first.
    closed("ls nobody").ends_with(0);
    closed("find nobody").ends_with(1);
}

#[test]
fn without_a_reader_a_command_ends_quietly() {
    let room = Room::new();
    let node = Node::start(&room);
    node.callsign(&["register", "web", "/unix/@web-of-quiet", "--ttl", "10m"]).succeeds();
    for json in [&[][..], &["--json"]] {
        let args = [&["--registrar", node.endpoint(), "watch"], json].concat();
        let mut watch = room.command(&args);
        let watch = watch.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut watch = watch.spawn().unwrap();
        let mut reader = BufReader::new(watch.stdout.take().unwrap());
        assert!(reader.read_line(&mut String::new()).unwrap() > 0);
        // Nothing changes any more, so nothing is written.
        drop(reader);
        let ended = watch.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(141), "{ended:?}");
        assert!(ended.stderr.is_empty(), "{ended:?}");
    }
    // A command that has yet to write ends in the same way.
    for command in [&["ls"][..], &["ls", "--help"], &["completions", "bash"], &["man"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let args = [&["--registrar", node.endpoint()], command].concat();
        let ended = room.command(&args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(ended.status.code(), Some(141), "{command:?}: {ended:?}");
        assert!(ended.stderr.is_empty(), "{command:?}: {ended:?}");
    }
}

/// Reads the kind of an error that is written for programs.
fn error_kind(stderr: &str) -> String {
    let object = stderr.lines().filter_map(|it| serde_json::from_str(it).ok());
    let mut kinds =
        object.filter_map(|it: serde_json::Value| it["error"]["kind"].as_str().map(str::to_owned));
    kinds.next().unwrap_or_default()
}

/// The registrar named itself as the program that had its place, as an accident that passes.
#[test]
fn a_place_that_is_listed_twice_is_a_usage_error() {
    let room = Room::new();
    std::os::unix::fs::symlink(".", room.file("link")).unwrap();
    let port = free_port();
    let here = format!("/ip4/127.0.0.1/tcp/{port}");
    for (first, second) in [
        (room.unix("r.sock"), room.unix("link/r.sock")),
        (here, format!("/dns4/localhost/tcp/{port}")),
    ] {
        let twice = room.callsign(&["registrar", "--listen", &first, "--listen", &second]);
        let same = format!("it is the same place as `{first}`: leave one of them out");
        let twice = twice.ends_with(2);
        let said = twice.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&same) && !said.contains("process"), "{twice}");
    }
}

/// Another place was asked, with other bytes in the place of those that are no text.
#[test]
fn a_variable_that_is_no_text_is_a_usage_error() {
    let room = Room::new();
    let broken = OsStr::from_bytes(b"/unix/tmp/\xff.sock");
    for variable in ["CALLSIGN_REGISTRAR", "CALLSIGN_LISTEN", "CALLSIGN_LOG"] {
        let mut command = room.command(&["ls"]);
        command.env(variable, broken);
        let said = Running::start(command).outcome().ends_with(2);
        said.says(&[variable, "is no UTF-8: `/unix/tmp/\\xff.sock`", "%FF"]);
    }
}
