//! The program's output, to the letter: output, errors and exit codes as users see them.
//!
//! Each test compares a transcript of commands with a file in `golden/`. After an intended change,
//! `UPDATE_GOLDEN=1 cargo test -p callsign --test cli` rewrites the files, and the change shows in
//! the review.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

#[path = "../harness/mod.rs"]
mod harness;
mod mask;
mod transcript;

use harness::{Node, Room};
use transcript::Transcript;

#[test]
fn help() {
    let room = Room::new();
    let mut transcript = Transcript::new(&room);
    transcript.run(&["-h"]);
    transcript.run(&["--help"]);
    transcript.matches_golden("help");
    for command in room.commands() {
        let mut transcript = Transcript::new(&room);
        transcript.run(&[&command, "--help"]);
        transcript.fits_80_columns();
        transcript.matches_golden(&format!("help-{command}"));
    }
}

/// Readers of manual pages can show these, and complain only that they have no date.
#[test]
fn manual_pages_are_sound() {
    let room = Room::new();
    room.callsign(&["man", "--out", "pages"]).succeeds();
    let issue = std::fs::read_to_string(room.file("pages/callsign-keys-issue.1")).unwrap();
    // As it is typed, and as its page is called.
    for words in [&["man", "keys", "issue"][..], &["man", "keys-issue"]] {
        assert_eq!(room.callsign(words).succeeds().stdout, issue);
    }
    let mut pages = 0;
    for page in std::fs::read_dir(room.file("pages")).unwrap() {
        let mut lint = room.other_command("mandoc");
        let page = page.unwrap().path();
        lint.args(["-T", "lint", "-W", "warning"]).arg(&page);
        let Ok(output) = lint.output() else {
            eprintln!("skipped: this machine has no mandoc");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let faults: Vec<_> = said.lines().filter(|it| !it.contains("missing date")).collect();
        assert_eq!(faults, [""; 0]);
        let mut wide = room.other_command("mandoc");
        let wide = wide.args(["-T", "utf8", "-O", "width=80"]).arg(&page).output().unwrap();
        for line in String::from_utf8_lossy(&wide.stdout).lines() {
            // Bold text is overstruck.
            let columns = line.chars().count() - 2 * line.matches('\u{8}').count();
            assert!(columns <= 80, "{columns} columns in {}: {line}", page.display());
        }
        let mut shown = room.other_command("mandoc");
        let shown = shown.args(["-T", "ascii", "-O", "width=78"]).arg(&page).output().unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        for section in ["NAME", "SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"] {
            // A bold letter is written over itself.
            let bold: String = section
                .chars()
                .flat_map(|it| if it == ' ' { vec![it] } else { vec![it, '\u{8}', it] })
                .collect();
            assert!(shown.contains(&bold), "{} has no {section}\n{shown}", page.display());
        }
        pages += 1;
    }
    assert!(pages > 10, "{pages} pages");
}

#[test]
fn check() {
    let room = Room::new();
    room.write("market.toml", include_str!("../../examples/market.toml"));
    room.write("empty.toml", "");
    room.write("wrong.toml", WRONG);
    room.write("broken.toml", "[registrar\nlisten = \"/unix/@a\"\n");
    room.write("doubtful.toml", "[network]\nfeed = []\n");
    let mut transcript = Transcript::new(&room);
    transcript.run(&["check", "market.toml", "empty.toml"]);
    transcript.run(&["check", "wrong.toml"]);
    transcript.run(&["check", "wrong.toml", "--json"]);
    transcript.run(&["check", "broken.toml", "market.toml"]);
    transcript.run(&["check", "doubtful.toml"]);
    transcript.run(&["check", "not-there.toml"]);
    transcript.run(&["check"]);
    transcript.run(&["registrar", "--config", "wrong.toml"]);
    transcript.matches_golden("check");
}

#[test]
fn look_ups() {
    let room = Room::new();
    room.write("declared.toml", "[declared]\narchive = \"/ip4/203.0.113.40/tcp/5432\"\n");
    // An abstract name has the same length on every machine, so the output wraps alike.
    let place = room.abstract_unix("registrar");
    let node = Node::start_with(&room, &[&place], &["--config", "declared.toml"]);
    let mut transcript = Transcript::with(&room, &node);
    transcript.run(&["register", "clock", "/unix/@clock-of-golden", "--ttl", "30s"]);
    let several = ["/unix/@feed-of-golden", "/unix/nowhere/feed.sock", "/ip4/127.0.0.1/tcp/5554"];
    let mut registrant = node.run(
        &[&["register", "feed", "--state", "ready", "--meta", "desk=rates"], &several[..]].concat(),
    );
    registrant.line_with("registered");
    let lease = ["register", "far", "/unix/nowhere/far.sock", "--ttl", "10m"];
    transcript.run(&lease);

    transcript.run(&["ls"]);
    transcript.run(&["ls", "f*", "--all"]);
    transcript.run(&["ls", "feed", "--json"]);
    transcript.run(&["ls", "nobody*"]);
    transcript.run(&["tree"]);
    transcript.run(&["tree", "--json"]);
    transcript.run(&["find", "feed"]);
    transcript.run(&["find", "clock"]);
    transcript.run(&["find", "clock", "--json"]);
    transcript.run(&["find", "archive"]);
    transcript.run(&["find", "far"]);
    transcript.run(&["find", "far", "--json"]);
    transcript.run(&["resolve", "feed"]);
    transcript.run(&["resolve", "feed", "--explain"]);
    transcript.run(&["resolve", "feed", "--explain", "--json"]);
    transcript.run(&["renew", "clock"]);
    transcript.run(&["renew", "feed"]);
    transcript.run(&["unregister", "clock"]);
    transcript.matches_golden("look-ups");
}

#[test]
fn draining() {
    let room = Room::new();
    let node = Node::listen(&room, &[&room.abstract_unix("registrar")]);
    let mut registrant =
        node.run(&["register", "feed", "/unix/@feed-of-drain", "--state", "ready"]);
    registrant.line_with("registered");
    let mut transcript = Transcript::with(&room, &node);
    transcript.run(&["register", "clock", "/unix/@clock-of-drain", "--ttl", "10m"]);
    transcript.run(&["drain", "feed"]);
    transcript.run(&["ls"]);
    transcript.run(&["ls", "feed", "--all", "--json"]);
    transcript.run(&["find", "feed"]);
    transcript.run(&["find", "feed", "--all"]);
    transcript.run(&["resolve", "feed"]);
    transcript.run(&["resolve", "feed", "--explain"]);
    transcript.run(&["connect", "feed"]);
    transcript.run(&["wait", "feed", "--timeout", "10ms"]);
    transcript.run(&["drain", "feed", "--undo"]);
    transcript.run(&["find", "feed"]);
    transcript.run(&["drain", "feed", "--undo"]);
    transcript.run(&["drain", "clock", "--json"]);
    transcript.run(&["drain", "nobody"]);
    transcript.matches_golden("draining");
}

#[test]
fn failures() {
    let room = Room::new();
    let node = Node::listen(&room, &[&room.abstract_unix("registrar")]);
    let mut transcript = Transcript::with(&room, &node);
    transcript.run(&["ls"]);
    transcript.run(&["find", "nobody"]);
    transcript.run(&["find", "nobody", "--json"]);
    transcript.run(&["resolve", "nobody"]);
    transcript.run(&["connect", "nobody"]);
    transcript.run(&["unregister", "nobody"]);
    transcript.run(&["wait", "nobody", "--timeout", "10ms"]);
    transcript.run(&["find", "two words"]);
    transcript.run(&["fnid", "web"]);
    transcript.run(&["watch", "--patern", "f*"]);
    transcript.run(&["ls", "--jsn"]);
    transcript.run(&["find", "-x"]);
    transcript.run(&["register", "web", "/unix/@web", "--grace", "-1s"]);
    transcript.run(&["register", "web", "/unix/@web", "--grace", "-x"]);
    transcript.run(&["find", "web", "--nmae", "--json"]);
    transcript.run(&["register", "web"]);
    transcript.run(&["register", "web", "localhost:80", "/ip4/127.0.0.1/udp/9999"]);
    transcript.run(&["register", "web", "/ip4/127.0.0.1/tcp/0"]);
    transcript.run(&["register", "web", "/unix/@web", "--ttl", "1ms"]);
    transcript.run(&["registrar"]);
    transcript.matches_golden("failures");

    let nobody = room.abstract_unix("nobody");
    let mut transcript = Transcript::new(&room);
    transcript.run(&["find", "web", "--registrar", &nobody]);
    transcript.run(&["find", "web", "--registrar", &nobody, "--json"]);
    transcript.run(&["status", "--registrar", &nobody]);
    transcript.run(&["registrar", "--listen", "/uds/run/x.sock"]);
    transcript.run(&["registrar", "--listen", "/unix/nowhere/at/all.sock"]);
    transcript.run(&["registrar", "--heartbeat", "1"]);
    transcript.matches_golden("failures-alone");
}

/// What a newcomer types and pastes, and what is said of it.
#[test]
fn slips_of_newcomers() {
    let room = Room::new();
    let node = Node::listen(&room, &[&room.abstract_unix("registrar")]);
    let mut transcript = Transcript::with(&room, &node);
    // The `--` before a program.
    transcript.run(&["register", "web", "/unix/@web", "sleep", "5"]);
    transcript.run(&["register", "web", "/unix/@web", "sh", "-c", "true"]);
    transcript.run(&["register", "web", "no-such-server"]);
    transcript.run(&["register", "web", "/unix/@web", "-", "sleep", "5"]);
    transcript.run(&["register", "web", "--", "/unix/@web", "sleep", "5"]);
    // Words of other programs, and words apart.
    transcript.run(&["list"]);
    transcript.run(&["serve"]);
    transcript.run(&["run", "web"]);
    transcript.run(&["reload"]);
    transcript.run(&["version"]);
    transcript.run(&["ls", "--config", "-"]);
    transcript.run(&["man", "regster"]);
    transcript.run(&["wait", "web", "5s"]);
    transcript.run(&["registrar", "/unix/@web"]);
    transcript.run(&["connect", "/unix/@web"]);
    transcript.run(&["register", "web", "127.0.0.1", "8080"]);
    // Typography.
    transcript.run(&["register", "web", "/unix/@web", "–ttl", "5m"]);
    transcript.run(&["register", "web", "/unix/@web", "—", "sleep", "5"]);
    transcript.run(&["find", "“web”"]);
    transcript.run(&["ls", "—json"]);
    // Durations and placeholders.
    transcript.run(&["register", "web", "/unix/@web", "--ttl", "1x"]);
    transcript.run(&["register", "web", "/unix/@web", "--ttl", "0s"]);
    transcript.run(&["wait", "web", "--timeout", "5 Minuets"]);
    transcript.run(&["register", "web", "/unix/@web", "--", "true", "{port}"]);
    transcript.run(&["register", "web", "/unix/run/web.sock", "--", "true", "{host}"]);
    transcript.run(&[
        "register",
        "web",
        "/ip4/127.0.0.1/tcp/4321",
        "--",
        "true",
        "{prot}",
        "{sock}",
    ]);
    // Filters, patterns and UUIDs.
    transcript.run(&["register", "web", "/unix/@web-of-slips", "--ttl", "10m", "--meta", "desk=a"]);
    transcript.run(&["ls", "--filter", "state=redy"]);
    transcript.run(&["ls", "--filter", "stat=ready"]);
    transcript.run(&["ls", "--filter", "dsek=a"]);
    transcript.run(&["ls", "--filter", "locality!=remote"]);
    transcript.run(&["find", "we*"]);
    transcript.run(&["drain", "w?b"]);
    transcript.matches_golden("slips");

    let listed = node.callsign(&["ls", "web", "--json"]).succeeds().json();
    let digits = &listed[0]["uuid"].as_str().unwrap()[..8];
    let meant = "that is an instance of `web`; ask for its name: `callsign find web";
    for command in ["find", "resolve", "connect"] {
        for typed in [digits, &format!("web[{digits}]")] {
            node.callsign(&[command, typed]).ends_with(1).says(&[meant]);
        }
    }
    node.callsign(&["wait", digits, "--timeout", "5s"]).ends_with(1).says(&[meant]);
}

/// Settings with many faults.
const WRONG: &str = r#"[registrar]
listen = ["/unix/@market", "/udp/127.0.0.1"]
heartbeat = 5

[netwrok]
feed = "/unix/@feed"

[network]
broker = ["127.0.0.1", "5555"]
risk = "/uds/run/risk.sock"
chart = "/ip4/127.0.0.1/tcp/8765"
graph = ["127.0.0.1", 8765]

[declared]
archive = "/ip4/0.0.0.0/tcp/5432"
"#;
