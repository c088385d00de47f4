//! `callsign whoami`: the caller's identity and rights, as the registrars see them.

use std::fmt::Write as _;

use anyhow::anyhow;
use discovery::{Client, RegistrarFailures};
use endpoints::{Endpoint, Plain};
use serde::Serialize;
use wire::{NameRight, Owner, Whoami};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::fitted,
    output::notices::with_causes,
    owners::{Amount, amounts, in_words},
};

/// Show how each registrar identifies you, and what you may do
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign whoami
  callsign whoami --registrar /ip4/127.0.0.1/tcp/1616
  callsign whoami --json | jq '.[].whoami.owner'

It shows the transport of the connection, the rules of names that apply to you, and your use of \
each quota, over all of your connections. A rule that hides its names from you is not shown. The \
exit code is 3 if no registrar answers, and 4 if one refuses this user.")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> Result<Exit, Failure> {
    let registrars = context.registrars()?;
    context.take_identity(&context.settings()?, &registrars)?;
    let client = Client::open(registrars, context.client_options())?;
    let answers = client.whoami().await;
    if context.json {
        let answers: Vec<_> = answers.iter().map(|(at, it)| AnswerJson::of(at, it)).collect();
        context.print_json(&answers)?;
    } else {
        let pictures = answers.iter().map(|(at, answer)| match answer {
            Ok(whoami) => picture(at, whoami),
            Err(failure) => format!("{at}\n  {}\n", Plain(&with_causes(&*failure.error))),
        });
        let width = context.width();
        let fit = |it: String| -> String {
            let hang = |line: &str| if line.starts_with(' ') { 12 } else { 2 };
            it.lines().map(|it| fitted(it, width, 0, hang(it)) + "\n").collect()
        };
        context.print(pictures.map(fit).collect::<Vec<_>>().join("\n"))?;
    }
    if answers.iter().any(|(_, it)| it.is_ok()) {
        return Ok(Exit::Done);
    }
    let failures = answers.into_iter().filter_map(|(_, it)| it.err()).collect();
    let failures = RegistrarFailures(failures);
    Err(Failure::unreached(anyhow!("no registrar says who you are"), &failures))
}

/// Writes a caller's identity and rights as lines.
fn picture(registrar: &Endpoint, whoami: &Whoami) -> String {
    let owner = match &whoami.owner {
        Owner::User(user) => format!("{} (user {user})", in_words(&whoami.owner)),
        Owner::Unknown => {
            "a user that its kernel does not identify; only this connection".to_owned()
        }
        other => in_words(other),
    };
    let mut lines = vec![("you are", owner)];
    let way = [&whoami.transport, &whoami.locality].map(|it| it.as_deref().unwrap_or_default());
    if let [transport, locality] = way
        && !transport.is_empty()
    {
        let over = match transport {
            "unix" => "a Unix socket".to_owned(),
            "tcp" => format!("TCP, {}", locality.replace('-', " ")),
            other => format!("{other}, {}", locality.replace('-', " ")),
        };
        lines.push(("over", over));
    }
    if !whoami.groups.is_empty() {
        let groups: Vec<_> = whoami.groups.iter().map(u32::to_string).collect();
        lines.push(("groups", groups.join(" ")));
    }
    let changes = if whoami.may_change_all { "all entries" } else { "your own entries" };
    lines.push(("may change", changes.to_owned()));
    let names = if whoami.is_trusted {
        "no rule limits you".to_owned()
    } else {
        format!("{} ({})", whoami.names, whoami.names_place)
    };
    lines.push(("names", names));
    lines.extend(whoami.rules.iter().map(|it| ("rule", right(it))));
    let uses = whoami.uses.iter().flat_map(amounts);
    lines.extend(uses.map(|Amount { quota, used, limit, .. }| match limit {
        Some(limit) => ("uses", format!("{quota} {used} of {limit}")),
        None => ("uses", format!("{quota} {used}")),
    }));

    let mut text = format!("{registrar}\n");
    for (label, value) in lines {
        _ = writeln!(text, "  {label:10}  {}", Plain(&value));
    }
    text
}

fn right(rule: &NameRight) -> String {
    let NameRight { pattern, place, may_register, exclusive, instances_max } = rule;
    let mut says = vec![match may_register {
        Some(true) => "you may register it".to_owned(),
        Some(false) => "only others may register it".to_owned(),
        None => "`[registrar] names` decides".to_owned(),
    }];
    says.extend(exclusive.then(|| "exclusive".to_owned()));
    says.extend(instances_max.map(|it| format!("at most {it}")));
    format!("{pattern}  {} ({place})", says.join(", "))
}

/// An answer for programs, as `docs/json.md` describes it.
#[derive(Debug, Serialize)]
struct AnswerJson<'a> {
    endpoint: &'a Endpoint,
    encoded: String,
    error: Option<String>,
    whoami: Option<&'a Whoami>,
}

impl<'a> AnswerJson<'a> {
    fn of(endpoint: &'a Endpoint, answer: &'a Result<Whoami, discovery::RegistrarFailure>) -> Self {
        let error = answer.as_ref().err().map(|it| with_causes(&*it.error));
        Self { endpoint, encoded: endpoint.to_encoded(), error, whoami: answer.as_ref().ok() }
    }
}
