//! A removal by another is reported to the registrant, and lasts.

use std::{fs, os::unix::net::UnixListener};

use serde_json::Value;

use super::programs::python;
use crate::harness::{Node, Room};

#[test]
fn a_removal_by_another_lasts() {
    let room = Room::new();
    let node = Node::start(&room);
    let me = rustix::process::geteuid().as_raw();
    let by = format!("user {me} has taken it out of the registry");

    // The program goes on.
    let endpoint = room.abstract_unix("web");
    let program = ["sh", "-c", "read line; echo \"$line\"; exit 7"];
    let mut web = node.run(&[&["register", "web", &endpoint, "--"], &program[..]].concat());
    while node.callsign(&["ls", "web", "--json"]).json() == Value::Array(vec![]) {}
    node.callsign(&["unregister", "web"]).succeeds();
    web.says(&format!("`web` is not registered any more: {by}"));
    web.says("its program goes on");
    assert_eq!(node.callsign(&["ls", "--json"]).json(), Value::Array(vec![]));
    web.type_line("on");
    web.outcome().ends_with(7).prints(&["on\n"]);

    // Nothing is left to keep registered.
    let held = node.run(&["register", "held", &room.abstract_unix("held"), "--state", "ready"]);
    node.callsign(&["wait", "held", "--timeout", "5m"]).succeeds();
    node.callsign(&["unregister", "held"]).succeeds();
    held.outcome().succeeds().says(&["`held` is not registered any more", &by, "so this ends"]);
}

#[test]
fn a_restart_of_the_registrar_does_not_bring_it_back() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut stays = node.run(&["register", "stays", &room.abstract_unix("a"), "--state", "ready"]);
    let program = ["sh", "-c", "read line"];
    let goes = room.abstract_unix("b");
    let mut goes = node.run(&[&["register", "goes", &goes, "--"], &program[..]].concat());
    stays.line_with("registered");
    while node.callsign(&["ls", "goes", "--json"]).json() == Value::Array(vec![]) {}
    node.callsign(&["unregister", "goes"]).succeeds();
    goes.says("its program goes on");

    let node = node.restart();
    node.callsign(&["wait", "stays", "--timeout", "5m"]).succeeds();
    let listed = node.callsign(&["ls", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    goes.type_line("");
    goes.outcome();
}

#[test]
fn a_registrant_that_lost_its_place_learns_who_has_it() {
    let room = Room::new();
    let node = Node::start(&room);
    let (file, endpoint) = (room.file("p.sock"), room.unix("p.sock"));
    let serves = format!(
        "import os, socket, sys\n\
         s = socket.socket(socket.AF_UNIX)\n\
         s.bind({:?})\n\
         s.listen()\n\
         print('bound', flush=True)\n\
         sys.stdin.readline()",
        file.display()
    );
    let python = python();
    let mut alpha = node.run(&["register", "alpha", &endpoint, "--", &python, "-c", &serves]);
    alpha.line_with("bound");
    node.callsign(&["wait", "alpha", "--timeout", "5m"]).succeeds();

    // As servers do that take over: they remove the file of the living one.
    fs::remove_file(&file).unwrap();
    let _taker = UnixListener::bind(&file).unwrap();
    let beta = node.run(&["register", "beta", &endpoint]);
    let told = alpha.says("`alpha`: the registrar has taken");
    assert!(told.contains("it is the place of beta["), "{told}");
    node.callsign(&["connect", "alpha"]).ends_with(1);
    beta.stop();
    alpha.type_line("");
    alpha.outcome().succeeds();
}
