//! Waiting in line for an exclusive name.

use std::{future::pending, pin::pin, time::Duration};

use anyhow::anyhow;
use discovery::{
    Client, LinkError, RegisterError, Registered, RegistrarFailure, RegistrarFailures,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    plan::{Patience, Plan},
    told::tell_lost,
};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::notices::{UNSAID_MAX, note, warn, with_causes},
    service::Extension,
    signals::Signals,
};

/// Waits until an actor has its name, if it waits in line for it. Returns the exit if it is asked
/// to end before.
pub(super) async fn await_turn(
    plan: &Plan,
    registered: &Registered,
    client: &Client,
    begun: Instant,
    signals: &mut Signals,
    context: &Context,
) -> Result<Option<Exit>, Failure> {
    if plan.patience.is_none() {
        return Ok(None);
    }
    tokio::select! {
        biased;
        turn = turn(plan, registered, client, begun, context) => turn.map(|()| None),
        signal = asked_to_end(plan, signals) => Ok(Some(Exit::Signal(signal))),
    }
}

/// Waits until an actor that waits in line has its name.
pub(super) async fn turn(
    plan: &Plan,
    registered: &Registered,
    client: &Client,
    begun: Instant,
    context: &Context,
) -> Result<(), Failure> {
    tokio::select! {
        biased;
        accepted = accepted(plan, registered, context) => accepted?,
        failure = too_late(plan, registered, client, begun) => return Err(failure),
    }
    check_token(plan, registered.token())
}

/// Tells whether an actor that waits for its turn has got one: without a token, others may have its
/// name too.
pub(super) fn check_token(plan: &Plan, token: Option<u64>) -> Result<(), Failure> {
    if plan.patience.is_none() || token.is_some() {
        return Ok(());
    }
    let name = &plan.name;
    let error =
        anyhow!("`{name}` is not exclusive: no rule keeps others from having it at the same time");
    let rule = format!("[names] of the registrar's settings: \"{name}\" = {{ exclusive = true }}");
    Err(Failure::usage(error)
        .hint(format!("make it exclusive, in {rule}"))
        .hint("or leave out `--wait`"))
}

/// Waits for a signal that ends the wait. In line, no program runs yet that it could be passed on to.
pub(super) async fn asked_to_end(plan: &Plan, signals: &mut Signals) -> u8 {
    match plan.patience {
        Some(_) => signals.next_fatal().await,
        None => signals.next().await,
    }
}

/// Waits in line for as long as the actor may, and reports the end of that time.
async fn too_late(
    plan: &Plan,
    registered: &Registered,
    client: &Client,
    begun: Instant,
) -> Failure {
    let Some(Patience(Some(limit))) = plan.patience else { return pending().await };
    sleep_until(begun + limit).await;
    let missing = registered.missing();
    let has_answered =
        |it: &RegistrarFailure| matches!(*it.error, LinkError::InLine { .. } | LinkError::NotYet);
    if missing.iter().any(has_answered) {
        return not_free(plan, client, limit);
    }
    not_known(plan, RegistrarFailures(missing), limit)
}

/// Waits for as long as an actor may for the first word of a registrar, and reports that there was
/// none. However short that is, a registrar that is there has time to answer.
pub(super) async fn unanswered(plan: &Plan, client: &Client, begun: Instant) -> Failure {
    let Some(Patience(Some(limit))) = plan.patience else { return pending().await };
    sleep_until(begun + limit.max(ANSWER_MIN)).await;
    match timeout(Duration::ZERO, client.connected()).await {
        Ok(Ok(())) => not_free(plan, client, limit),
        Ok(Err(failures)) => not_known(plan, failures, limit),
        Err(_) => {
            let failure =
                |registrar| RegistrarFailure { registrar, error: LinkError::NotYet.into() };
            let failures = client.registrars().cloned().map(failure).collect();
            not_known(plan, RegistrarFailures(failures), limit)
        }
    }
}

/// Waits until an actor that no registrar has answered may wait no longer, and reports that.
pub(super) async fn given_up(plan: &Plan, failures: RegistrarFailures, begun: Instant) -> Failure {
    let Some(Patience(Some(limit))) = plan.patience else { return pending().await };
    sleep_until(begun + limit).await;
    not_known(plan, failures, limit)
}

fn not_free(plan: &Plan, client: &Client, limit: Duration) -> Failure {
    let (name, limit) = (&plan.name, humantime::format_duration(limit));
    let text = format!("`{name}` was not free within {limit}");
    match client.settling() {
        Some(left) => Failure::not_found(anyhow!("{text}: {}", may_return(left))),
        None => Failure::not_found(anyhow!(text))
            .hint_command("see who has it", ["find", name.as_str()]),
    }
}

fn not_known(plan: &Plan, failures: RegistrarFailures, limit: Duration) -> Failure {
    let (name, limit) = (&plan.name, humantime::format_duration(limit));
    Failure::from(RegisterError::Unreachable(failures))
        .context(format!("whether `{name}` is free is not known after {limit}"))
}

fn may_return(left: Duration) -> String {
    let left = humantime::format_duration(Duration::from_secs(left.as_secs() + 1));
    format!("the registrar has just started; the former holder may return within {left}")
}

/// Waits for an actor to be registered, and reports a long wait for others.
pub(super) async fn said<T>(
    plan: &Plan,
    client: &Client,
    context: &Context,
    registering: impl Future<Output = T>,
) -> T {
    let mut registering = pin!(registering);
    if let Ok(registered) = timeout(UNSAID_MAX, &mut registering).await {
        return registered;
    }
    match client.settling() {
        _ if plan.patience.is_some() => {
            note(context, format_args!("waiting for `{}`", plan.name));
        }
        Some(left) => note(context, may_return(left)),
        None => {}
    }
    registering.await
}

async fn accepted(
    plan: &Plan,
    registered: &Registered,
    context: &Context,
) -> Result<(), RegisterError> {
    if let Ok(accepted) = timeout(UNSAID_MAX, registered.accepted()).await {
        return accepted;
    }
    let name = &plan.name;
    let place = match registered.place_in_line().await {
        Some(0) => " as the next",
        Some(1) => " behind one other",
        Some(ahead) => &format!(" behind {ahead} others"),
        None => " once a registrar answers",
    };
    let waiting = format!("waiting in line for `{name}`{place}");
    note(context, &waiting);
    Extension::default().during(&waiting, registered.accepted()).await?;
    // What is started now has its whole time.
    Extension::default().ask("starting");
    note(context, format_args!("its turn has come: it now has `{name}`"));
    Ok(())
}

/// Waits until an actor that has waited for its name no longer has it, and reports that.
pub(super) async fn displaced(plan: &Plan, registered: &Registered, context: &Context) {
    if plan.patience.is_none() {
        return pending().await;
    }
    let name = &plan.name;
    match registered.displaced().await {
        RegisterError::Lost(lost) => tell_lost(context, plan, &lost),
        error => warn(
            context,
            format_args!("another instance has `{name}` now: {}", with_causes(&error)),
        ),
    }
}

/// The exit code when the name is another's: the program was not meant to end, as far as it knew.
pub(super) const DISPLACED: Exit = Exit::Code(125);

/// The time for a registrar to answer at first, however little a name is waited for: one that is
/// there does so in milliseconds. It is shorter than the time after which a client goes on without one.
const ANSWER_MIN: Duration = Duration::from_secs(1);
