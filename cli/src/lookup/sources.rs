//! The sources of names: registrars of callsign's, and of tractor's.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use discovery::{Client, LookupResult, RegistrarFailure};
use endpoints::{Name, NamePattern};
use gateway::tractor::{CallError, TractorSource};
use tokio::time::timeout;
use transport::DialError;
use wire::{Owner, Record};

use crate::{
    context::{Context, TRACTOR_PREFIX},
    failure::Failure,
    lookup::query::{not_ready, owned, query},
    lookup::suggestion,
    output::notices::{note_cut_off, note_settling, warn},
};

/// The sources of names.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    context: &'a Context,
    /// Callsign's registrars, unless only others are named.
    client: Option<Client>,
    tractor: Vec<TractorSource>,
}

impl<'a> Asked<'a> {
    /// Connects to the named registrars, or to the default ones.
    pub(crate) async fn connect(context: &'a Context) -> Result<Self, Failure> {
        let (own, tractor) = context.all_registrars()?;
        context.take_identity(&context.settings()?, own.as_deref().unwrap_or_default())?;
        let client = match own {
            Some(own) => Some(Client::connect_with(&own, context.client_options()).await?),
            None => None,
        };
        let tractor = tractor.into_iter().map(TractorSource::new).collect();
        Ok(Self { context, client, tractor })
    }

    /// Lists the instances of all names that match a pattern, by name, and keeps what `keep` makes of
    /// each record and the time of its registrar's clock.
    pub(crate) async fn list_as<T>(
        &self,
        pattern: &NamePattern,
        keep: impl Fn(Record, u64) -> T,
    ) -> Result<Found<T>, Failure> {
        let found = match &self.client {
            Some(client) => Some(client.list_as(pattern.as_str(), &keep).await?),
            None => None,
        };
        if let Some(left) = found.as_ref().and_then(|it| it.settling) {
            note_settling(self.context, left);
        }
        if let Some(client) = &self.client
            && let Some(unheard) = client.cut_off().await
        {
            note_cut_off(self.context, unheard);
        }
        let others = self.of_tractors(found.is_some(), |it| pattern.matches(it.name.as_str()));
        let others = others.await?;
        let now_ms = found.as_ref().map_or_else(now_ms, |it| it.now_ms);
        let found = found.map(|it| (it.kept, it.unanswered));
        let (mut kept, unanswered) = found.unwrap_or_default();
        if !others.is_empty() {
            kept.extend(others.into_iter().map(|it| (it.name.clone(), keep(it, now_ms))));
            kept.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        Ok(Found { kept: kept.into_iter().map(|(_, kept)| kept).collect(), unanswered })
    }

    /// Looks up the ready instances of a name, or all of them. Fails if the required owner has none
    /// of them.
    pub(crate) async fn query(
        &self,
        name: &Name,
        all: bool,
        owner: Option<&Owner>,
    ) -> Result<LookupResult, Failure> {
        let found = self.query_of(name, all, owner).await?;
        match owner.filter(|_| found.records.is_empty()) {
            Some(owner) => owned(name, self.query_of(name, all, None).await?, owner),
            None => Ok(found),
        }
    }

    async fn query_of(
        &self,
        name: &Name,
        all: bool,
        owner: Option<&Owner>,
    ) -> Result<LookupResult, Failure> {
        let found = match &self.client {
            Some(client) => Some(query(self.context, client, name, all, owner).await?),
            None => None,
        };
        let is_of_owner = |it: &Record| owner.is_none() || owner == it.owner.as_ref();
        self.with_tractors(found, |it| it.name == *name && is_of_owner(it)).await
    }

    /// Makes the failure of a name that has no ready instance.
    pub(crate) async fn not_ready(&self, name: &Name, found: &LookupResult) -> Failure {
        let others = self.tractor_names().await;
        if let Some(client) = &self.client {
            return not_ready(client, name, found, others).await;
        }
        let asked: Vec<_> =
            self.tractor.iter().map(|it| format!("{TRACTOR_PREFIX}{}", it.registrar())).collect();
        let error = anyhow!("no actor `{name}` is registered at {}", asked.join(", "));
        let names = others.iter().map(Name::as_str);
        suggestion::hint(Failure::not_found(error), name.as_str(), names)
    }

    /// Returns the names that tractor's registrars have, as far as they answer promptly.
    async fn tractor_names(&self) -> Vec<Name> {
        let mut names = Vec::new();
        for source in &self.tractor {
            let listed = timeout(suggestion::GRACE_MAX, source.list()).await;
            let records = listed.ok().and_then(Result::ok).unwrap_or_default();
            names.extend(records.into_iter().map(|it| it.name));
        }
        names
    }

    /// Adds the records of tractor's registrars.
    async fn with_tractors(
        &self,
        found: Option<LookupResult>,
        is_meant: impl Fn(&Record) -> bool,
    ) -> Result<LookupResult, Failure> {
        let others = self.of_tractors(found.is_some(), is_meant).await?;
        let of_others = || LookupResult { now_ms: now_ms(), ..LookupResult::default() };
        let mut found = found.unwrap_or_else(of_others);
        found.records.extend(others);
        found.total = found.total.max(found.records.len() as u64);
        Ok(found)
    }

    /// Returns the records of tractor's registrars. One that does not answer is reported, unless
    /// nobody answers.
    async fn of_tractors(
        &self,
        mut is_answered: bool,
        is_meant: impl Fn(&Record) -> bool,
    ) -> Result<Vec<Record>, Failure> {
        let (mut records, mut silent) = (Vec::new(), Vec::new());
        for source in &self.tractor {
            let patience = self.context.global.patience.filter(|_| is_answered);
            let listed = match patience {
                Some(patience) => timeout(patience, source.list())
                    .await
                    .unwrap_or(Err(CallError::Dial(DialError::TimedOut))),
                None => source.list().await,
            };
            match listed {
                Ok(listed) => {
                    is_answered = true;
                    records.extend(listed.into_iter().filter(&is_meant));
                }
                Err(error) => silent.push((source.registrar(), error)),
            }
        }
        let says =
            |registrar| format!("the registrar `{TRACTOR_PREFIX}{registrar}` does not answer");
        if !is_answered && let Some((registrar, error)) = silent.pop() {
            return Err(Failure::unreachable(error, &[]).context(says(registrar)));
        }
        for (registrar, error) in silent {
            warn(self.context, format_args!("{}: {error}", says(registrar)));
        }
        Ok(records)
    }
}

/// What was kept of a list.
pub(crate) struct Found<T> {
    pub(crate) kept: Vec<T>,
    /// The registrars that did not answer, though they count.
    pub(crate) unanswered: Vec<RegistrarFailure>,
}

/// Returns the time of this host, in milliseconds since 1970.
fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_millis() as u64
}
