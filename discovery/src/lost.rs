//! What a registration has lost, and not by its own doing.

use std::fmt;

use endpoints::{Endpoint, Plain};
use serde::{Deserialize, Serialize};
use wire::callbacks::LostCause;

/// How an actor has lost its entry in a registry, or an endpoint of it, and not by its own doing.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::Registered;
///
/// async fn end_when_taken_out(feed: &Registered) {
///     let mut losses = feed.losses();
///     loop {
///         let lost = losses.next().await;
///         eprintln!("feed: {lost}");
///         if lost.is_final() {
///             return;
///         }
///     }
/// }
/// # let _ = end_when_taken_out;
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Lost {
    /// Which registrar says so.
    pub registrar: Endpoint,
    /// What has happened.
    pub cause: LostCause,
    /// Which endpoint was found dead.
    pub endpoint: Option<Endpoint>,
    /// Whose doing it is, or who is in its place, as the registrar says it.
    pub by: Option<String>,
}

impl Lost {
    /// Takes what a registrar has said.
    pub fn told_by(registrar: Endpoint, said: wire::callbacks::Lost) -> Self {
        let wire::callbacks::Lost { cause, endpoint, by, .. } = said;
        Self { registrar, cause, endpoint, by }
    }

    /// Tells whether the actor is not registered any more, with any registrar: somebody has meant
    /// it to be so. Otherwise it is registered again as soon as it has other endpoints, or the
    /// same anew.
    pub fn is_final(&self) -> bool {
        self.cause.is_final()
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a peer says is a stranger's text.
        let by = self.by.as_deref().map(Plain);
        let somebody = Plain("somebody else");
        match (self.cause, by, &self.endpoint) {
            (LostCause::Unregistered, by, _) => {
                write!(f, "{} has taken it out of the registry", by.unwrap_or(somebody))
            }
            (LostCause::Replaced, by, _) => {
                write!(f, "{} has registered it from elsewhere", by.unwrap_or(somebody))
            }
            (_, Some(by), Some(endpoint)) => {
                write!(f, "the registrar has taken {endpoint} out: it is the place of {by}")
            }
            (_, None, Some(endpoint)) => {
                write!(f, "the registrar has taken {endpoint} out: it is not there")
            }
            _ => write!(f, "the registrar has taken it out"),
        }
    }
}
