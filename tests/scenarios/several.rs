//! Several registrars, and several instances of one name.

use std::{
    net::TcpListener,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
};

use crate::harness::{Node, Room, Running};

#[test]
fn one_registrar_of_two_is_enough() {
    let room = Room::new();
    let first = Node::listen(&room, &[&room.unix("first.sock")]);
    let second = Node::listen(&room, &["/ip4/127.0.0.1/tcp/0"]);
    let (one, two) = (first.endpoint().to_owned(), second.endpoint().to_owned());
    let both = |args: &[&str]| {
        room.callsign(&[&["--registrar", &one, "--registrar", &two], args].concat())
    };
    both(&["register", "clock", "/unix/@clock", "--ttl", "10m"]).succeeds();
    first.callsign(&["find", "clock"]).succeeds();
    second.callsign(&["find", "clock"]).succeeds();
    let found = both(&["find", "clock", "--all", "--json"]).succeeds();
    assert_eq!(found.json().as_array().unwrap().len(), 1, "it is one instance\n{found}");
    assert_eq!(found.stderr, "");

    // One is down: everything is still found, and the missing one is named.
    second.kill();
    both(&["find", "clock"]).succeeds().says(&["warning: ", &two]);
    both(&["ls"]).succeeds().prints(&["clock"]);
    both(&["find", "nobody"]).ends_with(3).says(&["nobody", "may know more", &two]);
    both(&["renew", "clock"]).ends_with(3).prints(&["renewed"]).says(&["may not be renewed", &two]);
    both(&["register", "late", "/unix/@late", "--ttl", "10m"]).succeeds();
    both(&["status"]).succeeds().prints(&["up", "down"]);

    // Both are down, which does not look like an absent actor.
    first.kill();
    both(&["find", "clock"]).ends_with(3).says(&[&one, &two]);
    both(&["ls"]).ends_with(3);
    both(&["status"]).ends_with(3);
    let args = ["--registrar", &one, "--registrar", &two, "register", "later", "/unix/@later"];
    let mut later = room.run(&[&args[..], &["--ttl", "10m"]].concat());
    later.says("it is registered when one answers");
}

#[test]
fn a_time_limit_bounds_every_wait() {
    let room = Room::new();
    let node = Node::start(&room);
    // They accept connections and stay silent, as a hanging registrar does.
    let _unix = UnixListener::bind(room.file("mute.sock")).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = format!("/ip4/127.0.0.1/tcp/{}", tcp.local_addr().unwrap().port());
    for mute in [room.unix("mute.sock"), tcp] {
        let both = ["--registrar", &mute, "--registrar", node.endpoint()];
        let patient = |args: &[&str]| room.callsign(&[&both[..], args].concat());
        let hasty = |args: &[&str]| {
            // The registrar does not even know yet that it does not answer.
            let outcome = patient(&[args, &["--patience", "0s"]].concat());
            assert!(!outcome.stderr.contains("2s"), "{outcome}");
            outcome
        };
        hasty(&["register", "clock", "/unix/@clock", "--ttl", "10m"]).succeeds();
        for command in [&["find", "clock"][..], &["ls"], &["resolve", "clock"]] {
            hasty(command).succeeds().says(&[&mute, "it has not answered yet"]);
        }
        hasty(&["wait", "clock"]).succeeds();
        // The missing answer is unknown.
        hasty(&["renew", "clock"]).ends_with(3).prints(&["renewed clock["]).says(&[&mute]);
        hasty(&["find", "nobody"]).ends_with(3).says(&[&mute, "it has not answered yet"]);
        hasty(&["status"]).succeeds().prints(&["up", "down", "it has not answered yet"]);
        let patient = patient(&["find", "clock"]).succeeds().says(&[&mute]);
        assert!(patient.stderr.contains("2s") || patient.stderr.contains("yet"), "{patient}");
        hasty(&["unregister", "clock"]).ends_with(3).prints(&["unregistered"]).says(&[&mute]);
    }
}

/// Of the default places, and of those of the settings file, one is enough; but a silent one is
/// reported.
#[test]
fn with_default_registrars_only_present_ones_are_missed() {
    let room = Room::new();
    std::fs::create_dir(room.file("system")).unwrap();
    let well = Node::listen(&room, &[&room.unix("system/registrar.sock")]);
    let asked = |args: &[&str]| {
        let mut command = room.other_command(env!("CARGO_BIN_EXE_callsign"));
        command.args(args).env("XDG_RUNTIME_DIR", room.file("run"));
        command.env("CALLSIGN_SYSTEM_DIR", room.file("system")).env_remove("CALLSIGN_REGISTRAR");
        Running::start(command).outcome()
    };
    std::fs::create_dir(room.file("run")).unwrap();
    set_mode(&room.file("run"), 0o700);
    asked(&["find", "nobody"]).ends_with(1);
    asked(&["register", "clock", "/unix/@clock-of-usual", "--ttl", "10m"]).succeeds();
    asked(&["renew", "clock"]).succeeds();

    // The folder is there since somebody has asked.
    let mute = UnixListener::bind(room.file("run/callsign/registrar.sock")).unwrap();
    asked(&["find", "clock"]).succeeds().says(&["may know more", "run/callsign/registrar.sock"]);
    asked(&["find", "nobody"]).ends_with(3).says(&["run/callsign/registrar.sock"]);
    asked(&["unregister", "clock"]).ends_with(3).prints(&["unregistered"]).says(&["may still"]);
    drop(mute);

    let one = well.endpoint();
    let settings = format!("[registrar]\nlisten = [\"{one}\", \"/ip4/127.0.0.1/tcp/9\"]\n");
    room.write("market.toml", &settings);
    let found = room.callsign(&["find", "nobody", "--config", "market.toml"]).ends_with(1);
    assert!(!found.stderr.contains("may know more"), "{found}");
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn five_instances_of_one_name_are_all_found_newest_first() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut uuids = Vec::new();
    for number in 1..=5 {
        let endpoint = format!("/unix/@five-{number}");
        let registered = node.callsign(&["register", "five", &endpoint, "--ttl", "10m", "--json"]);
        uuids.insert(0, registered.succeeds().json()["uuid"].clone());
    }
    let uuids_of = |args: &[&str]| {
        let listed = node.callsign(args).succeeds().json();
        listed.as_array().unwrap().iter().map(|it| it["uuid"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(uuids_of(&["find", "five", "--all", "--json"]), uuids);
    assert_eq!(uuids_of(&["ls", "five", "--json"]).len(), 5);
    // Several of them must be told apart.
    node.callsign(&["unregister", "five"]).ends_with(2).says(&["5 instances"]);
    let newest = uuids[0].as_str().unwrap();
    let found = node.callsign(&["find", "five", "--json"]).succeeds().json();
    assert_eq!(found["uuid"], newest);

    node.callsign(&["unregister", newest]).succeeds();
    assert_eq!(uuids_of(&["find", "five", "--all", "--json"]), uuids[1..]);
    node.callsign(&["unregister", "five", "--all"]).succeeds();
    node.callsign(&["find", "five"]).ends_with(1);
}
