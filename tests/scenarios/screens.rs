//! Text from others does no harm on a screen, and reaches programs unchanged.

use endpoints::is_plain;

use super::{programs::python, supervision::on_terminal};
use crate::harness::{Node, Outcome, Room, Running};

#[test]
fn control_sequences_of_others_are_shown_and_not_obeyed() {
    let room = Room::new();
    let node = Node::start(&room);
    let socket = room.unix("s\u{202e}kcos\u{200b}\u{a0}\u{1b}[2J.sock");
    let note = "\u{1b}]0;gone\u{7}\u{202e}edoc\u{2066}\u{e0041}\u{fe0f}\u{3164}\u{2028}";
    let meta = format!("note={note}");
    let register = ["register", "web", &socket, "--ttl", "10m", "--meta", &meta];
    is_plain_text(&node.callsign(&register));
    let commands: &[&[&str]] = &[
        &["ls"],
        &["ls", "--all"],
        &["find", "web"],
        &["find", "web", "--all"],
        &["resolve", "web"],
        &["resolve", "web", "--explain"],
        &["tree"],
        &["status"],
        &["connect", "web"],
        &["wait", "web", "--timeout", "10ms"],
    ];
    for command in commands {
        is_plain_text(&node.callsign(command));
    }
    let found = node.callsign(&["find", "web", "--all", "--json"]).json();
    assert_eq!(found[0]["metadata"]["note"], note);
    // A multiaddr writes invisible characters encoded.
    let endpoint = found[0]["endpoints"][0]["endpoint"].as_str().unwrap();
    assert!(endpoint.ends_with("/s%E2%80%AEkcos%E2%80%8B%C2%A0%1B[2J.sock"), "{endpoint}");

    let mut watch = node.run(&["watch"]);
    let line = watch.line_with("web");
    assert!(line.chars().all(is_plain), "{line:?}");
}

#[test]
fn with_json_the_log_is_of_objects_too() {
    let room = Room::new();
    let node = Node::start(&room);
    let outcome = node.callsign(&["ls", "--json", "-vv", "--color", "always"]).succeeds();
    assert!(outcome.stderr.contains("\"log\""), "{outcome}");
    for line in outcome.stderr.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object.is_object(), "{line}");
    }
}

#[test]
fn colours_are_as_the_environment_has_them() {
    let room = Room::new();
    // Each prints in colour: one to standard output, the other to standard error.
    let bad = room.file("bad.toml");
    std::fs::write(&bad, "[network]\nweb = 7000000\n").unwrap();
    let commands = [["check", bad.to_str().unwrap()], ["register", "a b"]];
    let is_colored = |command: &[&str], terminal: bool, variables: &[(&str, &str)]| {
        let shell = "exec \"$0\" \"$@\" 2>&1";
        let callsign = env!("CARGO_BIN_EXE_callsign");
        let program = [&["sh", "-c", shell, callsign][..], command].concat();
        let mut started = if terminal {
            let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/scenarios/on_terminal.py");
            let mut started = room.other_command(&python());
            started.arg(driver).args(program);
            started
        } else {
            let mut started = room.other_command("sh");
            started.args(&program[1..]);
            started
        };
        started.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
        Running::start(started).line_with("error").contains("\u{1b}[")
    };
    for command in &commands {
        let check = |terminal: bool, variables: &[(&str, &str)], expected: bool| {
            let colored = is_colored(command, terminal, variables);
            assert_eq!(colored, expected, "{command:?}, terminal: {terminal}, {variables:?}");
        };
        check(true, &[], true);
        check(true, &[("NO_COLOR", "1")], false);
        check(true, &[("NO_COLOR", "")], true);
        check(true, &[("TERM", "dumb")], false);
        check(true, &[("CLICOLOR", "0")], false);
        check(false, &[], false);
        check(false, &[("CLICOLOR_FORCE", "1")], true);
        check(false, &[("CLICOLOR_FORCE", "0")], false);
        check(false, &[("CLICOLOR_FORCE", "")], false);
        check(true, &[("CLICOLOR_FORCE", "0")], true);
        check(true, &[("CLICOLOR_FORCE", "0"), ("NO_COLOR", "1")], false);
        check(true, &[("CLICOLOR_FORCE", "0"), ("CLICOLOR", "0")], false);
        check(true, &[("CLICOLOR_FORCE", "0"), ("TERM", "dumb")], false);
        check(false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false);
    }
    let never = [&["--color", "never"][..], &commands[0]].concat();
    assert!(!is_colored(&never, true, &[("CLICOLOR_FORCE", "1")]), "the flag goes first");
    let always = [&["--color", "always"][..], &commands[0]].concat();
    assert!(is_colored(&always, false, &[("NO_COLOR", "1")]), "the flag goes first");
}

#[test]
fn a_name_that_cannot_be_seen_is_refused_with_its_place() {
    let room = Room::new();
    let node = Node::start(&room);
    let check = |name: &str, expected: &[&str]| {
        for command in ["find", "wait", "resolve", "drain"] {
            is_plain_text(&node.callsign(&[command, "--", name]).ends_with(2).says(expected));
        }
        if !name.starts_with('-') {
            let register = ["register", name, "/unix/@x", "--ttl", "10m"];
            is_plain_text(&node.callsign(&register).ends_with(2).says(expected));
        }
        node.callsign(&["ls", "--", name]).ends_with(2).says(expected);
    };
    check("web\u{200b}", &["U+200B", "`web\\u{200b}`", "character 4"]);
    check("\u{202e}bew", &["U+202E", "character 1"]);
    check("w\u{e0020}eb", &["U+E0020", "character 2"]);
    check("-x", &["`-`", "flag"]);
    check("--all", &["`-`", "flag"]);
    check("..", &["`..` means a folder"]);
    check("cafe\u{301}", &["NFC", "U+0065 U+0301 for U+00E9"]);
}

#[test]
fn lists_are_sorted_and_filtered() {
    let room = Room::new();
    let node = Node::start(&room);
    for (name, meta) in [("web", "desk=rates"), ("feed.eu", "desk=fx"), ("feed.us", "desk=rates")] {
        let endpoint = format!("/unix/@{name}-of-lists");
        node.callsign(&["register", name, &endpoint, "--ttl", "10m", "--meta", meta]).succeeds();
    }
    node.callsign(&["drain", "feed.us"]).succeeds();
    let check = |args: &[&str], expected: &[&str]| {
        let listed = node.callsign(&[&["ls", "--json"], args].concat()).succeeds();
        let names = listed.json();
        let names: Vec<_> = names.as_array().unwrap().iter().map(|it| &it["name"]).collect();
        assert_eq!(names, expected, "{listed}");
    };
    check(&["--sort", "name"], &["feed.eu", "web"]);
    check(&["--reverse"], &["web", "feed.eu"]);
    check(&["--sort", "age", "--all"], &["feed.us", "feed.eu", "web"]);
    check(&["--filter", "desk=rates"], &["web"]);
    check(&["--filter", "meta.desk=r*", "--all"], &["feed.us", "web"]);
    check(&["--filter", "state=draining"], &["feed.us"]);
    check(&["--filter", "name=feed*", "--filter", "lifetime=lease"], &["feed.eu"]);
    check(&["--filter", "lifetime=session"], &[]);
    node.callsign(&["ls", "--filter", "stat=ready"]).succeeds().says(&["metadata `stat`", "state"]);
    node.callsign(&["ls", "--filter", "ready"]).ends_with(2).says(&["no `=`", "state=ready"]);
    // A socket's path is encoded for libraries that read one segment.
    let found = node.callsign(&["find", "web", "--json"]).json();
    assert_eq!(found["nearest_encoded"], "/unix/@web-of-lists");
}

#[test]
fn usages_and_lists_fit_a_narrow_terminal() {
    let room = Room::new();
    let node = Node::start(&room);
    let path = room.unix(&format!("{}.sock", "a-long-name".repeat(4)));
    node.callsign(&["register", "feed", &path, "--ttl", "10m", "--state", "ready"]).succeeds();
    let root = ["--ttl", "10m", "--meta", "tree.path=market", "--meta", "tree.kind=process"];
    node.callsign(&[&["register", "market", &path][..], &root].concat()).succeeds();
    let check = |line: &str, expected: &[&str]| {
        let script = format!("stty rows 40 cols 40; unset COLUMNS; $CALLSIGN {line} 2>&1");
        let mut terminal = on_terminal(&room, &node, &["sh", "-c", &script]);
        let shown = terminal.line_or_end("no such line is there");
        assert_eq!(shown, None);
        let outcome = terminal.outcome();
        for line in outcome.stdout.lines() {
            assert!(line.trim_end_matches('\r').chars().count() <= 40, "{line}\n{outcome}");
        }
        let words = outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        expected.iter().for_each(|it| assert!(words.contains(it), "{it}\n{outcome}"));
    };
    check("register --help", &["[OPTIONS] <NAME> [ENDPOINT]... [-- <COMMAND>...]"]);
    check("help unregister", &["Usage: callsign unregister"]);
    check("regsiter", &["unrecognized subcommand 'regsiter'", "exists: 'register'"]);
    check("wait", &["required arguments were not provided"]);
    check("ls", &["NEAREST feed ready", " none"]);
    check("tree", &["market process"]);
    check("ls --all", &["no socket seen"]);
    check(
        "resolve feed --explain",
        &["left out", "no socket was seen there when it was registered"],
    );
    check("find feed --all", &["out of reach"]);
}

/// All output for people, on terminals of a usual width and of half of that.
#[test]
fn every_screen_fits() {
    let room = Room::new();
    let node = Node::start(&room);
    let long = room.unix(&format!("{}.sock", "a-long-name".repeat(4)));
    node.callsign(&["register", "feed", &long, "--ttl", "10m", "--state", "ready"]).succeeds();
    let root = ["--ttl", "10m", "--meta", "tree.path=market", "--meta", "tree.kind=process"];
    node.callsign(&[&["register", "market", &long][..], &root].concat()).succeeds();
    room.write("wrong.toml", WRONG);
    let commands = room.commands();
    let helps = commands.iter().map(|it| format!("{it} --help"));
    let lines: Vec<_> = helps.chain(SCREENS.iter().map(|it| (*it).to_owned())).collect();
    for width in [80, 40] {
        let typed = lines
            .iter()
            .map(|it| format!("echo '$ {}'; $CALLSIGN {it} 2>&1", it.replace('\'', "")));
        let typed: Vec<_> = typed.collect();
        let script = format!("stty rows 40 cols {width}; unset COLUMNS; {}", typed.join("\n"));
        room.write("script", &script);
        let mut terminal = on_terminal(&room, &node, &["sh", "script"]);
        assert_eq!(terminal.line_or_end("no such line is there"), None);
        let outcome = terminal.outcome();
        let mut of = "";
        let mut wide = Vec::new();
        for line in outcome.stdout.lines().map(|it| it.trim_end_matches('\r')) {
            let is_wide = line.chars().count() > width;
            match line.strip_prefix("$ ") {
                Some(typed) => of = typed,
                None if is_wide => wide.push(format!("{of}: {line}")),
                None => {}
            }
        }
        assert!(wide.is_empty(), "wider than {width}:\n{}", wide.join("\n"));
        assert!(outcome.stdout.contains(lines.last().unwrap()), "{outcome}");
    }
}

#[test]
fn the_demo_fits_the_screen() {
    for columns in [80, 40] {
        let room = Room::new();
        let mut command = room.command(&["demo"]);
        // Its paths have to be as short as elsewhere.
        command.env("TMPDIR", "/tmp").env("COLUMNS", columns.to_string());
        let outcome = Running::start(command).outcome().succeeds();
        let mut is_of_server = false;
        for line in outcome.stdout.lines() {
            // A server's own output is not wrapped.
            is_of_server = line.starts_with("HTTP/") || is_of_server && !line.is_empty();
            let width = line.chars().count();
            assert!(is_of_server || width <= columns, "{width} of {columns}: {line}\n{outcome}");
        }
        assert!(!outcome.stdout.contains("has just started"), "{outcome}");
    }
}

/// The programs of the demonstration once needed an address of IPv4 to find each other.
#[test]
fn the_demo_needs_no_ipv4() {
    let room = Room::new();
    let callsign = env!("CARGO_BIN_EXE_callsign");
    let mut command = room.other_command("unshare");
    let script = format!(
        "ip link set lo up && ip address delete 127.0.0.1/8 dev lo || {{ echo skipped; exit; }}
         exec {callsign} demo"
    );
    command.args(["-n", "sh", "-c", &script]).env("TMPDIR", "/tmp");
    let outcome = Running::start(command).outcome();
    if outcome.code != Some(0) && outcome.stderr.contains("unshare")
        || outcome.stdout == "skipped\n"
    {
        eprintln!("skipped: it takes root, `ip` of iproute2, and IPv6");
        return;
    }
    outcome.succeeds().prints(&["/ip6/::1/tcp/", "--bind ::1", "All of it has been stopped"]);
}

/// A window may be made small while somebody else is meant to see it.
#[test]
fn no_screen_is_too_narrow() {
    let room = Room::new();
    let node = Node::start(&room);
    node.callsign(&["register", "feed", "/unix/@feed", "--ttl", "10m", "--state", "ready"])
        .succeeds();
    room.write("wrong.toml", WRONG);
    for width in [1, 5, 14] {
        let typed: Vec<_> = SCREENS.iter().map(|it| format!("$CALLSIGN {it} 2>&1")).collect();
        let script = format!(
            "stty rows 40 cols {width}; unset COLUMNS; export CALLSIGN_PAGER=cat; {}",
            typed.join("\n")
        );
        room.write("script", &script);
        let mut terminal = on_terminal(&room, &node, &["sh", "script"]);
        assert_eq!(terminal.line_or_end("no such line is there"), None);
        let outcome = terminal.outcome();
        let shown: String = outcome.stdout.split_whitespace().collect();
        assert!(!shown.contains("panicked"), "{width}: {outcome}");
    }
}

const SCREENS: &[&str] = &[
    "-h",
    "--help",
    "--version",
    "regsiter",
    "wait",
    "ls --jsn",
    "watch --patern f*",
    "register web /unix/@web --grace -1s",
    "ls",
    "ls --all",
    "ls nobody*",
    "tree",
    "status",
    "status --owners",
    "whoami",
    "find feed",
    "find feed --all",
    "find nobody",
    "find 'two words'",
    "resolve feed",
    "resolve feed --explain",
    "connect feed",
    "wait nobody --timeout 10ms",
    "drain nobody",
    "renew feed",
    "unregister nobody",
    "register web",
    "register web localhost:80 /ip4/127.0.0.1/udp/9999",
    "register web /unix/@web-on-screen --ttl 1ms",
    "check wrong.toml",
    "check not-there.toml",
    "registrar --config wrong.toml --listen /unix/@never",
    "registrar --listen /uds/run/x.sock",
    "registrar --listen /unix/nowhere/at/all.sock",
    "registrar --heartbeat 1",
    "registrar --ready-fd 77",
    "ls --registrar /unix/@nobody-on-this-screen-with-a-name-that-is-rather-long",
    "status --registrar /unix/@nobody-on-this-screen-with-a-name-that-is-rather-long",
    "man nothing",
    "keys",
    "keys ini keys-of-screens",
    "keys init keys-of-screens",
    "keys init keys-of-screens",
    "keys issue keys-of-screens feed --host feed.example --host 2001:db8::7",
    "keys issue keys-of-screens feed",
    "keys issue keys-of-screens 'two words'",
    "keys issue keys-of-screens x --host 10.0.0.256",
    "keys issue keys-of-screens x --for 100y",
    "keys show keys-of-screens/feed.pem",
    "keys show keys-of-screens/feed.key",
    "keys show wrong.toml",
    "keys show --help",
];

/// Settings with lines longer than a screen.
const WRONG: &str = r#"[registrar]
listen = ["/unix/@market", "/unix/run/market/a-second-name.sock", "/udp/127.0.0.1"]
heartbeat = 5
[netwrok]
feed = "/unix/@feed"
[network]
broker = ["127.0.0.1", "5555"]
a-long-name-of-an-actor = ["/unix/run/market/feed.sock", "/ip4/0.0.0.0/tcp/70000"]
graph = [8765, "10.0.0.1"]
"#;

#[track_caller]
fn is_plain_text(outcome: &Outcome) {
    let said = outcome.stdout.chars().chain(outcome.stderr.chars());
    for character in said.filter(|it| *it != '\n') {
        assert!(is_plain(character), "{character:?} is obeyed, or not seen: {outcome}");
    }
}
