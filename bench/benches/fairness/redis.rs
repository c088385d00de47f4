//! Redis, and what floods it.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
};

use callsign_bench::server::{ServerProcess, is_there};

use crate::Act;

/// A Redis of its own process, which keeps nothing on a disk.
pub(crate) struct Redis {
    process: ServerProcess,
}

impl Redis {
    pub(crate) fn is_there() -> bool {
        is_there("redis-server")
    }

    pub(crate) fn start() -> Self {
        Self { process: ServerProcess::redis() }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.process.socket
    }

    /// Returns what a calm client asks.
    pub(crate) fn asks(&self) -> impl FnMut() + use<> {
        let mut client = Client::connect(self.socket());
        client.ask(&command(&["SET", "calm", &"x".repeat(200)]), 1);
        let asked = command(&["GET", "calm"]);
        // The length on a line of its own, then the value.
        move || client.ask(&asked, 2)
    }
}

/// A connection that counts the lines of what is answered.
struct Client(UnixStream);

impl Client {
    fn connect(socket: &Path) -> Self {
        Self(UnixStream::connect(socket).unwrap())
    }

    fn send(&mut self, commands: &[u8]) {
        self.0.write_all(commands).unwrap();
    }

    fn ask(&mut self, commands: &[u8], lines: usize) {
        let mut writer = self.0.try_clone().unwrap();
        thread::scope(|scope| {
            // Redis reads on while its answers wait; a socket's buffer would not.
            if commands.len() > 64 * 1024 {
                scope.spawn(move || writer.write_all(commands).unwrap());
            } else {
                writer.write_all(commands).unwrap();
            }
            let (mut seen, mut buffer) = (0, [0; 16 * 1024]);
            while seen < lines {
                let read = self.0.read(&mut buffer).unwrap();
                assert_ne!(read, 0, "Redis has closed the connection");
                seen += buffer[..read].iter().filter(|it| **it == b'\n').count();
            }
        });
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn set_long_names(client: &mut Client) {
    for part in 0..200 {
        let set = |it: usize| command(&["SET", &crate::floods::long_name(100 * part + it), "x"]);
        client.ask(&(0..100).flat_map(set).collect::<Vec<_>>(), 100);
    }
}

fn keys() -> Vec<u8> {
    command(&["KEYS", &("*a".repeat(120) + "x")])
}

pub(crate) fn list(socket: &Path) -> Act {
    let mut client = Client::connect(socket);
    set_long_names(&mut client);
    Box::new(move || client.ask(&keys(), 1))
}

pub(crate) fn lists(socket: &Path) -> Act {
    let mut client = Client::connect(socket);
    set_long_names(&mut client);
    Box::new(move || client.ask(&keys().repeat(10), 10))
}

pub(crate) fn writes(socket: &Path) -> Act {
    let mut client = Client::connect(socket);
    let value = "x".repeat(250);
    let set = |it: usize| command(&["SET", &format!("feed-{it}"), &value]);
    let sets: Vec<_> = (0..4096).flat_map(set).collect();
    Box::new(move || client.ask(&sets, 4096))
}

pub(crate) fn watches(socket: &Path) -> Act {
    let watching: Vec<_> = (0..16)
        .map(|session| {
            let mut client = Client::connect(socket);
            let pattern = |it: usize| "*a".repeat(120) + &format!("x{session}-{it}");
            let watch = |it: usize| command(&["PSUBSCRIBE", &pattern(it)]);
            // Each is answered with six lines.
            client.ask(&(0..256).flat_map(watch).collect::<Vec<_>>(), 6 * 256);
            client
        })
        .collect();
    let mut client = Client::connect(socket);
    Box::new(move || {
        let _watching = &watching;
        let publish = |it: usize| command(&["PUBLISH", &crate::floods::long_name(it), "x"]);
        client.ask(&(0..20).flat_map(publish).collect::<Vec<_>>(), 20);
    })
}

pub(crate) fn claims(socket: &Path) -> Act {
    let mut client = Client::connect(socket);
    Box::new(move || {
        let claim = |at: usize| {
            let one = format!("n{at}");
            let add = move |it: usize| command(&["SADD", &format!("claim-{it}"), &one]);
            (0..64).flat_map(add)
        };
        client.ask(&(0..200).flat_map(claim).collect::<Vec<_>>(), 200 * 64);
    })
}

pub(crate) fn waits(socket: &Path) -> Act {
    let mut waiting: Vec<_> = (0..50).map(|_| Client::connect(socket)).collect();
    let wait = command(&["BLPOP", "fat", "0"]).repeat(1024);
    waiting.iter_mut().for_each(|it| it.send(&wait));
    let mut client = Client::connect(socket);
    let fat = "x".repeat(16_000);
    let push = command(&[vec!["RPUSH", "fat"], vec![fat.as_str(); 50]].concat());
    Box::new(move || {
        client.ask(&push, 1);
        for waiting in &mut waiting {
            // The number of parts, each with its length before it.
            waiting.ask(b"", 5);
        }
    })
}

pub(crate) fn ends(socket: &Path) -> Act {
    let mut client = Client::connect(socket);
    let value = "x".repeat(250);
    Box::new(move || {
        for part in 0..64 {
            let set = |it: usize| command(&["HSET", "all", &format!("{part}-{it}"), &value]);
            client.ask(&(0..1024).flat_map(set).collect::<Vec<_>>(), 1024);
        }
        client.ask(&command(&["DEL", "all"]), 1);
    })
}

pub(crate) fn halves(socket: &Path) -> Act {
    let socket = socket.to_owned();
    Box::new(move || {
        let half = |_| {
            let mut client = Client::connect(&socket);
            client.send(b"*2\r\n$3\r\nGET\r\n$16777216\r\n");
            client.send(&[b'x'; 100 * 1024]);
            client
        };
        drop((0..100).map(half).collect::<Vec<_>>());
    })
}

pub(crate) fn mute(socket: &Path) -> Act {
    let socket = socket.to_owned();
    Box::new(move || drop((0..500).map(|_| Client::connect(&socket)).collect::<Vec<_>>()))
}
