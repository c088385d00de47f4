//! What the handles of a connection share with its driver.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard},
    task::{Context, Waker},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, mpsc, oneshot};
use wire::{CallId, Frame, Hello, RemoteError, WireError};

use crate::{CallError, Closed};

/// What the handles of a connection share with its driver.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) peer: Hello,
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug)]
struct State {
    next_id: CallId,
    pending: HashMap<CallId, Pending>,
    outbox: BytesMut,
    driver: Option<Waker>,
    closing: Option<String>,
    closed: Option<Closed>,
}

/// Who waits for what a call brings.
#[derive(Debug)]
pub(crate) enum Pending {
    /// One result.
    Call(oneshot::Sender<Result<Bytes, CallError>>),
    /// A started value, items, and an end.
    Stream(mpsc::Sender<Event>),
}

/// What happens in a stream.
#[derive(Debug)]
pub(crate) enum Event {
    Started(Bytes),
    Item(Bytes),
    End(Result<(), CallError>),
}

impl Shared {
    pub(crate) fn new(peer: Hello, first_id: CallId) -> Self {
        let state = State {
            next_id: first_id,
            pending: HashMap::new(),
            outbox: BytesMut::new(),
            driver: None,
            closing: None,
            closed: None,
        };
        Self { peer, state: Mutex::new(state), ended: Notify::new() }
    }

    /// Sends a call, and returns its number.
    pub(crate) fn call(
        &self,
        method: &str,
        body: &[u8],
        pending: Pending,
        credit: Option<u32>,
    ) -> Result<CallId, CallError> {
        let mut state = self.lock();
        if let Some(closed) = &state.closed {
            return Err(CallError::Closed(closed.clone()));
        }
        let id = state.next_id;
        Frame::Call { id, method, body }.encode(&mut state.outbox).map_err(CallError::TooLong)?;
        state.next_id += 2;
        state.pending.insert(id, pending);
        if let Some(items) = credit {
            Frame::Credit { id, items }.encode(&mut state.outbox).expect("the frame is short");
        }
        state.wake();
        Ok(id)
    }

    /// Allows the other side to send more items.
    pub(crate) fn credit(&self, id: CallId, items: u32) {
        let mut state = self.lock();
        if state.pending.contains_key(&id) {
            Frame::Credit { id, items }.encode(&mut state.outbox).expect("the frame is short");
            state.wake();
        }
    }

    /// Gives up a call, if it is not over yet.
    pub(crate) fn forget(&self, id: CallId) {
        let mut state = self.lock();
        if state.pending.remove(&id).is_some() && state.closed.is_none() {
            Frame::Cancel { id }.encode(&mut state.outbox).expect("the frame is short");
            state.wake();
        }
    }

    /// Asks the driver to write what there is, say goodbye and end.
    pub(crate) fn close(&self, reason: &str) {
        let mut state = self.lock();
        state.closing.get_or_insert_with(|| reason.to_owned());
        state.wake();
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

    fn why_closed(&self) -> Option<Closed> {
        self.lock().closed.clone()
    }

    /// Moves what the handles have queued to `bytes`, and keeps the driver's waker. Returns the
    /// reason to close, if a handle gave one.
    pub(crate) fn take_outbox(&self, cx: &Context<'_>, bytes: &mut BytesMut) -> Option<String> {
        let mut state = self.lock();
        if !state.driver.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            state.driver = Some(cx.waker().clone());
        }
        if bytes.is_empty() {
            mem::swap(bytes, &mut state.outbox);
        } else {
            bytes.extend_from_slice(&state.outbox);
            state.outbox.clear();
        }
        state.closing.take()
    }

    /// Ends a call with its result. One that is not known was given up before.
    pub(crate) fn finish(&self, id: CallId, result: Result<Bytes, RemoteError>) {
        let pending = self.lock().pending.remove(&id);
        let result = result.map_err(CallError::Remote);
        match pending {
            Some(Pending::Call(sender)) => drop(sender.send(result)),
            // A stream keeps one place for its end free.
            Some(Pending::Stream(sender)) => {
                drop(sender.try_send(Event::End(result.map(drop))));
            }
            None => {}
        }
    }

    /// Passes an event to the stream that it belongs to.
    pub(crate) fn deliver(&self, id: CallId, event: Event) -> Result<(), Closed> {
        let state = self.lock();
        let why = match state.pending.get(&id) {
            // Given up, and the other side has not heard of it yet.
            None => return Ok(()),
            Some(Pending::Call(_)) => format!("call {id} is no stream"),
            // One place is for the end.
            Some(Pending::Stream(sender)) if sender.capacity() > 1 => {
                drop(sender.try_send(event));
                return Ok(());
            }
            Some(Pending::Stream(_)) => format!("more items in call {id} than credit was given"),
        };
        Err(Closed::Protocol(WireError::Malformed(why)))
    }

    /// Ends everything that waits.
    pub(crate) fn end(&self, why: Closed) {
        let pending = {
            let mut state = self.lock();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(why.clone());
            state.outbox = BytesMut::new();
            mem::take(&mut state.pending)
        };
        for pending in pending.into_values() {
            let error = CallError::Closed(why.clone());
            match pending {
                Pending::Call(sender) => drop(sender.send(Err(error))),
                Pending::Stream(sender) => drop(sender.try_send(Event::End(Err(error)))),
            }
        }
        self.ended.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}
