//! The processor time of an account.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// The total running time of one account's connections. Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

/// A reader of a meter, for occasional use.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) meter: Meter,
    /// Its last reading.
    before: Duration,
    /// The processor time between the last two readings, in percent.
    pub(crate) percent: u64,
}

/// Returns the processor time of this thread.
///
/// ```
/// # use callsign_registrar as callsign;
/// let began = callsign::thread_time();
/// let ran = callsign::thread_time() - began;
/// println!("{ran:?} of work, however busy the machine is");
/// ```
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Meter {
    pub(crate) fn add(&self, ran: Duration) {
        self.0.fetch_add(ran.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Tells whether anybody else may add to it.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Reading {
    /// Reads the meter again, that long after the last time.
    pub(crate) fn take(&mut self, passed: Duration) {
        let total = self.meter.total();
        let ran = total.saturating_sub(self.before);
        self.before = total;
        self.percent = (100 * ran.as_nanos()).div_ceil(passed.as_nanos().max(1)) as u64;
    }
}
