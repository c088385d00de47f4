//! `callsign wait`: until an actor is there.

use std::{io::IsTerminal as _, pin::pin, time::Duration};

use anyhow::anyhow;
use discovery::{Client, ConnectError, LookupError, LookupOptions, LookupResult};
use endpoints::{Endpoint, Name};
use tokio::time::timeout;
use transport::{Listening, holders, listening};
use wire::{Owner, Record, State};

use crate::{
    context::Context,
    failure::{Exit, Failure, who_is_silent},
    lookup::digits::instance_meant,
    lookup::query::{self, is_merely_declared, why_out_of_reach},
    lookup::ranking::{Seen, doubt_in_words},
    lookup::suggestion,
    output::notices::{UNSAID_MAX, note, warn_unanswered},
    output::record::{portrait, portrait_of_unreachable},
    owners::Demanded,
    typed,
};

/// Wait until an actor can be reached, then show where it is
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign wait feed                 as long as it takes
  callsign wait feed --timeout 5s    exit code 1 if it is not there by then
  callsign wait db --timeout 1m && ./migrate
  endpoint=$(callsign wait db | head -n1)

It waits for the registrar too, and for an endpoint that can be reached from here, and says which \
of these is missing; with a time limit only on a terminal. The exit code \
is 3 if a registrar does not answer in time and no other knows the actor.

An actor that is only declared in the registrar's settings does not count: nothing shows that it \
runs. Neither does one of another node of a cluster from which the registrar is cut off.")]
pub(crate) struct Args {
    /// The actor's name
    name: String,
    /// Time limit, as in `500ms`, `5s` or `1m 30s`
    #[arg(short, long, value_name = "DURATION", value_parser = typed::duration)]
    timeout: Option<Duration>,
    /// Also accept one that cannot be reached from here
    #[arg(long)]
    anywhere: bool,
    #[command(flatten)]
    demanded: Demanded,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let name = query::name(&args.name)?;
    let owner = args.demanded.read()?;
    let client = context.open_client()?;
    let waiting = until_there(&client, &name, args.anywhere, owner.as_ref());
    let (record, found) = match args.timeout {
        None => say_what_is_awaited(context, &client, &name, waiting).await?,
        Some(limit) => {
            // At its end it says the same, so only somebody who looks on wonders before.
            let waited = if std::io::stderr().is_terminal() {
                timeout(limit, say_what_is_awaited(context, &client, &name, waiting)).await
            } else {
                timeout(limit, waiting).await
            };
            match waited {
                Ok(waited) => waited?,
                Err(_) => too_late(&client, &name, args.anywhere, owner.as_ref(), limit).await?,
            }
        }
    };
    warn_unanswered(context, &found.unanswered);
    // The registrar's clock tells the age.
    show(context, &record, found.now_ms.max(record.since_ms))
}

/// Waits until an actor is there, and returns its nearest instance, and all that are ready.
async fn until_there(
    client: &Client,
    name: &Name,
    anywhere: bool,
    owner: Option<&Owner>,
) -> Result<(Record, LookupResult), Failure> {
    let is_wanted =
        |it: &Record| is_of(it, owner) && (anywhere || Seen::from_here(it).nearest().is_some());
    let mut waiting = pin!(client.wait_for_one(name.as_str(), is_wanted));
    // A failure that does not pass by itself ends the wait.
    let waited = tokio::select! {
        biased;
        waited = &mut waiting => waited,
        connected = client.connected() => match connected {
            Err(failures) if !failures.may_pass() => {
                return Err(ConnectError::Unreachable(failures).into());
            }
            _ => waiting.await,
        },
    };
    let record = waited?;
    // An older instance may be nearer.
    let options = LookupOptions { owner: owner.cloned(), ..LookupOptions::default() };
    let found = client.query_with(name.as_str(), options).await?;
    let nearest = nearest(&found.records).cloned();
    Ok((nearest.unwrap_or(record), found))
}

/// Returns the record that is dialed first, if any is within reach.
fn nearest(records: &[Record]) -> Option<&Record> {
    Seen::first_dialed(&Seen::all_from_here(records)).map(|it| it.record)
}

/// Tells whether an instance has the required owner.
fn is_of(record: &Record, owner: Option<&Owner>) -> bool {
    owner.is_none_or(|it| record.owner.as_ref() == Some(it))
}

/// Waits for a result, and reports once what is awaited, unless the result is there immediately.
async fn say_what_is_awaited<T>(
    context: &Context,
    client: &Client,
    name: &Name,
    waiting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut waiting = pin!(waiting);
    if let Ok(waited) = timeout(UNSAID_MAX, &mut waiting).await {
        return waited;
    }
    let saying = async {
        let (found, names) = suggestion::with_names(client, client.list(name.as_str())).await;
        let (text, meant) = match found {
            Ok(found) if !found.unanswered.is_empty() => {
                (format!("{}; {}", why(&found), who_is_silent(&found.unanswered)), None)
            }
            Ok(found) if found.records.is_empty() => {
                let names = names.iter().map(String::as_str);
                let meant = match instance_meant(client, name).await {
                    Some(hint) => Some(hint.line(context)),
                    None => suggestion::did_you_mean(name.as_str(), names),
                };
                (why(&found), meant)
            }
            Ok(found) => (why(&found), None),
            Err(error) => (error.to_string(), None),
        };
        let meant = meant.map(|it| format!("; {it}")).unwrap_or_default();
        note(context, format_args!("waiting for `{name}`: {text}{meant}"));
    };
    tokio::select! {
        biased;
        waited = &mut waiting => return waited,
        () = saying => {}
    }
    waiting.await
}

/// Returns an instance found at the end of the time: that counts as in time, however short it was.
///
/// # Errors
///
/// A failure that tells what is known of the actor.
async fn too_late(
    client: &Client,
    name: &Name,
    anywhere: bool,
    owner: Option<&Owner>,
    limit: Duration,
) -> Result<(Record, LookupResult), Failure> {
    let last_look = last_look(client, limit).await;
    let limit = humantime::format_duration(limit);
    // A registrar that does not know it now is not awaited; nor is one that does not answer now.
    let found = client.list_within(name.as_str(), last_look);
    let (found, names) = match last_look {
        Duration::ZERO => (found.await, Vec::new()),
        _ => suggestion::with_names(client, found).await,
    };
    let found = found.map_err(|error| without_answer(name, error, &limit.to_string()))?;
    if found.records.is_empty() && !last_look.is_zero() {
        // A list is what is known; whether there is none, a look-up says.
        let asked = timeout(last_look, client.query_all(name.as_str())).await;
        if let Ok(Err(error @ LookupError::Refused(_))) = asked {
            return Err(without_answer(name, error, &limit.to_string()));
        }
    }
    let found = match owner {
        Some(owner) => query::owned(name, found, owner)?,
        None => found,
    };
    let ready: Vec<_> = found.records.iter().filter(|it| is_awaited(it)).cloned().collect();
    let nearest = if anywhere { nearest(&ready).or(ready.first()) } else { nearest(&ready) };
    if let Some(nearest) = nearest {
        return Ok((nearest.clone(), found));
    }
    let why = why(&found);
    let text = if ready.is_empty() {
        format!("`{name}` was not ready within {limit}: {why}")
    } else {
        format!("`{name}` was not within reach after {limit}: it is {why}")
    };
    let failure = Failure::not_found(anyhow!(text)).unless_known_to(&found.unanswered);
    Err(match is_merely_declared(&found.records) {
        true => failure.hint_command("use it as it is declared", ["connect", name.as_str()]),
        false if found.records.is_empty() => {
            if let Some(hint) = instance_meant(client, name).await {
                return Err(failure.hint(hint));
            }
            suggestion::hint(failure, name.as_str(), names.iter().map(String::as_str))
        }
        false => failure,
    })
}

/// Returns the time for a last look: none for registrars that are known not to answer in it.
async fn last_look(client: &Client, limit: Duration) -> Duration {
    let are_stopped = |registrar: &Endpoint| match listening(registrar) {
        Listening::Sockets(sockets) => {
            let holders = holders(&sockets);
            !holders.is_empty() && holders.iter().all(|it| it.is_stopped())
        }
        Listening::Nobody(_) => true,
        Listening::Unknown => false,
    };
    let is_stopped = client.registrars().all(are_stopped);
    let is_connected = timeout(Duration::ZERO, client.connected()).await.is_ok_and(|it| it.is_ok());
    last_look_of(is_stopped, is_connected, limit)
}

fn last_look_of(is_stopped: bool, is_connected: bool, limit: Duration) -> Duration {
    match (is_stopped, is_connected) {
        (true, _) => Duration::ZERO,
        (false, true) => LAST_LOOK,
        // The time that it has had counts.
        (false, false) => LAST_LOOK.saturating_sub(limit),
    }
}

/// Makes the failure of a wait at whose end no registrar answers.
fn without_answer(name: &Name, error: LookupError, limit: &str) -> Failure {
    Failure::from(error).context(format!("whether `{name}` is there is not known after {limit}"))
}

/// Says briefly what is there instead.
fn why(found: &LookupResult) -> String {
    if found.records.is_empty() {
        return "no such actor is registered".to_owned();
    }
    if is_merely_declared(&found.records) {
        return "it is declared, and has not registered".to_owned();
    }
    let ready: Vec<_> = found.records.iter().filter(|it| is_awaited(it)).cloned().collect();
    if !ready.is_empty() {
        return why_out_of_reach(&Seen::all_from_here(&ready));
    }
    if let Some(it) = found.records.iter().find(|it| it.is_cut_off()) {
        let doubt = it.suspicion.map(|it| doubt_in_words(it, found.now_ms));
        return doubt.unwrap_or_default();
    }
    let unready: Vec<_> = found.records.iter().filter(|it| it.state != State::Ready).collect();
    format!("{} and none ready", query::states(&unready))
}

/// Tells whether such an instance ends the wait, if it can be reached.
fn is_awaited(record: &Record) -> bool {
    record.is_there()
}

/// Shows an instance. The first line is only an endpoint, within reach or not.
fn show(context: &Context, record: &Record, now_ms: u64) -> Result<Exit, Failure> {
    let seen = Seen::from_here(record);
    match (context.json, seen.nearest()) {
        (true, _) => context.print_json(&seen.to_json(Some(now_ms)))?,
        (false, Some(_)) => context.print(portrait(&seen, now_ms, context.width()))?,
        (false, None) => context.print(portrait_of_unreachable(&seen, now_ms, context.width()))?,
    }
    Ok(Exit::Done)
}

/// The time limit for the last look, as other commands give a registrar: one that is there answers in
/// milliseconds, and on a busy machine may take a second.
const LAST_LOOK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use wire::{Lifetime, Suspicion};

    use super::*;
    use crate::lookup::ranking::sample::record;

    #[test]
    fn only_who_may_answer_is_asked_when_the_time_is_over() {
        let check = |is_stopped, is_connected, limit, expected| {
            let looks = last_look_of(is_stopped, is_connected, Duration::from_millis(limit));
            assert_eq!(looks, Duration::from_millis(expected));
        };
        check(false, true, 0, 2000);
        check(false, true, 60_000, 2000);
        check(false, false, 0, 2000);
        check(false, false, 300, 1700);
        check(false, false, 2000, 0);
        check(false, false, 5000, 0);
        check(true, true, 100, 0);
        check(true, false, 0, 0);
    }

    #[test]
    fn a_wait_in_vain_says_what_is_there_instead() {
        let check = |records: &[(State, Lifetime)], expected: &str| {
            let record = |(state, lifetime): &(State, Lifetime)| Record {
                state: *state,
                lifetime: *lifetime,
                ..record("feed", 1, &[("/memory/7", 0)])
            };
            let records = records.iter().map(record).collect();
            assert_eq!(why(&LookupResult { records, ..LookupResult::default() }), expected);
        };
        check(&[], "no such actor is registered");
        check(&[(State::Ready, Lifetime::Declared)], "it is declared, and has not registered");
        check(&[(State::Starting, Lifetime::Session)], "1 starting and none ready");
        check(
            &[
                (State::Starting, Lifetime::Session),
                (State::Draining, Lifetime::Session),
                (State::Draining, Lifetime::Session),
                (State::Ready, Lifetime::Declared),
            ],
            "1 starting, 2 draining and none ready",
        );
        check(
            &[(State::Ready, Lifetime::Session), (State::Starting, Lifetime::Session)],
            "registered, and cannot be reached from here:\n  /memory/7: its registrant did not \
             say where it is",
        );
        let suspicion = Some(Suspicion { cut_off: true, ..Suspicion::default() });
        let records = vec![Record { suspicion, ..record("feed", 1, &[("/memory/7", 0)]) }];
        assert_eq!(
            why(&LookupResult { records, now_ms: 9000, ..LookupResult::default() }),
            "suspect for 9s: the registrar is cut off from its cluster, and does not hear of its node"
        );
    }
}
