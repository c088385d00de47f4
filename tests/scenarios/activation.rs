//! A registrar that a service manager starts with sockets.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    os::unix::{
        fs::MetadataExt,
        net::{UnixListener, UnixStream},
    },
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    harness::{LIMIT, Node, Room, Running, free_port},
    programs::python,
};

/// Returns the service manager of these tests, which makes sockets and hands them to `callsign …`.
fn manager(room: &Room, sockets: &[&str], args: &[&str]) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/scenarios/activate.py");
    let mut command = room.other_command(&python());
    command.arg(script).args(sockets).arg("--");
    command.arg(env!("CARGO_BIN_EXE_callsign")).args(args);
    command
}

/// Makes a service manager start its program once, and returns its messages.
fn run_once(mut command: Command, variables: &[(&str, &str)]) -> (String, Running) {
    command.envs(variables.iter().copied());
    let mut manager = Running::start(command).write("start\n");
    manager.close_input();
    (manager.line_with("ended"), manager)
}

#[test]
fn sockets_handed_over_are_served_and_left_in_place() {
    let room = Room::new();
    let place = room.unix("r.sock");
    let socket = format!("unix:{}", room.file("r.sock").display());
    let other = room.unix("other.sock");
    // One of the listed endpoints is handed over, the other is not.
    let args = ["registrar", "--listen", &other, "--listen", &place, "--json", "--insecure"];
    let mut manager = Running::start(manager(&room, &[&socket, "any"], &args));
    let port = manager.line_with("port");
    let port: u16 = port.trim_start_matches("port ").parse().unwrap();
    manager.line_with("bound");
    let made = fs::metadata(room.file("r.sock")).unwrap();

    // An early client waits, and is served.
    let mut early = room.run(&["watch", "--json", "--registrar", &place]);
    for _ in 0..2 {
        manager.type_line("start");
        let mut endpoints = Vec::new();
        for _ in 0..3 {
            let said = manager.json("a place", |it| it["event"] == "listening");
            endpoints.push(said["endpoint"].as_str().unwrap().to_owned());
        }
        assert_eq!(endpoints, [place.clone(), format!("/ip6/::/tcp/{port}"), other.clone()]);
        early.json("the end of the snapshot", |it| it["change"] == "synced");
        let by_port = format!("/ip4/127.0.0.1/tcp/{port}");
        for registrar in [&place, &other, &by_port] {
            room.callsign(&["status", "--registrar", registrar]).succeeds();
        }
        assert!(!room.file("r.sock.lock").exists(), "the path is the service manager's");

        let own = format!("/proc/{0}/task/{0}/children", manager.pid());
        let child = fs::read_to_string(own).unwrap();
        let child = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
        kill_process(child, Signal::TERM).unwrap();
        manager.line_with("ended -15");
        let left = fs::metadata(room.file("r.sock")).unwrap();
        assert_eq!((left.ino(), left.ctime_nsec()), (made.ino(), made.ctime_nsec()));
        assert!(!room.file("other.sock").exists(), "what it bound itself is gone");
    }
}

#[test]
fn without_listed_endpoints_only_handed_over_sockets_are_served() {
    let room = Room::new();
    let socket = format!("unix:{}=registrar", room.file("r.sock").display());
    let command = manager(&room, &[&socket], &["registrar", "--socket-mode", "0666"]);
    let mut manager = Running::start(command).write("start\n");
    manager.says("the socket file was handed over");
    manager.line_with(&format!("listening on {}", room.unix("r.sock")));
    let status = room.callsign(&["status", "--json", "--registrar", &room.unix("r.sock")]);
    let status = status.succeeds().json();
    let endpoints = &status[0]["status"]["endpoints"];
    assert_eq!(endpoints.as_array().map(Vec::len), Some(1), "{status}");
}

/// A socket at an address of `[http]` was taken for another program's, and the registrar ended.
#[test]
fn sockets_of_http_and_dns_are_served_too() {
    let room = Room::new();
    let (place, http, port) = (room.unix("r.sock"), room.unix("h.sock"), free_port());
    let settings = format!(
        "[registrar]\nlisten = \"{place}\"\nsettle_time = \"0s\"\n[http]\nlisten = \"{http}\"\n\
         [dns]\nlisten = \"127.0.0.1:{port}\"\n[declared]\nweb = \"/ip4/192.0.2.7/tcp/80\"\n"
    );
    let settings = room.write("callsign.toml", &settings);
    let file = |name: &str| format!("unix:{}", room.file(name).display());
    let (udp, tcp) = (format!("udp:{port}"), format!("port:{port}"));
    // Whatever of them is not handed over is bound.
    let (own, requests) = (file("r.sock"), file("h.sock"));
    let all: [&[&str]; 3] = [&[&own, &requests, &udp, &tcp], &[&requests, &udp], &[&tcp]];
    for sockets in all {
        let args = ["registrar", "--config", &settings];
        let mut manager = Running::start(manager(&room, sockets, &args)).write("start\n");
        manager.line_with(&format!("listening on {place}"));
        manager.line_with(&format!("answering DNS at 127.0.0.1:{port}"));
        manager.line_with(&format!("answering HTTP at {http}"));
        room.callsign(&["status", "--registrar", &place]).succeeds();

        let mut stream = UnixStream::connect(room.file("h.sock")).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");

        // `web.callsign` A, over both.
        let question = b"\x11\x22\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
                         \x03web\x08callsign\x00\x00\x01\x00\x01";
        let mut answer = [0; 512];
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.send_to(question, ("127.0.0.1", port)).unwrap();
        let length = socket.recv(&mut answer).unwrap();
        assert!(answer[..length].ends_with(&[192, 0, 2, 7]), "{answer:?}");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&[&[0, question.len() as u8][..], question].concat()).unwrap();
        let mut head = [0; 4];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[2..], question[..2], "it is the answer to the question");
        manager.kill();
        for name in ["r.sock", "h.sock"] {
            fs::remove_file(room.file(name)).ok();
        }
    }
}

#[test]
fn unusable_descriptors_are_reported() {
    let room = Room::new();
    let check = |sockets: &[&str], variables: &[(&str, &str)], expected: &[&str]| {
        let (ended, manager) = run_once(manager(&room, sockets, &["registrar"]), variables);
        assert_eq!(ended, "ended 2", "{manager}");
        let outcome = manager.outcome();
        outcome.says(expected);
    };
    let file = |kind: &str| format!("{kind}:{}", room.file(kind).display());
    check(&[&file("datagram")], &[], &["descriptor 3", "a datagram socket", "`ListenStream=`"]);
    check(&["tcp", &file("mute")], &[], &["descriptor 4", "it does not listen"]);
    check(&["connection"], &[], &["it is a connection", "`Accept=no`"]);
    check(&["device=disk"], &[], &["descriptor 3 (`disk`)", "it is a device"]);
    check(
        &["tcp"],
        &[("LISTEN_FDS", "3")],
        &["descriptor 4 is not open", "LISTEN_FDS says that 3"],
    );
    check(&["tcp"], &[("LISTEN_FDS", "many")], &["LISTEN_FDS is not a number: \"many\""]);
    check(&["tcp"], &[("LISTEN_PID", "me")], &["LISTEN_PID is not a number: \"me\""]);
    check(&["tcp", "tcp"], &[("LISTEN_FDNAMES", "one")], &["LISTEN_FDNAMES has 1 names"]);
}

#[test]
fn descriptors_for_another_process_are_left_alone() {
    let room = Room::new();
    let socket = format!("unix:{}", room.file("handed.sock").display());
    let place = room.unix("r.sock");
    let mut command = manager(&room, &[&socket], &["registrar", "--listen", &place]);
    command.env("LISTEN_PID", "1");
    let mut manager = Running::start(command).write("start\n");
    assert_eq!(manager.line_with("listening"), format!("listening on {place}"));
    let status = room.callsign(&["status", "--json", "--registrar", &place]).succeeds().json();
    assert_eq!(status[0]["status"]["endpoints"].as_array().map(Vec::len), Some(1), "{status}");
}

#[test]
fn a_socket_that_is_kept_from_it_is_not_anothers() {
    let room = Room::new();
    let check = |name: &str, variable: (&str, &str), expected: &[&str]| {
        let socket = format!("unix:{}", room.file(name).display());
        let args = ["registrar", "--listen", &room.unix(name)];
        let (ended, manager) = run_once(manager(&room, &[&socket], &args), &[variable]);
        assert_eq!(ended, "ended 5", "{manager}");
        let outcome = manager.outcome().says(&["was started with a socket there"]).says(expected);
        assert!(!outcome.stderr.contains("it serves you too"), "{outcome}");
        assert!(!outcome.stderr.contains("warning"), "{outcome}");
    };
    check("other", ("LISTEN_PID", "1"), &["LISTEN_PID is 1, and has to be", "`exec`"]);
    check("nobody", ("LISTEN_PID", ""), &["LISTEN_PID is not set"]);
    check("not-said", ("LISTEN_FDS", ""), &["set LISTEN_FDS and LISTEN_PID"]);
    check("not-counted", ("LISTEN_FDS", "0"), &["LISTEN_FDS is 0, and does not count it"]);
}

#[test]
fn a_socket_that_nobody_serves_is_told_of() {
    let room = Room::new();
    let socket = format!("unix:{}", room.file("handed.sock").display());
    let place = room.unix("r.sock");
    let mut command = manager(&room, &[&socket], &["registrar", "--listen", &place]);
    command.env("LISTEN_PID", "1");
    let mut manager = Running::start(command).write("start\n");
    manager.says(&format!("nobody serves {}", room.unix("handed.sock")));
    manager.line_with(&format!("listening on {place}"));
}

#[test]
fn a_path_of_the_service_manager_is_not_made_again() {
    let room = Room::new();
    let socket = format!("unix:{}", room.file("r.sock").display());
    let place = room.unix("r.sock");
    let other = room.abstract_unix("other");
    let args = ["registrar", "--listen", &place, "--listen", &other];
    let mut manager = Running::start(manager(&room, &[&socket], &args)).write("start\n");
    manager.line_with(&format!("listening on {other}"));
    fs::remove_file(room.file("r.sock")).unwrap();
    manager.says("the maker of the socket has to make it again");
    let _theirs = UnixListener::bind(room.file("r.sock")).unwrap();
    manager.says("given up");
    room.callsign(&["status", "--registrar", &other]).succeeds();
}

#[test]
fn systemd_starts_a_registrar_at_the_first_connection() {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        eprintln!("skipped: systemd-socket-activate is missing");
        return;
    }
    let room = Room::new();
    let path = room.file("r.sock");
    let mut command = room.other_command("systemd-socket-activate");
    command.args(["--fdname=registrar", "-l"]).arg(&path).arg(env!("CARGO_BIN_EXE_callsign"));
    command.args(["registrar", "--listen", &room.unix("r.sock")]);
    let mut activated = Running::start(command);
    activated.says("Listening on");
    room.callsign(&["status", "--registrar", &room.unix("r.sock")]).succeeds();
    activated.line_with("listening on");
    activated.stop().succeeds();
    assert!(path.exists(), "it is systemd's");
    // Nobody listens there any more, so a registrar without that socket binds it.
    let mut own = room.run(&["registrar", "--listen", &room.unix("r.sock")]);
    own.line_with("listening on");
    own.stop().succeeds();
    assert!(!path.exists());
    assert!(UnixStream::connect(&path).is_err());
}

/// A program that serves its handed-over sockets, and reports their origin.
const SERVER: &str = "\
import os, socket
assert os.environ['LISTEN_PID'] == str(os.getpid())
said = os.environ['LISTEN_FDS'], os.environ.get('LISTEN_FDNAMES')
assert 'CALLSIGN_HEIR' not in os.environ
listener = socket.socket(fileno=3)
while True:
    caller, _ = listener.accept()
    caller.sendall(f'handed {said}\\n'.encode())
    caller.close()
";

#[test]
fn a_program_has_what_was_handed_to_register() {
    let room = Room::new();
    let node = Node::start(&room);
    let at = room.unix("registrar.sock");
    let check = |name: &str, socket: &str, place: String, said: &str| {
        let args = ["register", name, "PLACE", "--registrar", &at, "--"];
        let python = python();
        let mut args = [&args[..], &[&python, "-c", SERVER]].concat();
        args[2] = &place;
        let mut activated = Running::start(manager(&room, &[socket], &args));
        activated.line_with("bound");
        activated.type_line("start");
        node.callsign(&["wait", name, "--timeout", "5m"]).succeeds();
        node.callsign(&["connect", name]).succeeds().prints(&[said]);
    };
    let socket = |name: &str| format!("unix:{}", room.file(name).display());
    check("plain", &socket("plain.sock"), room.unix("plain.sock"), "handed ('1', None)");
    let named = format!("{}=web", socket("named.sock"));
    check("named", &named, room.unix("named.sock"), "handed ('1', 'web')");
}

#[test]
fn a_program_hears_nothing_of_what_was_handed_to_another() {
    let room = Room::new();
    let _node = Node::start(&room);
    let at = room.unix("registrar.sock");
    let args = ["register", "quiet", "/unix/@quiet", "--registrar", &at, "--", "env"];
    let mut command = room.command(&args);
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "x");
    let outcome = Running::start(command).outcome().succeeds();
    assert!(!outcome.stdout.contains("LISTEN_"), "{outcome}");
}

#[test]
fn a_program_that_is_not_there_is_told_of_as_a_shell_does() {
    let room = Room::new();
    let _node = Node::start(&room);
    let at = room.unix("registrar.sock");
    let place = room.abstract_unix("none");
    let check = |program: &str, code: &str, said: &str| {
        let args = ["register", "none", &place, "--registrar", &at, "--", program];
        let (ended, manager) = run_once(manager(&room, &["tcp"], &args), &[]);
        assert_eq!(ended, format!("ended {code}"), "{manager}");
        manager.outcome().says(&[said]);
    };
    check("no-such-program", "127", "`no-such-program` cannot be started");
    check("/dev/null", "126", "`/dev/null` cannot be started");
}
