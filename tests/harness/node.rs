//! A registrar node: the real program.

use std::{fs, net::SocketAddr};

use rustix::process::Signal;
use serde::Deserialize;

use super::{LIMIT, Outcome, Room, Running, now};

/// A registrar node, bound and ready.
#[derive(Debug)]
pub(crate) struct Node<'room> {
    room: &'room Room,
    more: Vec<String>,
    running: Running,
    endpoints: Vec<String>,
    dns: Option<String>,
    http: Vec<String>,
}

/// The contents of a registrar, as in `callsign status --json`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) instances: u64,
    pub(crate) sessions: u64,
    pub(crate) waiters: u64,
    pub(crate) watchers: u64,
}

impl<'room> Node<'room> {
    /// Starts a node at a socket in the room.
    #[track_caller]
    pub(crate) fn start(room: &'room Room) -> Self {
        Self::listen(room, &[&room.unix("registrar.sock")])
    }

    /// Starts a node that listens at these places.
    #[track_caller]
    pub(crate) fn listen(room: &'room Room, listen: &[&str]) -> Self {
        Self::start_with(room, listen, &[])
    }

    /// Starts a node that listens at these places, with further arguments, and waits until it is
    /// ready.
    #[track_caller]
    pub(crate) fn start_with(room: &'room Room, listen: &[&str], more: &[&str]) -> Self {
        let mut command = room.command(&["registrar", "--ready-fd", "1"]);
        command.args(more).args(listen.iter().flat_map(|it| ["--listen", *it]));
        let mut running = Running::start(command);
        let (mut endpoints, mut dns, mut http) = (Vec::new(), None, Vec::new());
        loop {
            let line = running.line("a place or `ready`", |_| true);
            if let Some(address) = line.strip_prefix("answering DNS at ") {
                dns = Some(address.to_owned());
                continue;
            }
            if let Some(endpoint) = line.strip_prefix("answering HTTP at ") {
                http.push(endpoint.to_owned());
                continue;
            }
            match line.strip_prefix("listening on ") {
                Some(endpoint) => endpoints.push(endpoint.to_owned()),
                None => {
                    assert_eq!(line, "ready", "{running}");
                    let more = more.iter().map(|it| (*it).to_owned()).collect();
                    return Self { room, more, running, endpoints, dns, http };
                }
            }
        }
    }

    /// Kills the node without a warning, and starts another at the same places.
    #[track_caller]
    pub(crate) fn restart(self) -> Self {
        let Self { room, more, running, endpoints, .. } = self;
        running.kill();
        Self::start_with(room, &words(&endpoints), &words(&more))
    }

    /// Runs `callsign …` with this node as its registrar, to its end.
    #[track_caller]
    pub(crate) fn callsign(&self, args: &[&str]) -> Outcome {
        self.run(args).outcome()
    }

    /// Starts `callsign …` with this node as its registrar.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Running {
        self.room.run(&[&["--registrar", &self.endpoints[0]], args].concat())
    }

    /// Returns the endpoints at which it listens, with the real ports.
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Returns the first endpoint at which it listens.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoints[0]
    }

    /// Returns the address at which it answers DNS.
    pub(crate) fn dns(&self) -> SocketAddr {
        let address = self.dns.as_ref().expect("its settings make it a DNS server");
        address.parse().expect("it prints an address and a port")
    }

    /// Returns the endpoints at which it answers HTTP.
    pub(crate) fn http(&self) -> &[String] {
        &self.http
    }

    /// Returns the room in which it runs.
    pub(crate) fn room(&self) -> &'room Room {
        self.room
    }

    /// Returns the process.
    pub(crate) fn process(&self) -> &Running {
        &self.running
    }

    /// Makes it reload its settings, and waits until it reports the result.
    #[track_caller]
    pub(crate) fn reload(&mut self, said: &str) {
        self.running.signal(Signal::HUP);
        self.says(said);
    }

    /// Waits for a line on standard error that contains a text, and returns it.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> String {
        self.running.says(text)
    }

    /// Returns its contents. The caller's own session is not counted.
    #[track_caller]
    pub(crate) fn counts(&self) -> Counts {
        let deadline = now() + LIMIT;
        loop {
            let asked = self.callsign(&["status", "--json"]);
            let status = &asked.json()[0]["status"];
            match serde_json::from_value::<Counts>(status.clone()) {
                Ok(counts) => return Counts { sessions: counts.sessions - 1, ..counts },
                // On a busy machine the answer may take longer than the command waits.
                Err(_) if status.is_null() && now() < deadline => {}
                Err(error) => panic!("the counts cannot be read: {error}\n{asked}"),
            }
        }
    }

    /// Polls the counts until they are as expected.
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

    /// Returns its resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.running.pid());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Returns the number of its open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.running.pid())).unwrap().count()
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn outcome(self) -> Outcome {
        self.running.outcome()
    }

    /// Kills it without a warning.
    #[track_caller]
    pub(crate) fn kill(self) -> Outcome {
        self.running.kill()
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn stop(self) -> Outcome {
        self.running.stop()
    }

    /// Asks it to end as [`stop`](Self::stop) does, by another signal.
    #[track_caller]
    pub(crate) fn stop_by(self, signal: Signal) -> Outcome {
        self.running.stop_by(signal)
    }
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
