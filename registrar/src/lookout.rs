//! Questions to the kernel: who listens at an endpoint?
//!
//! The kernel goes through all sockets of the network namespace for an answer, and their number is
//! anybody's choice. So a thread of its own asks, the runtime serves others meanwhile, and however
//! many ask, the kernel is asked once: for all questions that have arrived by then. A question that
//! arrives later waits for the next time, because a claim must be seen after it was made.
//!
//! ```text
//!   questions:      a     b c d                   e
//!   the thread:     ├─ a ─┤ rests ├─ b c d ─┤ rests ├─ e ─┤
//! ```
//!
//! The processor time is shared by the accounts of those who ask, and the thread rests for ten times
//! as long as it has worked.

use std::{
    sync::{Mutex, MutexGuard},
    thread,
    time::Duration,
};

use endpoints::Endpoint;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;
use transport::{Listening, listening_at_each};

use crate::meter::thread_time;

/// Asks the kernel for all of a registry's looks.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    /// Where the thread takes its questions from, once there is one.
    questions: Mutex<Option<mpsc::Sender<Question>>>,
}

#[derive(Debug)]
struct Question {
    endpoint: Endpoint,
    answer: oneshot::Sender<Sighting>,
}

/// The listener at an endpoint.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) listening: Listening,
    /// The question's part of the processor time.
    pub(crate) cost: Duration,
}

impl Lookout {
    /// Asks the kernel for the listener at an endpoint; `None` if nobody can ask it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn ask(&self, endpoint: &Endpoint) -> Option<Sighting> {
        let (answer, answered) = oneshot::channel();
        let question = Question { endpoint: endpoint.clone(), answer };
        self.questions()?.send(question).await.ok()?;
        answered.await.ok()
    }

    /// Returns where questions go. The thread begins with the first, and ends with the lookout.
    fn questions(&self) -> Option<mpsc::Sender<Question>> {
        let mut questions = self.lock();
        if let Some(questions) = &*questions {
            return Some(questions.clone());
        }
        let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
        let work = || answer_all(receiver, listening_at_each, thread::sleep);
        match thread::Builder::new().name("lookout".to_owned()).spawn(work) {
            Ok(_) => *questions = Some(sender.clone()),
            Err(error) => {
                warn!(%error, "no thread can be started, so nobody can tell who listens");
                return None;
            }
        }
        Some(sender)
    }

    fn lock(&self) -> MutexGuard<'_, Option<mpsc::Sender<Question>>> {
        self.questions.lock().expect("nothing panics while it holds the lock")
    }
}

/// Answers questions until nobody can ask any more.
fn answer_all(
    mut questions: mpsc::Receiver<Question>,
    look: impl Fn(&[Endpoint]) -> Vec<Listening>,
    rest: impl Fn(Duration),
) {
    let mut asked = Vec::new();
    while questions.blocking_recv_many(&mut asked, QUESTIONS_MAX) > 0 {
        // Somebody may have given up.
        asked.retain(|it| !it.answer.is_closed());
        let began = thread_time();
        let endpoints: Vec<_> = asked.iter().map(|it| it.endpoint.clone()).collect();
        let seen = look(&endpoints);
        let took = thread_time().saturating_sub(began);
        let cost = took / asked.len().max(1) as u32;
        for (question, listening) in asked.drain(..).zip(seen) {
            question.answer.send(Sighting { listening, cost }).ok();
        }
        rest((REST * took).min(REST_MAX));
    }
}

/// The most questions that wait, and that one look answers: more than there are jobs and looks of
/// adapters at a time.
const QUESTIONS_MAX: usize = 256;

/// How many times as long as it has worked the thread rests, so that it takes a tenth of a
/// processor, and the longest rest.
const REST: u32 = 9;
const REST_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;

    fn ask(questions: &mpsc::Sender<Question>, port: usize) -> oneshot::Receiver<Sighting> {
        let (answer, answered) = oneshot::channel();
        let endpoint = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
        questions.try_send(Question { endpoint, answer }).unwrap();
        answered
    }

    /// A question that comes during a look is answered by the next one, together with all others
    /// that have come by then.
    #[test]
    fn one_look_answers_all_questions_that_came_before_it() {
        let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
        let (looks, looked) = std_mpsc::channel();
        let (go, gone) = std_mpsc::channel();
        let look = move |endpoints: &[Endpoint]| {
            looks.send(endpoints.len()).unwrap();
            gone.recv().unwrap();
            vec![Listening::Unknown; endpoints.len()]
        };
        let thread = thread::spawn(|| answer_all(receiver, look, |_| {}));
        let first = ask(&sender, 1);
        assert_eq!(looked.recv(), Ok(1));
        let mut later: Vec<_> = (0..200).map(|it| ask(&sender, it % 7)).collect();
        let given_up = later.split_off(190);
        drop(given_up);
        go.send(()).unwrap();
        assert_eq!(first.blocking_recv().unwrap().listening, Listening::Unknown);
        assert_eq!(looked.recv(), Ok(190), "those that have given up cost nothing");
        for answered in &mut later {
            assert!(answered.try_recv().is_err(), "it is answered by an earlier look");
        }
        go.send(()).unwrap();
        let costs: Vec<_> = later.into_iter().map(|it| it.blocking_recv().unwrap().cost).collect();
        assert!(costs.iter().all(|it| *it == costs[0]), "each has its part of the cost");
        drop(sender);
        thread.join().unwrap();
        assert!(looked.recv().is_err(), "it looks no more than is asked");
    }

    #[test]
    fn the_thread_rests_after_its_work() {
        let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
        let (rests, rested) = std_mpsc::channel();
        let look = |endpoints: &[Endpoint]| {
            let began = thread_time();
            while thread_time() - began < Duration::from_millis(2) {}
            vec![Listening::Unknown; endpoints.len()]
        };
        let answered = ask(&sender, 1);
        drop(sender);
        answer_all(receiver, look, move |rest| rests.send(rest).unwrap());
        let cost = answered.blocking_recv().unwrap().cost;
        assert!(cost >= Duration::from_millis(2));
        assert_eq!(rested.recv(), Ok((9 * cost).min(REST_MAX)));
    }
}
