//! The outbox of a connection: frames of handles and handlers, until the driver takes them.

use std::{
    sync::{Mutex, MutexGuard},
    task::{Context, Waker},
};

use bytes::Bytes;
use tokio::sync::Notify;
use wire::{CallId, Frame, WireError};

use crate::queue::ByteQueue;

/// The frames of handles and handlers, until the driver takes them. Items wait outside while it is
/// full, so that other frames wait for no more than a full one.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: ByteQueue,
    driver: Option<Waker>,
    is_closed: bool,
}

impl Outbox {
    /// Queues a frame that waits for nothing. It is dropped if the connection is over.
    pub(crate) fn push(&self, frame: &Frame<'_>) -> Result<(), WireError> {
        self.with(|queue| queue.push(frame)).unwrap_or(Ok(()))
    }

    /// Queues an item as soon as there is room. It is dropped if the connection is over.
    pub(crate) async fn push_item(&self, id: CallId, body: &Bytes) -> Result<(), WireError> {
        loop {
            let room = self.room.notified();
            let pushed = self
                .with(|queue| (queue.len() < QUEUE_BYTES_MAX).then(|| queue.push_item(id, body)));
            match pushed {
                Some(Some(result)) => return result,
                Some(None) => room.await,
                None => return Ok(()),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    /// Wakes the driver.
    pub(crate) fn wake(&self) {
        let driver = self.lock().driver.take();
        driver.inspect(Waker::wake_by_ref);
    }

    /// Moves all queued frames to `queue`, and keeps the waker for later ones.
    pub(crate) fn take(&self, cx: &Context<'_>, queue: &mut ByteQueue) {
        let mut state = self.lock();
        if !state.driver.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            state.driver = Some(cx.waker().clone());
        }
        self.empty(state, queue);
    }

    /// Moves all queued frames to `queue`, for a driver that is at work.
    pub(crate) fn move_to(&self, queue: &mut ByteQueue) {
        self.empty(self.lock(), queue);
    }

    fn empty(&self, mut state: MutexGuard<'_, State>, queue: &mut ByteQueue) {
        let was_full = state.queue.len() >= QUEUE_BYTES_MAX;
        queue.append(&mut state.queue);
        drop(state);
        if was_full {
            self.room.notify_waiters();
        }
    }

    /// Drops queued frames and all later ones.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.queue = ByteQueue::default();
        drop(state);
        self.room.notify_waiters();
    }

    /// Lets `write` append to the queue, and wakes the driver; `None` if the connection is over.
    fn with<T>(&self, write: impl FnOnce(&mut ByteQueue) -> T) -> Option<T> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        let before = state.queue.len();
        let result = write(&mut state.queue);
        let driver = if state.queue.len() > before { state.driver.take() } else { None };
        drop(state);
        driver.inspect(Waker::wake_by_ref);
        Some(result)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

/// The bytes that may be queued before items wait outside: enough for one large write, and little
/// enough that a `cancel` behind it leaves promptly.
pub(crate) const QUEUE_BYTES_MAX: usize = 256 * 1024;
