//! Cancellation: a request that an actor end, with its author and reason.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::ActorPath;

/// The reason for a cancellation, and whose it is.
///
/// ```
/// # use callsign_tree as callsign;
/// # use endpoints::Name;
/// use callsign::{ActorPath, CancelReason};
///
/// let desk = ActorPath::root(&Name::new("desk")?);
/// let reason = CancelReason::new(desk, "the market is closed");
/// assert_eq!(reason.to_string(), "cancelled by /desk: the market is closed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct CancelReason {
    /// The actor that asked first, however many passed it on.
    pub by: ActorPath,
    /// Why, for people.
    pub why: String,
    /// Whether it came over a peer's connection, and not down the tree. Then only the peer's own
    /// word names it, and it may be of another tree, where another actor has the same path.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_from_peer: bool,
}

impl CancelReason {
    /// Makes a reason.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{ActorPath, CancelReason};
    ///
    /// let market = ActorPath::root(&"market".parse()?);
    /// assert!(!CancelReason::new(market, "it is Friday").is_from_peer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(by: ActorPath, why: impl Into<String>) -> Self {
        Self { by, why: why.into(), is_from_peer: false }
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, why, is_from_peer } = self;
        let peer = if *is_from_peer { "a peer, " } else { "" };
        write!(f, "cancelled by {peer}{by}: {why}")
    }
}

/// A request to end, which many may await and anybody may make; the first reason stays.
///
/// Why not just `CancellationToken`? It carries no reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel {
    token: CancellationToken,
    reason: Arc<OnceLock<CancelReason>>,
}

impl Cancel {
    /// Asks for an end.
    pub(crate) fn ask(&self, reason: CancelReason) {
        drop(self.reason.set(reason));
        // A task that sees the token finds the reason.
        self.token.cancel();
    }

    /// Returns the reason, if an end was requested.
    pub(crate) fn reason(&self) -> Option<&CancelReason> {
        self.reason.get()
    }

    /// Waits for the request to end, and returns its reason.
    pub(crate) async fn asked(&self) -> CancelReason {
        self.token.cancelled().await;
        self.reason.get().expect("the reason is set before the token").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays() {
        let path = || ActorPath::try_from("/base".to_owned()).unwrap();
        let cancel = Cancel::default();
        assert_eq!(cancel.reason(), None);
        cancel.ask(CancelReason::new(path(), "first"));
        cancel.clone().ask(CancelReason::new(path(), "second"));
        assert_eq!(cancel.asked().await.to_string(), "cancelled by /base: first");
    }
}
