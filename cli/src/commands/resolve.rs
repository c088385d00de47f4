//! `callsign resolve`: the candidates of a name, in the order in which they would be dialed.

use std::fmt::Write as _;

use anyhow::anyhow;
use discovery::{
    Candidate, LookupOptions, LookupResult, Outcome, Resolve, TableSource, explain, probe,
};
use endpoints::{EndpointTable, Name, Plain, Quoted};
use gateway::json::{ResolvedJson, Row, Source, rows};
use wire::{Owner, State};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    hints,
    lookup::dnsaddr,
    lookup::query::{self, not_ready, out_of_reach},
    lookup::ranking::{Seen, doubt_in_words, short_uuid},
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
  callsign resolve /dnsaddr/web.callsign --dns 127.0.0.1:5300

Nothing is dialed without `--probe`, which connects to each endpoint within reach and closes the \
connection immediately. If no registrar answers, the tables of the settings file are used. A multiaddr \
`/dnsaddr/…` is asked of DNS, which has its endpoints as TXT records: of a registrar's own server \
(`[dns]`), or of any other.

The exit code is 1 if nothing is within reach or, with `--probe`, nothing answers; it is 3 then if \
a registrar that may know the actor did not answer.")]
pub(crate) struct Args {
    /// The actor's name, or a multiaddr `/dnsaddr/…`
    name: String,
    /// Show every endpoint of every instance, with the reason if it is left out
    #[arg(long)]
    explain: bool,
    /// Dial the endpoints within reach, and show how long that takes
    #[arg(long)]
    probe: bool,
    /// Ask this DNS server about `/dnsaddr/…`; without it, the system's
    #[arg(long, value_name = "ADDRESS")]
    dns: Option<String>,
    #[command(flatten)]
    demanded: Demanded,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    if let Some((domain, _)) = dnsaddr::parts(&args.name) {
        return of_dns(&args, domain, context).await;
    }
    if args.dns.is_some() {
        let error =
            anyhow!("`--dns` is for a multiaddr `/dnsaddr/…`, and {} is none", Quoted(&args.name));
        return Err(Failure::usage(error).hint("or leave it out: names are asked of registrars"));
    }
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
        (true, Source::Table | Source::Dns) => probe(&ready, &context.client_options().dial).await,
        (false, _) => explain(&ready, &transport::here(), &transport::look).leave_out_strangers(),
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
    show(context, &args, &ResolvedJson::of(name.as_str(), source, &rows), &rows, now_ms)?;
    Ok(exit)
}

/// Prints the candidates.
fn show(
    context: &Context,
    args: &Args,
    json: &ResolvedJson<'_>,
    rows: &[Row<'_>],
    now_ms: u64,
) -> Result<(), Failure> {
    if context.json {
        return context.print_json(json);
    }
    let says_more = args.explain || args.probe;
    let width = context.width();
    let table = (!says_more).then(|| table(rows)).filter(|it| fits(it, width));
    context.print(table.unwrap_or_else(|| verdicts(rows, now_ms, says_more, width)))
}

/// Shows the endpoints that DNS has for a `/dnsaddr/…`. What DNS says of an address is meant from
/// where it is asked, so that it is judged as if it were written in the settings here.
async fn of_dns(args: &Args, domain: &str, context: &Context) -> Result<Exit, Failure> {
    if args.demanded.read()?.is_some() {
        return Err(Failure::usage(anyhow!("DNS does not say whose an actor is"))
            .hint("ask a registrar for the name, with `--owner`"));
    }
    let found = dnsaddr::resolve(&args.name, args.dns.as_deref()).await?;
    context.take_identity(&context.settings()?, &found.endpoints)?;
    if args.explain {
        for (text, reason) in &found.left_out {
            note(context, format_args!("{} is left out: {reason}", Quoted(text)));
        }
    }
    let name = Name::new(domain).unwrap_or_else(|_| Name::new("dnsaddr").expect("it is one"));
    let mut table = EndpointTable::default();
    table.insert(name.clone(), found.endpoints);
    let ready = TableSource::new(&table).resolve(&name).await?;
    let explanation = if args.probe {
        probe(&ready, &context.client_options().dial).await
    } else {
        explain(&ready, &transport::here(), &transport::look)
    };
    let mut rows = rows(Source::Dns, &explanation, &ready, &[]);
    rows.retain(|it| args.explain || it.rank.is_some());
    if rows.is_empty() {
        let reason = match found.left_out.len() {
            0 => "it has no endpoint".to_owned(),
            1 => "its endpoint is none that can be dialed from here".to_owned(),
            count => format!("none of its {count} texts can be dialed from here"),
        };
        let failure = Failure::not_found(anyhow!("{}: {reason}", Quoted(&args.name)));
        return Err(if args.explain { failure } else { failure.hint("`--explain` says why") });
    }
    show(context, args, &ResolvedJson::of(&args.name, Source::Dns, &rows), &rows, 0)?;
    let answers =
        |it: &Candidate| it.verdict.is_ok() && !matches!(it.outcome, Outcome::Failed { .. });
    Ok(if explanation.candidates.iter().any(answers) { Exit::Done } else { Exit::NotFound })
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

/// Returns the rank of an endpoint, its locality, and its instance.
fn columns(row: &Row<'_>) -> [String; 3] {
    let rank = row.rank.map_or("-".to_owned(), |it| it.to_string());
    let locality = row.verdict.as_ref().map_or("left out", |it| it.as_str()).to_owned();
    let instance = row.instance.map_or("-".to_owned(), |(uuid, _)| short_uuid(&uuid));
    [rank, locality, instance]
}

fn verdict(row: &Row<'_>) -> String {
    match (&row.verdict, row.outcome) {
        (Err(left_out), _) => left_out.message.clone(),
        (Ok(_), Some(Outcome::Connected { took, assurance })) => {
            format!("answers in {}, {assurance}", brief(*took))
        }
        (Ok(_), Some(Outcome::Failed { error, .. })) => with_causes(error),
        (Ok(_), _) if row.record.proves => "within reach, proves who it is".to_owned(),
        (Ok(_), _) if !row.is_verified => "within reach, unproved, unverified".to_owned(),
        (Ok(_), _) => "within reach, unproved".to_owned(),
    }
}

/// Draws a line for each endpoint.
fn table(rows: &[Row<'_>]) -> String {
    let mut table = Table::new(["#", "LOCALITY", "INSTANCE", "ENDPOINT"]);
    for row in rows {
        let [rank, locality, instance] = columns(row);
        table.row([rank, locality, instance, row.endpoint.to_string()]);
    }
    table.render()
}

/// Draws two lines for each endpoint: the whole endpoint, and its description; and a third one for
/// a suspect instance. `now_ms` is the registrar's clock.
fn verdicts(rows: &[Row<'_>], now_ms: u64, says_more: bool, width: Option<u16>) -> String {
    let mut text = String::new();
    for row in rows {
        let [rank, locality, instance] = columns(row);
        let endpoint = format!("{rank:<2} {}", row.endpoint);
        _ = writeln!(text, "{}", fitted(&endpoint, width, 0, 3));
        let mut said = format!("   {locality:<12} {instance}");
        let indent = said.len() + 2;
        // If a column would be narrow, its text gets a separate line.
        let hang = if width.is_some_and(|it| usize::from(it) < 2 * indent) { 5 } else { indent };
        if says_more {
            said += &format!("  {}", Plain(&verdict(row)));
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
        others[0].suspicion =
            Some(Suspicion { reports: 1, since_ms: 1000, ..Suspicion::default() });
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
