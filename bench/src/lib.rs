//! The parts that the benchmarks share: a registrar and a bare echo behind the same transports, and
//! a client that costs as little as possible, so that the server is measured.
//!
//! The echo answers each frame with a frame as long as the registrar's answer. It does what any
//! server must, and nothing else: the ratio to it is what a look-up costs.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]

pub mod actors;
pub mod server;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::{Buf, BytesMut};
use endpoints::{Endpoint, SocketId, SpiffePath, Stamp, Stamped, TrustDomain};
use keys::{Authority, KeyKind};
use portal::Heartbeat;
use registrar::{Node, NodeOptions, RegistryHandle};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use transport::{Listener, Stream, TlsFiles, dial, set_tls};
use uuid::Uuid;
use wire::{
    Frame, FrameReader, encode_body, preface,
    registrar::{QUERY, Query, REGISTER, Register},
};

/// The two transports that are measured, with a fresh place for each.
pub fn transports(folder: &std::path::Path) -> [(&'static str, Endpoint); 2] {
    let socket = format!("/unix{}/{}.sock", folder.display(), Uuid::new_v4());
    [("unix", socket.parse().unwrap()), ("tcp", "/ip4/127.0.0.1/tcp/0".parse().unwrap())]
}

/// Makes a certificate for the loopback in a folder, and lets this process listen and dial with it.
///
/// Called again, it forgets the sessions that could be resumed.
pub fn certify(folder: &Path) {
    let (keys, now) = (folder.join("keys"), SystemTime::now());
    if !keys.exists() {
        let domain = TrustDomain::new("bench.internal").unwrap();
        let authority = Authority::create(&keys, domain, KeyKind::default(), now).unwrap();
        let (path, host) = (SpiffePath::new("node").unwrap(), "127.0.0.1".parse().unwrap());
        authority.issue(path, &[host], Duration::from_secs(24 * 3600), now).unwrap();
    }
    let [ca, certificate, key] = ["ca.pem", "node.pem", "node.key"].map(|it| keys.join(it));
    set_tls(TlsFiles { ca, certificate, key }).unwrap();
}

/// A server on the runtime of the caller. It ends when it is dropped.
pub struct Server {
    /// Its endpoint.
    pub endpoint: Endpoint,
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts a registrar.
    pub async fn registrar(endpoint: &Endpoint) -> (Self, RegistryHandle) {
        // The client answers no heartbeat.
        let heartbeat = Heartbeat { interval: Duration::from_secs(3600), misses: 3 };
        let settle_time = Duration::ZERO;
        let options = NodeOptions { heartbeat, settle_time, ..NodeOptions::default() };
        let node = Node::bind(std::slice::from_ref(endpoint), options).await.unwrap();
        let (endpoint, registry) = (node.endpoints().remove(0), node.registry().clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(node.serve(CancellationToken::new()));
        (Self { endpoint, tasks }, registry)
    }

    /// Starts an echo that answers every frame with `answer`.
    pub async fn echo(endpoint: &Endpoint, answer: BytesMut) -> Self {
        let listener = Listener::bind(endpoint).await.unwrap();
        let endpoint = listener.bound().clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = listener.accept().await.unwrap();
                connections.spawn(echo(stream, answer.clone()));
            }
        });
        Self { endpoint, tasks }
    }

    /// Tells whether it still serves.
    pub fn is_running(&self) -> bool {
        !self.tasks.is_empty()
    }
}

async fn echo(mut stream: Stream, answer: BytesMut) {
    let (mut reader, mut answers) = (FrameReader::default(), BytesMut::new());
    while stream.read_buf(reader.buffer()).await.is_ok_and(|read| read > 0) {
        while reader.next().unwrap().is_some() {
            answers.extend_from_slice(&answer);
        }
        if stream.write_all(&answers).await.is_err() {
            break;
        }
        answers.clear();
    }
}

/// A client that sends encoded frames and counts the answers.
pub struct Client {
    stream: Stream,
    reader: FrameReader,
}

impl Client {
    /// Connects to an echo.
    pub async fn connect(endpoint: &Endpoint) -> Self {
        Self { stream: dial(endpoint).await.unwrap(), reader: FrameReader::default() }
    }

    /// Connects to a registrar, and shakes hands.
    pub async fn greet(endpoint: &Endpoint) -> Self {
        let mut client = Self::connect(endpoint).await;
        let mut greeting = BytesMut::from(&preface::preface()[..]);
        Frame::Hello(Box::default()).encode(&mut greeting).unwrap();
        client.stream.write_all(&greeting).await.unwrap();
        while client.reader.take(preface::PREFACE_BYTES).is_none() {
            client.stream.read_buf(client.reader.buffer()).await.unwrap();
        }
        client.frames(1).await;
        client
    }

    /// Sends `requests`, and waits for as many frames as answer them.
    pub async fn exchange(&mut self, requests: &[u8], answers: usize) {
        self.stream.write_all(requests).await.unwrap();
        self.frames(answers).await;
    }

    /// Sends `requests`, and waits for nothing.
    pub async fn send(&mut self, requests: &[u8]) {
        self.stream.write_all(requests).await.unwrap();
    }

    /// Sends one request, and returns its answer with the length before it.
    pub async fn ask(&mut self, request: &[u8]) -> BytesMut {
        self.stream.write_all(request).await.unwrap();
        let mut answer = BytesMut::new();
        loop {
            if let Some(frame) = self.reader.next().unwrap() {
                answer.extend_from_slice(&(frame.len() as u32).to_le_bytes());
                answer.extend_from_slice(&frame);
                return answer;
            }
            self.stream.read_buf(self.reader.buffer()).await.unwrap();
        }
    }

    async fn frames(&mut self, mut count: usize) {
        while count > 0 {
            while count > 0 && self.reader.next().unwrap().is_some() {
                count -= 1;
            }
            if count > 0 {
                assert_ne!(self.stream.read_buf(self.reader.buffer()).await.unwrap(), 0);
            }
        }
    }
}

/// Returns where the real binary is, if it was built.
pub fn node_binary() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    Some(target.join("release/callsign")).filter(|it| it.exists())
}

/// Encodes look-ups, each of another name.
pub fn lookups(names: impl Iterator<Item = String>) -> BytesMut {
    calls(names.map(|name| (QUERY, encode_body(&Query::of(&name)))))
}

/// Encodes registrations of one instance of each name, as a usual actor makes them: a Unix socket
/// and a TCP port, both stamped.
pub fn registrations(names: impl Iterator<Item = String>) -> BytesMut {
    let here = transport::here();
    let stamp = Stamp { kernel: here.kernel, netns: here.netns, ..Stamp::default() };
    calls(names.map(|name| {
        let uuid = Uuid::new_v4();
        let [a, b, c, d, e, ..] = *uuid.as_bytes();
        let port = 1024 + u16::from_be_bytes([d, e]) / 2;
        let socket = SocketId { dev: 23, ino: uuid.as_u64_pair().0 >> 40, born_ns: Some(BORN_NS) };
        let register = Register {
            endpoints: vec![
                Stamped {
                    endpoint: format!("/unix/run/market/{name}.sock").parse().unwrap(),
                    stamp: Stamp { socket: Some(socket), root: transport::root(), ..stamp },
                },
                Stamped {
                    endpoint: format!("/ip4/10.{a}.{b}.{c}/tcp/{port}").parse().unwrap(),
                    stamp,
                },
            ],
            ..Register::new(name.parse().unwrap(), uuid)
        };
        (REGISTER, encode_body(&register))
    }))
}

/// A time of birth of a socket file, as large as real ones are.
const BORN_NS: u64 = 1_795_000_000_000_000_000;

/// Splits encoded frames into the requests of `depth` frames each.
pub fn batches(frames: &[u8], depth: usize) -> Vec<BytesMut> {
    let (mut rest, mut batches, mut count) = (frames, Vec::new(), 0);
    while rest.has_remaining() {
        let length = 4 + u32::from_le_bytes(*rest.first_chunk().unwrap()) as usize;
        if count % depth == 0 {
            batches.push(BytesMut::new());
        }
        batches.last_mut().unwrap().extend_from_slice(&rest[..length]);
        rest.advance(length);
        count += 1;
    }
    batches
}

fn calls(bodies: impl Iterator<Item = (&'static str, Vec<u8>)>) -> BytesMut {
    let mut frames = BytesMut::new();
    for (at, (method, body)) in bodies.enumerate() {
        let id = 2 * at as u64;
        Frame::Call { id, method, body: &body, within_ms: None }.encode(&mut frames).unwrap();
    }
    frames
}

/// The durations of many runs.
#[derive(Clone, Copy, Debug)]
pub struct Quantiles {
    /// Half of the times it took no longer.
    pub p50: Duration,
    /// Of a hundred times, 99 took no longer.
    pub p99: Duration,
}

impl Quantiles {
    /// Sorts the times.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |part: f64| times[(part * (times.len() - 1) as f64) as usize];
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1?}, p99 {:.1?}", self.p50, self.p99)
    }
}
