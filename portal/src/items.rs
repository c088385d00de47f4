//! The items of a call, in both directions: their credit and their queues.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use wire::{CallId, Frame, WireError, encode_body};

use crate::{CallError, outbox::Outbox};

/// Sends the items of a call. Clones send into the same one.
#[derive(Clone, Debug)]
pub struct ItemSender {
    pub(crate) id: CallId,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) flow: Arc<Flow>,
}

impl ItemSender {
    /// Sends an item once the other side allows one and the queued frames have been written.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the item is sent whole or not at all.
    pub async fn send(&self, item: &(impl Serialize + ?Sized)) -> Result<(), SendError> {
        self.send_encoded(encode_body(item).into()).await
    }

    /// Sends an item that is encoded already. A long one is not copied.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_encoded(&self, body: Bytes) -> Result<(), SendError> {
        let credit = self.flow.credit.acquire().await.map_err(|_| SendError::Over)?;
        self.outbox.push_item(self.id, &body).await?;
        credit.forget();
        Ok(())
    }

    /// Sends no more items in this call, which continues. Returns immediately; a second call does
    /// nothing.
    pub fn finish(&self) {
        if self.flow.close() {
            let pushed = self.outbox.push(&Frame::End { id: self.id });
            pushed.expect("the frame is short");
        }
    }
}

/// Why an item was not sent.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The call is over or given up, or this side has finished its items.
    #[error("the call takes no more items from this side")]
    Over,
    /// The item is too long to be sent.
    #[error("the item is too long to be sent")]
    TooLong(#[from] WireError),
}

/// The number of items that one side may still send.
#[derive(Debug)]
pub(crate) struct Flow {
    credit: Semaphore,
    is_closed: AtomicBool,
}

impl Default for Flow {
    fn default() -> Self {
        Self { credit: Semaphore::new(0), is_closed: AtomicBool::new(false) }
    }
}

impl Flow {
    /// Records that the other side allows more. Whatever it says, the sum stays in bounds.
    pub(crate) fn allow(&self, items: u32) {
        let room = Semaphore::MAX_PERMITS / 2 - self.credit.available_permits();
        self.credit.add_permits(room.min(items as usize));
    }

    /// Ends the items; tells whether they were not ended before.
    pub(crate) fn close(&self) -> bool {
        let was_open = !self.is_closed.swap(true, Ordering::AcqRel);
        self.credit.close();
        was_open
    }
}

/// An event of a call with items.
#[derive(Debug)]
pub(crate) enum Event {
    Started(Bytes),
    Item(Bytes),
    /// The other side sends no more items.
    Ended,
    /// The call is over.
    Over(Result<Bytes, CallError>),
}

/// The driver's destination for the events of a streaming call.
#[derive(Debug)]
pub(crate) struct Inbox {
    events: mpsc::Sender<Event>,
    /// The number of items that the other side may still send.
    allowed: u64,
    is_started: bool,
    is_ended: bool,
}

impl Inbox {
    /// Creates one, with room for a window of items and the three other events.
    pub(crate) fn new(window: u16) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(usize::from(window) + 3);
        let allowed = window.into();
        (Self { events, allowed, is_started: false, is_ended: false }, receiver)
    }

    pub(crate) fn allow(&mut self, items: u32) {
        self.allowed += u64::from(items);
    }

    pub(crate) fn started(&mut self, id: CallId, body: Bytes) -> Result<(), WireError> {
        if self.is_started {
            return Err(WireError::Malformed(format!("call {id} has started before")));
        }
        self.is_started = true;
        self.put(Event::Started(body));
        Ok(())
    }

    pub(crate) fn item(&mut self, id: CallId, body: Bytes) -> Result<(), WireError> {
        if self.is_ended {
            return Err(WireError::Malformed(format!("an item in call {id} behind the last")));
        }
        if self.allowed == 0 {
            let why = format!("more items in call {id} than credit was given");
            return Err(WireError::Malformed(why));
        }
        self.allowed -= 1;
        self.put(Event::Item(body));
        Ok(())
    }

    pub(crate) fn end(&mut self, id: CallId) -> Result<(), WireError> {
        if self.is_ended {
            return Err(WireError::Malformed(format!("the items of call {id} have ended before")));
        }
        self.is_ended = true;
        self.put(Event::Ended);
        Ok(())
    }

    pub(crate) fn over(self, result: Result<Bytes, CallError>) {
        self.put(Event::Over(result));
    }

    /// Stores an event if there is room; a receiver that is gone wants none.
    fn put(&self, event: Event) {
        drop(self.events.try_send(event));
    }
}

/// Counts the items that were taken, and tells when to allow more.
#[derive(Debug)]
pub(crate) struct Window {
    size: u32,
    taken: u32,
}

impl Window {
    pub(crate) fn new(size: u16) -> Self {
        Self { size: size.into(), taken: 0 }
    }

    /// Records an item; returns how many more to allow, when half of the window is used up.
    pub(crate) fn take(&mut self) -> Option<u32> {
        self.taken += 1;
        (self.taken * 2 >= self.size).then(|| std::mem::take(&mut self.taken))
    }
}
