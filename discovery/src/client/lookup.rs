//! Look-ups: asking all registrars together.

use std::{future::pending, sync::Arc, time::Duration};

use endpoints::Name;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, timeout_at};
use wire::{
    Challenge, Owner, Record, State, WireError, encode_body,
    registrar::{self, Located, Query},
};

use super::{
    merge::{MergedRecords, RegistrarAnswer},
    remembered::Answer,
};
use crate::{
    Change, Client, LinkError, LookupError, LookupOptions, RegistrarFailure, RegistrarFailures,
    Resolve, ResolveError,
    dial::{Ticket, Tickets},
    link::{Link, Reply, SETTLING_MAX},
};

impl Client {
    /// Looks up the newest ready instance of a name, without connecting to it. A declared one comes
    /// last.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// match client.query_actor("feed").await? {
    ///     Some(record) => println!("{} is {}", record.name, record.state),
    ///     None => println!("nobody has that name"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`]; a name without instances is `None`, if every registrar says so.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_actor(&self, name: &str) -> Result<Option<Record>, LookupError> {
        Ok(self.query_ready(name).await?.complete()?.records.into_iter().next())
    }

    /// Looks up the ready instances of a name: live ones first, then declared ones, each newest
    /// first.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let found = client.query_ready("worker").await?;
    /// println!("{} workers are ready", found.records.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`]; a name without instances has no records. A registrar that did not answer
    /// may know it: see [`LookupResult::unanswered`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_ready(&self, name: &str) -> Result<LookupResult, LookupError> {
        Ok(self.query(name, Scope::Ready).await?.into())
    }

    /// Looks up the instances of a name as [`query_ready`](Self::query_ready) does, including those
    /// that are starting or draining.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, wire::*}; }
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::State;
    ///
    /// let found = client.query_all("worker").await?;
    /// let draining = found.records.iter().filter(|it| it.state == State::Draining).count();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`query_ready`](Self::query_ready).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_all(&self, name: &str) -> Result<LookupResult, LookupError> {
        Ok(self.query(name, Scope::All).await?.into())
    }

    /// Looks up the instances of a name as [`query_ready`](Self::query_ready) does, with options.
    /// [`LookupResult::age`] tells whether the answer is one of now.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use callsign::LookupOptions;
    ///
    /// // An answer of the last hour will do when no registrar answers.
    /// let max_age = Some(Duration::from_secs(3600));
    /// let options = LookupOptions { max_age, ..LookupOptions::default() };
    /// let found = client.query_with("feed", options).await?;
    /// if let Some(age) = found.age {
    ///     println!("so it was {age:?} ago");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`]; a name without instances has no records.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_with(
        &self,
        name: &str,
        options: LookupOptions,
    ) -> Result<LookupResult, LookupError> {
        let Answer { found, age, .. } = self.answer(name, options).await?;
        Ok(LookupResult { age, ..found.into() })
    }

    pub(crate) async fn query(
        &self,
        name: &str,
        scope: Scope,
    ) -> Result<MergedRecords, LookupError> {
        // A registrar would find no such name either, without an explanation.
        Name::new(name)?;
        let query = encode_body(&Query { all: scope == Scope::All, ..Query::of(name) });
        self.until_known(name, (scope, None), || self.query_now(&query), |it| it).await
    }

    async fn query_now(&self, query: &[u8]) -> Result<MergedRecords, LookupError> {
        let answers = self.ask_for_names(registrar::QUERY, query, registrar::Answer::decode).await;
        let part =
            |said: Reply<registrar::Answer>| RegistrarAnswer::of(said.value, said.settles_at);
        self.records(answers.into_iter().map(|answer| answer.map(|it| it.map(part))))
    }

    /// Looks up a name; if no registrar can be reached, falls back to the last good answer if it is
    /// not too old.
    pub(crate) async fn answer(
        &self,
        name: &str,
        options: LookupOptions,
    ) -> Result<Answer, LookupError> {
        let LookupOptions { all, max_age, owner } = options;
        let asked = (Name::new(name)?, all, owner);
        let owner = asked.2.as_ref();
        let mut located = self.locate(&asked.0, all, owner).await;
        if let (Ok((found, _)), Some(owner)) = (&mut located, owner) {
            // An old registrar does not filter by owner.
            found.instances.retain(|it| it.record.owner.as_ref() == Some(owner));
        }
        if let (Ok((found, _)), false) = (&mut located, all) {
            // A state that this version does not know is not one to dial.
            found.instances.retain(|it| it.record.state == State::Ready);
        }
        let last = |unanswered: &[RegistrarFailure]| {
            let mut last = self.memory().recall(&asked, max_age?, Instant::now())?;
            tracing::warn!(
                target: "callsign", name = %asked.0, age = ?last.age.unwrap_or_default(),
                "no registrar answers that may know it; the last good answer is used"
            );
            last.found.unanswered = unanswered.to_vec();
            Some(last)
        };
        let answer = match located {
            Ok((found, tickets)) => Answer { found, tickets, age: None },
            Err(LookupError::Unreachable(failures)) => {
                return last(&failures.0).ok_or(LookupError::Unreachable(failures));
            }
            // One that is cut off from its cluster does not know, as one that is not there.
            Err(LookupError::Refused(failures)) if failures.are_undecided() => {
                return last(&failures.0).ok_or(LookupError::Refused(failures));
            }
            Err(error) => return Err(error),
        };
        // A "no" from only some registrars does not replace a remembered answer.
        if answer.found.is_incomplete() {
            return Ok(last(&answer.found.unanswered).unwrap_or(answer));
        }
        if max_age.is_some() {
            self.memory().keep(asked, answer.clone(), Instant::now());
        }
        Ok(answer)
    }

    /// Looks up the instances of a name, with the challenge for each.
    pub(crate) async fn locate(
        &self,
        name: &Name,
        all: bool,
        owner: Option<&Owner>,
    ) -> Result<(MergedRecords, Tickets), LookupError> {
        let query = encode_body(&Query { name: name.as_str(), all, owner: owner.cloned() });
        let scope = if all { Scope::All } else { Scope::Ready };
        let ask = || self.locate_now(&query);
        self.until_known(name.as_str(), (scope, owner), ask, |(found, _)| found).await
    }

    /// Looks up the ready instances of a name as [`locate`](Self::locate) does, but is content with
    /// what settling registrars know now.
    pub(super) async fn locate_once(
        &self,
        name: &Name,
    ) -> Result<(MergedRecords, Tickets), LookupError> {
        self.locate_now(&encode_body(&Query::of(name.as_str()))).await
    }

    async fn locate_now(&self, query: &[u8]) -> Result<(MergedRecords, Tickets), LookupError> {
        let answers = self.ask_for_names(registrar::FIND, query, Located::decode).await;
        let mut tickets = Tickets::default();
        let mut part = |Reply { value, settles_at }: Reply<Located>| {
            let owed: Vec<_> = value.owed().collect();
            let challengers = (0..owed.len()).map(|at| value.challenger(at)).collect::<Vec<_>>();
            let Located { answer, nonce, .. } = value;
            let owed = owed.into_iter().zip(challengers);
            for (record, (owed, registrar)) in answer.records.iter().zip(owed) {
                let challenge = Challenge { registrar, epoch: record.epoch, nonce };
                let ticket = owed.map(|owed| Ticket { challenge, owed });
                tickets.extend(ticket.map(|it| ((record.uuid, record.epoch), it)));
            }
            RegistrarAnswer::of(answer, settles_at)
        };
        let answers = answers.into_iter().map(|answer| answer.map(|it| it.map(&mut part)));
        let records = self.records(answers)?;
        Ok((records, tickets))
    }

    /// Asks for names, and asks again while there are none and the registrars that answer are
    /// settling: when the name appears, and when they have settled.
    async fn until_known<T, A>(
        &self,
        name: &str,
        (scope, owner): (Scope, Option<&Owner>),
        ask: impl Fn() -> A,
        found: impl Fn(&T) -> &MergedRecords,
    ) -> Result<T, LookupError>
    where
        A: Future<Output = Result<T, LookupError>>,
    {
        let patience = self.hub().options.patience.unwrap_or(SETTLING_MAX);
        let deadline = Instant::now() + patience;
        loop {
            let answer = ask().await?;
            let records = found(&answer);
            let settles_at = records.settles_at.filter(|_| records.instances.is_empty());
            match settles_at {
                Some(at) if Instant::now() < deadline => {
                    // Boxed, because each look-up would have the room for it.
                    let appeared = Box::pin(self.appears(name, scope, owner));
                    // Whether it has appeared or not, the registrars are asked again.
                    drop(timeout_at(deadline.min(at), appeared).await);
                }
                _ => return Ok(answer),
            }
        }
    }

    /// Waits until an instance of a name, and of an owner if one is named, is registered.
    async fn appears(
        &self,
        name: &str,
        scope: Scope,
        owner: Option<&Owner>,
    ) -> Result<(), LookupError> {
        let mut watch = self.watch(name)?;
        while let Some(change) = watch.next().await {
            if let Change::Add { record } | Change::Update { record } = change
                && (scope == Scope::All || record.state == State::Ready)
                && (owner.is_none() || owner == record.owner.as_ref())
            {
                return Ok(());
            }
        }
        pending().await
    }

    /// Asks all registrars together. A registrar of two links is asked once.
    async fn ask_for_names<R>(
        &self,
        method: &str,
        args: &[u8],
        read: fn(&[u8]) -> Result<R, WireError>,
    ) -> Answers<Reply<R>> {
        self.gather(|index| self.hub().ask_and_read(index, method, args, read)).await
    }

    /// Asks all registrars by `ask`. After the first answer it waits for the others with limited
    /// patience.
    pub(crate) async fn gather<T, F>(&self, ask: impl Fn(usize) -> F) -> Answers<T>
    where
        F: Future<Output = Option<Result<T, RegistrarFailure>>>,
    {
        let is_answer = |it: &Option<Result<T, RegistrarFailure>>| matches!(it, Some(Ok(_)));
        self.with_patience(ask, is_answer, |late| Some(Err(late))).await
    }

    /// Asks all registrars by `ask`, and returns the answer of each, or `late`. After the first
    /// answer, the others have only as long as this client has patience.
    pub(crate) async fn with_patience<T, F: Future<Output = T>>(
        &self,
        ask: impl Fn(usize) -> F,
        is_answer: impl Fn(&T) -> bool,
        late: impl Fn(RegistrarFailure) -> T,
    ) -> Vec<T> {
        self.answers(ask, is_answer, late, None).await
    }

    /// Asks as [`with_patience`](Self::with_patience) does, and waits for no registrar any longer
    /// than that.
    pub(super) async fn answers<T, F: Future<Output = T>>(
        &self,
        ask: impl Fn(usize) -> F,
        is_answer: impl Fn(&T) -> bool,
        late: impl Fn(RegistrarFailure) -> T,
        mut deadline: Option<Instant>,
    ) -> Vec<T> {
        let links = &self.hub().links;
        let ask = |index| ask(index).map(move |answer| (index, answer));
        let mut calls: FuturesUnordered<_> = (0..links.len()).map(ask).collect();
        let mut answers: Vec<_> = links.iter().map(|_| None).collect();
        loop {
            let next = match deadline {
                Some(at) => timeout_at(at, calls.next()).await,
                None => Ok(calls.next().await),
            };
            // None is left, or there is no patience left.
            let Ok(Some((index, answer))) = next else { break };
            if deadline.is_none() && is_answer(&answer) {
                deadline = self.hub().options.patience.map(|it| Instant::now() + it);
            }
            answers[index] = Some(answer);
        }
        let late = |link: &Link| late(link.failure(Arc::new(LinkError::NotYet)));
        let or_late = |(link, answer): (&Link, Option<T>)| answer.unwrap_or_else(|| late(link));
        links.iter().zip(answers).map(or_late).collect()
    }

    fn records(
        &self,
        answers: impl IntoIterator<Item = Option<Result<RegistrarAnswer, RegistrarFailure>>>,
    ) -> Result<MergedRecords, LookupError> {
        MergedRecords::of(answers, self.hub().options.trust)
    }
}

impl Resolve for Client {
    async fn resolve(&self, name: &Name) -> Result<Vec<Record>, ResolveError> {
        Ok(self.query_ready(name.as_str()).await?.complete()?.records)
    }
}

/// The answer of each registrar, by its link; `None` from one that another link serves.
pub(super) type Answers<T> = Vec<Option<Result<T, RegistrarFailure>>>;

/// The instances of a name to ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    Ready,
    All,
}

/// The merged answer of the registrars.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use registrar::{Node, NodeOptions};
/// # let options = NodeOptions { settle_time: std::time::Duration::ZERO, ..Default::default() };
/// # let node = Node::bind(&["/memory/0".parse()?], options).await?;
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
pub struct LookupResult {
    /// The instances, each once.
    pub records: Vec<Record>,
    /// The least number of instances in any state: a registrar answers with the first 256 of a
    /// name.
    pub total: u64,
    /// The registrars' clock, in milliseconds since 1970; the latest of several.
    pub now_ms: u64,
    /// The registrars that did not answer, though they count. Instances that only they know are
    /// missing from this answer, so an empty one proves nothing.
    pub unanswered: Vec<RegistrarFailure>,
    /// The age of the answer, if no registrar could be reached and a remembered one was allowed;
    /// `None` for a present one.
    pub age: Option<Duration>,
    /// For how long others may still come back that are not in this answer, if a registrar that
    /// answered has begun only a short while ago.
    pub settling: Option<Duration>,
}

impl LookupResult {
    /// Returns it, unless it is a no that only some registrars gave.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::{Client, LookupError};
    ///
    /// /// Tells whether a name is free, as far as all registrars know.
    /// async fn is_free(callsign: &Client, name: &str) -> Result<bool, LookupError> {
    ///     Ok(callsign.query_all(name).await?.complete()?.records.is_empty())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError::Incomplete`] when nothing was found, and a registrar did not answer.
    pub fn complete(self) -> Result<Self, LookupError> {
        if self.records.is_empty() && !self.unanswered.is_empty() {
            Err(LookupError::Incomplete(RegistrarFailures(self.unanswered)))
        } else {
            Ok(self)
        }
    }
}

impl From<MergedRecords> for LookupResult {
    fn from(records: MergedRecords) -> Self {
        Self {
            records: records.instances.into_iter().map(|it| it.record).collect(),
            total: records.total,
            now_ms: records.now_ms,
            unanswered: records.unanswered,
            age: None,
            settling: records.settles_at.map(|it| it.duration_since(Instant::now())),
        }
    }
}
