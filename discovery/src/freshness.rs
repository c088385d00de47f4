//! How far a followed view can be relied on.

use std::fmt;

use crate::RegistrarFailures;

/// How far a [view](crate::FollowedView) can be relied on: whether it is as of the last event of
/// all registrars, and what keeps it from that.
///
/// If several apply, it is the last of them in this order: current, young, partial, syncing,
/// unreachable, closed.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::{Freshness, RegistrarFailures};
///
/// /// Tells whether somebody should look after the registrars.
/// fn is_alarming(freshness: &Freshness) -> bool {
///     matches!(freshness, Freshness::Unreachable(_) | Freshness::Partial(_))
/// }
/// assert!(!is_alarming(&Freshness::Young));
/// assert!(is_alarming(&Freshness::Unreachable(RegistrarFailures::default())));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Freshness {
    /// Every registrar that counts is within reach and has told all that it knows; the view is as
    /// of the last event received. A registrar that hangs or is cut off counts as within reach
    /// until it has missed its [heartbeats](crate::ClientOptions::heartbeat).
    Current,
    /// As current, but a registrar has just started: instances that are missing may return to it,
    /// and some that are there may not.
    Young,
    /// Some registrars are out of reach, and others are not: what only those know is missing, or is
    /// as it was when they were lost.
    Partial(RegistrarFailures),
    /// A registrar is telling what it knows: for the first time, after it has started again, or
    /// because the client could not keep up with its events. What was known before stays until it
    /// has told all.
    Syncing,
    /// No registrar is within reach: the view is as it was when they were lost.
    Unreachable(RegistrarFailures),
    /// The client is closed, and nothing will change any more.
    Closed,
}

impl Freshness {
    /// Tells whether the view is as good an answer as the registrars would give.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::Freshness;
    ///
    /// assert!(Freshness::Current.is_current());
    /// assert!(!Freshness::Syncing.is_current());
    /// ```
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Current)
    }
}

/// One word: `current`, `young`, `partial`, `syncing`, `unreachable` or `closed`.
impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Current => "current",
            Self::Young => "young",
            Self::Partial(_) => "partial",
            Self::Syncing => "syncing",
            Self::Unreachable(_) => "unreachable",
            Self::Closed => "closed",
        })
    }
}
