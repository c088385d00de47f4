//! Log lines name their session or link, and filters find them by it.

use crate::harness::{Node, Peer, Room, Running};

#[test]
fn a_registrar_names_the_session_and_its_peer() {
    let room = Room::new();
    let mut node = Node::start_with(&room, &[&room.unix("registrar.sock")], &["-v"]);
    Peer::babble(node.endpoint());
    let told = node.says("turned away");
    let pid = std::process::id();
    assert!(
        told.contains(" in session{peer=") && told.contains(&format!("process {pid} of user")),
        "{told}"
    );
    assert!(told.contains(" id="), "{told}");
}

#[test]
fn a_client_names_the_registrar_of_a_link() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut watch = node.run(&["watch", "-v"]);
    let told = watch.says("connected uuid=");
    assert!(told.contains(&format!("link{{registrar={}}}", node.endpoint())), "{told}");
}

#[test]
fn a_filter_finds_the_lines_of_a_link() {
    let room = Room::new();
    let node = Node::start(&room);
    let watch = |filter| {
        let mut watch = room.command(&["--registrar", node.endpoint(), "watch", "--json"]);
        watch.env("CALLSIGN_LOG", filter);
        Running::start(watch)
    };
    watch("off,[link]=info").says("connected uuid=");
    let mut other = watch("off,[link{registrar=nobody}]=info");
    other.line_with("synced");
    let said = other.stop().succeeds();
    assert_eq!(said.stderr, "", "{said}");
}
