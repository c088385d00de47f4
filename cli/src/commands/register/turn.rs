//! Waiting in line for an exclusive name.

use std::{future::pending, pin::pin, time::Duration};

use anyhow::anyhow;
use discovery::{Client, RegisterError, Registered};
use endpoints::Name;
use tokio::time::{sleep, timeout};

use super::{
    plan::{Patience, Plan},
    told::tell_lost,
};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::notices::{UNSAID_MAX, note, warn, with_causes},
    signals::Signals,
};

/// Waits until an actor has its name, if it waits in line for it. Returns the exit if it is asked
/// to end before.
pub(super) async fn await_turn(
    plan: &Plan,
    registered: &Registered,
    signals: &mut Signals,
    context: &Context,
) -> Result<Option<Exit>, Failure> {
    if plan.patience.is_none() {
        return Ok(None);
    }
    let name = &plan.name;
    tokio::select! {
        biased;
        accepted = accepted(plan, registered, context) => accepted?,
        signal = asked_to_end(plan, signals) => return Ok(Some(Exit::Signal(signal))),
        failure = too_late(name, plan.patience) => return Err(failure),
    }
    check_token(plan, registered.token())?;
    Ok(None)
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
pub(super) async fn too_late(name: &Name, patience: Option<Patience>) -> Failure {
    let Some(Patience(Some(limit))) = patience else { return pending().await };
    sleep(limit).await;
    let limit = humantime::format_duration(limit);
    let error = anyhow!("`{name}` was not free within {limit}");
    Failure::not_found(error).hint_command("see who has it", ["find", name.as_str()])
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
        Some(left) => {
            let left = humantime::format_duration(Duration::from_secs(left.as_secs() + 1));
            let begun = "the registrar has just started";
            note(context, format_args!("{begun}; the former holder may return within {left}"));
        }
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
        None => "",
    };
    note(context, format_args!("waiting in line for `{name}`{place}"));
    registered.accepted().await?;
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
