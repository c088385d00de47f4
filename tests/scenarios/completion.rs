//! Completion in the shells that people use. Each shell really runs here.

use std::{os::unix::fs::symlink, process::Command};

use rustix::process::Signal;

use crate::harness::{Node, Room, Running};

/// The registered names. bash breaks a line at `:`, `=` and `@`.
const NAMES: [&str; 10] = [
    "feed-eu",
    "o'k",
    "$(touch${IFS}ran)",
    "web",
    "wet",
    "desk:rates:eu",
    "desk:rates:us=x",
    "::new",
    "key=value=more",
    "me@home:1",
];

/// Registers actors whose names need quoting in a shell, and makes `callsign` a command.
fn market(room: &Room) -> Node<'_> {
    let node = Node::start(room);
    for (number, name) in NAMES.iter().enumerate() {
        let endpoint = room.abstract_unix(&format!("actor-{number}"));
        let lease = ["register", name, &endpoint, "--ttl", "10m", "--state", "ready"];
        node.callsign(&lease).succeeds();
    }
    std::fs::create_dir(room.file("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_callsign"), room.file("bin/callsign")).unwrap();
    node
}

/// Returns the command of a shell that finds `callsign`, with this registrar.
fn shell(node: &Node<'_>, program: &str) -> Command {
    let room = node.room();
    let mut command = room.other_command(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", room.file("bin").display()));
    command.env("CALLSIGN_REGISTRAR", node.endpoint()).env("TERM", "xterm");
    command
}

fn is_missing(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_err()
}

/// Starts a shell at a separate terminal.
fn at_terminal(node: &Node<'_>, shell_command: &str, set_up: &str) -> Running {
    let mut command = shell(node, "script");
    command.args(["-qec", shell_command, "/dev/null"]);
    let mut running = Running::start(command);
    running.type_line(set_up);
    running.type_line("echo set''tled");
    running.line_with("settled");
    running
}

/// Types a word and a Tab until it is completed: a busy registrar may be too late for the first.
#[track_caller]
fn types(running: &mut Running, typed: &str, expected: &str) {
    loop {
        running.type_line(&format!("callsign find {typed}\t"));
        let is_answer = |line: &str| line.contains("no actor") || line.contains("instance  ");
        let line = running.line("an answer", is_answer);
        if line.contains("instance  ") {
            assert!(line.contains(&format!("instance  {expected}[")), "{line}");
            return;
        }
    }
}

/// Names are completed and never executed, although anybody may register text that a shell would
/// run.
fn completes(node: &Node<'_>, mut running: Running) {
    types(&mut running, "fee", "feed-eu");
    types(&mut running, "o", "o'k");
    types(&mut running, r"\$", "$(touch${IFS}ran)");
    types(&mut running, "des\te", "desk:rates:eu");
    types(&mut running, "desk:rates:u", "desk:rates:us=x");
    types(&mut running, "desk:rates:us=", "desk:rates:us=x");
    types(&mut running, ":", "::new");
    types(&mut running, "::n", "::new");
    types(&mut running, "key=v", "key=value=more");
    types(&mut running, "me@", "me@home:1");
    types(&mut running, "me@home:", "me@home:1");
    running.type_line("callsign fi\tfee\t");
    running.line("an answer", |line| line.contains("no actor") || line.contains("instance  "));
    running.type_line("exit");
    running.outcome();
    assert!(!node.room().file("ran").exists(), "the shell has run a name");
}

#[test]
fn bash_completes_names() {
    let room = Room::new();
    let node = market(&room);
    let set_up = "source <(callsign completions bash)";
    completes(&node, at_terminal(&node, "bash --norc -i", set_up));
}

#[test]
fn zsh_completes_names() {
    if is_missing("zsh") {
        eprintln!("skipped: this machine has no zsh");
        return;
    }
    let room = Room::new();
    let node = market(&room);
    // In a folder of `$fpath`, and by itself.
    room.write("_callsign", &node.callsign(&["completions", "zsh"]).succeeds().stdout);
    let set_up = "fpath=($HOME $fpath); autoload -Uz compinit; compinit -u -D";
    completes(&node, at_terminal(&node, "zsh -f -i", set_up));
    let set_up = "autoload -Uz compinit; compinit -u -D; source <(callsign completions zsh)";
    completes(&node, at_terminal(&node, "zsh -f -i", set_up));
}

#[test]
fn fish_completes_names() {
    if is_missing("fish") {
        eprintln!("skipped: this machine has no fish");
        return;
    }
    let room = Room::new();
    let node = market(&room);
    let script = "callsign completions fish | source; complete -C $argv[1]";
    let completed = |line: &str| {
        let mut command = shell(&node, "fish");
        command.args(["--no-config", "-c", script, line]);
        Running::start(command).outcome().succeeds().stdout
    };
    let check = |line: &str, expected: &str| {
        let mut found = completed(line);
        // A busy registrar may be too late.
        while found.is_empty() {
            found = completed(line);
        }
        assert_eq!(found, expected, "{line}");
    };
    check("callsign find fee", "feed-eu\n");
    check("callsign connect we", "web\nwet\n");
    check("callsign drain o", "o'k\n");
    check("callsign ch", "check\tCheck settings files, and show all of their faults\n");
}

/// Of two thousand names, only as many appear as a person reads; their common prefix is that of
/// all.
#[test]
fn many_names_are_completed_as_far_as_they_are_the_same() {
    let room = Room::new();
    let mut settings = "[declared]\n".to_owned();
    for number in 0..2_000 {
        settings += &format!("\"actor:{:02}.{number:05}\" = \"/unix/@{number}\"\n", number % 100);
    }
    let settings = room.write("many.toml", &settings);
    let endpoint = room.unix("registrar.sock");
    let node = Node::start_with(&room, &[&endpoint], &["--config", &settings]);
    let completed = |word: &str| -> Vec<String> {
        loop {
            let mut command = node.room().command(&["--", "callsign", "find", word]);
            command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2");
            command.env("CALLSIGN_REGISTRAR", node.endpoint());
            let outcome = Running::start(command).outcome().succeeds();
            // A busy registrar may be too late.
            if !outcome.stdout.is_empty() {
                return outcome.stdout.lines().map(str::to_owned).collect();
            }
        }
    };
    let all = completed("act");
    assert_eq!(all.len(), 200);
    assert_eq!((&*all[0], &*all[199]), ("actor:00.00000", "actor:99.01999"));
    assert_eq!(completed("actor:07.00").len(), 10);
    assert_eq!(completed("actor:07.0000"), ["actor:07.00007"]);
    // Suggestions for a misspelt name work among that many too.
    loop {
        let failure = node.callsign(&["find", "actor:O7.00007"]).ends_with(1);
        if failure.stderr.contains("did you mean `actor:07.00007`?") {
            break;
        }
    }
}

/// Completion does not wait for a hanging registrar, and prints no error into the line.
#[test]
fn a_registrar_that_hangs_is_not_waited_for() {
    let room = Room::new();
    let node = market(&room);
    node.process().signal(Signal::STOP);
    let mut command = node.room().command(&["--", "callsign", "find", "fee"]);
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2");
    command.env("CALLSIGN_REGISTRAR", node.endpoint());
    let outcome = Running::start(command).outcome().succeeds();
    assert_eq!((&*outcome.stdout, &*outcome.stderr), ("", ""), "{outcome}");
    node.process().signal(Signal::CONT);
}
