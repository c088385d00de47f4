//! Waiting for a name.

use std::sync::Arc;

use endpoints::Name;
use portal::CallError;
use wire::{
    ErrorKind, Kept, Record, WireError, encode_body,
    registrar::{self, Answer, Wait},
};

use crate::{Client, Fault, Faults, LinkError, LookupError, together::Together};

impl Client {
    /// Waits until an instance of a name is ready, and returns the newest. One that is merely
    /// declared does not count.
    ///
    /// It waits on all registrars at once, without polling, and goes on waiting when one is
    /// lost and comes back.
    ///
    /// # Errors
    ///
    /// [`LookupError`] when `name` is none, when every registrar refuses, when more than 512 names
    /// are waited for at once, or when the client is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what is dropped leaves nothing behind at any registrar.
    pub async fn wait_for_actor(&self, name: &str) -> Result<Record, LookupError> {
        let body = encode_body(&Wait { name: Name::new(name)? });
        let mut waits = Together::default();
        for index in 0..self.hub().links.len() {
            waits.push(index, self.wait_on(index, &body));
        }
        let record = waits.first_success().await;
        record.map_err(|faults| Faults(faults).into())
    }

    /// Waits on one registrar, over as many connections as it takes.
    async fn wait_on(&self, index: usize, body: &[u8]) -> Result<Record, Fault> {
        let link = &self.hub().links[index];
        let room = link.waits.try_acquire();
        let _room = room.map_err(|_| link.fault(Arc::new(LinkError::TooManyWaits)))?;
        let mut after = 0;
        loop {
            let line = link.up(after).await?;
            after = line.number;
            let answer = match line.portal.call_encoded(registrar::WAIT, body).await {
                Ok(body) => wire::decode_body::<Answer>(&body).map_err(LinkError::Unreadable),
                // Whoever answers on the next connection knows more.
                Err(CallError::Closed(_)) => continue,
                Err(CallError::Remote(error)) if error.kind == ErrorKind::ShuttingDown => continue,
                Err(error) => Err(LinkError::from(error)),
            };
            let is_live = |it: &Record| it.kept != Kept::Declared;
            return match answer.map(|it| it.records.into_iter().find(is_live)) {
                Ok(Some(record)) => Ok(record),
                Ok(None) => {
                    let why = "an answer to a wait without an instance".to_owned();
                    let error = LinkError::Unreadable(WireError::Malformed(why));
                    Err(link.fault(Arc::new(error)))
                }
                Err(error) => Err(link.fault(Arc::new(error))),
            };
        }
    }
}
