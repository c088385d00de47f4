//! Advice that can be followed: guesses, variables kept by sudo, and misspelt words.

use std::{
    fs::Permissions,
    os::unix::fs::{PermissionsExt, chown},
};

use rustix::process::geteuid;

use crate::harness::{Node, Room, Running};

#[test]
fn a_name_that_nobody_has_is_near_one_that_somebody_has() {
    let room = Room::new();
    let node = Node::start(&room);
    for name in ["web", "feed-eu", "feed-us"] {
        let endpoint = room.abstract_unix(name);
        node.callsign(&["register", name, &endpoint, "--ttl", "10m"]).succeeds();
    }
    // Suggested names come with the answer; a busy registrar may be too late with them.
    let check = |words: &[&str], expected: &str| loop {
        let outcome = node.callsign(words).ends_with(1);
        if outcome.stderr.contains("did you mean") {
            outcome.says(&[expected]);
            break;
        }
    };
    for command in ["find", "connect", "resolve", "drain", "unregister", "renew"] {
        check(&[command, "wbe"], "hint: did you mean `web`?");
    }
    check(&["wait", "wbe", "--timeout", "10ms"], "hint: did you mean `web`?");
    check(&["find", "feed-u"], "hint: did you mean `feed-eu`, or `feed-us`?");
    let outcome = node.callsign(&["find", "broker"]).ends_with(1);
    assert!(!outcome.stderr.contains("did you mean"), "{outcome}");
}

#[test]
fn look_ups_do_not_need_another_users_folder() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root");
        return;
    }
    let room = Room::new();
    let kept = room.file("kept");
    std::fs::create_dir(&kept).unwrap();
    chown(&kept, Some(4321), None).unwrap();
    std::fs::set_permissions(&kept, Permissions::from_mode(0o700)).unwrap();
    let run = |variable: &str, args: &[&str]| {
        let mut command = room.command(args);
        command.env_remove("XDG_RUNTIME_DIR").env(variable, &kept);
        Running::start(command).outcome()
    };
    let advice = "belongs to user 4321, and this is user 0: unset it, or set it to a folder of \
                  your own (it was kept by sudo or su)";
    for variable in ["XDG_RUNTIME_DIR", "TMPDIR"] {
        let outcome = run(variable, &["status", "--json"]);
        let asked: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(asked[0]["endpoint"], "/ip4/127.0.0.1/tcp/1616", "{outcome}");
        outcome.says(&["this user's own registrar is not asked", variable, advice]);
        // The advice would fail too.
        let outcome = run(variable, &["ls"]);
        assert!(!outcome.stderr.contains("start one here"), "{outcome}");
        run(variable, &["registrar"]).ends_with(2).says(&[variable, advice]);
    }
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0, "nothing is put there");
}

#[test]
fn typed_text_is_shown_escaped() {
    let room = Room::new();
    let check = |args: &[&str], expected: &str| {
        let outcome = room.callsign(args).ends_with(2).says(&[expected]);
        let is_plain = |it: char| it == '\n' || endpoints::is_plain(it);
        assert!(outcome.stderr.chars().all(is_plain), "{outcome}");
        let outcome = room.callsign(&[&["--json"], args].concat()).ends_with(2);
        assert!(outcome.stderr.trim_end().chars().all(endpoints::is_plain), "{outcome}");
    };
    check(&["fi\u{1b}[31mnd"], r"unrecognized subcommand 'fi\u{1b}[31mnd'");
    check(&["find", "a", "b\nc\u{7}"], r"unexpected argument 'b\nc\u{7}' found");
    check(&["ls", "--\u{202e}all"], r"unexpected argument '--\u{202e}all' found");
    check(&["find", "--\u{202e}foo"], r"unexpected argument '--\u{202e}foo' found");
    check(&["check", "--\u{202e}foo"], r"write '-- --\u{202e}foo'");
    check(&["check", "--foo=\u{1b}[2J"], r"write '-- --foo=\u{1b}[2J'");
    check(&["ls", "--color", "\u{9b}2J"], r"invalid value '\u{9b}2J' for '--color <WHEN>'");
    check(&["wait", "a", "--timeout", "5\u{200b}s"], r"invalid value '5\u{200b}s'");
}
