//! Signs of life, where the kernel does not tell of a death.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// How signs of life are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heartbeat {
    /// After how long a silence the peer is asked for a sign of life, and asked again.
    pub interval: Duration,
    /// After how many intervals of silence the connection is given up.
    pub misses: u32,
}

impl Default for Heartbeat {
    /// A second, three times: death is noticed within three seconds, at the cost of a frame a
    /// second on idle connections.
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), misses: 3 }
    }
}

/// What is to be done about a silent peer.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Silence {
    /// Ask for a sign of life.
    Ping,
    /// Give up.
    TooLong(Duration),
}

/// Keeps the time since the peer was last heard.
#[derive(Debug)]
pub(crate) struct Pulse {
    heartbeat: Heartbeat,
    heard: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Pulse {
    pub(crate) fn new(heartbeat: Heartbeat, now: Instant) -> Self {
        let sleep = Box::pin(sleep_until(now + heartbeat.interval));
        Self { heartbeat, heard: now, sleep }
    }

    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Returns ready each time something is to be done about the silence.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Silence> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let woken = self.sleep.deadline();
            let silence = woken.saturating_duration_since(self.heard);
            if silence >= self.heartbeat.interval * self.heartbeat.misses {
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

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_asked_about_and_then_given_up() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Heartbeat::default(), start);

        tokio::time::advance(Duration::from_millis(500)).await;
        pulse.hear(Instant::now());

        for expected in [Silence::Ping, Silence::Ping, Silence::TooLong(Duration::from_secs(3))] {
            assert_eq!(poll_fn(|cx| pulse.poll(cx)).await, expected);
        }
        assert_eq!(start.elapsed().as_millis() / 10, 350);
    }
}
