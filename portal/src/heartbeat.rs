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
    /// Whether it has been said that the peer is silent. It is not asked again then: one ping
    /// waits for it already, and more would only fill the buffers on the way.
    is_silent: bool,
}

impl Pulse {
    pub(crate) fn new(heartbeat: Heartbeat, now: Instant) -> Self {
        let sleep = Box::pin(sleep_until(now + heartbeat.interval));
        Self { heartbeat, heard: now, sleep, is_silent: false }
    }

    /// Takes note of a sign of life. Tells whether the peer was silent for too long before.
    pub(crate) fn hear(&mut self, now: Instant) -> bool {
        self.heard = now;
        let was_silent = mem::take(&mut self.is_silent);
        if was_silent {
            self.sleep.as_mut().reset(now + self.heartbeat.interval);
        }
        was_silent
    }

    /// Returns ready each time something is to be done about the silence.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Silence> {
        if self.is_silent {
            return Poll::Pending;
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let woken = self.sleep.deadline();
            let silence = woken.saturating_duration_since(self.heard);
            if silence >= self.heartbeat.interval * self.heartbeat.misses {
                self.is_silent = true;
                return Poll::Ready(Silence::TooLong(silence));
            }
            if silence < self.heartbeat.interval {
                self.sleep.as_mut().reset(self.heard + self.heartbeat.interval);
                continue;
            }
            self.sleep.as_mut().reset(woken + self.heartbeat.interval);
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
}
