//! Looking into endpoints that are contested, or said not to answer.
//!
//! The registrar looks for itself, from where it stands. It removes only what it finds dead; what
//! it cannot judge from here, it marks.

use std::time::Duration;

use endpoints::{Endpoint, Here, Stamp, Stamped, UnixAddress, Unreachable, locate};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::info;
use transport::{DialError, dial_stamped, here, look, root};

use crate::{
    Clerk,
    registry::{Claimant, Event},
};

/// A claim to be looked into, and why.
#[derive(Clone, Debug)]
pub(crate) enum Doubt {
    /// A newer instance claims the same endpoint.
    Contested(Claimant),
    /// Somebody says that it does not answer.
    Reported(Claimant),
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

/// Looks into every endpoint that is asked about, until nobody can ask any more.
pub(crate) async fn verify(clerk: Clerk, mut to_verify: mpsc::Receiver<Doubt>) {
    let mut looks = JoinSet::new();
    loop {
        tokio::select! {
            Some(note) = looks.join_next() => note_sight(&clerk, note),
            doubt = to_verify.recv(), if looks.len() < LOOKS_MAX => {
                let Some(doubt) = doubt else { break };
                looks.spawn(async move {
                    let (Doubt::Contested(claimant) | Doubt::Reported(claimant)) = &doubt;
                    let sight = examine(&claimant.stamped).await;
                    (doubt, sight)
                });
            }
        }
    }
}

fn note_sight(clerk: &Clerk, looked: Result<(Doubt, Sight), tokio::task::JoinError>) {
    let (doubt, sight) = looked.expect("to look does not panic, and is not aborted");
    let (Doubt::Contested(claimant) | Doubt::Reported(claimant)) = &doubt;
    info!(endpoint = %claimant.stamped.endpoint, uuid = %claimant.uuid, ?sight, "looked into");
    clerk.note(match (sight, doubt) {
        (Sight::Dead, Doubt::Contested(it)) => Event::FoundDead(it),
        (Sight::Dead, Doubt::Reported(it)) => Event::FoundSilent(it),
        (Sight::Alive, Doubt::Contested(it) | Doubt::Reported(it)) => Event::FoundAlive(it),
        // That it answers refutes who says that it does not; of two who claim it, it may be
        // either.
        (Sight::Answered, Doubt::Reported(it)) => Event::FoundAlive(it),
        (Sight::Answered, Doubt::Contested(it)) => Event::Suspect(it),
        (Sight::Unclear, Doubt::Contested(it) | Doubt::Reported(it)) => Event::Suspect(it),
    });
}

/// Looks whether anybody is at an endpoint.
async fn examine(stamped: &Stamped) -> Sight {
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
    match dial_stamped(stamped, LOOK_TIMEOUT).await {
        // Another program may have taken a port since; a socket file's inode tells them apart.
        Ok(_) if is_path => Sight::Alive,
        Ok(_) => Sight::Answered,
        Err(DialError::Busy) => Sight::Answered,
        // It was the very socket that refused.
        Err(DialError::Refused) if is_path => Sight::Dead,
        Err(error) if is_path && error.is_evidence() => not_there,
        // Beyond this network namespace a refusal may be a firewall's, or another's who has the
        // same address.
        Err(error) if error.is_evidence() && is_of_this_network(stamped, &here) => Sight::Dead,
        Err(_) => Sight::Unclear,
    }
}

fn is_of_this_network(stamped: &Stamped, here: &Here) -> bool {
    let Stamp { kernel, netns, .. } = stamped.stamp;
    kernel.is_some() && kernel == here.kernel && netns.is_some() && netns == here.netns
}

/// How long one look may take: many times what any host on a network needs to answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// How many looks are under way at once, each at the cost of a connection.
const LOOKS_MAX: usize = 64;
