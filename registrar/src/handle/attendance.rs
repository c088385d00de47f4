//! Whether the process of the registrar ran all the time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Whether the process ran all the time, or was stopped for a while.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// The last time that it was seen to run, in milliseconds since its start.
    seen_ms: AtomicU64,
    /// The time by which the clients should be back that gave the process up in its last stop.
    back_by_ms: AtomicU64,
}

impl Attendance {
    /// Records that the process runs now. If it was stopped since the last record, returns how long
    /// it was not seen.
    pub(super) fn note(&self, now_ms: u64, settle_time: Duration) -> Option<u64> {
        let seen_ms = self.seen_ms.fetch_max(now_ms, Ordering::SeqCst);
        let unseen = Duration::from_millis(now_ms.saturating_sub(seen_ms));
        if unseen >= AWAY_MIN {
            let back_by_ms = now_ms + settle_time.as_millis() as u64;
            self.back_by_ms.fetch_max(back_by_ms, Ordering::SeqCst);
        }
        let was_stopped = unseen >= ATTENDANCE_INTERVAL + LATE_MAX;
        was_stopped.then_some(unseen.as_millis() as u64)
    }

    /// Tells whether clients that gave the process up may still be returning.
    pub(super) fn has_some_to_come(&self, now_ms: u64) -> bool {
        now_ms < self.back_by_ms.load(Ordering::SeqCst)
    }
}

/// The interval at which the process records that it runs.
pub(super) const ATTENDANCE_INTERVAL: Duration = Duration::from_millis(500);

/// The shortest stop that counts: a client gives up a registrar that has not answered for 2 s.
const AWAY_MIN: Duration = Duration::from_millis(1500);

/// The delay of that record which is not a stop: some ten milliseconds on a busy machine.
const LATE_MAX: Duration = Duration::from_millis(250);
