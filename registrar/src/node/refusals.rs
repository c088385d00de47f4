//! Peers that come without TLS where it is spoken, with it where it is not, or with a certificate that
//! is not accepted: the log tells of them unasked, and nobody fills it.

use std::sync::{Arc, Mutex, PoisonError};

use portal::{HandshakeError, WithCauses};
use tokio::time::{Duration, Instant};
use tracing::{info, warn};
use transport::{Peer, TlsError};
use wire::preface::PrefaceError;

/// The refusals of a node. Clones are handles of the same ones.
#[derive(Clone, Debug)]
pub(super) struct Refusals(Arc<Mutex<Lines>>);

/// The lines that may still be written.
#[derive(Debug)]
struct Lines {
    left: u32,
    /// From when on the next one is earned.
    since: Instant,
    /// How many were not written since the last.
    untold: u64,
}

impl Default for Refusals {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Lines { left: AT_ONCE, since: Instant::now(), untold: 0 })))
    }
}

impl Refusals {
    /// Tells of a peer that was turned away: as a warning if TLS is what is wrong, and there is a line
    /// left, and else as information.
    pub(super) fn tell(&self, peer: &Peer, error: &HandshakeError) {
        self.tell_if(is_of_tls(error), peer, error);
    }

    /// Does so for a peer that did not complete the handshake of TLS in time.
    pub(super) fn tell_of_silence(&self, peer: &Peer, error: &HandshakeError) {
        self.tell_if(true, peer, error);
    }

    fn tell_if(&self, is_unasked: bool, peer: &Peer, error: &HandshakeError) {
        let lines = || self.0.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        let error_text = WithCauses(error);
        match is_unasked.then(lines).flatten() {
            Some(0) => warn!(%peer, error = %error_text, "turned away"),
            Some(untold) => {
                warn!(%peer, error = %error_text, untold, "turned away, as others were")
            }
            None => info!(error = %error_text, "turned away"),
        }
    }
}

impl Lines {
    /// Takes a line if there is one, with the number of those that have gone without.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.duration_since(self.since).as_secs() / INTERVAL.as_secs();
        if earned > 0 {
            self.left = AT_ONCE.min(self.left.saturating_add(earned.try_into().unwrap_or(AT_ONCE)));
            self.since = now;
        }
        if self.left == 0 {
            self.untold += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.untold))
    }
}

/// Tells whether TLS is what is wrong. Whoever only connects, as a monitor does, has done nothing.
fn is_of_tls(error: &HandshakeError) -> bool {
    match error {
        HandshakeError::Preface(PrefaceError::Tls) => true,
        HandshakeError::Broken(error) => {
            TlsError::of(error).is_some_and(|it| !matches!(it, TlsError::Ended | TlsError::Cut))
        }
        _ => false,
    }
}

/// How many lines are written at once: enough for what somebody tries by hand.
const AT_ONCE: u32 = 8;

/// The time after which there is another line: what goes on for long is told of all the time, and
/// costs 9,000 lines a day.
const INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_from_time_to_time() {
        let start = Instant::now();
        let mut lines = Lines { left: AT_ONCE, since: start, untold: 0 };
        let mut told = |after: u64| lines.take(start + Duration::from_secs(after));
        assert!((0..AT_ONCE).all(|_| told(1) == Some(0)));
        assert!((0..100).all(|_| told(2).is_none()));
        assert_eq!(told(11), Some(100));
        assert_eq!(told(12), None);
        assert_eq!(told(45), Some(1));
        assert_eq!((told(45), told(45), told(45)), (Some(0), Some(0), None));
        // However long nobody came, there are no more than at the start.
        assert!((0..AT_ONCE).all(|_| told(100_000).is_some()));
        assert_eq!(told(100_000), None);
    }

    #[test]
    fn only_what_is_wrong_with_tls_is_told_of_unasked() {
        let broken = |error: TlsError| HandshakeError::Broken(std::io::Error::other(error));
        for error in [
            HandshakeError::Preface(PrefaceError::Tls),
            broken(TlsError::NotTls),
            broken(TlsError::OtherAuthority),
            broken(TlsError::Expired),
        ] {
            assert!(is_of_tls(&error), "{error:?}");
        }
        for error in [
            HandshakeError::Closed,
            HandshakeError::Preface(PrefaceError::OtherProtocol),
            HandshakeError::TimedOut(INTERVAL),
            broken(TlsError::Ended),
        ] {
            assert!(!is_of_tls(&error), "{error:?}");
        }
    }
}
