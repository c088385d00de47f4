//! The restart policy: which children restart, with which others, and how often.

use std::time::Duration;

/// When a child is started again.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Nursery, Restart, SpawnError};
///
/// async fn keep_a_feed(nursery: &Nursery) -> Result<(), SpawnError> {
///     nursery.spawn("feed").process().restart(Restart::OnFailure).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Restart {
    /// Never: its failure ends the scope.
    #[default]
    Never,
    /// When it fails.
    OnFailure,
    /// Whenever it ends, well or not, for as long as the body of the scope runs; after that,
    /// when it fails.
    Always,
}

/// The siblings that restart with a child.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{NurseryOptions, Strategy};
///
/// // What was spawned after a child depends on it.
/// let options = NurseryOptions { strategy: Strategy::RestForOne, ..NurseryOptions::default() };
/// assert_eq!(options.intensity.restarts, 5);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strategy {
    /// Only the child.
    #[default]
    OneForOne,
    /// All children of the scope that have a restart policy. The others are cancelled for good.
    OneForAll,
    /// Those that were spawned after it, as [`OneForAll`](Self::OneForAll).
    RestForOne,
}

/// The limits and pauses of restarts.
///
/// ```
/// # use callsign_tree as callsign;
/// use std::time::Duration;
///
/// use callsign::Intensity;
///
/// let patient = Intensity { restarts: 20, most: Duration::from_secs(30), ..Intensity::default() };
/// assert_eq!(patient.within, Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Intensity {
    /// The most restarts within [`within`](Self::within). One more, and the failure ends the scope.
    pub restarts: u32,
    /// The time over which restarts are counted.
    pub within: Duration,
    /// The wait before the first restart. It doubles with each one that is counted, and the
    /// second half of it is left to chance.
    pub first: Duration,
    /// The wait that none exceeds.
    pub most: Duration,
}

impl Default for Intensity {
    /// Five restarts in half a minute, from 20 ms to 2 s apart: a child that fails for a passing
    /// reason is back before anybody asks, and one that cannot live is given up within seconds.
    fn default() -> Self {
        Self {
            restarts: 5,
            within: Duration::from_secs(30),
            first: Duration::from_millis(20),
            most: Duration::from_secs(2),
        }
    }
}

impl Intensity {
    /// Returns the pause before a restart, after `earlier` ones. All values of `random` are equally
    /// good.
    pub(crate) fn wait(&self, earlier: u32, random: u32) -> Duration {
        let most = self.most.min(WAIT_MAX);
        let full = self.first.saturating_mul(1 << earlier.min(16)).min(most);
        let half = full / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// The longest pause: as good as for ever, and short enough to be added to any time.
const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let intensity = Intensity {
            first: Duration::from_millis(10),
            most: Duration::from_millis(70),
            ..Intensity::default()
        };
        let check = |earlier, random, expected| {
            assert_eq!(intensity.wait(earlier, random), Duration::from_millis(expected));
        };
        check(0, 0, 5);
        check(0, u32::MAX, 10);
        check(2, u32::MAX, 40);
        check(3, u32::MAX, 70);
        check(u32::MAX, 0, 35);
        let endless =
            Intensity { first: Duration::MAX, most: Duration::MAX, ..Intensity::default() };
        assert_eq!(endless.wait(3, u32::MAX), WAIT_MAX);
    }
}
