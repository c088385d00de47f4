//! One owner's connections leave places for the others.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use rustix::process::geteuid;

use crate::harness::{Node, Peer, Room, Running};

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
        .ends_with(3)
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
