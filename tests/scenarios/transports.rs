//! Registration, look-up and connection over each transport, which also leads to the registrar.

use std::io;

use crate::{
    echo,
    harness::{Node, Room},
};

#[test]
fn a_socket_file() {
    let room = Room::new();
    check(&room, &room.unix("registrar.sock"), &room.unix("echo.sock"), "unix-socket");
}

#[test]
fn a_socket_file_with_a_path_longer_than_a_socket_address() {
    let room = Room::new();
    let folder = "f".repeat(200);
    std::fs::create_dir(room.file(&folder)).unwrap();
    let registrar = room.unix(&format!("{folder}/registrar.sock"));
    let node = Node::listen(&room, &[&registrar]);
    node.callsign(&["status"]).succeeds();
    node.stop().succeeds();
    assert_eq!(std::fs::read_dir(room.file(&folder)).unwrap().count(), 0);
}

#[test]
fn an_abstract_socket() {
    let room = Room::new();
    let (registrar, echo) = (room.abstract_unix("registrar"), room.abstract_unix("echo"));
    check(&room, &registrar, &echo, "unix-socket");
}

#[test]
fn tcp_over_ip_version_4() {
    let room = Room::new();
    check(&room, "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0", "loopback");
}

#[test]
fn tcp_over_ip_version_6() {
    if let Err(error) = std::net::TcpListener::bind("[::1]:0")
        && error.kind() == io::ErrorKind::AddrNotAvailable
    {
        println!("skipped: this machine has no address of IP version 6");
        return;
    }
    let room = Room::new();
    check(&room, "/ip6/::1/tcp/0", "/ip6/::1/tcp/0", "loopback");
}

#[track_caller]
fn check(room: &Room, registrar: &str, endpoint: &str, locality: &str) {
    let node = Node::listen(room, &[registrar]);
    let endpoint = echo::listen(endpoint).unwrap();

    let mut registrant = node.run(&["register", "echo", &endpoint]);
    registrant.line_with("registered echo[");

    let found = node.callsign(&["find", "echo"]).succeeds();
    assert_eq!(found.stdout.lines().next(), Some(&endpoint[..]), "{found}");
    let found = node.callsign(&["find", "echo", "--json"]).succeeds().json();
    assert_eq!(found["nearest"], endpoint[..]);
    assert_eq!(found["locality"], *locality);
    assert_eq!(found["lifetime"], "session");

    let said = node.run(&["connect", "echo"]).write("one\ntwo").outcome().succeeds();
    assert_eq!(said.stdout, "echo: one\ntwo", "{said}");

    registrant.stop().succeeds();
    node.callsign(&["find", "echo"]).ends_with(1);
    node.stop().succeeds();
}
