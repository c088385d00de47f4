//! Signs of life, where the kernel does not tell of a death.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// How signs of life are asked for.
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
    /// After how long a silence the peer is asked for a sign of life, and asked again.
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

/// What becomes of a peer that has been silent for all of its heartbeat.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnSilence {
    /// The connection is given up: silence is the only sign that its other end is gone.
    #[default]
    GiveUp,
    /// The [`Service`](crate::Service) is told, and told again when the peer is heard. It is for
    /// connections whose kernel tells of a death: one that is silent there is stopped, or busy.
    Tell,
}

/// What is to be done about a silent peer.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Silence {
    /// Ask for a sign of life.
    Ping,
    /// It has been silent for too long.
    TooLong(Duration),
}

/// Keeps the time since the peer was last heard.
#[derive(Debug)]
pub(crate) struct Pulse {
    heartbeat: Heartbeat,
    heard: Instant,
    sleep: Pin<Box<Sleep>>,
    /// How many intervals have passed in silence.
    missed: u32,
    /// Whether it has been said that the peer is silent. It is not asked again then: one ping
    /// waits for it already, and more would only fill the buffers on the way.
    is_silent: bool,
}

impl Pulse {
    pub(crate) fn new(heartbeat: Heartbeat, now: Instant) -> Self {
        let sleep = Box::pin(sleep_until(now + heartbeat.interval));
        Self { heartbeat, heard: now, sleep, missed: 0, is_silent: false }
    }

    /// Takes note of a sign of life. Tells whether the peer was silent for too long before.
    pub(crate) fn hear(&mut self, now: Instant) -> bool {
        self.heard = now;
        self.missed = 0;
        let was_silent = mem::take(&mut self.is_silent);
        if was_silent {
            self.sleep.as_mut().reset(now + self.heartbeat.interval);
        }
        was_silent
    }

    /// Returns ready each time something is to be done about the silence.
    ///
    /// What has arrived is to be [heard](Self::hear) first: then an interval that this side itself
    /// was late to see the end of is nobody's silence, for it may not have asked, nor looked.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Silence> {
        if self.is_silent {
            return Poll::Pending;
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let (due, now) = (self.sleep.deadline(), Instant::now());
            let interval = self.heartbeat.interval;
            if due.saturating_duration_since(self.heard) < interval {
                self.sleep.as_mut().reset(self.heard + interval);
                continue;
            }
            let was_late = now.saturating_duration_since(due) > interval / 2;
            self.missed += u32::from(!was_late);
            if self.missed >= self.heartbeat.misses {
                self.is_silent = true;
                return Poll::Ready(Silence::TooLong(interval * self.missed));
            }
            self.sleep.as_mut().reset(now + interval);
            return Poll::Ready(Silence::Ping);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_asked_about_and_then_given_up() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Heartbeat::default(), start);

        tokio::time::advance(Duration::from_millis(500)).await;
        pulse.hear(Instant::now());

        for expected in
            [Silence::Ping, Silence::Ping, Silence::TooLong(Duration::from_millis(2700))]
        {
            assert_eq!(poll_fn(|cx| pulse.poll(cx)).await, expected);
        }
        assert_eq!(start.elapsed().as_millis() / 10, 320);

        // It is not asked again until it is heard.
        assert!(timeout(Duration::from_secs(60), poll_fn(|cx| pulse.poll(cx))).await.is_err());
        assert!(pulse.hear(Instant::now()));
        assert!(!pulse.hear(Instant::now()));
        assert_eq!(poll_fn(|cx| pulse.poll(cx)).await, Silence::Ping);
        assert_eq!(start.elapsed().as_millis() / 10, 320 + 6000 + 90);
    }

    /// As when the process is stopped, or one call takes all of its time.
    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_nobody_looked_is_not_the_peer_s_silence() {
        let mut pulse = Pulse::new(Heartbeat::default(), Instant::now());
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(60)).await;
            assert_eq!(poll_fn(|cx| pulse.poll(cx)).await, Silence::Ping);
        }
        // It is asked and looked for as usual again, and has all of its time from then on.
        let start = Instant::now();
        for _ in 0..2 {
            assert_eq!(poll_fn(|cx| pulse.poll(cx)).await, Silence::Ping);
        }
        let silence = poll_fn(|cx| pulse.poll(cx)).await;
        assert!(matches!(silence, Silence::TooLong(_)), "{silence:?}");
        assert_eq!(start.elapsed().as_millis() / 10, 270);
    }
}
