//! Unread output, and output that cannot be written, neither block nor end anybody.

use std::{
    fs::{self, File},
    io::Read,
    os::fd::AsFd,
    process::Command,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, Mode, mknodat},
};

use crate::harness::{LIMIT, Node, Peer, Room, Running, now};

/// Shell redirections after which nothing can be written to standard error.
const BROKEN: &[&str] = &[
    "exec \"$0\" \"$@\" 2>/dev/full",
    "exec \"$0\" \"$@\" 2>&-",
    // It is open for reading only.
    "exec \"$0\" \"$@\" 2</dev/null",
    // Its reader has gone.
    "mkfifo pipe; exec 3<>pipe 2>pipe 3>&-; rm pipe; exec \"$0\" \"$@\"",
    // The file has its greatest size.
    "head -c 8K /dev/zero >log; ulimit -f 1; exec \"$0\" \"$@\" 2>>log",
];

/// Returns `callsign …` as a shell starts it.
fn by_shell(room: &Room, script: &str, args: &[&str]) -> Command {
    let mut command = room.other_command("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_callsign")]).args(args);
    command
}

/// Starts `callsign …` as a shell does, and waits for its first line.
fn start(room: &Room, script: &str, args: &[&str]) -> Running {
    let mut running = Running::start(by_shell(room, script, args));
    running.line("a first line", |_| true);
    running
}

/// Makes a named pipe, and returns a reader of it that reads nothing.
fn fifo(room: &Room) -> File {
    let path = room.file("fifo");
    drop(fs::remove_file(&path));
    mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    File::options().read(true).write(true).open(path).unwrap()
}

#[test]
fn a_registrar_serves_though_its_log_cannot_be_written() {
    for script in BROKEN {
        let room = Room::new();
        let place = room.unix("registrar.sock");
        let node = start(&room, script, &["registrar", "-vvv", "--listen", &place]);
        for _ in 0..20 {
            Peer::babble(&place);
        }
        let asked = |args: &[&str]| room.callsign(&[args, &["--registrar", &place]].concat());
        asked(&["register", "clock", "/unix/@clock", "--ttl", "1m"]).succeeds();
        asked(&["ls"]).succeeds().prints(&["clock"]);
        node.stop().succeeds();
    }
}

#[test]
fn out_of_descriptors_and_without_a_log_a_registrar_still_takes_connections() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let mut command = room.other_command("prlimit");
    let script = "exec \"$0\" registrar --listen \"$1\" 2>/dev/full";
    command.args(["--nofile=24:24", "sh", "-c", script, env!("CARGO_BIN_EXE_callsign"), &place]);
    let mut node = Running::start(command);
    node.line_with("listening");
    let crowd: Vec<_> = (0..40).map(|_| Peer::dial(&place)).collect();
    // The first ones are served as long as they like, the last ones once those have gone.
    drop(crowd);
    room.callsign(&["status", "--registrar", &place]).succeeds();
    node.stop().succeeds();
}

#[test]
fn an_actor_stays_registered_though_its_log_cannot_be_written() {
    for script in BROKEN {
        let room = Room::new();
        let node = Node::start(&room);
        let flags = ["-vvv", "--registrar", node.endpoint()];
        let held = ["register", "held", "/unix/@held", "--state", "ready"];
        let run = ["register", "run", "/unix/@run", "--json", "--state", "ready"];
        let held = start(&room, script, &[&held[..], &flags].concat());
        let run = start(&room, script, &[&run[..], &flags, &["--", "sleep", "1h"]].concat());
        let mut watch = start(&room, script, &[&["watch"][..], &flags].concat());
        node.callsign(&["ls", "--all"]).succeeds().prints(&["held", "run"]);
        node.callsign(&["register", "late", "/unix/@late", "--ttl", "1m"]).succeeds();
        watch.line_with("late");

        // Another registrar has both again, and watchers see them.
        let node = node.restart();
        for name in ["held", "run"] {
            node.callsign(&["wait", name, "--timeout", "5m"]).succeeds();
        }
        held.stop().succeeds();
        run.stop().ends_by(15);
        watch.stop().succeeds();
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_stop_a_registrar() {
    let room = Room::new();
    let mut unread = fifo(&room);
    let place = room.unix("registrar.sock");
    let args = ["registrar", "-v", "--listen", &place];
    let node = start(&room, "exec \"$0\" \"$@\" 2>fifo", &args);
    // Each causes a line; the pipe and the queue together hold fewer.
    for _ in 0..12_000 {
        Peer::babble(&place);
    }
    // It answers after it has turned all of them away.
    while room.callsign(&["status", "--registrar", &place]).code != Some(0) {}

    let read = read_until(&mut unread, "left out here");
    assert!(read.contains("turned away"), "{read}");
    assert!(read.contains("lines left out here"), "{read}");
    node.stop().succeeds();
}

#[test]
fn a_log_and_an_output_that_nobody_reads_delay_no_end() {
    let room = Room::new();
    let node = Node::start(&room);
    for (to, args) in [
        (">fifo 2>&1", &["register", "held", "/unix/@held", "--state", "ready"][..]),
        (">fifo 2>&1", &["watch"]),
        ("2>fifo", &["wait", "nobody", "--timeout", "1h"]),
    ] {
        let _unread = fifo(&room);
        // The pipe is full before the command begins.
        let fill = format!("head -c 64K /dev/zero >fifo; exec \"$0\" \"$@\" {to}");
        let args = [args, &["-vvv", "--registrar", node.endpoint()]].concat();
        let running = Running::start(by_shell(&room, &fill, &args));
        let is_there = || {
            let counts = node.counts();
            counts.instances + counts.watchers + counts.waiters > 0
        };
        let deadline = now() + LIMIT;
        while !is_there() {
            assert!(now() < deadline, "it never came\n{running}");
        }
        drop(running.stop());
    }
}

/// Reads until a text has come.
fn read_until(file: &mut File, text: &str) -> String {
    let mut read = Vec::new();
    let deadline = now() + LIMIT;
    while !String::from_utf8_lossy(&read).contains(text) {
        let limit = deadline.saturating_duration_since(now());
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: 0 };
        let fd = file.as_fd();
        let came = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&limit)).unwrap();
        assert!(came > 0, "`{text}` is not in {} bytes", read.len());
        let mut chunk = [0; 64 * 1024];
        let count = file.read(&mut chunk).unwrap();
        read.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[test]
fn without_descriptors_a_command_reports_that_it_cannot_start() {
    let room = Room::new();
    for words in
        [&["ls"][..], &["registrar"], &["watch"], &["register", "a", "/unix/@a", "--", "true"]]
    {
        for limit in [6, 8, 12, 16] {
            let mut command = room.other_command("prlimit");
            command.arg(format!("--nofile={limit}:{limit}"));
            command.arg(env!("CARGO_BIN_EXE_callsign")).args(words);
            let ended = Running::start(command).outcome().ends_with(7);
            let at_most = format!("may open at most {limit}\n");
            ended.says(&["cannot start: it needs", &at_most, "Too many open files", "ulimit -n"]);
        }
    }
}

/// The table of the README, as measured.
#[test]
fn as_many_descriptors_as_the_readme_says_are_enough() {
    let readme = include_str!("../../README.md");
    let row = readme.lines().find(|it| it.starts_with("| descriptors (")).unwrap();
    let least = row.split('|').skip(2).filter_map(|it| it.split_whitespace().next()?.parse().ok());
    let least: [u32; 2] = least.collect::<Vec<_>>().try_into().unwrap();
    let room = Room::new();
    // Whoever runs the tests may hand some down, beside the one of `ls` itself.
    let mut list = room.other_command("ls");
    list.arg("/proc/self/fd");
    let open = Running::start(list).outcome().succeeds().stdout;
    let open =
        open.lines().filter_map(|it| it.parse::<u32>().ok()).filter(|it| (3..24).contains(it));
    let handed_down = open.count() as u32 - 1;
    let [registrar, register] = least.map(|it| it + handed_down);
    let limited = |limit: u32, words: &[&str]| {
        let mut command = room.other_command("prlimit");
        command.arg(format!("--nofile={limit}:{limit}"));
        command.arg(env!("CARGO_BIN_EXE_callsign")).args(words);
        Running::start(command)
    };
    let place = room.unix("registrar.sock");
    let serve = ["registrar", "--listen", &place];
    limited(registrar - 1, &serve).outcome().ends_with(7).says(&["cannot start: it needs"]);
    let mut node = limited(registrar, &serve);
    node.line_with("listening");
    let register_true = ["register", "a", "/unix/@of-few", "--registrar", &place, "--", "true"];
    limited(register, &register_true).outcome().succeeds();
    limited(register - 1, &register_true).outcome().ends_with(7).says(&["cannot start: it needs"]);
    node.stop().succeeds();
}
