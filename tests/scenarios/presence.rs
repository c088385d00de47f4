//! A server restarts, stops listening and listens again, and `register` follows its real state.

use std::{
    net::TcpListener,
    os::unix::{fs::symlink, net::UnixListener},
};

use rustix::process::{Signal, geteuid};
use serde_json::Value;

use crate::{
    harness::{Node, Room, Running, free_port},
    programs::python,
};

/// Binds as told, answers every connection with a word, and takes commands on its input.
pub(crate) const SERVER: &str = "\
import os, socket, sys, threading
def bind(place):
    if place.startswith('/'):
        if os.path.exists(place): os.unlink(place)
        s = socket.socket(socket.AF_UNIX); s.bind(place)
    elif place.startswith('@'):
        s = socket.socket(socket.AF_UNIX); s.bind('\\0' + place[1:])
    else:
        host, port = place.rsplit(':', 1)
        s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((host, int(port)))
    s.listen()
    threading.Thread(target=serve, args=(s,), daemon=True).start()
    return s
def serve(s):
    try:
        while True:
            c, _ = s.accept(); c.sendall(sys.argv[1].encode()); c.close()
    except OSError: pass
places = {place: bind(place) for place in sys.argv[2:]}
print('up', flush=True)
for line in sys.stdin:
    what, place = line.split()
    if what == 'close':
        places[place].shutdown(socket.SHUT_RDWR); places.pop(place).close()
    if what == 'bind': places[place] = bind(place)
    if what == 'again': os.execv(sys.executable, [sys.executable] + sys.orig_argv[1:])
    print('done', flush=True)
";

/// A place, as an endpoint and as [`SERVER`] takes it.
pub(crate) struct Place {
    pub(crate) endpoint: String,
    pub(crate) bound: String,
}

impl Place {
    pub(crate) fn path(room: &Room, name: &str) -> Self {
        Self { endpoint: room.unix(name), bound: room.file(name).display().to_string() }
    }

    pub(crate) fn name(room: &Room, name: &str) -> Self {
        let endpoint = room.abstract_unix(name);
        Self { bound: endpoint["/unix/".len()..].to_owned(), endpoint }
    }

    pub(crate) fn port(host: &str) -> Self {
        let port = free_port();
        let family = if host.contains(':') { "ip6" } else { "ip4" };
        Self { endpoint: format!("/{family}/{host}/tcp/{port}"), bound: format!("{host}:{port}") }
    }

    /// Starts a server that is not a child of this process.
    pub(crate) fn serve(&self, room: &Room, word: &str) -> Running {
        let mut command = room.other_command(&python());
        command.args(["-c", SERVER, word, &self.bound]);
        let mut running = Running::start(command);
        running.line_with("up");
        running
    }
}

/// Every kind of place that a server may listen at.
fn places(room: &Room) -> Vec<Place> {
    let mut places = vec![
        Place::port("127.0.0.1"),
        Place::path(room, "feed.sock"),
        Place::name(room, "feed"),
        Place::port("0.0.0.0"),
    ];
    // Some machines have no IPv6.
    if TcpListener::bind("[::1]:0").is_ok() {
        places.push(Place::port("::"));
    }
    places
}

/// Waits until watchers see an actor in a state.
#[track_caller]
fn until(watch: &mut Running, state: &str) {
    watch.json(state, |it| it["state"] == state);
}

#[track_caller]
fn watch(node: &Node<'_>, name: &str) -> Running {
    let mut watch = node.run(&["watch", name, "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");
    watch
}

#[test]
fn without_a_listener_nothing_is_ready() {
    let room = Room::new();
    let node = Node::start(&room);
    for (index, place) in places(&room).into_iter().enumerate() {
        let name = format!("late-{index}");
        let nobody = format!("nobody listens at {} yet", place.endpoint);
        let mut watch = watch(&node, &name);
        let mut registrant = node.run(&["register", &name, &place.endpoint]);
        registrant.says(&nobody);
        until(&mut watch, "starting");
        node.callsign(&["connect", &name]).ends_with(1);
        let _server = place.serve(&room, "the server");
        registrant.says(&format!("`{name}` is ready: "));
        until(&mut watch, "ready");
        node.callsign(&["connect", &name]).succeeds().prints(&["the server"]);
        registrant.stop();

        // With a lease, and with a vouched state, `register` is taken at its word.
        let elsewhere = Place::port("127.0.0.1").endpoint;
        let lease = ["register", "lease", &elsewhere, "--ttl", "10m"];
        let leased = node.callsign(&lease).succeeds();
        leased.says(&[&format!("nobody listens at {elsewhere} yet")]);
        let beside = Place::port("127.0.0.1").endpoint;
        let mut vouched = node.run(&["register", "vouched", &beside, "--state", "ready"]);
        vouched.line_with("registered");
        for name in ["lease", "vouched"] {
            let listed = node.callsign(&["ls", name, "--json"]).json();
            assert_eq!(listed[0]["state"], "ready", "{listed}");
        }
        let vouched = vouched.stop();
        assert!(!vouched.stderr.contains("nobody listens"), "{vouched}");
        node.callsign(&["unregister", "lease", "--all"]).succeeds();
    }
}

#[test]
fn a_server_that_restarts_is_the_actor_again() {
    let room = Room::new();
    let node = Node::start(&room);
    for (index, place) in places(&room).into_iter().enumerate() {
        let name = format!("feed-{index}");
        let first = place.serve(&room, "the first");
        let mut watch = watch(&node, &name);
        let mut registrant = node.run(&["register", &name, &place.endpoint]);
        registrant.line_with("registered");
        node.callsign(&["connect", &name]).succeeds().prints(&["the first"]);
        until(&mut watch, "ready");

        first.kill();
        until(&mut watch, "starting");
        node.callsign(&["connect", &name]).ends_with(1);
        registrant.says(&format!("`{name}` does not listen at {} any more", place.endpoint));
        let mut second = place.serve(&room, "the second");
        registrant.says(&format!("`{name}` listens at {} again, as process", place.endpoint));
        until(&mut watch, "ready");
        node.callsign(&["connect", &name]).succeeds().prints(&["the second"]);
        // It remained one instance.
        let listed = node.callsign(&["ls", &name, "--json"]).json();
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");

        // A process that re-executes itself keeps its number.
        second.type_line("again x");
        second.line_with("up");
        node.callsign(&["wait", &name, "--timeout", "5m"]).succeeds();
        registrant.stop();
        second.kill();
    }
}

#[test]
fn a_server_that_listens_beside_one_that_lives_is_its_successor_when_that_is_gone() {
    let room = Room::new();
    let node = Node::start(&room);
    let place = Place::path(&room, "feed.sock");
    let first = place.serve(&room, "the first");
    let mut registrant = node.run(&["register", "feed", &place.endpoint]);
    registrant.line_with("registered");
    node.callsign(&["connect", "feed"]).succeeds();
    let mut second = place.serve(&room, "the second");
    registrant.says(&format!("`feed` has lost {}", place.endpoint));
    node.callsign(&["connect", "feed"]).ends_with(1);
    first.kill();
    registrant.says(&format!("`feed` listens at {} again", place.endpoint));
    node.callsign(&["wait", "feed", "--timeout", "5m"]).succeeds();
    node.callsign(&["connect", "feed"]).succeeds().prints(&["the second"]);
    second.close_input();
}

#[test]
fn another_users_server_is_no_successor() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root");
        return;
    }
    let room = Room::new();
    let node = Node::start(&room);
    for place in [Place::port("127.0.0.1"), Place::name(&room, "feed")] {
        let first = place.serve(&room, "the first");
        let mut registrant = node.run(&["register", "feed", &place.endpoint]);
        registrant.line_with("registered");
        node.callsign(&["connect", "feed"]).succeeds();
        first.kill();
        registrant.says("does not listen");
        // It may no longer be able to read its own executable afterwards.
        let away = "import os, socket, sys, threading; os.setgid(65534); os.setuid(65534)";
        let server = format!("{away}\n{SERVER}");
        let mut command = room.other_command(&python());
        command.args(["-c", &server, "a stranger", &place.bound]);
        let mut stranger = Running::start(command);
        stranger.line_with("up");
        registrant.says(&format!("`feed` has lost {}", place.endpoint));
        registrant.says("its own server is taken for it again");
        node.callsign(&["connect", "feed"]).ends_with(1);
        stranger.kill();
        let _second = place.serve(&room, "its own");
        registrant.says(&format!("`feed` listens at {} again", place.endpoint));
        node.callsign(&["wait", "feed", "--timeout", "5m"]).succeeds();
        node.callsign(&["connect", "feed"]).succeeds().prints(&["its own"]);
        registrant.stop();
    }
}

#[test]
fn a_server_that_stops_listening_is_not_ready_until_it_listens_again() {
    let room = Room::new();
    let node = Node::start(&room);
    let check = |name: &str, place: &Place, has_command: bool| {
        let server = [&python()[..], "-c", SERVER, "it", &place.bound];
        let mut watch = watch(&node, name);
        let register = ["register", name, &place.endpoint];
        let (mut registrant, mut server) = if has_command {
            let words = [&register[..], &["--"], &server].concat();
            (node.run(&words), None)
        } else {
            let server = place.serve(&room, "it");
            (node.run(&register), Some(server))
        };
        until(&mut watch, "ready");
        node.callsign(&["connect", name]).succeeds().prints(&["it"]);
        let mut tell = |registrant: &mut Running, line: &str| match &mut server {
            Some(server) => server.type_line(line),
            None => registrant.type_line(line),
        };
        tell(&mut registrant, &format!("close {}", place.bound));
        until(&mut watch, "starting");
        registrant.says(&format!("`{name}` does not listen at {} any more", place.endpoint));
        node.callsign(&["find", name]).ends_with(1);
        tell(&mut registrant, &format!("bind {}", place.bound));
        until(&mut watch, "ready");
        registrant.says(&format!("`{name}` listens at {} again", place.endpoint));
        node.callsign(&["wait", name, "--timeout", "5m"]).succeeds();
        node.callsign(&["connect", name]).succeeds().prints(&["it"]);
    };
    check("by-port", &Place::port("127.0.0.1"), true);
    check("by-path", &Place::path(&room, "a.sock"), true);
    check("by-wildcard", &Place::port("0.0.0.0"), true);
    check("by-name", &Place::name(&room, "b"), false);
    check("alone", &Place::port("127.0.0.1"), false);
}

#[test]
fn each_of_several_endpoints_is_there_while_it_is_listened_at() {
    let room = Room::new();
    let node = Node::start(&room);
    let (one, other) = (Place::port("127.0.0.1"), Place::path(&room, "b.sock"));
    let mut watch = watch(&node, "feed");
    let register = ["register", "feed", &one.endpoint, &other.endpoint, "--"];
    let server = [&python()[..], "-c", SERVER, "it", &one.bound, &other.bound];
    let mut feed = node.run(&[&register[..], &server].concat());
    let mut endpoints = |expected: &[&Place]| {
        watch.json("its endpoints", |it| {
            let theirs = it["endpoints"].as_array().cloned().unwrap_or_default();
            let is_there =
                |place: &&Place| theirs.iter().any(|it: &Value| it["endpoint"] == place.endpoint);
            it["state"] == "ready"
                && theirs.len() == expected.len()
                && expected.iter().all(is_there)
        });
    };
    endpoints(&[&one, &other]);
    feed.type_line(&format!("close {}", one.bound));
    endpoints(&[&other]);
    feed.says(&format!("`feed` does not listen at {} any more", one.endpoint));
    feed.type_line(&format!("bind {}", one.bound));
    endpoints(&[&one, &other]);
    feed.says(&format!("`feed` listens at {} again", one.endpoint));
    feed.type_line(&format!("close {}", other.bound));
    endpoints(&[&one]);
    feed.says(&format!("`feed` does not listen at {} any more", other.endpoint));
}

/// A look in the gap of a restart once removed the lease for good.
#[test]
fn a_lease_outlives_the_restart_of_its_server() {
    let room = Room::new();
    let node = Node::start(&room);
    for place in [Place::port("127.0.0.1"), Place::name(&room, "clock")] {
        let first = place.serve(&room, "the first");
        let register = ["register", "clock", &place.endpoint, "--ttl", "10m", "--json"];
        let registered = node.callsign(&register).succeeds().json();
        let mut watch = watch(&node, "clock");
        first.kill();
        node.callsign(&["connect", "clock"]).ends_with(1);
        watch.json("a suspicion", |it| it["suspicion"].is_object());
        let _second = place.serve(&room, "the second");
        // The registrar notices by itself that somebody listens there again.
        watch.json("no suspicion", |it| it["change"] == "update" && it["suspicion"].is_null());
        node.callsign(&["connect", "clock"]).succeeds().prints(&["the second"]);
        let renewed = node.callsign(&register).succeeds().json();
        assert_eq!((&renewed["renewed"], &renewed["uuid"]), (&true.into(), &registered["uuid"]));
        node.callsign(&["unregister", "clock"]).succeeds();
    }
}

#[test]
fn a_server_may_have_two_names() {
    let room = Room::new();
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &["-v"]);
    let place = Place::port("127.0.0.1");
    let _server = place.serve(&room, "it");
    for kept in [&[][..], &["--ttl", "10m"]] {
        let register =
            |name: &str| node.run(&[&["register", name, &place.endpoint], kept].concat());
        let mut alpha = register("alpha");
        alpha.line_with("registered");
        let mut beta = register("beta");
        beta.says("`beta` is registered at the same endpoint as `alpha`");
        beta.line_with("registered");
        // The registrar looks into the claim, and it is right.
        for name in ["alpha", "beta"] {
            node.callsign(&["connect", name]).succeeds().prints(&["it"]);
            let listed = node.callsign(&["ls", name, "--json"]).succeeds().json();
            assert!(listed[0]["suspicion"].is_null(), "{listed}");
        }
        if !kept.is_empty() {
            alpha.outcome().succeeds();
            let mut again = register("alpha");
            again.line_with("renewed");
            again.outcome().succeeds();
            node.callsign(&["unregister", "alpha"]).succeeds();
            node.callsign(&["unregister", "beta"]).succeeds();
        }
    }
    node.stop().says(&["looked into", "why=Contested result=Answered"]);
}

#[test]
fn an_actor_that_is_starting_is_not_shown_where_nobody_listens() {
    let room = Room::new();
    let node = Node::start(&room);
    let path = room.file("late.sock").display().to_string();
    // Bound, and deaf.
    let code = format!(
        "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('{path}')\n\
         print('bound', flush=True); time.sleep(600)"
    );
    let python = python();
    let bound = [&python[..], "-c", &code];
    let idle = ["sh", "-c", "echo bound; exec sleep 600"];
    for (place, program) in [
        (format!("/ip4/127.0.0.1/tcp/{}", free_port()), &idle[..]),
        (room.abstract_unix("late"), &idle),
        (room.unix("late.sock"), &bound),
    ] {
        let mut late = node.run(&[&["register", "late", &place, "--"], program].concat());
        late.line_with("bound");
        let listed = node.callsign(&["ls", "late", "--json"]).succeeds().json();
        assert_eq!(listed[0]["state"], "starting", "{listed}");
        assert!(listed[0]["nearest"].is_null(), "{listed}");
        let left_out = &listed[0]["endpoints"][0]["left_out"]["kind"];
        let reasons = ["not-listening", "no-socket-stamp"];
        assert!(reasons.iter().any(|it| left_out == it), "{listed}");
        node.callsign(&["ls", "late"]).succeeds().prints(&["starting", "none: "]);
        let found = node.callsign(&["find", "late", "--all"]).succeeds();
        assert!(found.stdout.starts_with("none: "), "{found}");
        late.stop();
    }
    // It is there before the actor says that it is ready.
    let port = free_port();
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let place = format!("/ip4/127.0.0.1/tcp/{port}");
    node.callsign(&["register", "early", &place, "--state", "starting", "--ttl", "10m"]).succeeds();
    let listed = node.callsign(&["ls", "early", "--json"]).succeeds().json();
    assert_eq!((&listed[0]["state"], &listed[0]["nearest"]), (&"starting".into(), &place.into()));
}

#[test]
fn a_datagram_socket_of_a_program_is_told() {
    let room = Room::new();
    let node = Node::start(&room);
    let path = room.file("log.sock").display().to_string();
    let code = format!(
        "import socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         s.bind('{path}'); time.sleep(600)"
    );
    let program = [&python()[..], "-c", &code];
    let mut log =
        node.run(&[&["register", "log", &room.unix("log.sock"), "--"], &program[..]].concat());
    log.says("`log` does not answer yet");
    log.says("there is a datagram socket in its place");
}

#[test]
fn a_program_hears_the_signals_that_its_register_is_sent() {
    let room = Room::new();
    let node = Node::start(&room);
    let code = "import os, signal, time\n\
        for n in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGQUIT, signal.SIGHUP,\n\
                  signal.SIGWINCH, signal.SIGRTMIN + 3):\n  \
          signal.signal(n, lambda n, _: os.write(1, b'heard %d\\n' % n))\n\
        print('up', flush=True)\n\
        while True: time.sleep(600)";
    let program = [&python()[..], "-c", code];
    let mut x =
        node.run(&[&["register", "x", "/unix/nowhere/x.sock", "--"], &program[..]].concat());
    x.line_with("up");
    let named =
        [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::QUIT, Signal::HUP, Signal::WINCH];
    for signal in named {
        x.signal(signal);
        x.line_with(&format!("heard {}", signal.as_raw()));
    }
    let mut kill = room.other_command("kill");
    kill.args(["-s", "RTMIN+3", &x.pid().to_string()]);
    Running::start(kill).outcome().succeeds();
    x.line_with("heard 37");
    x.stop().ends_by(15);

    // Without a program, there is nobody who would replace them.
    let mut held = node.run(&["register", "held", "/unix/@held", "--state", "ready"]);
    held.line_with("registered");
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM] {
        held.signal(signal);
    }
    node.callsign(&["find", "held"]).succeeds();
    assert_eq!(held.stop_by(Signal::INT).signal, Some(2));
}

#[test]
fn a_command_in_quotes_is_explained() {
    let room = Room::new();
    let node = Node::start(&room);
    for command in ["python3 -m http.server {port}", "./serve --fast"] {
        let words = ["register", "web", "/ip4/127.0.0.1/tcp/0", "--", command];
        let hint = format!("leave out the quotes, as in: `-- {command}`");
        node.callsign(&words).ends_with(127).says(&["there is no command", &hint]);
    }
    let words = ["register", "web", "/unix/@web", "--", "no-such-program", "-m"];
    let ended = node.callsign(&words).ends_with(127);
    assert!(!ended.stderr.contains("quotes"), "{ended}");
}

#[test]
fn a_dead_socket_behind_a_link_is_removed() {
    let room = Room::new();
    let node = Node::start(&room);
    let (link, real) = (room.file("link.sock"), room.file("real.sock"));
    let endpoint = room.unix("link.sock");
    // `register` itself removes nothing.
    let server = SERVER.replace("os.unlink(place)", "pass");
    let bind = |name: &str, at: &std::path::Path| {
        let at = at.display().to_string();
        let program = [&python()[..], "-c", &server, "it", &at];
        node.run(&[&["register", name, &endpoint, "--"], &program[..]].concat())
    };
    drop(UnixListener::bind(&real).unwrap());
    symlink("real.sock", &link).unwrap();
    let mut feed = bind("feed", &link);
    feed.says("removed a dead socket");
    feed.says("removed a dead link");
    node.callsign(&["wait", "feed", "--timeout", "5m"]).succeeds();
    node.callsign(&["connect", "feed"]).succeeds().prints(&["it"]);
    feed.stop();

    // A dangling link is as much in the way.
    symlink("nowhere.sock", &link).unwrap();
    let mut feed = bind("feed", &link);
    feed.says("removed a dead link");
    node.callsign(&["wait", "feed", "--timeout", "5m"]).succeeds();
    feed.stop();

    // A link whose target the program takes is intended.
    drop(UnixListener::bind(&real).unwrap());
    symlink("real.sock", &link).unwrap();
    let mut feed = bind("feed", &real);
    feed.says("removed a dead socket");
    feed.line_with("up");
    assert!(link.is_symlink());
}

#[test]
fn undoing_a_drain_makes_nobody_listen() {
    let room = Room::new();
    let node = Node::start(&room);
    let state = || {
        let listed = node.callsign(&["ls", "web", "--all", "--json"]).json();
        listed[0]["state"].as_str().unwrap_or_default().to_owned()
    };
    let web = node.run(&["register", "web", &room.abstract_unix("web")]);
    while state() != "starting" {}
    node.callsign(&["drain", "web"]).succeeds();
    while state() != "draining" {}
    node.callsign(&["drain", "web", "--undo"]).succeeds();
    while state() != "starting" {}
    node.callsign(&["wait", "web", "--timeout", "10ms"]).ends_with(1);
    web.stop();
}
