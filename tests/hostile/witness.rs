//! A good client, which asks on and on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use wire::{decode_body, registrar::Answer};

use crate::harness::{Node, Peer, now, query, register, registration, stamped};

/// A good client, which asks on and on in a thread of its own, until it is told to stop.
#[derive(Debug)]
pub(crate) struct Witness {
    is_over: Arc<AtomicBool>,
    asking: JoinHandle<u64>,
}

impl Witness {
    /// Begins to ask, when the first answer is there.
    #[track_caller]
    pub(crate) fn start(node: &Node<'_>) -> Self {
        let endpoints = node.endpoints().to_vec();
        let mut sessions: Vec<_> = endpoints.iter().map(|it| Peer::greet(it)).collect();
        let (method, body) = register(&registration("good", vec![stamped("/unix/@good")]));
        sessions[0].call(method, &body).unwrap();
        for session in &mut sessions {
            session.set_limit(ANSWER_LIMIT);
            ask(session);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let is_seen = is_over.clone();
        let asking = thread::spawn(move || {
            let mut asked = 0;
            while !is_seen.load(Ordering::Relaxed) {
                sessions.iter_mut().for_each(ask);
                // One that only now comes is as good.
                let endpoint = &endpoints[asked as usize % endpoints.len()];
                let began = now();
                ask(&mut Peer::greet(endpoint));
                let took = began.elapsed();
                assert!(took < ANSWER_LIMIT, "a new client waits {took:?} for its first answer");
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

/// Asks a question, and checks the answer.
fn ask(session: &mut Peer) {
    let (method, body) = query("good");
    let answer = session.call(method, &body).unwrap();
    let answer: Answer = decode_body(&answer).unwrap();
    assert_eq!(answer.records.len(), 1, "{answer:?}");
}

/// How long an answer may take: far less than those who are hostile go on, and far longer than a
/// machine takes that does much else.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
