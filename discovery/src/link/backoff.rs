//! The pause before the next attempt.

use std::time::Duration;

use crate::BackoffOptions;

/// The pause before the next attempt: a random time up to a bound that doubles.
#[derive(Debug)]
pub(crate) struct Backoff {
    options: BackoffOptions,
    bound: Duration,
}

impl Backoff {
    pub(crate) fn new(options: BackoffOptions) -> Self {
        Self { options, bound: options.first }
    }

    /// Returns the next wait; `random` may be any number, all being equally likely.
    pub(crate) fn next(&mut self, random: u32) -> Duration {
        // The whole range, so that clients that lost a registrar together do not return together.
        let wait = self.bound.mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.bound = self.options.most.min(self.bound * 2);
        wait
    }

    /// Starts again from the shortest pause, after all was well for a while.
    pub(crate) fn reset(&mut self) {
        self.bound = self.options.first;
    }
}

/// Returns a random number.
pub(crate) fn random() -> u32 {
    u32::from_ne_bytes(transport::random_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_begin_anew() {
        let mut backoff = Backoff::new(BackoffOptions::default());
        let mut longest = || backoff.next(u32::MAX).as_millis();
        let waits: Vec<_> = std::iter::repeat_with(&mut longest).take(8).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);

        assert_eq!(backoff.next(0), Duration::ZERO);
        assert_eq!(backoff.next(u32::MAX / 2).as_millis(), 1000);
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX).as_millis(), 50);
    }

    #[test]
    fn a_thousand_clients_come_back_within_five_seconds_and_not_at_once() {
        // The registrar is away for a second after it dropped them all.
        let comes_back = |_| {
            let (mut backoff, mut at) = (Backoff::new(BackoffOptions::default()), Duration::ZERO);
            while at < Duration::from_secs(1) {
                at += backoff.next(random());
            }
            at.as_millis()
        };
        let mut times: Vec<_> = (0..1000).map(comes_back).collect();
        times.sort_unstable();
        assert!(times[999] < 5000, "{}", times[999]);
        let busiest = times.windows(200).map(|it| it[199] - it[0]).min().unwrap();
        assert!(busiest > 50, "200 of them came within {busiest} ms");
    }
}
