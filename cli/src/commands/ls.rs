//! `callsign ls`: who is registered, and how near each is from here.

use endpoints::Candidate;
use wire::{Record, State};

use crate::{
    asked::Asked,
    context::Context,
    failure::{Exit, Failure},
    found::pattern,
    notice::note,
    output::Table,
    seen::{Seen, age_in_words, in_short, short_uuid, state_in_words},
};

/// List who is registered, and how near each is from here
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign ls              everything that is registered
  callsign ls 'feed*'      names that begin with `feed`
  callsign ls --all        every endpoint, a row each, also of what is draining
  callsign ls --json | jq -r '.[] | select(.kept == \"lease\") | .name'

NEAREST is the endpoint that `callsign connect` would try first, and LOCALITY how near that is \
from here; `+2` says that there are two more. Where none is within reach, it says why.

KEPT is what keeps the entry: a session, a lease, the registrar's own settings (declared: \
nobody has said that it runs), or the registrar's own eyes (foreign: the actor speaks another \
protocol). An instance is suspect when somebody could not connect to it, and the registrar cannot \
tell whether it is there, or when its process does not react.")]
pub(crate) struct Args {
    /// Only these names; `*` stands for any run of characters, `?` for any one
    #[arg(default_value = "*", hide_default_value = true)]
    pattern: String,
    /// Show every endpoint, a row each, in full, and also what is draining
    #[arg(short, long, visible_alias = "wide")]
    all: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let pattern = pattern(&args.pattern)?;
    let mut found = Asked::connect(context).await?.list(&pattern).await?;
    let in_all = found.records.len();
    found.records.retain(|it| args.all || it.state != State::Draining);
    let hidden = in_all - found.records.len();
    match hidden {
        0 => {}
        1 => note(context, "one that is draining is not shown; `--all` shows it"),
        count => {
            let text = format_args!("{count} that are draining are not shown; `--all` shows them");
            note(context, text);
        }
    }
    let seen = Seen::all_from_here(&found.records);
    if context.json {
        let records: Vec<_> = seen.iter().map(|it| it.to_json(Some(found.now_ms))).collect();
        context.print_json(&records)?;
        return Ok(Exit::Done);
    }
    if seen.is_empty() {
        match pattern.as_str() {
            // That there is something has been said.
            _ if hidden > 0 => {}
            "*" => note(context, "nothing is registered"),
            pattern => {
                note(context, format_args!("nothing is registered that matches `{pattern}`"))
            }
        }
        return Ok(Exit::Done);
    }
    let table = match args.all {
        true => every_endpoint(&seen, found.now_ms).render(None),
        false => nearest(&seen, found.now_ms, context.width()).render(context.width()),
    };
    context.print(table)?;
    Ok(Exit::Done)
}

/// Draws a row for each instance. Within a width, an endpoint is shortened before all else.
fn nearest(seen: &[Seen<'_>], now_ms: u64, width: Option<u16>) -> Table {
    let header = ["NAME", "INSTANCE", "STATE", "NEAREST", "LOCALITY", "KEPT", "AGE"];
    let mut rows = vec![header.map(str::to_owned)];
    for seen in seen {
        let [name, instance, state, kept, age] = what_it_is(seen.record, now_ms);
        let (nearest, locality) = match (seen.nearest(), seen.candidates.len()) {
            (None, _) => (format!("none: {}", seen.why_none()), "-".to_owned()),
            (Some((endpoint, locality)), 1) => (endpoint.to_string(), locality.to_string()),
            (Some((endpoint, locality)), count) => {
                (format!("{endpoint} +{}", count - 1), locality.to_string())
            }
        };
        rows.push([name, instance, state, nearest, locality, kept, age]);
    }
    if let Some(width) = width {
        let widest = |column: usize| rows.iter().map(|it| it[column].chars().count()).max();
        let others: usize = (0..header.len()).filter(|it| *it != 3).filter_map(widest).sum();
        let room = usize::from(width).saturating_sub(others + 2 * (header.len() - 1));
        for row in &mut rows {
            row[3] = shortened(&row[3], room.max(NEAREST_MIN));
        }
    }
    let mut table = Table::new(header);
    rows.into_iter().skip(1).for_each(|row| table.row(row));
    table
}

/// Draws a row for each endpoint, which stands last and so may be as long as it is.
fn every_endpoint(seen: &[Seen<'_>], now_ms: u64) -> Table {
    let mut table =
        Table::new(["NAME", "INSTANCE", "STATE", "KEPT", "AGE", "LOCALITY", "ENDPOINT"]);
    for seen in seen {
        let row = |locality: &str, endpoint: String| {
            let [name, instance, state, kept, age] = what_it_is(seen.record, now_ms);
            [name, instance, state, kept, age, locality.to_owned(), endpoint]
        };
        if seen.candidates.is_empty() {
            table.row(row("-", "none".to_owned()));
        }
        for Candidate { stamped, verdict } in &seen.candidates {
            let locality = match verdict {
                Ok(locality) => locality.as_str(),
                Err(reason) => in_short(reason),
            };
            table.row(row(locality, stamped.endpoint.to_string()));
        }
    }
    table
}

/// Returns what a row says of an instance apart from its endpoints: name, instance, state, what
/// keeps it, age.
fn what_it_is(record: &Record, now_ms: u64) -> [String; 5] {
    let Record { name, uuid, kept, .. } = record;
    let age = age_in_words(record, now_ms).unwrap_or_else(|| "-".to_owned());
    [name.to_string(), short_uuid(uuid), state_in_words(record), kept.to_string(), age]
}

/// Shortens a text to so many characters. It loses its middle, because an endpoint is known by
/// how it begins and how it ends.
fn shortened(text: &str, room: usize) -> String {
    let count = text.chars().count();
    if count <= room {
        return text.to_owned();
    }
    let head = room.saturating_sub(1) / 3;
    let tail = room.saturating_sub(1) - head;
    let middle_out = text.chars().take(head).chain(['…']).chain(text.chars().skip(count - tail));
    middle_out.collect()
}

/// The least room that an endpoint gets: enough to tell its kind and its end.
const NEAREST_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use wire::{Kept, Suspicion};

    use super::*;
    use crate::seen::sample::{record, seen};

    #[test]
    fn a_row_says_what_is_nearest_or_why_nothing_is() {
        let feed = record("feed", 3, &[("/ip4/10.0.0.9/tcp/7", 2), ("/unix/run/feed.sock", 1)]);
        let mut clock = record("clock", 4, &[("/unix/gone", 1)]);
        clock.kept = Kept::Lease { ttl_ms: 30_000 };
        clock.suspicion = Some(Suspicion { reports: 2, since_ms: 0, silent: false });
        let mut job = record("job", 5, &[]);
        job.state = State::Starting;
        let records = [feed, clock, job];
        let records: Vec<_> = records.iter().map(seen).collect();
        let check = |width: Option<u16>, expected: &str| {
            assert_eq!(nearest(&records, 4000, width).render(width), expected, "{width:?}");
        };
        let in_full = "\
NAME   INSTANCE  STATE           NEAREST                 LOCALITY     KEPT     AGE
feed   33333333  ready           /unix/run/feed.sock +1  unix socket  session  3s
clock  44444444  ready, suspect  none: no such socket    -            lease    3s
job    55555555  starting        none: no endpoints      -            session  3s
";
        check(None, in_full);
        check(Some(82), in_full);
        check(
            Some(80),
            "\
NAME   INSTANCE  STATE           NEAREST               LOCALITY     KEPT     AGE
feed   33333333  ready           /unix/…/feed.sock +1  unix socket  session  3s
clock  44444444  ready, suspect  none: no such socket  -            lease    3s
job    55555555  starting        none: no endpoints    -            session  3s
",
        );
        assert_eq!(
            every_endpoint(&records, 4000).render(None),
            "\
NAME   INSTANCE  STATE           KEPT     AGE  LOCALITY        ENDPOINT
feed   33333333  ready           session  3s   unix socket     /unix/run/feed.sock
feed   33333333  ready           session  3s   same subnet     /ip4/10.0.0.9/tcp/7
clock  44444444  ready, suspect  lease    3s   no such socket  /unix/gone
job    55555555  starting        session  3s   -               none
"
        );
    }

    #[test]
    fn endpoints_are_shortened_in_the_middle() {
        let check = |text: &str, room, expected: &str| {
            let shortened = shortened(text, room);
            assert_eq!(shortened, expected);
            assert!(shortened.chars().count() <= room.max(1));
        };
        check("/unix/run/feed.sock", 19, "/unix/run/feed.sock");
        check("/unix/run/feed.sock", 18, "/unix…un/feed.sock");
        check("/unix/run/größe/ö.sock", 10, "/un…ö.sock");
        check("/unix", 1, "…");
    }
}
