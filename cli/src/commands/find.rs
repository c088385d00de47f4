//! `callsign find`: where an actor is.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    lookup::query::{self, out_of_reach},
    lookup::ranking::Seen,
    lookup::sources::Asked,
    output::notices::warn_unanswered,
    output::record::portrait,
    owners::Demanded,
};

/// Show where an actor is, and its record
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign find web               the nearest endpoint, and its record
  callsign find web | head -n1    only the endpoint
  callsign find web --all         every instance
  callsign find web --owner www   only instances of the user `www`
  callsign find web --json | jq -r .nearest
  callsign find web --registrar tractor+/ip4/127.0.0.1/tcp/1616

The last example asks a registrar of the Python project tractor.

The exit code is 1 if there is no such actor, or none of its endpoints can be reached from here; \
it is 3 if a registrar that may know it did not answer.")]
pub(crate) struct Args {
    /// The actor's name
    name: String,
    /// Show every instance, even if starting, draining or out of reach
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    demanded: Demanded,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let name = query::name(&args.name)?;
    let owner = args.demanded.read()?;
    let asked = Asked::connect(context).await?;
    let found = asked.query(&name, args.all, owner.as_ref()).await?;
    if found.records.is_empty() {
        return Err(asked.not_ready(&name, &found).await);
    }
    let seen = Seen::all_from_here(&found.records);
    let first = Seen::first_dialed(&seen);
    if first.is_none() && !args.all {
        return Err(out_of_reach(&name, &seen, &found.unanswered));
    }
    warn_unanswered(context, &found.unanswered);
    match first.filter(|_| !args.all) {
        Some(first) => show(context, first, found.now_ms),
        None => show_all(context, &seen, found.now_ms),
    }
}

/// Shows one record. `now_ms` is the registrar's clock.
fn show(context: &Context, seen: &Seen<'_>, now_ms: u64) -> Result<Exit, Failure> {
    if context.json {
        context.print_json(&seen.to_json(Some(now_ms)))?;
    } else {
        context.print(portrait(seen, now_ms, context.width()))?;
    }
    Ok(Exit::Done)
}

fn show_all(context: &Context, seen: &[Seen<'_>], now_ms: u64) -> Result<Exit, Failure> {
    if context.json {
        let records: Vec<_> = seen.iter().map(|it| it.to_json(Some(now_ms))).collect();
        context.print_json(&records)?;
        return Ok(Exit::Done);
    }
    let width = context.width();
    let portraits: Vec<_> = seen.iter().map(|it| portrait(it, now_ms, width)).collect();
    context.print(portraits.join("\n"))?;
    Ok(Exit::Done)
}
