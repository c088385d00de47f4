//! The time that a registry goes by.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds since 1970 that never go back.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    pub(super) start_ms: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_ms: since_1970.as_millis() as u64 }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.start_ms + self.uptime_ms()
    }

    pub(super) fn uptime_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}
