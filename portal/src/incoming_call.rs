//! A call as its handler sees it.

use std::{
    any::Any,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use wire::{CallId, Frame, RemoteError, WireError, decode_body, encode_body};

use crate::{
    Call, ItemSender, SendError,
    items::{Event, Flow, Inbox, Window},
    outbox::Outbox,
};

/// A call from the peer as its handler sees it: the arguments, and items both ways if the call is a
/// dialogue.
#[derive(Debug)]
pub struct IncomingCall {
    method: Arc<str>,
    body: Bytes,
    deadline: Option<Instant>,
    id: CallId,
    outbox: Arc<Outbox>,
    state: Arc<CallState>,
    /// The caller's items, once the call has started.
    incoming: Option<(mpsc::Receiver<Event>, Window)>,
}

impl IncomingCall {
    pub(crate) fn new(call: Call<'_>, method: Arc<str>, outbox: Arc<Outbox>) -> Self {
        let state = Arc::new(CallState::default());
        Self {
            method,
            body: Bytes::copy_from_slice(call.body),
            // A deadline beyond the clock's range counts as none.
            deadline: call.within.and_then(|it| Instant::now().checked_add(it)),
            id: call.id,
            outbox,
            state,
            incoming: None,
        }
    }

    pub(crate) fn id(&self) -> CallId {
        self.id
    }

    pub(crate) fn state(&self) -> &Arc<CallState> {
        &self.state
    }

    /// Returns the length of method and arguments.
    pub(crate) fn bytes(&self) -> usize {
        self.method.len() + self.body.len()
    }

    /// Returns the method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the encoded arguments.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Takes the encoded arguments; none are left.
    pub fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }

    /// Returns the deadline of the caller, if it has one.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Moves the rest of the handler out of the connection's driver. A handler runs in the driver
    /// until it first waits, and holds up the connection meanwhile; code after this call does not.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn offload(&self) {
        let mut has_waited = false;
        poll_fn(|cx| {
            if has_waited || self.state.is_offloaded.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            has_waited = true;
            self.state.asks_offload.store(true, Ordering::Relaxed);
            // In the driver this wakes nobody: the pool polls the handler again immediately.
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// A [`RemoteError`] for the caller, when they are not what the method takes.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, RemoteError> {
        self.call().args()
    }

    /// Returns the answer to a method that does not exist.
    pub fn unknown(&self) -> RemoteError {
        self.call().unknown()
    }

    /// Says that the call goes on, with its first value. At most `window` items of the caller are
    /// on their way or wait to be taken; with 0 it may send none. Only the first time counts.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn start(
        &mut self,
        value: &(impl Serialize + ?Sized),
        window: u16,
    ) -> Result<(), SendError> {
        self.start_encoded(&encode_body(value), window)
    }

    /// Says that the call goes on as [`start`](Self::start) does, with a value that is encoded
    /// already.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn start_encoded(&mut self, value: &[u8], window: u16) -> Result<(), SendError> {
        if self.incoming.is_some() {
            return Ok(());
        }
        let id = self.id;
        self.outbox.push(&Frame::Started { id, body: value })?;
        let (inbox, receiver) = Inbox::new(window);
        let mut stage = self.state.inbox();
        if let Stage::Begun = *stage {
            *stage = Stage::Started(inbox);
        }
        drop(stage);
        self.incoming = Some((receiver, Window::new(window)));
        if window > 0 {
            self.outbox.push(&Frame::Credit { id, items: window.into() })?;
        }
        Ok(())
    }

    /// Sends an item, when the caller allows one. The call must be [started](Self::start) first.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the item is sent whole or not at all.
    pub async fn send(&self, item: &(impl Serialize + ?Sized)) -> Result<(), SendError> {
        self.sender().send(item).await
    }

    /// Sends no more items from this side. The call continues.
    pub fn finish(&self) {
        self.sender().finish();
    }

    /// Returns the sender of items, for use while something else takes those of the caller.
    pub fn sender(&self) -> ItemSender {
        let (outbox, flow) = (self.outbox.clone(), self.state.flow().clone());
        ItemSender { id: self.id, outbox, flow }
    }

    /// Returns the caller's next item, or `None` when it sends no more, has abandoned the call, or
    /// is gone; [`cancelled`](Self::cancelled) tells. There are none before the call is
    /// [started](Self::start).
    ///
    /// # Errors
    ///
    /// [`WireError`] if the item has an unexpected type.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no item is lost.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        self.next_encoded().await.map(|body| decode_body(&body)).transpose()
    }

    /// Returns the caller's next item as it came; otherwise as [`next`](Self::next).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no item is lost.
    pub async fn next_encoded(&mut self) -> Option<Bytes> {
        let (receiver, window) = self.incoming.as_mut()?;
        let Some(Event::Item(body)) = receiver.recv().await else {
            receiver.close();
            return None;
        };
        if let Some(items) = window.take()
            && let Stage::Started(inbox) = &mut *self.state.inbox()
        {
            inbox.allow(items);
            let credit = Frame::Credit { id: self.id, items };
            self.outbox.push(&credit).expect("the frame is short");
        }
        Some(body)
    }

    /// Returns a token that is cancelled when the caller abandons the call, its deadline passes, or
    /// the connection ends. Soon after that the handler is dropped.
    pub fn cancelled(&self) -> &CancellationToken {
        self.state.token()
    }

    /// Waits until the call's token is [cancelled](Self::cancelled). It costs less than a token,
    /// and does for a function that hands none on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn given_up(&self) {
        self.state.given_up().await;
    }

    /// Keeps something until the answer of the call is on its way: whatever is said on this
    /// connection after it was dropped arrives behind the answer. It is dropped as well when the
    /// call is not answered any more.
    pub fn keep(&self, kept: impl Send + 'static) {
        let mut all = self.state.kept();
        *all = Some(Box::new((all.take(), kept)));
    }

    fn call(&self) -> Call<'_> {
        Call { id: self.id, method: &self.method, body: &self.body, within: None }
    }
}

/// The state that the handler of a call shares with the driver.
#[derive(Debug, Default)]
pub(crate) struct CallState {
    /// Created on first use.
    token: OnceLock<CancellationToken>,
    is_cancelled: AtomicBool,
    /// Notified when it is cancelled.
    told: Notify,
    /// Created on first use: most calls have no items.
    flow: OnceLock<Arc<Flow>>,
    /// Whether the handler has left the driver, and whether it asks to.
    pub(crate) is_offloaded: AtomicBool,
    pub(crate) asks_offload: AtomicBool,
    stage: Mutex<Stage>,
    /// Values that are dropped once the call is answered.
    kept: Mutex<Option<KeptValue>>,
}

/// A value that a handler keeps until its call is answered.
type KeptValue = Box<dyn Any + Send>;

/// The destination of the caller's items.
#[derive(Debug, Default)]
pub(crate) enum Stage {
    /// There are none yet.
    #[default]
    Begun,
    Started(Inbox),
    /// They are no longer wanted.
    Over,
}

impl CallState {
    /// Asks the handler to end.
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
        if let Some(token) = self.token.get() {
            token.cancel();
        }
        self.told.notify_waiters();
        if let Some(flow) = self.flow.get() {
            flow.close();
        }
        *self.inbox() = Stage::Over;
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }

    /// Returns the credit for the items of its handler.
    pub(crate) fn flow(&self) -> &Arc<Flow> {
        let flow = self.flow.get_or_init(Arc::default);
        // A cancellation at this moment either sees it or is seen here.
        if self.is_cancelled() {
            flow.close();
        }
        flow
    }

    fn token(&self) -> &CancellationToken {
        let token = self.token.get_or_init(CancellationToken::new);
        // A cancellation at this moment either sees the token or is seen here.
        if self.is_cancelled() {
            token.cancel();
        }
        token
    }

    /// Waits for the handler's cancellation.
    pub(crate) async fn given_up(&self) {
        loop {
            let told = self.told.notified();
            if self.is_cancelled() {
                return;
            }
            told.await;
        }
    }

    /// Drops what the handler keeps until its call is answered.
    pub(crate) fn let_go(&self) {
        let kept = self.kept().take();
        drop(kept);
    }

    fn kept(&self) -> MutexGuard<'_, Option<KeptValue>> {
        self.kept.lock().expect("nothing panics while it holds the lock")
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().expect("nothing panics while it holds the lock")
    }
}
