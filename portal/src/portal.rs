//! The handle of a conversation.

use std::{marker::PhantomData, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use wire::{CallId, Hello, WireError, decode_body, encode_body};

use crate::{
    CallError, Closed,
    shared::{Event, Pending, Shared},
};

/// The handle of a conversation with one peer. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Portal {
    shared: Arc<Shared>,
    in_flight: Arc<Semaphore>,
}

impl Portal {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, in_flight: Arc::new(Semaphore::new(CALLS_MAX)) }
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
        let _permit = self.permit().await;
        let (sender, receiver) = oneshot::channel();
        let id = self.shared.call(method, body, Pending::Call(sender), None)?;
        let mut call = UnderWay { shared: &self.shared, id, is_over: false };
        let result = receiver.await.expect("the driver answers every call before it ends");
        call.is_over = true;
        result
    }

    /// Sends a call whose result nobody waits for.
    ///
    /// # Errors
    ///
    /// [`CallError::Closed`] if the connection has ended, [`CallError::TooLong`].
    pub fn send(&self, method: &str, args: &(impl Serialize + ?Sized)) -> Result<(), CallError> {
        let (sender, _) = oneshot::channel();
        self.shared.call(method, &encode_body(args), Pending::Call(sender), None).map(drop)
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
        let window = window.max(1);
        // Beside the items, there is room for the started value and for the end.
        let (sender, receiver) = mpsc::channel(usize::from(window) + 2);
        let pending = Pending::Stream(sender);
        let id = self.shared.call(method, &encode_body(args), pending, Some(window.into()))?;
        let mut items = Items {
            shared: self.shared.clone(),
            id,
            receiver,
            window: window.into(),
            taken: 0,
            item: PhantomData,
        };
        match items.receiver.recv().await {
            Some(Event::Started(body)) => {
                let started = decode_body(&body).map_err(CallError::Unreadable)?;
                Ok((started, items))
            }
            Some(Event::Item(_)) => Err(unreadable("an item came before the started value")),
            Some(Event::End(Err(error))) => Err(error),
            Some(Event::End(Ok(()))) | None => {
                Err(unreadable("the call ended without a started value"))
            }
        }
    }

    /// Says goodbye once everything sent so far is written, and ends the connection.
    pub fn close(&self, reason: &str) {
        self.shared.close(reason);
    }

    /// Waits until the connection has ended, and returns why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> Closed {
        self.shared.closed().await
    }

    async fn permit(&self) -> SemaphorePermit<'_> {
        self.in_flight.acquire().await.expect("the semaphore is never closed")
    }
}

/// The items of a call that goes on. Dropping it cancels the call.
#[derive(Debug)]
pub struct Items<I> {
    shared: Arc<Shared>,
    id: CallId,
    receiver: mpsc::Receiver<Event>,
    window: u32,
    /// How many items were taken since credit was last given.
    taken: u32,
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
        match self.receiver.recv().await {
            Some(Event::Item(body)) => {
                self.taken += 1;
                if self.taken * 2 >= self.window {
                    self.shared.credit(self.id, self.taken);
                    self.taken = 0;
                }
                decode_body(&body).map(Some).map_err(CallError::Unreadable)
            }
            Some(Event::Started(_)) => Err(unreadable("a second started value")),
            Some(Event::End(result)) => {
                self.receiver.close();
                result.map(|()| None)
            }
            None => Ok(None),
        }
    }
}

impl<I> Drop for Items<I> {
    fn drop(&mut self) {
        self.shared.forget(self.id);
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

/// How many calls may be under way at once: enough to keep any link busy, and few enough that
/// their answers fit into memory.
const CALLS_MAX: usize = 1024;

fn unreadable(why: &str) -> CallError {
    CallError::Unreadable(WireError::Malformed(why.to_owned()))
}
