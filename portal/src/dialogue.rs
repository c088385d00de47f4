//! A call that goes on, as its caller sees it.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use wire::{CallId, WireError, decode_body};

use crate::{
    CallError, ItemSender, SendError,
    items::{Event, Window},
    shared::Shared,
};

/// A call that goes on: a first value from the other side, items both ways, and a result.
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

    /// Sends an item, when the other side allows one.
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

    /// Sends no more items from this side. The call goes on.
    pub fn finish(&self) {
        self.items.finish();
    }

    /// Returns what sends items, for use while something else takes them.
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
        match self.events.recv().await {
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
        self.items.flow.close();
        self.shared.forget(self.id);
    }
}

pub(crate) fn unreadable(why: &str) -> CallError {
    CallError::Unreadable(WireError::Malformed(why.to_owned()))
}
