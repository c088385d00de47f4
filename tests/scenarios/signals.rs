//! Effects of signals, and messages to the service manager.

use std::fs;

use rustix::process::{Signal, geteuid};

use crate::{
    harness::{LIMIT, Node, Room, Running},
    programs::python,
    service::Manager,
};

/// Starts `callsign …` with signals ignored, and waits for its first line.
fn ignoring(room: &Room, signals: &str, args: &[&str]) -> Running {
    let mut command = room.other_command("sh");
    let script = format!("trap '' {signals}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_callsign")]).args(args);
    let mut running = Running::start(command);
    running.line("a first line", |_| true);
    running
}

#[test]
fn signals_ignored_at_the_start_stay_ignored() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let registrar = ignoring(&room, "INT HUP", &["registrar", "--listen", &place]);
    let held = ["register", "held", "/unix/@held", "--state", "ready", "--registrar", &place];
    let held = ignoring(&room, "TERM", &held);
    let watch = ignoring(&room, "INT", &["watch", "--registrar", &place]);
    for running in [&registrar, &held, &watch] {
        let ignored = if std::ptr::eq(running, &held) { Signal::TERM } else { Signal::INT };
        running.signal(ignored);
    }
    registrar.signal(Signal::HUP);
    room.callsign(&["find", "held", "--registrar", &place]).succeeds();
    assert_eq!(held.stop_by(Signal::INT).signal, Some(2));
    assert_eq!(watch.stop_by(Signal::TERM).signal, Some(15));
    let ended = registrar.stop();
    assert_eq!((ended.signal, &*ended.stderr), (Some(15), ""), "{ended}");
}

#[test]
fn signals_blocked_at_the_start_are_heard() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let blocking = |args: &[&str]| {
        let code = "import os, signal, sys\n\
                    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))\n\
                    os.execv(sys.argv[1], sys.argv[1:])";
        let mut command = room.other_command(&python());
        command.args(["-c", code, env!("CARGO_BIN_EXE_callsign")]).args(args);
        Running::start(command)
    };
    let mut registrar = blocking(&["registrar", "--listen", &place]);
    registrar.line_with("listening on");
    let status = ["register", "x", "/unix/@x", "--registrar", &place, "--", "cat"];
    let status = blocking(&[&status[..], &["/proc/self/status"]].concat()).outcome();
    status.prints(&["SigBlk:\t0000000000000000"]);
    assert_eq!(registrar.stop().signal, Some(15));
}

#[test]
fn an_end_by_a_signal_is_an_exit_by_it() {
    let room = Room::new();
    let node = Node::start(&room);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        for args in
            [&["register", "held", "/unix/@held"][..], &["register", "a", "/unix/@a", "--json"]]
        {
            let mut running = node.run(args);
            running.line("a first line", |_| true);
            let ended = running.stop_by(signal);
            assert_eq!(ended.signal, Some(signal.as_raw()), "{ended}");
        }
    }
}

#[test]
fn a_hangup_reloads_the_settings() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let declared =
        |table: &str| format!("[registrar]\nlisten = \"{place}\"\n[declared]\n{table}\n");
    let file =
        room.write("callsign.toml", &declared("one = \"/unix/@one\"\nboth = \"/unix/@both\""));
    let manager = Manager::of(&room);
    let hear = |expected: &str| manager.hears(expected).concat();
    let mut command = room.command(&["registrar", "--config", &file]);
    manager.watches(&room, &mut command);
    let mut registrar = Running::start(command);
    hear("READY=1");
    let names = || {
        let listed = room.callsign(&["ls", "--all", "--json", "--registrar", &place]);
        let listed = listed.succeeds().json();
        let records = listed.as_array().cloned().unwrap_or_default();
        let mut names: Vec<_> =
            records.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["both", "one"]);

    room.write("callsign.toml", &declared("two = \"/unix/@two\"\nboth = \"/unix/@both\""));
    registrar.signal(Signal::HUP);
    let said = hear("READY=1");
    assert!(said.contains("RELOADING=1") && said.contains("MONOTONIC_USEC="), "{said}");
    registrar.says("has been read again");
    assert_eq!(names(), ["both", "two"]);

    // Faults are reported, and the earlier settings stay in force.
    room.write("callsign.toml", &declared("three = 7"));
    registrar.signal(Signal::HUP);
    hear("READY=1");
    registrar.says("the settings stay as they were");
    assert_eq!(names(), ["both", "two"]);

    // A limit is in force from the next connection on; a place is not.
    let mut first = room.run(&["watch", "--json", "--registrar", &place]);
    first.json("the end of the snapshot", |it| it["change"] == "synced");
    let limited = "[registrar]\nlisten = \"/unix/@elsewhere\"\nsessions_max = 1\n";
    room.write("callsign.toml", limited);
    registrar.signal(Signal::HUP);
    hear("READY=1");
    registrar.says("`[registrar] listen` has changed: that takes a restart");
    let refused = || {
        let asked = room.callsign(&["status", "--registrar", &place]);
        asked.code != Some(0) && asked.stdout.contains("too many sessions")
            || asked.stderr.contains("too many sessions")
    };
    let deadline = crate::harness::now() + LIMIT;
    while !refused() {
        assert!(crate::harness::now() < deadline, "one more session is taken\n{registrar}");
    }
    drop(first);
    registrar.signal(Signal::TERM);
    hear("STOPPING=1");
    assert_eq!(registrar.outcome().signal, Some(15));
}

#[test]
fn a_hangup_without_a_settings_file_does_no_harm() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let mut registrar = room.run(&["registrar", "--listen", &place]);
    registrar.line_with("listening");
    registrar.signal(Signal::HUP);
    registrar.says("there is no settings file to read again");
    room.callsign(&["status", "--registrar", &place]).succeeds();
    assert_eq!(registrar.stop().signal, Some(15));
}

#[test]
fn the_registrar_of_root_is_there_for_everybody() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root");
        return;
    }
    let room = Room::new();
    let system = room.file("system");
    let of_root = |args: &[&str]| {
        let mut command = room.command(args);
        command.env("CALLSIGN_SYSTEM_DIR", &system).env_remove("XDG_RUNTIME_DIR");
        command
    };
    // The port of the loopback may be in use: a separate network has it free.
    let mut command = room.other_command("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up; exec \"$0\" registrar"]);
    command.arg(env!("CARGO_BIN_EXE_callsign"));
    command.env("CALLSIGN_SYSTEM_DIR", &system).env_remove("XDG_RUNTIME_DIR");
    let mut registrar = Running::start(command);
    registrar.line_with(&format!("listening on /unix{}/registrar.sock", system.display()));
    registrar.line_with("listening on");
    Running::start(of_root(&["register", "clock", "/unix/@clock", "--ttl", "1m"]))
        .outcome()
        .succeeds();
    // A user with an empty place finds the system's registrar.
    let mut of_user = room.command(&["ls"]);
    of_user.env("CALLSIGN_SYSTEM_DIR", &system);
    Running::start(of_user).outcome().succeeds().prints(&["clock"]);
    registrar.stop().succeeds();
    assert!(!fs::exists(system.join("registrar.sock")).unwrap());
}
