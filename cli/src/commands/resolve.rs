//! `callsign resolve`: the candidates of a name, in the order in which they would be dialed.

use std::{fmt::Write as _, time::Duration};

use anyhow::anyhow;
use discovery::{
    Candidate, Explanation, LookupOptions, LookupResult, Outcome, Resolve, TableSource, explain,
    probe,
};
use endpoints::{Endpoint, EndpointTable, Locality, Name, Plain};
use serde::Serialize;
use uuid::Uuid;
use wire::{Epoch, Owner, Record, State};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    hints,
    lookup::query::{self, not_ready, out_of_reach},
    lookup::ranking::{LeftOutJson, LifetimeJson, Seen, SuspicionJson, doubt_in_words, short_uuid},
    lookup::suggestion,
    output::notices::{note, warn_unanswered, with_causes},
    output::{Table, brief, fits, fitted},
    owners::{Demanded, owner_of},
};

/// Show which endpoints would be dialed, and in which order
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign resolve web                     within reach, nearest first
  callsign resolve web --explain           including those left out, and why
  callsign resolve web --explain --probe   and the time of each answer
  callsign resolve web --config market.toml

Nothing is dialed without `--probe`, which connects to each endpoint within reach and closes the \
connection immediately. If no registrar answers, the tables of the settings file are used.

The exit code is 1 if nothing is within reach or, with `--probe`, nothing answers; it is 3 then if \
a registrar that may know the actor did not answer.")]
pub(crate) struct Args {
    /// The actor's name
    name: String,
    /// Show every endpoint of every instance, with the reason if it is left out
    #[arg(long)]
    explain: bool,
    /// Dial the endpoints within reach, and show how long that takes
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    demanded: Demanded,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let name = query::name(&args.name)?;
    let owner = args.demanded.read()?;
    let (source, found) = records(context, &name, args.explain, owner.as_ref()).await?;
    let LookupResult { records, now_ms, unanswered, .. } = found;
    // Starting and draining instances are not dialed, only shown.
    let (mut ready, others): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|it| it.state == State::Ready);
    let explanation = match (args.probe, source) {
        (true, Source::Registrar) => {
            let client = context.client().await?;
            let options = LookupOptions { owner, ..LookupOptions::default() };
            let (probed, explanation) = client.probe_actor_with(name.as_str(), options).await?;
            ready = probed;
            explanation
        }
        (true, Source::Table) => probe(&ready, &context.client_options().dial).await,
        (false, _) => explain(&ready, &transport::here(), &transport::look),
    };
    let is_of_use =
        |it: &Candidate| it.verdict.is_ok() && !matches!(it.outcome, Outcome::Failed { .. });
    let exit = if explanation.candidates.iter().any(is_of_use) {
        Exit::Done
    } else {
        Exit::NotFound.of_unanswered(&unanswered)
    };
    let mut rows = rows(source, &explanation, &ready, &others);
    if !args.explain {
        rows.retain(|it| it.rank.is_some());
        if rows.is_empty() {
            return Err(out_of_reach(&name, &Seen::all_from_here(&ready), &unanswered));
        }
    }
    warn_unanswered(context, &unanswered);
    for hint in hints::padded(hints::refused(&explanation)) {
        note(context, hint);
    }
    if context.json {
        let candidates = rows.iter().map(Row::to_json).collect();
        context.print_json(&ResolvedJson { name: name.as_str(), source, candidates })?;
    } else {
        let says_more = args.explain || args.probe;
        let width = context.width();
        let table = (!says_more).then(|| table(&rows)).filter(|it| fits(it, width));
        context.print(table.unwrap_or_else(|| verdicts(&rows, now_ms, says_more, width)))?;
    }
    Ok(exit)
}

/// Looks up the records of a name: at the registrars, or if none answers in the settings file.
/// There is at least one.
async fn records(
    context: &Context,
    name: &Name,
    all: bool,
    owner: Option<&Owner>,
) -> Result<(Source, LookupResult), Failure> {
    let client = match context.client().await {
        Ok(client) => client,
        Err(failure) if failure.exit == Exit::Unreachable => {
            let Some(table) = table_of_settings(context)? else { return Err(failure) };
            note(context, "no registrar answers; this is what the settings file says");
            let records = TableSource::new(&table).resolve(name).await?;
            if records.is_empty() {
                let error = anyhow!("the settings file names no actor `{name}`");
                let names = table.iter().map(|(name, _)| name.as_str());
                return Err(suggestion::hint(Failure::not_found(error), name.as_str(), names));
            }
            return Ok((Source::Table, LookupResult { records, ..LookupResult::default() }));
        }
        Err(failure) => return Err(failure),
    };
    let found = query::query_owned(context, &client, name, all, owner).await?;
    if found.records.is_empty() {
        return Err(not_ready(&client, name, &found, Vec::new()).await);
    }
    Ok((Source::Registrar, found))
}

/// Returns the endpoints of actors in a settings file, if there is one. An endpoint bound at every
/// address is found at each of this host's.
fn table_of_settings(context: &Context) -> Result<Option<EndpointTable>, Failure> {
    let settings = context.settings()?;
    let here = transport::here();
    let mut table = EndpointTable::default();
    for (name, endpoints) in settings.network.iter().chain(settings.declared.iter()) {
        let expanded = endpoints.iter().flat_map(|it| transport::expand(it, &here.interfaces));
        table.insert(name.clone(), expanded);
    }
    Ok(Some(table).filter(|it| !it.is_empty()))
}

/// The source of records.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Source {
    Registrar,
    Table,
}

/// An endpoint of an instance, and its description.
#[derive(Debug)]
struct Row<'a> {
    /// The order in which it would be dialed, from 1; `None` if it is left out.
    rank: Option<usize>,
    /// The registration and the instance; a table knows neither.
    instance: Option<(Uuid, Epoch)>,
    record: &'a Record,
    endpoint: &'a Endpoint,
    verdict: Result<Locality, LeftOutJson>,
    /// Whether its registrant has seen the place.
    is_verified: bool,
    outcome: Option<&'a Outcome>,
}

/// Sorts the judged endpoints, then adds those of instances that are not ready.
fn rows<'a>(
    source: Source,
    explanation: &'a Explanation,
    ready: &'a [Record],
    others: &'a [Record],
) -> Vec<Row<'a>> {
    let instance = |record: &Record| match source {
        Source::Registrar => Some((record.uuid, record.epoch)),
        Source::Table => None,
    };
    let mut rows = Vec::new();
    for (at, candidate) in explanation.candidates.iter().enumerate() {
        let is_of_candidate = |it: &&Record| it.uuid == candidate.instance.uuid;
        let record = ready.iter().find(is_of_candidate).expect("the candidates are theirs");
        rows.push(Row {
            rank: candidate.verdict.is_ok().then_some(at + 1),
            instance: instance(record),
            record,
            endpoint: &candidate.stamped.endpoint,
            verdict: candidate.verdict.clone().map_err(|it| LeftOutJson::of(&it)),
            is_verified: candidate.stamped.is_verified(),
            outcome: Some(&candidate.outcome),
        });
    }
    for record in others {
        rows.extend(record.endpoints.iter().map(|stamped| Row {
            rank: None,
            instance: instance(record),
            record,
            endpoint: &stamped.endpoint,
            verdict: Err(LeftOutJson::of_state(record.state)),
            is_verified: stamped.is_verified(),
            outcome: None,
        }));
    }
    rows
}

impl Row<'_> {
    fn columns(&self) -> [String; 3] {
        let rank = self.rank.map_or("-".to_owned(), |it| it.to_string());
        let locality = self.verdict.as_ref().map_or("left out", |it| it.as_str()).to_owned();
        let instance = self.instance.map_or("-".to_owned(), |(uuid, _)| short_uuid(&uuid));
        [rank, locality, instance]
    }

    fn verdict(&self) -> String {
        match (&self.verdict, self.outcome) {
            (Err(left_out), _) => left_out.message.clone(),
            (Ok(_), Some(Outcome::Connected { took, assurance })) => {
                format!("answers in {}, {assurance}", brief(*took))
            }
            (Ok(_), Some(Outcome::Failed { error, .. })) => with_causes(error),
            (Ok(_), _) if self.record.proves => "within reach, proves who it is".to_owned(),
            (Ok(_), _) if !self.is_verified => "within reach, unproved, unverified".to_owned(),
            (Ok(_), _) => "within reach, unproved".to_owned(),
        }
    }

    fn to_json(&self) -> CandidateJson<'_> {
        let dial = |took: &Duration, assurance, error| DialJson {
            took_us: took.as_micros() as u64,
            assurance,
            error,
        };
        CandidateJson {
            rank: self.rank,
            endpoint: self.endpoint,
            encoded: self.endpoint.to_encoded(),
            locality: self.verdict.as_ref().ok().copied(),
            left_out: self.verdict.as_ref().err(),
            uuid: self.instance.map(|(uuid, _)| uuid),
            epoch: self.instance.map(|(_, epoch)| epoch),
            state: self.record.state,
            lifetime: LifetimeJson::of(self.record.lifetime),
            suspicion: self.record.suspicion.map(SuspicionJson::of),
            proves: self.record.proves,
            verified: self.is_verified,
            owner: self.record.owner.as_ref(),
            dial: match self.outcome {
                Some(Outcome::Connected { took, assurance }) => {
                    Some(dial(took, Some(assurance.to_string()), None))
                }
                Some(Outcome::Failed { error, took }) => {
                    Some(dial(took, None, Some(with_causes(error))))
                }
                _ => None,
            },
        }
    }
}

/// Draws a line for each endpoint.
fn table(rows: &[Row<'_>]) -> String {
    let mut table = Table::new(["#", "LOCALITY", "INSTANCE", "ENDPOINT"]);
    for row in rows {
        let [rank, locality, instance] = row.columns();
        table.row([rank, locality, instance, row.endpoint.to_string()]);
    }
    table.render()
}

/// Draws two lines for each endpoint: the whole endpoint, and its description; and a third one for
/// a suspect instance. `now_ms` is the registrar's clock.
fn verdicts(rows: &[Row<'_>], now_ms: u64, says_more: bool, width: Option<u16>) -> String {
    let mut text = String::new();
    for row in rows {
        let [rank, locality, instance] = row.columns();
        let endpoint = format!("{rank:<2} {}", row.endpoint);
        _ = writeln!(text, "{}", fitted(&endpoint, width, 0, 3));
        let mut said = format!("   {locality:<12} {instance}");
        let indent = said.len() + 2;
        // If a column would be narrow, its text gets a separate line.
        let hang = if width.is_some_and(|it| usize::from(it) < 2 * indent) { 5 } else { indent };
        if says_more {
            said += &format!("  {}", Plain(&row.verdict()));
        }
        _ = writeln!(text, "{}", fitted(&said, width, 0, hang));
        if let Some(owner) = owner_of(row.record).filter(|_| says_more) {
            let owner = format!("{:hang$}owner {}", "", Plain(&owner));
            _ = writeln!(text, "{}", fitted(&owner, width, 0, hang));
        }
        if let Some(suspicion) = row.record.suspicion.filter(|_| says_more) {
            let doubt = format!("{:hang$}{}", "", doubt_in_words(suspicion, now_ms));
            _ = writeln!(text, "{}", fitted(&doubt, width, 0, hang));
        }
    }
    text
}

/// The candidates of a name for programs, as `docs/json.md` describes them.
#[derive(Debug, Serialize)]
struct ResolvedJson<'a> {
    name: &'a str,
    source: Source,
    candidates: Vec<CandidateJson<'a>>,
}

#[derive(Debug, Serialize)]
struct CandidateJson<'a> {
    rank: Option<usize>,
    endpoint: &'a Endpoint,
    encoded: String,
    locality: Option<Locality>,
    left_out: Option<&'a LeftOutJson>,
    uuid: Option<Uuid>,
    epoch: Option<Epoch>,
    state: State,
    suspicion: Option<SuspicionJson>,
    lifetime: LifetimeJson,
    proves: bool,
    verified: bool,
    owner: Option<&'a Owner>,
    dial: Option<DialJson>,
}

#[derive(Debug, Serialize)]
struct DialJson {
    took_us: u64,
    assurance: Option<String>,
    error: Option<String>,
}

#[cfg(test)]
mod tests {
    use wire::Suspicion;

    use super::*;
    use crate::lookup::ranking::sample::{here, look, record};

    #[test]
    fn left_out_endpoints_come_last_with_the_reason() {
        let ready = [record("feed", 3, &[("/ip4/10.0.0.9/tcp/7", 2), ("/unix/run/feed.sock", 1)])];
        let mut others = [record("feed", 4, &[("/unix/@feed", 1)])];
        others[0].state = State::Starting;
        others[0].suspicion = Some(Suspicion { reports: 1, since_ms: 1000, silent: false });
        let explanation = explain(&ready, &here(), &look);
        let rows_of = |source| rows(source, &explanation, &ready, &others);
        assert_eq!(
            verdicts(&rows_of(Source::Registrar), 3000, true, None),
            "\
1  /unix/run/feed.sock
   unix socket  33333333  within reach, unproved
2  /ip4/10.0.0.9/tcp/7
   same subnet  33333333  within reach, unproved
-  /unix/@feed
   left out     44444444  it is starting
                          suspect for 2s: reported once
"
        );
        assert_eq!(
            table(&rows_of(Source::Table)[..2]),
            "\
#  LOCALITY     INSTANCE  ENDPOINT
1  unix socket  -         /unix/run/feed.sock
2  same subnet  -         /ip4/10.0.0.9/tcp/7
"
        );
    }
}
