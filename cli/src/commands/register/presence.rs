//! Keeping a registration in step with what can be seen of the actor.

use std::{cell::Cell, convert::Infallible, fmt::Write as _, time::Duration};

use discovery::{
    Client, LinkError, Lost, RegisterError, Registered, RegistrarFailure, RegistrarFailures,
};
use endpoints::{Endpoint, Name};
use sd_notify::NotifyState;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use transport::{Silence, is_of_other_host};
use wire::{State, callbacks::LostCause};

use super::{
    Plan,
    places::{Manner, Places, Remark},
    told::{lacks_socket, tell, tell_lost, warn_of_aliases, warn_of_unknown_hosts},
    tracker::{Finding, Observation, published},
};
use crate::{
    context::Context,
    output::brief,
    output::notices::{names_registrars, note, warn, with_causes},
    service::{Extension, notify},
};

/// An actor that is kept registered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presence<'a> {
    pub(super) plan: &'a Plan,
    pub(super) registered: &'a Registered,
    /// The registrars that have the actor at first.
    pub(super) known: Known,
    /// Whether it has ever been seen to serve.
    pub(super) has_served: &'a Cell<bool>,
    pub(super) client: &'a Client,
    pub(super) context: &'a Context,
}

impl Presence<'_> {
    /// Reports a loss, and its consequence if it is total. Tells whether it is.
    pub(super) fn lose(&self, lost: &Lost, comes_of_it: &str) -> bool {
        // The tracker sees that too, and tells more of it.
        if lost.cause != LostCause::AddressGone {
            tell_lost(self.context, self.plan, lost);
        }
        if lost.is_final() {
            note(self.context, comes_of_it);
        }
        lost.is_final()
    }
}

/// Keeps a registration in step with the actor, for as long as it is polled. The kernel reports
/// where the actor listens: its own sockets and their successors are stamped, the addresses of a
/// wildcard follow the host, and an actor that listens nowhere is not ready.
pub(super) async fn follow(kept: Presence<'_>) -> Infallible {
    let Presence { plan, context, .. } = kept;
    // A connection says the same, and more.
    let is_dialed = plan.awaits_answer && plan.command.words.is_empty();
    let telling = async {
        if !is_dialed {
            warn_of_unknown_hosts(context, plan).await;
        }
    };
    tokio::join!(keep_in_step(kept), telling).0
}

async fn keep_in_step(kept: Presence<'_>) -> Infallible {
    let Presence { plan, registered, mut known, has_served, client, context } = kept;
    let (mut tracker, mut awaits_answer) = (plan.tracker.clone(), plan.awaits_answer);
    let is_vouched_for = plan.is_vouched_for;
    let has_command = !plan.command.words.is_empty();
    let name = &registered.instance().name;
    let began = Instant::now();
    // Without a command, what the kernel says was reported when it was registered.
    let mut is_warned = false;
    let mut dials = Dials::default();
    let mut places = Places::default();
    // Whether it listens, and whether it ever has.
    let (mut serves, mut has_listened) = (false, false);
    // Whether the service manager knows that others can find the actor.
    let mut is_notified = false;
    let mut extension = Extension::default();
    let mut pause = PAUSE_MIN;
    loop {
        let seen = tracker.look(Instant::now());
        let published = published(&seen, is_vouched_for);
        if published != registered.endpoints() {
            noted(registered.update_endpoints(published).await);
        }
        if awaits_answer {
            let is_young = has_command && began.elapsed() < PATIENCE_WITH_OWN;
            let answering = answering(&seen, is_young, &mut dials).await;
            if answering.is_err() && registered.state() == State::Ready {
                // Undoing a drain does not make anybody listen.
                noted(registered.set_state(State::Starting).await);
            }
            match answering {
                Ok(endpoint) => {
                    awaits_answer = false;
                    has_served.set(true);
                    // Somebody may have drained it before it was ready.
                    if registered.state() == State::Starting {
                        noted(registered.set_state(State::Ready).await);
                    }
                    if is_warned || context.global.verbose > 0 {
                        let took = brief(began.elapsed());
                        note(
                            context,
                            format_args!("`{name}` is ready: {endpoint} answers after {took}"),
                        );
                    }
                }
                Err(silent) if has_command && !is_warned && is_to_be_said(&seen, began) => {
                    is_warned = true;
                    let beyond = |endpoint: &Endpoint| tracker.beyond(endpoint);
                    let elsewhere = tracker.own_endpoints();
                    warn(context, still_silent(name, began, &silent, &elsewhere, beyond));
                }
                Err(_) if !has_command && !is_warned => {
                    is_warned = true;
                    warn_of_no_answer(context, &dials);
                }
                Err(_) => {}
            }
        }
        let served = serves;
        serves = seen.iter().any(|it| matches!(it.finding, Finding::Own | Finding::Unknown));
        // It may have listened before this look, and have stopped since.
        has_listened |= serves || seen.iter().any(|it| it.was_own);
        if !is_vouched_for && !awaits_answer {
            // While it still listens, it is still ready.
            match registered.state() {
                State::Ready if !serves && has_listened => {
                    noted(registered.set_state(State::Starting).await);
                }
                State::Starting if serves && !served => {
                    noted(registered.set_state(State::Ready).await);
                }
                _ => {}
            }
        }
        let how = Manner { has_command, is_vouched_for, awaits_answer };
        let beyond = |endpoint: &Endpoint| tracker.beyond(endpoint);
        for remark in places.note(name, &seen, how, &beyond, Instant::now()) {
            match remark {
                Remark::Warning(text) => warn(context, text),
                Remark::Note(text) => note(context, text),
            }
        }
        known = match known {
            Known::NotYet => tell_whether_known(plan, registered, client, context),
            before => tell_who_knows(registered, client, before, context),
        };
        let is_known = !matches!(known, Known::NotYet | Known::Nowhere);
        if !is_notified && is_known && (is_vouched_for || registered.state() != State::Starting) {
            is_notified = true;
            notify(&[NotifyState::Ready, NotifyState::Status("registered")]);
        }
        // It is not its fault, and nothing that a restart would change.
        if !is_notified && !is_known && is_away(registered) {
            extension.ask("waiting for a registrar that answers");
        }
        sleep(pause).await;
        let is_complete =
            !awaits_answer && serves && !registered.endpoints().iter().any(lacks_socket);
        pause = match is_complete {
            true => PAUSE_CALM,
            // It may be back in a moment.
            false if served && !serves => PAUSE_MIN,
            false => PAUSE_MAX.min(pause * 2),
        };
    }
}

/// Returns the first endpoint at which the actor listens; if the kernel cannot tell, one that
/// answers. A program that is young may yet listen here at an address that another host has: that host
/// is not asked.
///
/// # Errors
///
/// All endpoints, each with the reason, if there is none.
async fn answering(
    seen: &[Observation],
    is_young: bool,
    dials: &mut Dials,
) -> Result<Endpoint, Vec<(Endpoint, String)>> {
    if let Some(own) = seen.iter().find(|it| it.finding == Finding::Own) {
        return Ok(own.endpoint.clone());
    }
    let unknown = seen.iter().filter(|it| it.finding == Finding::Unknown);
    let unknown = unknown.filter(|it| !(is_young && is_of_other_host(&it.endpoint)));
    if let Some(endpoint) = dials.dial(unknown.cloned().collect()).await {
        return Ok(endpoint);
    }
    let by_kernel = seen.iter().filter_map(|it| Some((it.endpoint.clone(), it.silence()?)));
    Err(by_kernel.chain(dials.failed.iter().cloned()).collect())
}

/// The connections by which it is found out whether anybody answers, where the kernel cannot tell:
/// less and less often, since they may go to another host.
#[derive(Debug, Default)]
struct Dials {
    /// The endpoints that did not answer at the last time, and why.
    failed: Vec<(Endpoint, String)>,
    /// When the next are due, and the pause before them.
    next: Option<(Instant, Duration)>,
}

impl Dials {
    /// Connects to all of these together, and returns one that answers.
    async fn dial(&mut self, unknown: Vec<Observation>) -> Option<Endpoint> {
        let now = Instant::now();
        let is_due = self.next.is_none_or(|(due, _)| now >= due);
        if unknown.is_empty() || !is_due {
            return None;
        }
        let pause = self.next.map_or(PAUSE_MIN, |(_, pause)| DIAL_PAUSE_MAX.min(pause * 2));
        let mut dialing = JoinSet::new();
        for seen in unknown {
            dialing.spawn(async move { (seen.dial().await, seen.endpoint) });
        }
        self.failed.clear();
        while let Some(dialed) = dialing.join_next().await {
            match dialed.expect("a dial does not panic, and is not aborted while it is waited for")
            {
                (Ok(()), endpoint) => return Some(endpoint),
                (Err(error), endpoint) => self.failed.push((endpoint, with_causes(&error))),
            }
        }
        self.next = Some((Instant::now() + pause, pause));
        None
    }
}

/// Says of a running actor that it does not answer where only a connection can tell.
fn warn_of_no_answer(context: &Context, dials: &Dials) {
    for (endpoint, why) in &dials.failed {
        warn(
            context,
            format_args!(
                "nobody answers at {endpoint} yet: {why}; it is ready when somebody does, or if \
                 you say so: --state ready"
            ),
        );
    }
}

/// Tells whether to report that the actor is not ready: a stranger in its place soon cannot be a
/// moment of its start any more, and a socket of the wrong type never becomes a right one.
fn is_to_be_said(seen: &[Observation], began: Instant) -> bool {
    let patience = |it: &Observation| match it.finding {
        Finding::Nobody(Silence::OtherType { .. }) => Duration::ZERO,
        Finding::Others(_)
        | Finding::Nobody(
            Silence::NotASocket { .. }
            | Silence::NoFolder { .. }
            | Silence::NotAFolder { .. }
            | Silence::NoAddress { .. }
            | Silence::LoopbackDown,
        ) => PATIENCE_WITH_OTHERS,
        _ => PATIENCE,
    };
    began.elapsed() >= seen.iter().map(patience).min().unwrap_or(PATIENCE)
}

/// Tells whether no registrar has an actor because none answers.
fn is_away(registered: &Registered) -> bool {
    !RegistrarFailures(registered.missing()).have_answer()
}

/// The registrars that have a registration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Known {
    Everywhere,
    NotEverywhere,
    Nowhere,
    /// No registrar has ever had it.
    NotYet,
}

/// Reports when registrars are lost or back, and returns those that are there now. Of the default
/// registrars one is enough: nobody has claimed that the others exist.
fn tell_who_knows(
    registered: &Registered,
    client: &Client,
    before: Known,
    context: &Context,
) -> Known {
    let name = &registered.instance().name;
    let is_lost = |it: &RegistrarFailure| !matches!(*it.error, LinkError::NotYet);
    let lost: Vec<_> = registered.missing().into_iter().filter(is_lost).collect();
    let known = match lost.len() {
        0 => Known::Everywhere,
        count if count == client.registrars().count() => Known::Nowhere,
        _ if !names_registrars(context) => Known::Everywhere,
        _ => Known::NotEverywhere,
    };
    let failures = RegistrarFailures(lost);
    match (before, known) {
        _ if before == known => {}
        (_, Known::Nowhere) => warn_of_nobody(name, &failures, context),
        (Known::Nowhere, _) => note(context, format_args!("`{name}` is registered again")),
        (_, Known::NotEverywhere) => {
            warn(context, format_args!("not every registrar knows `{name}`:\n{failures}"));
        }
        _ => note(context, format_args!("every registrar knows `{name}`")),
    }
    known
}

/// Reports when an actor is registered that was not at first, or is refused, and returns the
/// registrars that have it now.
fn tell_whether_known(
    plan: &Plan,
    registered: &Registered,
    client: &Client,
    context: &Context,
) -> Known {
    let failures = RegistrarFailures(registered.missing());
    if failures.0.len() < client.registrars().count() {
        if plan.is_announced {
            // A missing reader does not matter: others may learn of it in other ways.
            let (instance, token) = (registered.instance(), registered.token());
            drop(tell(context, plan, instance, plan.state, false, token));
        } else {
            note(context, format_args!("`{}` is registered", plan.name));
        }
        warn_of_aliases(context, plan, registered);
        return Known::Everywhere;
    }
    if failures.have_refusal() {
        warn_of_nobody(&plan.name, &failures, context);
        return Known::Nowhere;
    }
    Known::NotYet
}

/// Reports that no registrar has an actor.
pub(super) fn warn_of_nobody(name: &Name, failures: &RegistrarFailures, context: &Context) {
    let what = if failures.have_answer() {
        format!("no registrar accepts `{name}`; it")
    } else {
        format!("no registrar answers; `{name}`")
    };
    warn(context, format_args!("{what} cannot be found:\n{failures}"));
}

/// Registrars that are away catch up by themselves.
fn noted(changed: Result<(), RegisterError>) {
    if let Err(error) = changed {
        tracing::debug!(error = with_causes(&error), "a change is not noted yet");
    }
}

fn still_silent(
    name: &Name,
    began: Instant,
    silent: &[(Endpoint, String)],
    elsewhere: &[Endpoint],
    beyond: impl Fn(&Endpoint) -> Option<String>,
) -> String {
    let mut text = match began.elapsed().as_secs() {
        0 => format!("`{name}` does not answer yet:"),
        passed => format!("`{name}` does not answer yet, {passed}s after its start:"),
    };
    for (endpoint, why) in silent {
        _ = write!(text, "\n  {endpoint}: {why}");
        if let Some(beyond) = beyond(endpoint) {
            _ = write!(text, "\n    {beyond}");
        }
    }
    if silent.is_empty() {
        text += "\n  it listens at none of this host's addresses";
    }
    if !elsewhere.is_empty() {
        text += "\nits program listens elsewhere:";
    }
    for endpoint in elsewhere.iter().take(ELSEWHERE_MAX) {
        _ = write!(text, "\n  {endpoint}");
    }
    text
}

/// The first pause between two looks: a fast program is ready some 10 ms after its start.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The longest pause while something is awaited: a person does not notice it.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// The longest pause between two attempts to connect: they cost another host something, too.
const DIAL_PAUSE_MAX: Duration = Duration::from_secs(2);

/// The pause when all is well. A look takes some 20 µs for each endpoint, and until the next one,
/// any program that takes a port or an abstract name passes for the actor.
const PAUSE_CALM: Duration = Duration::from_millis(250);

/// The time after which a user is likely to wonder why nothing happens.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most endpoints to report of a program that listens at none of the given ones.
const ELSEWHERE_MAX: usize = 4;

/// The time for a program to listen at an address that this host does not have (`ip_nonlocal_bind`),
/// before whichever host has it is asked: most servers start faster.
const PATIENCE_WITH_OWN: Duration = Duration::from_secs(2);

/// The time after which another program or an obstacle in the place of a started one is reported.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(1);
