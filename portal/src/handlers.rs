//! A service of async functions: one for each call, many concurrently.

use std::{
    collections::VecDeque,
    fmt,
    hash::BuildHasher as _,
    mem,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt as _, fast::RandomState};
use tokio::{task::JoinSet, time::Instant};
use tracing::Span;
use wire::{CallId, ErrorKind, RemoteError, WireError};

use crate::{
    Call, IncomingCall, Replies, Service,
    handling::{Answer, Begun, Handling},
    incoming_call::{CallState, Stage},
    offload::{OffloadPool, Stepped},
    outbox::Outbox,
    portal::CALLS_MAX,
};

/// A service that runs an async function for each call, many concurrently. The function gets the
/// call as an [`IncomingCall`] and returns the encoded result; it may make a dialogue of the call.
///
/// A function runs in the connection's driver until it first waits, and from then on in its own
/// task: a function that never waits costs no task. Until it waits, the rest of its connection is
/// blocked: no other call begins, no item or `cancel` arrives, and no heartbeat is answered, so a
/// function that computes for longer than the caller's [heartbeat](crate::Heartbeat) allows loses
/// its connection. Such a function should begin with [`offload`](IncomingCall::offload), which
/// moves it out of the driver immediately.
///
/// If a caller abandons a call, or the connection ends, the call's token is cancelled, and the
/// function is dropped a [grace](Limits::grace) later. A panic of a function fails only its own
/// call. All functions belong to the connection's driver, and are dropped with it.
///
/// ```
/// use callsign_portal::{Handlers, IncomingCall, NoService, Options, Request, accept, connect};
/// use wire::{RemoteError, encode_body};
///
/// async fn handle(mut call: IncomingCall) -> Result<bytes::Bytes, RemoteError> {
///     match call.method() {
///         "double" => Ok(encode_body(&(2 * call.args::<i64>()?)).into()),
///         "sum" => {
///             _ = call.start("ready", 8);
///             let mut sum = 0;
///             while let Ok(Some(number)) = call.next::<i64>().await {
///                 sum += number;
///             }
///             Ok(encode_body(&sum).into())
///         }
///         _ => Err(call.unknown()),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (near, far) = tokio::io::duplex(1024);
/// let (dialed, accepted) = tokio::try_join!(
///     connect(near, Options::default(), NoService),
///     accept(far, Options::default(), Handlers::new(handle)),
/// )?;
/// let mut drivers = tokio::task::JoinSet::new();
/// drivers.spawn(dialed.driver);
/// drivers.spawn(accepted.driver);
///
/// assert_eq!(dialed.portal.call::<i64>(Request::new("double", &21)).await?, 42);
///
/// let sum = dialed.portal.dialogue(Request::new("sum", &()), 1).await?;
/// for number in 1..=10 {
///     sum.send(&number).await?;
/// }
/// sum.finish();
/// assert_eq!(sum.result::<i64>().await?, 55);
/// # Ok(())
/// # }
/// ```
pub struct Handlers<F, Fut> {
    /// In a box, so that a service can be moved whatever its function holds.
    handle: Box<F>,
    limits: Limits,
    /// Calls whose function waits in a task, and held calls.
    unanswered: HashMap<CallId, Unanswered>,
    tasks: JoinSet<(CallId, Answer)>,
    /// Functions that asked to leave the driver before they first wait.
    offloaded: OffloadPool<Going, Fut>,
    /// Numbers the methods.
    kinds: RandomState,
    /// Room for what these have done.
    stepped: Vec<Stepped<Going, Fut>>,
    /// The method of the latest call: the next one is often of the same.
    latest_method: Arc<str>,
    /// Calls that came while the replies were full, and their spans, oldest first.
    held: VecDeque<(IncomingCall, Span)>,
    held_bytes: usize,
    outbox: Arc<Outbox>,
    is_ending: bool,
}

/// A call with a running function.
struct Going {
    id: CallId,
    deadline: Option<Instant>,
    state: Arc<CallState>,
}

#[derive(Debug)]
struct Unanswered {
    state: Arc<CallState>,
    is_cancelled: bool,
}

/// The limits for the functions of one connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most concurrent calls, including those that were cancelled; further ones are refused.
    pub calls: usize,
    /// The time for a function to end after its cancellation.
    pub grace: Duration,
}

impl Default for Limits {
    /// As many calls as a [`Portal`](crate::Portal) makes concurrently, and as many again that it
    /// has abandoned; a second for a function to tidy up.
    fn default() -> Self {
        Self { calls: 2 * CALLS_MAX, grace: Duration::from_secs(1) }
    }
}

impl<F, Fut> Handlers<F, Fut>
where
    F: Fn(IncomingCall) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Bytes, RemoteError>> + Send + 'static,
{
    /// Makes a service that handles each call with `handle`.
    pub fn new(handle: F) -> Self {
        Self::with_limits(handle, Limits::default())
    }

    /// Makes a service that handles each call with `handle`, within `limits`.
    pub fn with_limits(handle: F, limits: Limits) -> Self {
        Self {
            handle: Box::new(handle),
            limits,
            unanswered: HashMap::new(),
            tasks: JoinSet::new(),
            offloaded: OffloadPool::new(),
            kinds: RandomState::default(),
            stepped: Vec::new(),
            latest_method: Arc::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            outbox: Arc::default(),
            is_ending: false,
        }
    }

    /// Runs the function for a call, whose span is current: here until it waits, and then in the
    /// pool or a task.
    fn begin(&mut self, call: IncomingCall, replies: &mut Replies) {
        let (id, deadline, state) = (call.id(), call.deadline(), call.state().clone());
        let kind = self.kinds.hash_one(call.method());
        match Handling::begin(|| (self.handle)(call)) {
            Begun::Over(answer) => {
                self.outbox.move_to(&mut replies.queue);
                self.answer(id, answer, replies);
                state.let_go();
            }
            Begun::Waits(handling) => {
                let unanswered = Unanswered { state: state.clone(), is_cancelled: false };
                self.unanswered.entry(id).or_insert(unanswered);
                state.is_offloaded.store(true, Ordering::Relaxed);
                let going = Going { id, deadline, state };
                if going.state.asks_offload.load(Ordering::Relaxed) {
                    self.offloaded.push(going, kind, handling);
                } else {
                    self.go_on(going, handling);
                }
            }
        }
    }

    /// Runs a function that waits, in a task.
    fn go_on(&mut self, going: Going, handling: Handling<Fut>) {
        let Going { id, deadline, state } = going;
        let grace = self.limits.grace;
        self.tasks.spawn(async move { (id, handling.within(&state, deadline, grace).await) });
    }

    /// Returns the name of a method, without a copy if the call before was of the same one.
    fn method(&mut self, method: &str) -> Arc<str> {
        if *self.latest_method == *method {
            return self.latest_method.clone();
        }
        let method: Arc<str> = method.into();
        if method.len() <= METHOD_KEPT_MAX {
            self.latest_method = method.clone();
        }
        method
    }

    /// Answers a call, unless its caller has given it up. Items that its function sent before it ended
    /// were [moved](Outbox::move_to) to the replies.
    fn answer(&mut self, id: CallId, answer: Answer, replies: &mut Replies) {
        let call = self.unanswered.remove(&id);
        if !call.as_ref().is_some_and(|it| it.is_cancelled) {
            match answer {
                Ok(body) => replies.finish_with(id, |bytes| bytes.extend_from_slice(&body)),
                Err(error) => replies.fail(id, error),
            }
        }
        // Frames sent from now on follow the answer.
        call.inspect(|it| it.state.let_go());
    }
}

impl<F, Fut> Service for Handlers<F, Fut>
where
    F: Fn(IncomingCall) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Bytes, RemoteError>> + Send + 'static,
{
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        let (id, bytes) = (call.id, call.method.len() + call.body.len());
        let waits = replies.is_full() || !self.held.is_empty();
        let refusal = if self.unanswered.contains_key(&id) {
            Some(RemoteError::new(ErrorKind::Invalid, format!("call {id} is under way already")))
        } else if self.unanswered.len() >= self.limits.calls {
            Some(RemoteError::new(ErrorKind::LimitReached, "too many calls are under way"))
        } else if waits && self.held_bytes + bytes > HELD_BYTES_MAX {
            Some(RemoteError::new(ErrorKind::LimitReached, "too much waits to be called"))
        } else {
            None
        };
        if let Some(error) = refusal {
            return replies.refuse(id, error);
        }
        let method = self.method(call.method);
        let call = IncomingCall::new(call, method, self.outbox.clone());
        if waits {
            let state = call.state().clone();
            self.unanswered.insert(id, Unanswered { state, is_cancelled: false });
            self.held_bytes += bytes;
            self.held.push_back((call, Span::current()));
        } else {
            self.begin(call, replies);
        }
    }

    fn credit(&mut self, id: CallId, items: u32, _: &mut Replies) {
        if let Some(call) = self.unanswered.get(&id) {
            call.state.flow().allow(items);
        }
    }

    fn item(&mut self, id: CallId, body: Bytes) -> Result<(), WireError> {
        // An unknown call is over, and the caller has yet to learn it.
        let Some(call) = self.unanswered.get(&id) else { return Ok(()) };
        match &mut *call.state.inbox() {
            Stage::Begun => Err(WireError::Malformed(format!("call {id} takes no items yet"))),
            Stage::Started(inbox) => inbox.item(id, body),
            Stage::Over => Ok(()),
        }
    }

    fn end(&mut self, id: CallId) -> Result<(), WireError> {
        let Some(call) = self.unanswered.get(&id) else { return Ok(()) };
        match &mut *call.state.inbox() {
            Stage::Started(inbox) => inbox.end(id),
            Stage::Begun | Stage::Over => Ok(()),
        }
    }

    fn cancel(&mut self, id: CallId, _: &mut Replies) {
        if let Some(at) = self.held.iter().position(|(call, _)| call.id() == id) {
            let (call, _) = self.held.remove(at).expect("it was found just now");
            self.held_bytes -= call.bytes();
            self.unanswered.remove(&id);
        } else if let Some(call) = self.unanswered.get_mut(&id) {
            call.is_cancelled = true;
            call.state.cancel();
        }
    }

    fn pump(&mut self, cx: &mut Context<'_>, replies: &mut Replies) {
        while !replies.is_full() {
            if let Some((call, span)) = self.held.pop_front() {
                self.held_bytes -= call.bytes();
                let _entered = span.entered();
                self.begin(call, replies);
                continue;
            }
            let mut stepped = mem::take(&mut self.stepped);
            self.offloaded.poll(cx, &mut stepped);
            let have_stepped = !stepped.is_empty();
            if have_stepped {
                self.outbox.move_to(&mut replies.queue);
            }
            for it in stepped.drain(..) {
                match it {
                    (going, Begun::Over(answer)) => self.answer(going.id, answer, replies),
                    (going, Begun::Waits(handling)) => self.go_on(going, handling),
                }
            }
            if stepped.capacity() <= STEPPED_MAX {
                self.stepped = stepped;
            }
            if have_stepped {
                continue;
            }
            let ended = self.tasks.poll_join_next(cx);
            self.outbox.take(cx, &mut replies.queue);
            let Poll::Ready(Some(ended)) = ended else { return };
            // A function's panics are caught: its task fails only if the runtime shuts down.
            let Ok((id, answer)) = ended else { continue };
            self.answer(id, answer, replies);
        }
    }

    fn is_about_to_answer(&self) -> bool {
        self.offloaded.is_busy()
    }

    fn takes_more(&self, replies: &Replies) -> bool {
        replies.unbounded < UNBOUNDED_MAX
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_ending {
            self.is_ending = true;
            self.held.clear();
            self.outbox.close();
            self.unanswered.values().for_each(|it| it.state.cancel());
        }
        for it in ready!(self.offloaded.poll_end(cx)) {
            match it {
                (going, Begun::Over(_)) => going.state.let_go(),
                (going, Begun::Waits(handling)) => self.go_on(going, handling),
            }
        }
        // Each ends within its grace.
        loop {
            match self.tasks.poll_join_next(cx) {
                Poll::Ready(Some(Ok((id, _)))) => {
                    let call = self.unanswered.remove(&id);
                    call.inspect(|it| it.state.let_go());
                }
                Poll::Ready(Some(Err(_))) => {}
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<F, Fut> fmt::Debug for Handlers<F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unanswered, held, .. } = self;
        f.debug_struct("Handlers").field("unanswered", unanswered).field("held", held).finish()
    }
}

/// The bytes of calls that may be held while the replies are full: two of the longest.
const HELD_BYTES_MAX: usize = 2 * wire::FRAME_BYTES_MAX;

/// The pongs and refusals that may wait to be written, however full the replies are. A caller
/// within its own bound never gets there; the frames of another are not read until it reads.
const UNBOUNDED_MAX: usize = 2 * CALLS_MAX;

/// The longest name of a method that is kept for the next call.
const METHOD_KEPT_MAX: usize = 256;

/// The most functions for which there is room while none is at work.
const STEPPED_MAX: usize = 64;
