//! The signals that ask a process to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a process to end, or none at all.
pub(crate) struct Signals(Option<(Signal, Signal)>);

impl Signals {
    /// Handles signals from now on, if requested.
    pub(crate) fn new(are_heard: bool) -> io::Result<Self> {
        if !are_heard {
            return Ok(Self::none());
        }
        Ok(Self(Some((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))))
    }

    /// Handles none, as in a task or a thread.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Waits for the next signal; for ever, if none is handled.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> &'static str {
        let Some((interrupt, terminate)) = &mut self.0 else {
            return std::future::pending().await;
        };
        // The streams of signals never end.
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    }
}
