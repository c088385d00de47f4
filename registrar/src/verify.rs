//! Jobs of the registrar: it checks endpoints that are contested or reported, and notifies
//! registrants.
//!
//! It checks for itself, from its own location. It asks the kernel, and connects only where that
//! cannot tell, to endpoints of those that ask, or to the address they speak from. It removes only
//! an endpoint that it finds dead and that another has the place of; a silent one, or one that it
//! cannot judge, it marks, and asks the registrant. A claim is no evidence: where nobody listens,
//! whoever claims a place too takes it from nobody.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use endpoints::{Here, Stamp, Stamped, Unreachable, locate};
use portal::{Options, ProveError, handshake_actor};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinSet, yield_now},
    time::Instant,
};
use tracing::info;
use transport::{
    DialError, Listening, ListeningSocket, Silence, Stream, here, is_there, listens_elsewhere,
    look, root, stranger_among,
};
use uuid::Uuid;
use wire::{ChannelBinding, Lifetime, registrar::Evidence};

use crate::{
    RegistryHandle,
    callbacks::{Answer, confirm, tell_cluster, tell_lost, tell_state, tell_tokens},
    handle::Ticket,
    jobs::{Check, Job, Why},
    registry::{Claimant, Contested, Event, Owner},
    relook::Relooks,
    rights::{dial_for, may_connect},
    shares::Share,
};

/// The result of a look at an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CheckResult {
    /// Nobody is there any more.
    Dead,
    /// Somebody answers, and it can only be the instance.
    Alive,
    /// Somebody answers, but it may be another.
    Answered,
    /// It cannot be judged from here.
    Unclear,
}

/// Runs jobs, until nobody can ask for one any more.
pub(crate) async fn run_jobs(registry: RegistryHandle, mut jobs: mpsc::Receiver<(Job, Share)>) {
    let mut under_way = JoinSet::new();
    let mut relooks = Relooks::default();
    let one_at_a_time = Arc::new(Semaphore::new(1));
    // The endpoints being checked, with the reasons for other checks: however often an owner reports
    // the same meanwhile, one more look suffices.
    let mut under_check: HashMap<Claimant, VecDeque<Again>> = HashMap::new();
    loop {
        let (job, share) = tokio::select! {
            Some(done) = under_way.join_next() => {
                let looked: Option<Looked> =
                    done.expect("a job does not panic, and is not aborted");
                let Some(Looked { claimant, is_silent }) = looked else { continue };
                if let Some((owners, paused)) = is_silent {
                    relooks.note(claimant.clone(), owners, paused, Instant::now());
                }
                match under_check.get_mut(&claimant).and_then(VecDeque::pop_front) {
                    Some(Again { why, by, share }) => {
                        let check = Check { claimant, why, by };
                        let looking = look_into(registry.clone(), check, one_at_a_time.clone());
                        under_way.spawn(counted(share, async { Some(looking.await) }));
                    }
                    None => drop(under_check.remove(&claimant)),
                }
                continue;
            }
            check = relooks.next(), if under_way.len() < JOBS_MAX => {
                if !is_suspect(&registry, &check.claimant) {
                    continue;
                }
                (Job::LookInto(check), None)
            }
            job = jobs.recv(), if under_way.len() < JOBS_MAX => match job {
                Some((job, share)) => (job, Some(share)),
                None => break,
            },
        };
        let registry = registry.clone();
        let check = match job {
            Job::LookInto(check) => check,
            Job::Contested(Contested { uuid, epoch, endpoint, by }) => {
                let claimant = registry.read(|registry| registry.claimant(uuid, epoch, &endpoint));
                let Some(claimant) = claimant else { continue };
                Check { claimant, why: Why::Contested, by }
            }
            Job::TellState(uuid) => {
                under_way.spawn(counted(share, async move {
                    tell_state(&registry, uuid).await;
                    None
                }));
                continue;
            }
            Job::TellTokens(session, uuids) => {
                under_way.spawn(counted(share, async move {
                    tell_tokens(&registry, session, uuids).await;
                    None
                }));
                continue;
            }
            Job::TellCluster => {
                under_way.spawn(counted(share, async move {
                    tell_cluster(&registry).await;
                    None
                }));
                continue;
            }
            Job::TellLost(session, losses) => {
                under_way.spawn(counted(share, async move {
                    tell_lost(&registry, session, losses).await;
                    None
                }));
                continue;
            }
        };
        match under_check.entry(check.claimant.clone()) {
            Entry::Occupied(mut waiting) => {
                let Check { why, by, .. } = check;
                if !waiting.get().iter().any(|it| (it.why, it.by) == (why, by)) {
                    waiting.get_mut().push_back(Again { why, by, share });
                }
            }
            Entry::Vacant(entry) => {
                entry.insert(VecDeque::new());
                let looking = look_into(registry, check, one_at_a_time.clone());
                under_way.spawn(counted(share, async { Some(looking.await) }));
            }
        }
    }
}

/// Runs a job that is counted to its owner's share until its end.
async fn counted(
    share: Option<Share>,
    job: impl Future<Output = Option<Looked>>,
) -> Option<Looked> {
    let looked = job.await;
    drop(share);
    looked
}

/// Another look at a claim that is being looked into.
struct Again {
    why: Why,
    by: Owner,
    share: Option<Share>,
}

/// A claim that was looked into.
struct Looked {
    claimant: Claimant,
    /// Whether it is to be looked at again, for whom, and after which pause the last time.
    is_silent: Option<([Owner; 2], Option<Duration>)>,
}

/// Checks a claim, and asks its registrant in case of doubt.
async fn look_into(
    registry: RegistryHandle,
    Check { claimant, why, by }: Check,
    one_at_a_time: Arc<Semaphore>,
) -> Looked {
    let (registry, one_at_a_time) = (&registry, &one_at_a_time);
    let Claimant { uuid, epoch, stamped } = &claimant;
    let registrant = registry.owner(*uuid).unwrap_or(by);
    let ticket = registry.ticket(*uuid);
    // An instance that proves its identity would come back as another one.
    let comes_back = !registry.proves(*uuid);
    let owners = [registrant, by];
    let proves = ticket.is_some();
    let seen = look_in_turn(registry, stamped, proves, owners, one_at_a_time).await;
    // A foreign program never registers again, nor need one with a lease, and its folder may come back.
    let stays = |it: Lifetime| matches!(it, Lifetime::Foreign | Lifetime::Lease { .. });
    let is_away = seen == Some(CheckResult::Dead)
        && registry.read(|registry| registry.record(*uuid)).is_some_and(|it| stays(it.lifetime))
        && listens_elsewhere(stamped);
    let seen = if is_away { Some(CheckResult::Unclear) } else { seen };
    // For endpoints beyond the registrar's judgement, the word of the owner counts, and of those
    // that may change it anyway.
    let is_trusted = by == registrant || registry.accounts().is_trusted(by.account());
    let is_believed = is_trusted || seen.is_none();
    let result = match seen {
        Some(result) => result,
        None => connect_to(stamped, registrant, ticket).await,
    };
    let endpoint = &stamped.endpoint;
    info!(target: "callsign", %uuid, epoch, %endpoint, ?why, ?result, "looked into");
    let said = claimant.clone();
    let is_taken = (result, why) == (CheckResult::Dead, Why::Contested)
        && is_another_there(registry, &claimant, by, one_at_a_time).await;
    let event = match (result, why) {
        // Where nobody listens, a claim takes nothing from anybody.
        (CheckResult::Dead, Why::Contested) => is_taken.then_some(Event::FoundDead(said)),
        (CheckResult::Dead, Why::Reported(_)) => Some(Event::FoundSilent(said)),
        (CheckResult::Dead, Why::Silent { .. } | Why::Renewed) => None,
        (CheckResult::Alive, _) => Some(Event::FoundAlive(said)),
        // One owner may give a server several names.
        (CheckResult::Answered, Why::Contested) if by == registrant => None,
        // It may be either of two claimants; that somebody is there does not say who.
        (CheckResult::Answered, Why::Contested | Why::Reported(Evidence::OtherIdentity)) => {
            Some(Event::Suspect(said))
        }
        // Its answer refutes the report.
        (CheckResult::Answered, _) => Some(Event::FoundAlive(said)),
        (CheckResult::Unclear, Why::Silent { .. } | Why::Contested) => None,
        // Where the registrar cannot see, the owner's word counts.
        (CheckResult::Unclear, Why::Renewed) => Some(Event::FoundAlive(said)),
        (CheckResult::Unclear, _) => Some(Event::Suspect(said)),
    };
    let is_in_doubt = matches!(event, Some(Event::Suspect(_) | Event::FoundSilent(_)))
        || (result, why) == (CheckResult::Unclear, Why::Contested);
    let is_silent = result == CheckResult::Dead && matches!(why, Why::Silent { .. });
    // The doubt is of one endpoint, and callers reach the instance at another.
    let is_served = (is_in_doubt || is_silent)
        && serves_elsewhere(registry, &claimant, owners, one_at_a_time).await;
    let event = match event {
        event if !is_served => event,
        None => is_silent.then(|| Event::FoundAlive(claimant.clone())),
        Some(Event::FoundSilent(_)) => {
            event.filter(|_| !registry.read(|registry| registry.may_listen_again(&claimant)))
        }
        Some(_) => None,
    };
    // Another's word is reason enough to ask the registrant, and no more.
    if let Some(event) = event.filter(|it| is_believed || !matches!(it, Event::Suspect(_))) {
        registry.note(event);
    }
    if is_in_doubt {
        match confirm(registry, &claimant).await {
            Answer::Confirmed if result != CheckResult::Dead => {
                registry.note(Event::FoundAlive(claimant.clone()));
            }
            Answer::Disowned => registry.note(Event::Disowned(claimant.clone())),
            // An endpoint seen to be silent is suspect until it answers.
            Answer::Confirmed | Answer::Nothing => {}
        }
    }
    let paused = match why {
        Why::Silent { paused } => Some(paused),
        _ => None,
    };
    let may_answer = result == CheckResult::Dead || is_away;
    let is_silent = comes_back && may_answer && is_suspect(registry, &claimant);
    Looked { claimant, is_silent: is_silent.then_some(([registrant, by], paused)) }
}

/// Tells whether one of the other claimants of a place is there, as the kernel sees it, on the
/// account of whoever contests it.
async fn is_another_there(
    registry: &RegistryHandle,
    claimant: &Claimant,
    by: Owner,
    one_at_a_time: &Semaphore,
) -> bool {
    for rival in registry.read(|registry| registry.rivals(claimant)) {
        let Some(owner) = registry.owner(rival.uuid) else { continue };
        let seen = look_in_turn(registry, &rival.stamped, false, [owner, by], one_at_a_time).await;
        let result = match seen {
            Some(result) => result,
            None => connect_to(&rival.stamped, owner, registry.ticket(rival.uuid)).await,
        };
        if matches!(result, CheckResult::Alive | CheckResult::Answered) {
            return true;
        }
    }
    false
}

/// Lets others run, and the other jobs one after another.
async fn await_turn(one_at_a_time: &Semaphore) {
    let _turn = one_at_a_time.acquire().await;
    yield_now().await;
}

/// Tells whether a claim still stands, and there is evidence against it besides a session's
/// silence.
fn is_suspect(registry: &RegistryHandle, Claimant { uuid, epoch, stamped }: &Claimant) -> bool {
    let record = registry.read(|registry| registry.record(*uuid)).filter(|it| it.epoch == *epoch);
    record.is_some_and(|it| {
        it.suspicion.is_some_and(|it| it.reports > 0) && it.endpoints.contains(stamped)
    })
}

/// Tells whether somebody is seen to listen at another endpoint of the same registration.
async fn serves_elsewhere(
    registry: &RegistryHandle,
    Claimant { uuid, epoch, stamped }: &Claimant,
    owners: [Owner; 2],
    one_at_a_time: &Arc<Semaphore>,
) -> bool {
    let record = registry.read(|registry| registry.record(*uuid)).filter(|it| it.epoch == *epoch);
    let endpoints = record.map(|it| it.endpoints).unwrap_or_default();
    if endpoints.len() < 2 {
        return false;
    }
    // One reading of the kernel's lists answers for all of them.
    await_turn(one_at_a_time).await;
    let here = Arc::new(here());
    let mut looks = JoinSet::new();
    for other in endpoints.into_iter().filter(|it| it != stamped) {
        let (registry, here, one_at_a_time) =
            (registry.clone(), here.clone(), one_at_a_time.clone());
        looks.spawn(async move {
            await_turn(&one_at_a_time).await;
            let seen = look_from_here(&registry, &other, &here, false, owners).await;
            await_turn(&one_at_a_time).await;
            seen
        });
    }
    while let Some(seen) = looks.join_next().await {
        if matches!(seen, Ok(Some(CheckResult::Alive | CheckResult::Answered))) {
            return true;
        }
    }
    false
}

/// Looks at a claim as far as possible without connecting; `None` if a connection is allowed.
pub(crate) async fn look_at(
    registry: &RegistryHandle,
    uuid: Uuid,
    stamped: &Stamped,
) -> Option<Look> {
    let Some(registrant) = registry.owner(uuid) else { return Some(Look::Unclear) };
    let seen = look_from_here(registry, stamped, &here(), true, [registrant; 2]).await;
    seen.map(|it| match it {
        CheckResult::Dead => Look::Dead,
        CheckResult::Alive => Look::Alive,
        CheckResult::Answered | CheckResult::Unclear => Look::Unclear,
    })
}

/// The result of a look at an endpoint without a connection.
///
/// ```
/// # use callsign_registrar as callsign;
/// # use endpoints::Stamped;
/// # use uuid::Uuid;
/// use callsign::{Look, RegistryHandle, registry::Limits};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = RegistryHandle::unattended(Limits::default());
/// let anywhere = Stamped::bare("/ip4/192.0.2.7/tcp/22".parse()?);
/// assert_eq!(registry.look_at(Uuid::new_v4(), &anywhere).await, Some(Look::Unclear));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Look {
    /// Nobody is there any more.
    Dead,
    /// The very socket is there that was registered.
    Alive,
    /// Unknown from here.
    Unclear,
}

/// Looks as [`look_from_here`] does, when it is its turn. One look at the kernel's list may have
/// answered many, so each has its turn afterwards too.
async fn look_in_turn(
    registry: &RegistryHandle,
    stamped: &Stamped,
    proves: bool,
    owners: [Owner; 2],
    one_at_a_time: &Semaphore,
) -> Option<CheckResult> {
    await_turn(one_at_a_time).await;
    let seen = look_from_here(registry, stamped, &here(), proves, owners).await;
    await_turn(one_at_a_time).await;
    seen
}

/// Looks whether anybody is at an endpoint, without connecting to it. `None` if only a connection
/// can tell, and may be made.
async fn look_from_here(
    registry: &RegistryHandle,
    stamped: &Stamped,
    here: &Here,
    proves: bool,
    [registrant, by]: [Owner; 2],
) -> Option<CheckResult> {
    match locate(stamped, here, &look) {
        Ok(_) => {}
        Err(Unreachable::Missing | Unreachable::NotASocket | Unreachable::OtherSocket) => {
            return Some(not_there(stamped));
        }
        Err(_) => return Some(CheckResult::Unclear),
    }
    // An address that has gone from this host may be another machine's by now.
    if is_there(stamped) == Some(false) {
        return Some(CheckResult::Dead);
    }
    // A program that speaks another protocol must not lose a connection to a look: the kernel
    // reports the listener, except where it cannot see.
    let listening = if is_the_very_place(stamped, here) {
        registry.listening(&stamped.endpoint, by.account()).await
    } else {
        Listening::Unknown
    };
    let is_meant = |it: &ListeningSocket| it.is_that_of(&stamped.stamp);
    let seen = match &listening {
        Listening::Sockets(sockets) if stamped.endpoint.is_socket_file() => {
            if sockets.iter().any(is_meant) { CheckResult::Alive } else { not_there(stamped) }
        }
        // Its own server listens there no more.
        Listening::Sockets(sockets)
            if stranger_among(sockets, &stamped.stamp, user_of(registrant)).is_some() =>
        {
            return Some(CheckResult::Dead);
        }
        // Another program may have taken a port since.
        Listening::Sockets(_) => CheckResult::Answered,
        Listening::Nobody(Silence::NotListening) => return Some(CheckResult::Dead),
        Listening::Nobody(_) if stamped.endpoint.is_socket_file() => {
            return Some(not_there(stamped));
        }
        Listening::Nobody(_) => return Some(CheckResult::Dead),
        Listening::Unknown => CheckResult::Unclear,
    };
    let is_enough = !proves && seen != CheckResult::Unclear;
    let may = may_connect(&stamped.endpoint, &listening, here, registrant, by);
    (is_enough || !may).then_some(seen)
}

fn user_of(owner: Owner) -> Option<u32> {
    match owner {
        Owner::User(user) => Some(user),
        _ => None,
    }
}

/// Connects to an endpoint, and if its actor can prove its identity, checks it.
async fn connect_to(stamped: &Stamped, registrant: Owner, ticket: Option<Ticket>) -> CheckResult {
    let is_the_very_place = is_the_very_place(stamped, &here());
    let is_path = stamped.endpoint.is_socket_file();
    match (dial_for(stamped, registrant, LOOK_TIMEOUT).await, ticket) {
        (Ok(stream), Some(ticket)) => match prove(stream, ticket).await {
            Ok(()) => CheckResult::Alive,
            Err(error) if error.is_other_identity() && is_the_very_place => CheckResult::Dead,
            // It may be hung, or busy.
            Err(_) => CheckResult::Unclear,
        },
        // Another program may have taken a port since; a socket file's inode tells them apart.
        (Ok(_), None) if is_path => CheckResult::Alive,
        (Ok(_), None) => CheckResult::Answered,
        (Err(DialError::Busy), _) => CheckResult::Answered,
        (Err(DialError::Refused), _) if is_the_very_place => CheckResult::Dead,
        (Err(error), _) if is_path && error.is_evidence() => not_there(stamped),
        (Err(_), _) => CheckResult::Unclear,
    }
}

/// Interprets the absence of a listener at a path: a caller elsewhere sees another socket there, or
/// none, though the actor lives.
fn not_there(stamped: &Stamped) -> CheckResult {
    if stamped.stamp.root.is_some() && stamped.stamp.root == root() {
        CheckResult::Dead
    } else {
        CheckResult::Unclear
    }
}

/// Tells whether an endpoint means the same from here. The inode has identified a socket file.
/// Beyond this network namespace, the machine that answers or refuses may be a firewall, or another
/// host with the same address.
fn is_the_very_place(stamped: &Stamped, here: &Here) -> bool {
    stamped.endpoint.is_socket_file() || is_of_this_network(stamped, here)
}

fn is_of_this_network(stamped: &Stamped, here: &Here) -> bool {
    let Stamp { kernel, netns, .. } = stamped.stamp;
    kernel.is_some() && kernel == here.kernel && netns.is_some() && netns == here.netns
}

/// Lets the peer prove its identity.
async fn prove(stream: Stream, Ticket { wanted, owed }: Ticket) -> Result<(), ProveError> {
    let options = Options { handshake_timeout: LOOK_TIMEOUT, ..Options::default() };
    let channel = stream.channel_binding().map(ChannelBinding::new);
    let expected = owed.on(channel.as_ref());
    handshake_actor(stream, &options, wanted, expected).await.map(drop)
}

/// The time limit for a look: many times what any host on a network needs to answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// The most concurrent jobs: a look costs a connection.
const JOBS_MAX: usize = 64;
