//! Signs of life, where the kernel does not tell of a death.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};
use transport::Flow;
use wire::FRAME_BYTES_MAX;

/// The interval and the patience of heartbeats.
///
/// ```
/// # use callsign_portal as callsign;
/// use std::time::Duration;
///
/// use callsign::Heartbeat;
///
/// // A peer is given up after two seconds of silence.
/// let heartbeat = Heartbeat { interval: Duration::from_millis(500), misses: 4 };
/// assert_eq!(heartbeat.interval * heartbeat.misses, Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heartbeat {
    /// The silence after which the peer is pinged, and pinged again.
    pub interval: Duration,
    /// After how many intervals of silence the connection is given up.
    pub misses: u32,
}

impl Default for Heartbeat {
    /// 900 ms, three times: death is noticed within three seconds, with some time left to tell of
    /// it, at the cost of about a frame a second on idle connections.
    fn default() -> Self {
        Self { interval: Duration::from_millis(900), misses: 3 }
    }
}

/// The meaning of a peer's silence, and its consequence after the whole heartbeat.
///
/// ```
/// # mod callsign { pub use callsign_portal::{*, Options as HandshakeOptions}; }
/// use callsign::{HandshakeOptions, OnSilence};
///
/// /// The options for a peer on the same host, whose death the kernel reports.
/// fn for_neighbour() -> HandshakeOptions {
///     HandshakeOptions { on_silence: OnSilence::Tell, ..HandshakeOptions::default() }
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnSilence {
    /// The connection ends: silence is the only sign that its other end is gone. Other frames from
    /// the peer do not show that it receives, so only its answer to a ping breaks the silence: if
    /// one direction is lost, the connection is over for both sides. A peer that answers late gets
    /// three times as long as its latest answer took, and at most ten times the usual.
    #[default]
    GiveUp,
    /// The [`Service`](crate::Service) is notified, and again when the peer is heard. This is for
    /// connections whose kernel reports a death and loses nothing: a silent peer there is stopped,
    /// or busy, and any byte from it breaks the silence.
    Tell,
}

/// The next action about a silent peer.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Silence {
    /// Ask for a sign of life, with this nonce.
    Ping(u64),
    /// It has been silent for this long, and is given up.
    GiveUp(Duration),
    /// It has been silent for this long, which must be reported.
    Tell(Duration),
}

/// Keeps the time since the peer last gave a sign of life.
#[derive(Debug)]
pub(crate) struct Pulse {
    heartbeat: Heartbeat,
    on_silence: OnSilence,
    alive: Instant,
    /// The timer, once there is a silence to be noticed.
    sleep: Option<Pin<Box<Sleep>>>,
    /// The latest ping. There is one at a time: a second one could not arrive before it, and would
    /// only fill buffers on the way.
    nonce: u64,
    asked: Asked,
    asked_at: Instant,
    /// The duration of the latest answer.
    latency: Duration,
    way: Way,
    /// Whether it could not be written immediately.
    is_held_up: bool,
    /// Whether the silence has been reported.
    is_silent: bool,
    /// Whether nobody minds a silence.
    is_at_rest: bool,
    passed: Passed,
    /// The ping whose answer somebody waits for.
    demanded: Option<u64>,
}

/// The progress of the latest ping.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Answered,
    /// It waits to be written, maybe behind a long frame.
    Queued,
    Writing,
    Written,
}

/// The progress of written data, as the kernel reports it for TCP.
#[derive(Debug)]
struct Way {
    /// The acknowledged bytes at the last look, and whether any were in flight.
    acknowledged: Option<u64>,
    is_in_flight: bool,
    /// The last time at which more was acknowledged, or nothing was in transit.
    moved: Instant,
    /// The end of the latest ping; 0 once everything up to there is acknowledged.
    ping_ends: Option<u64>,
}

/// The data that arrived while a pong may have been behind it.
#[derive(Debug)]
struct Passed {
    last: Instant,
    /// The bytes since the timer last fired, and before that since the latest pong.
    fresh: usize,
    vouched: usize,
}

impl Pulse {
    pub(crate) fn new(heartbeat: Heartbeat, on_silence: OnSilence, now: Instant) -> Self {
        Self {
            heartbeat,
            on_silence,
            alive: now,
            sleep: None,
            nonce: 0,
            asked: Asked::Answered,
            asked_at: now,
            latency: Duration::ZERO,
            way: Way { acknowledged: None, is_in_flight: false, moved: now, ping_ends: None },
            is_held_up: false,
            is_silent: false,
            is_at_rest: false,
            passed: Passed { last: now, fresh: 0, vouched: 0 },
            demanded: None,
        }
    }

    /// Returns the nonce of a ping to send now, because somebody wants to know whether the peer is
    /// there, whenever it was heard last.
    pub(crate) fn demand(&mut self) -> u64 {
        self.nonce += 1;
        self.asked = Asked::Queued;
        self.demanded = Some(self.nonce);
        self.nonce
    }

    /// Records arrived bytes. Tells whether the peer was silent for too long before.
    pub(crate) fn hear(&mut self, bytes: usize, now: Instant) -> bool {
        match self.on_silence {
            OnSilence::GiveUp => {
                self.pass(bytes, now);
                false
            }
            OnSilence::Tell => self.revive(now),
        }
    }

    /// Records bytes behind which a pong may have to wait: they have arrived, or this side writes
    /// them before it reads.
    pub(crate) fn pass(&mut self, bytes: usize, now: Instant) {
        self.passed.last = now;
        self.passed.fresh += bytes;
    }

    /// Records an answer to a ping, and tells whether somebody waits for it.
    pub(crate) fn pong(&mut self, nonce: u64, now: Instant) -> bool {
        if nonce == self.nonce && self.asked != Asked::Answered {
            if self.asked == Asked::Written {
                self.latency = now.saturating_duration_since(self.asked_at);
            }
            self.revive(now);
        }
        self.demanded.take_if(|it| *it == nonce).is_some()
    }

    /// Records that queued frames are being written.
    pub(crate) fn begin_to_write(&mut self) {
        if self.asked == Asked::Queued {
            self.asked = Asked::Writing;
        }
    }

    /// Records that nothing more can be written for now.
    pub(crate) fn hold_up(&mut self) {
        self.is_held_up = matches!(self.asked, Asked::Queued | Asked::Writing);
    }

    /// Records that something was written, and whether that was everything. A ping that is held up
    /// behind other data has not been asked yet, and the peer is reading.
    pub(crate) fn wrote(&mut self, is_all: bool, now: impl FnOnce() -> Instant) {
        let is_held_up = self.is_held_up && self.on_silence == OnSilence::GiveUp;
        let is_asked = is_all && self.asked == Asked::Writing;
        if !is_held_up && !is_asked {
            return;
        }
        let now = now();
        if is_held_up {
            self.alive = now;
        }
        if is_asked {
            self.asked = Asked::Written;
            self.asked_at = now;
            self.is_held_up = false;
        }
    }

    fn revive(&mut self, now: Instant) -> bool {
        self.alive = now;
        self.asked = Asked::Answered;
        self.is_held_up = false;
        self.passed.fresh = 0;
        self.passed.vouched = 0;
        self.way.ping_ends = None;
        let was_silent = mem::take(&mut self.is_silent);
        if was_silent {
            self.wake_at(now + self.heartbeat.interval);
        }
        was_silent
    }

    fn wake_at(&mut self, deadline: Instant) {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(deadline),
            None => self.sleep = Some(Box::pin(sleep_until(deadline))),
        }
    }

    /// As [`poll`](Self::poll), if a silence that only is told of would mean anything to anybody.
    /// Until it does, no timer runs, and the peer's time begins when it does.
    pub(crate) fn poll_if(
        &mut self,
        is_minded: bool,
        unread: usize,
        flow: impl Fn() -> Option<Flow>,
        cx: &mut Context<'_>,
    ) -> Poll<Silence> {
        let is_minded = is_minded || self.on_silence == OnSilence::GiveUp;
        if !is_minded {
            self.is_at_rest = true;
            return Poll::Pending;
        }
        if mem::take(&mut self.is_at_rest) {
            let now = Instant::now();
            self.alive = now;
            self.wake_at(now + self.heartbeat.interval);
        }
        self.poll(unread, flow, cx)
    }

    /// Returns ready whenever the silence needs an action. `unread` is the number of arrived bytes
    /// that cannot be handled yet; `flow` reads the progress of written data.
    ///
    /// Call [`hear`](Self::hear) for arrived data first: an interval whose end this side noticed
    /// late is nobody's silence, because this side may not have asked, or looked.
    pub(crate) fn poll(
        &mut self,
        unread: usize,
        flow: impl Fn() -> Option<Flow>,
        cx: &mut Context<'_>,
    ) -> Poll<Silence> {
        if self.is_silent {
            return Poll::Pending;
        }
        let interval = self.heartbeat.interval;
        let limit = self.limit();
        let begins = self.alive + interval;
        loop {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(begins)));
            ready!(sleep.as_mut().poll(cx));
            let (woken, now) = (sleep.deadline(), Instant::now());
            let late = now.saturating_duration_since(woken);
            if late > interval / 2 {
                self.alive = (self.alive + interval + late).min(now);
                self.way.moved = now;
                self.wake_at(now + interval);
                continue;
            }
            if self.is_behind_bulk(unread) {
                self.alive = self.passed.last;
            }
            let is_stuck = match self.on_silence {
                OnSilence::GiveUp => flow().is_some_and(|it| self.look(it, now, limit)),
                OnSilence::Tell => false,
            };
            let since = if is_stuck { self.alive.min(self.way.moved) } else { self.alive };
            let silence = woken.saturating_duration_since(since);
            if silence >= limit {
                self.is_silent = true;
                return Poll::Ready(match self.on_silence {
                    OnSilence::GiveUp => Silence::GiveUp(silence),
                    OnSilence::Tell => Silence::Tell(silence),
                });
            }
            let pause = if silence < interval { self.alive } else { woken } + interval;
            let mut wake = pause.min(self.alive + limit);
            if self.way.is_in_flight {
                wake = wake.min(self.way.moved + limit);
            }
            self.wake_at(wake);
            if silence >= interval && self.asked == Asked::Answered {
                self.nonce += 1;
                self.asked = Asked::Queued;
                return Poll::Ready(Silence::Ping(self.nonce));
            }
        }
    }

    /// Returns the silence after which the peer is given up or reported: if answers take long,
    /// because much is queued on the way, three times as long as the latest took.
    fn limit(&self) -> Duration {
        let Heartbeat { interval, misses } = self.heartbeat;
        let usual = interval * misses;
        match self.on_silence {
            OnSilence::GiveUp => (LATENCIES * self.latency).clamp(usual, LATE_MAX * usual),
            OnSilence::Tell => usual,
        }
    }

    /// Records the progress of written data, and tells whether none of it advances: then this
    /// direction is lost, whatever arrives in the other. A ping queued behind other data has not
    /// been asked yet.
    fn look(&mut self, flow: Flow, now: Instant, limit: Duration) -> bool {
        let Way { acknowledged, is_in_flight, moved, ping_ends } = &mut self.way;
        let before = acknowledged.replace(flow.acknowledged);
        let has_moved = before.is_some_and(|it| flow.acknowledged > it);
        *is_in_flight = flow.is_in_flight;
        if has_moved || !flow.is_in_flight {
            *moved = now;
        }
        if self.asked == Asked::Written {
            let is_first = ping_ends.is_none();
            let end = *ping_ends.get_or_insert(flow.acknowledged + flow.outstanding);
            // The data that was in flight at the last look has arrived in between.
            let was_underway = is_first || end > 0;
            if was_underway && has_moved && flow.outstanding > 0 {
                self.alive = self.alive.max(now);
            }
            if flow.acknowledged >= end {
                *ping_ends = Some(0);
            }
        }
        now.saturating_duration_since(*moved) >= limit
    }

    /// Tells whether a pong may be in transit behind much other data: then it is waited for, but
    /// not for ever.
    fn is_behind_bulk(&mut self, unread: usize) -> bool {
        let fresh = mem::take(&mut self.passed.fresh);
        self.passed.vouched += fresh;
        let is_bulk = fresh >= BULK_BYTES_MIN || (fresh > 0 && unread >= UNREAD_BYTES_MIN);
        is_bulk && self.passed.vouched <= BULK_BYTES_MAX
    }
}

/// The multiple of the latest answer's duration that an answer may take: a queue that grows from
/// one ping to the next is not a death.
const LATENCIES: u32 = 3;

/// The largest multiple of the usual patience for a late peer.
const LATE_MAX: u32 = 10;

/// The data that must arrive within an interval before a pong may be expected behind it: more than
/// the calls of a client that does not hear the answers, and at most what a slow link carries.
const BULK_BYTES_MIN: usize = 16 * 1024;

/// The part of a frame that must have arrived before the rest is waited for, however slowly it
/// comes. The frames of a peer that only shows signs of life are shorter.
const UNREAD_BYTES_MIN: usize = 4 * 1024;

/// The data that may arrive before a pong: a few of the longest frames, and the buffers of the
/// kernels on the way.
const BULK_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

#[cfg(test)]
mod tests;
