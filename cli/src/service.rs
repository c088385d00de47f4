//! The service manager, if one started this program: it is told how that is.

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Tells the service manager, if there is one.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Says that the settings are read again; `READY=1` says that it is over.
pub(crate) fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager cannot be told the time"),
    }
}

/// Says again and again that the loop goes round which polls it.
#[derive(Debug)]
pub(crate) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Reads how often the service manager wants to hear of this process: twice as often it does.
    pub(crate) fn new() -> Self {
        Self(sd_notify::watchdog_enabled().filter(|it| !it.is_zero()).map(|limit| {
            let mut ticks = interval(limit / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Waits until it is time, and says so; for ever, if nobody wants to hear it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn ping(&mut self) {
        match &mut self.0 {
            Some(ticks) => {
                ticks.tick().await;
                notify(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }
}
