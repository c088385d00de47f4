//! `callsign wait`: until an actor is there.

use std::time::Duration;

use anyhow::anyhow;
use discovery::{Client, Found};
use endpoints::Name;
use tokio::time::timeout;
use wire::{Kept, Record, State};

use super::find;
use crate::{
    context::Context,
    failure::{Exit, Failure},
    found::{self, is_merely_declared},
    notice::warn_unanswered,
};

/// Wait until an actor is ready, then show where it is
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign wait feed                 as long as it takes
  callsign wait feed --timeout 5s    ends with 1 if it is not ready by then
  callsign wait db --timeout 1m && ./migrate

An actor that is merely declared in the registrar's settings does not count: nobody has said that \
it runs.")]
pub(crate) struct Args {
    /// The actor's name
    name: String,
    /// How long to wait at most, as in `500ms`, `5s` or `1m 30s`
    #[arg(short, long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let name = found::name(&args.name)?;
    let client = context.client().await?;
    let waiting = client.wait_for_actor(name.as_str());
    let record = match args.timeout {
        None => waiting.await?,
        Some(limit) => match timeout(limit, waiting).await {
            Ok(waited) => waited?,
            // What is there by now is in time, however short the limit was.
            Err(_) => match newest_ready(&client, &name).await? {
                Some(record) => record,
                None => return Err(too_late(&client, &name, limit).await),
            },
        },
    };
    // The registrar's clock tells the age, and an older instance may be nearer.
    let found = client.query_ready(name.as_str()).await?;
    warn_unanswered(context, &found.unanswered);
    let nearest = find::nearest(&found.records).unwrap_or(&record);
    find::show(context, nearest, found.now_ms.max(nearest.since_ms))
}

/// Returns the newest instance that a wait would have ended with.
async fn newest_ready(client: &Client, name: &Name) -> Result<Option<Record>, Failure> {
    // The time is over: what a registrar does not know now is not waited for.
    let records = client.list(name.as_str()).await?.records;
    Ok(records.into_iter().find(|it| it.state == State::Ready && it.kept != Kept::Declared))
}

/// Says what is known of an actor that was waited for in vain.
async fn too_late(client: &Client, name: &Name, limit: Duration) -> Failure {
    let found = match client.list(name.as_str()).await {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    let limit = humantime::format_duration(limit);
    let why = why(&found);
    let failure = Failure::not_found(anyhow!("`{name}` was not ready within {limit}: {why}"));
    if is_merely_declared(&found.records) {
        return failure.hint_command("use it as it is declared", ["connect", name.as_str()]);
    }
    failure
}

/// Says in a few words what is there instead of a ready instance.
fn why(found: &Found) -> String {
    if found.records.is_empty() {
        return "no such actor is registered".to_owned();
    }
    if is_merely_declared(&found.records) {
        return "it is declared, and has not registered".to_owned();
    }
    let unready: Vec<_> = found.records.iter().filter(|it| it.state != State::Ready).collect();
    match unready.len() {
        0 => "it came at the last moment".to_owned(),
        _ => format!("{} and none ready", found::states(&unready)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::sample::record;

    #[test]
    fn a_wait_in_vain_says_what_is_there_instead() {
        let check = |records: &[(State, Kept)], expected: &str| {
            let record = |(state, kept): &(State, Kept)| Record {
                state: *state,
                kept: *kept,
                ..record("feed", 1, &[])
            };
            let records = records.iter().map(record).collect();
            assert_eq!(why(&Found { records, ..Found::default() }), expected);
        };
        check(&[], "no such actor is registered");
        check(&[(State::Ready, Kept::Declared)], "it is declared, and has not registered");
        check(&[(State::Starting, Kept::Session)], "1 starting and none ready");
        check(
            &[
                (State::Starting, Kept::Session),
                (State::Draining, Kept::Session),
                (State::Draining, Kept::Session),
                (State::Ready, Kept::Declared),
            ],
            "1 starting, 2 draining and none ready",
        );
    }
}
