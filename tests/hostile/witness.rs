//! A good client that asks continually.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use wire::{decode_body, registrar::Answer};

use crate::harness::{Node, Peer, query, register, registration, stamped};

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
            while !is_seen.load(Ordering::Relaxed) {
                sessions.iter_mut().for_each(ask);
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

/// Asks a question, and checks the answer.
fn ask(session: &mut Peer) {
    let (method, body) = query("good");
    let answer = session.call(method, &body).unwrap();
    let answer: Answer = decode_body(&answer).unwrap();
    assert_eq!(answer.records.len(), 1, "{answer:?}");
}
