//! Waiting for a name.

use std::{sync::Arc, time::Duration};

use endpoints::{Name, rank};
use portal::{CallError, Request};
use tokio::time::timeout;
use uuid::Uuid;
use wire::{
    ErrorKind, Record, WireError, encode_body,
    registrar::{self, Answer, Wait},
};

use super::merge::newest_first;
use crate::{Change, Client, LinkError, LookupError, RegistrarFailure, RegistrarFailures};

impl Client {
    /// Waits until an instance of a name is ready, and returns the newest. A declared one does not
    /// count.
    ///
    /// It waits on all registrars together, without polling, and continues when one is lost and
    /// returns.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let feed = tokio::time::timeout(Duration::from_secs(10), client.wait_for_actor("feed"));
    /// println!("{} is ready", feed.await??.name);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`] if `name` is invalid, every registrar refuses, more than 512 names are
    /// awaited concurrently, or the client is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future leaves nothing behind at any registrar.
    pub async fn wait_for_actor(&self, name: &str) -> Result<Record, LookupError> {
        let body = encode_body(&Wait { name: Name::new(name)? });
        let record = self.hub().first_success(|index| self.wait_on(index, &body)).await;
        record.map_err(|failures| RegistrarFailures(failures).into())
    }

    /// Waits until an instance of a name is ready, and one of its endpoints can be reached from
    /// here, as far as that is visible without a connection; returns the newest such. A declared
    /// one does not count.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let feed = client.wait_within_reach("feed").await?;
    /// println!("{} can be dialed from here", feed.instance());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait_for_actor`](Self::wait_for_actor).
    ///
    /// # Cancel safety
    ///
    /// As [`wait_for_actor`](Self::wait_for_actor).
    pub async fn wait_within_reach(&self, name: &str) -> Result<Record, LookupError> {
        self.wait_for_one(name, is_within_reach).await
    }

    /// Waits until a ready instance of a name meets the requirements, and returns the newest such.
    /// A declared one does not count.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, wire::*}; }
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let is_european = |it: &callsign::Record| it.metadata.get("region").is_some_and(|it| it == "eu");
    /// let worker = client.wait_for_one("worker", is_european).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait_for_actor`](Self::wait_for_actor).
    ///
    /// # Cancel safety
    ///
    /// As [`wait_for_actor`](Self::wait_for_actor).
    pub async fn wait_for_one(
        &self,
        name: &str,
        is_wanted: impl Fn(&Record) -> bool,
    ) -> Result<Record, LookupError> {
        let first = self.wait_for_actor(name).await?;
        if is_wanted(&first) {
            return Ok(first);
        }
        let mut watch = self.watch(name)?;
        // The newest first.
        let mut ready = vec![first];
        loop {
            // No event reports whether a path leads to its socket.
            if let Ok(change) = timeout(LOOK_AGAIN, watch.next()).await {
                match change {
                    Some(Change::Add { record } | Change::Update { record }) => {
                        forget(&mut ready, record.uuid);
                        if record.is_there() {
                            ready.push(record);
                            ready.sort_by_key(newest_first);
                        }
                    }
                    Some(Change::Remove { instance, .. }) => forget(&mut ready, instance.uuid),
                    Some(Change::Reset) => ready.clear(),
                    Some(Change::Synced | Change::Stale { .. } | Change::Partial { .. }) => {}
                    None => return Err(self.closed().into()),
                }
            }
            if let Some(record) = ready.iter().find(|it| is_wanted(it)) {
                return Ok(record.clone());
            }
        }
    }

    /// Says of each registrar that this side has closed its client.
    pub(super) fn closed(&self) -> RegistrarFailures {
        let links = self.hub().links.iter();
        RegistrarFailures(links.map(|it| it.failure(Arc::new(LinkError::ClientClosed))).collect())
    }

    /// Waits on one registrar, over as many connections as it takes.
    async fn wait_on(&self, index: usize, body: &[u8]) -> Result<Record, RegistrarFailure> {
        let link = &self.hub().links[index];
        let room = link.waits.try_acquire();
        let _room = room.map_err(|_| link.failure(Arc::new(LinkError::TooManyWaits)))?;
        let mut after = 0;
        loop {
            let connection = link.up(after).await?;
            after = connection.number;
            let answer = match connection
                .portal
                .call_encoded(Request::encoded(registrar::WAIT, body))
                .await
            {
                Ok(body) => wire::decode_body::<Answer>(&body).map_err(LinkError::Unreadable),
                // The registrar at the next connection knows more.
                Err(CallError::Closed(_)) => continue,
                Err(CallError::Remote(error)) if error.kind == ErrorKind::ShuttingDown => continue,
                Err(error) => Err(LinkError::from(error)),
            };
            return match answer.map(|it| it.records.into_iter().find(Record::is_there)) {
                Ok(Some(record)) => Ok(record),
                Ok(None) => {
                    let why = "an answer to a wait without an instance".to_owned();
                    let error = LinkError::Unreadable(WireError::Malformed(why));
                    Err(link.failure(Arc::new(error)))
                }
                Err(error) => Err(link.failure(Arc::new(error))),
            };
        }
    }
}

fn forget(records: &mut Vec<Record>, uuid: Uuid) {
    records.retain(|it| it.uuid != uuid);
}

/// Tells whether an instance can be reached from where this process stands.
fn is_within_reach(record: &Record) -> bool {
    let here = transport::here_for(record.endpoints.iter().map(|it| &it.endpoint));
    let mut candidates = rank(&record.endpoints, &here, &transport::look);
    candidates.retain(|it| it.verdict.is_ok());
    let places: Vec<_> = candidates.iter().map(|it| (it.stamped, record.user())).collect();
    if record.proves {
        return !places.is_empty();
    }
    transport::strangers_at(&places).iter().any(Option::is_none)
}

/// The interval between looks at whether an instance has come within reach: short enough for a
/// person, and each look takes some microseconds for each endpoint.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
