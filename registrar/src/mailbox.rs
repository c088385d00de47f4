//! What others leave for a session to send.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, OnceLock},
    task::{Context, Waker},
};

use bytes::Bytes;
use portal::Portal;
use wire::CallId;

/// What others leave for a session to send: answers to calls that waited, and word that there
/// are changes to read. It holds at most one answer for each call that the session made.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// The way to the peer, once it has said who it is.
    portal: OnceLock<Portal>,
    is_resident: bool,
}

#[derive(Debug, Default)]
struct State {
    answers: VecDeque<(CallId, Bytes)>,
    has_changes: bool,
    reader: Option<Waker>,
}

/// What was in a mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// Answers, in the order in which they came.
    pub(crate) answers: VecDeque<(CallId, Bytes)>,
    /// Whether there are changes to read.
    pub(crate) has_changes: bool,
}

impl Mailbox {
    /// Makes the mailbox of a session that has no peer: it is this process's own.
    pub(crate) fn resident() -> Self {
        Self { is_resident: true, ..Self::default() }
    }

    pub(crate) fn is_resident(&self) -> bool {
        self.is_resident
    }

    /// Leaves an answer.
    pub(crate) fn answer(&self, call: CallId, answer: Bytes) {
        let mut state = self.lock();
        state.answers.push_back((call, answer));
        state.wake();
    }

    /// Leaves word that there are changes to read.
    pub(crate) fn stir(&self) {
        let mut state = self.lock();
        state.has_changes = true;
        state.wake();
    }

    /// Lets the peer be called.
    pub(crate) fn introduce(&self, portal: Portal) {
        self.portal.get_or_init(|| portal);
    }

    /// Returns the way to the peer, if it can be called.
    pub(crate) fn portal(&self) -> Option<Portal> {
        self.portal.get().cloned()
    }

    /// Takes what is there, and wakes the task of `cx` when there is more.
    pub(crate) fn take(&self, cx: &Context<'_>) -> Mail {
        let mut state = self.lock();
        if !state.reader.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            state.reader = Some(cx.waker().clone());
        }
        Mail {
            answers: mem::take(&mut state.answers),
            has_changes: mem::take(&mut state.has_changes),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
