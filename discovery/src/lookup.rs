//! Asking all registrars at once.

use std::time::Duration;

use endpoints::{Name, NameError, NamePattern};
use serde::de::DeserializeOwned;
use thiserror::Error;
use wire::{
    Challenge, Record, encode_body,
    registrar::{self, Answer, List, Located, Page, Query},
};

use crate::{
    Client, Fault, Faults,
    dial::{Ticket, Tickets},
    merge::{Sighting, merge},
    together::Together,
};

impl Client {
    /// Looks up the newest ready instance of a name, without connecting to it. One that is merely
    /// declared comes last.
    ///
    /// # Errors
    ///
    /// [`LookupError`]; a name that is not there is `None`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_actor(&self, name: &str) -> Result<Option<Record>, LookupError> {
        Ok(self.query_ready(name).await?.records.into_iter().next())
    }

    /// Looks up the ready instances of a name: live ones first, then declared ones, each newest
    /// first.
    ///
    /// # Errors
    ///
    /// [`LookupError`]; a name that is not there brings no records.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_ready(&self, name: &str) -> Result<Found, LookupError> {
        Ok(self.query(name, Scope::Ready).await?.into())
    }

    /// Looks up the instances of a name as [`query_ready`](Self::query_ready) does, with those
    /// that are starting or draining.
    ///
    /// # Errors
    ///
    /// As [`query_ready`](Self::query_ready).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_all(&self, name: &str) -> Result<Found, LookupError> {
        Ok(self.query(name, Scope::All).await?.into())
    }

    /// Lists the instances of all names that match a pattern (`*` stands for any run of
    /// characters, `?` for any one), by name, and within a name in the order of
    /// [`query_ready`](Self::query_ready).
    ///
    /// # Errors
    ///
    /// [`LookupError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn list(&self, pattern: &str) -> Result<Found, LookupError> {
        let pattern = NamePattern::new(pattern)?;
        let mut lists = Together::default();
        for index in 0..self.hub().links.len() {
            lists.push(index, self.list_of(index, &pattern));
        }
        let mut found = Found::from(Sightings::of(lists.all().await)?);
        // A stable sort, which keeps the order within a name.
        found.records.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    pub(crate) async fn query(&self, name: &str, scope: Scope) -> Result<Sightings, LookupError> {
        // A registrar would find no such name either, and not say why.
        Name::new(name)?;
        let query = Query { name, all: scope == Scope::All };
        let answers = self.ask_all(registrar::QUERY, &encode_body(&query)).await;
        let part = |it: Answer| Part { now_ms: it.now_ms, total: it.total, records: it.records };
        Sightings::of(
            answers.into_iter().map(|(link, answer)| (link, answer.map(|it| it.map(part)))),
        )
    }

    /// Looks up the instances of a name, and how each is to prove who it is.
    pub(crate) async fn locate(
        &self,
        name: &Name,
        all: bool,
    ) -> Result<(Sightings, Tickets), LookupError> {
        let query = Query { name: name.as_str(), all };
        let answers = self.ask_all(registrar::FIND, &encode_body(&query)).await;
        let mut tickets = Tickets::default();
        let mut part = |located: Located| {
            let Located { answer, registrar, nonce, proofs } = located;
            for (record, proof) in answer.records.iter().zip(proofs) {
                let challenge = Challenge { registrar, epoch: record.epoch, nonce };
                let ticket = proof.map(|proof| Ticket { challenge, proof });
                tickets.extend(ticket.map(|it| ((record.uuid, record.epoch), it)));
            }
            Part { now_ms: answer.now_ms, total: answer.total, records: answer.records }
        };
        let sightings = Sightings::of(
            answers.into_iter().map(|(link, answer)| (link, answer.map(|it| it.map(&mut part)))),
        )?;
        Ok((sightings, tickets))
    }

    /// Asks all registrars at once. One that is up by two links is asked by one of them.
    pub(crate) async fn ask_all<R: DeserializeOwned + Send>(
        &self,
        method: &str,
        args: &[u8],
    ) -> Vec<(usize, Option<Result<R, Fault>>)> {
        let mut calls = Together::default();
        for index in 0..self.hub().links.len() {
            calls.push(index, self.hub().ask(index, method, args));
        }
        calls.all().await
    }

    async fn list_of(&self, index: usize, pattern: &NamePattern) -> Option<Result<Part, Fault>> {
        let mut list = List { pattern: pattern.clone(), after: 0 };
        let mut part = Part::default();
        loop {
            let page: Page =
                match self.hub().ask(index, registrar::LIST, &encode_body(&list)).await? {
                    Ok(page) => page,
                    Err(fault) => return Some(Err(fault)),
                };
            part.now_ms = page.now_ms;
            part.total += page.records.len() as u64;
            part.records.extend(page.records);
            match page.next {
                // Only a registrar that is broken would send a list round in circles.
                Some(next) if next > list.after => list.after = next,
                _ => return Some(Ok(part)),
            }
        }
    }
}

/// Which instances of a name are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    Ready,
    All,
}

/// What the registrars that answered know.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use registrar::{Node, NodeOptions};
/// # let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
/// # let registrars = node.endpoints();
/// # let mut tasks = tokio::task::JoinSet::new();
/// # tasks.spawn(node.serve(tokio_util::sync::CancellationToken::new()));
///
/// use callsign::Client;
///
/// let client = Client::connect(&registrars).await?;
/// let found = client.query_all("feed").await?;
/// assert!(found.records.is_empty() && found.unanswered.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The instances, each once.
    pub records: Vec<Record>,
    /// How many there are in all, in whatever state, at the least: a registrar answers with the
    /// first 256 of a name.
    pub total: u64,
    /// The registrars' clock, in milliseconds since 1970; the latest of several.
    pub now_ms: u64,
    /// The registrars that did not answer. What only they know is not in this answer.
    pub unanswered: Vec<Fault>,
    /// How old the answer is, if no registrar could be reached and one of earlier was allowed;
    /// `None` if it is one of now.
    pub age: Option<Duration>,
}

impl From<Sightings> for Found {
    fn from(sightings: Sightings) -> Self {
        Self {
            records: sightings.instances.into_iter().map(|it| it.record).collect(),
            total: sightings.total,
            now_ms: sightings.now_ms,
            unanswered: sightings.unanswered,
            age: None,
        }
    }
}

/// What one registrar answered.
#[derive(Debug, Default)]
struct Part {
    now_ms: u64,
    total: u64,
    records: Vec<Record>,
}

/// What the registrars that answered know, and which of them knows it.
#[derive(Clone, Debug)]
pub(crate) struct Sightings {
    pub(crate) instances: Vec<Sighting>,
    total: u64,
    now_ms: u64,
    unanswered: Vec<Fault>,
}

impl Sightings {
    fn of(
        answers: impl IntoIterator<Item = (usize, Option<Result<Part, Fault>>)>,
    ) -> Result<Self, LookupError> {
        let (mut parts, mut unanswered) = (Vec::new(), Vec::new());
        let (mut total, mut now_ms) = (0, 0);
        for (link, answer) in answers {
            match answer {
                Some(Ok(part)) => {
                    total = part.total.max(total);
                    now_ms = part.now_ms.max(now_ms);
                    parts.push((link, part.records));
                }
                Some(Err(fault)) => unanswered.push(fault),
                None => {}
            }
        }
        if parts.is_empty() {
            return Err(Faults(unanswered).into());
        }
        let instances = merge(parts);
        Ok(Self { total: total.max(instances.len() as u64), instances, now_ms, unanswered })
    }

    /// Returns the registrars that did not answer.
    pub(crate) fn unanswered(self) -> Faults {
        Faults(self.unanswered)
    }

    pub(crate) fn set_unanswered(&mut self, faults: Faults) {
        self.unanswered = faults.0;
    }

    #[cfg(test)]
    pub(crate) fn from_instances(instances: Vec<Sighting>) -> Self {
        Self { total: instances.len() as u64, instances, now_ms: 0, unanswered: Vec::new() }
    }
}

/// Why a lookup has no answer.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use registrar::{Node, NodeOptions};
/// # let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
/// # let registrars = node.endpoints();
/// # let mut tasks = tokio::task::JoinSet::new();
/// # tasks.spawn(node.serve(tokio_util::sync::CancellationToken::new()));
///
/// use callsign::{Client, LookupError};
///
/// let client = Client::connect(&registrars).await?;
/// let error = client.query_actor("two words").await.unwrap_err();
/// assert!(matches!(error, LookupError::Name(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// What was asked for is not a name or a pattern.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No registrar can be reached: whether the name is there is not known.
    #[error("no registrar can be reached:\n{0}")]
    Unreachable(Faults),
    /// A registrar refused to answer, and none answered.
    #[error("no registrar answers:\n{0}")]
    Refused(Faults),
}

impl From<Faults> for LookupError {
    fn from(faults: Faults) -> Self {
        if faults.have_refusal() { Self::Refused(faults) } else { Self::Unreachable(faults) }
    }
}
