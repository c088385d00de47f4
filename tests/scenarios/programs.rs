//! Any program is registered as an actor for as long as it runs.

use std::{fs, net::Ipv4Addr, path::Path};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde_json::Value;

use crate::harness::{LIMIT, Node, Room, Running};

#[test]
fn the_real_http_server_answers() {
    let room = Room::new();
    let node = Node::start(&room);
    room.write("hello.txt", "from the real server");
    let (port, _reserved) = reserve_port();
    let port = port.to_string();
    let endpoint = format!("/ip4/127.0.0.1/tcp/{port}");

    let python = python();
    let server = [&python[..], "-m", "http.server", &port, "--bind", "127.0.0.1"];
    let web = node.run(&[&["register", "web", &endpoint, "--"], &server[..]].concat());
    node.callsign(&["wait", "web", "--timeout", "5m"]).succeeds().prints(&[&endpoint]);
    let asked = node.run(&["connect", "web"]).write("GET /hello.txt HTTP/1.0\r\n\r\n");
    asked.outcome().succeeds().prints(&["200 OK", "from the real server"]);

    // It passes the signal on, and ends with the program's exit code.
    web.stop().ends_by(15);
    node.callsign(&["find", "web"]).ends_with(1);
}

#[test]
fn a_program_that_is_killed_is_gone_and_watchers_hear_of_it() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut watch = watch(&node);
    let mut program = start_program(&node);
    watch.json("an instance that is there", |it| it["change"] == "add");

    let pid = program.line("the program's number", |_| true);
    signal(&open(&pid), Signal::KILL);
    let removed = watch.json("an instance that is gone", |it| it["change"] == "remove");
    assert_eq!(removed["name"], "sleeper");
    program.outcome().ends_by(9);
    assert_eq!(node.callsign(&["ls", "--json"]).json(), Value::Array(vec![]));
}

#[test]
fn a_program_ends_when_its_keeper_is_killed() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut watch = watch(&node);
    let mut keeper = start_program(&node);
    watch.json("an instance that is there", |it| it["change"] == "add");

    let program = open(&keeper.line("the program's number", |_| true));
    keeper.kill();
    let removed = watch.json("an instance that is gone", |it| it["change"] == "remove");
    assert_eq!(removed["reason"], "session-ended");
    assert!(has_ended(&program), "the program has outlived what kept it registered");
    assert_eq!(node.callsign(&["ls", "--json"]).json(), Value::Array(vec![]));
}

#[test]
fn a_registration_ends_as_its_program_does() {
    let room = Room::new();
    let node = Node::start(&room);
    let socket = room.unix("short.sock");
    let register = ["register", "short", &socket, "--"];
    let check = |program: &[&str], code: i32| {
        node.callsign(&[&register[..], program].concat()).ends_with(code)
    };
    check(&["true"], 0);
    check(&["sh", "-c", "exit 7"], 7);
    check(&["no-such-program-anywhere"], 127).says(&["no-such-program-anywhere"]);
    // A service manager takes an end by SIGTERM for a success, and the exit code of a shell not.
    for number in [1, 2, 6, 9, 10, 15, 34] {
        let kill = format!("kill -{number} $$");
        node.callsign(&[&register[..], &["sh", "-c", &kill]].concat()).ends_by(number);
    }
    let mut sleeper = node.run(&[&register[..], &["sh", "-c", "echo up; exec sleep 600"]].concat());
    sleeper.line_with("up");
    sleeper.signal(Signal::TERM);
    sleeper.outcome().ends_by(15);
    assert_eq!(node.callsign(&["ls", "--json"]).json(), Value::Array(vec![]));
}

/// Watches everything, from after the snapshot.
#[track_caller]
fn watch(node: &Node<'_>) -> Running {
    let mut watch = node.run(&["watch", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");
    watch
}

/// Starts a program as the actor `sleeper`. Its first line is its number.
#[track_caller]
fn start_program(node: &Node<'_>) -> Running {
    let socket = "/unix/nowhere/sleeper.sock";
    node.run(&["register", "sleeper", socket, "--", "sh", "-c", "echo $$; exec sleep 600"])
}

/// Opens a process by its number.
fn open(pid: &str) -> OwnedFd {
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    pidfd_open(pid, PidfdFlags::empty()).unwrap()
}

fn signal(process: &OwnedFd, signal: Signal) {
    pidfd_send_signal(process, signal).unwrap();
}

/// Waits for a process to end, and returns whether it did in time.
fn has_ended(process: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    let limit = Timespec { tv_sec: LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
    poll(&mut polled, Some(&limit)).unwrap() > 0
}

/// Reserves a port for a program that takes no open socket. Nobody else gets it while the socket is
/// open; a server that sets `SO_REUSEADDR` may listen there.
fn reserve_port() -> (u16, OwnedFd) {
    let reserved = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&reserved, true).unwrap();
    bind(&reserved, &std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = std::net::SocketAddr::try_from(getsockname(&reserved).unwrap()).unwrap();
    (address.port(), reserved)
}

/// Returns the path of the Python interpreter.
#[track_caller]
pub(crate) fn python() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path).map(|it| it.join("python3"));
    match candidates.find(|it: &std::path::PathBuf| Path::exists(it)) {
        Some(path) => fs::canonicalize(path).unwrap().display().to_string(),
        None => panic!("python3 is not installed: `cargo xtask test` installs what tests need"),
    }
}
