//! What the registrar does beside its answers: it looks into endpoints that are contested, or said
//! not to answer, and passes on what registrants have to know.
//!
//! It looks for itself, from where it stands. Of an actor that cannot prove who it is it asks the
//! kernel, and connects only where that cannot tell. It removes only what it finds dead; what it cannot
//! judge from here, it marks, and asks the one who registered it.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use endpoints::{Endpoint, Here, Stamp, Stamped, UnixAddress, Unreachable, locate};
use portal::{Options, ProveError, greet_actor};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::info;
use transport::{
    DialError, Listening, ListeningSocket, Silence, Stream, dial_stamped, here, is_there,
    listening, look, root,
};
use uuid::Uuid;
use wire::registrar::Evidence;

use crate::{
    Clerk,
    clerk::Ticket,
    registrant::{Answer, confirm, tell_state},
    registry::{Claimant, Contested, Event},
};

/// Something to be done beside the answers.
#[derive(Clone, Debug)]
pub(crate) enum Errand {
    /// To look into a claim.
    LookInto(Doubt),
    /// To look into an older claim to what another claims, if it is still made.
    Contested(Contested),
    /// To tell a registrant how far its instance is in its life.
    TellState(Uuid),
}

/// A claim to be looked into, and why.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    pub(crate) claimant: Claimant,
    pub(crate) why: Why,
}

/// Why a claim is looked into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Why {
    /// A newer instance claims the same endpoint.
    Contested,
    /// Somebody says that it does not answer.
    Reported(Evidence),
}

/// What was seen of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sight {
    /// Nobody is there any more.
    Dead,
    /// Somebody is there, and it can be nobody else.
    Alive,
    /// Somebody is there, who need not be the one that registered.
    Answered,
    /// It cannot be judged from here.
    Unclear,
}

/// Runs errands, until nobody can ask for one any more.
pub(crate) async fn run_errands(clerk: Clerk, mut errands: mpsc::Receiver<Errand>) {
    let mut under_way = JoinSet::new();
    // What is looked into, and why it is to be looked into again: however many report it
    // meanwhile, one more look tells.
    let mut in_doubt: HashMap<Claimant, Option<Why>> = HashMap::new();
    loop {
        let errand = tokio::select! {
            Some(done) = under_way.join_next() => {
                let claimant: Option<Claimant> =
                    done.expect("an errand does not panic, and is not aborted");
                let again = claimant.and_then(|it| in_doubt.remove_entry(&it));
                let Some((claimant, Some(why))) = again else { continue };
                Errand::LookInto(Doubt { claimant, why })
            }
            errand = errands.recv(), if under_way.len() < ERRANDS_MAX => match errand {
                Some(errand) => errand,
                None => break,
            },
        };
        let clerk = clerk.clone();
        let Doubt { claimant, why } = match errand {
            Errand::LookInto(doubt) => doubt,
            Errand::Contested(Contested { uuid, epoch, endpoint }) => {
                let claimant = clerk.read(|registry| registry.claimant(uuid, epoch, &endpoint));
                let Some(claimant) = claimant else { continue };
                Doubt { claimant, why: Why::Contested }
            }
            Errand::TellState(uuid) => {
                under_way.spawn(async move {
                    tell_state(&clerk, uuid).await;
                    None
                });
                continue;
            }
        };
        match in_doubt.entry(claimant) {
            Entry::Occupied(mut again) => drop(again.insert(Some(why))),
            Entry::Vacant(entry) => {
                let doubt = Doubt { claimant: entry.key().clone(), why };
                entry.insert(None);
                under_way.spawn(async move { Some(look_into(&clerk, doubt).await) });
            }
        }
    }
}

/// Looks into a claim, and asks its registrant where that leaves a doubt.
async fn look_into(clerk: &Clerk, Doubt { claimant, why }: Doubt) -> Claimant {
    let Claimant { uuid, epoch, stamped } = &claimant;
    let sight = examine(stamped, clerk.ticket(*uuid)).await;
    let endpoint = &stamped.endpoint;
    info!(target: "callsign", %uuid, epoch, %endpoint, ?why, ?sight, "looked into");
    let said = claimant.clone();
    let event = match (sight, why) {
        (Sight::Dead, Why::Contested) => Event::FoundDead(said),
        (Sight::Dead, Why::Reported(_)) => Event::FoundSilent(said),
        (Sight::Alive, _) => Event::FoundAlive(said),
        // Of two who claim it, it may be either; and that somebody is there says nothing of who.
        (Sight::Answered, Why::Contested | Why::Reported(Evidence::OtherIdentity)) => {
            Event::Suspect(said)
        }
        // That it answers refutes who says that it does not.
        (Sight::Answered, Why::Reported(_)) => Event::FoundAlive(said),
        (Sight::Unclear, _) => Event::Suspect(said),
    };
    let is_in_doubt = matches!(event, Event::Suspect(_) | Event::FoundSilent(_));
    clerk.note(event);
    if is_in_doubt {
        match confirm(clerk, &claimant).await {
            Answer::Confirmed if sight != Sight::Dead => {
                clerk.note(Event::FoundAlive(claimant.clone()));
            }
            Answer::Disowned => clerk.note(Event::Disowned(claimant.clone())),
            // What the registrar has seen to be silent is suspect until it answers.
            Answer::Confirmed | Answer::Nothing => {}
        }
    }
    claimant
}

/// Looks whether anybody is at an endpoint, and if its actor can prove who it is, whether it is
/// that one.
async fn examine(stamped: &Stamped, ticket: Option<Ticket>) -> Sight {
    let here = here();
    // Whoever stands elsewhere sees another socket at the same path, or none, though it lives.
    let not_there = match stamped.stamp.root.is_some() && stamped.stamp.root == root() {
        true => Sight::Dead,
        false => Sight::Unclear,
    };
    match locate(stamped, &here, &look) {
        Ok(_) => {}
        Err(Unreachable::Missing | Unreachable::NotASocket | Unreachable::OtherSocket) => {
            return not_there;
        }
        Err(_) => return Sight::Unclear,
    }
    let is_path = matches!(stamped.endpoint, Endpoint::Unix(UnixAddress::Path(_)));
    // A socket file has been told by its inode. Beyond this network namespace who answers or
    // refuses may be a firewall, or another who has the same address.
    let is_the_very_place = is_path || is_of_this_network(stamped, &here);
    // An address that has gone from this host may be another machine's by now.
    if is_there(stamped) == Some(false) {
        return Sight::Dead;
    }
    // A program that speaks another protocol is not to lose a connection over it: the kernel
    // tells who listens, but for what it does not show from here.
    if ticket.is_none() && is_the_very_place {
        match listening(&stamped.endpoint) {
            Listening::Sockets(sockets) if is_path => {
                let is_meant = |it: &ListeningSocket| it.file == stamped.stamp.socket;
                return if sockets.iter().any(is_meant) { Sight::Alive } else { not_there };
            }
            // Another program may have taken a port since.
            Listening::Sockets(_) => return Sight::Answered,
            Listening::Nobody(Silence::NotListening | Silence::Bound) => return Sight::Dead,
            Listening::Nobody(_) if is_path => return not_there,
            Listening::Nobody(_) => return Sight::Dead,
            Listening::Unknown => {}
        }
    }
    match (dial_stamped(stamped, LOOK_TIMEOUT).await, ticket) {
        (Ok(stream), Some(ticket)) => match prove(stream, ticket).await {
            Ok(()) => Sight::Alive,
            Err(error) if error.is_other_identity() && is_the_very_place => Sight::Dead,
            // It may be hung, or busy.
            Err(_) => Sight::Unclear,
        },
        // Another program may have taken a port since; a socket file's inode tells them apart.
        (Ok(_), None) if is_path => Sight::Alive,
        (Ok(_), None) => Sight::Answered,
        (Err(DialError::Busy), _) => Sight::Answered,
        (Err(DialError::Refused), _) if is_the_very_place => Sight::Dead,
        (Err(error), _) if is_path && error.is_evidence() => not_there,
        (Err(_), _) => Sight::Unclear,
    }
}

fn is_of_this_network(stamped: &Stamped, here: &Here) -> bool {
    let Stamp { kernel, netns, .. } = stamped.stamp;
    kernel.is_some() && kernel == here.kernel && netns.is_some() && netns == here.netns
}

/// Lets whoever answered prove who it is.
async fn prove(stream: Stream, Ticket { wanted, proof }: Ticket) -> Result<(), ProveError> {
    let options = Options { handshake_timeout: LOOK_TIMEOUT, ..Options::default() };
    greet_actor(stream, &options, wanted, Some(proof)).await.map(drop)
}

/// How long one look may take: many times what any host on a network needs to answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// How many errands are under way at once: a look costs a connection.
const ERRANDS_MAX: usize = 64;
