//! `callsign renew`: renews a lease.

use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;
use uuid::Uuid;
use wire::{Lifetime, Record};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    lookup::choice::{Target, only_one},
    output::fitted,
    partly::Partly,
};

/// Renew the lease of an instance
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign renew clock       the only lease of `clock`
  callsign renew 3f2a91c0    the instance with this UUID prefix

The lease lasts from now on for its time to live. To change that, register again with another \
`--ttl`. The exit code is 3 if a registrar did not answer: the lease may expire there.")]
pub(crate) struct Args {
    /// A name, or the first digits of an instance's UUID
    #[arg(value_name = "NAME|INSTANCE")]
    target: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let target = Target::read(&args.target)?;
    let client = context.client().await?;
    let (leases, others): (Vec<_>, Vec<_>) =
        target.look_up(&client).await?.into_iter().partition(|it| it.lifetime.ttl_ms().is_some());
    if leases.is_empty() {
        return Err(no_lease(&others));
    }
    let record = only_one(leases, "renew")?;
    let ttl_ms = record.lifetime.ttl_ms().expect("it was chosen for its lease");
    let mut partly = Partly::new("not renewed");
    partly.take(record.instance(), client.renew(record.uuid).await)?;
    if context.json {
        let renewed = RenewedJson { name: record.name.as_str(), uuid: record.uuid, ttl_ms };
        context.print_json(&renewed)?;
    } else {
        let ttl = humantime::format_duration(Duration::from_millis(ttl_ms));
        let line = format!("renewed {} for {ttl}", record.instance());
        context.print_line(fitted(&line, context.width(), 0, 2))?;
    }
    partly.failure().map_or(Ok(Exit::Done), Err)
}

fn no_lease(records: &[Record]) -> Failure {
    let record = records.first().expect("a look-up that finds nothing fails");
    let why = match record.lifetime {
        Lifetime::Declared => {
            "it is declared in the registrar's settings, for as long as that runs"
        }
        Lifetime::Foreign => "it is a foreign program's, and the registrar watches that itself",
        Lifetime::Unknown => "the registrar keeps it in a way that this version does not know",
        Lifetime::Session | Lifetime::Lease { .. } => "its registrant keeps it by a session",
    };
    Failure::not_found(anyhow!("{} has no lease to renew: {why}", record.instance()))
}

#[derive(Debug, Serialize)]
struct RenewedJson<'a> {
    name: &'a str,
    uuid: Uuid,
    ttl_ms: u64,
}
