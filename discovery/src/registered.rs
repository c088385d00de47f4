//! What keeps an actor registered.

use std::collections::BTreeMap;

use endpoints::{InstanceId, Stamped};
use thiserror::Error;
use wire::State;

use crate::{Client, Fault, Faults, Registration, RegistrationError};

impl Client {
    /// Registers an actor with all registrars, and keeps it registered: also with those that are
    /// away now, and with those that start again. One that accepts it is enough.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] when none accepts it; it is not kept then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes back the registration.
    pub async fn register(&self, registration: Registration) -> Result<Registered, RegisterError> {
        registration.parts();
        todo!()
    }
}

/// Keeps an actor registered, for as long as it lives. Dropping it takes the actor out of the
/// registry, without waiting for that.
#[derive(Debug)]
#[must_use = "the actor is taken out of the registry when this is dropped"]
pub struct Registered {
    client: Client,
    instance: InstanceId,
}

impl Registered {
    /// Returns which instance is registered.
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Returns where the actor is registered to listen, as it was stamped.
    pub fn endpoints(&self) -> Vec<Stamped> {
        todo!()
    }

    /// Returns the registrars that do not have the registration now, each with its reason.
    pub fn missing(&self) -> Vec<Fault> {
        _ = &self.client;
        todo!()
    }

    /// Says how far the actor is in its life.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] when no registrar has taken note of it yet; those that are away catch
    /// up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting, not the change.
    pub async fn set_state(&self, state: State) -> Result<(), RegisterError> {
        _ = state;
        todo!()
    }

    /// Replaces all that is said of the actor beside its endpoints and its state.
    ///
    /// # Errors
    ///
    /// As [`set_state`](Self::set_state).
    ///
    /// # Cancel safety
    ///
    /// As [`set_state`](Self::set_state).
    pub async fn update_metadata(
        &self,
        metadata: BTreeMap<String, String>,
    ) -> Result<(), RegisterError> {
        _ = metadata;
        todo!()
    }

    /// Takes the actor out of the registry, and waits until all registrars within reach have
    /// done so.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting; the actor is taken out all the same.
    pub async fn unregister(self) {
        todo!()
    }

    /// Stops keeping the actor registered, and leaves it in the registry: until its lease runs
    /// out, or else until the client's session ends.
    pub fn leave(self) -> InstanceId {
        todo!()
    }
}

/// Why an actor is not registered, or a change to it not made.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The registration cannot be made as it is.
    #[error(transparent)]
    Invalid(#[from] RegistrationError),
    /// A registrar refused it, and none accepted it.
    #[error("no registrar accepts it:\n{0}")]
    Refused(Faults),
    /// No registrar can be reached.
    #[error("no registrar can be reached:\n{0}")]
    Unreachable(Faults),
}
