//! From a name to the handle of an actor, over the nearest transport.

use std::sync::Arc;

use discovery::{ConnectError, Located, LookupError, NoneAnswered};
use thiserror::Error;

use super::pool::PoolError;
use crate::{Actor, Portal, cache::OpenError};

impl Actor {
    /// Connects to the nearest ready instance of a name, and checks that it is the right one;
    /// `None` if there is none. It may be of this tree or of another.
    ///
    /// The registrars are asked each time. All actors of this process that have found the same
    /// instance share the connection; it is closed when its last handle is dropped, and at the
    /// latest when the root of this process, or the actor that the process is, ends. If a
    /// connection has ended by itself, the next caller makes a new one.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Actor, LookupActorError};
    ///
    /// /// Says how an actor is reached that may be of another program.
    /// async fn look(actor: &Actor, name: &str) -> Result<(), LookupActorError> {
    ///     match actor.find_actor(name).await? {
    ///         Some(portal) => println!("{name} answers at {:?}", portal.endpoints()),
    ///         None => println!("there is no {name}"),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupActorError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. Other callers for the same actor are not affected.
    pub async fn find_actor(&self, name: &str) -> Result<Option<Portal>, LookupActorError> {
        let client = self.core.context.client().await?;
        match client.locate_actor(name).await? {
            located if located.is_empty() => Ok(None),
            located => self.connect(located).await.map(Some),
        }
    }

    /// Waits until an instance of a name is ready, and connects to it as
    /// [`find_actor`](Self::find_actor) does. It may be bounded with `tokio::time::timeout`.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use std::time::Duration;
    /// use callsign::{Actor, AnyError, Portal};
    ///
    /// /// Waits for a feed, but for no longer than a minute.
    /// async fn feed(actor: &Actor) -> Result<Portal, AnyError> {
    ///     let feed = actor.wait_for_actor("feed");
    ///     Ok(tokio::time::timeout(Duration::from_secs(60), feed).await??)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupActorError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_for_actor(&self, name: &str) -> Result<Portal, LookupActorError> {
        let client = self.core.context.client().await?;
        loop {
            client.wait_for_actor(name).await?;
            let located = client.locate_actor(name).await?;
            // It may have gone since.
            if !located.is_empty() {
                return self.connect(located).await;
            }
        }
    }

    async fn connect(&self, located: Vec<Located>) -> Result<Portal, LookupActorError> {
        let connection = self.core.context.pool.open(located).await?;
        Ok(Portal::of_found(self.path().clone(), Arc::new(connection)))
    }
}

/// Why an actor could not be found, or not be talked with.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Actor, LookupActorError};
///
/// async fn is_there(actor: &Actor, name: &str) -> Result<bool, LookupActorError> {
///     match actor.find_actor(name).await {
///         // It is there, and speaks otherwise.
///         Err(LookupActorError::NotOfTree(_)) => Ok(true),
///         found => Ok(found?.is_some()),
///     }
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LookupActorError {
    /// The named registrars are invalid, or cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Whether there is such an actor is unknown.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// There is such an actor, but it does not answer; the reason for each instance.
    #[error("{}", lines(.0))]
    NoneAnswered(Vec<Arc<NoneAnswered>>),
    /// It speaks another protocol.
    #[error("`{0}` does not speak callsign's protocol, so that nothing can be called there")]
    NotOfTree(String),
    /// The tree of this process has ended, or is about to.
    #[error("the actors of this process have ended")]
    Over,
}

impl From<Vec<OpenError<PoolError>>> for LookupActorError {
    fn from(errors: Vec<OpenError<PoolError>>) -> Self {
        let (mut unanswered, mut foreign) = (Vec::new(), None);
        for error in errors {
            let OpenError::Make(error) = error else { return Self::Over };
            match &*error {
                PoolError::NoneAnswered(none) => unanswered.push(none.clone()),
                PoolError::NotOfTree(name) => foreign = Some(name.to_string()),
            }
        }
        match foreign {
            Some(name) if unanswered.is_empty() => Self::NotOfTree(name),
            _ => Self::NoneAnswered(unanswered),
        }
    }
}

fn lines(errors: &[Arc<NoneAnswered>]) -> String {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
