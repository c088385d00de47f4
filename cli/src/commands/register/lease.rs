//! A registration that lives by a lease: made, or renewed by the same words that made it.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use discovery::{
    Client, LinkError, LookupError, RegisterError, RegistrarFailures, Registration, RequestError,
};
use endpoints::{Endpoint, InstanceId, Stamped};
use registrar::registry::Claim;
use rustix::process::geteuid;
use tokio::time::{Instant, sleep, timeout};
use transport::{here_for, keep_users};
use wire::{ErrorKind, Lifetime, Owner, Record, State, Whoami};

use super::{
    PARTING_TIMEOUT, Plan,
    presence::warn_of_nobody,
    told::{
        tell, tell_of_links, warn_of_aliases, warn_of_doubts, warn_of_silence, warn_of_strangers,
        warn_of_unknown_hosts,
    },
    turn::{asked_to_end, check_token, given_up, said, turn, unanswered},
};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    hints,
    lookup::ranking::short_uuid,
    output::notices::{names_registrars, note, warn},
    signals::Signals,
};

/// Renews the lease of the instance, or registers a new one; if no registrar answers, as soon as
/// one does.
pub(super) async fn run(
    plan: &mut Plan,
    client: Client,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut signals = Signals::for_none()?;
    let mut is_warned = false;
    let begun = Instant::now();
    let (Entered { instance, token, stamped }, state, is_renewed) = loop {
        let entered = tokio::select! {
            biased;
            entered = renew_or_enter(plan, &client, context, begun) => entered,
            signal = asked_to_end(plan, &mut signals) => return Ok(Exit::Signal(signal)),
        };
        let failures = match entered {
            Ok(entered) => break entered,
            Err(Unentered::Unreachable(failures)) if failures.may_pass() => {
                if !is_warned {
                    warn_of_nobody(&plan.name, &failures, context);
                    note(context, "it is registered when one answers; Ctrl-C ends this");
                    is_warned = true;
                }
                failures
            }
            Err(Unentered::Unreachable(failures)) => {
                return Err(RegisterError::Unreachable(failures).into());
            }
            Err(Unentered::Failed(failure)) => return Err(failure),
        };
        tokio::select! {
            biased;
            signal = asked_to_end(plan, &mut signals) => return Ok(Exit::Signal(signal)),
            failure = given_up(plan, failures, begun) => return Err(failure),
            () = sleep(PAUSE) => {}
        }
        // Meanwhile it may have come, or be another.
        plan.look_again();
    };
    tell(context, plan, &instance, state, is_renewed, token)?;
    if state == State::Draining && plan.state != State::Draining && !context.json {
        let command = hints::command(&["drain", "--undo", &short_uuid(&instance.uuid)], context);
        note(context, format_args!("it is draining, and stays so until: {command}"));
    }
    tell_of_links(context, plan);
    warn_of_silence(context, plan);
    warn_of_strangers(context, &instance, &stamped, Some(geteuid().as_raw()));
    warn_of_unknown_hosts(context, plan).await;
    warn_of_doubts(context, plan, &client);
    let is_known = is_known(&client).await;
    client.close().await;
    if !is_known {
        warn(
            context,
            "it cannot be renewed: the registrar's kernel does not identify you, so only the \
             connection that registered it counts; hold a session instead: leave out --ttl",
        );
    } else if !context.json {
        let command = hints::command(&["renew", &short_uuid(&instance.uuid)], context);
        note(context, format_args!("renew it in time: {command}"));
    }
    Ok(Exit::Done)
}

/// Tells whether every registrar knows this user again at the next connection, as far as they say so
/// in time.
async fn is_known(client: &Client) -> bool {
    let Ok(answers) = timeout(WHOAMI_TIMEOUT, client.whoami()).await else { return true };
    let is_unknown = |it: &Whoami| it.owner == Owner::Unknown;
    !answers.iter().filter_map(|(_, it)| it.as_ref().ok()).any(is_unknown)
}

/// The time for registrars to say who this user is: they have just registered the lease.
const WHOAMI_TIMEOUT: Duration = Duration::from_secs(1);

/// What is registered.
struct Entered {
    instance: InstanceId,
    /// Its fencing token, if its name is exclusive.
    token: Option<u64>,
    /// Its endpoints.
    stamped: Vec<Stamped>,
}

/// Why an actor is not registered.
enum Unentered {
    /// No registrar can be reached.
    Unreachable(RegistrarFailures),
    Failed(Failure),
}

impl From<LookupError> for Unentered {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Unreachable(failures) => Self::Unreachable(failures),
            error => Self::Failed(error.into()),
        }
    }
}

impl From<RequestError> for Unentered {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Unreachable(failures) => Self::Unreachable(failures),
            error => Self::Failed(error.into()),
        }
    }
}

impl From<RegisterError> for Unentered {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Unreachable(failures) => Self::Unreachable(failures),
            error => Self::Failed(error.into()),
        }
    }
}

/// Renews the lease or registers a new instance, and tells whether it was renewed.
async fn renew_or_enter(
    plan: &Plan,
    client: &Client,
    context: &Context,
    begun: Instant,
) -> Result<(Entered, State, bool), Unentered> {
    match renew(plan, client, context, begun).await? {
        Some((entered, state)) => Ok((entered, state, true)),
        None => {
            match enter(plan, plan.registration(), plan.stamped.clone(), client, context, begun)
                .await?
            {
                Ok(entered) => Ok((entered, plan.state, false)),
                Err(failure) => Err(Unentered::Failed(failure)),
            }
        }
    }
}

/// Renews a lease of the same actor at the same endpoints, if this user has one.
async fn renew(
    plan: &Plan,
    client: &Client,
    context: &Context,
    begun: Instant,
) -> Result<Option<(Entered, State)>, Unentered> {
    // A lease that may still return to a registrar does so by itself, and is not awaited.
    let found = tokio::select! {
        biased;
        found = client.list(plan.name.as_str()) => found?,
        failure = unanswered(plan, client, begun) => return Err(Unentered::Failed(failure)),
    };
    for record in found.records.iter().filter(|it| is_meant(plan, it)) {
        check_token(plan, record.token).map_err(Unentered::Failed)?;
        let state = state_of(plan, record);
        let mut stamped = plan.stamped.clone();
        keep_users(&mut stamped, &record.endpoints);
        if says_the_same(plan, &stamped, record) {
            match client.renew(record.uuid).await {
                Ok(()) => {
                    let (instance, token) = (record.instance(), record.token);
                    let entered = Entered { instance, token, stamped };
                    return Ok(Some((entered, state)));
                }
                // The others are told again.
                Err(RequestError::Partly(_) | RequestError::Incomplete(_)) => {}
                // It has expired since, or belongs to another owner.
                Err(RequestError::NotFound) => continue,
                Err(RequestError::Refused(failures)) if is_denied(&failures) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        let registration = plan.registration_at(stamped.clone()).uuid(record.uuid).state(state);
        match enter(plan, registration, stamped, client, context, begun).await {
            Ok(Ok(entered)) => return Ok(Some((entered, state))),
            Ok(Err(failure)) => return Err(Unentered::Failed(failure)),
            Err(RegisterError::Refused(failures)) if is_denied(&failures) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Registers an instance with every registrar, and leaves it to its lease, unless it waits for a
/// turn that nobody gives.
async fn enter(
    plan: &Plan,
    registration: Registration,
    stamped: Vec<Stamped>,
    client: &Client,
    context: &Context,
    begun: Instant,
) -> Result<Result<Entered, Failure>, RegisterError> {
    let registered = match plan.patience {
        None => said(plan, client, context, client.register(registration)).await?,
        Some(_) => {
            let registered = tokio::select! {
                biased;
                registered = client.register_patiently(registration) => registered?,
                failure = unanswered(plan, client, begun) => return Ok(Err(failure)),
            };
            if let Err(failure) = turn(plan, &registered, client, begun, context).await {
                drop(timeout(PARTING_TIMEOUT, registered.unregister()).await);
                return Ok(Err(failure));
            }
            registered
        }
    };
    // A registrar that is slower than the first would not get it after the end.
    let missing = match context.global.patience {
        Some(patience) => match timeout(patience, registered.settled()).await {
            Ok(missing) => missing,
            Err(_) => registered.missing(),
        },
        None => registered.settled().await,
    };
    warn_of_aliases(context, plan, &registered);
    if !missing.is_empty() && names_registrars(context) {
        let failures = RegistrarFailures(missing);
        warn(context, format_args!("not every registrar knows it:\n{failures}"));
    }
    let token = registered.token();
    Ok(Ok(Entered { instance: registered.leave(), token, stamped }))
}

/// Tells whether a record is from an earlier registration by the same command.
fn is_meant(plan: &Plan, record: &Record) -> bool {
    let here = here_for(&plan.said);
    // The addresses that a wildcard means come and go.
    let is_of_wildcard = |it: &Stamped| {
        let Endpoint::Tcp(tcp) = &it.endpoint else { return false };
        let is_here = it.stamp.kernel.is_some() && it.stamp.kernel == here.kernel;
        is_here
            && it.stamp.netns == here.netns
            && plan.said.iter().any(|said| {
                let Endpoint::Tcp(said) = said else { return false };
                said.host.is_wildcard() && (said.port, said.tls) == (tcp.port, tcp.tls)
            })
    };
    // So do those that this host has at times, which are left out meanwhile.
    let moves = |it: &Endpoint| {
        matches!(it, Endpoint::Tcp(tcp) if !tcp.host.is_loopback()) && plan.said.contains(it)
    };
    let (theirs, is_theirs_given) = split(&record.endpoints, is_of_wildcard);
    let (ours, is_ours_given) = split(&plan.stamped, is_of_wildcard);
    let mut differing = theirs.symmetric_difference(&ours);
    let is_same =
        theirs == ours || !theirs.is_disjoint(&ours) && differing.all(|it| moves(it.endpoint()));
    matches!(record.lifetime, Lifetime::Lease { .. }) && is_same && is_theirs_given == is_ours_given
}

/// Returns the places that were given, and whether there are others, those of a wildcard. One text
/// means different places in two containers.
fn split(all: &[Stamped], is_of_wildcard: impl Fn(&Stamped) -> bool) -> (HashSet<Claim<'_>>, bool) {
    let (meant, given): (Vec<_>, Vec<_>) = all.iter().partition(|it| is_of_wildcard(it));
    (given.into_iter().map(Claim::of).collect(), meant.is_empty())
}

/// Returns the state that the instance of a record gets: somebody may have drained it, and the same
/// command again does not undo that.
fn state_of(plan: &Plan, record: &Record) -> State {
    if record.state == State::Draining { State::Draining } else { plan.state }
}

/// Tells whether a record is already as wanted, so that only its lease has to restart.
fn says_the_same(plan: &Plan, stamped: &[Stamped], record: &Record) -> bool {
    let metadata: BTreeMap<_, _> = plan.metadata.iter().cloned().collect();
    let ttl_ms = plan.ttl.map(|it| it.as_millis());
    let theirs_ms = record.lifetime.ttl_ms().map(u128::from);
    ttl_ms == theirs_ms
        && metadata == record.metadata
        && state_of(plan, record) == record.state
        && stamped.iter().all(|it| record.endpoints.contains(it))
        && record.endpoints.iter().all(|it| stamped.contains(it))
}

fn is_denied(failures: &RegistrarFailures) -> bool {
    failures.0.iter().any(
        |it| matches!(&*it.error, LinkError::Refused(error) if error.kind == ErrorKind::Denied),
    )
}

/// The pause before the next attempt while no registrar answers: a person does not notice it, and a
/// look at the client's registrars costs nothing.
const PAUSE: Duration = Duration::from_millis(200);
