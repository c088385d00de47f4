//! Notifications to the service manager, if one started this program.

mod relay;

use std::{
    convert::Infallible,
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    pin::pin,
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

pub(crate) use self::relay::Relay;

/// Tells the service manager, if there is one.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = send(states, Some(BEHIND_MAX)) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Reports a reload; `READY=1` reports its end.
pub(crate) fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager cannot be told the time"),
    }
}

/// A start that takes as long as others want: its service manager gives it more time, again and
/// again.
#[derive(Debug, Default)]
pub(crate) struct Extension {
    /// When the manager was told last.
    told: Option<Instant>,
}

impl Extension {
    /// Tells the manager what is waited for, if that is due.
    pub(crate) fn ask(&mut self, status: &str) {
        if self.told.is_none_or(|it| it.elapsed() >= EXTENDED_EVERY) {
            self.told = Some(Instant::now());
            let limit = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
            notify(&[NotifyState::ExtendTimeoutUsec(limit), NotifyState::Status(status)]);
        }
    }

    /// Waits, and tells the manager meanwhile.
    ///
    /// # Cancel safety
    ///
    /// That of `waiting`.
    pub(crate) async fn during<T>(&mut self, status: &str, waiting: impl Future<Output = T>) -> T {
        let mut waiting = pin!(waiting);
        loop {
            self.ask(status);
            if let Ok(done) = timeout(EXTENDED_EVERY, &mut waiting).await {
                return done;
            }
        }
    }
}

/// The time that a start may still take after each word of it: that which systemd gives a start.
const EXTENSION: Duration = Duration::from_secs(90);

/// The time between two words, so that one may be late.
const EXTENDED_EVERY: Duration = Duration::from_secs(30);

/// Says again and again that the loop goes round which polls it.
#[derive(Debug)]
pub(crate) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Reads the watchdog interval of the service manager; this process reports twice as often.
    pub(crate) fn new() -> Self {
        Self(sd_notify::watchdog_enabled().filter(|it| !it.is_zero()).map(|limit| {
            let mut ticks = interval(limit / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Returns the variables of this watchdog that a program is not to have. If its messages are
    /// relayed, it may keep the watchdog itself; else this process does it alone.
    pub(crate) fn withheld(&self, is_relayed: bool) -> &'static [&'static str] {
        match (&self.0, is_relayed) {
            (None, _) => &[],
            (Some(_), true) => &["WATCHDOG_PID"],
            (Some(_), false) => &["WATCHDOG_PID", "WATCHDOG_USEC"],
        }
    }

    /// Reports for as long as it is polled, and passes on what a program reports.
    pub(crate) async fn keep(mut self, relay: Option<Relay>) -> Infallible {
        match relay {
            Some(relay) => relay.pass_on(self).await,
            None => loop {
                self.ping().await;
            },
        }
    }

    /// Waits until the next notification is due, and sends it; for ever, if nobody wants it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn ping(&mut self) {
        match &mut self.0 {
            Some(ticks) => {
                ticks.tick().await;
                match send(&[NotifyState::Watchdog], None) {
                    // The manager is behind, and has much in its queue that it has yet to read.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => tracing::warn!(%error, "the service manager cannot be told"),
                    Ok(()) => {}
                }
            }
            None => std::future::pending().await,
        }
    }
}

/// Sends a message to the service manager as `sd_notify::notify` does, but does not wait while the
/// manager does not read: its queue is short, and it reads nothing while it reloads its units.
fn send(states: &[NotifyState<'_>], patience: Option<Duration>) -> io::Result<()> {
    let message: String = states.iter().map(|it| format!("{it}\n")).collect();
    send_text(&message, patience)
}

/// Tells whether a service manager wants to be told.
fn is_managed() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// Sends a text as [`send`] does.
fn send_text(message: &str, patience: Option<Duration>) -> io::Result<()> {
    let Some(place) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    match patience {
        Some(patience) => socket.set_write_timeout(Some(patience))?,
        None => socket.set_nonblocking(true)?,
    }
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

/// How long a manager that is behind may delay this process after a change of its state: less than
/// any heartbeat interval.
const BEHIND_MAX: Duration = Duration::from_secs(1);
