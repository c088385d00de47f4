//! A value that is read from time to time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

/// A value that is read again once it is a second old.
#[derive(Debug)]
pub(crate) struct Cached<T: ?Sized>(Mutex<Option<(Instant, Arc<T>)>>);

impl<T: ?Sized> Cached<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the value, as it was within the last second.
    pub(crate) fn get(&self, read: impl FnOnce() -> Arc<T>) -> Arc<T> {
        let mut cached = self.0.lock().expect("nothing panics while it holds the lock");
        match &*cached {
            Some((read_at, value)) if read_at.elapsed() < READ_AGAIN => value.clone(),
            _ => cached.insert((Instant::now(), read())).1.clone(),
        }
    }
}

const READ_AGAIN: Duration = Duration::from_secs(1);
