//! Programs that cannot be started.

use std::fs;

use crate::harness::{Node, Room, Running};

/// The next user without a process here, so that a limit counts only the processes of one test.
const NOBODY_ELSE: &str = "987654";

#[test]
fn a_limit_of_processes_is_told_with_the_remedy() {
    let room = Room::new();
    fs::set_permissions(room.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let node = Node::start_with(&room, &[&room.unix("r.sock")], &["--socket-mode", "0666"]);
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: to be another user takes root");
        return;
    }
    // Only this process, and with the guardian of the program.
    for limit in ["1", "2"] {
        let mut command = room.other_command("setpriv");
        command.args(["--reuid", NOBODY_ELSE, "--regid", NOBODY_ELSE, "--clear-groups"]);
        let script = "ulimit -u $0; exec \"$CALLSIGN\" register x /unix/@limited -- sleep 600";
        command.args(["bash", "-c", script, limit]);
        command.env("CALLSIGN", env!("CARGO_BIN_EXE_callsign"));
        command.env("CALLSIGN_REGISTRAR", node.endpoint());
        let told = Running::start(command).outcome().ends_with(4);
        told.says(&["`sleep` cannot be started: no more processes", "ulimit -u", "pids.max"]);
    }
    assert_eq!(node.callsign(&["ls", "--json"]).json(), serde_json::Value::Array(vec![]));
}

#[test]
fn a_script_without_its_interpreter_is_told_from_a_command_that_is_not_there() {
    let room = Room::new();
    let node = Node::start(&room);
    let run = |program: &str| node.callsign(&["register", "x", "/unix/@x", "--", program]);
    run("/no/such/program").ends_with(127).says(&["there is no command `/no/such/program`"]);
    for (name, line) in [("gone", "#!/no/such/shell\n"), ("windows", "#!/bin/sh\r\necho\r\n")] {
        let script = room.write(name, line);
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        run(&script).ends_with(126).says(&["is not there; see its first line"]);
    }
}
