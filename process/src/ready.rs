//! Whether this process can be forked.

use std::io;

use thiserror::Error;
use tokio::runtime::Handle;

use super::kernel;

/// A program could not be made one that starts children.
#[derive(Debug, Error)]
pub enum InitError {
    /// The program has more than one thread.
    #[error(
        "this process has {count} threads already; a fork takes one thread along and the locks of \
         all, so what another thread holds would be held for ever: make this the first statement \
         of `main`, before any thread or runtime is started"
    )]
    Threads {
        /// Their number.
        count: usize,
    },
    /// The caller is inside a tokio runtime.
    #[error(
        "this is called inside a tokio runtime, which cannot be forked; make this the first \
         statement of `main`, and build the runtime after it"
    )]
    Runtime,
    /// It was called before in this process.
    #[error("this process is already initialized for children; do it once")]
    Twice,
    /// The threads of this process cannot be counted.
    #[error("cannot count the threads of this process in /proc/self/task")]
    Count(#[source] io::Error),
    /// The forkserver could not be made.
    #[error("cannot fork the forkserver off")]
    Fork(#[source] io::Error),
}

/// Checks whether this process can be forked and its environment changed.
pub(super) fn look() -> Result<(), InitError> {
    if Handle::try_current().is_ok() {
        return Err(InitError::Runtime);
    }
    match kernel::threads().map_err(InitError::Count)? {
        1 => Ok(()),
        count => Err(InitError::Threads { count }),
    }
}
