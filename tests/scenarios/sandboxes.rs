//! Sandboxes without some of the usual surroundings: outside processes, `/proc`, networks.

use std::{fs, process::Command};

use rustix::process::Signal;

use crate::harness::{Node, Outcome, Room, Running};

/// Starts `callsign …` in separate namespaces, by a script in which `"$@"` is the command.
fn sandboxed(room: &Room, kinds: &[&str], script: &str, words: &[&str]) -> Command {
    let mut command = room.other_command("unshare");
    command.args(kinds).args(["sh", "-c", script, "sandbox", env!("CARGO_BIN_EXE_callsign")]);
    command.args(words);
    command
}

/// Tells whether there can be such namespaces here.
fn can_be_made(room: &Room, kinds: &[&str], script: &str) -> bool {
    Running::start(sandboxed(room, kinds, script, &["--version"])).outcome().code == Some(0)
}

/// The first process of a PID namespace is in a group that began outside of it, and that has no
/// number inside; this is so with `podman exec`.
const PROCESSES: &[&str] = &["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

#[test]
fn without_a_loopback_interface_the_demo_says_so() {
    let room = Room::new();
    let network: &[&str] = &["--net"];
    if !can_be_made(&room, network, "exec \"$@\"") {
        eprintln!("skipped: no network namespace can be made here");
        return;
    }
    let alone =
        |words: &[&str]| Running::start(sandboxed(&room, network, "exec \"$@\"", words)).outcome();
    let down = "the loopback interface is down here; `ip link set lo up` brings it up";
    let demo = alone(&["demo"]).ends_with(2);
    assert!(demo.stdout.is_empty(), "{demo}");
    demo.says(&[down]);
    let asked = ["ls", "--registrar", "/ip4/127.0.0.1/tcp/1616"];
    alone(&asked).ends_with(3).says(&[down]);
}

/// Two containers that share the registrar's socket, with a server at the same port in each.
#[test]
fn a_lease_of_another_network_namespace_is_another() {
    let room = Room::new();
    let (network, up): (&[&str], _) = (&["--net"], "ip link set lo up && exec \"$@\"");
    if !can_be_made(&room, network, up) {
        eprintln!("skipped: no network namespace can be made here");
        return;
    }
    let node = Node::start(&room);
    for place in ["/ip4/127.0.0.1/tcp/8001", "/unix/@web"] {
        let words = ["register", "web", place, "--ttl", "5m", "--state", "ready"];
        node.callsign(&words).succeeds().prints(&["registered web["]);
        let registrar = ["--registrar", node.endpoint()];
        let other = sandboxed(&room, network, up, &[&words[..], &registrar].concat());
        Running::start(other).outcome().succeeds().prints(&["registered web["]);
        node.callsign(&words).succeeds().prints(&["renewed web["]);
        node.callsign(&["find", "web"]).succeeds().prints(&[place]);
        node.callsign(&["unregister", "web", "--all"]).succeeds();
    }
}

/// Its loopback is up, and has no address of IPv4.
const IPV6_ONLY: &str = "ip link set lo up && ip address delete 127.0.0.1/8 dev lo && exec \"$@\"";

#[test]
fn a_host_without_ipv4_is_told_that_it_is_without() {
    let room = Room::new();
    let network: &[&str] = &["--net"];
    if !can_be_made(&room, network, IPV6_ONLY) {
        eprintln!("skipped: it takes network namespaces, `ip` of iproute2, and IPv6");
        return;
    }
    let alone =
        |words: &[&str]| Running::start(sandboxed(&room, network, IPV6_ONLY, words)).outcome();
    let lacks = "this host has no address 127.0.0.1; its loopback is ::1";
    let says_so = |words: &[&str]| {
        let outcome = alone(words).ends_with(3);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains(lacks) && !said.contains("is down"), "{outcome}");
        outcome
    };
    says_so(&["ls"]).says(&["start one here: `callsign registrar`\n"]);
    says_so(&["status"]);
    says_so(&["ls", "--registrar", "/ip4/127.0.0.1/tcp/1616"]);
    let draws = ["register", "web", "/ip4/127.0.0.1/tcp/0", "--", "echo", "{port}"];
    let instead = "the loopback of this machine is `/ip6/::1/tcp/0`";
    let refused = alone(&draws).ends_with(7);
    refused.says(&["no port can be drawn", "`/ip4/127.0.0.1/tcp/0`", instead]);
}

#[test]
fn a_host_without_ipv6_is_told_that_it_is_without() {
    let room = Room::new();
    let network: &[&str] = &["--net"];
    let script = "ip link set lo up && ip address delete ::1/128 dev lo && exec \"$@\"";
    if !can_be_made(&room, network, script) {
        eprintln!("skipped: it takes network namespaces, `ip` of iproute2, and IPv6");
        return;
    }
    let asked = ["ls", "--registrar", "/ip6/::1/tcp/1616"];
    let outcome = Running::start(sandboxed(&room, network, script, &asked)).outcome();
    let lacks = "this host has no address ::1; its loopback is 127.0.0.1";
    outcome.ends_with(3).says(&[lacks]);
}

#[test]
fn a_program_is_wrapped_where_its_starter_has_no_process_group() {
    let room = Room::new();
    if !can_be_made(&room, PROCESSES, "exec \"$@\"") {
        eprintln!("skipped: no PID namespace can be made here");
        return;
    }
    let node = Node::start(&room);
    let (place, own) = (room.unix("web.sock"), env!("CARGO_BIN_EXE_callsign"));
    let asked = ["--registrar", node.endpoint()];
    let program = ["register", "web", &place, "--", own, "registrar", "--listen", &place];
    let words = [&asked[..], &program].concat();
    let mut web = Running::start(sandboxed(&room, PROCESSES, "exec \"$@\"", &words));
    web.line_with("listening on");
    node.callsign(&["wait", "web", "--timeout", "60s"]).succeeds().prints(&["web"]);
    // All processes in the namespace end with its maker.
    web.kill();

    // The same holds for a tree of actors, and for the program that keeps it.
    Running::start(sandboxed(&room, PROCESSES, "exec \"$@\"", &["demo"])).outcome().succeeds();
}

/// The numbers of processes in `/proc` are those outside, where a stranger has the one of the wrapped
/// program's guardian.
#[test]
fn a_program_is_ended_where_proc_shows_other_numbers() {
    let room = Room::new();
    let outside: &[&str] = &["--pid", "--fork", "--kill-child"];
    if !can_be_made(&room, outside, "exec \"$@\"") {
        eprintln!("skipped: no PID namespace can be made here");
        return;
    }
    let node = Node::start(&room);
    // It leaves one behind that has its own process group, and ends when it is asked to.
    let child = room.file("child").display().to_string();
    let script = "setsid sleep 1000 & echo $! >\"$0\"; trap 'echo asked to end; exit 0' TERM; \
                  echo began; while :; do sleep 0.1; done";
    let words = ["--registrar", node.endpoint(), "register", "web", "/unix/@web", "--", "sh", "-c"];
    // The first process in the namespace tells how it went.
    let tell = "\"$@\" & own=$!; read line; kill $own; wait $own; echo \"ended with $?\"; \
                kill -0 \"$(cat child)\" 2>/dev/null || echo nobody is left";
    let words = [&words[..], &[script, &child]].concat();
    let mut web = Running::start(sandboxed(&room, outside, tell, &words));
    web.line_with("began");
    web.type_line("end");
    web.line_with("asked to end");
    web.line_with("ended with 0");
    web.line_with("nobody is left");
}

const MOUNTS: &[&str] = &["--mount"];
const NO_PROC: &str = "umount -l /proc; exec \"$@\"";

#[test]
fn a_registrar_serves_where_no_processes_are_seen() {
    let room = Room::new();
    if !can_be_made(&room, MOUNTS, NO_PROC) {
        eprintln!("skipped: /proc cannot be unmounted here");
        return;
    }
    let place = room.unix("registrar.sock");
    let no_proc = |words: &[&str]| sandboxed(&room, MOUNTS, NO_PROC, words);
    // Again after a kill, and with an explicit mode.
    for mode in ["0600", "0666"] {
        let settings = format!("[registrar]\nsocket_mode = \"{mode}\"\n");
        let settings = room.write("callsign.toml", &settings);
        let words = ["registrar", "--config", &settings, "--listen", &place];
        let mut registrar = Running::start(no_proc(&words));
        match registrar.line_or_end("listening on") {
            Some(_) => {}
            // A kernel before Linux 6.6 recognises it too.
            None => {
                registrar.outcome().ends_with(2).says(&["/proc is not mounted here"]);
                return;
            }
        }
        let asked = |words: &[&str]| -> Outcome {
            Running::start(no_proc(&[&["--registrar", &place], words].concat())).outcome()
        };
        let words = ["register", "clock", "/unix/@clock", "--ttl", "1m"];
        asked(&words).succeeds().says(&["cannot learn which kernel"]);
        asked(&["ls", "--all"]).succeeds().prints(&["clock"]);
        registrar.kill();
    }
    let demo = Running::start(no_proc(&["demo"])).outcome().ends_with(2);
    demo.says(&["/proc is not mounted"]);
}

/// A reader of the lists of users and groups waits for a writer, as for an absent server.
const SILENT: &str = "mkfifo -m 600 silent 2>/dev/null; mount --bind silent /etc/passwd; \
                      mount --bind silent /etc/group; exec \"$@\"";

#[test]
fn a_directory_of_users_that_does_not_answer_is_not_waited_for_endlessly() {
    let [room, later] = [Room::new(), Room::new()];
    if !can_be_made(&room, MOUNTS, SILENT) {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    // A number that may be a name, too.
    let settings = "[registrar]\nsocket_group = \"100\"\n";
    let silenced =
        |room: &Room, words: &[&str]| Running::start(sandboxed(room, MOUNTS, SILENT, words));
    let registrar = |room: &Room| {
        let (place, settings) =
            (room.unix("registrar.sock"), room.write("callsign.toml", settings));
        silenced(room, &["registrar", "--config", &settings, "--listen", &place])
    };
    let [mut ended, mut answered] = [registrar(&room), registrar(&later)];
    let checked = silenced(&room, &["check", "callsign.toml"]);
    let listed = silenced(&room, &["find", "feed", "--owner", "nobody"]);
    for registrar in [&mut ended, &mut answered] {
        registrar.says("the system's directory of users and groups (NSS), does not answer");
    }
    // It is still waiting, and can be ended all the same.
    let ended = ended.stop();
    assert_eq!(ended.signal, Some(15), "{ended}");
    checked.outcome().succeeds().says(&["is not checked"]);
    listed.outcome().ends_with(2).says(&["who is `nobody`?", "write the user's number"]);

    // A request to reload does not end it; it is met once the registrar serves.
    answered.signal(Signal::HUP);
    fs::write(later.file("silent"), "").unwrap();
    answered.line_with("listening on");
    answered.says("the settings were not read within 5s");
    let ended = answered.stop();
    assert_eq!(ended.signal, Some(15), "{ended}");
}
