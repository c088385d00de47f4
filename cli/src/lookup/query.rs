//! Looking up names for a command, and saying why there is nothing to show.

use std::fmt::Write as _;

use anyhow::anyhow;
use discovery::{Client, LookupError, LookupOptions, LookupResult, RegistrarFailure};
use endpoints::{Endpoint, Name, NameError, NamePattern, Quoted};
use wire::{Lifetime, Owner, Record, State};

use crate::{
    context::Context,
    failure::Failure,
    lookup::digits::instance_meant,
    lookup::ranking::Seen,
    lookup::suggestion,
    output::notices::patiently,
    owners::{in_words, owner_of},
};

/// Checks the typed name of an actor that may be there.
pub(crate) fn name(text: &str) -> Result<Name, Failure> {
    new_name(text).map_err(|failure| match NamePattern::new(text) {
        _ if text.parse::<Endpoint>().is_ok() => {
            Failure::usage(anyhow!("{} is an endpoint, and a name is needed", Quoted(text)))
                .hint_command("see which actor is there", ["ls", "--all"])
        }
        Ok(_) => Failure::usage(anyhow!("{} is a pattern, and one name is needed", Quoted(text)))
            .hint_command("list what matches it", ["ls", text]),
        Err(_) => failure,
    })
}

/// Checks a typed name.
pub(crate) fn new_name(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(|error| wrong_name(&error))
}

/// Checks a typed pattern.
pub(crate) fn pattern(text: &str) -> Result<NamePattern, Failure> {
    NamePattern::new(text).map_err(|error| wrong_name(&error))
}

fn wrong_name(error: &NameError) -> Failure {
    Failure::usage(error.clone()).hint(error.help())
}

/// Looks up the ready instances of a name, or all of them, and of one owner if one is demanded.
pub(crate) async fn query(
    context: &Context,
    client: &Client,
    name: &Name,
    all: bool,
    owner: Option<&Owner>,
) -> Result<LookupResult, LookupError> {
    let asked = async {
        match (owner, all) {
            (Some(owner), _) => {
                let options = LookupOptions { all, max_age: None, owner: Some(owner.clone()) };
                client.query_with(name.as_str(), options).await
            }
            (None, true) => client.query_all(name.as_str()).await,
            (None, false) => client.query_ready(name.as_str()).await,
        }
    };
    patiently(context, client, name, asked).await
}

/// Looks up a name as [`query`] does, and fails if all instances belong to other owners.
pub(crate) async fn query_owned(
    context: &Context,
    client: &Client,
    name: &Name,
    all: bool,
    owner: Option<&Owner>,
) -> Result<LookupResult, Failure> {
    let found = query(context, client, name, all, owner).await?;
    match owner.filter(|_| found.records.is_empty()) {
        Some(owner) => owned(name, query(context, client, name, all, None).await?, owner),
        None => Ok(found),
    }
}

/// Makes the failure of a name that has no ready instance.
pub(crate) async fn not_ready(
    client: &Client,
    name: &Name,
    found: &LookupResult,
    others_known: Vec<Name>,
) -> Failure {
    // Starting or draining instances explain more than an absence.
    let (others, names) = suggestion::with_names(client, client.query_all(name.as_str())).await;
    let others = match others {
        Ok(all) => all.records,
        Err(error) => return error.into(),
    };
    let unready: Vec<_> = others.iter().filter(|it| it.state != State::Ready).collect();
    if unready.is_empty() {
        let asked = asked(client.registrars(), &found.unanswered);
        let failure = Failure::not_found(anyhow!("no actor `{name}` is registered at{asked}"));
        let failure = failure.unless_known_to(&found.unanswered);
        if let Some(hint) = instance_meant(client, name).await {
            return failure.hint(hint);
        }
        let names = names.iter().map(String::as_str);
        let names = names.chain(others_known.iter().map(Name::as_str));
        return suggestion::hint(failure, name.as_str(), names);
    }
    Failure::not_found(anyhow!("no instance of `{name}` is ready: it has {}", states(&unready)))
        .unless_known_to(&found.unanswered)
        .hint_command("show what is there", ["find", name.as_str(), "--all"])
        .hint_command("wait for it", ["wait", name.as_str()])
}

/// Keeps the instances of the required owner, and fails if there are only others.
pub(crate) fn owned(
    name: &Name,
    mut found: LookupResult,
    owner: &Owner,
) -> Result<LookupResult, Failure> {
    let others: Vec<_> = found.records.iter().filter_map(owner_of).collect();
    let is_there = !found.records.is_empty();
    found.records.retain(|it| it.owner.as_ref() == Some(owner));
    if !is_there || !found.records.is_empty() {
        return Ok(found);
    }
    let owner = in_words(owner);
    let mut error = format!("no instance of `{name}` belongs to {owner}");
    if let Some(other) = others.first() {
        _ = write!(error, ": {other} registered what is there");
    }
    Err(Failure::not_found(anyhow!(error))
        .unless_known_to(&found.unanswered)
        .hint_command("show what is there", ["find", name.as_str(), "--all"]))
}

/// Makes the failure of a name without an endpoint within reach.
pub(crate) fn out_of_reach(
    name: &Name,
    seen: &[Seen<'_>],
    unanswered: &[RegistrarFailure],
) -> Failure {
    Failure::not_found(anyhow!("`{name}` is {}", why_out_of_reach(seen)))
        .unless_known_to(unanswered)
}

/// Lists the reasons why the endpoints are out of reach, as the end of a sentence.
pub(crate) fn why_out_of_reach(seen: &[Seen<'_>]) -> String {
    let mut text = "registered, and cannot be reached from here:".to_owned();
    for seen in seen {
        for candidate in &seen.candidates {
            if let Err(reason) = &candidate.verdict {
                let endpoint = &candidate.stamped.endpoint;
                _ = write!(text, "\n  {endpoint}: {reason}");
            }
        }
        if seen.candidates.is_empty() {
            _ = write!(text, "\n  {}: it has no endpoints", seen.record.instance());
        }
    }
    text
}

/// Lists the registrars that were asked, as the end of a sentence.
fn asked<'a>(
    registrars: impl Iterator<Item = &'a Endpoint>,
    unanswered: &[RegistrarFailure],
) -> String {
    let is_answered = |it: &&Endpoint| !unanswered.iter().any(|failure| failure.registrar == **it);
    let asked: Vec<_> = registrars.filter(is_answered).map(Endpoint::to_string).collect();
    match &asked[..] {
        [one] => format!(" {one}"),
        several => several.iter().map(|it| format!("\n  {it}")).collect(),
    }
}

/// Counts the instances of each state: `2 starting, 1 draining`.
pub(crate) fn states(records: &[&Record]) -> String {
    let count = |state| records.iter().filter(|it| it.state == state).count();
    let counts =
        [State::Starting, State::Draining, State::Unknown].map(|state| (count(state), state));
    let said: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| match state {
            State::Unknown => format!("{count} in a state that this version does not know"),
            _ => format!("{count} {state}"),
        })
        .collect();
    said.join(", ")
}

/// Tells whether a name is known only from the registrar's settings.
pub(crate) fn is_merely_declared(records: &[Record]) -> bool {
    !records.is_empty() && records.iter().all(|it| it.lifetime == Lifetime::Declared)
}
