//! `callsign unregister`: out of the registry.

use discovery::RequestError;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    lookup::choice::{Target, only_one},
    output::fitted,
    partly::Partly,
};

/// Remove an instance from the registry
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign unregister clock          the only instance of `clock`
  callsign unregister 3f2a91c0       the instance with this UUID prefix
  callsign unregister clock --all    every instance of `clock`

The program that keeps it registered is notified, and stops; a program of an earlier version may \
register it again. An actor declared in a registrar's settings returns when the registrar restarts. \
With --all, instances that you may not remove stay, and the exit code is 4. The exit code is 3 if \
a registrar, which is named, did not answer: the instance may still be known there.")]
pub(crate) struct Args {
    /// A name, or the first eight digits or more of an instance's UUID
    #[arg(value_name = "NAME|INSTANCE")]
    target: String,
    /// Remove all matching instances, if there are several
    #[arg(short, long)]
    all: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let target = Target::read(&args.target)?;
    let client = context.client().await?;
    let mut records = target.look_up(context, &client).await?;
    if !args.all {
        let only = only_one(records, "unregister");
        records = vec![only.map_err(|it| it.hint("or that all are meant: --all"))?];
    }
    let mut gone = Vec::with_capacity(records.len());
    let mut left = Vec::new();
    let mut partly = Partly::new("still known");
    for record in &records {
        let done = client.unregister(record.uuid).await;
        match partly.take(record.instance(), done) {
            // It has gone by itself meanwhile.
            Err(RequestError::NotFound) if args.all => continue,
            Err(error) if args.all => {
                left.push(Failure::from(error).context(format!("{} stays", record.instance())));
                continue;
            }
            told => told?,
        }
        gone.push(GoneJson { name: record.name.as_str(), uuid: record.uuid });
        if !context.json {
            let line = format!("unregistered {}", record.instance());
            context.print_line(fitted(&line, context.width(), 0, 2))?;
        }
    }
    if context.json {
        context.print_json(&gone)?;
    }
    left.extend(partly.failure());
    // One is reported last, and sets the exit code: a denial matters most.
    left.sort_by_key(|it| it.exit == Exit::Denied);
    let Some(last) = left.pop() else { return Ok(Exit::Done) };
    for failure in left {
        let _ = failure.report(context);
    }
    Err(last)
}

#[derive(Debug, Serialize)]
struct GoneJson<'a> {
    name: &'a str,
    uuid: Uuid,
}
