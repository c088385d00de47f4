//! The output about a registration.

use std::time::Duration;

use discovery::{Client, Lost, Registered};
use endpoints::{Endpoint, InstanceId, Stamped};
use gateway::json::LifetimeJson;
use serde::Serialize;
use tokio::{task::JoinSet, time::timeout};
use transport::{Silence, strangers_at, unknown_host};
use uuid::Uuid;
use wire::State;

use super::{
    Plan,
    tracker::{has_no_address, linked_to},
};
use crate::{
    context::Context,
    failure::Failure,
    hints,
    lookup::ranking::short_uuid,
    output::fitted,
    output::notices::{note, warn, with_causes},
    users::user_name,
};

/// Warns of obstacles that keep callers from reaching the actor, as far as they are visible from
/// here.
pub(super) fn warn_of_doubts(context: &Context, plan: &Plan, client: &Client) {
    for doubt in client.doubts(&plan.stamped) {
        warn(context, doubt);
    }
}

/// Tells whether a socket file was not there when it was stamped.
pub(super) fn lacks_socket(stamped: &Stamped) -> bool {
    stamped.endpoint.is_socket_file() && stamped.stamp.socket.is_none()
}

/// Warns of endpoints at which nobody listens, and says what follows.
pub(super) fn warn_of_silence(context: &Context, plan: &Plan) {
    // The stamp of a lease never changes, and a socket is not reachable without that of its file.
    let follows = |is_file: bool| match (plan.ttl, is_file) {
        (Some(_), true) => "; register it again when somebody does",
        (None, _) if plan.awaits_answer => "; it is ready when somebody does",
        (None, _) if !plan.is_vouched_for => "; it is published when somebody does",
        _ => "",
    };
    for (endpoint, why) in &plan.silent {
        let follows = follows(endpoint.is_socket_file());
        if has_no_address(why) {
            let follows = match (plan.ttl, plan.awaits_answer) {
                (Some(_), _) => "; register it again when it has it",
                (None, true) => "; it is ready when it has it",
                (None, false) => "; it is published when it has it",
            };
            warn(context, format_args!("nobody is led to {endpoint}: {why}{follows}"));
            continue;
        }
        // An obstacle is named: whoever is to listen there would meet it.
        let why = match why {
            Silence::NotListening | Silence::Missing => String::new(),
            why => format!(": {why}"),
        };
        warn(context, format_args!("nobody listens at {endpoint} yet{why}{follows}"));
    }
    for (endpoint, why) in &plan.strange {
        let follows = match plan.ttl {
            None if plan.awaits_answer => "; it is ready when you do, or root",
            None if !plan.is_vouched_for => "; it is published when you do, or root",
            _ => "; callers over a Unix socket refuse that",
        };
        warn(context, format_args!("at {endpoint}, {why}{follows}"));
    }
    let is_told = |it: &Stamped| {
        let linked = |said: &Endpoint| linked_to(said).as_ref() == Some(&it.endpoint);
        let mut told =
            plan.silent.iter().map(|it| &it.0).chain(plan.strange.iter().map(|it| &it.0));
        told.any(|said| *said == it.endpoint || linked(said))
    };
    for missing in plan.stamped.iter().filter(|it| lacks_socket(it) && !is_told(it)) {
        let endpoint = &missing.endpoint;
        warn(context, format_args!("nobody listens at {endpoint} yet{}", follows(true)));
    }
    if plan.silent.is_empty() && plan.strange.is_empty() && plan.stamped.is_empty() {
        warn(context, format_args!("nobody listens there yet{}", follows(true)));
    }
}

/// Warns of another user's program in the place of the one that was registered there with a lease.
pub(crate) fn warn_of_strangers(
    context: &Context,
    instance: &InstanceId,
    stamped: &[Stamped],
    registrant: Option<u32>,
) {
    let places: Vec<_> = stamped.iter().map(|it| (it, registrant)).collect();
    let strangers = stamped.iter().zip(strangers_at(&places));
    for (it, found) in strangers.filter_map(|(it, found)| Some((it, found?))) {
        let endpoint = &it.endpoint;
        let found = user_name(found);
        let meant = it.stamp.user.map_or_else(|| "another user".to_owned(), user_name);
        let name = &instance.name;
        let text = format_args!(
            "at {endpoint}, a program of user {found} listens, and not user {meant}'s; callers do \
             not take it for `{name}`"
        );
        warn(context, text);
        let uuid = short_uuid(&instance.uuid);
        let command = hints::command(&["unregister", &uuid], context);
        note(context, format_args!("if it is meant, register it anew after: {command}"));
    }
}

/// Says where the symbolic links lead at which the actor was said to listen: callers follow none, so
/// the socket itself is registered.
pub(super) fn tell_of_links(context: &Context, plan: &Plan) {
    for said in &plan.said {
        if let Some(linked) = linked_to(said) {
            note(context, format_args!("{said} is a symbolic link, registered as {linked}"));
        }
    }
}

/// Warns of endpoints whose host is not to be found from here. They may mean something to callers.
pub(super) async fn warn_of_unknown_hosts(context: &Context, plan: &Plan) {
    let mut asked = JoinSet::new();
    for endpoint in plan.said.iter().cloned() {
        asked.spawn(async move {
            let unknown = timeout(UNKNOWN_HOST_TIMEOUT, unknown_host(&endpoint)).await;
            (unknown, endpoint)
        });
    }
    while let Some(Ok((unknown, endpoint))) = asked.join_next().await {
        let why = match unknown {
            Ok(None) => continue,
            Ok(Some(error)) => with_causes(&error),
            Err(_) => "nothing answers for its name".to_owned(),
        };
        warn(context, format_args!("nobody is found at {endpoint} from here: {why}"));
    }
}

/// The time for a host name to be found: a name server that answers does so in milliseconds.
const UNKNOWN_HOST_TIMEOUT: Duration = Duration::from_secs(5);

/// Warns that what listens at the endpoints of the actor is registered already, under another name or
/// as another instance.
pub(super) fn warn_of_aliases(context: &Context, plan: &Plan, registered: &Registered) {
    let name = &plan.name;
    let (same, others): (Vec<_>, Vec<_>) =
        registered.also().into_iter().partition(|it| it.name == *name);
    let mut names: Vec<_> = others.iter().map(|it| format!("`{}`", it.name)).collect();
    names.sort();
    names.dedup();
    if !names.is_empty() {
        let all = listed(&names);
        warn(context, format_args!("`{name}` is registered at the same endpoint as {all}"));
    }
    let instances: Vec<_> = same.iter().map(|it| short_uuid(&it.uuid)).collect();
    if !instances.is_empty() {
        let all = listed(&instances);
        let others = if instances.len() == 1 { "another instance" } else { "other instances" };
        let verb = if instances.len() == 1 { "is" } else { "are" };
        let text =
            format_args!("{others} of `{name}` {verb} registered at the same endpoint: {all}");
        warn(context, text);
    }
}

/// Writes several things as a part of a sentence.
fn listed(several: &[String]) -> String {
    match several.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => several.concat(),
    }
}

/// Reports that the actor has lost its entry, or an endpoint of it, and the consequence.
pub(super) fn tell_lost(context: &Context, plan: &Plan, lost: &Lost) {
    let name = &plan.name;
    if lost.is_final() {
        warn(context, format_args!("`{name}` is not registered any more: {lost}"));
    } else {
        warn(context, format_args!("`{name}`: {lost}"));
    }
}

/// Prints the registered instance and its lifetime. A kept registration does not depend on the
/// reader of that output.
pub(super) fn tell(
    context: &Context,
    plan: &Plan,
    instance: &InstanceId,
    state: State,
    is_renewed: bool,
    token: Option<u64>,
) -> Result<(), Failure> {
    if context.json {
        let json = RegisteredJson {
            name: instance.name.as_str(),
            uuid: instance.uuid,
            renewed: is_renewed,
            lifetime: if plan.ttl.is_some() { LifetimeJson::Lease } else { LifetimeJson::Session },
            ttl_ms: plan.ttl.map(|it| it.as_millis() as u64),
            state,
            endpoints: &plan.said,
            endpoints_encoded: plan.said.iter().map(Endpoint::to_encoded).collect(),
            token,
        };
        return match plan.ttl {
            Some(_) => context.print_json(&json),
            None => context.announce_json(&json),
        };
    }
    let what = if is_renewed { "renewed" } else { "registered" };
    let token = token.map(|it| format!(", with the fencing token {it}")).unwrap_or_default();
    match plan.ttl {
        Some(ttl) => {
            let ttl = humantime::format_duration(ttl);
            let line = format!("{what} {instance} for {ttl}{token}");
            context.print_line(fitted(&line, context.width(), 0, 2))
        }
        None => {
            context.announce(format_args!("{what} {instance}{token}"));
            Ok(())
        }
    }
}

/// A registration for programs, as `docs/json.md` describes it.
#[derive(Debug, Serialize)]
struct RegisteredJson<'a> {
    name: &'a str,
    uuid: Uuid,
    renewed: bool,
    lifetime: LifetimeJson,
    ttl_ms: Option<u64>,
    state: State,
    endpoints: &'a [Endpoint],
    endpoints_encoded: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<u64>,
}
