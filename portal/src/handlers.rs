//! A service of async functions: one for each call, many at once.

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    select,
    task::{self, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use wire::{CallId, ErrorKind, RemoteError, WireError};

use crate::{
    Call, Counterpart, Replies, Service,
    counterpart::{CallState, Request, Stage},
    outbox::Outbox,
    portal::CALLS_MAX,
};

/// A service that runs an async function for each call, many at once. The function gets the call
/// as a [`Counterpart`] and returns the result, encoded; whether the call goes on is its choice.
///
/// A caller that gives up, or the end of the connection, cancels the call's token, and drops the
/// function a [grace](Limits::grace) later. A function that panics fails its call alone. All of
/// them belong to the connection's driver: they are dropped with it.
///
/// ```
/// use callsign_portal::{Counterpart, Handlers, NoService, Options, accept, connect};
/// use wire::{RemoteError, encode_body};
///
/// async fn handle(mut call: Counterpart) -> Result<bytes::Bytes, RemoteError> {
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
/// assert_eq!(dialed.portal.call::<i64>("double", &21).await?, 42);
///
/// let sum = dialed.portal.dialogue("sum", &(), 1).await?;
/// for number in 1..=10 {
///     sum.send(&number).await?;
/// }
/// sum.finish();
/// assert_eq!(sum.result::<i64>().await?, 55);
/// # Ok(())
/// # }
/// ```
pub struct Handlers<F> {
    handle: Arc<F>,
    limits: Limits,
    running: HashMap<CallId, Running>,
    tasks: JoinSet<Outcome>,
    /// Calls that came while the replies were full, oldest first.
    held: VecDeque<Request>,
    held_bytes: usize,
    outbox: Arc<Outbox>,
    is_ending: bool,
}

#[derive(Debug)]
struct Running {
    state: Arc<CallState>,
    task: task::Id,
    is_cancelled: bool,
}

type Outcome = (CallId, Result<Bytes, RemoteError>);

/// What the functions of one connection may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How many calls may be under way at once, those that were told to end among them; further
    /// ones are refused.
    pub calls: usize,
    /// How long a function may go on after it was told to end.
    pub grace: Duration,
}

impl Default for Limits {
    /// As many calls as a [`Portal`](crate::Portal) makes at once, and as many again that it has
    /// given up; a second to end, for a function to tidy up in.
    fn default() -> Self {
        Self { calls: 2 * CALLS_MAX, grace: Duration::from_secs(1) }
    }
}

impl<F, Fut> Handlers<F>
where
    F: Fn(Counterpart) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Bytes, RemoteError>> + Send + 'static,
{
    /// Makes a service that handles each call with `handle`.
    pub fn new(handle: F) -> Self {
        Self::with_limits(handle, Limits::default())
    }

    /// Makes a service that handles each call with `handle`, within `limits`.
    pub fn with_limits(handle: F, limits: Limits) -> Self {
        Self {
            handle: Arc::new(handle),
            limits,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            outbox: Arc::default(),
            is_ending: false,
        }
    }

    /// Runs the function for a call.
    fn run(&mut self, call: Request) {
        let (id, deadline) = (call.id, call.deadline);
        let state = Arc::new(CallState::default());
        let counterpart = Counterpart::new(call, self.outbox.clone(), state.clone());
        let (handle, grace, shared) = (self.handle.clone(), self.limits.grace, state.clone());
        let task = self.tasks.spawn(async move {
            let handling = guarded(move || handle(counterpart));
            (id, bounded(handling, &shared, deadline, grace).await)
        });
        self.running.insert(id, Running { state, task: task.id(), is_cancelled: false });
    }

    /// Takes the next outcome of a call, if there is one.
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Option<Outcome> {
        match self.tasks.poll_join_next(cx) {
            Poll::Ready(Some(Ok(outcome))) => Some(outcome),
            // The function was caught; what it left behind panicked when it was dropped.
            Poll::Ready(Some(Err(error))) => {
                let is_it = |(id, it): (&CallId, &Running)| (it.task == error.id()).then_some(*id);
                let id = self.running.iter().find_map(is_it)?;
                Some((id, Err(RemoteError::new(ErrorKind::Internal, error.to_string()))))
            }
            Poll::Ready(None) | Poll::Pending => None,
        }
    }
}

impl<F, Fut> Service for Handlers<F>
where
    F: Fn(Counterpart) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Bytes, RemoteError>> + Send + 'static,
{
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        let Call { id, method, body, within } = call;
        let (is_full, bytes) = (replies.is_full(), method.len() + body.len());
        let refusal = if self.running.contains_key(&id) {
            Some(RemoteError::new(ErrorKind::Invalid, format!("call {id} is under way already")))
        } else if self.running.len() + self.held.len() >= self.limits.calls {
            Some(RemoteError::new(ErrorKind::LimitReached, "too many calls are under way"))
        } else if is_full && self.held_bytes + bytes > HELD_BYTES_MAX {
            Some(RemoteError::new(ErrorKind::LimitReached, "too much waits to be called"))
        } else {
            None
        };
        if let Some(error) = refusal {
            return replies.fail_aside(id, error);
        }
        let body = Bytes::copy_from_slice(body);
        // A deadline that no clock reaches is none.
        let deadline = within.and_then(|it| Instant::now().checked_add(it));
        let request = Request { id, method: method.to_owned(), body, deadline };
        if is_full || !self.held.is_empty() {
            self.held_bytes += bytes;
            self.held.push_back(request);
        } else {
            self.run(request);
        }
    }

    fn credit(&mut self, id: CallId, items: u32, _: &mut Replies) {
        if let Some(call) = self.running.get(&id) {
            call.state.flow.allow(items);
        }
    }

    fn item(&mut self, id: CallId, body: Bytes) -> Result<(), WireError> {
        // One that is not known is over, and the caller has not heard of it yet.
        let Some(call) = self.running.get(&id) else { return Ok(()) };
        match &mut *call.state.inbox() {
            Stage::Begun => Err(WireError::Malformed(format!("call {id} takes no items yet"))),
            Stage::Started(inbox) => inbox.item(id, body),
            Stage::Over => Ok(()),
        }
    }

    fn end(&mut self, id: CallId) -> Result<(), WireError> {
        let Some(call) = self.running.get(&id) else { return Ok(()) };
        match &mut *call.state.inbox() {
            Stage::Started(inbox) => inbox.end(id),
            Stage::Begun | Stage::Over => Ok(()),
        }
    }

    fn cancel(&mut self, id: CallId, _: &mut Replies) {
        if let Some(call) = self.running.get_mut(&id) {
            call.is_cancelled = true;
            call.state.cancel();
        } else if let Some(at) = self.held.iter().position(|it| it.id == id) {
            let call = self.held.remove(at).expect("it was found just now");
            self.held_bytes -= call.method.len() + call.body.len();
        }
    }

    fn pump(&mut self, cx: &mut Context<'_>, replies: &mut Replies) {
        while !replies.is_full() {
            while let Some(call) = self.held.pop_front() {
                self.held_bytes -= call.method.len() + call.body.len();
                self.run(call);
            }
            let outcome = self.poll_outcome(cx);
            // What a function said before it ended goes first.
            self.outbox.take(cx, &mut replies.queue);
            let Some((id, result)) = outcome else { return };
            let call = self.running.remove(&id);
            if call.is_none_or(|it| it.is_cancelled) {
                continue;
            }
            match result {
                Ok(body) => replies.finish_with(id, |bytes| bytes.extend_from_slice(&body)),
                Err(error) => replies.fail(id, error),
            }
        }
    }

    fn takes_more(&self, replies: &Replies) -> bool {
        replies.asides < ASIDES_MAX
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_ending {
            self.is_ending = true;
            self.held.clear();
            self.outbox.close();
            self.running.values().for_each(|it| it.state.cancel());
        }
        // Each ends within its grace.
        loop {
            match self.tasks.poll_join_next(cx) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<F> fmt::Debug for Handlers<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running, held, .. } = self;
        f.debug_struct("Handlers").field("running", running).field("held", held).finish()
    }
}

/// Calls a function and runs what it returns; a panic of either is an error.
async fn guarded<Fut: Future<Output = Result<Bytes, RemoteError>>>(
    handle: impl FnOnce() -> Fut,
) -> Result<Bytes, RemoteError> {
    let handling = catch_unwind(AssertUnwindSafe(handle)).map_err(panicked)?;
    let mut handling = pin!(handling);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(cx)));
        polled.unwrap_or_else(|payload| Poll::Ready(Err(panicked(payload))))
    })
    .await
}

/// Runs a function until it ends, or a grace after it was told to end.
async fn bounded(
    handling: impl Future<Output = Result<Bytes, RemoteError>>,
    state: &CallState,
    deadline: Option<Instant>,
    grace: Duration,
) -> Result<Bytes, RemoteError> {
    let mut handling = pin!(handling);
    let timed_out = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let (kind, why) = select! {
        biased;
        result = &mut handling => return result,
        () = state.token.cancelled() => (ErrorKind::Cancelled, "the call was cancelled"),
        () = timed_out => (ErrorKind::TimedOut, "the call took longer than its caller allowed"),
    };
    state.cancel();
    // Whether it ends well by now or not, its caller has given it up.
    select! {
        biased;
        _ = &mut handling => {}
        () = sleep(grace) => {}
    }
    Err(RemoteError::new(kind, why))
}

fn panicked(payload: Box<dyn Any + Send>) -> RemoteError {
    let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "without a message",
    };
    RemoteError::new(ErrorKind::Internal, format!("the call panicked: {text}"))
}

/// How many bytes of calls may be held while the replies are full: two of the longest.
const HELD_BYTES_MAX: usize = 2 * wire::FRAME_BYTES_MAX;

/// How many pongs and refusals may wait to be written, however full the replies are. A caller
/// that keeps to its own bound never gets there; another is not listened to until it reads.
const ASIDES_MAX: usize = 2 * CALLS_MAX;
