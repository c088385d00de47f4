//! One owner's connections leave places for the others.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    process::Command,
};

use rustix::process::geteuid;

use crate::harness::{LIMIT, Node, Peer, Room, Running};

/// A command of another user.
fn of_another_user(room: &Room, args: &[&str]) -> Command {
    let mut command = room.other_command("setpriv");
    command.args(["--reuid", "1234", "--regid", "1234", "--clear-groups"]);
    command.arg(env!("CARGO_BIN_EXE_callsign")).args(args);
    command
}

#[test]
fn another_user_has_half_of_the_places_and_root_is_let_in() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root to be another user");
        return;
    }
    let room = Room::new();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let place = room.abstract_unix("r");
    let node = Node::start_with(&room, &[&place], &["--sessions-max", "8"]);
    let watching: Vec<_> = (0..4)
        .map(|_| {
            let args = ["watch", "*", "--registrar", &place, "--json"];
            let mut watching = Running::start(of_another_user(&room, &args));
            watching.line_with("synced");
            watching
        })
        .collect();
    let refused = Running::start(of_another_user(&room, &["status", "--registrar", &place]));
    refused
        .outcome()
        .ends_with(4)
        .prints(&["user 1234 has 4 sessions here, of at most 4:", "close some, or raise"]);
    // Owners that may end the node may have all places.
    let peers: Vec<_> = (0..3).map(|_| Peer::greet(&place)).collect();
    node.callsign(&["status"]).succeeds();
    drop(peers);

    drop(watching);
    node.comes_to(crate::harness::Counts { instances: 0, sessions: 0, waiters: 0, watchers: 0 });
    Running::start(of_another_user(&room, &["status", "--registrar", &place])).outcome().succeeds();
    node.stop().succeeds();
}

/// One user held all descriptors of a registrar that may open few, and nobody reached it any more.
#[test]
fn where_few_descriptors_may_be_open_root_is_let_in_too() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root to be another user");
        return;
    }
    let room = Room::new();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (place, http) = (room.unix("registrar.sock"), room.unix("http.sock"));
    let settings = format!(
        "[registrar]\nlisten = \"{place}\"\nsocket_mode = \"0666\"\n[http]\nlisten = \"{http}\"\n\
         [dns]\nlisten = \"127.0.0.1:0\"\n"
    );
    let settings = room.write("callsign.toml", &settings);
    let mut command = room.other_command("prlimit");
    command.args(["--nofile=200:200", env!("CARGO_BIN_EXE_callsign"), "registrar", "--config"]);
    let mut node = Running::start({
        command.arg(&settings);
        command
    });
    node.says("instead of 4096 (`sessions_max`): this process may open 200 descriptors");
    node.line_with("answering HTTP");

    // It holds what it gets, at both sockets, and does not let go.
    let crowd = format!(
        "use strict; use Socket; my @held; for my $path ('{}', '{}') {{ for (1..150) {{\n\
         socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; connect($s, sockaddr_un($path)) or last;\n\
         push @held, $s; }} }} $| = 1; print \"held\\n\"; sleep 600;",
        room.file("registrar.sock").display(),
        room.file("http.sock").display(),
    );
    let mut command = room.other_command("setpriv");
    command.args(["--reuid", "1234", "--regid", "1234", "--clear-groups", "perl", "-e", &crowd]);
    let mut crowd = Running::start(command);
    crowd.line_with("held");

    let asked = room.callsign(&["status", "--owners", "--registrar", &place]);
    asked.succeeds().prints(&["1234"]);
    let mut stream = UnixStream::connect(room.file("http.sock")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    match stream.read_to_string(&mut said) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}"),
    }
    crowd.kill();
    node.stop().succeeds();
}
