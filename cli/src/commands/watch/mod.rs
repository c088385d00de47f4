//! `callsign watch`: what comes, changes and goes.

pub(super) mod view;

use std::{
    pin::pin,
    time::{SystemTime, UNIX_EPOCH},
};

use discovery::{Change, Client, ConnectError, RegistrarFailure};
use endpoints::{Endpoint, NamePattern, Plain};
use gateway::json::RecordJson;
use serde::Serialize;
use uuid::Uuid;

use self::view::{Event, Reason, View};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    lookup::digits::instance_meant,
    lookup::query::pattern,
    lookup::ranking::{Seen, short_uuid, state_in_words},
    lookup::suggestion,
    output::notices::{note, warn, with_causes},
    output::{self, fitted},
    signals::Signals,
};

/// Print a line whenever an actor appears, changes or disappears
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign watch                       everything
  callsign watch 'feed*' --timestamps  begins with `feed`, with times
  callsign watch web --no-snapshot     only changes from now on
  callsign watch --json | jq -r 'select(.change == \"remove\").name'

It begins with the present instances. `+` is an instance that is there, `~` one that has changed, \
`-` one that is gone, and why. If the registrar is lost, or not there at the beginning, `watch` \
says so, and continues when there is one. It ends by Ctrl-C, or when the reader of its output is \
gone.")]
pub(crate) struct Args {
    /// Only these names; `*` matches any run of characters, `?` any one
    #[arg(default_value = "*", hide_default_value = true)]
    pattern: String,
    /// Leave out instances that are already there
    #[arg(long, visible_alias = "changes-only")]
    no_snapshot: bool,
    /// Print the time, in UTC
    #[arg(short, long)]
    timestamps: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let pattern = pattern(&args.pattern)?;
    let mut signals = Signals::new()?;
    let client = context.open_client()?;
    let mut watch = client.watch(pattern.as_str()).map_err(Failure::usage)?;
    let mut view = View::default();
    let mut reader_gone = pin!(output::reader_gone());
    loop {
        let change = tokio::select! {
            biased;
            signal = signals.next() => return Ok(Exit::Signal(signal)),
            () = &mut reader_gone => return Ok(Exit::READER_GONE),
            change = watch.next() => change,
        };
        let Some(change) = change else { return Ok(Exit::Done) };
        let is_snapshot = view.is_empty_handed();
        if let Change::Stale { failures } = &change
            && is_snapshot
            && !failures.may_pass()
        {
            return Err(ConnectError::Unreachable(failures.clone()).into());
        }
        let events = view.apply(change);
        let is_narrow = pattern != NamePattern::any();
        if is_narrow && is_snapshot && !view.is_empty_handed() && view.has_nothing() {
            say_nothing_is_there(context, &client, &pattern).await;
        }
        for event in events {
            if is_snapshot && args.no_snapshot && matches!(event, Event::Add(_)) {
                continue;
            }
            let Some(line) = line_of(context, &event, args.timestamps)? else { continue };
            tokio::select! {
                biased;
                signal = signals.next() => return Ok(Exit::Signal(signal)),
                printed = context.print_patiently(line) => printed?,
            }
        }
    }
}

/// Says that nothing matches yet, and what was meant if the pattern is one name.
async fn say_nothing_is_there(context: &Context, client: &Client, pattern: &NamePattern) {
    let meant = match pattern.exact() {
        Some(name) => {
            let unasked = std::future::ready(());
            let ((), names) = suggestion::with_names(client, unasked).await;
            match instance_meant(client, &name).await {
                Some(hint) => Some(hint.line(context)),
                None => suggestion::did_you_mean(name.as_str(), names.iter().map(String::as_str)),
            }
        }
        None => None,
    };
    let meant = meant.map(|it| format!("; {it}")).unwrap_or_default();
    note(context, format_args!("nothing that matches `{pattern}` is registered yet{meant}"));
}

/// Returns the output for an event; remarks are printed here.
fn line_of(context: &Context, event: &Event, timestamps: bool) -> Result<Option<String>, Failure> {
    let time = timestamps
        .then(|| humantime::format_rfc3339_millis(SystemTime::now().max(UNIX_EPOCH)).to_string());
    if context.json {
        return json_of(event, time).map(Some);
    }
    let line = match event {
        Event::Add(record) => format!("+ {}", in_line(&Seen::from_here(record))),
        Event::Update(record) => format!("~ {}", in_line(&Seen::from_here(record))),
        Event::Remove { record, reason } => {
            format!("- {} {} {reason}", record.name, short_uuid(&record.uuid))
        }
        Event::Synced { was_stale: false } => return Ok(None),
        Event::Synced { was_stale: true } => {
            note(context, "the registrar is there");
            return Ok(None);
        }
        Event::Lost(failures) => {
            let who = if failures.have_answer() {
                "no registrar tells this user"
            } else {
                "no registrar answers"
            };
            warn(context, format_args!("{who}; what comes and goes is not seen:\n{failures}"));
            return Ok(None);
        }
        Event::Back => {
            note(context, "the registrar is back");
            return Ok(None);
        }
        Event::Missed(failures) => {
            let text = "not every registrar answers; what comes and goes there alone is not seen";
            warn(context, format_args!("{text}:\n{failures}"));
            return Ok(None);
        }
        Event::AllThere => {
            note(context, "every registrar is there");
            return Ok(None);
        }
    };
    let line = Plain(&line);
    let line = match time {
        Some(time) => format!("{time} {line}"),
        None => line.to_string(),
    };
    // A program that reads lines gets one for each event, whatever the environment says of a width.
    Ok(Some(fitted(&line, output::width(&std::io::stdout()), 0, 2)))
}

/// Writes a record on one line.
fn in_line(seen: &Seen<'_>) -> String {
    let record = seen.record;
    let nearest = match (seen.nearest(), seen.candidates.len()) {
        (None, _) => format!("none: {}", seen.why_none()),
        (Some((endpoint, _)), 1) => endpoint.to_string(),
        (Some((endpoint, _)), count) => format!("{endpoint} +{}", count - 1),
    };
    let (name, state) = (&record.name, state_in_words(record));
    format!("{name} {} {state} {nearest} {}", short_uuid(&record.uuid), record.lifetime)
}

fn json_of(event: &Event, time: Option<String>) -> Result<String, Failure> {
    let change = match event {
        Event::Add(record) => {
            ChangeJson::Add { record: Box::new(Seen::from_here(record).to_json(None)) }
        }
        Event::Update(record) => {
            ChangeJson::Update { record: Box::new(Seen::from_here(record).to_json(None)) }
        }
        Event::Remove { record, reason } => {
            ChangeJson::Remove { name: record.name.as_str(), uuid: record.uuid, reason: *reason }
        }
        Event::Synced { .. } | Event::Back => ChangeJson::Synced,
        Event::Lost(failures) => {
            ChangeJson::Stale { registrars: failures.0.iter().map(LostJson::of).collect() }
        }
        Event::Missed(failures) => {
            ChangeJson::Partial { registrars: failures.0.iter().map(LostJson::of).collect() }
        }
        Event::AllThere => ChangeJson::Partial { registrars: Vec::new() },
    };
    serde_json::to_string(&LineJson { time, change }).map_err(|error| Failure::output(error.into()))
}

/// A line for programs, as `docs/json.md` describes it.
#[derive(Debug, Serialize)]
struct LineJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(flatten)]
    change: ChangeJson<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
enum ChangeJson<'a> {
    Add {
        #[serde(flatten)]
        record: Box<RecordJson<'a>>,
    },
    Update {
        #[serde(flatten)]
        record: Box<RecordJson<'a>>,
    },
    Remove {
        name: &'a str,
        uuid: Uuid,
        reason: Reason,
    },
    Synced,
    Stale {
        registrars: Vec<LostJson<'a>>,
    },
    Partial {
        registrars: Vec<LostJson<'a>>,
    },
}

#[derive(Debug, Serialize)]
struct LostJson<'a> {
    registrar: &'a Endpoint,
    encoded: String,
    error: String,
}

impl<'a> LostJson<'a> {
    fn of(failure: &'a RegistrarFailure) -> Self {
        let registrar = &failure.registrar;
        let error = with_causes(&*failure.error);
        Self { registrar, encoded: registrar.to_encoded(), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::ranking::sample::{record, seen};

    #[test]
    fn a_record_fits_a_line() {
        let check = |endpoints: &[(&str, u64)], expected: &str| {
            assert_eq!(in_line(&seen(&record("feed", 3, endpoints))), expected);
        };
        check(&[], "feed 33333333 ready none: no endpoints session");
        check(&[("/unix/@feed", 1)], "feed 33333333 ready /unix/@feed session");
        check(
            &[("/ip4/10.0.0.9/tcp/7", 2), ("/unix/@feed", 1)],
            "feed 33333333 ready /unix/@feed +1 session",
        );
    }

    #[test]
    fn programs_read_a_change_a_line() {
        let check = |time: Option<&str>, change: ChangeJson<'_>, expected: &str| {
            let line = LineJson { time: time.map(str::to_owned), change };
            assert_eq!(serde_json::to_string(&line).unwrap(), expected);
        };
        check(None, ChangeJson::Synced, r#"{"change":"synced"}"#);
        check(
            Some("2025-01-02T03:04:05.678Z"),
            ChangeJson::Remove { name: "feed", uuid: Uuid::nil(), reason: Reason::LeaseExpired },
            concat!(
                r#"{"time":"2025-01-02T03:04:05.678Z","change":"remove","name":"feed","#,
                r#""uuid":"00000000-0000-0000-0000-000000000000","reason":"lease-expired"}"#
            ),
        );
        let feed = record("feed", 3, &[]);
        let record = Box::new(seen(&feed).to_json(None));
        let add = LineJson { time: None, change: ChangeJson::Add { record } };
        let json = serde_json::to_value(&add).unwrap();
        assert_eq!((&json["change"], &json["name"]), (&"add".into(), &"feed".into()));
    }
}
