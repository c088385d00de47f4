//! `callsign status`: how the registrars are.

mod owners;

use std::{fmt::Write as _, time::Duration};

use anyhow::anyhow;
use discovery::{Client, Registrar, RegistrarFailure, RegistrarFailures, Standing};
use endpoints::{Endpoint, Plain};
use gateway::json::StatusJson;
use serde::Serialize;
use wire::{
    OwnerUse,
    registrar::{ClusterNode, ClusterStatus, Owners},
};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::notices::with_causes,
    output::{age, brief, fitted},
};

/// Show the state of each registrar, and its numbers of entries
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign status
  callsign status --registrar /ip4/10.0.0.7/tcp/1616/tls
  callsign status --owners
  callsign status --json | jq '.[].status.instances'

The exit code is 3 if no registrar answers, and 4 if one refuses this user.")]
pub(crate) struct Args {
    /// Show each owner's use and quotas; only root and the registrar's own user see those of others
    #[arg(long)]
    owners: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let registrars = context.registrars()?;
    context.take_identity(&context.settings()?, &registrars)?;
    let client = Client::open(registrars, context.client_options())?;
    let registrars = client.status().await;
    let owners =
        if args.owners { client.owners().await } else { registrars.iter().map(|_| None).collect() };
    let answers = registrars.iter().zip(&owners);
    if context.json {
        let registrars: Vec<_> =
            answers.map(|(it, owners)| RegistrarJson::of(it, owners)).collect();
        context.print_json(&registrars)?;
    } else {
        let draw = |(registrar, owners): (&Registrar, &Option<_>)| match owners {
            Some(owners) => owners::picture(&registrar.endpoint, owners, context.width()),
            None => fitted_picture(&picture(registrar), context.width()),
        };
        let pictures: Vec<_> = answers.map(draw).collect();
        context.print(pictures.join("\n"))?;
    }
    let is_up = |it: &Registrar| matches!(it.standing, Standing::Up { .. });
    if registrars.iter().any(is_up) { Ok(Exit::Done) } else { Err(none_is_up(&registrars)) }
}

/// Writes a registrar as lines: its address on the first, then its state.
fn picture(registrar: &Registrar) -> String {
    let endpoint = &registrar.endpoint;
    let (status, took) = match &registrar.standing {
        Standing::Up { status, took } => (status, took),
        Standing::SameAs(other) => {
            return format!("{endpoint}  up\n  the same registrar as {other}\n");
        }
        Standing::Down(failure) => {
            return format!("{endpoint}  down\n  {}\n", Plain(&cause(failure)));
        }
    };
    let mut lines = vec![
        ("agent", status.agent.clone()),
        ("registrar", status.registrar.to_string()),
        ("answers in", brief(*took)),
        ("uptime", age(Duration::from_millis(status.uptime_ms))),
        ("instances", status.instances.to_string()),
        ("sessions", status.sessions.to_string()),
        ("waiters", status.waiters.to_string()),
        ("watchers", status.watchers.to_string()),
    ];
    if let Some(left) = status.settling_ms {
        let left = brief(Duration::from_millis(left));
        lines.insert(4, ("settles", format!("for {left}: clients of its earlier run may return")));
    }
    if status.in_line > 0 {
        lines.push(("in line", status.in_line.to_string()));
    }
    lines.extend(status.cluster.iter().flat_map(|it| cluster_lines(it)));
    lines.extend(status.endpoints.iter().map(|it| ("listens at", it.to_string())));
    // The present addresses of a wildcard.
    let meant = status.published.iter().filter(|it| !status.endpoints.contains(it));
    lines.extend(meant.map(|it| ("found at", it.to_string())));

    let mut text = format!("{endpoint}  up\n");
    let mut last = "";
    for (label, value) in lines {
        let shown = if label == last { "" } else { label };
        _ = writeln!(text, "  {shown:10}  {}", Plain(&value));
        last = label;
    }
    text
}

/// Describes how a registrar shares with others.
fn cluster_lines(cluster: &ClusterStatus) -> Vec<(&'static str, String)> {
    let millis = |it| brief(Duration::from_millis(it));
    let how = match &cluster.error {
        None => {
            let place = cluster.endpoint.as_deref().unwrap_or("no member");
            let lag = cluster.lag_ms.map(|it| format!(", in {}", millis(it)));
            format!("through {} at {place}{}", cluster.engine, lag.unwrap_or_default())
        }
        Some(error) => {
            let old = age(Duration::from_millis(cluster.age_ms));
            format!("cut off; what it says of others is {old} old: {error}")
        }
    };
    let mut written = format!("{} records of its own", cluster.written);
    if cluster.pending > 0 {
        _ = write!(written, ", {} yet to be written", cluster.pending);
    }
    let mut lines = vec![
        ("cluster", format!("the node {}, {how}", cluster.node)),
        ("cluster", format!("{written}, under a lease of {}", millis(cluster.lease_ms))),
    ];
    if cluster.faulty > 0 {
        lines.push(("cluster", format!("{} values of others were left out", cluster.faulty)));
    }
    if cluster.nodes.is_empty() && cluster.error.is_none() {
        let none = "none but this one: all of a cluster have the same etcd and `prefix`";
        lines.push(("node", none.to_owned()));
    }
    lines.extend(cluster.nodes.iter().map(|node| {
        let state = if node.lives { "" } else { ", not heard" };
        let heard = age(Duration::from_millis(node.heard_ms));
        let ClusterNode { name, records, .. } = node;
        ("node", format!("{name}  {records} records{state}, heard {heard} ago"))
    }));
    lines
}

/// Fits a picture to a width: long values continue below themselves.
fn fitted_picture(picture: &str, width: Option<u16>) -> String {
    let hang = |line: &str| if line.starts_with(' ') { 14 } else { 2 };
    picture.lines().map(|it| fitted(it, width, 0, hang(it)) + "\n").collect()
}

fn none_is_up(registrars: &[Registrar]) -> Failure {
    let failure = |it: &Registrar| match &it.standing {
        Standing::Down(failure) => Some(failure.clone()),
        _ => None,
    };
    let failures = RegistrarFailures(registrars.iter().filter_map(failure).collect());
    let what = match (registrars.len(), failures.have_answer(), failures.have_denial()) {
        (1, true, _) => "the registrar was reached, and refused".to_owned(),
        (1, _, true) => "the registrar cannot be reached".to_owned(),
        (1, ..) => "the registrar does not answer".to_owned(),
        (count, ..) => format!("none of {count} registrars answers"),
    };
    Failure::unreached(anyhow!(what), &failures)
}

/// A registrar for programs, as `docs/json.md` describes it.
#[derive(Debug, Serialize)]
struct RegistrarJson<'a> {
    endpoint: &'a Endpoint,
    encoded: String,
    standing: &'static str,
    same_as: Option<&'a Endpoint>,
    same_as_encoded: Option<String>,
    error: Option<String>,
    took_us: Option<u64>,
    status: Option<StatusJson<'a>>,
    /// Present only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    owners: Option<&'a [OwnerUse]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owners_total: Option<u64>,
}

impl<'a> RegistrarJson<'a> {
    fn of(registrar: &'a Registrar, owners: &'a Option<Result<Owners, RegistrarFailure>>) -> Self {
        let owners = owners.as_ref().and_then(|it| it.as_ref().ok());
        let is = |standing| Self {
            endpoint: &registrar.endpoint,
            encoded: registrar.endpoint.to_encoded(),
            standing,
            same_as: None,
            same_as_encoded: None,
            error: None,
            took_us: None,
            status: None,
            owners: owners.map(|it| &it.owners[..]),
            owners_total: owners.map(|it| it.total),
        };
        match &registrar.standing {
            Standing::Up { status, took } => {
                let took_us = Some(took.as_micros() as u64);
                Self { took_us, status: Some(StatusJson::of(status)), ..is("up") }
            }
            Standing::SameAs(other) => {
                let same_as_encoded = Some(other.to_encoded());
                Self { same_as: Some(other), same_as_encoded, ..is("same-as") }
            }
            Standing::Down(failure) => Self { error: Some(cause(failure)), ..is("down") },
        }
    }
}

/// Writes the reason why a registrar does not answer, without its address.
fn cause(failure: &RegistrarFailure) -> String {
    with_causes(&*failure.error)
}
