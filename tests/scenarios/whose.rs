//! The listener is part of an actor's identity, and checking it disturbs nobody.

use std::{
    net::TcpListener,
    os::unix::net::{UnixDatagram, UnixListener},
};

use crate::{
    harness::{Node, Room, Running, free_port},
    programs::python,
};

#[test]
fn a_server_that_takes_one_connection_keeps_it_for_its_caller() {
    let room = Room::new();
    let node = Node::start(&room);
    let check = |name: &str, endpoint: &str, bind: &str| {
        let code = format!(
            "import socket\n{bind}\ns.listen()\nc, _ = s.accept()\nc.sendall(b'once')\nc.close()"
        );
        let program = [&python()[..], "-c", &code];
        let once = node.run(&[&["register", name, endpoint, "--"], &program[..]].concat());
        node.callsign(&["wait", name, "--timeout", "5m"]).succeeds().prints(&[endpoint]);
        node.callsign(&["connect", name]).succeeds().prints(&["once"]);
        once.outcome().succeeds();
    };
    let path = room.file("once.sock").display().to_string();
    let at_path = format!("s = socket.socket(socket.AF_UNIX); s.bind('{path}')");
    check("by-path", &room.unix("once.sock"), &at_path);
    let name = room.abstract_unix("once");
    let at_name = format!("s = socket.socket(socket.AF_UNIX); s.bind('\\0{}')", &name[7..]);
    check("by-name", &name, &at_name);
    let port = free_port();
    let at_port = format!("s = socket.socket(); s.bind(('127.0.0.1', {port}))");
    check("by-port", &format!("/ip4/127.0.0.1/tcp/{port}"), &at_port);
}

#[test]
fn a_program_is_not_ready_because_somebody_else_listens_in_its_place() {
    let room = Room::new();
    let node = Node::start(&room);
    let _other = UnixListener::bind(room.file("other.sock")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let by_port = format!("/ip4/127.0.0.1/tcp/{}", port.local_addr().unwrap().port());
    for (name, endpoint) in [("by-path", &room.unix("other.sock")), ("by-port", &by_port)] {
        let mut mine = node.run(&["register", name, endpoint, "--", "sleep", "600"]);
        mine.says("does not answer yet");
        mine.says(&format!("process {}", std::process::id()));
        node.callsign(&["find", name]).ends_with(1);
        node.callsign(&["connect", name]).ends_with(1);
    }
}

#[test]
fn a_program_that_listens_elsewhere_is_told_where() {
    let room = Room::new();
    let node = Node::start(&room);
    // Most servers take `@name` for a file in their working directory.
    let code = "import os, socket, sys\nos.chdir(sys.argv[1])\n\
        u = socket.socket(socket.AF_UNIX); u.bind('@feed'); u.listen()\n\
        t = socket.socket(); t.bind(('127.0.0.1', 0)); t.listen()\n\
        print(t.getsockname()[1], flush=True)\nimport signal; signal.pause()";
    let folder = room.file("").display().to_string();
    let program = [&python()[..], "-c", code, &folder];
    let name = room.abstract_unix("feed");
    let mut mine = node.run(&[&["register", "feed", &name, "--"], &program[..]].concat());
    mine.says("does not answer yet");
    mine.says("its program listens elsewhere:");
    mine.says(&room.unix("@feed"));
}

/// Listens at the given places: `tcp`, `udp` or `name`, and a port or name.
const BEYOND: &str = "\
import signal, socket, sys
kind, place = sys.argv[1:]
s = socket.socket(
    socket.AF_UNIX if kind == 'name' else socket.AF_INET,
    socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM)
s.bind('\\0' + place if kind == 'name' else ('127.0.0.1', int(place)))
if kind != 'udp': s.listen()
signal.pause()
";

#[test]
fn a_program_that_nobody_reaches_from_here_is_told_why() {
    let room = Room::new();
    let node = Node::start(&room);
    let python = python();
    let port = free_port().to_string();
    let at_port = format!("/ip4/127.0.0.1/tcp/{port}");
    let name = room.abstract_unix("beyond");
    let bare = name.strip_prefix("/unix/@").unwrap();
    let mut unshare = room.other_command("unshare");
    unshare.args(["--net", "ip", "link", "set", "lo", "up"]);
    let can_unshare = Running::start(unshare).outcome().code == Some(0);
    if !can_unshare {
        eprintln!("skipped in part: no network namespace can be made here");
    }
    let script = "ip link set lo up; exec \"$@\"";
    let own = ["unshare", "--net", "sh", "-c", script, "sh"];
    let other = "listens there, in a network namespace of its own; let it listen at a socket path";
    // All of them together, because it takes ten seconds until that is said.
    let mut all = Vec::new();
    for (endpoint, own, kind, place, why) in [
        (&at_port, &own[..], "tcp", &*port, other),
        (&name, &own[..], "name", bare, other),
        (&at_port, &[][..], "udp", &*port, "takes datagrams at that port (UDP)"),
    ] {
        if !own.is_empty() && !can_unshare {
            continue;
        }
        let program = [own, &[&*python, "-c", BEYOND, kind, place]].concat();
        all.push((node.run(&[&["register", kind, endpoint, "--"], &program[..]].concat()), why));
    }
    for (mut mine, why) in all {
        mine.says("nobody listens there");
        mine.says(why);
        mine.stop();
    }
}

#[test]
fn a_program_in_the_place_of_an_actor_is_not_taken_for_it() {
    let room = Room::new();
    let node = Node::start(&room);
    let path = room.file("feed.sock");
    let check = |name: &str, endpoint: &str, take: &dyn Fn() -> Box<dyn std::any::Any>| {
        let first = listen_elsewhere(&room, endpoint);
        let mut registrant = node.run(&["register", name, endpoint]);
        registrant.line_with("registered");
        node.callsign(&["find", name]).succeeds();
        first.kill();
        let second = take();
        registrant.says(&format!("`{name}` has lost {endpoint}"));
        node.callsign(&["wait", name, "--timeout", "1ms"]).ends_with(1);
        node.callsign(&["connect", name]).ends_with(1);
        drop(second);
    };
    let take_path = || -> Box<dyn std::any::Any> {
        std::fs::remove_file(&path).unwrap();
        Box::new(UnixListener::bind(&path).unwrap())
    };
    check("by-path", &room.unix("feed.sock"), &take_path);
    let port = free_port();
    let take_port =
        || -> Box<dyn std::any::Any> { Box::new(TcpListener::bind(("127.0.0.1", port)).unwrap()) };
    check("by-port", &format!("/ip4/127.0.0.1/tcp/{port}"), &take_port);
}

#[test]
fn a_program_that_listens_anew_and_hands_its_socket_to_a_worker_is_the_same_actor() {
    let room = Room::new();
    let node = Node::start(&room);
    let path = room.file("feed.sock").display().to_string();
    // The first worker ends; the second is a grandchild that binds the path again.
    let code = format!(
        "import os, socket, sys\n\
         def work(text):\n\
         \x20s = socket.socket(socket.AF_UNIX); s.bind('{path}'); s.listen()\n\
         \x20c, _ = s.accept(); c.sendall(text); c.close(); os.unlink('{path}')\n\
         pid = os.fork()\n\
         if pid == 0: work(b'first'); os._exit(0)\n\
         os.waitpid(pid, 0)\n\
         pid = os.fork()\n\
         if pid == 0:\n\
         \x20if os.fork() == 0: work(b'second'); os._exit(0)\n\
         \x20os.wait(); os._exit(0)\n\
         os.waitpid(pid, 0)\n"
    );
    let program = [&python()[..], "-c", &code];
    let endpoint = room.unix("feed.sock");
    let feed = node.run(&[&["register", "feed", &endpoint, "--"], &program[..]].concat());
    node.callsign(&["wait", "feed", "--timeout", "5m"]).succeeds();
    node.callsign(&["connect", "feed"]).succeeds().prints(&["first"]);
    // It is within reach again once the new socket is stamped.
    loop {
        let asked = node.callsign(&["connect", "feed"]);
        if asked.stdout.contains("second") {
            break;
        }
    }
    feed.outcome().succeeds();
}

#[test]
fn a_socket_that_takes_no_connections_is_refused() {
    let room = Room::new();
    let node = Node::start(&room);
    let _log = UnixDatagram::bind(room.file("log.sock")).unwrap();
    let endpoint = room.unix("log.sock");
    for kept in [&[][..], &["--ttl", "1m"]] {
        let words = [&["register", "log", &endpoint], kept].concat();
        node.callsign(&words).ends_with(2).says(&["datagram", "stream sockets"]);
    }
}

#[test]
fn a_wildcard_means_what_the_kernel_shows() {
    let room = Room::new();
    let node = Node::start(&room);
    let check = |name: &str, is_ipv6_only: bool| {
        let port = free_port();
        let code = format!(
            "import socket, time; s = socket.socket(socket.AF_INET6)\n\
             s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, {})\n\
             s.bind(('::', {port})); s.listen(); time.sleep(600)",
            i32::from(is_ipv6_only)
        );
        let program = [&python()[..], "-c", &code];
        let endpoint = format!("/ip6/::/tcp/{port}");
        let _web = node.run(&[&["register", name, &endpoint, "--"], &program[..]].concat());
        node.callsign(&["wait", name, "--timeout", "5m"]).succeeds();
        // Addresses that come and go, as other tests do it, may take another look.
        let has_all = |it: &str| it.contains("/ip6/::1/") && (is_ipv6_only || it.contains("/ip4/"));
        let mut found = node.callsign(&["ls", name, "--json"]).stdout;
        while !has_all(&found) {
            println!("not yet all: {found}");
            found = node.callsign(&["ls", name, "--json"]).stdout;
        }
        assert_eq!(found.contains("/ip4/"), !is_ipv6_only, "{found}");
    };
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    check("alone", true);
    check("both", false);
}

/// Starts another process that listens at an endpoint, and waits until it does.
fn listen_elsewhere(room: &Room, endpoint: &str) -> Running {
    let bind = match endpoint.strip_prefix("/unix") {
        Some(path) => format!("s = socket.socket(socket.AF_UNIX); s.bind('{path}')"),
        None => {
            let port = endpoint.rsplit('/').next().unwrap();
            format!("s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('127.0.0.1', {port}))")
        }
    };
    let code = format!(
        "import socket, time\n{bind}\ns.listen(); print('listens', flush=True); time.sleep(600)"
    );
    let mut command = room.other_command(&python());
    command.args(["-c", &code]);
    let mut running = Running::start(command);
    running.line_with("listens");
    running
}
