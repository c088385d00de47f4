//! Where this process is, read from time to time.

use std::sync::Arc;

use endpoints::Here;

use crate::cached::Cached;

/// Where this process is, read from time to time.
#[derive(Debug)]
pub(crate) struct Surroundings(Cached<Here>);

impl Surroundings {
    pub(crate) fn new() -> Self {
        Self(Cached::new())
    }

    /// Returns the place of this process. Its interfaces may be out of date by a second, and the
    /// order of answers wrong for so long.
    pub(crate) fn here(&self) -> Arc<Here> {
        self.0.get(|| Arc::new(transport::here()))
    }
}
