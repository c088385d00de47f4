//! Nothing remains of a wrapped program, however it ends, and its terminal stays usable.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, chown},
        net::UnixListener,
    },
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};

use super::programs::python;
use crate::harness::{Node, Room, Running};

/// Programs that are hard to end. Each prints `up` once all of it runs; all of it has the output
/// open, so that a test notices when the last part has ended.
const PROGRAMS: [&str; 6] = [
    "echo up; exec sleep 600",
    "trap '' TERM HUP INT; echo up; while :; do sleep 600; done",
    // The orphan of a shell that is killed.
    "sh -c \"trap '' TERM HUP; echo up; while :; do sleep 600; done\"; true",
    // Orphans in separate sessions.
    "setsid -f sh -c \"trap '' TERM HUP; setsid -f sleep 600; echo up; sleep 600\"; exec sleep 600",
    // Workers, as of a server that forks.
    "sleep 600 & sleep 600 & (sleep 600 & exec sleep 600) & echo up; wait",
    // A process that handles no signal until it is continued.
    "sh -c 'echo up; kill -STOP $$; exec sleep 600'; exec sleep 600",
];

#[test]
fn all_of_a_program_ends_when_it_is_to() {
    let room = Room::new();
    let node = Node::start(&room);
    for program in PROGRAMS {
        start(&node, "200ms", program).stop();
    }
    assert_eq!(node.callsign(&["ls", "--json"]).json(), serde_json::Value::Array(vec![]));
}

/// Forks without end, and keeps fifty: each leads a session, beyond any group's signal.
const FORKS: &str = "\
import os, signal, sys, time
pids = []
print('up', flush=True)
while True:
    pid = os.fork()
    if pid == 0:
        os.setsid(); time.sleep(600)
    pids.append(pid)
    if len(pids) > 50:
        os.kill(pids.pop(0), signal.SIGKILL); os.wait()
";

#[test]
fn a_process_forked_while_all_are_asked_to_end_is_asked_too() {
    let room = Room::new();
    let node = Node::start(&room);
    let python = python();
    for _round in 0..5 {
        // Nothing would be killed for an hour.
        let place = ["register", "x", "/unix/nowhere/x.sock", "--grace", "1h", "--"];
        let mut forks = node.run(&[&place[..], &[&python, "-c", FORKS]].concat());
        forks.line_with("up");
        forks.stop().ends_by(15);
    }
}

#[test]
fn helpers_of_a_programs_orderly_end_are_not_asked_to_end() {
    let room = Room::new();
    let node = Node::start(&room);
    let tidies = "trap 'setsid sh -c \"sleep 0.1; echo tidied\"; exit 0' TERM; echo up; \
                  while :; do sleep 0.05; done";
    let mut program = start(&node, "1h", tidies);
    program.signal(Signal::TERM);
    program.line_with("tidied");
    program.outcome().succeeds();
}

#[test]
fn a_second_request_is_not_patient() {
    let room = Room::new();
    let node = Node::start(&room);
    // It says when it has received the first, and does not end.
    let stubborn = "trap 'echo heard' TERM; echo up; while :; do sleep 0.05; done";
    let mut keeper = start(&node, "1h", stubborn);
    keeper.signal(Signal::TERM);
    keeper.line_with("heard");
    // By another signal, which is never taken for a second one of the first kind.
    keeper.signal(Signal::INT);
    keeper.outcome().ends_by(9);
}

#[test]
fn all_of_a_program_ends_with_what_keeps_it() {
    let room = Room::new();
    let node = Node::start(&room);
    for program in PROGRAMS {
        start(&node, "1h", program).kill();
    }
}

#[test]
fn all_of_a_program_ends_with_what_guards_it() {
    let room = Room::new();
    let node = Node::start(&room);
    for program in PROGRAMS {
        let mut keeper = start(&node, "1h", &format!("echo guarded by $PPID; {program}"));
        let line = keeper.line_with("guarded by");
        let guardian = line.rsplit(' ').next().and_then(|it| it.parse().ok());
        let guardian = Pid::from_raw(guardian.unwrap()).unwrap();
        keeper.line_with("up");
        kill_process(guardian, Signal::KILL).unwrap();
        keeper.outcome().ends_with(7).says(&["guard"]);
    }
}

#[test]
fn remaining_descendants_end_after_the_program() {
    let room = Room::new();
    let node = Node::start(&room);
    for program in PROGRAMS {
        let leaver = format!("({program}) & read line; exit 7");
        let mut keeper = start(&node, "200ms", &leaver);
        keeper.type_line("");
        keeper.outcome().ends_with(7);
    }
}

#[test]
fn all_of_a_program_ends_with_its_terminal() {
    let room = Room::new();
    let node = Node::start(&room);
    for program in PROGRAMS {
        let mut terminal = on_terminal(&room, &node, &register("200ms", program));
        terminal.line_with("up");
        terminal.outcome();
    }
}

#[test]
fn a_terminal_stops_and_interrupts_a_program() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut shell = on_terminal(&room, &node, &["bash", "--norc", "--noprofile", "-i"]);
    shell.type_line(r"stty -echo; bind 'set enable-bracketed-paste off'; echo quiet$((1+1))\n");
    shell.line_with("quiet2");
    shell.type_line(r"$CALLSIGN register x /unix/nowhere/x.sock -- cat\n");
    // Later input is the program's, and only the program echoes it.
    shell.type_line(r"one\n");
    shell.line_with("one");
    shell.type_line(r"\x1a");
    shell.says("Stopped");
    shell.type_line(r"echo shell$((1+1))\n");
    shell.line_with("shell2");
    shell.type_line(r"fg\n");
    shell.type_line(r"two\n");
    shell.line_with("two");
    shell.type_line(r"\x03");
    shell.says("end=130");

    // A script does not continue after it.
    let up = r#"sh -c "echo up; exec sleep 600""#;
    let line = format!(r"$CALLSIGN register x /unix/nowhere/x.sock -- {up}; echo went on");
    let script = room.write("script.sh", &line);
    shell.type_line(&format!(r"bash {script}\n"));
    shell.line_with("up");
    shell.type_line(r"\x03");
    shell.says("end=130");
    shell.type_line(r"exit\n");
    let outcome = shell.outcome();
    assert!(!outcome.stdout.contains("went on"), "{}", outcome.stdout);
}

#[test]
fn a_dead_socket_is_out_of_the_way_and_nothing_else() {
    let room = Room::new();
    let node = Node::start(&room);
    let folder = room.file("run");
    fs::create_dir(&folder).unwrap();
    let (file, endpoint) = (folder.join("w.sock"), room.unix("run/w.sock"));
    let binds = format!(
        "import socket, time\ns = socket.socket(socket.AF_UNIX)\ns.bind({:?})\ns.listen()\n\
         print('bound', flush=True)\ntime.sleep(600)",
        file.display()
    );
    let python = python();
    let register = ["register", "web", &endpoint, "--", &python, "-c", &binds];

    // A socket left by a dead process.
    drop(UnixListener::bind(&file).unwrap());
    let mut keeper = node.run(&register);
    keeper.line_with("bound");
    keeper.says("removed a dead socket");
    // A program killed together with its keeper leaves none either.
    keeper.kill();
    wait_until_gone(&file);

    // A live socket.
    let alive = UnixListener::bind(&file).unwrap();
    node.callsign(&register).ends_with(1).says(&["Address already in use"]);
    drop(alive);
    fs::remove_file(&file).unwrap();

    // A file of another kind, and another user's.
    fs::write(&file, "precious").unwrap();
    node.callsign(&register).ends_with(1);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    fs::remove_file(&file).unwrap();
    drop(UnixListener::bind(&file).unwrap());
    if chown(&file, Some(1), None).is_ok() {
        // A program that has dropped its privileges has left it in a folder of this user.
        let mut keeper = node.run(&register);
        keeper.line_with("bound");
        keeper.says("removed a dead socket");
        keeper.kill();
        wait_until_gone(&file);
        drop(UnixListener::bind(&file).unwrap());
        chown(&file, Some(1), None).unwrap();
        chown(&folder, Some(2), None).unwrap();
        node.callsign(&register).ends_with(1).says(&["a socket of user 1 is in the way"]);
        assert!(fs::symlink_metadata(&file).unwrap().file_type().is_socket());
    }
}

/// Starts a program as an actor, and waits until all of it runs.
#[track_caller]
fn start(node: &Node<'_>, grace: &str, program: &str) -> Running {
    let words = register(grace, program);
    let mut running = node.run(&words[1..]);
    if !program.contains("guarded by") {
        running.line_with("up");
    }
    running
}

fn register<'a>(grace: &'a str, program: &'a str) -> [&'a str; 10] {
    let socket = "/unix/nowhere/x.sock";
    ["callsign", "register", "x", socket, "--grace", grace, "--", "sh", "-c", program]
}

/// Runs a command on a separate terminal; `callsign` is the tested binary.
#[track_caller]
pub(crate) fn on_terminal(room: &Room, node: &Node<'_>, words: &[&str]) -> Running {
    let callsign = env!("CARGO_BIN_EXE_callsign");
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/scenarios/on_terminal.py");
    let mut command: Command = room.other_command(&python());
    command.arg(driver);
    command.args(words.iter().map(|it| if *it == "callsign" { callsign } else { it }));
    // The shell's prompt.
    command.env("PROMPT_COMMAND", "echo end=$? >&2");
    command.env("CALLSIGN", callsign).env("CALLSIGN_REGISTRAR", node.endpoint());
    Running::start(command)
}

fn wait_until_gone(file: &std::path::Path) {
    while file.exists() {
        std::thread::yield_now();
    }
}
