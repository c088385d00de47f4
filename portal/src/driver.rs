//! The driver of a connection.

use std::{
    cell::Cell,
    fmt, mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
    time::{Instant, Sleep, sleep},
};
use tokio_util::io::poll_read_buf;
use tracing::{Span, info_span};
use transport::Flows;
use wire::{Frame, FrameReader, Hello, WireError, decode_plain_call};

use crate::{
    Call, Closed, Options, Replies, Service,
    dispatch::{handle, is_call, push},
    heartbeat::{Pulse, Silence},
    long::LongFrame,
    queue::ByteQueue,
    shared::{Arrived, Shared},
    spare::{self, TO_READ},
};

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Returns the work of all connections that this thread has driven so far, in
/// [steps](Replies::spend): however busy the machine is, two readings tell what was done in between.
///
/// ```
/// # use callsign_portal as callsign;
/// assert_eq!(callsign::steps_driven(), 0);
/// ```
pub fn steps_driven() -> u64 {
    STEPS.get()
}

/// The driver of a connection: a future that ends when the connection does, and says why. Its owner
/// polls it, in a task of the owner's own; dropping it closes the connection.
#[must_use = "a connection does nothing unless its driver is polled"]
#[derive(Debug)]
pub struct Driver<IO, S> {
    /// Closed as soon as the connection is over.
    io: Option<IO>,
    service: S,
    reader: FrameReader,
    long: LongFrame,
    replies: Replies,
    /// The bytes being written; filled again when all of them are.
    writing: ByteQueue,
    /// The part of that, at its end, which is not answers. A side that reads nothing until all of
    /// its own calls are written would wait for ever for another that reads nothing until its
    /// answers are written.
    own_bytes: usize,
    /// The bytes in its own buffers since the last turn.
    held_bytes: usize,
    shared: Arc<Shared>,
    pulse: Option<Pulse>,
    /// The time limit for the arrival of a frame, from its first byte.
    frame_timeout: Option<Duration>,
    /// The deadline of the frame that has begun to arrive.
    unfinished: Option<Pin<Box<Sleep>>>,
    is_closing: bool,
    /// Set when the peer no longer receives: the reason, and the time until which its earlier
    /// frames are read.
    unheard: Option<(Closed, Pin<Box<Sleep>>)>,
    /// The results that have come and wait to be handed over.
    results: Vec<Arrived>,
    /// The number of calls answered from the last bytes: their callers may make others next.
    answered: usize,
    /// Whether it has let other tasks run first, and has to write now.
    has_stood_back: bool,
    /// The number of turns whose answers wait for those of the next.
    turns_held: usize,
    /// The number of next frames that the service has looked at.
    looked_at: usize,
    /// Set when the connection is over, and the service has yet to end.
    closed: Option<Closed>,
    /// The span of the connection: everything on it is within.
    span: Span,
}

impl<IO, S> Driver<IO, S> {
    pub(crate) fn new(
        io: IO,
        reader: FrameReader,
        service: S,
        shared: Arc<Shared>,
        options: &Options,
    ) -> Self {
        let (id, peer) = (shared.number, &shared.peer);
        let span = info_span!(target: "callsign", "connection", id, peer = %Caller(peer));
        Self {
            io: Some(io),
            service,
            reader,
            long: LongFrame::default(),
            replies: Replies::default(),
            writing: ByteQueue::default(),
            own_bytes: 0,
            held_bytes: 0,
            shared,
            pulse: options.heartbeat.map(|it| Pulse::new(it, options.on_silence, Instant::now())),
            frame_timeout: options.frame_timeout,
            unfinished: None,
            is_closing: false,
            unheard: None,
            results: Vec::new(),
            answered: 0,
            has_stood_back: false,
            turns_held: 0,
            looked_at: 0,
            closed: None,
            span,
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Flows + Unpin, S: Service + Unpin> Future for Driver<IO, S> {
    type Output = Closed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        let driver = self.get_mut();
        let span = driver.span.clone();
        let _entered = span.enter();
        if driver.closed.is_none() {
            if driver.stands_back() {
                driver.yields(cx);
                return Poll::Pending;
            }
            let turn = driver.run(cx).and_then(|running| driver.settle().map(|()| running));
            STEPS.set(STEPS.get() + driver.replies.steps as u64);
            let closed = match (turn, driver.unheard.take()) {
                (Ok(Running), unheard) => {
                    driver.unheard = unheard;
                    return Poll::Pending;
                }
                (Err(goodbye @ (Closed::Goodbye(_) | Closed::ForNow(_))), _) => goodbye,
                // Its earlier frames are read to the end.
                (Err(_), Some((broken, _))) => broken,
                (Err(closed), None) => {
                    driver.explain(&closed, cx);
                    closed
                }
            };
            driver.shared.end(closed.clone());
            driver.closed = Some(closed);
            driver.io = None;
        }
        ready!(driver.service.poll_end(cx));
        Poll::Ready(driver.closed.clone().expect("it was set just now or earlier"))
    }
}

/// The connection continues, and the task is woken when there is more to do.
struct Running;

impl<IO: AsyncRead + AsyncWrite + Flows + Unpin, S: Service + Unpin> Driver<IO, S> {
    /// Tells whether other tasks should run first, because they are about to send something: it
    /// then goes into the same write. They get one turn, and only if there are several: a caller
    /// that makes one call at a time does not wait.
    fn stands_back(&mut self) -> bool {
        if mem::take(&mut self.has_stood_back) {
            return false;
        }
        let are_several = self.answered > 1 || self.shared.has_several_calls();
        let calls_come = are_several && !self.shared.outbox.is_empty();
        self.has_stood_back = calls_come || self.service.is_about_to_answer();
        self.has_stood_back
    }

    /// Tells a peer why the connection ends, if that can be sent immediately: it has violated the
    /// protocol, is silent, or the service refuses to continue.
    fn explain(&mut self, closed: &Closed, cx: &mut Context<'_>) {
        let (reason, returns) = match closed {
            Closed::Protocol(error) => (error.to_string(), false),
            Closed::Silent(_) => ("it has given no sign of life".to_owned(), true),
            Closed::Dismissed(reason) => (reason.clone(), false),
            _ => return,
        };
        if self.writing.push(&Frame::Goodbye { reason: &reason, returns, error: None }).is_ok() {
            drop(self.writing.poll_write(io(&mut self.io), cx));
        }
    }

    /// Does all that can be done now, in one turn; fails when the connection is over.
    fn run(&mut self, cx: &mut Context<'_>) -> Result<Running, Closed> {
        self.answered = 0;
        self.replies.steps = 0;
        // Bytes left over from the handshake, or from the last time the service was full.
        let mut has_more = self.dispatch()?;
        let mut is_stirred = true;
        loop {
            // A peer that asks and does not read is not read until it does.
            if !has_more && self.takes_more() && self.poll_read(cx)?.is_ready() {
                has_more = self.dispatch()?;
                is_stirred = true;
            }
            if !is_stirred {
                return self.rest(cx);
            }
            if self.unheard.is_none() {
                self.service.pump(cx, &mut self.replies);
                if let Some(pulse) = &mut self.pulse
                    && self.service.asks_for_sign()
                {
                    push(&mut self.replies, &Frame::Ping { nonce: pulse.demand() });
                }
            }
            let was_full = self.replies.is_full();
            self.poll_pulse(cx)?;
            if has_more && self.answers_more_soon()? {
                self.turns_held += 1;
                return Ok(self.yields(cx));
            }
            self.turns_held = 0;
            let is_written = self.poll_write(cx)?.is_ready();
            if is_written && self.is_closing {
                return Err(Closed::Here);
            }
            if self.replies.is_spent() {
                return Ok(self.yields(cx));
            }
            is_stirred = is_written && (has_more || was_full);
            if is_stirred {
                has_more = self.dispatch()?;
            } else if has_more {
                return Ok(Running);
            }
        }
    }

    /// Tells whether this turn is over and a call is at hand for the next: both are then answered in
    /// one write, which wakes the peer once. It waits for a few turns only, because the next calls
    /// may take long.
    fn answers_more_soon(&self) -> Result<bool, Closed> {
        let may_wait = self.turns_held < TURNS_HELD_MAX && self.takes_more();
        let is_at_hand = may_wait && self.replies.is_spent() && self.unheard.is_none();
        Ok(is_at_hand && self.reader.peek_frame().map_err(Closed::Protocol)?.is_some())
    }

    /// Ends a turn. The runtime polls I/O for the other tasks before it returns here.
    fn yields(&self, cx: &mut Context<'_>) -> Running {
        _ = pin!(yield_now()).poll(cx);
        Running
    }

    /// Waits for more, for as long as a frame may take that has begun to arrive. Everything that
    /// has arrived was read before, however late this side is.
    fn rest(&mut self, cx: &mut Context<'_>) -> Result<Running, Closed> {
        let Some(limit) = self.frame_timeout else { return Ok(Running) };
        if self.unread() == 0 || !self.takes_more() {
            self.unfinished = None;
            return Ok(Running);
        }
        let unfinished = self.unfinished.get_or_insert_with(|| Box::pin(sleep(limit)));
        match unfinished.as_mut().poll(cx) {
            Poll::Ready(()) => Err(Closed::Protocol(WireError::Unfinished { limit })),
            Poll::Pending => Ok(Running),
        }
    }

    /// Returns lent buffers at the end of a turn, and reports the bytes in the connection's own
    /// buffers to the service.
    fn settle(&mut self) -> Result<(), Closed> {
        if let Some(buffer) = self.reader.give_back() {
            spare::give(&TO_READ, buffer);
        }
        self.long.settle();
        self.replies.queue.settle();
        self.writing.settle();
        let read = self.reader.held_bytes() + self.long.held_bytes();
        let held = read + self.replies.queue.held_bytes() + self.writing.held_bytes();
        if held == self.held_bytes {
            return Ok(());
        }
        // What waits was copied into memory that nobody had lately.
        self.replies.spend(held.saturating_sub(self.held_bytes) / HELD_BYTES_A_STEP);
        self.held_bytes = held;
        self.service.holds(held).map_err(Closed::Dismissed)
    }

    fn takes_more(&self) -> bool {
        self.service.takes_more(&self.replies)
    }

    /// Returns the number of bytes that have arrived and were not handled.
    fn unread(&self) -> usize {
        self.reader.peek().len() + self.long.len()
    }

    /// Pings a silent peer, and ends the connection or reports the silence if no answer comes.
    fn poll_pulse(&mut self, cx: &mut Context<'_>) -> Result<(), Closed> {
        let unread = self.unread();
        let flow = || self.io.as_ref().and_then(Flows::flow);
        let is_minded = self.service.minds_silence();
        match self.pulse.as_mut().map(|it| it.poll_if(is_minded, unread, flow, cx)) {
            Some(Poll::Ready(Silence::GiveUp(silence))) => Err(Closed::Silent(silence)),
            Some(Poll::Ready(Silence::Tell(silence))) => {
                self.service.fell_silent(silence);
                Ok(())
            }
            Some(Poll::Ready(Silence::Ping(nonce))) => {
                push(&mut self.replies, &Frame::Ping { nonce });
                // The timer runs again, and is to be polled once more to wake this task.
                self.poll_pulse(cx)
            }
            Some(Poll::Pending) | None => Ok(()),
        }
    }

    /// Writes what is queued. Frames that handles queue later wake the task again.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Closed> {
        let written = self.write(cx);
        self.replies.writing_bytes = self.writing.len().saturating_sub(self.own_bytes);
        written
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Closed> {
        let listens = self.takes_more();
        loop {
            // The handles' queue is asked last, or one of their frames could be missed.
            let is_last = self.writing.is_empty();
            if is_last {
                self.writing.append(&mut self.replies.queue);
                self.replies.unbounded = 0;
                if let Some(pulse) = &mut self.pulse {
                    pulse.begin_to_write();
                }
                let replies = self.writing.len();
                self.shared.outbox.take(cx, &mut self.writing);
                self.own_bytes = self.writing.len() - replies;
                if let Some((reason, returns)) = self.shared.take_closing() {
                    self.is_closing = true;
                    let goodbye = Frame::Goodbye { reason: &reason, returns, error: None };
                    self.writing.push(&goodbye).expect("a reason is short");
                }
            }
            if let Some((broken, deadline)) = &mut self.unheard {
                if self.is_closing || deadline.as_mut().poll(cx).is_ready() {
                    return Err(broken.clone());
                }
                self.writing = ByteQueue::default();
            }
            while !self.writing.is_empty() {
                match self.writing.poll_write(io(&mut self.io), cx) {
                    Poll::Ready(Ok(0)) => return Err(Closed::ByPeer),
                    Poll::Ready(Ok(written)) => {
                        if let Some(pulse) = &mut self.pulse {
                            pulse.wrote(self.writing.is_empty(), Instant::now);
                            if !listens {
                                pulse.pass(written, Instant::now());
                            }
                        }
                    }
                    Poll::Ready(Err(error)) => {
                        // Its earlier frames are in transit, however many.
                        self.unheard = Some((error.into(), Box::pin(sleep(UNHEARD_WAIT))));
                        return self.write(cx);
                    }
                    Poll::Pending => {
                        if let Some(pulse) = &mut self.pulse {
                            pulse.hold_up();
                        }
                        return Ok(Poll::Pending);
                    }
                }
            }
            if is_last && self.unheard.is_some() {
                return Ok(Poll::Ready(()));
            }
            if is_last {
                return match io(&mut self.io).poll_flush(cx) {
                    Poll::Ready(flushed) => flushed.map(Poll::Ready).map_err(Closed::from),
                    Poll::Pending => Ok(Poll::Pending),
                };
            }
        }
    }

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Closed> {
        let polled = match self.long.room(&mut self.reader) {
            Some(mut room) => poll_read_buf(io(&mut self.io), cx, &mut room),
            None => {
                self.reader.borrow(|| spare::take(&TO_READ));
                poll_read_buf(io(&mut self.io), cx, self.reader.buffer())
            }
        };
        self.long.sort(&mut self.reader);
        let read = match polled {
            Poll::Ready(Ok(0)) => return Err(Closed::ByPeer),
            Poll::Ready(Ok(read)) => read,
            Poll::Ready(Err(error)) => return Err(error.into()),
            Poll::Pending => return Ok(Poll::Pending),
        };
        self.replies.spend(READ_STEPS);
        if let Some(pulse) = &mut self.pulse
            && pulse.hear(read, Instant::now())
        {
            self.service.heard_again();
        }
        Ok(Poll::Ready(()))
    }

    /// Handles the arrived frames until the service is full, or the turn is over. Tells whether
    /// there may be more.
    fn dispatch(&mut self) -> Result<bool, Closed> {
        let handled = self.dispatch_frames();
        self.hand_over();
        handled
    }

    /// Hands the results over that have come in a row: so those that wait for them make their next
    /// calls together, and find no lock held.
    fn hand_over(&mut self) {
        if self.results.is_empty() {
            return;
        }
        self.answered += self.results.len();
        self.shared.finish_all(&mut self.results);
        if self.results.capacity() > RESULTS_KEPT_MAX {
            self.results = Vec::new();
        }
    }

    fn dispatch_frames(&mut self) -> Result<bool, Closed> {
        let mut looks_ahead = true;
        while self.takes_more() && !self.replies.is_spent() {
            let said = self.replies.queue.len();
            let length = if let Some(frame) = self.long.take() {
                self.handle_own(&frame)?;
                frame.len()
            } else {
                if self.looked_at == 0 && looks_ahead {
                    self.looked_at = self.look_ahead();
                    // A service that takes none is not asked again.
                    looks_ahead = self.looked_at > 0;
                }
                let Some(bytes) = self.reader.peek_frame().map_err(Closed::Protocol)? else {
                    return Ok(false);
                };
                self.looked_at = self.looked_at.saturating_sub(1);
                self.long.expect_none();
                let length = bytes.len();
                if length >= OWN_FRAME_BYTES_MIN {
                    let frame = self.reader.next().map_err(Closed::Protocol)?;
                    self.handle_own(&frame.expect("a whole frame was seen just now"))?;
                } else if self.unheard.is_none() || !is_call(bytes) {
                    let own = Bytes::copy_from_slice;
                    let Self { service, replies, shared, pulse, results, .. } = self;
                    handle(bytes, own, service, replies, shared, pulse, results)?;
                    self.reader.skip_frame(length);
                } else {
                    self.reader.skip_frame(length);
                }
                length
            };
            self.unfinished = None;
            let bytes = length + self.replies.queue.len().saturating_sub(said);
            self.replies.spend(FRAME_STEPS + bytes / FRAME_BYTES_A_STEP);
        }
        Ok(true)
    }

    /// Handles a frame whose body stays where it is.
    fn handle_own(&mut self, frame: &Bytes) -> Result<(), Closed> {
        if self.unheard.is_some() && is_call(frame) {
            return Ok(());
        }
        let own = |body: &[u8]| frame.slice_ref(body);
        let Self { service, replies, shared, pulse, results, .. } = self;
        handle(frame, own, service, replies, shared, pulse, results)
    }

    /// Shows the service the calls that come next, and returns how many of them it took.
    fn look_ahead(&mut self) -> usize {
        let mut looked_at = 0;
        if self.reader.peek_frames().nth(1).is_none() {
            return 0;
        }
        let calls = self.reader.peek_frames().map_while(|frame| {
            let (id, method, body) = decode_plain_call(frame)?;
            looked_at += 1;
            Some(Call { id, method, body, within: None })
        });
        self.service.look_ahead(calls);
        looked_at
    }
}

/// Names a peer: the instance, or else the program.
struct Caller<'a>(&'a Hello);

impl fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.instance {
            Some(instance) => write!(f, "{instance}"),
            None => write!(f, "{:?}", self.0.agent),
        }
    }
}

fn io<IO: Unpin>(io: &mut Option<IO>) -> Pin<&mut IO> {
    Pin::new(io.as_mut().expect("it is there until the connection is over"))
}

/// The time for reading the rest from a peer that no longer receives. The rest is there, and ends
/// promptly, unless the peer has closed only its half of the connection.
const UNHEARD_WAIT: Duration = Duration::from_secs(5);

/// The results for which there is room while none comes: those of a deep pipeline.
const RESULTS_KEPT_MAX: usize = 256;

/// The most turns whose answers wait for those of the next: enough for 64 registrations.
const TURNS_HELD_MAX: usize = 3;

/// The steps of a read from the socket.
const READ_STEPS: usize = 40;

/// The bytes that begin to wait in a connection's own buffers for each further step.
const HELD_BYTES_A_STEP: usize = 32;

/// The steps of handling a short frame, and the bytes of a frame for each further step.
const FRAME_STEPS: usize = 8;
const FRAME_BYTES_A_STEP: usize = 256;

/// The shortest frame that is cut out of the buffer instead of being copied from it.
const OWN_FRAME_BYTES_MIN: usize = 4 * 1024;

impl<IO, S> Drop for Driver<IO, S> {
    fn drop(&mut self) {
        self.shared.end(Closed::Here);
    }
}
