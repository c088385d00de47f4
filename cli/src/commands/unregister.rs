//! `callsign unregister`: out of the registry.

use serde::Serialize;
use uuid::Uuid;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    pick::{Target, only_one},
};

/// Take an instance out of the registry
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign unregister clock          the only instance of `clock`
  callsign unregister 3f2a91c0       the instance whose UUID begins so
  callsign unregister clock --all    every instance of `clock`

What keeps itself registered may come back; what a registrar's settings declare does when that \
starts again.")]
pub(crate) struct Args {
    /// A name, or the first digits of an instance's UUID
    #[arg(value_name = "NAME|INSTANCE")]
    target: String,
    /// Take out all that are meant, if they are several
    #[arg(short, long)]
    all: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let target = Target::read(&args.target)?;
    let client = context.client().await?;
    let mut records = target.look_up(&client).await?;
    if !args.all {
        let only = only_one(records, "unregister");
        records = vec![only.map_err(|it| it.hint("or that all are meant: --all"))?];
    }
    let mut gone = Vec::with_capacity(records.len());
    for record in &records {
        client.unregister(record.uuid).await?;
        gone.push(GoneJson { name: record.name.as_str(), uuid: record.uuid });
        if !context.json {
            context.print_line(format_args!("unregistered {}", record.instance()))?;
        }
    }
    if context.json {
        context.print_json(&gone)?;
    }
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct GoneJson<'a> {
    name: &'a str,
    uuid: Uuid,
}
