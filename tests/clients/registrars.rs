//! Registrars that are played: later ones, slow ones, broken ones.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
    time::Duration,
};

use bytes::BytesMut;
use serde::Serialize;
use uuid::Uuid;
use wire::{CallId, Frame, FrameReader, Hello, encode_body, preface::preface, registrar::FIND};

use crate::harness::LIMIT;

/// A registrar that is played. It ends with the process: nobody has to be able to stop it.
#[derive(Debug)]
pub(crate) struct Played;

impl Played {
    pub(crate) fn start(path: &Path, answers: fn(&mut Caller)) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    stream.set_read_timeout(Some(LIMIT)).unwrap();
                    answers(&mut Caller { stream, reader: FrameReader::default() });
                });
            }
        });
        Self
    }
}

/// A client of a registrar that is played.
#[derive(Debug)]
pub(crate) struct Caller {
    stream: UnixStream,
    reader: FrameReader,
}

impl Caller {
    /// Sends bytes, if the client is still there.
    fn say(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    fn send(&mut self, frame: &Frame<'_>) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes).unwrap();
        self.say(&bytes);
    }

    fn greet(&mut self) {
        self.say(&preface());
        self.send(&Frame::Hello(Box::new(Hello {
            registrar: Some(Uuid::from_u128(7)),
            ..Hello::default()
        })));
    }

    /// Answers every call for instances by a body; `None` once the client has gone.
    fn serve(&mut self, mut answer: impl FnMut(&str) -> Vec<u8>) {
        self.greet();
        let mut preface = true;
        loop {
            if preface && self.reader.take(wire::preface::PREFACE_BYTES).is_some() {
                preface = false;
                continue;
            }
            let Some(frame) = (if preface { None } else { self.reader.next().unwrap() }) else {
                let mut bytes = [0; 4096];
                match self.stream.read(&mut bytes) {
                    Ok(length @ 1..) => self.reader.buffer().extend_from_slice(&bytes[..length]),
                    _ => return,
                }
                continue;
            };
            let reply: Option<(CallId, Vec<u8>)> = match Frame::decode(&frame).unwrap() {
                Frame::Call { id, method, .. } => Some((id, answer(method))),
                Frame::Ping { nonce } => {
                    self.send(&Frame::Pong { nonce });
                    None
                }
                _ => None,
            };
            if let Some((id, body)) = reply {
                self.send(&Frame::Return { id, body: &body });
            }
        }
    }
}

/// Answers after a second, which is late and not too late.
pub(crate) fn slow(caller: &mut Caller) {
    caller.serve(|_| {
        thread::sleep(Duration::from_secs(1));
        body("registrar.query", &Answer::of(vec![Record::plain(1)]))
    });
}

/// Says more than any present client knows: fields, a state, a lifetime, a kind of endpoint.
pub(crate) fn later(caller: &mut Caller) {
    let records = || vec![Record::later(), Record::plain(1)];
    caller.serve(|method| body(method, &Answer::of(records())));
}

/// Answers with four megabytes.
pub(crate) fn big(caller: &mut Caller) {
    let metadata = || Some(Metadata { text: "x".repeat(16_000) });
    let record = |at| Record { metadata: metadata(), ..Record::plain(at) };
    caller.serve(|method| body(method, &Answer::of((1..=256).map(record).collect())));
}

/// Speaks version 2.
pub(crate) fn other_version(caller: &mut Caller) {
    let [magic @ .., _, _] = preface();
    caller.say(&magic);
    caller.say(&[2, 0]);
    drop(caller.stream.read(&mut [0; 256]));
}

/// Speaks another protocol.
pub(crate) fn no_protocol(caller: &mut Caller) {
    caller.say(b"220 mail.example ESMTP\r\n");
    drop(caller.stream.read(&mut [0; 256]));
}

/// Has no room for another session.
pub(crate) fn full(caller: &mut Caller) {
    drop(caller.stream.read(&mut [0; 256]));
    caller.say(&preface());
    caller.send(&Frame::Goodbye {
        reason: "no room for another session",
        returns: false,
        error: None,
    });
}

fn body(method: &str, answer: &Answer) -> Vec<u8> {
    if method == FIND {
        let proofs = answer.records.iter().map(|_| None::<u8>).collect();
        let nonce = Uuid::from_u128(9);
        return encode_body(&Located { answer, registrar: Uuid::from_u128(7), nonce, proofs })
            .to_vec();
    }
    encode_body(answer).to_vec()
}

#[derive(Serialize)]
struct Located<'a> {
    answer: &'a Answer,
    registrar: Uuid,
    nonce: Uuid,
    proofs: Vec<Option<u8>>,
}

/// An answer of a later version: to a look-up or, with `next`, to a list.
#[derive(Serialize)]
struct Answer {
    revision: u64,
    now_ms: u64,
    total: u64,
    next: Option<u64>,
    weather: &'static str,
    records: Vec<Record>,
}

impl Answer {
    fn of(records: Vec<Record>) -> Self {
        let total = records.len() as u64;
        Self { revision: 1, now_ms: 1, total, next: None, weather: "fine", records }
    }
}

#[derive(Serialize)]
struct Record {
    name: &'static str,
    uuid: Uuid,
    epoch: u64,
    endpoints: Vec<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
    state: &'static str,
    lifetime: Lifetime,
    since_ms: u64,
    mood: Option<Mood>,
}

#[derive(Serialize)]
struct Endpoint {
    endpoint: &'static str,
    colour: u8,
}

#[derive(Serialize)]
struct Metadata {
    text: String,
}

#[derive(Serialize)]
struct Mood {
    swings: Vec<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Lifetime {
    Session,
    Replica { of: u8 },
}

impl Record {
    fn plain(at: u64) -> Self {
        Self {
            name: "feed",
            uuid: Uuid::from_u128(at.into()),
            epoch: at,
            endpoints: vec![Endpoint { endpoint: "/unix/@no-such-actor", colour: 7 }],
            metadata: None,
            state: "ready",
            lifetime: Lifetime::Session,
            since_ms: at,
            mood: None,
        }
    }

    fn later() -> Self {
        let endpoint = |endpoint| Endpoint { endpoint, colour: 7 };
        Self {
            endpoints: vec![endpoint("/carrier-pigeon/7"), endpoint("/ip4/127.0.0.1/tcp/1")],
            state: "dreaming",
            lifetime: Lifetime::Replica { of: 7 },
            mood: Some(Mood { swings: vec![true, false] }),
            ..Self::plain(99)
        }
    }
}
