//! `callsign drain`: an actor finishes what it has, and is found no more.

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
  callsign drain 3f2a91c0       the instance whose UUID begins so
  callsign drain feed --undo    found again

A draining actor is shown by `find --all` and `ls --all` alone, and nobody is connected to it. What \
is connected stays so, and the actor goes on running. Its program is told; it stays draining when \
its registrar starts again, for as long as the program keeps itself registered. It ends with 3 if a registrar did not answer, which may still name it.")]
pub(crate) struct Args {
    /// A name, or the first digits of an instance's UUID
    #[arg(value_name = "NAME|INSTANCE")]
    target: String,
    /// Make what is draining ready again
    #[arg(long)]
    undo: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let target = Target::read(&args.target)?;
    let client = context.client().await?;
    let mut records = target.look_up(&client).await?;
    let (state, word) =
        if args.undo { (State::Ready, "ready") } else { (State::Draining, "draining") };
    if args.undo {
        // What is starting becomes ready by itself, and not before it is.
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
