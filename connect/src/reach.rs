//! From an instance to a connection, or why there is none.

use discovery::{Client, Connection, FindError, LookupError, ResolveError};
use endpoints::{InstanceId, Name};
use thiserror::Error;

/// Connects to one instance.
pub(crate) async fn reach_instance(
    client: &Client,
    instance: &InstanceId,
) -> Result<Connection, ReachActorError> {
    let located = client.locate_actor(instance.name.as_str()).await?;
    match located.into_iter().find(|it| it.record().uuid == instance.uuid) {
        Some(located) => Ok(located.connect().await.map_err(FindError::NoneAnswered)?),
        None => Err(ReachActorError::Gone(instance.clone())),
    }
}

/// Why an actor could not be connected to.
///
/// ```
/// # use callsign_connect as callsign;
/// use callsign::ReachActorError;
///
/// /// Tells whether it may be there in a moment.
/// fn may_come(error: &ReachActorError) -> bool {
///     matches!(error, ReachActorError::NotRegistered { .. } | ReachActorError::NotReady { .. })
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReachActorError {
    /// The URI names no actor.
    #[cfg(feature = "hyper")]
    #[error(transparent)]
    Uri(#[from] crate::UriError),
    /// Nobody has the name.
    #[error("no actor `{name}` is registered at {registrars}")]
    NotRegistered {
        /// The name.
        name: Name,
        /// The registrars that say so.
        registrars: String,
    },
    /// It has instances, and none is ready.
    #[error("no instance of `{name}` is ready: it has {states}")]
    NotReady {
        /// The name.
        name: Name,
        /// How many there are of each state.
        states: String,
    },
    /// The very instance that was meant is not there any more, or not ready.
    #[error("{0} is gone")]
    Gone(InstanceId),
    /// It could not be looked for, or does not answer.
    #[error(transparent)]
    Find(#[from] FindError),
}

impl From<LookupError> for ReachActorError {
    fn from(error: LookupError) -> Self {
        Self::Find(FindError::Resolve(ResolveError::Lookup(error)))
    }
}
