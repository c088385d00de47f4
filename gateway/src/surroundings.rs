//! Where this process is, and who listens around it, read from time to time.

use std::{sync::Arc, time::Duration};

use endpoints::{Here, Stamped};
use transport::Listeners;
use wire::Record;

use crate::cached::Cached;

/// Where this process is, and who listens around it, read from time to time.
#[derive(Debug)]
pub(crate) struct Surroundings {
    here: Cached<Here>,
    listeners: Cached<Listeners>,
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        Self { here: Cached::new(), listeners: Cached::new() }
    }

    /// Returns the place of this process. Its interfaces may be out of date by a second, and the
    /// order of answers wrong for so long.
    pub(crate) fn here(&self) -> Arc<Here> {
        self.here.get(|| Arc::new(transport::here()))
    }

    /// Returns the other user who listens at an endpoint of a program that cannot prove who it is,
    /// if there is one. The kernel is asked only if the endpoint is such a place.
    pub(crate) fn stranger_at(&self, record: &Record, stamped: &Stamped) -> Option<u32> {
        if record.proves || !Listeners::concern(stamped) {
            return None;
        }
        self.listeners().stranger_at(stamped, record.user())
    }

    /// Returns the listeners, as they were a moment ago.
    fn listeners(&self) -> Arc<Listeners> {
        let kept_for = |took: Duration| KEPT_FOR.max(REST * took);
        self.listeners.get_for(kept_for, || Arc::new(Listeners::read()))
    }
}

/// How long a picture of the listeners is believed, so that a long list takes one, or a few.
const KEPT_FOR: Duration = Duration::from_millis(100);

/// How many times as long as the kernel took a picture is believed at least: a tenth of a processor, at
/// most, goes into pictures.
const REST: u32 = 10;
