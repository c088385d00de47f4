//! A good client that asks continually.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use wire::{decode_body, registrar::Answer};

use crate::harness::{Node, Peer, now, query, register, registration, stamped};

/// A good client, which asks continually in a separate thread, until it is stopped.
#[derive(Debug)]
pub(crate) struct Witness {
    is_over: Arc<AtomicBool>,
    asking: JoinHandle<u64>,
}

impl Witness {
    /// Begins to ask, once the first answer is there.
    #[track_caller]
    pub(crate) fn start(node: &Node<'_>) -> Self {
        let endpoints = node.endpoints().to_vec();
        let mut sessions: Vec<_> = endpoints.iter().map(|it| Peer::greet(it)).collect();
        let (method, body) = register(&registration("good", vec![stamped("/unix/@good")]));
        sessions[0].call(method, &body).unwrap();
        for session in &mut sessions {
            ask(session);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let is_seen = is_over.clone();
        let asking = thread::spawn(move || {
            let mut asked = 0;
            let mut last_round = now();
            while !is_seen.load(Ordering::Relaxed) {
                let round = now();
                for (session, endpoint) in sessions.iter_mut().zip(&endpoints) {
                    ask_on(session, endpoint, last_round);
                }
                last_round = round;
                // A newcomer is served as well.
                let endpoint = &endpoints[asked as usize % endpoints.len()];
                ask(&mut Peer::greet(endpoint));
                asked += 1;
            }
            asked
        });
        Self { is_over, asking }
    }

    /// Stops asking, and fails if an answer did not come in time.
    #[track_caller]
    pub(crate) fn was_always_answered(self) {
        self.is_over.store(true, Ordering::Relaxed);
        match self.asking.join() {
            Ok(asked) => assert!(asked > 0, "nothing was asked meanwhile"),
            Err(_) => panic!("the good client was not answered in time"),
        }
    }
}

/// Asks a question on a session that was asked at a time. Over TCP, one that a busy machine has kept
/// from answering the node for that long is cut, and returns.
fn ask_on(session: &mut Peer, endpoint: &str, asked_at: Instant) {
    let (method, body) = query("good");
    if let Some(answer) = session.try_call(method, &body) {
        return check(&answer.unwrap());
    }
    assert!(asked_at.elapsed() > SILENCE, "it is cut after {:?}", asked_at.elapsed());
    *session = Peer::greet(endpoint);
    ask(session);
}

/// Asks a question, and checks the answer.
fn ask(session: &mut Peer) {
    let (method, body) = query("good");
    check(&session.call(method, &body).unwrap());
}

fn check(answer: &[u8]) {
    let answer: Answer = decode_body(answer).unwrap();
    assert_eq!(answer.records.len(), 1, "{answer:?}");
}

/// A node cuts nobody over TCP who has answered within that time.
const SILENCE: Duration = Duration::from_secs(2);
