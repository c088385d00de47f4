//! The servers that are compared, and what each is asked.

use std::{iter, ops::Range, path::PathBuf};

use bytes::BytesMut;
use callsign_bench::{
    lookups, node_binary, registrations,
    server::{ServerProcess, is_on_path, is_there},
};
use uuid::Uuid;
use wire::{
    Frame, encode_body,
    registrar::{UNREGISTER, Unregister, WATCH, Watch},
};

use crate::{
    bare,
    link::{Link, frames},
};

/// A server to compare.
#[derive(Clone)]
pub(crate) struct Peer {
    /// As the table names it.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The binary of a registrar.
    binary: PathBuf,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Kind {
    Callsign,
    Redis,
    Memcached,
    Etcd,
    Epmd,
    /// A loop that answers every frame at once with the same bytes: what the kernel takes.
    Bare,
}

/// Requests, and how many frames or lines answer each of their parts.
pub(crate) struct Requests {
    pub(crate) batches: Vec<BytesMut>,
    /// The number of operations, and the answers to one.
    pub(crate) count: usize,
    depth: usize,
    answers: usize,
}

impl Peer {
    /// Finds the servers to compare. `CALLSIGN_NODES` names several registrars' binaries, to
    /// compare them too: `before=/a/callsign:now=/b/callsign`.
    pub(crate) fn all() -> (Vec<Self>, Vec<&'static str>) {
        let mut peers = Vec::new();
        let nodes = std::env::var("CALLSIGN_NODES").unwrap_or_default();
        for (name, binary) in nodes.split(':').filter_map(|it| it.split_once('=')) {
            let (name, binary) = (name.to_owned(), binary.into());
            peers.push(Self { name, kind: Kind::Callsign, binary });
        }
        if peers.is_empty()
            && let Some(binary) = node_binary()
        {
            peers.push(Self { name: "callsign".to_owned(), kind: Kind::Callsign, binary });
        }
        let mut missing = Vec::new();
        for (kind, name, program) in
            [(Kind::Redis, "Redis", "redis-server"), (Kind::Memcached, "memcached", "memcached")]
        {
            if is_there(program) {
                peers.push(Self { name: name.to_owned(), kind, binary: PathBuf::new() });
            } else {
                missing.push(program);
            }
        }
        for (kind, program) in [(Kind::Etcd, "etcd"), (Kind::Epmd, "epmd")] {
            if is_on_path(program) {
                peers.push(Self { name: program.to_owned(), kind, binary: PathBuf::new() });
            } else {
                missing.push(program);
            }
        }
        peers.push(Self { name: "bare".to_owned(), kind: Kind::Bare, binary: PathBuf::new() });
        (peers, missing)
    }

    /// Tells whether it keeps what it is told, and is measured with as much as the fastest: etcd,
    /// which writes to a disk, is not, and Erlang's port mapper has connections that last for
    /// instances only.
    pub(crate) fn is_quick(&self) -> bool {
        matches!(self.kind, Kind::Callsign | Kind::Redis | Kind::Memcached)
    }

    /// Returns a number of operations, or fewer for one that is not quick.
    pub(crate) fn share(&self, operations: usize) -> usize {
        if self.kind == Kind::Etcd { operations / SLOW } else { operations }
    }

    /// Returns the binary of a registrar.
    pub(crate) fn binary(&self) -> Option<&std::path::Path> {
        (self.kind == Kind::Callsign).then_some(&self.binary)
    }

    /// Starts it. A registrar pings nobody, unless it has its usual heartbeat.
    pub(crate) fn start(&self, has_usual_heartbeat: bool) -> ServerProcess {
        let heartbeat: &[&str] = if has_usual_heartbeat { &[] } else { &["--heartbeat", "1h"] };
        match self.kind {
            Kind::Callsign => ServerProcess::callsign(&self.binary, SETTINGS, heartbeat),
            Kind::Redis => ServerProcess::redis(),
            Kind::Memcached => ServerProcess::memcached(),
            Kind::Etcd => ServerProcess::etcd(),
            Kind::Epmd => ServerProcess::epmd(),
            Kind::Bare => ServerProcess::again(bare::SERVE),
        }
    }

    pub(crate) fn link(&self, server: &ServerProcess) -> Link {
        Link::open(self.kind, server)
    }

    /// Enters names, each with what stands for an instance, and returns the connections that keep
    /// them.
    pub(crate) fn fill(&self, server: &ServerProcess, names: usize) -> Vec<Link> {
        if self.kind == Kind::Epmd {
            let keep = |it| {
                let mut link = self.link(server);
                self.register(std::iter::once(name(it)), 1).run(&mut link);
                link
            };
            return (0..names).map(keep).collect();
        }
        if self.kind == Kind::Bare {
            return vec![self.link(server)];
        }
        let mut links = Vec::new();
        let all: Vec<_> = (0..names).collect();
        for some in all.chunks(PER_SESSION) {
            let mut link = self.link(server);
            for few in some.chunks(1024) {
                self.register(few.iter().map(|it| name(*it)), 64).run(&mut link);
            }
            links.push(link);
        }
        links
    }

    pub(crate) fn look_up(&self, names: impl Iterator<Item = String>, depth: usize) -> Requests {
        match self.kind {
            Kind::Callsign | Kind::Bare => Requests::of_frames(lookups(names), depth),
            Kind::Redis => Requests::of_lines(names.map(|it| redis(&["GET", &it])), depth, 2),
            Kind::Memcached => {
                Requests::of_lines(names.map(|it| format!("get {it}\r\n").into_bytes()), depth, 3)
            }
            Kind::Etcd => {
                let get = |it: String| etcd("range", &[("key", &it)]);
                Requests::of_lines(names.map(get), depth, 1)
            }
            Kind::Epmd => Requests::of_lines(names.map(|it| epmd(b"z", it.as_bytes(), b"")), 1, 1),
        }
    }

    pub(crate) fn register(&self, names: impl Iterator<Item = String>, depth: usize) -> Requests {
        let value = "x".repeat(VALUE_BYTES);
        match self.kind {
            Kind::Callsign | Kind::Bare => Requests::of_frames(registrations(names), depth),
            Kind::Redis => {
                Requests::of_lines(names.map(|it| redis(&["SET", &it, &value])), depth, 1)
            }
            Kind::Memcached => {
                let set = |it| format!("set {it} 0 0 {VALUE_BYTES}\r\n{value}\r\n").into_bytes();
                Requests::of_lines(names.map(set), depth, 1)
            }
            Kind::Etcd => {
                let put = |it: String| etcd("put", &[("key", &it), ("value", &value)]);
                Requests::of_lines(names.map(put), depth, 1)
            }
            // A visible node of one protocol, by a port, with nothing more to say.
            Kind::Epmd => {
                let alive = |it: String| {
                    let name = [&(it.len() as u16).to_be_bytes(), it.as_bytes()].concat();
                    epmd(&[b'x', 16, 0, b'M', 0, 0, 5, 0, 5], &name, &[0, 0])
                };
                Requests::of_lines(names.map(alive), 1, 1)
            }
        }
    }

    /// Undoes registrations.
    pub(crate) fn unregister(
        &self,
        names: impl Iterator<Item = String>,
        registered: &Requests,
        depth: usize,
    ) -> Requests {
        match self.kind {
            Kind::Callsign => {
                let mut bytes = BytesMut::new();
                for (at, uuid) in uuids(&registered.batches).enumerate() {
                    let body = encode_body(&Unregister { uuid });
                    call(at, UNREGISTER, &body, &mut bytes);
                }
                Requests::of_frames(bytes, depth)
            }
            Kind::Redis => Requests::of_lines(names.map(|it| redis(&["DEL", &it])), depth, 1),
            Kind::Memcached => {
                let delete = |it| format!("delete {it}\r\n").into_bytes();
                Requests::of_lines(names.map(delete), depth, 1)
            }
            Kind::Etcd => {
                let delete = |it: String| etcd("deleterange", &[("key", &it)]);
                Requests::of_lines(names.map(delete), depth, 1)
            }
            // An instance is gone with its connection.
            Kind::Epmd | Kind::Bare => Requests::of_lines(std::iter::empty(), 1, 1),
        }
    }

    /// Enters further instances of one name; `None` if it has no such thing. Redis keeps them in a hash.
    pub(crate) fn instances(&self, name: &str, numbers: Range<usize>) -> Option<Requests> {
        let value = "x".repeat(VALUE_BYTES);
        match self.kind {
            Kind::Callsign => Some(self.register(numbers.map(|_| name.to_owned()), 64)),
            Kind::Redis => {
                let set = |it: usize| redis(&["HSET", name, &it.to_string(), &value]);
                Some(Requests::of_lines(numbers.map(set), 64, 1))
            }
            Kind::Memcached | Kind::Etcd | Kind::Epmd | Kind::Bare => None,
        }
    }

    /// Looks up all instances of a name that has so many, several times.
    pub(crate) fn look_up_instances(&self, name: &str, has: usize, times: usize) -> Requests {
        match self.kind {
            // A length, then four lines for each.
            Kind::Redis => {
                let all = iter::repeat_n(redis(&["HGETALL", name]), times);
                Requests::of_lines(all, 64, 1 + 4 * has)
            }
            _ => self.look_up(iter::repeat_n(name.to_owned(), times), 64),
        }
    }

    /// Watches a name over a connection; `None` if it has no such thing.
    pub(crate) fn watch(&self, link: &mut Link, name: &str) -> Option<()> {
        match self.kind {
            Kind::Callsign => {
                let watch = Watch { pattern: name.parse().unwrap(), seen: None };
                let mut bytes = BytesMut::new();
                call(0, WATCH, &encode_body(&watch), &mut bytes);
                Frame::Credit { id: 0, items: 1_000_000 }.encode(&mut bytes).unwrap();
                // Started, reset, synced.
                link.ask(&bytes, 3);
                Some(())
            }
            Kind::Redis => {
                link.ask(&redis(&["SUBSCRIBE", name]), 6);
                Some(())
            }
            Kind::Memcached | Kind::Etcd | Kind::Epmd | Kind::Bare => None,
        }
    }

    /// Returns requests that each make one change to a watched name, and the answers to a watcher.
    pub(crate) fn changes(&self, name: &str, count: usize) -> (Requests, usize) {
        match self.kind {
            Kind::Callsign => {
                // It comes, and is replaced again and again.
                let one = registrations(std::iter::once(name.to_owned()));
                let all = BytesMut::from(&one.repeat(count)[..]);
                (Requests::of_frames(all, 1), 1)
            }
            _ => {
                let publish = redis(&["PUBLISH", name, &"x".repeat(VALUE_BYTES)]);
                (Requests::of_lines(std::iter::repeat_n(publish, count), 1, 1), 7)
            }
        }
    }
}

impl Requests {
    fn of_frames(bytes: BytesMut, depth: usize) -> Self {
        let singles = frames(bytes, 1);
        Self::gather(singles.into_iter(), depth, 1)
    }

    fn of_lines(commands: impl Iterator<Item = Vec<u8>>, depth: usize, answers: usize) -> Self {
        Self::gather(commands.map(|it| BytesMut::from(&it[..])), depth, answers)
    }

    fn gather(singles: impl Iterator<Item = BytesMut>, depth: usize, answers: usize) -> Self {
        let (mut batches, mut count) = (Vec::new(), 0);
        for single in singles {
            if count % depth == 0 {
                batches.push(BytesMut::new());
            }
            let last: &mut BytesMut = batches.last_mut().unwrap();
            last.extend_from_slice(&single);
            count += 1;
        }
        Self { batches, count, depth, answers }
    }

    /// Makes them over one connection, batch by batch.
    pub(crate) fn run(&self, link: &mut Link) {
        let mut left = self.count;
        for batch in &self.batches {
            let depth = self.depth.min(left);
            link.ask(batch, depth * self.answers);
            left -= depth;
        }
    }

    /// Sends a batch.
    pub(crate) fn send(&self, at: usize, link: &mut Link) {
        link.send(&self.batches[at]);
    }

    /// Waits for the answers to one of these that has a single part.
    pub(crate) fn wait_for_one(&self, link: &mut Link) {
        link.wait(self.answers);
    }
}

pub(crate) fn name(number: usize) -> String {
    format!("feed-{number}")
}

fn call(at: usize, method: &str, body: &[u8], bytes: &mut BytesMut) {
    Frame::Call { id: 2 * at as u64, method, body, within_ms: None }.encode(bytes).unwrap();
}

/// Finds the instances of registrations.
fn uuids(batches: &[BytesMut]) -> impl Iterator<Item = Uuid> {
    let singles = batches.iter().flat_map(|it| frames(it.clone(), 1));
    singles.map(|single| {
        let Frame::Call { body, .. } = Frame::decode(&single[4..]).unwrap() else {
            panic!("it is a call");
        };
        wire::decode_body::<wire::registrar::Register>(body).unwrap().uuid
    })
}

fn redis(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// A request to etcd's HTTP gateway, where values are in base64.
fn etcd(method: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields: Vec<_> =
        fields.iter().map(|(key, it)| format!("\"{key}\":\"{}\"", base64(it))).collect();
    let body = format!("{{{}}}", fields.join(","));
    let head = format!(
        "POST /v3/kv/{method} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len(),
    );
    (head + &body).into_bytes()
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]);
        [0, 1, 2, 3].map(|at| if at <= three.len() { digit(at) } else { '=' })
    };
    text.as_bytes().chunks(3).flat_map(digits).collect()
}

/// A request to Erlang's port mapper, with its length before it.
fn epmd(head: &[u8], name: &[u8], tail: &[u8]) -> Vec<u8> {
    let body = [head, name, tail].concat();
    [&(body.len() as u16).to_be_bytes()[..], &body].concat()
}

/// A registrar that has room for all of it.
const SETTINGS: &str = "\
[registrar]
sessions_max = 4500
[quotas.trusted]
bytes = \"4 GiB\"
";

/// How many times fewer operations one that is not quick does.
const SLOW: usize = 20;

/// What one session of a registrar keeps.
const PER_SESSION: usize = 60_000;

/// What stands for an instance: as long as a registrar's answer about one.
pub(crate) const VALUE_BYTES: usize = 420;
