//! The state of this process from before it had threads.

use std::{ffi::OsString, sync::OnceLock};

use super::forkserver::Forkserver;

/// The state of this process from before it had threads.
#[derive(Debug)]
pub(super) struct Origin {
    /// The command line of this program.
    pub(super) called: OsString,
    /// The process to fork from.
    pub(super) forkserver: Option<Forkserver>,
}

static ORIGIN: OnceLock<Origin> = OnceLock::new();

/// Returns the state recorded by [`init`](super::init), if it was called.
pub(super) fn origin() -> Option<&'static Origin> {
    ORIGIN.get()
}

/// Records it. Must be called while there is one thread, which has checked that nothing is recorded
/// yet.
pub(super) fn set(origin: Origin) {
    ORIGIN.set(origin).expect("there is one thread, and it has looked");
}
