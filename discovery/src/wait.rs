//! Waiting for a name.

use wire::Record;

use crate::{Client, LookupError};

impl Client {
    /// Waits until an instance of a name is ready, and returns the newest. One that is merely
    /// declared does not count.
    ///
    /// It waits on all registrars at once, without polling, and goes on waiting when one is
    /// lost and comes back.
    ///
    /// # Errors
    ///
    /// [`LookupError`] when `name` is none, when every registrar refuses, or when the client is
    /// closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what is dropped leaves nothing behind at any registrar.
    pub async fn wait_for_actor(&self, name: &str) -> Result<Record, LookupError> {
        _ = name;
        todo!()
    }
}
