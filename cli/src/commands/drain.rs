//! `callsign drain`: an actor finishes its work, and new look-ups skip it.

use anyhow::anyhow;
use discovery::RequestError;
use serde::Serialize;
use uuid::Uuid;
use wire::State;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    lookup::choice::Target,
    output::fitted,
    output::notices::note,
    partly::Partly,
};

/// Drain an actor: it finishes its work, and new look-ups skip it
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign drain feed           every instance of `feed` that you may change
  callsign drain 3f2a91c0       the instance with this UUID prefix
  callsign drain feed --undo    ready again

Nobody connects to a draining actor any more: `find` and `ls` show it with `--all` only, `watch` and \
`resolve --explain` as draining. Its connections stay, and it keeps running. Its program is notified, and stays draining across restarts of the \
registrar, for as long as it keeps itself registered. The exit code is 3 if a registrar that may \
still name it did not answer.")]
pub(crate) struct Args {
    /// A name, or the first eight digits or more of an instance's UUID
    #[arg(value_name = "NAME|INSTANCE")]
    target: String,
    /// Make a draining actor ready again
    #[arg(long)]
    undo: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let target = Target::read(&args.target)?;
    let client = context.client().await?;
    let mut records = target.look_up(context, &client).await?;
    let (state, word) =
        if args.undo { (State::Ready, "ready") } else { (State::Draining, "draining") };
    if args.undo {
        // A starting actor becomes ready by itself, and not before it is.
        let first = records[0].name.clone();
        records.retain(|it| it.state == State::Draining);
        if records.is_empty() {
            return Err(Failure::not_found(anyhow!("no instance of `{first}` is draining")));
        }
    }
    let (mut changed, mut refused) = (Vec::new(), Vec::new());
    let mut partly = Partly::new(if args.undo { "still draining" } else { "still ready" });
    for record in &records {
        let done = client.set_state(record.uuid, state).await;
        match partly.take(record.instance(), done) {
            Ok(()) => changed.push(record),
            // It has gone meanwhile.
            Err(RequestError::NotFound) if records.len() > 1 => {}
            Err(error @ RequestError::Refused(_)) => refused.push((record, error)),
            Err(error) => return Err(error.into()),
        }
    }
    if changed.is_empty()
        && let Some((_, error)) = refused.pop()
    {
        return Err(error.into());
    }
    for (record, error) in &refused {
        note(context, format_args!("{} stays {}: {error}", record.instance(), record.state));
    }
    if context.json {
        let changed = changed.iter();
        let json: Vec<_> = changed
            .map(|it| ChangedJson { name: it.name.as_str(), uuid: it.uuid, state })
            .collect();
        context.print_json(&json)?;
    } else {
        for record in changed {
            let line = format!("{word} {}", record.instance());
            context.print_line(fitted(&line, context.width(), 0, 2))?;
        }
    }
    partly.failure().map_or(Ok(Exit::Done), Err)
}

#[derive(Debug, Serialize)]
struct ChangedJson<'a> {
    name: &'a str,
    uuid: Uuid,
    state: State,
}
