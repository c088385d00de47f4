//! `callsign demo`: a registrar and three programs, in a folder that is removed at the end.
//!
//! | module | its one idea |
//! |---|---|
//! | `script` | the steps of the demonstration |
//! | `stage` | the folder, the processes, and their display; all of it goes at the end |
//! | `typed` | commands as a user would type them |
//! | `act` | the programs on stage |

mod act;
mod script;
mod stage;
mod typed;

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::anyhow;
use endpoints::Endpoint;
use serde_json::json;
use transport::{DialError, Listener};

use self::{act::Role, stage::Stage};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::fitted_lines,
    signals::Signals,
};

/// See it all at work, in a few seconds
///
/// It starts a registrar and three programs in a temporary folder, shows real commands with their
/// real output, and removes everything at the end, even when interrupted. It needs no
/// network and touches nothing else.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign demo
  callsign demo --json | jq .seen_gone_ms")]
pub(crate) struct Args {
    /// Play one of the programs
    #[arg(long, hide = true)]
    act: Option<Role>,
    /// Its endpoint
    #[arg(hide = true)]
    at: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    if let Some(role) = args.act {
        let at: Result<Vec<Endpoint>, _> = args.at.iter().map(|it| it.parse()).collect();
        return act::run(role, &at.map_err(Failure::usage)?, context).await;
    }
    if let Some(surplus) = args.at.first() {
        let error = anyhow!("unexpected argument `{surplus}`");
        return Err(Failure::usage(error).hint("`callsign demo` takes flags only"));
    }
    let loopback = loopback().await?;
    let mut signals = Signals::new()?;
    let mut stage = Stage::new(context)?;
    let ended = tokio::select! {
        played = script::play(&mut stage, loopback) => played.map(Ok),
        signal = signals.next() => Ok(Err(signal)),
    };
    let steps = mem::take(&mut stage.steps);
    let cleared = stage.clear().await;
    let seen_gone = match ended? {
        Ok(seen_gone) => seen_gone,
        Err(signal) => return Ok(Exit::Signal(signal)),
    };
    cleared?;
    if context.json {
        let seen_gone_ms = seen_gone.as_secs_f64() * 1e3;
        context.print_json(&json!({ "steps": steps, "seen_gone_ms": seen_gone_ms }))?;
    } else {
        context.print(fitted_lines(FAREWELL, context.width()))?;
    }
    Ok(Exit::Done)
}

/// Returns the address at which the programs on stage can connect to each other: a host may be
/// without IPv4.
async fn loopback() -> Result<IpAddr, Failure> {
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let Ok(listener) = Listener::bind(&SocketAddr::from((ip, 0)).into()).await else {
            continue;
        };
        return match transport::dial(listener.bound()).await {
            Err(error @ DialError::LoopbackDown) => {
                Err(Failure::usage(error).context("there is no way to connect to this host itself"))
            }
            _ => Ok(ip),
        };
    }
    // The registrar on stage says why.
    Ok(Ipv4Addr::LOCALHOST.into())
}

const FAREWELL: &str = "
All of it has been stopped, and the folder is gone. Now with your own programs:
  callsign registrar
  callsign register NAME ENDPOINT -- COMMAND
  callsign ls
";
