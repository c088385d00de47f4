//! `callsign ls`: registered actors, and how near each is from here.

pub(super) mod selection;

use discovery::{Registrar, Standing};
use endpoints::{Name, Plain, Ranked, Stamped};
use rustix::process::geteuid;
use unicode_width::UnicodeWidthStr;
use wire::{Record, State};

use self::selection::{Filter, SortKey, have_several_owners, owner_of, sort};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    lookup::query::pattern,
    lookup::ranking::{
        Seen, WAITING, age_in_words, in_short, remark_on, short_uuid, state_in_words,
    },
    lookup::sources::Asked,
    output::notices::{note, nothing_is_there, warn_unanswered},
    output::{Table, fits, fitted, shortened},
};

/// List registered actors, and how near each is from here
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign ls              all registered actors
  callsign ls 'feed*'      names that begin with `feed`
  callsign ls --all        every endpoint, a row each, and draining instances
  callsign ls --sort age --filter state=suspect --filter desk=rates
  callsign ls --json | jq -r '.[] | select(.lifetime == \"lease\") | .name'

NEAREST is the endpoint that `callsign connect` would try first, and LOCALITY how near that is \
from here; `+2` means two more endpoints. If none is within reach, it shows the reason.

LIFETIME is the reason for the entry: a session, a lease, the registrar's settings (declared: \
nothing shows that it runs), or the registrar's own watch (foreign: the actor speaks another \
protocol); `at rome` names the node of the cluster that keeps it, if that is another than the \
registrar asked. USER appears if several users have registered; for a registrant on the network it is \
the address. A narrow screen shows fewer columns; `--all` and `--json` show all. On a terminal, \
longer output goes through $CALLSIGN_PAGER, $PAGER or less. An instance is suspect if somebody \
could not connect to it and the registrar cannot tell whether it is there, or if its process does \
not react.")]
pub(crate) struct Args {
    /// Only these names; `*` matches any run of characters, `?` any one
    #[arg(default_value = "*", hide_default_value = true)]
    pattern: String,
    /// Show every endpoint in full, a row each, and draining instances
    #[arg(short, long, visible_alias = "wide")]
    all: bool,
    /// Sort by name, age, state, locality, lifetime or user
    #[arg(short, long, value_name = "KEY", default_value = "name")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    sort: SortKey,
    /// Reverse the order
    #[arg(short, long)]
    reverse: bool,
    /// Only records that match: name, state, lifetime, user, owner, locality, or a key of the
    /// metadata (repeatable)
    #[arg(short, long, value_name = "KEY=PATTERN")]
    filter: Vec<String>,
    /// Only what this node of the cluster keeps
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Do not use a pager
    #[arg(long)]
    no_pager: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let pattern = pattern(&args.pattern)?;
    let filters: Vec<_> =
        args.filter.iter().map(|it| Filter::read(it)).collect::<Result<_, _>>()?;
    let mut found = Asked::connect(context).await?.list(&pattern).await?;
    let shows_draining = args.all || filters.iter().any(Filter::asks_for_draining);
    let in_all = found.records.len();
    found.records.retain(|it| shows_draining || it.state != State::Draining);
    let hidden = in_all - found.records.len();
    match hidden {
        0 => {}
        1 => note(context, "one that is draining is not shown; `--all` shows it"),
        count => {
            let text = format_args!("{count} that are draining are not shown; `--all` shows them");
            note(context, text);
        }
    }
    if let Some(node) = &args.node {
        let own = own_node(context).await?;
        let home = |it: &Record| it.node.as_ref().or(own.as_ref()).map(Name::to_string);
        found.records.retain(|it| home(it).as_ref() == Some(node));
    }
    let mut seen = Seen::all_from_here(&found.records);
    if let Some(unknown) = filters.iter().find_map(|it| it.unknown_key(&seen))
        && !seen.is_empty()
    {
        note(context, unknown);
    }
    seen.retain(|it| filters.iter().all(|filter| filter.takes(it)));
    sort(&mut seen, args.sort);
    if args.reverse {
        seen.reverse();
    }
    if context.json {
        let records: Vec<_> = seen.iter().map(|it| it.to_json(Some(found.now_ms))).collect();
        context.print_json(&records)?;
    }
    if seen.is_empty() {
        let nothing = match pattern.as_str() {
            _ if hidden > 0 => "nothing else is registered".to_owned(),
            _ if !filters.is_empty() || args.node.is_some() => {
                "nothing that is registered passes the filter".to_owned()
            }
            "*" => "nothing is registered".to_owned(),
            pattern => format!("nothing is registered that matches `{pattern}`"),
        };
        return if hidden > 0 && found.unanswered.is_empty() {
            // The hidden ones have been counted above.
            Ok(Exit::Done)
        } else {
            nothing_is_there(context, &nothing, &found.unanswered)
        };
    }
    warn_unanswered(context, &found.unanswered);
    if context.json {
        return Ok(Exit::Done);
    }
    let table = if args.all {
        let width = context.width();
        let table = Some(every_endpoint(&seen, found.now_ms).render());
        let table = table.filter(|it| fits(it, width));
        table.unwrap_or_else(|| below_each_other(&seen, found.now_ms, width))
    } else {
        nearest(&seen, found.now_ms, context.width()).render()
    };
    if args.no_pager {
        context.print(table)?
    } else {
        context.print_in_pager(table)?
    }
    Ok(Exit::Done)
}

/// Returns what the registrar that is asked is called in its cluster, if it is in one.
async fn own_node(context: &Context) -> Result<Option<Name>, Failure> {
    let registrars = context.client().await?.status().await;
    let node = |it: Registrar| match it.standing {
        Standing::Up { status, .. } => status.cluster.map(|it| it.node),
        _ => None,
    };
    Ok(registrars.into_iter().find_map(node))
}

/// Draws a row for each instance. Within a width, the least telling columns are left out first, then
/// endpoints are shortened, then other columns are left out, and last the names are shortened.
fn nearest(seen: &[Seen<'_>], now_ms: u64, width: Option<u16>) -> Table {
    let mut rows = vec![HEADER.map(str::to_owned)];
    for seen in seen {
        let [name, instance, state, lifetime, age] = what_it_is(seen.record, now_ms);
        let (nearest, locality) = match (seen.nearest(), seen.candidates.len()) {
            (None, _) => (format!("{NONE}{}", seen.why_none()), "-".to_owned()),
            (Some((endpoint, locality)), count) => {
                let further = if count > 1 { format!(" +{}", count - 1) } else { String::new() };
                let remark = remark_on(seen.candidates[0].stamped, seen.record);
                (format!("{endpoint}{further}"), format!("{locality}{remark}"))
            }
        };
        rows.push([name, instance, state, nearest, locality, lifetime, age, owner_of(seen.record)]);
    }
    let mut shown: Vec<usize> = (0..HEADER.len()).collect();
    if !have_several_owners(seen) {
        shown.retain(|it| *it != USER);
    }
    if let Some(width) = width {
        fit(&mut rows, &mut shown, usize::from(width));
    }
    let mut table = Table::new(shown.iter().map(|it| HEADER[*it]));
    for row in rows.iter().skip(1) {
        table.row(shown.iter().map(|it| row[*it].clone()));
    }
    table
}

/// Makes rows fit a width, if that can be.
fn fit(rows: &mut [[String; HEADER.len()]], shown: &mut Vec<usize>, width: usize) {
    let room_for = |rows: &[[String; HEADER.len()]], shown: &[usize], column: usize| {
        let widest = |it: usize| rows.iter().map(|row| row[it].width()).max().unwrap_or(0);
        let others: usize =
            shown.iter().filter(|it| **it != column).map(|it| widest(*it) + 2).sum();
        width.saturating_sub(others)
    };
    let widest = rows.iter().map(|row| row[NEAREST].width()).max().unwrap_or(0);
    let least = widest.min(NEAREST_MIN);
    for (columns, needed) in [(LESS_TELLING, widest), (DISPENSABLE, least)] {
        for column in columns {
            if room_for(rows, shown, NEAREST) < needed {
                shown.retain(|it| it != column);
            }
        }
    }
    if room_for(rows, shown, NEAREST) < widest.min(NEAREST_MIN) {
        // In `ready, suspect` the last word matters more.
        rows.iter_mut().for_each(|row| {
            let mut words = row[STATE].rsplit(", ").filter(|it| !it.ends_with(WAITING));
            row[STATE] = words.next().unwrap_or_default().to_owned();
        });
    }
    for (column, least) in
        [(NEAREST, NEAREST_MIN), (NAME, NAME_MIN), (STATE, STATE_MIN), (NEAREST, 1)]
    {
        let room = room_for(rows, shown, column).max(least);
        for row in rows.iter_mut() {
            // A shortened reason would be incomprehensible.
            let is_reason = row[column].starts_with(NONE) && row[column].width() > room;
            let shown = if is_reason { "none" } else { &row[column] };
            row[column] = shortened(shown, room);
        }
    }
}

/// Draws an instance on a line and its endpoints below it, where a table would be too wide.
fn below_each_other(seen: &[Seen<'_>], now_ms: u64, width: Option<u16>) -> String {
    let mut text = String::new();
    let names_owners = are_of_others(seen);
    for seen in seen {
        let mut line = what_it_is(seen.record, now_ms).join("  ");
        if names_owners {
            line = format!("{line}  {}", owner_of(seen.record));
        }
        text += &(fitted(&Plain(&line).to_string(), width, 0, 2) + "\n");
        if seen.candidates.is_empty() {
            text += "  none\n";
        }
        for candidate in &seen.candidates {
            let (locality, endpoint) = (verdict_on(candidate, seen), &candidate.stamped.endpoint);
            let line = format!("  {locality:<14}  {endpoint}");
            text += &(fitted(&line, width, 0, 4) + "\n");
        }
    }
    text
}

/// Tells whether any belong to another user: if all are the user's own, the owner need not be
/// shown.
fn are_of_others(seen: &[Seen<'_>]) -> bool {
    let own = wire::Owner::User(geteuid().as_raw());
    have_several_owners(seen)
        || seen.iter().any(|it| it.record.owner.as_ref().is_some_and(|it| *it != own))
}

/// Draws a row for each endpoint.
fn every_endpoint(seen: &[Seen<'_>], now_ms: u64) -> Table {
    let names_owners = are_of_others(seen);
    let header = ["NAME", "INSTANCE", "STATE", "LIFETIME", "AGE", "USER", "LOCALITY", "ENDPOINT"];
    let shown = |it: &usize| names_owners || header[*it] != "USER";
    let shown: Vec<_> = (0..header.len()).filter(shown).collect();
    let mut table = Table::new(shown.iter().map(|it| header[*it]));
    for seen in seen {
        let row = |locality: &str, endpoint: String| {
            let [name, instance, state, lifetime, age] = what_it_is(seen.record, now_ms);
            let owner = owner_of(seen.record);
            let row = [name, instance, state, lifetime, age, owner, locality.to_owned(), endpoint];
            shown.iter().map(|it| row[*it].clone()).collect::<Vec<_>>()
        };
        if seen.candidates.is_empty() {
            table.row(row("-", "none".to_owned()));
        }
        for candidate in &seen.candidates {
            let endpoint = candidate.stamped.endpoint.to_string();
            table.row(row(&verdict_on(candidate, seen), endpoint));
        }
    }
    table
}

/// Says how near an endpoint is, or why it is left out.
fn verdict_on(Ranked { stamped, verdict }: &Ranked<&Stamped>, seen: &Seen<'_>) -> String {
    let verdict = match verdict {
        Ok(locality) => locality.as_str(),
        Err(reason) => in_short(reason),
    };
    format!("{verdict}{}", remark_on(stamped, seen.record))
}

/// Returns the columns of an instance apart from its endpoints: name, instance, state, lifetime,
/// age.
fn what_it_is(record: &Record, now_ms: u64) -> [String; 5] {
    let Record { name, uuid, lifetime, node, .. } = record;
    let lifetime = match node {
        Some(node) => format!("{lifetime} at {node}"),
        None => lifetime.to_string(),
    };
    let age = age_in_words(record, now_ms).unwrap_or_else(|| "-".to_owned());
    [name.to_string(), short_uuid(uuid), state_in_words(record), lifetime, age]
}

const HEADER: [&str; 8] =
    ["NAME", "INSTANCE", "STATE", "NEAREST", "LOCALITY", "LIFETIME", "AGE", "USER"];
const NAME: usize = 0;
const INSTANCE: usize = 1;
const STATE: usize = 2;
const NEAREST: usize = 3;
const LOCALITY: usize = 4;
const LIFETIME: usize = 5;
const AGE: usize = 6;

/// The prefix of the reason why an instance has no endpoint within reach.
const NONE: &str = "none: ";
const USER: usize = 7;

/// The columns that are dropped, in this order, before an endpoint is shortened: INSTANCE
/// distinguishes several instances of a name, which `find --all` does too.
const LESS_TELLING: &[usize] = &[AGE, INSTANCE, USER];

/// The columns that are dropped, in this order, before an endpoint is shortened to next to nothing.
const DISPENSABLE: &[usize] = &[LIFETIME, LOCALITY];

/// The least width of a name: enough to distinguish most.
const NAME_MIN: usize = 8;

/// The least width of a state: the shortest one in full.
const STATE_MIN: usize = 5;

/// The least width of an endpoint: enough to show its kind and its end.
const NEAREST_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use wire::{Lifetime, Suspicion};

    use super::*;
    use crate::lookup::ranking::sample::{record, seen};

    #[test]
    fn a_row_says_what_is_nearest_or_why_nothing_is() {
        let feed = record("feed", 3, &[("/ip4/10.0.0.9/tcp/7", 2), ("/unix/run/feed.sock", 1)]);
        let mut clock = record("clock", 4, &[("/unix/gone", 1)]);
        clock.lifetime = Lifetime::Lease { ttl_ms: 30_000 };
        clock.suspicion = Some(Suspicion { reports: 2, since_ms: 0, silent: false });
        let mut job = record("job", 5, &[]);
        job.state = State::Starting;
        let records = [feed, clock, job];
        let records: Vec<_> = records.iter().map(seen).collect();
        let check = |width: Option<u16>, expected: &str| {
            assert_eq!(nearest(&records, 4000, width).render(), expected, "{width:?}");
        };
        let in_full = "\
NAME   INSTANCE  STATE           NEAREST                 LOCALITY     LIFETIME  AGE
feed   33333333  ready           /unix/run/feed.sock +1  unix socket  session   3s
clock  44444444  ready, suspect  none: no such socket    -            lease     3s
job    55555555  starting        none: no endpoints      -            session   3s
";
        check(None, in_full);
        check(Some(83), in_full);
        check(
            Some(80),
            "\
NAME   INSTANCE  STATE           NEAREST                 LOCALITY     LIFETIME
feed   33333333  ready           /unix/run/feed.sock +1  unix socket  session
clock  44444444  ready, suspect  none: no such socket    -            lease
job    55555555  starting        none: no endpoints      -            session
",
        );
        assert_eq!(
            every_endpoint(&records, 4000).render(),
            "\
NAME   INSTANCE  STATE           LIFETIME  AGE  LOCALITY        ENDPOINT
feed   33333333  ready           session   3s   unix socket     /unix/run/feed.sock
feed   33333333  ready           session   3s   same subnet     /ip4/10.0.0.9/tcp/7
clock  44444444  ready, suspect  lease     3s   no such socket  /unix/gone
job    55555555  starting        session   3s   -               none
"
        );
    }

    #[test]
    fn rows_fit_narrow_screens_without_breaking_words() {
        let long = format!("/unix/run/user/1000/callsign/{}.sock", "x".repeat(60));
        let mut feed = record("feed.of.the.market.in.frankfurt", 3, &[(&long, 1)]);
        feed.suspicion = Some(Suspicion { reports: 2, since_ms: 0, silent: false });
        let wide = record("東京東京東京東京東京", 4, &[("/unix/run/feed.sock", 1)]);
        let mut other = record("clock", 5, &[]);
        other.owner = Some(wire::Owner::User(4_000_000));
        let records = [feed, wide, other];
        let seen: Vec<_> = records.iter().map(seen).collect();
        for width in [30, 40, 60, 80, 100, 120] {
            let drawn = nearest(&seen, 4000, Some(width)).render();
            assert_eq!(drawn.lines().count(), 4, "{drawn}");
            for line in drawn.lines() {
                assert!(line.width() <= usize::from(width), "{width}:\n{drawn}");
            }
        }
        assert_eq!(
            nearest(&seen, 4000, Some(40)).render(),
            "\
NAME           STATE    NEAREST
feed…rankfurt  suspect  /unix…xxxxx.sock
東京…東京東京  ready    /unix…/feed.sock
clock          ready    none
"
        );
        // An endpoint in full is worth more than who has registered it.
        assert!(nearest(&seen, 4000, Some(200)).render().contains("USER"));
        let narrower = nearest(&seen, 4000, Some(170)).render();
        assert!(narrower.contains(&long) && !narrower.contains("AGE"), "{narrower}");
        assert!(!nearest(&seen[..2], 4000, None).render().contains("USER"));
    }

    #[test]
    fn endpoints_are_shortened_in_the_middle() {
        let check = |text: &str, room, expected: &str| {
            let shortened = shortened(text, room);
            assert_eq!(shortened, expected);
            assert!(shortened.width() <= room.max(1));
        };
        check("/unix/run/feed.sock", 19, "/unix/run/feed.sock");
        check("/unix/run/feed.sock", 18, "/unix…un/feed.sock");
        check("/unix/run/größe/ö.sock", 10, "/un…ö.sock");
        check("/unix", 1, "…");
    }
}
