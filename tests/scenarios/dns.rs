//! The DNS server, asked by resolvers that nobody here wrote.

#![expect(clippy::print_stderr, reason = "who runs a test reads what it says")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    process::Command,
};

use rustix::process::Signal;

use crate::harness::{LIMIT, Node, Room, Running};

/// Starts a node that answers DNS at a free port, with more settings.
#[track_caller]
fn start<'room>(room: &'room Room, more: &str) -> Node<'room> {
    let settings =
        format!("[registrar]\nsettle_time = \"0s\"\n[dns]\nlisten = \"127.0.0.1:0\"\n{more}");
    let settings = room.write("callsign.toml", &settings);
    Node::start_with(room, &[&room.unix("registrar.sock")], &["--config", &settings])
}

/// Asks by `dig`. `None` if there is none here.
#[track_caller]
pub(crate) fn dig(room: &Room, server: SocketAddr, words: &[&str]) -> Option<String> {
    let mut command = room.other_command("dig");
    command.args([format!("@{}", server.ip()), "-p".to_owned(), server.port().to_string()]);
    match command.args(words).output() {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(error) => {
            eprintln!("skipped: `dig` cannot be started: {error}");
            None
        }
    }
}

pub(crate) fn is_there(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|it| it.status.success())
}

/// Asks for short answers until they are as expected.
#[track_caller]
pub(crate) fn comes_to(room: &Room, server: SocketAddr, words: &[&str], expected: &[&str]) {
    let deadline = crate::harness::now() + LIMIT;
    loop {
        let said = dig(room, server, &[&["+short"], words].concat()).unwrap();
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        if lines == expected {
            return;
        }
        assert!(crate::harness::now() < deadline, "{words:?}: {said}");
    }
}

#[test]
fn an_actor_is_found_by_its_name_until_it_ends() {
    let room = Room::new();
    let node = start(&room, "");
    let server = node.dns();
    let Some(nobody) = dig(&room, server, &["feed.eurusd.callsign"]) else { return };
    assert!(nobody.contains("status: NXDOMAIN") && nobody.contains("SOA"), "{nobody}");

    let own = env!("CARGO_BIN_EXE_callsign");
    // A server at a free port, with a name of several labels.
    let program = [own, "registrar", "--listen", "{endpoint}"];
    let words = ["register", "feed.eurusd", "/ip4/127.0.0.1/tcp/0", "--"];
    let mut feed = node.run(&[&words[..], &program].concat());
    let listening = feed.line_with("listening on /ip4/127.0.0.1/tcp/");
    let port = listening.rsplit('/').next().unwrap();
    node.callsign(&["wait", "feed.eurusd", "--timeout", "60s"]).succeeds();

    comes_to(&room, server, &["feed.eurusd.callsign"], &["127.0.0.1"]);
    // Letters of either case are equal, over TCP too.
    comes_to(&room, server, &["+tcp", "FEED.eurusd.CALLSIGN", "A"], &["127.0.0.1"]);
    comes_to(&room, server, &["feed.eurusd.callsign", "AAAA"], &[]);
    let there = dig(&room, server, &["feed.eurusd.callsign", "AAAA"]).unwrap();
    assert!(there.contains("status: NOERROR") && there.contains("SOA"), "{there}");
    let listed = node.callsign(&["ls", "--json"]).json();
    let uuid = listed[0]["uuid"].as_str().unwrap();
    let host = format!("0.{uuid}.addr.callsign.");
    let service = format!("2 1 {port} {host}");
    for name in ["feed.eurusd.callsign", "_feed.eurusd._tcp.callsign"] {
        comes_to(&room, server, &[name, "SRV"], &[&service]);
    }
    let beside =
        dig(&room, server, &["_feed.eurusd._tcp.callsign", "SRV", "+noall", "+additional"]);
    assert!(beside.unwrap().contains(&host), "the address is beside it");
    comes_to(&room, server, &[&host], &["127.0.0.1"]);
    let multiaddr = format!("\"dnsaddr=/ip4/127.0.0.1/tcp/{port}\"");
    comes_to(&room, server, &["_dnsaddr.feed.eurusd.callsign", "TXT"], &[&multiaddr]);
    let resolve = ["resolve", "/dnsaddr/feed.eurusd.callsign", "--dns", &server.to_string()];
    let found = node.callsign(&[&resolve[..], &["--probe", "--json"]].concat()).succeeds().json();
    assert_eq!(found["source"], "dns");
    assert_eq!(found["candidates"][0]["endpoint"], format!("/ip4/127.0.0.1/tcp/{port}"));
    let types = ["_services._dns-sd._udp.callsign", "PTR"];
    comes_to(&room, server, &types, &["_feed.eurusd._tcp.callsign."]);
    let instance = format!("{uuid}._feed.eurusd._tcp.callsign.");
    comes_to(&room, server, &["_feed.eurusd._tcp.callsign", "PTR"], &[&instance]);
    comes_to(&room, server, &[&instance, "SRV"], &[&service]);

    // What is above it exists, though it has no records: a resolver would look no further down.
    for above in ["eurusd.callsign", "EURUSD._tcp.callsign", "_tcp.callsign", "addr.callsign"] {
        // It may be asked for a moment before that is seen.
        let deadline = crate::harness::now() + LIMIT;
        loop {
            let said = dig(&room, server, &[above]).unwrap();
            if said.contains("status: NOERROR") && said.contains("ANSWER: 0") {
                break;
            }
            assert!(crate::harness::now() < deadline, "{said}");
        }
    }
    for nothing in ["usd.callsign", "eurusd._udp.callsign", "x.eurusd.callsign"] {
        let nothing = dig(&room, server, &[nothing]).unwrap();
        assert!(nothing.contains("status: NXDOMAIN"), "{nothing}");
    }

    // What is not ready is not answered, though the name is there.
    node.callsign(&["drain", "feed.eurusd"]).succeeds();
    comes_to(&room, server, &["feed.eurusd.callsign"], &[]);
    let draining = dig(&room, server, &["feed.eurusd.callsign"]).unwrap();
    assert!(draining.contains("status: NOERROR"), "{draining}");
    feed.signal(Signal::KILL);
    let deadline = crate::harness::now() + LIMIT;
    while !dig(&room, server, &["feed.eurusd.callsign"]).unwrap().contains("status: NXDOMAIN") {
        assert!(crate::harness::now() < deadline, "it has not gone");
    }
    node.stop().succeeds();
}

#[test]
fn declared_actors_have_all_their_addresses() {
    let room = Room::new();
    let endpoints: Vec<_> = (1..=60).map(|it| format!("\"/ip4/192.0.2.{it}/tcp/80\"")).collect();
    let node = start(
        &room,
        &format!(
            "domain = \"actors.example\"\n[declared]\nmany = [{}]\n\
             Order_Book = [\"/dns/db.example/tcp/5432\", \"/ip6/2001:db8::7/tcp/80/tls\"]\n\
             near = \"/unix/run/near.sock\"\n",
            endpoints.join(", ")
        ),
    );
    let server = node.dns();
    // What does not fit is asked for again over TCP, which dig does by itself.
    let Some(services) = dig(&room, server, &["+short", "many.actors.example", "SRV"]) else {
        return;
    };
    assert!(services.starts_with(";; Truncated") || services.lines().count() == 60, "{services}");
    let cut = dig(&room, server, &["+ignore", "+noedns", "many.actors.example"]).unwrap();
    assert!(cut.contains("flags: qr aa tc rd;"), "{cut}");
    let fits = dig(&room, server, &["+ignore", "+short", "many.actors.example"]).unwrap();
    assert_eq!(fits.lines().count(), 60, "{fits}");
    // A name that is no label is escaped.
    let name = "_4frder_5f_42ook.actors.example";
    comes_to(&room, server, &[name, "AAAA"], &["2001:db8::7"]);
    let services = dig(&room, server, &["+short", name, "SRV"]).unwrap();
    assert!(services.contains("5432 db.example."), "{services}");
    // Nothing of it can be told by an address.
    let near = dig(&room, server, &["near.actors.example"]).unwrap();
    assert!(near.contains("status: NOERROR") && near.contains("ANSWER: 0"), "{near}");
    for (name, status) in [("order_book.actors.example", "NXDOMAIN"), ("example", "REFUSED")] {
        let said = dig(&room, server, &[name]).unwrap();
        assert!(said.contains(&format!("status: {status}")), "{said}");
    }
    node.stop().succeeds();
}

#[test]
fn a_hidden_name_is_in_no_answer() {
    let room = Room::new();
    let node = start(
        &room,
        "[names]\n\"db*\" = { find = [\"user:0\"] }\n\
         [declared]\ndb-main = \"/ip4/192.0.2.7/tcp/5432\"\nweb = \"/ip4/192.0.2.8/tcp/80\"\n",
    );
    let server = node.dns();
    let Some(hidden) = dig(&room, server, &["db-main.callsign"]) else { return };
    assert!(hidden.contains("status: NXDOMAIN"), "{hidden}");
    comes_to(&room, server, &["web.callsign"], &["192.0.2.8"]);
    comes_to(&room, server, &["_services._dns-sd._udp.callsign", "PTR"], &["_web._tcp.callsign."]);
    node.stop().succeeds();
}

#[test]
fn a_young_registrar_does_not_say_no() {
    let room = Room::new();
    let settings = "[dns]\nlisten = \"127.0.0.1:0\"\n\
                    [declared]\nweb = \"/ip4/192.0.2.8/tcp/80\"\n";
    let settings = room.write("callsign.toml", settings);
    let more = ["--config", &settings, "--settle-time", "1min"];
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &more);
    let Some(nobody) = dig(&room, node.dns(), &["feed.callsign"]) else { return };
    assert!(nobody.contains("status: SERVFAIL"), "{nobody}");
    comes_to(&room, node.dns(), &["web.callsign"], &["192.0.2.8"]);
    // That is so whatever returns: it has no other address.
    let other = dig(&room, node.dns(), &["web.callsign", "AAAA"]).unwrap();
    assert!(other.contains("status: NOERROR"), "{other}");
    node.stop().succeeds();

    let room = Room::new();
    let settings = room.write("callsign.toml", "[dns]\nlisten = \"127.0.0.1:0\"\n");
    let more = ["--config", &settings, "--settle-time", "1min"];
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &more);
    let types = ["_services._dns-sd._udp.callsign", "PTR"];
    let nobody = dig(&room, node.dns(), &types).unwrap();
    assert!(nobody.contains("status: SERVFAIL"), "{nobody}");
    // Nor does it say that no instance of a name is ready.
    let place = "/ip4/192.0.2.8/tcp/80";
    let mut late = node.run(&["register", "late", place, "--state", "starting"]);
    late.line_with("registered");
    comes_to(&room, node.dns(), &types, &["_late._tcp.callsign."]);
    for question in [["late.callsign", "A"], ["_late._tcp.callsign", "SRV"]] {
        let none_ready = dig(&room, node.dns(), &question).unwrap();
        assert!(none_ready.contains("status: SERVFAIL"), "{none_ready}");
    }
    node.stop().succeeds();
}

/// The resolver of the C library, through a resolv.conf, as every program uses it.
#[test]
fn programs_that_only_resolve_names_find_actors() {
    let room = Room::new();
    let resolv = room.write("resolv.conf", "nameserver 127.0.0.1\n");
    let nsswitch = room.write("nsswitch.conf", "hosts: files dns\n");
    let script = format!(
        "ip link set lo up && mount --bind {resolv} /etc/resolv.conf && \
         {{ ! test -e /etc/nsswitch.conf || mount --bind {nsswitch} /etc/nsswitch.conf; }} && \
         echo up && exec \"$@\""
    );
    let settings = "[registrar]\nsettle_time = \"0s\"\n[dns]\nlisten = \"127.0.0.1:53\"\n";
    let settings = room.write("callsign.toml", settings);
    let place = room.unix("registrar.sock");
    let mut command = room.other_command("unshare");
    command.args(["--net", "--mount", "sh", "-c", &script, "resolver"]);
    command.args([env!("CARGO_BIN_EXE_callsign"), "registrar", "--config", &settings]);
    command.args(["--listen", &place]);
    let mut node = Running::start(command);
    if node.line_or_end("up").is_none() || !is_there("python3") {
        eprintln!("skipped: there is no network namespace or no Python here");
        return;
    }
    node.line_with("answering DNS at 127.0.0.1:53");
    let inside = |words: &[&str]| {
        let mut command = room.other_command("nsenter");
        let pid = node.pid().to_string();
        command.args(["--target", &pid, "--net", "--mount"]).args(words);
        command
    };
    let own = env!("CARGO_BIN_EXE_callsign");
    let mut web = Running::start(inside(&[
        own,
        "--registrar",
        &place,
        "register",
        "web",
        "/ip4/127.0.0.1/tcp/0",
        "--",
        own,
        "registrar",
        "--listen",
        "{endpoint}",
    ]));
    web.line_with("listening on");
    let waited = inside(&[own, "--registrar", &place, "wait", "web", "--timeout", "60s"]);
    Running::start(waited).outcome().succeeds();
    let resolve = "import socket, sys; print(socket.getaddrinfo(sys.argv[1], 80)[0][4][0])";
    let asked = |name| Running::start(inside(&["python3", "-c", resolve, name])).outcome();
    asked("web.callsign").succeeds().prints(&["127.0.0.1"]);
    asked("nobody.callsign").ends_with(1).says(&["Name or service not known"]);
    web.stop();
    node.stop().succeeds();
}

#[test]
fn a_port_that_is_taken_is_said_with_its_setting() {
    let room = Room::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let settings = room.write("callsign.toml", &format!("[dns]\nlisten = \"{address}\"\n"));
    let place = room.unix("registrar.sock");
    let failed = room.callsign(&["registrar", "--config", &settings, "--listen", &place]);
    let port = address.port();
    let said =
        [&*format!("{address}"), "callsign.toml:2", &*format!("ss -lntup 'sport = :{port}'")];
    failed.ends_with(5).says(&said);
    assert!(!room.path().join("registrar.sock").exists(), "nothing is left");
}

/// Connections that ask nothing cost themselves alone.
#[test]
fn idle_connections_do_not_keep_others_out() {
    let room = Room::new();
    let node = start(&room, "[declared]\nweb = \"/ip4/192.0.2.8/tcp/80\"\n");
    let server = node.dns();
    let idle: Vec<_> = (0..300).map(|_| TcpStream::connect(server).unwrap()).collect();
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend_from_slice(b"\x03web\x08callsign\0\0\x01\0\x01");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.send_to(&question, server).unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(answer[length - 4..length], [192, 0, 2, 8]);
    // One that is cut in the middle of a question is over, and leaves a place.
    drop(idle);
    let mut half = TcpStream::connect(server).unwrap();
    half.write_all(&[0, 60, 0]).unwrap();
    drop(half);
    let deadline = crate::harness::now() + LIMIT;
    let asked = loop {
        let mut stream = TcpStream::connect(server).unwrap();
        let framed = [&(question.len() as u16).to_be_bytes()[..], &question].concat();
        let mut length = [0; 2];
        let asked = stream.write_all(&framed).and_then(|()| stream.read_exact(&mut length));
        if asked.is_ok() || crate::harness::now() > deadline {
            break asked;
        }
    };
    asked.unwrap();
    node.stop().succeeds();
}
