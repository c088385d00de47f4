//! A hostile client within all bounds, and a calm one beside it: neither waits for the other's
//! work.
//!
//! Node, hostile client and calm client share one thread, so that the machine's load does not
//! matter: the test counts the turns of the calm client, not the time that it waited.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::BytesMut;
use endpoints::{Endpoint, NamePattern};
use registrar::{Node, NodeOptions, RegistryHandle};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Builder,
    task::yield_now,
};
use tokio_util::sync::CancellationToken;
use transport::{Stream, dial};
use wire::{
    Frame, FrameReader, RemoteError, decode_body, encode_body,
    preface::{PREFACE_BYTES, preface},
    registrar::{Answer, LIST, List, Page, WAIT, WATCH, Wait, Watch},
};

use crate::harness::{query, register, registration, stamped};

/// The connection of a client that sends anything, and reads at any time.
struct Hostile {
    stream: Stream,
    reader: FrameReader,
    calls: BytesMut,
    next_id: u64,
}

impl Hostile {
    async fn greet(endpoint: &Endpoint) -> Self {
        let stream = dial(endpoint).await.unwrap();
        let mut calls = BytesMut::from(&preface()[..]);
        Frame::Hello(Box::default()).encode(&mut calls).unwrap();
        let mut hostile = Self { stream, reader: FrameReader::default(), calls, next_id: 0 };
        hostile.send().await;
        while hostile.reader.take(PREFACE_BYTES).is_none() {
            hostile.stream.read_buf(hostile.reader.buffer()).await.unwrap();
        }
        hostile.frame().await;
        hostile
    }

    /// Adds a call to those that are sent in one write.
    fn call(&mut self, method: &str, body: &[u8]) -> u64 {
        let id = self.next_id;
        self.next_id += 2;
        Frame::Call { id, method, body, within_ms: None }.encode(&mut self.calls).unwrap();
        id
    }

    /// Sends all added calls.
    async fn send(&mut self) {
        let calls = self.calls.split();
        self.stream.write_all(&calls).await.unwrap();
    }

    async fn frame(&mut self) -> Vec<u8> {
        loop {
            if let Some(frame) = self.reader.next().unwrap() {
                return frame.to_vec();
            }
            let count = self.stream.read_buf(self.reader.buffer()).await.unwrap();
            assert_ne!(count, 0, "the node closed the connection");
        }
    }

    /// Waits for the answer to any call, and returns its number.
    async fn answer(&mut self) -> (u64, Result<Vec<u8>, RemoteError>) {
        loop {
            match Frame::decode(&self.frame().await).unwrap() {
                Frame::Return { id, body } => return (id, Ok(body.to_vec())),
                Frame::Error { id, error } => return (id, Err(error)),
                _ => {}
            }
        }
    }

    /// Makes calls, and waits until all are answered.
    async fn ask_all<'a>(&mut self, calls: impl IntoIterator<Item = (&'a str, Vec<u8>)>) {
        let mut asked = 0;
        for (method, body) in calls {
            self.call(method, &body);
            asked += 1;
        }
        self.send().await;
        for _ in 0..asked {
            self.answer().await.1.unwrap();
        }
    }
}

/// The node, and the number of answers to a calm client.
struct Stage {
    endpoint: Endpoint,
    /// An endpoint at which clients come as another owner: as this process itself.
    other: Endpoint,
    registry: RegistryHandle,
    answered: Cell<usize>,
}

impl Stage {
    async fn hostile(&self) -> Hostile {
        Hostile::greet(&self.endpoint).await
    }

    /// Asks continually, one question after the other.
    async fn be_calm(&self) {
        self.be_calm_at(&self.endpoint).await;
    }

    async fn be_calm_at(&self, endpoint: &Endpoint) {
        let mut calm = Hostile::greet(endpoint).await;
        loop {
            calm.ask_all([query("calm")]).await;
            self.answered.set(self.answered.get() + 1);
        }
    }

    /// Fails unless the calm client got so many answers in the meantime.
    async fn is_shared<T>(&self, turns: usize, what: impl Future<Output = T>) -> T {
        let before = self.answered.get();
        let result = what.await;
        let answered = self.answered.get() - before;
        assert!(answered >= turns, "the calm client was answered {answered} times, not {turns}");
        result
    }
}

/// Runs a hostile client beside a calm one.
fn play(hostile: impl AsyncFnOnce(&Stage)) {
    enact(async |stage| {
        tokio::select! {
            () = stage.be_calm() => panic!("the calm client has ended"),
            () = hostile(stage) => {}
        }
    });
}

fn enact(story: impl AsyncFnOnce(&Stage)) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let folder = TempDir::new().unwrap();
    runtime.block_on(async {
        let place = format!("/unix{}/registrar.sock", folder.path().display()).parse().unwrap();
        let options = NodeOptions { settle_time: Duration::ZERO, ..NodeOptions::default() };
        let node = Node::bind(&[place, "/memory/0".parse().unwrap()], options).await.unwrap();
        let [endpoint, other] = <[_; 2]>::try_from(node.endpoints()).unwrap();
        let registry = node.registry().clone();
        let stage = Stage { endpoint, other, registry, answered: Cell::new(0) };
        tokio::select! {
            () = node.serve(CancellationToken::new()) => panic!("the node has ended"),
            () = story(&stage) => {}
        }
    });
}

/// Names of the greatest length, for which no pattern fails early.
fn long_name(number: usize) -> String {
    format!("{}{number:05}", "ab".repeat(125))
}

/// Patterns that fit many ways until the very end.
fn stubborn_patterns() -> [String; 3] {
    ["*a".repeat(120) + "x", "*a?".repeat(80) + "x", format!("*{}x", "?".repeat(200))]
}

async fn register_names(hostile: &mut Hostile, names: impl Iterator<Item = String>) {
    let names: Vec<_> = names.collect();
    for some in names.chunks(500) {
        hostile.ask_all(some.iter().map(|it| register(&registration(it, vec![])))).await;
    }
}

fn list(pattern: &str, after: u64) -> (&'static str, Vec<u8>) {
    (LIST, encode_body(&List { pattern: NamePattern::new(pattern).unwrap(), after }))
}

#[test]
fn a_list_of_a_stubborn_pattern_is_made_in_parts() {
    play(async |stage| {
        let mut hostile = stage.hostile().await;
        register_names(&mut hostile, (0..5_000).map(long_name)).await;
        for pattern in stubborn_patterns() {
            let (mut after, mut pages) = (0, 0);
            let pages = stage
                .is_shared(10, async {
                    loop {
                        let (method, body) = list(&pattern, after);
                        hostile.call(method, &body);
                        hostile.send().await;
                        let page = hostile.answer().await.1.unwrap();
                        let Page { next, records, .. } = decode_body(&page).unwrap();
                        assert_eq!(records, []);
                        pages += 1;
                        match next {
                            Some(next) => after = next,
                            None => break pages,
                        }
                    }
                })
                .await;
            assert!((20..100).contains(&pages), "{pages} pages");
        }
    });
}

#[test]
fn many_calls_in_one_write_let_others_in_between() {
    play(async |stage| {
        let mut hostile = stage.hostile().await;
        register_names(&mut hostile, (0..5_000).map(long_name)).await;
        let [pattern, ..] = stubborn_patterns();
        stage.is_shared(100, hostile.ask_all((0..500).map(|_| list(&pattern, 0)))).await;
        // Cheap work makes turns longer, and fewer.
        let names = (0..4096).map(|it| register(&registration(&format!("n{it}"), vec![])));
        stage.is_shared(20, hostile.ask_all(names)).await;
    });
}

#[test]
fn stubborn_watches_cost_those_who_watch() {
    play(async |stage| {
        let mut watching = Vec::new();
        for session in 0..8 {
            let mut hostile = stage.hostile().await;
            for number in 0..256 {
                let [pattern, ..] = stubborn_patterns();
                let pattern = format!("{pattern}{session}-{number}");
                let pattern = NamePattern::new(&pattern).unwrap();
                let id = hostile.call(WATCH, &encode_body(&Watch { pattern, seen: None }));
                Frame::Credit { id, items: 1000 }.encode(&mut hostile.calls).unwrap();
            }
            hostile.send().await;
            watching.push(hostile);
        }
        let mut other = stage.hostile().await;
        // All the other names of the session are compared with the patterns before the one that
        // matches.
        let matching = format!("{}x0-255", "a".repeat(120));
        stage
            .is_shared(10, async {
                register_names(&mut other, (0..20).map(long_name).chain([matching])).await;
                while !String::from_utf8_lossy(&watching[0].frame().await).contains("x0-255") {}
            })
            .await;
    });
}

#[test]
fn many_waits_are_answered_in_turns_and_each_once() {
    play(async |stage| {
        let mut sessions = Vec::new();
        for _ in 0..20 {
            let mut hostile = stage.hostile().await;
            let wait = encode_body(&Wait { name: "fat".parse().unwrap() });
            for _ in 0..1024 {
                hostile.call(WAIT, &wait);
            }
            hostile.send().await;
            sessions.push(hostile);
        }
        while stage.registry.status().waiters < 20 * 1024 {
            yield_now().await;
        }
        let mut registrant = stage.hostile().await;
        let mut fat = registration("fat", vec![]);
        fat.metadata = BTreeMap::from([("text".to_owned(), "x".repeat(16_000))]);
        stage
            .is_shared(100, async {
                registrant.ask_all([register(&fat)]).await;
                for hostile in &mut sessions {
                    let mut answered = BTreeSet::new();
                    for _ in 0..1024 {
                        let (id, answer) = hostile.answer().await;
                        let answer: Answer = decode_body(&answer.unwrap()).unwrap();
                        assert_eq!(answer.records.len(), 1);
                        assert!(answered.insert(id), "{id} is answered twice");
                    }
                }
            })
            .await;
        assert_eq!(stage.registry.status().waiters, 0);
    });
}

/// Its entries are gone immediately, and the rest of the work is done in turns.
#[test]
fn the_end_of_a_session_that_kept_much_keeps_nobody_waiting() {
    play(async |stage| {
        let mut hostile = stage.hostile().await;
        register_names(&mut hostile, (0..20_000).map(|it| format!("n{it}"))).await;
        let mut watching = stage.hostile().await;
        // The last of them leaves last.
        let pattern = NamePattern::new("n19999").unwrap();
        let id = watching.call(WATCH, &encode_body(&Watch { pattern, seen: None }));
        Frame::Credit { id, items: 1000 }.encode(&mut watching.calls).unwrap();
        watching.send().await;
        while !String::from_utf8_lossy(&watching.frame().await).contains("synced") {}
        drop(hostile);
        stage
            .is_shared(20, async {
                while stage.registry.status().instances > 0 {
                    yield_now().await;
                }
                let mut asked = stage.hostile().await;
                let (method, body) = list("*", 0);
                asked.call(method, &body);
                asked.send().await;
                let page: Page = decode_body(&asked.answer().await.1.unwrap()).unwrap();
                assert_eq!(page.records, []);
                while !String::from_utf8_lossy(&watching.frame().await).contains("remove") {}
            })
            .await;
    });
}

/// The claims of others are not read for it, however many endpoints each of them has.
#[test]
fn endpoints_that_others_hold_too_keep_nobody_waiting() {
    play(async |stage| {
        let mut hostile = stage.hostile().await;
        let endpoints: Vec<_> =
            (1..=64).map(|it| stamped(&format!("/unix/@fair-{it}-{}", "x".repeat(50)))).collect();
        let calls =
            (0..100).map(|it| register(&registration(&format!("n{it}"), endpoints.clone())));
        stage.is_shared(10, hostile.ask_all(calls)).await;
    });
}

/// However many connections an owner has, the other owner has its turn after each of them.
#[test]
fn owners_have_their_turns_one_after_another() {
    let flood = async |stage: &Stage, hostile: &Endpoint, calm: &Endpoint| {
        let mut first = Hostile::greet(hostile).await;
        register_names(&mut first, (0..200).map(long_name)).await;
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            crowd.push(Hostile::greet(hostile).await);
        }
        let [pattern, ..] = stubborn_patterns();
        let (method, body) = list(&pattern, 0);
        for hostile in &mut crowd {
            (0..CALLS).for_each(|_| _ = hostile.call(method, &body));
            hostile.send().await;
        }
        let answers = async {
            for hostile in &mut crowd {
                for _ in 0..CALLS {
                    hostile.answer().await.1.unwrap();
                }
            }
        };
        tokio::select! {
            () = stage.be_calm_at(calm) => panic!("the calm client has ended"),
            // If all connections ran one after another, it would be a tenth of that.
            () = stage.is_shared(CROWD * CALLS / 4, answers) => {}
        }
    };
    enact(async |stage| {
        flood(stage, &stage.endpoint, &stage.other).await;
        flood(stage, &stage.other, &stage.endpoint).await;
    });
}

const CROWD: usize = 20;
const CALLS: usize = 15;
