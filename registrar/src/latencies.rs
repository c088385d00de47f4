//! How long calls take, for metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How long some calls took: the work of the registrar, without the way there and back.
///
/// ```
/// # use callsign_registrar as callsign;
/// # use callsign::{RegistryHandle, registry::Limits};
/// let registry = RegistryHandle::unattended(Limits::default());
/// let looked_up = registry.look_up_latencies();
/// assert_eq!(looked_up.buckets().map(|(_, calls)| calls).sum::<u64>(), 0);
/// ```
#[derive(Debug, Default)]
pub struct Latencies {
    calls: [AtomicU64; BUCKETS + 1],
    sum_ns: AtomicU64,
}

impl Latencies {
    /// Records a call.
    pub(crate) fn note(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = (0..BUCKETS).find(|it| ns <= bound_ns(*it)).unwrap_or(BUCKETS);
        self.calls[at].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    /// Returns the calls that took at most so many seconds, and more than those before; the last are
    /// without a bound.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::Latencies;
    ///
    /// /// Writes a histogram.
    /// fn show(latencies: &Latencies) {
    ///     for (seconds, calls) in latencies.buckets() {
    ///         println!("{calls} took at most {seconds} s");
    ///     }
    /// }
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bound = |at| if at < BUCKETS { bound_ns(at) as f64 / 1e9 } else { f64::MAX };
        self.calls.iter().enumerate().map(move |(at, calls)| (bound(at), calls.load(Relaxed)))
    }

    /// Returns the seconds of all calls together.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{Limits, RegistryHandle};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// assert_eq!(registry.look_up_latencies().sum(), 0.0, "nobody has asked");
    /// ```
    pub fn sum(&self) -> f64 {
        self.sum_ns.load(Relaxed) as f64 / 1e9
    }
}

/// From 1 µs, which is quicker than any call, to 0.26 s in steps of two.
const fn bound_ns(at: usize) -> u64 {
    1000 << at
}

const BUCKETS: usize = 19;

/// Of so many look-ups, and registrations, the time of one is taken: reading the clock twice takes as
/// long as a tenth of a look-up.
pub(crate) const LOOK_UPS_PER_SAMPLE: u32 = 64;
pub(crate) const REGISTRATIONS_PER_SAMPLE: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_in_the_first_bucket_that_holds_it() {
        let latencies = Latencies::default();
        for ns in [0, 1000, 1001, 2000, 262_144_000, 262_144_001, u64::MAX / 2] {
            latencies.note(Duration::from_nanos(ns));
        }
        let filled: Vec<_> = latencies.buckets().filter(|(_, calls)| *calls > 0).collect();
        assert_eq!(filled, [(1e-6, 2), (2e-6, 2), (0.262_144, 1), (f64::MAX, 2)]);
    }
}
