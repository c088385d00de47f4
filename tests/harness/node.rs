//! A registrar node: the real program.

use std::fs;

use serde::Deserialize;

use super::{LIMIT, Outcome, Room, Running, now};

/// A registrar node, bound and ready.
#[derive(Debug)]
pub(crate) struct Node<'room> {
    room: &'room Room,
    args: Vec<String>,
    running: Running,
    endpoints: Vec<String>,
}

/// How much a registrar keeps, as `callsign status --json` tells it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) instances: u64,
    pub(crate) sessions: u64,
    pub(crate) waiters: u64,
    pub(crate) watchers: u64,
}

impl<'room> Node<'room> {
    /// Starts a node where commands look for one by themselves.
    #[track_caller]
    pub(crate) fn start(room: &'room Room) -> Self {
        let socket = room.unix("callsign/registrar.sock");
        fs::create_dir(room.file("callsign")).unwrap();
        Self::start_with(room, &["--listen", &socket])
    }

    /// Starts `callsign registrar …`, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start_with(room: &'room Room, args: &[&str]) -> Self {
        let args: Vec<_> = args.iter().map(|it| (*it).to_owned()).collect();
        let (running, endpoints) = launch(room, &args);
        Self { room, args, running, endpoints }
    }

    /// Kills the node and starts it again at once, with the same words. It hears nothing of its
    /// end.
    #[track_caller]
    pub(crate) fn restart(self) -> Self {
        let Self { room, args, running, .. } = self;
        running.kill();
        let (running, endpoints) = launch(room, &args);
        Self { room, args, running, endpoints }
    }

    /// Returns where it listens, with the real ports.
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Returns the process.
    pub(crate) fn process(&self) -> &Running {
        &self.running
    }

    /// Returns how much it keeps. The session of the one who asks is not counted.
    #[track_caller]
    pub(crate) fn counts(&self) -> Counts {
        let asked = self.room.callsign(&["status", "--json", "--registrar", &self.endpoints[0]]);
        let status = &asked.json()[0]["status"];
        let counts: Counts = match serde_json::from_value(status.clone()) {
            Ok(counts) => counts,
            Err(error) => panic!("the counts cannot be read: {error}\n{asked}"),
        };
        Counts { sessions: counts.sessions - 1, ..counts }
    }

    /// Asks for the counts until they are as expected.
    #[track_caller]
    pub(crate) fn comes_to(&self, expected: Counts) {
        let deadline = now() + LIMIT;
        loop {
            let counts = self.counts();
            if counts == expected {
                return;
            }
            assert!(now() < deadline, "the counts are {counts:?}, and not {expected:?}");
        }
    }

    /// Returns how much memory it has resident, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.running.pid());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Kills it; it hears nothing of that.
    #[track_caller]
    pub(crate) fn kill(self) -> Outcome {
        self.running.kill()
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn stop(self) -> Outcome {
        self.running.signal(rustix::process::Signal::TERM);
        self.running.outcome()
    }
}

#[track_caller]
fn launch(room: &Room, args: &[String]) -> (Running, Vec<String>) {
    let mut command = room.command(&["registrar", "--ready-fd", "1"]);
    command.args(args);
    let mut running = Running::start(command);
    let mut endpoints = Vec::new();
    loop {
        let line = running.line("a place or `ready`", |_| true);
        match line.strip_prefix("listening on ") {
            Some(endpoint) => endpoints.push(endpoint.to_owned()),
            None => {
                assert_eq!(line, "ready", "{running}");
                return (running, endpoints);
            }
        }
    }
}
