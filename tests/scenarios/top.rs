//! `callsign top`, on a terminal of its own.

use rustix::process::Signal;

use super::programs::python;
use crate::harness::{Node, Room, Running};

/// A terminal with `top` on it.
struct Terminal(Running);

impl Terminal {
    /// Starts a shell's command; `$CALLSIGN` is the tested binary.
    fn start(room: &Room, node: &Node<'_>, command: &str, variables: &[(&str, &str)]) -> Self {
        let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/scenarios/on_screen.py");
        let mut started = room.other_command(&python());
        started.arg(driver).args(["sh", "-c", command]);
        started.env("TERM", "xterm").env_remove("NO_COLOR").envs(variables.iter().copied());
        started.env("CALLSIGN", env!("CARGO_BIN_EXE_callsign"));
        started.env("CALLSIGN_REGISTRAR", node.endpoint());
        Self(Running::start(started))
    }

    fn top(room: &Room, node: &Node<'_>) -> Self {
        let mut terminal = Self::start(room, node, "exec \"$CALLSIGN\" top", &[]);
        terminal.shows("q quit");
        terminal
    }

    fn order(&mut self, order: &str) {
        self.0.type_line(order);
    }

    /// Waits until a text is on the screen, and returns its line.
    fn shows(&mut self, text: &str) -> String {
        self.order(&format!("await {text}"));
        self.0.line_with("shown:")
    }

    fn loses(&mut self, text: &str) {
        self.order(&format!("gone {text}"));
        self.0.line_with("gone:");
    }

    /// Waits until the command ends so, with the terminal as it was.
    #[track_caller]
    fn ends_clean(mut self, expected: i32) {
        let line = self.0.line_with("ended:");
        let clean = format!("ended: {expected}, modes as before, screen of before, cursor");
        assert_eq!(line, clean);
    }
}

#[test]
fn top_follows_what_comes_and_goes() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut terminal = Terminal::top(&room, &node);
    terminal.shows("0 instances");
    terminal.shows("nothing is registered");
    let lease = |name: &str, more: &[&str]| {
        let endpoint = format!("/unix/@{name}-on-top");
        let register = ["register", name, &endpoint, "--ttl", "10m", "--state", "ready"];
        node.callsign(&[&register[..], more].concat()).succeeds();
    };
    lease("feed", &["--meta", "desk=rates"]);
    assert!(terminal.shows("/unix/@feed-on-top").contains("> feed"), "the first is chosen");
    lease("market", &["--meta", "tree.path=market", "--meta", "tree.kind=root"]);
    let mut desk = node.run(&["register", "desk", "/ip4/127.0.0.1/tcp/7", "--state", "ready"]);
    desk.line_with("registered");
    terminal.shows("3 instances");
    terminal.shows("+ desk[");

    terminal.order("type /rates\\r");
    terminal.shows("1 of 3 instances; by name; filter: rates");
    terminal.loses("/unix/@market-on-top");
    terminal.order("type \\r");
    terminal.shows("desk = rates");
    terminal.shows("lease of 10m");
    terminal.order("type \\x1b");
    terminal.loses("lease of 10m");
    terminal.order("type \\x1b");
    terminal.shows("market");
    terminal.order("type t");
    terminal.shows("1 of 3 instances; trees");
    terminal.shows("KIND");
    terminal.order("type ts\\x1b[B\\x1b[B");
    terminal.shows("3 instances; by age");
    terminal.shows("> feed");

    desk.kill();
    terminal.shows("- desk[");
    terminal.loses("tcp/7");
    let node = {
        node.process().signal(Signal::STOP);
        terminal.shows("NO REGISTRAR ANSWERS, as it was");
        node.process().signal(Signal::CONT);
        terminal.shows("2 instances");
        node
    };
    let node = node.restart();
    node.callsign(&["register", "again", "/unix/@again", "--ttl", "10m"]).succeeds();
    terminal.shows("again");
    terminal.order("type q");
    terminal.ends_clean(0);
}

#[test]
fn top_gives_the_terminal_back_on_every_signal() {
    let room = Room::new();
    let node = Node::start(&room);
    let of_program =
        [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];
    let others = [Signal::ALARM, Signal::ABORT, Signal::XCPU, Signal::IO, Signal::TRAP];
    let numbers = of_program.iter().chain(&others).map(|it| it.as_raw()).chain([40]);
    for number in numbers {
        let mut terminal = Terminal::top(&room, &node);
        terminal.order(&format!("signal {number}"));
        terminal.ends_clean(-number);
    }
    for (typed, number) in [("\\x03", Signal::INT), ("\\x1c", Signal::QUIT)] {
        let mut terminal = Terminal::top(&room, &node);
        terminal.order(&format!("type {typed}"));
        terminal.ends_clean(-number.as_raw());
    }
}

#[test]
fn top_is_stopped_and_continues() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut terminal = Terminal::top(&room, &node);
    for stop in ["type \\x1a".to_owned(), format!("signal {}", Signal::TSTP.as_raw())] {
        terminal.order(&stop);
        terminal.order("stopped");
        let line = terminal.0.line_with("stopped:");
        assert_eq!(line, "stopped: modes as before, screen of before, cursor");
        terminal.order(&format!("signal {}", Signal::CONT.as_raw()));
        terminal.shows("0 instances");
    }
    terminal.order("type q");
    terminal.ends_clean(0);
}

#[test]
fn top_ends_with_its_terminal() {
    let room = Room::new();
    let node = Node::start(&room);
    for command in ["exec \"$CALLSIGN\" top", "trap '' HUP; exec \"$CALLSIGN\" top"] {
        let mut terminal = Terminal::start(&room, &node, command, &[]);
        terminal.shows("q quit");
        terminal.order("hangup");
        terminal.0.line_with("ended:");
    }
    // A terminal that takes nothing does not keep it.
    let mut terminal = Terminal::top(&room, &node);
    terminal.order("stall");
    for at in 0..40 {
        terminal.order(&format!("size {} {}", 100 + at % 2, 300 + at % 3));
    }
    terminal.order(&format!("signal {}", Signal::TERM.as_raw()));
    let line = terminal.0.line_with("ended:");
    assert!(line.starts_with("ended: -15, modes as before"), "{line}");
}

#[test]
fn top_fits_every_terminal() {
    let room = Room::new();
    let node = Node::start(&room);
    for at in 0..30 {
        let (name, endpoint) = (format!("feed{at}"), format!("/unix/@feed{at}-on-small"));
        node.callsign(&["register", &name, &endpoint, "--ttl", "10m"]).succeeds();
    }
    let mut terminal = Terminal::top(&room, &node);
    terminal.shows("30 instances");
    for (rows, columns) in [(24, 80), (10, 40), (5, 14), (3, 9), (2, 2), (1, 1), (0, 0), (60, 240)]
    {
        terminal.order(&format!("size {rows} {columns}"));
        for keys in ["\\x1b[6~", "t", "t", "\\r", "\\r", "?", "x"] {
            terminal.order(&format!("type {keys}"));
        }
        if rows >= 10 {
            terminal.shows("30 instances");
        }
    }
    terminal.shows("INSTANCE");
    terminal.order("type q");
    terminal.ends_clean(0);
}

#[test]
fn top_needs_a_terminal_and_no_colours() {
    let room = Room::new();
    let node = Node::start(&room);
    let starting = ["register", "feed", "/unix/@feed", "--ttl", "10m", "--state", "starting"];
    node.callsign(&starting).succeeds();
    node.callsign(&["top"]).ends_with(2).says(&["needs a terminal", "callsign watch"]);
    node.callsign(&["top", "--json"]).ends_with(2).says(&["no output for programs"]);
    let colours = |variables: &[(&str, &str)]| {
        let mut terminal = Terminal::start(&room, &node, "exec \"$CALLSIGN\" top", variables);
        terminal.shows("feed");
        terminal.order("colours");
        let line = terminal.0.line_with("colours");
        terminal.order("type q");
        terminal.ends_clean(0);
        line == "colours"
    };
    assert!(colours(&[]));
    assert!(!colours(&[("NO_COLOR", "1")]));
    let dumb = [("TERM", "dumb")];
    let mut terminal = Terminal::start(&room, &node, "exec \"$CALLSIGN\" top", &dumb);
    let left = terminal.0.line_with("left:");
    assert!(left.contains("the variable TERM names none"), "{left}");
    terminal.ends_clean(2);
}
