//! Messages to the service manager.

use std::{
    io::ErrorKind,
    os::unix::net::{UnixDatagram, UnixListener},
    process::Command,
    time::Duration,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};

use crate::{
    harness::{LIMIT, Node, Room, Running},
    programs::python,
};

/// A service manager, as a service sees it.
pub(crate) struct Manager(UnixDatagram);

impl Manager {
    pub(crate) fn of(room: &Room) -> Self {
        Self(UnixDatagram::bind(room.file("notify.sock")).unwrap())
    }

    /// Makes a command its service, with a watchdog interval of 10 ms.
    pub(crate) fn watches(&self, room: &Room, command: &mut Command) {
        command.env("NOTIFY_SOCKET", room.file("notify.sock")).env("WATCHDOG_USEC", "20000");
    }

    /// Waits for a message that contains a text, and returns all messages up to that one.
    #[track_caller]
    pub(crate) fn hears(&self, expected: &str) -> Vec<String> {
        let mut heard: Vec<String> = Vec::new();
        while !heard.last().is_some_and(|it| it.contains(expected)) {
            let Some(message) = self.next(LIMIT) else { panic!("no `{expected}`: {heard:?}") };
            heard.push(message);
        }
        heard
    }

    fn next(&self, within: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(within)).unwrap();
        let mut buffer = [0; 256];
        match self.0.recv(&mut buffer) {
            Ok(count) => Some(String::from_utf8_lossy(&buffer[..count]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes the messages so far, and tells whether it is silent for ten times as long as a healthy
    /// service.
    fn hears_nothing_more(&self) -> bool {
        while self.next(Duration::from_millis(1)).is_some() {}
        self.next(Duration::from_millis(100)).is_none()
    }
}

const IS_WELL: &str = "WATCHDOG=1";

#[test]
fn the_watchdog_hears_of_a_loop_that_goes_round_and_of_no_other() {
    let room = Room::new();
    let manager = Manager::of(&room);
    let place = room.unix("r.sock");
    let file = room.write("callsign.toml", &format!("[registrar]\nlisten = \"{place}\"\n"));
    let mut command = room.command(&["registrar", "--config", &file]);
    manager.watches(&room, &mut command);
    let registrar = Running::start(command);
    manager.hears("READY=1");
    for _ in 0..5 {
        manager.hears(IS_WELL);
    }

    // Unreadable settings change nothing.
    std::fs::remove_file(&file).unwrap();
    mknodat(CWD, &*file, FileType::Fifo, Mode::RWXU, 0).unwrap();
    registrar.signal(Signal::HUP);
    let heard = manager.hears("RELOADING=1");
    assert!(heard.last().unwrap().contains("MONOTONIC_USEC="), "{heard:?}");
    manager.hears("READY=1");
    manager.hears(IS_WELL);

    registrar.signal(Signal::TERM);
    let heard = manager.hears("STOPPING=1");
    assert!(heard.iter().all(|it| !it.contains("READY=1")), "{heard:?}");
    assert_eq!(registrar.outcome().signal, Some(15));
}

#[test]
fn a_stopped_registrar_is_not_well_until_it_goes_on() {
    let room = Room::new();
    let manager = Manager::of(&room);
    let mut command = room.command(&["registrar", "--listen", &room.unix("r.sock")]);
    manager.watches(&room, &mut command);
    let registrar = Running::start(command);
    manager.hears(IS_WELL);
    registrar.signal(Signal::STOP);
    let stopped = format!("/proc/{}/stat", registrar.pid());
    while !std::fs::read_to_string(&stopped).unwrap().contains(") T ") {}
    assert!(manager.hears_nothing_more(), "it is stopped, and says that it is well");
    registrar.signal(Signal::CONT);
    manager.hears(IS_WELL);
    registrar.stop().succeeds();
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let room = Room::new();
    let manager = Manager::of(&room);
    let mut command = room.command(&["registrar", "--listen", &room.unix("r.sock")]);
    manager.watches(&room, &mut command);
    command.env("WATCHDOG_PID", std::process::id().to_string());
    let registrar = Running::start(command);
    manager.hears("READY=1");
    assert!(manager.hears_nothing_more(), "the watchdog is another's");
    registrar.signal(Signal::TERM);
    let heard = manager.hears("STOPPING=1");
    assert!(!heard.iter().any(|it| it.contains(IS_WELL)), "{heard:?}");
    assert_eq!(registrar.outcome().signal, Some(15));
}

#[test]
fn the_watchdog_of_a_registration_is_fed_in_place_of_its_program() {
    let room = Room::new();
    let manager = Manager::of(&room);
    let node = Node::start(&room);
    let place = room.unix("web.sock");
    let held = ["register", "web", &place, "--state", "ready", "--registrar", node.endpoint()];
    let shows = "echo with ${WATCHDOG_USEC-nothing} ${WATCHDOG_PID-of nobody}; exec sleep 600";
    for (program, whose, shown) in [
        // It may feed it by itself, and until then need not.
        (&["--", "sh", "-c", shows][..], None, "with 20000 of nobody"),
        (&[], None, ""),
        // It is that of the process which has started this one.
        (&["--", "sh", "-c", shows], Some("1"), "with 20000 1"),
    ] {
        let mut command = room.command(&[&held[..], program].concat());
        manager.watches(&room, &mut command);
        command.envs(whose.map(|it| ("WATCHDOG_PID", it)));
        let mut web = Running::start(command);
        manager.hears("READY=1");
        if !shown.is_empty() {
            web.line_with(shown);
        }
        for _ in 0..5 {
            if whose.is_none() {
                manager.hears(IS_WELL);
            }
        }
        web.signal(Signal::TERM);
        let heard = manager.hears("STOPPING=1");
        assert!(whose.is_none() || !heard.iter().any(|it| it.contains(IS_WELL)), "{heard:?}");
        web.outcome().ends_by(15);
    }
}

/// Reports to the service manager as it starts, and listens when it is told to.
const TOLD: &str = "\
import os, socket, sys, time
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.sendto(b'STATUS=of the program', os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1))
sys.stdin.readline()
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(600)
";

#[test]
fn a_program_is_ready_for_its_manager_when_others_can_find_it() {
    let room = Room::new();
    let manager = Manager::of(&room);
    let node = Node::start(&room);
    for state in [None, Some("ready")] {
        let place = room.unix("web.sock");
        let python = python();
        let mut words = vec!["register", "web", &place, "--registrar", node.endpoint()];
        words.extend(state.iter().flat_map(|it| ["--state", it]));
        words.extend(["--", &python, "-c", TOLD, "{path}"]);
        let mut command = room.command(&words);
        command.env("NOTIFY_SOCKET", room.file("notify.sock"));
        let mut web = Running::start(command);
        if state.is_none() {
            assert_eq!(manager.hears("of the program").len(), 1);
            web.type_line("listen");
        }
        manager.hears("READY=1");
        let listed = node.callsign(&["ls", "web", "--json"]).succeeds().json();
        assert_eq!(listed[0]["state"], "ready", "{listed}");
        web.signal(Signal::TERM);
        let heard = manager.hears("STOPPING=1");
        assert!(heard.iter().all(|it| !it.contains("READY=1")), "{heard:?}");
        drop(web.outcome());
    }
}

/// Says lines of its input to the service manager, each a message whose parts `;` separates.
const SAYS: &str = "\
import os, socket, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for line in sys.stdin:
    if line.strip() == 'barrier':
        read, write = os.pipe()
        place = os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1)
        with_it = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, write.to_bytes(4, sys.byteorder))]
        manager.sendmsg([b'BARRIER=1'], with_it, 0, place)
        os.close(write)
        os.read(read, 1)
        print('passed', flush=True)
        continue
    message = line.strip().replace(';', '\\n').encode()
    manager.sendto(message, os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1))
";

#[test]
fn a_program_tells_its_manager_of_the_service_and_keeps_its_watchdog() {
    let room = Room::new();
    let manager = Manager::of(&room);
    let node = Node::start(&room);
    let (place, python) = (room.unix("web.sock"), python());
    let held = ["register", "web", &place, "--state", "ready", "--registrar", node.endpoint()];
    let mut command = room.command(&[&held[..], &["--", &python, "-c", SAYS]].concat());
    manager.watches(&room, &mut command);
    let mut web = Running::start(command);
    manager.hears("READY=1");
    manager.hears(IS_WELL);
    for (said, heard) in [
        ("STATUS=half way;MAINPID=1", "STATUS=half way\n"),
        ("RELOADING=1;MONOTONIC_USEC=7", "RELOADING=1\nMONOTONIC_USEC=7\n"),
        ("FDSTORE=1;READY=1", "READY=1\n"),
        ("EXTEND_TIMEOUT_USEC=70", "EXTEND_TIMEOUT_USEC=70\n"),
    ] {
        web.type_line(said);
        let all = manager.hears(heard);
        assert_eq!(all.last().unwrap(), heard, "{all:?}");
    }
    // What was said before has been read by then.
    web.type_line("barrier");
    web.line_with("passed");
    manager.hears(IS_WELL);

    // From its first word on it keeps the watchdog: this process does not vouch for it any more.
    web.type_line("WATCHDOG=1;STATUS=mine");
    let all = manager.hears("mine");
    assert_eq!(all.last().unwrap(), "WATCHDOG=1\nSTATUS=mine\n");
    assert!(manager.hears_nothing_more(), "the program says nothing, and is called well");
    web.type_line("WATCHDOG=1");
    assert_eq!(manager.hears(IS_WELL), ["WATCHDOG=1\n"]);
    // A manager that does not read holds up nobody.
    for number in 0..400 {
        web.type_line(&format!("STATUS={number}"));
    }
    web.type_line("barrier");
    web.line_with("passed");
    manager.hears("STATUS=399");
    web.type_line("STOPPING=1");
    manager.hears("STOPPING=1");
    // Its input ends with the test's, and so does it.
    web.outcome().succeeds();
}

#[test]
fn an_actor_is_not_ready_for_its_manager_while_no_registrar_has_it() {
    let room = Room::new();
    let manager = Manager::of(&room);
    let _listener = UnixListener::bind(room.file("web.sock")).unwrap();
    let [place, web] = ["r.sock", "web.sock"].map(|it| room.unix(it));
    let mut command = room.command(&["register", "web", &web, "--registrar", &place]);
    command.env("NOTIFY_SOCKET", room.file("notify.sock"));
    let mut kept = Running::start(command);
    kept.says("no registrar answers");
    let heard = manager.hears("STATUS=waiting for a registrar");
    assert!(heard[0].contains("EXTEND_TIMEOUT_USEC=90000000"), "{heard:?}");
    let node = Node::listen(&room, &[&place]);
    assert_eq!(manager.hears("READY=1").len(), 1, "it said nothing else before");
    node.callsign(&["find", "web"]).succeeds();
    kept.stop();
    manager.hears("STOPPING=1");
}

#[test]
fn a_standby_asks_its_manager_for_time_until_its_turn() {
    let room = Room::new();
    let manager = Manager::of(&room);
    let file = room.write("market.toml", "[names]\nleader = { exclusive = true }\n");
    let node = Node::start_with(&room, &[&room.unix("r.sock")], &["--config", &file]);
    let lead = |place: &str| {
        let words = ["register", "leader", place, "--wait", "--state", "ready"];
        let program = ["--registrar", node.endpoint(), "--", "sleep", "600"];
        let mut command = room.command(&[&words[..], &program].concat());
        command.env("NOTIFY_SOCKET", room.file("notify.sock"));
        Running::start(command)
    };
    let [first, second] = ["one", "two"].map(|it| room.abstract_unix(it));
    let first = lead(&first);
    manager.hears("READY=1");
    let second = lead(&second);
    let heard = manager.hears("STATUS=waiting in line for `leader` as the next");
    assert!(heard.concat().contains("EXTEND_TIMEOUT_USEC=90000000"), "{heard:?}");
    first.kill();
    let heard = manager.hears("READY=1");
    assert!(heard.concat().contains("EXTEND_TIMEOUT_USEC=90000000"), "{heard:?}");
    second.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    second.outcome().ends_by(15);
}

/// As during a reload of its units: its queue fills, and nobody waits for it.
#[test]
fn a_service_manager_that_does_not_read_holds_nothing_up() {
    let room = Room::new();
    let manager = Manager::of(&room);
    let place = room.unix("r.sock");
    let mut command = room.command(&["registrar", "--listen", &place]);
    manager.watches(&room, &mut command);
    let registrar = Running::start(command);
    manager.hears("READY=1");
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    for _ in 0..5 {
        // The queue stays full until the next sign of health fits.
        while other.send_to(b"STATUS=other", room.file("notify.sock")).is_ok() {}
        for _ in 0..3 {
            room.callsign(&["status", "--registrar", &place]).succeeds();
        }
        manager.hears(IS_WELL);
    }
    drop(manager);
    assert_eq!(registrar.stop().signal, Some(15));
}
