//! The handle of a conversation.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use wire::{CallId, Hello, decode_body, encode_body};

use crate::{
    CallError, Closed, Dialogue, ItemSender,
    dialogue::Limit,
    items::{Flow, Inbox},
    shared::{Pending, Request, Shared},
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

    /// Returns what the other side said of itself.
    pub fn peer(&self) -> &Hello {
        &self.shared.peer
    }

    /// Calls a method of the other side and returns its result. At most a thousand calls are
    /// under way at once; further ones wait for their turn.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call. Whether it was carried out is then not known.
    pub async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        let body = self.call_encoded(method, &encode_body(args)).await?;
        decode_body(&body).map_err(CallError::Unreadable)
    }

    /// Calls a method with a body that is encoded already, and returns the result as it came.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_encoded(&self, method: &str, body: &[u8]) -> Result<Bytes, CallError> {
        self.request(Request { method, body, within_ms: None }).await
    }

    /// Calls a method as [`call`](Self::call), and waits for so long at most. The other side is
    /// told, and ends the call by itself.
    ///
    /// # Errors
    ///
    /// [`CallError`], [`CallError::TimedOut`] among them.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_within<R: DeserializeOwned>(
        &self,
        method: &str,
        args: &(impl Serialize + ?Sized),
        within: Duration,
    ) -> Result<R, CallError> {
        let body = self.call_encoded_within(method, &encode_body(args), within).await?;
        decode_body(&body).map_err(CallError::Unreadable)
    }

    /// Calls a method as [`call_within`](Self::call_within) does, with a body that is encoded
    /// already, and returns the result as it came.
    ///
    /// # Errors
    ///
    /// As [`call_within`](Self::call_within).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_encoded_within(
        &self,
        method: &str,
        body: &[u8],
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let request = self.request(request_within(method, body, within));
        timeout(within, request).await.unwrap_or(Err(CallError::TimedOut(within)))
    }

    async fn request(&self, request: Request<'_>) -> Result<Bytes, CallError> {
        let permit = self.in_flight.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        let (sender, receiver) = oneshot::channel();
        let id = self.shared.call(request, Pending::Call(sender), None)?;
        let mut call = UnderWay { shared: &self.shared, id, is_over: false };
        let result = receiver.await.expect("the driver answers every call before it ends");
        call.is_over = true;
        result
    }

    /// Sends a call whose result nobody waits for. It waits for no other: calls that are waited for
    /// do not count, and of those that are not, a thousand may be unanswered at once.
    ///
    /// # Errors
    ///
    /// [`CallError::Closed`] if the connection has ended, [`CallError::TooMany`],
    /// [`CallError::TooLong`].
    pub fn send(&self, method: &str, args: &(impl Serialize + ?Sized)) -> Result<(), CallError> {
        let permit = self.unwatched.clone().try_acquire_owned();
        let permit = permit.map_err(|_| CallError::TooMany(UNWATCHED_MAX))?;
        let request = Request { method, body: &encode_body(args), within_ms: None };
        self.shared.call(request, Pending::Unwatched(permit), None).map(drop)
    }

    /// Calls a method that goes on: it gives a first value, then items until it ends. At most
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
        method: &str,
        args: &(impl Serialize + ?Sized),
        window: u16,
    ) -> Result<(S, Items<I>), CallError> {
        let dialogue = self.dialogue(method, args, window).await?;
        Ok((dialogue.started()?, Items { dialogue, item: PhantomData }))
    }

    /// Calls a method that goes on, with items both ways. At most `window` of the other side's
    /// are on their way or wait to be taken.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the [`Dialogue`], cancels the call.
    pub async fn dialogue(
        &self,
        method: &str,
        args: &(impl Serialize + ?Sized),
        window: u16,
    ) -> Result<Dialogue, CallError> {
        self.dialogue_encoded(method, &encode_body(args), window).await
    }

    /// Calls a method as [`dialogue`](Self::dialogue) does, with a body that is encoded already.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// As [`dialogue`](Self::dialogue).
    pub async fn dialogue_encoded(
        &self,
        method: &str,
        body: &[u8],
        window: u16,
    ) -> Result<Dialogue, CallError> {
        self.begin(Request { method, body, within_ms: None }, window, None).await
    }

    /// Calls a method as [`dialogue`](Self::dialogue) does, and lets it last for so long at most,
    /// from now to its result. The other side is told, and ends the call by itself.
    ///
    /// # Errors
    ///
    /// [`CallError`]. When the time is over, that is [`CallError::TimedOut`], here as in all that
    /// is asked of the [`Dialogue`].
    ///
    /// # Cancel safety
    ///
    /// As [`dialogue`](Self::dialogue).
    pub async fn dialogue_within(
        &self,
        method: &str,
        args: &(impl Serialize + ?Sized),
        window: u16,
        within: Duration,
    ) -> Result<Dialogue, CallError> {
        self.dialogue_encoded_within(method, &encode_body(args), window, within).await
    }

    /// Calls a method as [`dialogue_within`](Self::dialogue_within) does, with a body that is
    /// encoded already.
    ///
    /// # Errors
    ///
    /// As [`dialogue_within`](Self::dialogue_within).
    ///
    /// # Cancel safety
    ///
    /// As [`dialogue`](Self::dialogue).
    pub async fn dialogue_encoded_within(
        &self,
        method: &str,
        body: &[u8],
        window: u16,
        within: Duration,
    ) -> Result<Dialogue, CallError> {
        let limit = Limit::new(within);
        let beginning = self.begin(request_within(method, body, within), window, Some(limit));
        timeout(within, beginning).await.unwrap_or(Err(CallError::TimedOut(within)))
    }

    async fn begin(
        &self,
        request: Request<'_>,
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

fn request_within<'a>(method: &'a str, body: &'a [u8], within: Duration) -> Request<'a> {
    let within_ms = Some(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
    Request { method, body, within_ms }
}

/// The items of a call that goes on. Dropping it cancels the call.
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

/// Cancels a call that its caller gives up.
struct UnderWay<'a> {
    shared: &'a Shared,
    id: CallId,
    is_over: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.forget(self.id);
        }
    }
}

/// How many calls may be unanswered whose results nobody waits for: as many as of the others. They
/// are answered at once, and a peer that leaves so many unanswered does not listen.
const UNWATCHED_MAX: usize = CALLS_MAX;

/// How many calls may be under way at once, dialogues among them: enough to keep any link busy,
/// and few enough that their answers fit into memory. The other side counts on it.
pub(crate) const CALLS_MAX: usize = 1024;
