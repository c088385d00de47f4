//! A stranger that composes calls at random, all of them within the bounds.

use std::{collections::BTreeMap, time::Duration};

use bytes::BytesMut;
use endpoints::{InstanceId, NamePattern};
use uuid::Uuid;
use wire::{
    Frame, Owner, Proof, ProofSecret, State, encode_body,
    registrar::{
        Evidence, FIND, LEASE_MS_MIN, LIST, List, QUERY, Query, REGISTER, RENEW, REPORT, Register,
        Renew, Report, STATUS, Seen, UNREGISTER, UNREGISTER_ALL, UPDATE, Unregister, UnregisterAll,
        Update, WAIT, WATCH, Wait, Watch,
    },
};

use crate::{
    chance::Chance,
    harness::{LIMIT, Peer, now, registration, stamped},
};

/// A user that opens sessions, sends random calls, reads some of the answers, and leaves.
pub(crate) struct Stranger {
    chance: Chance,
    endpoint: String,
    user: u32,
    registrar: Uuid,
    sessions: Vec<Session>,
    /// Its registrations, as far as they succeed.
    uuids: Vec<Uuid>,
    /// The calm users that it tries to get rid of.
    victims: Vec<Uuid>,
}

struct Session {
    peer: Peer,
    next_id: u64,
}

impl Stranger {
    pub(crate) fn new(
        chance: Chance,
        endpoint: &str,
        user: u32,
        registrar: Uuid,
        victims: Vec<Uuid>,
    ) -> Self {
        let (endpoint, sessions, uuids) = (endpoint.to_owned(), Vec::new(), vec![Uuid::nil()]);
        Self { chance, endpoint, user, registrar, sessions, uuids, victims }
    }

    pub(crate) fn take_a_step(&mut self) {
        if self.sessions.is_empty() || (self.sessions.len() < SESSIONS && self.chance.once_in(4)) {
            let peer = Peer::greet(&self.endpoint);
            peer.set_limit(PATIENCE);
            return self.sessions.push(Session { peer, next_id: 0 });
        }
        let at = self.chance.below(self.sessions.len());
        let mut session = self.sessions.swap_remove(at);
        let goes_on = match self.chance.below(20) {
            0 => false,
            1 => self.says_half_a_frame(&mut session),
            2..=4 => read(&mut session),
            5..=9 => self.says_much(&mut session),
            _ => self.says_much(&mut session) && listen(&mut session),
        };
        if goes_on {
            self.sessions.push(session);
        }
    }

    /// Sends many calls in one write. If its calls are not read, it is then in the middle of a
    /// frame, and leaves.
    fn says_much(&mut self, session: &mut Session) -> bool {
        let count = *self.chance.one_of(&[1, 10, 100, 200]);
        let mut frames = BytesMut::new();
        for _ in 0..count {
            self.compose(session, &mut frames);
        }
        session.peer.try_send_bytes(&frames).is_ok()
    }

    /// Begins frames and does not finish them, and leaves before or after it is cut.
    fn says_half_a_frame(&mut self, session: &mut Session) -> bool {
        let mut frames = BytesMut::new();
        self.compose(session, &mut frames);
        let half = self.chance.below(frames.len());
        drop(session.peer.try_send_bytes(&frames[..half]));
        false
    }

    /// Composes one frame.
    fn compose(&mut self, session: &mut Session, frames: &mut BytesMut) {
        let earlier = 2 * self.chance.below(1 + session.next_id as usize / 2) as u64;
        let frame = match self.chance.below(20) {
            0 => Frame::Ping { nonce: self.chance.next() },
            1 => Frame::Cancel { id: earlier },
            2 => Frame::Credit { id: earlier, items: self.chance.next() as u32 },
            _ => {
                let (method, body) = self.call();
                let id = session.next_id;
                session.next_id += 2;
                let call = Frame::Call { id, method, body: &body, within_ms: None };
                return call.encode(frames).unwrap();
            }
        };
        frame.encode(frames).unwrap();
    }

    fn call(&mut self) -> (&'static str, Vec<u8>) {
        match self.chance.below(24) {
            0..=6 => (REGISTER, encode_body(&self.registration())),
            7 | 8 => (UPDATE, encode_body(&self.update())),
            9 => (UNREGISTER, encode_body(&Unregister { uuid: self.uuid() })),
            10 => {
                let count = *self.chance.one_of(&[0, 1, 100, 2048]);
                let uuids = (0..count).map(|_| self.uuid()).collect();
                (UNREGISTER_ALL, encode_body(&UnregisterAll { uuids }))
            }
            11 => (RENEW, encode_body(&Renew { uuid: self.uuid() })),
            12 | 13 => {
                let after = *self.chance.one_of(&[0, 1, u64::MAX]);
                (LIST, encode_body(&List { pattern: self.pattern(), after }))
            }
            14 | 15 => {
                let name = self.name();
                let owner = self.chance.once_in(3).then_some(Owner::User(self.user));
                let query = Query { name: &name, all: self.chance.once_in(2), owner };
                (*self.chance.one_of(&[QUERY, FIND]), encode_body(&query))
            }
            16 | 17 => (WAIT, encode_body(&Wait { name: self.name().parse().unwrap() })),
            18 | 19 => (WATCH, encode_body(&self.watch())),
            20 | 21 => (REPORT, encode_body(&self.report())),
            22 => (STATUS, encode_body(&())),
            _ => ("registrar.no-such-method", vec![0xc0; self.chance.below(10_000)]),
        }
    }

    /// A new watch, or one that claims to go on.
    fn watch(&mut self) -> Watch {
        let goes_on = self.chance.once_in(3);
        let registrar = if self.chance.once_in(2) { self.registrar } else { Uuid::new_v4() };
        let seen = goes_on.then(|| Seen { registrar, revision: self.number() });
        Watch { pattern: self.pattern(), seen }
    }

    fn registration(&mut self) -> Register {
        let uuid = if self.chance.once_in(4) { self.uuid() } else { Uuid::new_v4() };
        if self.uuids.len() < UUIDS {
            self.uuids.push(uuid);
        }
        let endpoints = *self.chance.one_of(&[0, 1, 1, 2, 64]);
        let lease_ms = self.chance.once_in(4).then_some(LEASE_MS_MIN);
        Register {
            uuid,
            endpoints: (0..endpoints).map(|_| stamped(&self.place())).collect(),
            metadata: self.metadata(),
            state: *self.chance.one_of(&STATES),
            lease_ms,
            proves: self.chance.once_in(3),
            wait: self.chance.once_in(3),
            again: self.chance.once_in(6).then(|| self.number()),
            token: self.chance.once_in(3).then(|| self.number()),
            resume: self.chance.once_in(3).then(|| self.proof()),
            ..registration(&self.name(), vec![])
        }
    }

    fn update(&mut self) -> Update {
        let (some, other) = (self.chance.once_in(2), self.chance.once_in(2));
        Update {
            uuid: self.uuid(),
            endpoints: some.then(|| vec![stamped(&self.place())]),
            metadata: other.then(|| self.metadata()),
            state: Some(*self.chance.one_of(&STATES)),
        }
    }

    fn report(&mut self) -> Report {
        let evidence = *self.chance.one_of(&[Evidence::Refused, Evidence::TimedOut]);
        let endpoint = stamped(&self.place()).endpoint;
        Report { uuid: self.uuid(), epoch: self.number(), endpoint, evidence }
    }

    /// An epoch, a token, or a revision: of somebody's, perhaps, or far beyond all of them.
    fn number(&mut self) -> u64 {
        let bits = *self.chance.one_of(&[0, 12, 44, 54, 60]);
        self.chance.next() >> bits
    }

    /// A proof as a registrar makes it, by another secret.
    fn proof(&mut self) -> Proof {
        let secret = ProofSecret::new([self.chance.next() as u8; 32]);
        let instance = InstanceId { name: self.name().parse().unwrap(), uuid: self.uuid() };
        Proof::of_token(&secret, &instance, &Owner::User(self.user), self.number())
    }

    fn metadata(&mut self) -> BTreeMap<String, String> {
        let length = *self.chance.one_of(&[0, 0, 0, 10, 10, 500, 15_000]);
        BTreeMap::from([("text".to_owned(), "x".repeat(length))])
    }

    /// Few names, so that they recur, short and long.
    fn name(&mut self) -> String {
        let number = self.chance.below(8);
        match self.chance.below(8) {
            0 => format!("{}{number}", "ab".repeat(120)),
            1 | 2 => "crowd".to_owned(),
            _ => format!("feed-{number}"),
        }
    }

    fn pattern(&mut self) -> NamePattern {
        let text = match self.chance.below(4) {
            0 => "*".to_owned(),
            1 => "*a".repeat(120) + "x",
            2 => format!("feed-?{}", "*".repeat(self.chance.below(100))),
            _ => self.name(),
        };
        NamePattern::new(&text).unwrap()
    }

    /// Usually an endpoint that others have too.
    fn place(&mut self) -> String {
        match self.chance.below(3) {
            0 => format!("/unix/@strange-{}", self.chance.below(100)),
            1 => format!("/ip4/127.0.0.1/tcp/{}", 1 + self.chance.below(65_535)),
            _ => format!("/unix/run/strange-{}.sock", self.chance.below(10)),
        }
    }

    /// Its own registration, another's, or nobody's.
    fn uuid(&mut self) -> Uuid {
        match self.chance.below(8) {
            0 => *self.chance.one_of(&self.victims),
            1 => Uuid::new_v4(),
            _ => *self.chance.one_of(&self.uuids),
        }
    }
}

/// Reads some of the arrived bytes. Tells whether the session continues.
fn read(session: &mut Session) -> bool {
    for _ in 0..FRAMES_READ {
        match hear(session) {
            Some(Heard::Nothing) => return true,
            Some(_) => {}
            None => return false,
        }
    }
    true
}

/// Reads all immediate answers. Tells whether the session continues.
fn listen(session: &mut Session) -> bool {
    let (id, mut frames) = (session.next_id, BytesMut::new());
    session.next_id += 2;
    let asked = Frame::Call { id, method: STATUS, body: &encode_body(&()), within_ms: None };
    asked.encode(&mut frames).unwrap();
    if session.peer.try_send_bytes(&frames).is_err() {
        return false;
    }
    let began = now();
    while let Some(heard) = hear(session) {
        if matches!(heard, Heard::End(ended) if ended == id) {
            return true;
        }
        assert!(began.elapsed() < LIMIT, "a stranger who listens is answered");
    }
    false
}

enum Heard {
    Nothing,
    /// The frames that end a call.
    End(u64),
    Other,
}

/// Reads a frame, if one comes soon, and answers as a living peer does; `None` when the session is
/// over.
fn hear(session: &mut Session) -> Option<Heard> {
    let Ok(frame) = session.peer.try_frame() else { return Some(Heard::Nothing) };
    match Frame::decode(&frame?) {
        Ok(Frame::Return { id, .. } | Frame::Error { id, .. }) => Some(Heard::End(id)),
        Ok(Frame::Ping { nonce }) => {
            let mut pong = BytesMut::new();
            Frame::Pong { nonce }.encode(&mut pong).unwrap();
            session.peer.try_send_bytes(&pong).is_ok().then_some(Heard::Other)
        }
        _ => Some(Heard::Other),
    }
}

/// The concurrent sessions of a stranger.
const SESSIONS: usize = 24;

/// The instances that it remembers.
const UUIDS: usize = 3000;

const FRAMES_READ: usize = 1000;

/// How long it waits for an answer, or to be read.
const PATIENCE: Duration = Duration::from_millis(20);

const STATES: [State; 4] = [State::Ready, State::Ready, State::Starting, State::Draining];
