//! The handle of a conversation.

use std::{marker::PhantomData, sync::Arc};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use wire::{CallId, Hello, decode_body};

use crate::{
    CallError, Closed, Dialogue, ItemSender, Request,
    dialogue::Limit,
    items::{Flow, Inbox},
    shared::{Pending, Shared},
};

/// The handle of a conversation with one peer. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Portal {
    shared: Arc<Shared>,
    in_flight: Arc<Semaphore>,
    /// As many as calls may be sent whose results nobody waits for.
    unwatched: Arc<Semaphore>,
}

impl Portal {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let in_flight = Arc::new(Semaphore::new(CALLS_MAX));
        let unwatched = Arc::new(Semaphore::new(UNWATCHED_MAX));
        Self { shared, in_flight, unwatched }
    }

    /// Returns the peer's hello.
    pub fn peer(&self) -> &Hello {
        &self.shared.peer
    }

    /// Calls a method of the peer and returns its result. At most a thousand calls run
    /// concurrently; further ones wait for their turn.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call. It is then not known whether the peer carried it out.
    pub async fn call<R: DeserializeOwned>(&self, request: Request<'_>) -> Result<R, CallError> {
        decode_body(&self.call_encoded(request).await?).map_err(CallError::Unreadable)
    }

    /// Calls a method as [`call`](Self::call) does, and returns the encoded result.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_encoded(&self, request: Request<'_>) -> Result<Bytes, CallError> {
        let answer = self.answer(&request);
        match request.within {
            None => answer.await,
            Some(limit) => timeout(limit, answer).await.unwrap_or(Err(CallError::TimedOut(limit))),
        }
    }

    async fn answer(&self, request: &Request<'_>) -> Result<Bytes, CallError> {
        let permit = self.in_flight.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        let (sender, receiver) = oneshot::channel();
        let id = self.shared.call(request, Pending::Call(sender), None)?;
        let mut call = PendingCall { shared: &self.shared, id, is_over: false };
        let result = receiver.await.expect("the driver answers every call before it ends");
        call.is_over = true;
        result
    }

    /// Sends a call without waiting for its result. It waits for no other call: awaited calls do
    /// not count, and a thousand of these may be unanswered.
    ///
    /// # Errors
    ///
    /// [`CallError::Closed`] if the connection has ended, [`CallError::TooMany`],
    /// [`CallError::TooLong`].
    pub fn send(&self, request: Request<'_>) -> Result<(), CallError> {
        let permit = self.unwatched.clone().try_acquire_owned();
        let permit = permit.map_err(|_| CallError::TooMany(UNWATCHED_MAX))?;
        self.shared.call(&request, Pending::Unwatched(permit), None).map(drop)
    }

    /// Calls a method that streams: it returns a first value, then items until it ends. At most
    /// `window` items are on their way or wait to be taken.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the [`Items`], cancels the call.
    pub async fn stream<S: DeserializeOwned, I: DeserializeOwned>(
        &self,
        request: Request<'_>,
        window: u16,
    ) -> Result<(S, Items<I>), CallError> {
        let dialogue = self.dialogue(request, window).await?;
        Ok((dialogue.started()?, Items { dialogue, item: PhantomData }))
    }

    /// Calls a method with items both ways. At most `window` of the peer's items are on their way
    /// or wait to be taken.
    ///
    /// # Errors
    ///
    /// [`CallError`]. When the request limits the time, that is [`CallError::TimedOut`] once it is
    /// over, here as in all methods of the [`Dialogue`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the [`Dialogue`], cancels the call.
    pub async fn dialogue(&self, request: Request<'_>, window: u16) -> Result<Dialogue, CallError> {
        let beginning = self.begin(&request, window, request.within.map(Limit::new));
        match request.within {
            None => beginning.await,
            Some(limit) => {
                timeout(limit, beginning).await.unwrap_or(Err(CallError::TimedOut(limit)))
            }
        }
    }

    async fn begin(
        &self,
        request: &Request<'_>,
        window: u16,
        limit: Option<Limit>,
    ) -> Result<Dialogue, CallError> {
        let permit = self.in_flight.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let window = window.max(1);
        let (inbox, events) = Inbox::new(window);
        let flow = Arc::new(Flow::default());
        let pending = Pending::Dialogue(inbox, flow.clone());
        let id = self.shared.call(request, pending, Some(window.into()))?;
        let items = ItemSender { id, outbox: self.shared.outbox.clone(), flow };
        Dialogue::begin(self.shared.clone(), items, events, window, permit, limit).await
    }

    /// Says goodbye once everything sent so far is written, and ends the connection.
    pub fn close(&self, reason: &str) {
        self.shared.close(reason, false);
    }

    /// Ends the connection as [`close`](Self::close) does, for a side that has waited for too long
    /// and is about to begin another: what the peer keeps for it is not to be taken for gone.
    pub fn close_for_now(&self, reason: &str) {
        self.shared.close(reason, true);
    }

    /// Tells whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Waits until the connection has ended, and returns why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> Closed {
        self.shared.closed().await
    }
}

/// The items of a call. Dropping it cancels the call.
#[derive(Debug)]
pub struct Items<I> {
    dialogue: Dialogue,
    item: PhantomData<fn() -> I>,
}

impl<I: DeserializeOwned> Items<I> {
    /// Returns the next item, or `None` when the call has ended well.
    ///
    /// # Errors
    ///
    /// [`CallError`] when it has not.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no item is lost.
    pub async fn next(&mut self) -> Result<Option<I>, CallError> {
        self.dialogue.next().await
    }
}

/// Cancels a call that its caller has abandoned.
struct PendingCall<'a> {
    shared: &'a Shared,
    id: CallId,
    is_over: bool,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.forget(self.id);
        }
    }
}

/// The most unanswered calls without an awaited result: as many as of the others. They are answered
/// immediately, and a peer that leaves so many unanswered does not read.
const UNWATCHED_MAX: usize = CALLS_MAX;

/// The most concurrent calls, including dialogues: enough to keep any link busy, and few enough
/// that their answers fit into memory. The other side relies on it.
pub(crate) const CALLS_MAX: usize = 1024;
