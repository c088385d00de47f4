//! `callsign ls`: registered actors, and how near each is from here.

mod row;
pub(super) mod selection;
mod sheet;

use discovery::{Registrar, Standing};
use endpoints::Name;

use self::{
    row::{Kept, Row, Sieve, View, Why},
    selection::{Filter, SortKey},
    sheet::{Sheet, as_array, below_each_other},
};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    lookup::query::pattern,
    lookup::sources::Asked,
    output::notices::{note, nothing_is_there, warn_unanswered},
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
could not connect to it and the registrar cannot tell whether it is there, if its process does \
not react, or if the registrar is cut off from the node that keeps it.")]
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
    let is_selective = !filters.is_empty() || args.node.is_some();
    let view = match () {
        () if context.json => View::Json,
        () if args.all => View::Endpoints,
        () => View::Nearest,
    };
    let asked = Asked::connect(context).await?;
    let mut sieve = Sieve::new(view, args.sort, filters);
    sieve.shows_draining |= args.all;
    if let Some(node) = args.node {
        sieve.node = Some((node, own_node(context).await?));
    }
    let mut found = asked.list_as(&pattern, |record, now_ms| sieve.take(record, now_ms)).await?;
    let is_left_out = |it: &Kept, why| matches!(it, Kept::LeftOut(it) if *it == why);
    let hidden = found.kept.iter().filter(|it| is_left_out(it, Why::Draining)).count();
    match hidden {
        0 => {}
        1 => note(context, "one that is draining is not shown; `--all` shows it"),
        count => {
            let text = format_args!("{count} that are draining are not shown; `--all` shows them");
            note(context, text);
        }
    }
    let is_filtered =
        |it: &Kept| !is_left_out(it, Why::Draining) && !is_left_out(it, Why::Elsewhere);
    if let Some(unknown) = sieve.unknown_key()
        && found.kept.iter().any(is_filtered)
    {
        note(context, unknown);
    }
    sieve.take_starting(&mut found.kept);
    let rows = found.kept.into_iter().filter_map(|it| match it {
        Kept::Row(row) => Some(row),
        _ => None,
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_by(|one, other| one.sort.cmp(&other.sort));
    if args.reverse {
        rows.reverse();
    }
    if context.json {
        context.print_pieces(as_array(&rows))?;
    }
    if rows.is_empty() {
        let nothing = match pattern.as_str() {
            _ if hidden > 0 => "nothing else is registered".to_owned(),
            _ if is_selective => "nothing that is registered passes the filter".to_owned(),
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
    let width = context.width();
    match view {
        View::Json => Ok(()),
        View::Nearest => {
            let sheet = Sheet::of_nearest(&rows, width);
            print(context, args.no_pager, || sheet.pieces())
        }
        View::Endpoints => match Sheet::of_endpoints(&rows, width) {
            Some(sheet) => print(context, args.no_pager, || sheet.pieces()),
            None => print(context, args.no_pager, || below_each_other(&rows, width)),
        },
    }?;
    Ok(Exit::Done)
}

/// Prints what is drawn in pieces.
fn print<I: Iterator<Item = String>>(
    context: &Context,
    no_pager: bool,
    draw: impl Fn() -> I,
) -> Result<(), Failure> {
    if no_pager { context.print_pieces(draw()) } else { context.print_in_pager(draw) }
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

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;
    use wire::{Lifetime, State, Suspicion};

    use super::*;
    use crate::lookup::ranking::{
        Seen,
        sample::{record, seen},
    };
    use crate::output::shortened;

    fn rows(view: View, records: &[Seen<'_>]) -> Vec<Row> {
        let sieve = Sieve::new(view, SortKey::Name, Vec::new());
        let rows = records.iter().map(|it| match sieve.row(it, 4000) {
            Kept::Row(row) => row,
            other => panic!("{other:?}"),
        });
        rows.collect()
    }

    fn every_endpoint(records: &[Seen<'_>]) -> String {
        let rows = rows(View::Endpoints, records);
        Sheet::of_endpoints(&rows, None).unwrap().pieces().collect()
    }

    fn nearest(records: &[Seen<'_>], width: Option<u16>) -> String {
        Sheet::of_nearest(&rows(View::Nearest, records), width).pieces().collect()
    }

    #[test]
    fn a_row_says_what_is_nearest_or_why_nothing_is() {
        let feed = record("feed", 3, &[("/ip4/10.0.0.9/tcp/7", 2), ("/unix/run/feed.sock", 1)]);
        let mut clock = record("clock", 4, &[("/unix/gone", 1)]);
        clock.lifetime = Lifetime::Lease { ttl_ms: 30_000 };
        clock.suspicion = Some(Suspicion { reports: 2, ..Suspicion::default() });
        let mut job = record("job", 5, &[]);
        job.state = State::Starting;
        let records = [feed, clock, job];
        let records: Vec<_> = records.iter().map(seen).collect();
        let check = |width: Option<u16>, expected: &str| {
            assert_eq!(nearest(&records, width), expected, "{width:?}");
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
            every_endpoint(&records),
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
        feed.suspicion = Some(Suspicion { reports: 2, ..Suspicion::default() });
        let wide = record("東京東京東京東京東京", 4, &[("/unix/run/feed.sock", 1)]);
        let mut other = record("clock", 5, &[]);
        other.owner = Some(wire::Owner::User(4_000_000));
        let records = [feed, wide, other];
        let seen: Vec<_> = records.iter().map(seen).collect();
        for width in [30, 40, 60, 80, 100, 120] {
            let drawn = nearest(&seen, Some(width));
            assert_eq!(drawn.lines().count(), 4, "{drawn}");
            for line in drawn.lines() {
                assert!(line.width() <= usize::from(width), "{width}:\n{drawn}");
            }
        }
        assert_eq!(
            nearest(&seen, Some(40)),
            "\
NAME           STATE    NEAREST
feed…rankfurt  suspect  /unix…xxxxx.sock
東京…東京東京  ready    /unix…/feed.sock
clock          ready    none
"
        );
        // An endpoint in full is worth more than who has registered it.
        assert!(nearest(&seen, Some(200)).contains("USER"));
        let narrower = nearest(&seen, Some(170));
        assert!(narrower.contains(&long) && !narrower.contains("AGE"), "{narrower}");
        assert!(!nearest(&seen[..2], None).contains("USER"));
    }

    #[test]
    fn a_long_name_gives_way_to_the_addresses() {
        let mut long = record(&format!("averyvery{}", "very".repeat(19)), 3, &[("/unix/a", 1)]);
        let mut short = record("a", 4, &[("/ip4/127.0.0.1/tcp/5", 1)]);
        for lease in [&mut long, &mut short] {
            lease.lifetime = Lifetime::Lease { ttl_ms: 3_600_000 };
        }
        let records = [long, short];
        let seen: Vec<_> = records.iter().map(seen).collect();
        let check = |width: u16, whole: &[&str], left_out: &[&str]| {
            let drawn = nearest(&seen, Some(width));
            assert!(drawn.lines().all(|it| it.width() <= usize::from(width)), "{width}:\n{drawn}");
            for text in whole {
                assert!(drawn.contains(text), "{text} {width}:\n{drawn}");
            }
            for text in left_out {
                assert!(!drawn.contains(text), "{text} {width}:\n{drawn}");
            }
        };
        check(80, &["/ip4/127.0.0.1/tcp/5", "44444444", "…"], &["AGE"]);
        // The instances cost more than is missing, and the name has the rest back.
        check(72, &["/ip4/127.0.0.1/tcp/5", "LIFETIME", "…"], &["INSTANCE"]);
        check(160, &["/ip4/127.0.0.1/tcp/5", "44444444", "very  "], &["…"]);
        let name = |width: u16| {
            let drawn = nearest(&seen, Some(width));
            drawn.lines().nth(1).map(|it| it.split("  ").next().unwrap().width())
        };
        assert!(name(72) > Some(16), "{}", nearest(&seen, Some(72)));
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
