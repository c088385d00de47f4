//! `callsign renew`: renews a lease.

mod moved;

use std::time::Duration;

use anyhow::anyhow;
use endpoints::{Endpoint, Stamped};
use serde::Serialize;
use transport::{keep_users, stamp_users};
use uuid::Uuid;
use wire::{Lifetime, Record};

use self::moved::Moved;
use super::register::warn_of_strangers;
use crate::{
    context::Context,
    failure::{Exit, Failure},
    lookup::choice::{Target, only_one},
    output::{
        fitted,
        notices::{note, warn},
    },
    partly::Partly,
};

/// Renew the lease of an instance
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign renew clock       the only lease of `clock`
  callsign renew 3f2a91c0    the instance with this UUID prefix

The lease lasts from now on for its time to live. If the host's addresses have changed, a server \
at a wildcard address is found at its present ones. To change the time to live, register again with another \
`--ttl`. The exit code is 3 if a registrar did not answer: the lease may expire there.")]
pub(crate) struct Args {
    /// A name, or the first eight digits or more of an instance's UUID
    #[arg(value_name = "NAME|INSTANCE")]
    target: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let target = Target::read(&args.target)?;
    let client = context.client().await?;
    let known = target.look_up(context, &client).await.map_err(|it| match it.exit {
        Exit::NotFound => it.hint(ENDED),
        _ => it,
    })?;
    let (leases, others): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|it| it.lifetime.ttl_ms().is_some());
    if leases.is_empty() {
        return Err(no_lease(&others));
    }
    let record = only_one(leases, "renew")?;
    let ttl_ms = record.lifetime.ttl_ms().expect("it was chosen for its lease");
    let mut partly = Partly::new("not renewed");
    let moved = Moved::of(&record.endpoints);
    if let Some(Moved { gone, come, now: Some(now) }) = &moved {
        partly.take(record.instance(), client.set_endpoints(record.uuid, now.clone()).await)?;
        let (gone, come) = (listed(gone), listed(come));
        let now = listed(now.iter().map(|it| &it.endpoint));
        if gone.is_empty() {
            note(context, format_args!("this host has got {come}; registered there too"));
        } else {
            note(context, format_args!("this host has no longer {gone}; registered at {now}"));
        }
    }
    // Where nobody listened before, whoever does so first is meant.
    if moved.as_ref().is_none_or(|it| it.now.is_none())
        && let Some(now) = of_users(&record)
    {
        partly.take(record.instance(), client.set_endpoints(record.uuid, now).await)?;
    }
    partly.take(record.instance(), client.renew(record.uuid).await)?;
    if context.json {
        let renewed = RenewedJson { name: record.name.as_str(), uuid: record.uuid, ttl_ms };
        context.print_json(&renewed)?;
    } else {
        let ttl = humantime::format_duration(Duration::from_millis(ttl_ms));
        let line = format!("renewed {} for {ttl}", record.instance());
        context.print_line(fitted(&line, context.width(), 0, 2))?;
    }
    if let Some(Moved { gone, now: None, .. }) = &moved {
        let gone = listed(gone);
        warn(context, format_args!("this host has no longer {gone}; register it again"));
    }
    warn_of_strangers(context, &record.instance(), &record.endpoints, record.user());
    partly.failure().map_or(Ok(Exit::Done), Err)
}

/// Returns the endpoints of a lease with the users who listen there, if that was not known before.
fn of_users(record: &Record) -> Option<Vec<Stamped>> {
    let mut now = record.endpoints.clone();
    stamp_users(&mut now, None);
    keep_users(&mut now, &record.endpoints);
    (!record.proves && now != record.endpoints).then_some(now)
}

fn listed<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> String {
    let texts: Vec<_> = endpoints.into_iter().map(Endpoint::to_string).collect();
    texts.join(", ")
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

/// Why a lease may be there no more. A registrar that has been restarted knows of no former one.
const ENDED: &str = "register it again: a lease ends at its time, with its registrar, or when nobody \
                     is found there";

#[derive(Debug, Serialize)]
struct RenewedJson<'a> {
    name: &'a str,
    uuid: Uuid,
    ttl_ms: u64,
}
