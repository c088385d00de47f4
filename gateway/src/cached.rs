//! A value that is read from time to time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

/// A value that is read again once it is too old, and until when it is not.
#[derive(Debug)]
pub(crate) struct Cached<T: ?Sized>(Mutex<Option<(Instant, Arc<T>)>>);

impl<T: ?Sized> Cached<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the value, as it was within the last second.
    pub(crate) fn get(&self, read: impl FnOnce() -> Arc<T>) -> Arc<T> {
        self.get_for(|_| READ_AGAIN, read)
    }

    /// Returns the value, as it was within a time that may depend on how long it took to read.
    pub(crate) fn get_for(
        &self,
        kept_for: impl FnOnce(Duration) -> Duration,
        read: impl FnOnce() -> Arc<T>,
    ) -> Arc<T> {
        let mut cached = self.0.lock().expect("nothing panics while it holds the lock");
        let began = Instant::now();
        match &*cached {
            Some((until, value)) if began < *until => value.clone(),
            _ => {
                let value = read();
                cached.insert((began + kept_for(began.elapsed()), value)).1.clone()
            }
        }
    }
}

const READ_AGAIN: Duration = Duration::from_secs(1);
