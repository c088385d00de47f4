//! Where this process is, read from time to time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use endpoints::Here;
use tokio::time::Instant;

/// Where this process is, read from time to time.
#[derive(Debug)]
pub(crate) struct Surroundings(Mutex<Option<(Instant, Arc<Here>)>>);

impl Surroundings {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the place of this process. Its interfaces may be out of date by a second.
    pub(crate) fn here(&self) -> Arc<Here> {
        let mut cached = self.0.lock().expect("nothing panics while it holds the lock");
        match &*cached {
            Some((read_at, here)) if read_at.elapsed() < READ_AGAIN => here.clone(),
            _ => cached.insert((Instant::now(), Arc::new(transport::here()))).1.clone(),
        }
    }
}

/// How long the interfaces are believed: an order of answers may be wrong for so long after a
/// change.
const READ_AGAIN: Duration = Duration::from_secs(1);
