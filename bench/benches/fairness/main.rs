//! What a calm client waits beside one that does its worst within the bounds, and what a node makes
//! of look-ups and registrations when nobody does. The node is the real binary, `CALLSIGN_NODE` if
//! that is set, so that two of them can be compared in turns.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    collections::BTreeMap,
    io::Read,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use callsign_bench::{Client, Quantiles, batches, lookups, node_binary, registrations};
use endpoints::{Endpoint, NamePattern, Stamped};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;
use wire::{
    Frame, State, encode_body,
    registrar::{LIST, List, REGISTER, Register, WAIT, WATCH, Wait, Watch},
};

fn main() {
    let Some(binary) = std::env::var_os("CALLSIGN_NODE").map(PathBuf::from).or_else(node_binary)
    else {
        println!("node: build it first with `cargo build --release`");
        return;
    };
    rates(&Node::start(&binary));
    for (what, flood) in FLOODS {
        let node = Node::start(&binary);
        let alone = node.calm(&AtomicBool::new(false), ALONE);
        let is_over = Arc::new(AtomicBool::new(false));
        let (is_seen, place) = (is_over.clone(), node.endpoint.clone());
        let flooding = thread::spawn(move || {
            let took = flood(&runtime(), &place);
            is_seen.store(true, Ordering::Relaxed);
            took
        });
        let beside = node.calm(&is_over, Duration::from_secs(60));
        let took = flooding.join().unwrap();
        println!(
            "{what}: a calm client alone {}; beside it {}, longest {:.1?} ({:.1}x the p99); it took \
             {took:.1?}; the node has {} MiB",
            alone.0,
            beside.0,
            beside.1,
            beside.0.p99.as_secs_f64() / alone.0.p99.as_secs_f64(),
            node.resident_mib(),
        );
    }
}

const ALONE: Duration = Duration::from_millis(500);

type Flood = fn(&Runtime, &Endpoint) -> Duration;

const FLOODS: [(&str, Flood); 7] = [
    ("a list by a stubborn pattern over 20,000 long names", |runtime, place| {
        runtime.block_on(async {
            let mut client = Client::greet(place).await;
            fill(&mut client, (0..20_000).map(long_name)).await;
            let start = Instant::now();
            let mut after = Some(0);
            while let Some(from) = after {
                let answer = client.ask(&calls(&[list(from)])).await;
                let Frame::Return { body, .. } = Frame::decode(&answer[4..]).unwrap() else {
                    panic!("a list is answered");
                };
                after = wire::decode_body::<wire::registrar::Page>(body).unwrap().next;
            }
            start.elapsed()
        })
    }),
    ("500 such calls in one write", |runtime, place| {
        runtime.block_on(async {
            let mut client = Client::greet(place).await;
            fill(&mut client, (0..20_000).map(long_name)).await;
            let start = Instant::now();
            let asked: Vec<_> = (0..500).map(|_| list(0)).collect();
            client.exchange(&calls(&asked), 500).await;
            start.elapsed()
        })
    }),
    ("4,096 registrations in one write, ten times", |runtime, place| {
        runtime.block_on(async {
            let mut client = Client::greet(place).await;
            let start = Instant::now();
            for _ in 0..10 {
                let names = (0..4096).map(|it| format!("feed-{it}"));
                client.exchange(&registrations(names), 4096).await;
            }
            start.elapsed()
        })
    }),
    ("200 registrations beside 256 stubborn watches of 16 sessions", |runtime, place| {
        runtime.block_on(async {
            let mut watching = Vec::new();
            for session in 0..16 {
                let mut client = Client::greet(place).await;
                let watches: Vec<_> = (0..256)
                    .map(|it| {
                        let pattern = "*a".repeat(120) + &format!("x{session}-{it}");
                        let pattern = NamePattern::new(&pattern).unwrap();
                        (WATCH, encode_body(&Watch { pattern, seen: None }))
                    })
                    .collect();
                let mut frames = calls(&watches);
                for id in 0..256 {
                    Frame::Credit { id: 2 * id, items: 1000 }.encode(&mut frames).unwrap();
                }
                client.exchange(&frames, 3 * 256).await;
                watching.push(client);
            }
            let mut client = Client::greet(place).await;
            let start = Instant::now();
            fill(&mut client, (0..200).map(long_name)).await;
            let took = start.elapsed();
            drop(watching);
            took
        })
    }),
    ("200 registrations of 64 endpoints that others hold too", |runtime, place| {
        runtime.block_on(async {
            let mut client = Client::greet(place).await;
            let endpoint = |it: u32| {
                Stamped::bare(format!("/ip4/10.1.2.3/tcp/{}", 1000 + it).parse().unwrap())
            };
            let endpoints: Vec<_> = (0..64).map(endpoint).collect();
            let registering = |name: String| {
                (
                    REGISTER,
                    encode_body(&Register { endpoints: endpoints.clone(), ..register(&name) }),
                )
            };
            let first: Vec<_> = (0..4).map(|it| registering(format!("other-{it}"))).collect();
            client.exchange(&calls(&first), 4).await;
            let asked: Vec<_> = (0..200).map(|it| registering(format!("n{it}"))).collect();
            let start = Instant::now();
            client.exchange(&calls(&asked), 200).await;
            start.elapsed()
        })
    }),
    ("1,024 waits of 50 sessions, then a long registration", |runtime, place| {
        runtime.block_on(async {
            let wait = (WAIT, encode_body(&Wait { name: "fat".parse().unwrap() }));
            let waits = calls(&vec![wait; 1024]);
            let mut waiting = Vec::new();
            for _ in 0..50 {
                let mut client = Client::greet(place).await;
                client.send(&waits).await;
                waiting.push(client);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let mut client = Client::greet(place).await;
            let text = BTreeMap::from([("text".to_owned(), "x".repeat(16_000))]);
            let fat = encode_body(&Register { metadata: text, ..register("fat") });
            let start = Instant::now();
            client.exchange(&calls(&[(REGISTER, fat)]), 1).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let took = start.elapsed();
            drop(waiting);
            took
        })
    }),
    ("the end of a session with 65,536 instances", |runtime, place| {
        runtime.block_on(async {
            let mut client = Client::greet(place).await;
            for part in 0..64 {
                let names = (0..1024).map(|it| format!("feed-{part}-{it}"));
                client.exchange(&registrations(names), 1024).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            drop(client);
            let start = Instant::now();
            tokio::time::sleep(Duration::from_millis(500)).await;
            start.elapsed()
        })
    }),
];

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn long_name(number: usize) -> String {
    format!("{}{number:05}", "ab".repeat(125))
}

fn list(after: u64) -> (&'static str, Vec<u8>) {
    let pattern = NamePattern::new(&("*a".repeat(120) + "x")).unwrap();
    (LIST, encode_body(&List { pattern, after }))
}

fn register(name: &str) -> Register {
    Register {
        name: name.parse().unwrap(),
        uuid: Uuid::new_v4(),
        endpoints: Vec::new(),
        metadata: BTreeMap::new(),
        state: State::Ready,
        lease_ms: None,
        proves: false,
    }
}

async fn fill(client: &mut Client, names: impl Iterator<Item = String>) {
    let all: Vec<_> = names.map(|it| (REGISTER, encode_body(&register(&it)))).collect();
    for some in all.chunks(100) {
        client.exchange(&calls(some), some.len()).await;
    }
}

fn calls(bodies: &[(&str, Vec<u8>)]) -> BytesMut {
    let mut frames = BytesMut::new();
    for (at, (method, body)) in bodies.iter().enumerate() {
        let id = 2 * at as u64;
        Frame::Call { id, method, body, within_ms: None }.encode(&mut frames).unwrap();
    }
    frames
}

/// Measures look-ups and registrations of one client alone, of as many calls as are many.
fn rates(node: &Node) {
    let runtime = runtime();
    runtime.block_on(async {
        let mut client = Client::greet(&node.endpoint).await;
        client.exchange(&registrations((0..1000).map(|it| format!("feed-{it}"))), 1000).await;
        let asked = lookups((0..64_000).map(|it| format!("feed-{}", it % 1000)));
        let deep = batches(&asked, 64);
        let (mut best, mut one) = (Duration::MAX, Vec::new());
        for _ in 0..30 {
            let start = Instant::now();
            for batch in &deep {
                client.exchange(batch, 64).await;
            }
            best = best.min(start.elapsed());
        }
        for single in batches(&asked, 1).iter().take(20_000) {
            let start = Instant::now();
            client.exchange(single, 1).await;
            one.push(start.elapsed());
        }
        let mut put = Duration::MAX;
        for _ in 0..30 {
            let frames = batches(&registrations((0..6400).map(|it| format!("put-{it}"))), 64);
            let mut client = Client::greet(&node.endpoint).await;
            let start = Instant::now();
            for batch in &frames {
                client.exchange(batch, 64).await;
            }
            put = put.min(start.elapsed());
        }
        println!(
            "look-ups 64 deep: {:.3} M/s; one at a time: {}; registrations 64 deep: {:.1} k/s",
            64_000.0 / best.as_secs_f64() / 1e6,
            Quantiles::of(one),
            6400.0 / put.as_secs_f64() / 1e3,
        );
    });
}

/// A node of its own process.
struct Node {
    child: Child,
    endpoint: Endpoint,
    _folder: tempfile::TempDir,
}

impl Node {
    fn start(binary: &std::path::Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = format!("/unix{}/registrar.sock", folder.path().display());
        let mut child = Command::new(binary)
            .args(["registrar", "--settle-time", "0s", "--listen", &socket])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
        Self { child, endpoint: socket.parse().unwrap(), _folder: folder }
    }

    /// Looks up a name again and again, a millisecond apart, until something is over.
    fn calm(&self, is_over: &AtomicBool, limit: Duration) -> (Quantiles, Duration) {
        runtime().block_on(async {
            let mut client = Client::greet(&self.endpoint).await;
            let asked = batches(&lookups(std::iter::once("calm".to_owned())), 1).remove(0);
            let (start, mut times) = (Instant::now(), Vec::new());
            while !is_over.load(Ordering::Relaxed) && start.elapsed() < limit {
                let asking = Instant::now();
                client.exchange(&asked, 1).await;
                times.push(asking.elapsed());
                thread::sleep(Duration::from_millis(1));
            }
            let longest = times.iter().copied().max().unwrap();
            (Quantiles::of(times), longest)
        })
    }

    fn resident_mib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
