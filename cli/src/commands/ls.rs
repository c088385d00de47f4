//! `callsign ls`: who is registered, and how near each is from here.

use std::time::Duration;

use endpoints::Candidate;
use wire::Record;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    found::pattern,
    notice::{note, warn_unanswered},
    output::{Table, age},
    seen::{Seen, in_short, short_uuid, state_in_words},
};

/// List who is registered, and how near each is from here
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign ls              everything that is registered
  callsign ls 'feed*'      names that begin with `feed`
  callsign ls --all        every endpoint, a row each
  callsign ls --json | jq -r '.[] | select(.kept == \"lease\") | .name'

NEAREST is the endpoint that `callsign connect` would try first, and LOCALITY how
near that is from here; `+2` says that there are two more. Where none is within
reach, it says why. KEPT is what keeps the entry: a session, a lease, or the
registrar's own settings (declared: nobody has said that it runs). An instance is
suspect when others could not connect to it and the registrar could not tell.")]
pub(crate) struct Args {
    /// Only these names; `*` stands for any run of characters, `?` for any one
    #[arg(default_value = "*", hide_default_value = true)]
    pattern: String,
    /// Show every endpoint, a row each, in full
    #[arg(short, long, visible_alias = "wide")]
    all: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let pattern = pattern(&args.pattern)?;
    let client = context.client().await?;
    let found = client.list(pattern.as_str()).await?;
    warn_unanswered(context, &found.unanswered);
    let seen = Seen::all_from_here(&found.records);
    if context.json {
        let records: Vec<_> = seen.iter().map(|it| it.to_json(Some(found.now_ms))).collect();
        context.print_json(&records)?;
        return Ok(Exit::Done);
    }
    if seen.is_empty() {
        match pattern.as_str() {
            "*" => note(context, "nothing is registered"),
            pattern => {
                note(context, format_args!("nothing is registered that matches `{pattern}`"))
            }
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(HEADER);
    for row in seen.iter().flat_map(|it| rows(it, found.now_ms, args.all)) {
        table.row(row);
    }
    context.print(table.render(context.width().filter(|_| !args.all)))?;
    Ok(Exit::Done)
}

/// Returns the rows of a record: one, or one for each endpoint where `all` are wanted.
fn rows(seen: &Seen<'_>, now_ms: u64, all: bool) -> Vec<[String; 7]> {
    let Record { name, uuid, kept, since_ms, .. } = seen.record;
    let row = |endpoint: String, locality: String| {
        let state = state_in_words(seen.record);
        let age = age(Duration::from_millis(now_ms.saturating_sub(*since_ms)));
        [name.to_string(), short_uuid(uuid), state, endpoint, locality, kept.to_string(), age]
    };
    if all && !seen.candidates.is_empty() {
        let row_of = |it: &Candidate<'_>| match &it.verdict {
            Ok(locality) => row(it.stamped.endpoint.to_string(), locality.to_string()),
            Err(reason) => row(it.stamped.endpoint.to_string(), in_short(reason).to_owned()),
        };
        return seen.candidates.iter().map(row_of).collect();
    }
    let Some((nearest, locality)) = seen.nearest() else {
        return vec![row(format!("none: {}", seen.why_none()), "-".to_owned())];
    };
    let nearest = match seen.candidates.len() - 1 {
        0 => nearest.to_string(),
        further => format!("{nearest} +{further}"),
    };
    vec![row(nearest, locality.to_string())]
}

const HEADER: [&str; 7] = ["NAME", "INSTANCE", "STATE", "NEAREST", "LOCALITY", "KEPT", "AGE"];
