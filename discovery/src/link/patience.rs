//! The time that a link gives a registrar to answer, and the pause before it dials it again.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

/// The patience of a link.
///
/// A thousand clients that come back at once may be more than a busy registrar answers within the
/// usual time. Each that gives up then leaves a connection behind that the registrar has to deal
/// with nevertheless, and stands in its queue again, so that in the end the registrar serves only
/// connections that have been given up. So each attempt that was given up, or turned away, doubles the
/// time for the next one and the pause before it, until an answer comes within the usual time.
#[derive(Debug, Default)]
pub(crate) struct Patience(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of attempts given up in a row.
    given_up: u32,
    /// The time since which the registrar owes an answer.
    owing_since: Option<Instant>,
}

impl Patience {
    /// Returns how long to wait where `usual` is the usual time.
    pub(crate) fn limit(&self, usual: Duration) -> Duration {
        usual * (1 << self.state().given_up)
    }

    /// Tells whether the last attempt was given up.
    pub(crate) fn is_tried(&self) -> bool {
        self.state().given_up > 0
    }

    /// Records that an attempt was given up for want of an answer, or turned away.
    pub(crate) fn give_up(&self) {
        let mut state = self.state();
        *state = State { given_up: DOUBLINGS_MAX.min(state.given_up + 1), owing_since: None };
    }

    /// Records an answer to what was asked at `asked`, where `usual` is the time usually given.
    pub(crate) fn answered(&self, asked: Instant, usual: Duration) {
        let mut state = self.state();
        state.owing_since = None;
        if asked.elapsed() < usual {
            state.given_up = 0;
        }
    }

    /// Records that no answer came to what was asked at `asked`, and tells whether the connection
    /// is to be given up.
    pub(crate) fn is_exhausted(&self, asked: Instant, usual: Duration) -> bool {
        let since = *self.state().owing_since.get_or_insert(asked);
        since.elapsed() >= self.limit(usual)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

/// Three doublings, of two seconds to sixteen: a registrar that hangs may have a successor, which is
/// found only by dialing again.
const DOUBLINGS_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const USUAL: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn each_attempt_given_up_doubles_the_time_until_an_answer_comes_in_time() {
        let patience = Patience::default();
        let mut limits = Vec::new();
        for _ in 0..5 {
            limits.push(patience.limit(USUAL).as_secs());
            patience.give_up();
        }
        assert_eq!(limits, [2, 4, 8, 16, 16]);

        let asked = Instant::now();
        advance(Duration::from_secs(3)).await;
        patience.answered(asked, USUAL);
        assert!(patience.is_tried(), "it is still slow");
        patience.answered(Instant::now(), USUAL);
        assert_eq!(patience.limit(USUAL), USUAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_given_up_once_nothing_was_answered_for_that_long() {
        let patience = Patience::default();
        let late = || async {
            let asked = Instant::now();
            advance(USUAL).await;
            patience.is_exhausted(asked, USUAL)
        };
        assert!(late().await, "at first that is the usual time");
        patience.give_up();
        assert!(!late().await);
        patience.answered(Instant::now() - USUAL, USUAL);
        assert!(!late().await, "an answer in between");
        assert!(late().await);
    }
}
