//! Programs that move themselves to the background: none of them is left over, and the message
//! helps. The real ones are Debian's.

use std::{net::TcpListener, os::unix::net::UnixStream, path::Path, process::Command};

use super::programs::python;
use crate::harness::{Node, Room, free_port};

/// The exit code for a program that has left `register`'s view.
const SLIPPED_AWAY: i32 = 125;

/// A server from Debian that goes into the background.
struct Daemon {
    program: &'static str,
    /// Its configuration, in which `ROOM` is the folder.
    configuration: &'static str,
    /// Its command line in the background, from its manual, and the corrected one.
    behind: &'static [&'static str],
    in_front: &'static [&'static str],
    remedy: &'static str,
}

const NGINX: Daemon = Daemon {
    program: "nginx",
    configuration: "pid ROOM/pid; error_log ROOM/log; events {}\n\
        http { access_log off; server { listen unix:ROOM/d.sock; } }",
    behind: &["-e", "ROOM/log", "-c", "ROOM/conf"],
    in_front: &["-e", "ROOM/log", "-c", "ROOM/conf", "-g", "daemon off;"],
    remedy: "nginx -g 'daemon off;'",
};

const REDIS: Daemon = Daemon {
    program: "redis-server",
    configuration: "port 0\nunixsocket ROOM/d.sock\nsave \"\"\ndir ROOM\ndaemonize yes",
    behind: &["ROOM/conf"],
    in_front: &["ROOM/conf", "--daemonize", "no"],
    remedy: "--daemonize no",
};

const MEMCACHED: Daemon = Daemon {
    program: "memcached",
    configuration: "",
    behind: &["-u", "root", "-s", "ROOM/d.sock", "-d"],
    in_front: &["-u", "root", "-s", "ROOM/d.sock"],
    remedy: "leave out -d",
};

const HAPROXY: Daemon = Daemon {
    program: "haproxy",
    configuration: "defaults\n mode http\n timeout client 9s\n timeout server 9s\n \
        timeout connect 9s\nfrontend front\n bind ROOM/d.sock\nglobal\n daemon\n",
    behind: &["-f", "ROOM/conf", "-D"],
    in_front: &["-f", "ROOM/conf", "-db"],
    remedy: "leave out -D",
};

const LIGHTTPD: Daemon = Daemon {
    program: "lighttpd",
    configuration: "server.document-root = \"ROOM\"\nserver.bind = \"ROOM/d.sock\"\n",
    behind: &["-f", "ROOM/conf"],
    in_front: &["-f", "ROOM/conf", "-D"],
    remedy: "lighttpd -D",
};

/// Checks that it does not escape, and returns the reason if that was skipped.
#[track_caller]
fn check(daemon: &Daemon) -> Result<(), String> {
    if Command::new(daemon.program).arg("-v").output().is_err() {
        return Err(format!("skipped: this machine has no {}", daemon.program));
    }
    let room = Room::new();
    let node = Node::start(&room);
    let filled = |text: &str| text.replace("ROOM", &room.path().display().to_string());
    room.write("conf", &filled(daemon.configuration));
    let endpoint = room.unix("d.sock");
    let register = ["register", "server", &endpoint, "--"];
    let words = |args: &[&str]| -> Vec<String> {
        let own = [daemon.program].into_iter().chain(args.iter().copied());
        register.into_iter().chain(own).map(filled).collect()
    };
    let run = |words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        node.run(&words)
    };

    let slipped = run(&words(daemon.behind)).outcome().ends_with(SLIPPED_AWAY);
    let slipped = slipped.says(&["in the background", daemon.remedy]);
    assert!(slipped.stderr.lines().all(|it| it.chars().count() <= 80), "{slipped}");
    assert!(is_nobody_at(&room.file("d.sock")), "a daemon is left\n{slipped}");
    assert_eq!(node.callsign(&["ls", "--json"]).json(), serde_json::Value::Array(vec![]));

    // A script around it makes no difference.
    let line = words(daemon.behind)[register.len()..].join(" ");
    let line = format!("{line}; true");
    let script = [&register[..], &["sh", "-c", &line]].concat();
    let slipped = node.callsign(&script).ends_with(SLIPPED_AWAY);
    let slipped = slipped.says(&["in the background", daemon.remedy]);
    assert!(is_nobody_at(&room.file("d.sock")), "a daemon is left\n{slipped}");

    let server = run(&words(daemon.in_front));
    node.callsign(&["wait", "server", "--timeout", "5m"]).succeeds();
    let stopped = server.stop();
    assert!(!stopped.stderr.contains("background"), "{stopped}");
    assert!(is_nobody_at(&room.file("d.sock")), "a server is left\n{stopped}");
    Ok(())
}

fn is_nobody_at(path: &Path) -> bool {
    UnixStream::connect(path).is_err()
}

#[test]
fn the_real_nginx_does_not_slip_away() {
    check(&NGINX).unwrap_or_else(|skipped| eprintln!("{skipped}"));
}

#[test]
fn the_real_redis_does_not_slip_away() {
    check(&REDIS).unwrap_or_else(|skipped| eprintln!("{skipped}"));
}

#[test]
fn the_real_memcached_does_not_slip_away() {
    check(&MEMCACHED).unwrap_or_else(|skipped| eprintln!("{skipped}"));
}

#[test]
fn the_real_haproxy_does_not_slip_away() {
    check(&HAPROXY).unwrap_or_else(|skipped| eprintln!("{skipped}"));
}

#[test]
fn the_real_lighttpd_does_not_slip_away() {
    check(&LIGHTTPD).unwrap_or_else(|skipped| eprintln!("{skipped}"));
}

/// Listens at the port of its first argument, and goes into the background before or after that.
const DAEMON: &str = "import os, socket, sys, time\n\
    def away():\n  \
      if os.fork(): os._exit(0)\n  \
      os.setsid()\n  \
      if os.fork(): os._exit(0)\n\
    if sys.argv[2] == 'before': away()\n\
    s = socket.socket()\n\
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
    s.bind(('127.0.0.1', int(sys.argv[1])))\n\
    s.listen()\n\
    if sys.argv[2] == 'after': away()\n\
    if sys.argv[2] == 'late':\n  \
      print('up', flush=True); sys.stdin.readline(); away()\n\
    time.sleep(600)";

#[test]
fn a_program_that_goes_into_the_background_is_told_what_to_do() {
    let room = Room::new();
    let node = Node::start(&room);
    for (command, remedy) in [
        ("setsid -f sleep 600", "exec SERVER"),
        ("sleep 600 & exit 0", "`wait`"),
        ("setsid -f setsid -f sh -c 'sleep 600; true'", "exec SERVER"),
    ] {
        let brief = ["--grace", "200ms", "--", "sh", "-c", command];
        let register = [&["register", "daemon", "/unix/@daemon"][..], &brief].concat();
        node.callsign(&register).ends_with(SLIPPED_AWAY).says(&["in the background", remedy]);
    }
    let python = python();
    for when in ["before", "after"] {
        let (endpoint, port) = port();
        let words = ["register", when, &endpoint, "--", &python, "-c", DAEMON];
        let told = node.callsign(&[&words[..], &["{port}", when]].concat());
        told.ends_with(SLIPPED_AWAY).says(&["in the background", "--foreground"]);
        is_free(port);
    }
}

/// It was ready for a long time, and then its front process ends and the rest continues to serve.
#[test]
fn a_front_that_ends_before_what_serves_is_no_success() {
    let room = Room::new();
    let node = Node::start(&room);
    let python = python();
    let (endpoint, port) = port();
    let words = ["register", "late", &endpoint, "--", &python, "-c", DAEMON];
    let mut late = node.run(&[&words[..], &["{port}", "late"]].concat());
    late.line_with("up");
    node.callsign(&["wait", "late", "--timeout", "5m"]).succeeds();
    late.type_line("");
    late.outcome().ends_with(SLIPPED_AWAY).says(&["in the background"]);
    is_free(port);
}

/// Returns a port that only this test uses, and its endpoint.
fn port() -> (String, u16) {
    let port = free_port();
    (format!("/ip4/127.0.0.1/tcp/{port}"), port)
}

#[track_caller]
fn is_free(port: u16) {
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "something is left");
}

#[test]
fn a_successor_in_the_place_of_an_ended_program_is_reported() {
    let room = Room::new();
    let node = Node::start(&room);
    let (endpoint, port) = port();
    let other = TcpListener::bind(("127.0.0.1", port)).unwrap();
    // As `systemctl start` and `docker run --detach` do.
    let told = node.callsign(&["register", "web", &endpoint, "--", "true"]);
    let remedy = format!("callsign register web {endpoint}");
    told.ends_with(SLIPPED_AWAY).says(&["without having listened", &remedy]);
    drop(other);
    let told = node.callsign(&["register", "web", &endpoint, "--", "true"]).succeeds();
    told.says(&["never seen to listen"]);
    node.callsign(&["register", "web", &endpoint, "--", "false"]).ends_with(1);
}

#[test]
fn a_program_that_has_served_and_ended_has_not_slipped_away() {
    let room = Room::new();
    let node = Node::start(&room);
    let serves = "import socket, subprocess, sys\n\
        s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n\
        print('up', flush=True); sys.stdin.readline(); subprocess.Popen(['sleep', '600'])";
    let python = python();
    let endpoint = room.unix("s.sock");
    let words = ["register", "server", &endpoint, "--", &python, "-c", serves, "{path}"];
    let mut server = node.run(&words);
    server.line_with("up");
    node.callsign(&["wait", "server", "--timeout", "5m"]).succeeds();
    server.type_line("");
    server.outcome().succeeds().says(&["has left `sleep`", "is ended too"]);
    let check = |line: &str, code: i32| {
        let words = ["register", "server", &endpoint, "--", "sh", "-c", line];
        let told = node.callsign(&words).ends_with(code);
        assert!(!told.stderr.contains("background"), "{told}");
    };
    check("sleep 600 & exit 3", 3);
    let killed = ["register", "server", &endpoint, "--", "sh", "-c", "sleep 600 & kill -9 $$"];
    node.callsign(&killed).ends_by(9);
}
