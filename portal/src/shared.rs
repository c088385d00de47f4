//! The state that the handles of a connection share with its driver.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use wire::{CallId, Frame, Hello, RemoteError, WireError};

use crate::{
    CallError, Closed, Request,
    items::{Flow, Inbox},
    outbox::Outbox,
};

/// The state that the handles of a connection share with its driver.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The number of the connection within this process, for the log.
    pub(crate) number: u64,
    pub(crate) peer: Hello,
    pub(crate) outbox: Arc<Outbox>,
    /// Even or odd, as all calls of this side are.
    first_id: CallId,
    /// The number of calls that wait for a result and have no items.
    calls: AtomicUsize,
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug)]
struct State {
    next_id: CallId,
    pending: HashMap<CallId, Pending>,
    /// Why a handle wants to close, and whether this side will return.
    closing: Option<(String, bool)>,
    closed: Option<Closed>,
}

/// The receiver of a call's result.
#[derive(Debug)]
pub(crate) enum Pending {
    /// A result.
    Call(oneshot::Sender<Result<Bytes, CallError>>),
    /// A started value, items both ways, and a result.
    Dialogue(Inbox, Arc<Flow>),
    /// A result that nobody waits for. It counts until it is there.
    Unwatched(OwnedSemaphorePermit),
}

/// A result that has come.
#[derive(Debug)]
pub(crate) struct Arrived {
    id: CallId,
    body: Bytes,
    /// The receiver, as soon as that is looked up.
    pending: Option<Pending>,
}

impl Arrived {
    pub(crate) fn new(id: CallId, body: Bytes) -> Self {
        Self { id, body, pending: None }
    }
}

impl Shared {
    pub(crate) fn new(peer: Hello, first_id: CallId) -> Self {
        let state =
            State { next_id: first_id, pending: HashMap::new(), closing: None, closed: None };
        Self {
            number: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
            peer,
            outbox: Arc::default(),
            first_id,
            calls: AtomicUsize::new(0),
            state: Mutex::new(state),
            ended: Notify::new(),
        }
    }

    /// Tells whether this side made the call, and not the other.
    pub(crate) fn is_own(&self, id: CallId) -> bool {
        id % 2 == self.first_id
    }

    /// Sends a call, and returns its number.
    pub(crate) fn call(
        &self,
        request: &Request<'_>,
        pending: Pending,
        credit: Option<u32>,
    ) -> Result<CallId, CallError> {
        let mut state = self.lock();
        if let Some(closed) = &state.closed {
            return Err(CallError::Closed(closed.clone()));
        }
        let id = state.next_id;
        let Request { method, body, .. } = request;
        let call = Frame::Call { id, method, body, within_ms: request.within_ms() };
        self.outbox.push(&call).map_err(CallError::TooLong)?;
        state.next_id += 2;
        self.calls.fetch_add(usize::from(pending.is_call()), Ordering::Relaxed);
        state.pending.insert(id, pending);
        if let Some(items) = credit {
            self.say(&Frame::Credit { id, items });
        }
        Ok(id)
    }

    /// Allows the other side to send more items.
    pub(crate) fn credit(&self, id: CallId, items: u32) {
        let mut state = self.lock();
        if let Some(Pending::Dialogue(inbox, _)) = state.pending.get_mut(&id) {
            inbox.allow(items);
            self.say(&Frame::Credit { id, items });
        }
    }

    /// Records that the other side allows more items.
    pub(crate) fn allow(&self, id: CallId, items: u32) {
        if let Some(Pending::Dialogue(_, flow)) = self.lock().pending.get(&id) {
            flow.allow(items);
        }
    }

    /// Gives up a call, if it is not over yet.
    pub(crate) fn forget(&self, id: CallId) {
        let mut state = self.lock();
        if self.remove(&mut state, id).is_some() && state.closed.is_none() {
            self.say(&Frame::Cancel { id });
        }
    }

    /// Asks the driver to write the queued data, say goodbye, and end.
    pub(crate) fn close(&self, reason: &str, returns: bool) {
        self.lock().closing.get_or_insert_with(|| (reason.to_owned(), returns));
        self.outbox.wake();
    }

    /// Returns why the connection ended, once it has.
    pub(crate) async fn closed(&self) -> Closed {
        loop {
            let ended = self.ended.notified();
            if let Some(closed) = self.why_closed() {
                return closed;
            }
            ended.await;
        }
    }

    /// Tells whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    fn why_closed(&self) -> Option<Closed> {
        self.lock().closed.clone()
    }

    /// Returns the reason to close, if a handle gave one, and whether it will be back.
    pub(crate) fn take_closing(&self) -> Option<(String, bool)> {
        self.lock().closing.take()
    }

    /// Ends a call with an error. An unknown call was abandoned before.
    pub(crate) fn fail(&self, id: CallId, error: RemoteError) {
        let pending = self.remove(&mut self.lock(), id);
        if let Some(pending) = pending {
            pending.end(Err(CallError::Remote(error)));
        }
    }

    /// Ends calls with their results, and leaves none. Unknown ones were abandoned before.
    pub(crate) fn finish_all(&self, results: &mut Vec<Arrived>) {
        let mut state = self.lock();
        for it in &mut *results {
            it.pending = self.remove(&mut state, it.id);
        }
        drop(state);
        for Arrived { pending, body, .. } in results.drain(..) {
            if let Some(pending) = pending {
                pending.end(Ok(body));
            }
        }
    }

    /// Passes an event to its dialogue. An unknown one was abandoned, and the other side has yet to
    /// learn it.
    pub(crate) fn deliver(
        &self,
        id: CallId,
        deliver: impl FnOnce(&mut Inbox) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        match self.lock().pending.get_mut(&id) {
            Some(Pending::Dialogue(inbox, _)) => deliver(inbox),
            Some(Pending::Call(_) | Pending::Unwatched(_)) => {
                Err(WireError::Malformed(format!("call {id} is no stream")))
            }
            None => Ok(()),
        }
    }

    /// Ends everything that waits.
    pub(crate) fn end(&self, why: Closed) {
        let pending = {
            let mut state = self.lock();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(why.clone());
            mem::take(&mut state.pending)
        };
        self.outbox.close();
        for pending in pending.into_values() {
            pending.end(Err(CallError::Closed(why.clone())));
        }
        self.ended.notify_waiters();
    }

    /// Tells whether more than one call waits for its result.
    pub(crate) fn has_several_calls(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 1
    }

    fn remove(&self, state: &mut State, id: CallId) -> Option<Pending> {
        let pending = state.pending.remove(&id)?;
        self.calls.fetch_sub(usize::from(pending.is_call()), Ordering::Relaxed);
        Some(pending)
    }

    fn say(&self, frame: &Frame<'_>) {
        self.outbox.push(frame).expect("the frame is short");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

/// The number of connections that this process has had.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

impl Pending {
    fn is_call(&self) -> bool {
        matches!(self, Self::Call(_))
    }

    fn end(self, result: Result<Bytes, CallError>) {
        match self {
            Self::Call(sender) => drop(sender.send(result)),
            Self::Unwatched(permit) => drop(permit),
            Self::Dialogue(inbox, flow) => {
                flow.close();
                inbox.over(result);
            }
        }
    }
}
