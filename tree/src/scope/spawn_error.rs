//! The errors of spawning a child, and of its function.

use std::time::Duration;

use endpoints::{NameError, ParseEndpointError};
use thiserror::Error;
use wire::RemoteError;

use crate::{ActorPath, CallError, CancelReason, Exit, outcome::exit, status::Phase};

/// Why there is no child.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Nursery, SpawnError};
///
/// async fn is_a_name(nursery: &Nursery, name: &str) -> bool {
///     !matches!(nursery.spawn(name).await, Err(SpawnError::Name { .. }))
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// Its name is invalid.
    #[error("a child of {parent} cannot have that name")]
    Name {
        /// Its parent.
        parent: ActorPath,
        /// The cause.
        #[source]
        source: NameError,
    },
    /// An endpoint at which it is to listen is invalid.
    #[error("{actor} cannot listen at its endpoints")]
    Endpoint {
        /// The actor.
        actor: ActorPath,
        /// The cause.
        #[source]
        source: ParseEndpointError,
    },
    /// Its scope takes no more children.
    #[error("its scope takes no more children: {0}")]
    Closed(CancelReason),
    /// It was cancelled while it came up.
    #[error("{actor} was not ready yet when it was {reason}")]
    Cancelled {
        /// The actor.
        actor: ActorPath,
        /// The reason, with its author.
        reason: CancelReason,
    },
    /// It could not be started.
    #[error("{actor} cannot be started")]
    Launch {
        /// The actor.
        actor: ActorPath,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("{actor} ended before it was ready: {exit}")]
    Ended {
        /// The actor.
        actor: ActorPath,
        /// Its last phase.
        phase: Phase,
        /// Its exit.
        exit: Exit,
    },
    /// It was not ready in time, and was killed.
    #[error("{actor} {phase} after {limit:?}, and was ended{}", exit::last_words(.last_words))]
    TimedOut {
        /// The actor.
        actor: ActorPath,
        /// Its last phase.
        phase: Phase,
        /// The time that it had.
        limit: Duration,
        /// The end of its standard error.
        last_words: String,
    },
    /// It cannot begin, usually because it cannot listen at an endpoint.
    #[error("{actor} cannot begin")]
    Begin {
        /// The actor.
        actor: ActorPath,
        /// The cause.
        #[source]
        source: RemoteError,
    },
    /// No registrar accepted it.
    #[error("{actor} cannot be registered")]
    Register {
        /// The actor.
        actor: ActorPath,
        /// The cause.
        #[source]
        source: RemoteError,
    },
}

/// Why a function that a child was spawned for has no result.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Never, RunError};
///
/// fn said(error: &RunError<Never>) -> String {
///     match error {
///         RunError::Spawn(error) => format!("there was no child: {error}"),
///         RunError::Ended { actor, exit, .. } => format!("{actor} ended: {exit}"),
///         error => error.to_string(),
///     }
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// There was no child.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The function failed, or its result cannot be read.
    #[error(transparent)]
    Call(CallError<E>),
    /// The child ended in another way.
    #[error("{actor}: {exit}")]
    Ended {
        /// The actor.
        actor: ActorPath,
        /// Its exit.
        exit: Exit,
    },
}

impl<E> From<CallError<E>> for RunError<E> {
    fn from(error: CallError<E>) -> Self {
        Self::Call(error)
    }
}

#[cfg(test)]
mod tests {
    use endpoints::{Endpoint, Name};
    use portal::WithCauses;

    use super::*;

    #[test]
    fn says_which_actor_and_why() {
        let actor = || ActorPath::try_from("/base/feed".to_owned()).unwrap();
        let check = |error: SpawnError, expected: &str| {
            assert_eq!(WithCauses(&error).to_string(), expected);
        };
        check(
            SpawnError::Name { parent: actor(), source: Name::new("a b").unwrap_err() },
            "a child of /base/feed cannot have that name: a name cannot have a space in it, as \
             `a b` has at character 2",
        );
        check(
            SpawnError::Endpoint {
                actor: actor(),
                source: "/udp/9".parse::<Endpoint>().unwrap_err(),
            },
            "/base/feed cannot listen at its endpoints: unsupported protocol `udp` in `/udp/9`",
        );
        let reason = CancelReason::new(actor().parent().unwrap(), "a sibling of it failed");
        check(
            SpawnError::Cancelled { actor: actor(), reason },
            "/base/feed was not ready yet when it was cancelled by /base: a sibling of it failed",
        );
        let timed_out = |last_words: &str| SpawnError::TimedOut {
            actor: actor(),
            phase: Phase::Booting,
            limit: Duration::from_secs(10),
            last_words: last_words.to_owned(),
        };
        let late = "/base/feed has yet to say where it listens after 10s, and was ended";
        check(timed_out(""), late);
        check(timed_out("locked\n"), &format!("{late}; its last words: locked"));
        let exit = Exit::Exited { code: 3, last_words: String::new() };
        check(
            SpawnError::Ended { actor: actor(), phase: Phase::Booting, exit },
            "/base/feed ended before it was ready: exited with code 3",
        );
        let killed = Exit::Signalled { signal: 9, last_words: String::new() };
        let ended = RunError::<crate::Never>::Ended { actor: actor(), exit: killed };
        assert_eq!(ended.to_string(), "/base/feed: killed by SIGKILL");
    }
}
