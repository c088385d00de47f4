//! The boot order does not matter: programs that start before their registrar are registered once
//! it is there.

use std::{fs, os::unix::fs::PermissionsExt};

use rustix::process::Signal;

use crate::harness::{Node, Room, Running, free_port};

/// The future place of a registrar: a file, an abstract name, or a port.
fn places(room: &Room) -> [String; 3] {
    let tcp = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    [room.unix("late.sock"), room.abstract_unix("registrar"), tcp]
}

fn run(room: &Room, place: &str, args: &[&str]) -> Running {
    room.run(&[&["--registrar", place], args].concat())
}

#[test]
fn a_program_runs_before_the_registrar_and_is_found_after() {
    let room = Room::new();
    for place in places(&room) {
        let socket = room.abstract_unix("feed");
        let program = ["--", "sh", "-c", "echo runs; exec sleep 600"];
        let register = ["register", "feed", &socket, "--state", "ready"];
        let mut feed = run(&room, &place, &[&register[..], &program].concat());
        feed.says("no registrar answers; `feed` cannot be found");
        feed.line_with("runs");

        let node = Node::listen(&room, &[&place]);
        feed.says("`feed` is registered");
        node.callsign(&["find", "feed"]).succeeds().prints(&[&socket]);
        // From here on everything is as usual.
        node.kill();
        feed.says("no registrar answers; `feed` cannot be found");
        let node = Node::listen(&room, &[&place]);
        feed.says("`feed` is registered again");
        feed.stop_by(Signal::TERM).ends_by(15);
        node.callsign(&["find", "feed"]).ends_with(1);
    }
}

#[test]
fn the_folder_of_the_system_s_registrar_may_be_made_later() {
    let room = Room::new();
    let system = room.file("system");
    let run = |args: &[&str]| {
        let mut command = room.command(args);
        command.env("CALLSIGN_SYSTEM_DIR", &system);
        Running::start(command)
    };
    let mut held = run(&["register", "clock", &room.abstract_unix("clock"), "--state", "ready"]);
    held.says("no registrar answers; `clock` cannot be found");
    let waiting = run(&["wait", "clock", "--timeout", "5m"]);
    let mut watch = run(&["watch", "--json"]);
    watch.json("word that there is none", |it| it["change"] == "stale");
    fs::create_dir(&system).unwrap();
    let node = Node::listen(&room, &[&room.unix("system/registrar.sock")]);
    held.line_with("registered clock");
    waiting.outcome().succeeds();
    watch.json("the instance", |it| it["name"] == "clock");
    node.kill();
}

#[test]
fn a_program_that_ends_before_the_registrar_is_there_ends_as_ever() {
    let room = Room::new();
    for place in places(&room) {
        let socket = room.abstract_unix("short");
        let check = |program: &[&str], code: i32| {
            let register = ["register", "short", &socket, "--"];
            run(&room, &place, &[&register[..], program].concat()).outcome().ends_with(code)
        };
        check(&["true"], 0);
        check(&["sh", "-c", "exit 7"], 7);
        check(&["no-such-program-anywhere"], 127).says(&["no-such-program-anywhere"]);
        let killed = [&["register", "short", &socket, "--"][..], &["sh", "-c", "kill -9 $$"]];
        run(&room, &place, &killed.concat()).outcome().ends_by(9);
    }
}

#[test]
fn an_early_registration_is_reported_once_it_is_made() {
    let room = Room::new();
    for place in places(&room) {
        let socket = room.abstract_unix("clock");
        let register = ["register", "clock", &socket];
        let mut plain = run(&room, &place, &register);
        plain.says("no registrar answers; `clock` cannot be found");
        let mut json = run(&room, &place, &[&register[..], &["--json"]].concat());
        json.says("no registrar answers");
        // An instance that is not registered at its end needs no removal.
        let mut unknown = run(&room, &place, &register);
        unknown.says("Ctrl-C ends this");
        let unknown = unknown.stop_by(Signal::INT).succeeds();
        assert_eq!(unknown.stdout, "", "{unknown}");

        let node = Node::listen(&room, &[&place]);
        assert!(plain.line("a line", |_| true).starts_with("registered clock["));
        assert_eq!(json.json("a line", |_| true)["name"], "clock");
        plain.stop().succeeds();
        json.stop().succeeds();
        node.callsign(&["find", "clock"]).ends_with(1);
    }
}

#[test]
fn faults_fail_at_once_before_anything_is_started() {
    let room = Room::new();
    let marker = room.file("started");
    let program = ["--", "touch", marker.to_str().unwrap()];
    let check = |place: &str, words: &[&str], code: i32, says: &str| {
        let args = [&["register"], words, &program].concat();
        run(&room, place, &args).outcome().ends_with(code).says(&[says]);
        assert!(!marker.exists(), "the program was started");
    };
    let feed = ["feed", "/unix/@feed"];
    let nowhere = room.unix("nowhere.sock");
    // The registration.
    check(&nowhere, &["two words", "/unix/@feed"], 2, "error: ");
    check(&nowhere, &["feed", "/uds/feed"], 2, "error: ");
    check(&nowhere, &["feed", "/unix/@feed", "--config", "no.toml"], 2, "no.toml");
    // The registrar.
    room.write("file.sock", "");
    check(&room.unix("file.sock"), &feed, 3, "a regular file in its place");
    check("/ip4/127.0.0.1/tcp/1616/tls", &feed, 3, "TLS needs a certificate");
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let web = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = other.accept().unwrap();
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap();
    });
    check(&format!("/ip4/127.0.0.1/tcp/{port}"), &feed, 3, "no registrar can be reached");
    web.join().unwrap();
}

#[test]
fn a_denied_connection_is_reported_at_once() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: another user is needed, and this is not root");
        return;
    }
    let room = Room::new();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let _registrar = std::os::unix::net::UnixListener::bind(room.file("own.sock")).unwrap();
    fs::set_permissions(room.file("own.sock"), fs::Permissions::from_mode(0o600)).unwrap();
    let (place, program) = (room.unix("own.sock"), env!("CARGO_BIN_EXE_callsign"));
    for words in [
        &["register", "feed", "/unix/@feed", "--", "true"][..],
        &["register", "feed", "/unix/@feed"],
        &["wait", "feed"],
        &["watch"],
    ] {
        let mut command = room.other_command("setpriv");
        command.args(["--reuid", "1234", "--clear-groups", program, "--registrar", &place]);
        command.args(words).current_dir("/");
        Running::start(command).outcome().ends_with(4).says(&["no permission to connect to it"]);
    }
}
