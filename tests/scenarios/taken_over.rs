//! Servers take over a place from a living one in several ways. The name of the former never leads
//! to the new one.

use std::fs;

use super::programs::python;
use crate::harness::{Node, Room, Running, free_port};

/// Answers every connection with a word. The code before it makes the socket `s`.
const SERVE: &str = "\nimport sys\n\
    print('up', flush=True)\n\
    while True:\n  \
      c, _ = s.accept()\n  \
      c.sendall(sys.argv[1].encode())\n  \
      c.close()\n";

/// As redis, uvicorn and gunicorn do: they remove whatever is in the way.
const UNLINKS: &str = "import os, socket\n\
    if os.path.exists(PLACE): os.unlink(PLACE)\n\
    s = socket.socket(socket.AF_UNIX); s.bind(PLACE); s.listen()";

/// As haproxy does: it binds beside it, and moves the socket into its place.
const RENAMES: &str = "import os, socket\n\
    s = socket.socket(socket.AF_UNIX); s.bind(PLACE + '.new'); s.listen()\n\
    os.rename(PLACE + '.new', PLACE)";

/// As grpc does by default, and nginx and haproxy at a reload: both listen, and the kernel chooses.
const SHARES: &str = "import socket\n\
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n\
    s.bind(('127.0.0.1', PLACE)); s.listen()";

/// As servers with workers do: the listener is not the process that was started.
const FORKS: &str = "import os, socket\n\
    if os.path.exists(PLACE): os.unlink(PLACE)\n\
    s = socket.socket(socket.AF_UNIX); s.bind(PLACE); s.listen()\n\
    if os.fork(): s.close(); os.wait()";

#[test]
fn a_server_that_takes_over_a_live_place_is_not_reached_by_the_former_name() {
    let room = Room::new();
    let node = Node::start(&room);
    let python = python();
    let (file, endpoint) = (room.file("p.sock"), room.unix("p.sock"));
    let path = format!("{:?}", file.display().to_string());
    let port = free_port();
    let by_port = format!("/ip4/127.0.0.1/tcp/{port}");
    let check = |endpoint: &str, place: &str, first: &str, second: &str, is_registered: bool| {
        let program = |code: &str| code.replace("PLACE", place) + SERVE;
        let (first, second) = (program(first), program(second));
        let alpha = [&python, "-c", &first, "the first"];
        let mut alpha = node.run(&[&["register", "alpha", endpoint, "--"], &alpha[..]].concat());
        node.callsign(&["wait", "alpha", "--timeout", "5m"]).succeeds();
        node.callsign(&["connect", "alpha"]).succeeds().prints(&["the first"]);

        let beta = [&python, "-c", &second, "the second"];
        let mut beta = if is_registered {
            node.run(&[&["register", "beta", endpoint, "--"], &beta[..]].concat())
        } else {
            let mut command = room.other_command(beta[0]);
            command.args(&beta[1..]);
            Running::start(command)
        };
        beta.line_with("up");
        alpha.says(&format!("`alpha` has lost {endpoint}"));
        for _again in 0..8 {
            let asked = node.callsign(&["connect", "alpha"]).ends_with(1);
            assert!(!asked.stdout.contains("second"), "{asked}");
        }
        beta.kill();
        alpha.kill();
        // A killed one leaves its socket behind.
        drop(fs::remove_file(&file));
    };
    check(&endpoint, &path, UNLINKS, UNLINKS, false);
    check(&endpoint, &path, UNLINKS, RENAMES, true);
    check(&endpoint, &path, FORKS, UNLINKS, true);
    check(&endpoint, &path, RENAMES, FORKS, true);
    let port = port.to_string();
    check(&by_port, &port, SHARES, SHARES, false);
    check(&by_port, &port, SHARES, SHARES, true);
}

#[test]
fn a_program_that_shares_the_port_beforehand_is_not_taken_for_the_actor() {
    let room = Room::new();
    let node = Node::start(&room);
    let python = python();
    let port = free_port();
    let program = SHARES.replace("PLACE", &port.to_string()) + SERVE;
    let mut stranger = room.other_command(&python);
    stranger.args(["-c", &program, "a stranger"]);
    let mut stranger = Running::start(stranger);
    stranger.line_with("up");

    let by_port = format!("/ip4/127.0.0.1/tcp/{port}");
    let own = ["register", "web", &by_port, "--", &python, "-c", &program, "its own"];
    let mut web = node.run(&own);
    web.line_with("up");
    web.says("does not answer yet");
    node.callsign(&["find", "web"]).ends_with(1);
    stranger.kill();
    node.callsign(&["wait", "web", "--timeout", "5m"]).succeeds();
    node.callsign(&["connect", "web"]).succeeds().prints(&["its own"]);
    web.stop();
}

/// Keeps workers that each bind the port, and has no socket itself. It does what it reads.
const MASTER: &str = "import os, signal, socket, sys\n\
def work(number):\n  \
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n  \
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n  \
    s.bind(('127.0.0.1', PLACE)); s.listen(); os.write(number, b'x')\n  \
    while True:\n    \
      c, _ = s.accept(); c.sendall(b'a worker'); c.close()\n\
def start():\n  \
    r, w = os.pipe(); pid = os.fork()\n  \
    if pid == 0: work(w)\n  \
    os.read(r, 1); return pid\n\
def end(pid):\n  \
    os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)\n\
workers = [start() for _ in range(COUNT)]\n\
print('up', flush=True)\n\
for line in sys.stdin:\n  \
    old = workers\n  \
    if 'close' in line: workers = []\n  \
    else: workers = [start() for _ in range(COUNT)]\n  \
    if 'add' in line: workers += old\n  \
    else: [end(it) for it in old]\n  \
    print('done', flush=True)\n\
[end(it) for it in workers]\n";

#[test]
fn workers_that_take_turns_at_a_port_are_one_server() {
    let room = Room::new();
    let node = Node::start(&room);
    for count in [2, 1] {
        take_turns(&room, &node, count);
    }
}

/// Registers a server of so many workers, of which one may be all that is seen at first.
fn take_turns(room: &Room, node: &Node<'_>, count: u32) {
    let port = free_port();
    let mut master = room.other_command(&python());
    let code = MASTER.replace("PLACE", &port.to_string());
    master.args(["-c", &code.replace("COUNT", &count.to_string())]);
    let mut master = Running::start(master);
    master.line_with("up");
    let mut tell = |line: &str| {
        master.type_line(line);
        master.line_with("done");
    };
    let mut web = node.run(&["register", "web", &format!("/ip4/127.0.0.1/tcp/{port}")]);
    let reach = || {
        node.callsign(&["wait", "web", "--timeout", "5m"]).succeeds();
        node.callsign(&["connect", "web"]).succeeds().prints(&["a worker"]);
    };
    reach();
    for _reload in 0..8 {
        tell("add");
        reach();
        tell("reload");
        reach();
    }
    tell("close");
    web.says("does not listen at");
    tell("open");
    reach();
    let said = web.stop();
    assert!(!said.stderr.contains("has lost"), "{said}");
    assert!(!said.stderr.contains("as process"), "{said}");
    master.close_input();
    master.outcome().succeeds();
}

#[test]
fn a_server_stays_ready_while_its_successor_listens_beside_it() {
    let room = Room::new();
    let node = Node::start(&room);
    let port = free_port();
    let program = SHARES.replace("PLACE", &port.to_string()) + SERVE;
    let start = |python: &str, said: &str| {
        let mut command = room.other_command(python);
        command.args(["-c", &program, said]);
        let mut running = Running::start(command);
        running.line_with("up");
        running
    };
    let former = start(&python(), "a former");
    let mut web = node.run(&["register", "web", &format!("/ip4/127.0.0.1/tcp/{port}")]);
    let mut watch = node.run(&["watch", "web", "--json"]);
    watch.json("it is ready", |it| it["state"] == "ready");
    let successor = start(&python(), "a successor");
    // Longer than the time between two looks.
    for _again in 0..40 {
        node.callsign(&["connect", "web"]).succeeds();
    }
    former.kill();
    node.callsign(&["connect", "web"]).succeeds().prints(&["a successor"]);

    // Of another program, by the name that tells one from another.
    let other = room.file("other");
    let mut itself = room.other_command(&python());
    itself.args(["-c", "import os, sys; print(os.path.realpath(sys.executable))"]);
    fs::copy(Running::start(itself).outcome().succeeds().stdout.trim(), &other).unwrap();
    let stranger = start(&other.display().to_string(), "a stranger");
    web.says("has lost");
    stranger.kill();
    node.callsign(&["wait", "web", "--timeout", "5m"]).succeeds();
    node.callsign(&["connect", "web"]).succeeds().prints(&["a successor"]);
    successor.kill();
    let said = web.stop();
    assert_eq!(said.stderr.matches("has lost").count(), 1, "{said}");
}

/// A port is free for every user as soon as its server ends.
#[test]
fn another_users_server_at_the_port_of_a_lease_is_not_reached_by_its_name() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: it takes root to be other users");
        return;
    }
    let room = Room::new();
    let settings = room.write(
        "node.toml",
        &format!(
            "[registrar]\nsettle_time = \"0s\"\n[dns]\nlisten = \"127.0.0.1:0\"\n\
             [http]\nlisten = \"{}\"\n",
            room.unix("http.sock")
        ),
    );
    let node = Node::start_with(&room, &[&room.unix("r.sock")], &["--config", &settings]);
    let python = python();
    let serve = |user: &str, code: &str| {
        let mut command = room.other_command(&python);
        // It may no longer be able to read its own library afterwards.
        let away = format!("import os, socket, sys; os.setgid({user}); os.setuid({user})");
        command.args(["-c", &format!("{away}\n{code}{SERVE}"), "the server"]);
        let mut server = Running::start(command);
        server.line_with("up");
        server
    };
    let name = room.abstract_unix("lease");
    // What the doors say follows a moment later.
    let by_http = |kind: &str, is_found: bool| {
        let paths =
            ["/v1/actors".to_owned(), format!("/v1/actors/{kind}"), format!("/v1/resolve/{kind}")];
        for path in paths.iter().filter(|_| crate::http::has_curl()) {
            loop {
                let curl = crate::http::curl(&room, &[], path);
                let told = Running::start(curl).outcome().succeeds().json();
                let first = told.get("candidates").unwrap_or(&told);
                let place = if first == &told { &first[0]["endpoints"][0] } else { &first[0] };
                let (locality, left_out) = (&place["locality"], &place["left_out"]["kind"]);
                assert!(locality.is_null() != left_out.is_null(), "{told}");
                if locality.is_null() != is_found {
                    assert!(is_found || left_out == "other-user", "{told}");
                    break;
                }
            }
        }
    };
    let by_dns = |kind: &str, is_found: bool| {
        if crate::dns::is_there("dig") && kind != "name" {
            let expected: &[&str] = if is_found { &["127.0.0.1"] } else { &[] };
            crate::dns::comes_to(&room, node.dns(), &[&format!("{kind}.callsign")], expected);
        }
    };
    let check = |kind: &str, endpoint: &str, code: &str| {
        let register = ["register", kind, endpoint, "--ttl", "10m", "--state", "ready"];
        let own = serve("4001", code);
        if kind == "http" {
            let body = format!(
                "{{\"name\": \"http\", \"endpoints\": [\"{endpoint}\"], \"ttl_ms\": 600000}}"
            );
            let path = "/v1/instances/7d444840-9dc0-11d1-b245-5ffdce74fad2";
            let curl = crate::http::curl(&room, &["-X", "PUT", "--data", &body], path);
            Running::start(curl).outcome().succeeds();
        } else {
            node.callsign(&register).succeeds();
        }
        node.callsign(&["connect", kind]).succeeds().prints(&["the server"]);
        by_http(kind, true);
        by_dns(kind, true);
        own.kill();
        let other = serve("4002", code);
        by_http(kind, false);
        by_dns(kind, false);
        let asked = node.callsign(&["connect", kind]).ends_with(1);
        assert!(!asked.stdout.contains("server"), "{asked}");
        node.callsign(&["find", kind]).ends_with(1).says(&["user 4002"]);
        node.callsign(&["wait", kind, "--timeout", "300ms"]).ends_with(1);
        let resolved = node.callsign(&["resolve", kind, "--explain"]).ends_with(1);
        resolved.prints(&["left out", "user 4002"]);
        let renewed = node.callsign(&["renew", kind]).succeeds();
        renewed.says(&["a program of user 4002 listens", "user 4001's", "unregister"]);
        // Nor does the same command take the other server for its own.
        if kind != "http" {
            node.callsign(&register).succeeds().prints(&["renewed"]).says(&["user 4002"]);
        }
        node.callsign(&["connect", kind]).ends_with(1);
        other.kill();
        // Its own server, or root's, is again.
        for user in ["4001", "0"] {
            let own = serve(user, code);
            node.callsign(&["connect", kind]).succeeds().prints(&["the server"]);
            by_http(kind, true);
            own.kill();
        }
        node.callsign(&["unregister", kind]).succeeds();
    };
    let at_port = |port: u16| {
        let code = format!(
            "import socket\ns = socket.socket()\n\
             s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
             s.bind(('127.0.0.1', {port})); s.listen()"
        );
        (format!("/ip4/127.0.0.1/tcp/{port}"), code)
    };
    let (endpoint, code) = at_port(free_port());
    check("port", &endpoint, &code);
    if crate::http::has_curl() {
        let (endpoint, code) = at_port(free_port());
        check("http", &endpoint, &code);
    }
    let text = name.strip_prefix("/unix/@").unwrap();
    let code = format!("import socket\ns = socket.socket(1); s.bind('\\0{text}'); s.listen()");
    check("name", &name, &code);
    node.stop().succeeds();
}

/// The kernel is asked four times in a second who listens at the place of an actor, and callers look for
/// themselves in between.
#[test]
fn another_users_server_is_not_reached_between_two_looks_at_the_actor() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: it takes root to be other users");
        return;
    }
    let room = Room::new();
    let node = Node::start(&room);
    let python = python();
    let port = free_port();
    let endpoint = format!("/ip4/127.0.0.1/tcp/{port}");
    let code = format!(
        "import os, socket, sys; os.setgid(USER); os.setuid(USER)\ns = socket.socket()\n\
         s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
         s.bind(('127.0.0.1', {port})); s.listen(){SERVE}"
    );
    let serve = |user: &str| {
        let mut command = room.other_command(&python);
        command.args(["-c", &code.replace("USER", user), "the server"]);
        let mut server = Running::start(command);
        server.line_with("up");
        server
    };
    let own = serve("0");
    let actor = node.run(&["register", "web", &endpoint]);
    node.callsign(&["wait", "web", "--timeout", "5m"]).succeeds();
    let found = node.callsign(&["find", "web", "--json"]).json();
    assert_eq!(found["endpoints"][0]["stamp"]["user"], 0, "{found}");
    own.kill();
    let other = serve("4002");
    let asked = node.callsign(&["connect", "web"]).ends_with(1);
    assert!(!asked.stdout.contains("server"), "{asked}");
    other.kill();
    let _again = serve("0");
    node.callsign(&["wait", "web", "--timeout", "5m"]).succeeds();
    node.callsign(&["connect", "web"]).succeeds().prints(&["the server"]);
    actor.stop();
}
