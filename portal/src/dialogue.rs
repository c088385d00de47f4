//! A call with items, as its caller sees it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout_at},
};
use wire::{CallId, WireError, decode_body};

use crate::{
    CallError, ItemSender, SendError,
    items::{Event, Window},
    shared::Shared,
};

/// A call with items: a first value from the peer, items both ways, and a result.
/// Dropping it cancels the call, unless the call is over.
///
/// Both sides send items as the other allows. Either may end its own items; the call goes on
/// until the other side gives the result.
#[derive(Debug)]
pub struct Dialogue {
    shared: Arc<Shared>,
    id: CallId,
    started: Bytes,
    items: ItemSender,
    events: mpsc::Receiver<Event>,
    window: Window,
    is_ended: bool,
    outcome: Option<Result<Bytes, CallError>>,
    limit: Option<Limit>,
    _permit: OwnedSemaphorePermit,
}

impl Dialogue {
    /// Waits for the first value of a call that was sent.
    pub(crate) async fn begin(
        shared: Arc<Shared>,
        items: ItemSender,
        events: mpsc::Receiver<Event>,
        window: u16,
        permit: OwnedSemaphorePermit,
        limit: Option<Limit>,
    ) -> Result<Self, CallError> {
        let mut dialogue = Self {
            shared,
            id: items.id,
            started: Bytes::new(),
            items,
            events,
            window: Window::new(window),
            is_ended: false,
            outcome: None,
            limit,
            _permit: permit,
        };
        match dialogue.events.recv().await {
            Some(Event::Started(body)) => dialogue.started = body,
            Some(Event::Over(Err(error))) => return Err(error),
            Some(Event::Item(_)) => {
                return Err(unreadable("an item came before the started value"));
            }
            Some(Event::Ended | Event::Over(Ok(_))) | None => {
                return Err(unreadable("the call ended without a started value"));
            }
        }
        Ok(dialogue)
    }

    /// Returns the first value.
    ///
    /// # Errors
    ///
    /// [`CallError::Unreadable`].
    pub fn started<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        decode_body(&self.started).map_err(CallError::Unreadable)
    }

    /// Returns the first value as it came.
    pub fn started_encoded(&self) -> &Bytes {
        &self.started
    }

    /// Sends an item, once the peer allows one.
    ///
    /// # Errors
    ///
    /// [`SendError`]. Why a call is over [`result`](Self::result) tells.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the item is sent whole or not at all.
    pub async fn send(&self, item: &(impl Serialize + ?Sized)) -> Result<(), SendError> {
        self.items.send(item).await
    }

    /// Sends no more items from this side. The call continues.
    pub fn finish(&self) {
        self.items.finish();
    }

    /// Returns the sender of items, for use while something else takes those of the peer.
    pub fn sender(&self) -> ItemSender {
        self.items.clone()
    }

    /// Returns the next item, or `None` when the other side has ended them.
    ///
    /// # Errors
    ///
    /// [`CallError`] when the call has failed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no item is lost.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CallError> {
        match self.next_encoded().await? {
            Some(body) => decode_body(&body).map(Some).map_err(CallError::Unreadable),
            None => Ok(None),
        }
    }

    /// Returns the next item as it came, or `None` when the other side has ended them.
    ///
    /// # Errors
    ///
    /// [`CallError`] when the call has failed.
    ///
    /// # Cancel safety
    ///
    /// As [`next`](Self::next).
    pub async fn next_encoded(&mut self) -> Result<Option<Bytes>, CallError> {
        match &self.outcome {
            Some(Err(error)) => return Err(error.clone()),
            Some(Ok(_)) => return Ok(None),
            None if self.is_ended => return Ok(None),
            None => {}
        }
        match self.event().await {
            Some(Event::Item(body)) => {
                if let Some(items) = self.window.take() {
                    self.shared.credit(self.id, items);
                }
                Ok(Some(body))
            }
            Some(Event::Ended) => {
                self.is_ended = true;
                Ok(None)
            }
            Some(Event::Over(outcome)) => {
                let outcome = self.outcome.insert(outcome);
                outcome.as_ref().map(|_| None).map_err(Clone::clone)
            }
            Some(Event::Started(_)) | None => Err(unreadable("the call has no end")),
        }
    }

    /// Waits for the next event; the end of the dialogue's time is its end.
    async fn event(&mut self) -> Option<Event> {
        let Some(Limit { within, until: Some(until) }) = self.limit else {
            return self.events.recv().await;
        };
        match timeout_at(until, self.events.recv()).await {
            // The other side may report it first.
            Ok(Some(Event::Over(Err(_)))) if Instant::now() >= until => {}
            Ok(event) => return event,
            Err(_) => self.give_up(),
        }
        Some(Event::Over(Err(CallError::TimedOut(within))))
    }

    /// Cancels the call, unless it is over.
    fn give_up(&self) {
        self.items.flow.close();
        self.shared.forget(self.id);
    }

    /// Waits for the result. Items that are not taken yet are dropped.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub async fn result<T: DeserializeOwned>(self) -> Result<T, CallError> {
        decode_body(&self.result_encoded().await?).map_err(CallError::Unreadable)
    }

    /// Waits for the result, and returns it as it came; otherwise as [`result`](Self::result).
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub async fn result_encoded(mut self) -> Result<Bytes, CallError> {
        loop {
            if let Some(outcome) = self.outcome.take() {
                return outcome;
            }
            if self.next_encoded().await?.is_none() && self.outcome.is_none() {
                // The items have ended before the call.
                self.is_ended = false;
            }
        }
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The time limit of a dialogue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    within: Duration,
    /// The deadline. One beyond the clock's range counts as none.
    until: Option<Instant>,
}

impl Limit {
    /// Begins now.
    pub(crate) fn new(within: Duration) -> Self {
        Self { within, until: Instant::now().checked_add(within) }
    }
}

pub(crate) fn unreadable(why: &str) -> CallError {
    CallError::Unreadable(WireError::Malformed(why.to_owned()))
}
