//! The inbox of a session.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, OnceLock},
    task::{Context, Waker},
};

use endpoints::Name;
use portal::Portal;
use tokio::sync::mpsc;
use uuid::Uuid;
use wire::{CallId, RemoteError, callbacks::Lost, registrar::Registered};

/// The inbox of a session: names that it waits for and that have appeared, and the fact that there
/// are changes to read. It holds each name at most once for each time that the session waited for
/// it, and no part of the messages to send.
#[derive(Debug, Default)]
pub(crate) struct SessionHandle {
    state: Mutex<State>,
    /// The portal of the peer, once it has introduced itself.
    portal: OnceLock<Portal>,
    /// The destination of the losses of a session without a peer.
    local_client: Option<mpsc::Sender<Lost>>,
}

#[derive(Debug, Default)]
struct State {
    present: VecDeque<Name>,
    /// The answers to calls that were in line for a name: no more than there were such calls.
    granted: VecDeque<LineAnswer>,
    has_changes: bool,
    /// Whether the peer is to be asked for a sign of life.
    is_asked: bool,
    reader: Option<Waker>,
}

/// The answer to a call that was in line for a name.
#[derive(Debug)]
pub(crate) struct LineAnswer {
    pub(crate) call: CallId,
    pub(crate) uuid: Uuid,
    pub(crate) result: Result<Registered, RemoteError>,
}

impl SessionHandle {
    /// Makes the handle of a session without a peer, in this process. Its losses are read
    /// separately.
    pub(crate) fn local_client() -> (Self, mpsc::Receiver<Lost>) {
        let (local_client, losses) = mpsc::channel(LOSSES_MAX);
        (Self { local_client: Some(local_client), ..Self::default() }, losses)
    }

    /// Returns the destination of the losses of a session without a peer.
    pub(crate) fn as_local(&self) -> Option<&mpsc::Sender<Lost>> {
        self.local_client.as_ref()
    }

    /// Records that an instance of an awaited name has appeared.
    pub(crate) fn tell_present(&self, name: Name) {
        let mut state = self.lock();
        state.present.push_back(name);
        state.wake();
    }

    /// Stores the answer to a call that was in line.
    pub(crate) fn grant(&self, granted: LineAnswer) {
        let mut state = self.lock();
        state.granted.push_back(granted);
        state.wake();
    }

    /// Removes the next answer to a call that was in line.
    pub(crate) fn take_granted(&self) -> Option<LineAnswer> {
        self.lock().granted.pop_front()
    }

    /// Removes the answer to an abandoned call; tells which instance it registered.
    pub(crate) fn forget_granted(&self, call: CallId) -> Option<Uuid> {
        let mut state = self.lock();
        let at = state.granted.iter().position(|it| it.call == call)?;
        let granted = state.granted.remove(at)?;
        granted.result.is_ok().then_some(granted.uuid)
    }

    /// Records that there are changes to read.
    pub(crate) fn notify(&self) {
        let mut state = self.lock();
        state.has_changes = true;
        state.wake();
    }

    /// Has the peer asked for a sign of life.
    pub(crate) fn ask_for_sign(&self) {
        let mut state = self.lock();
        state.is_asked = true;
        state.wake();
    }

    /// Takes the request for a sign of life.
    pub(crate) fn take_asked(&self) -> bool {
        mem::take(&mut self.lock().is_asked)
    }

    /// Makes the peer callable.
    pub(crate) fn introduce(&self, portal: Portal) {
        self.portal.get_or_init(|| portal);
    }

    /// Returns the portal of the peer, if it can be called.
    pub(crate) fn portal(&self) -> Option<Portal> {
        self.portal.get().cloned()
    }

    /// Takes the notice of changes, and wakes the task of `cx` when there is more of anything.
    pub(crate) fn take_has_changes(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        if !state.reader.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            state.reader = Some(cx.waker().clone());
        }
        mem::take(&mut state.has_changes)
    }

    /// Returns a name that is there now.
    pub(crate) fn present(&self) -> Option<Name> {
        self.lock().present.front().cloned()
    }

    /// Removes the name that [`present`](Self::present) returns.
    pub(crate) fn take_present(&self) -> Option<Name> {
        self.lock().present.pop_front()
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

/// The most unread losses of a session without a peer: a removal of more means the whole tree, and
/// its root learns that.
const LOSSES_MAX: usize = 1024;
