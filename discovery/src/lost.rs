//! The losses of a registration by another's doing.

use std::fmt;

use endpoints::{Endpoint, Plain};
use serde::{Deserialize, Serialize};
use wire::callbacks::LostCause;

/// The loss of an actor's entry in a registry, or of one of its endpoints, by another's doing.
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
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Lost {
    /// The registrar that reports it; `None` if its own client has noticed it.
    pub registrar: Option<Endpoint>,
    /// The cause.
    pub cause: LostCause,
    /// The endpoint that was found dead.
    pub endpoint: Option<Endpoint>,
    /// The one who did it, or who is at the endpoint now, as the registrar reports.
    pub by: Option<String>,
}

impl Lost {
    /// Takes what a registrar has said. It is for the trees of actors, whose root is told.
    #[doc(hidden)]
    pub fn told_by(registrar: Endpoint, said: wire::callbacks::Lost) -> Self {
        let wire::callbacks::Lost { cause, endpoint, by, .. } = said;
        Self { registrar: Some(registrar), cause, endpoint, by }
    }

    /// Tells that this host has lost the address of an endpoint.
    pub(crate) fn of_address(endpoint: Endpoint) -> Self {
        let cause = LostCause::AddressGone;
        Self { registrar: None, cause, endpoint: Some(endpoint), by: None }
    }

    /// Tells whether the actor is no longer registered with any registrar: somebody intended its
    /// removal. Otherwise it is registered again as soon as its endpoints or their stamps change.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) {
    /// let lost = kept.lost().await;
    /// if lost.is_final() {
    ///     println!("it stays out: {lost}");
    /// }
    /// # }
    /// ```
    pub fn is_final(&self) -> bool {
        self.cause.is_final()
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A peer's text is untrusted.
        let by = self.by.as_deref().map(Plain);
        let somebody = Plain("somebody else");
        match (self.cause, by, &self.endpoint) {
            (LostCause::Unregistered, by, _) => {
                write!(f, "{} has taken it out of the registry", by.unwrap_or(somebody))
            }
            (LostCause::Replaced, by, _) => {
                write!(f, "{} has registered it from elsewhere", by.unwrap_or(somebody))
            }
            (LostCause::NameLost, ..) => {
                f.write_str("its node of the cluster has lost the right to its exclusive name")
            }
            (LostCause::AddressGone, _, Some(endpoint)) => {
                write!(f, "this host no longer has the address of {endpoint}")
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
