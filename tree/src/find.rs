//! From a name to the handle of an actor, over the nearest transport.

use std::sync::Arc;

use discovery::{Assurance, ConnectError, Connection, FindError, LookupError};
use portal::{Greeted, NoService, Options};
use thiserror::Error;
use tokio::task::JoinSet;

use crate::{Actor, ActorPath, Portal, handle::Reached, spec::PATH_KEY};

impl Actor {
    /// Connects to the nearest ready instance of a name, and makes sure that it is the one that
    /// was meant; `None` when there is none. It may be of this tree or of another.
    ///
    /// # Errors
    ///
    /// [`LookupActorError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn find_actor(&self, name: &str) -> Result<Option<Portal>, LookupActorError> {
        let client = self.core.home.client().await?;
        match client.find_actor(name).await? {
            Some(connection) => self.converse(connection).map(Some),
            None => Ok(None),
        }
    }

    /// Waits until an instance of a name is ready, and connects to it as
    /// [`find_actor`](Self::find_actor) does. It may be bounded with `tokio::time::timeout`.
    ///
    /// # Errors
    ///
    /// [`LookupActorError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_for_actor(&self, name: &str) -> Result<Portal, LookupActorError> {
        let client = self.core.home.client().await?;
        loop {
            client.wait_for_actor(name).await?;
            // It may have gone since.
            if let Some(connection) = client.find_actor(name).await? {
                return self.converse(connection);
            }
        }
    }

    fn converse(&self, connection: Connection) -> Result<Portal, LookupActorError> {
        let Connection { stream, peer, record, endpoint, locality, assurance, .. } = connection;
        let Some(peer) = peer.filter(|_| assurance != Assurance::Unproved) else {
            return Err(LookupActorError::NotOfTree(record.name.to_string()));
        };
        let options = Options::default();
        let connected = Greeted::dialed(stream, peer).converse(&options, NoService);
        let mut driver = JoinSet::new();
        driver.spawn(connected.driver);
        let said = record.metadata.get(PATH_KEY).cloned();
        let actor = said
            .and_then(|it| ActorPath::try_from(it).ok())
            .unwrap_or_else(|| ActorPath::root(&record.name));
        let reached = Reached { endpoint, locality, assurance };
        Ok(Portal::of_found(
            actor,
            self.path().clone(),
            connected.portal,
            reached,
            Arc::new(driver),
        ))
    }
}

/// Why an actor could not be found, or not be talked with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LookupActorError {
    /// The registrars are not named rightly.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Whether there is such an actor is not known.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It is there, and does not answer; or whether it is there is not known.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It speaks a protocol of its own.
    #[error("`{0}` does not speak callsign's protocol, so that nothing can be called there")]
    NotOfTree(String),
}
