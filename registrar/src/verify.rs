//! Looking into endpoints that are contested, or said not to answer.
//!
//! The registrar looks for itself, from where it stands. It removes only what it finds dead; what
//! it cannot judge from here, it marks.

use std::time::Duration;

use endpoints::{Endpoint, Stamped, UnixAddress, Unreachable, locate};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::info;
use transport::{DialError, dial_stamped, here, look};

use crate::{
    Clerk,
    registry::{Claimant, Event},
};

/// What was seen of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sight {
    /// Nobody is there any more.
    Dead,
    /// Somebody is there, and it can be nobody else.
    Alive,
    /// It cannot be judged from here.
    Unclear,
}

/// Looks into every endpoint that is asked about, until nobody can ask any more.
pub(crate) async fn verify(clerk: Clerk, mut to_verify: mpsc::Receiver<Claimant>) {
    let mut looks = JoinSet::new();
    loop {
        tokio::select! {
            Some(note) = looks.join_next() => note_sight(&clerk, note),
            claimant = to_verify.recv(), if looks.len() < LOOKS_MAX => {
                let Some(claimant) = claimant else { break };
                looks.spawn(async move {
                    let sight = examine(&claimant.stamped).await;
                    (claimant, sight)
                });
            }
        }
    }
}

fn note_sight(clerk: &Clerk, looked: Result<(Claimant, Sight), tokio::task::JoinError>) {
    let (claimant, sight) = looked.expect("to look does not panic, and is not aborted");
    info!(endpoint = %claimant.stamped.endpoint, uuid = %claimant.uuid, ?sight, "looked into");
    clerk.note(match sight {
        Sight::Dead => Event::FoundDead(claimant),
        Sight::Alive => Event::FoundAlive(claimant),
        Sight::Unclear => Event::Suspect(claimant),
    });
}

/// Looks whether anybody is at an endpoint.
async fn examine(stamped: &Stamped) -> Sight {
    let is_local = match locate(stamped, &here(), &look) {
        Ok(locality) => locality.is_within_host(),
        // The very kernel on which it was bound says that the socket is not there.
        Err(Unreachable::Missing | Unreachable::NotASocket | Unreachable::OtherSocket) => {
            return Sight::Dead;
        }
        Err(_) => return Sight::Unclear,
    };
    match dial_stamped(stamped, LOOK_TIMEOUT).await {
        // Another program may have taken a port since; a socket file's inode tells them apart.
        Ok(_) if is_socket_file(&stamped.endpoint) => Sight::Alive,
        Ok(_) => Sight::Unclear,
        Err(error) if is_local && error.is_evidence() => Sight::Dead,
        // Beyond this host a refusal may be a firewall's.
        Err(DialError::Busy) => Sight::Alive,
        Err(_) => Sight::Unclear,
    }
}

fn is_socket_file(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Unix(UnixAddress::Path(_)))
}

/// How long one look may take: many times what any host on a network needs to answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// How many looks are under way at once, each at the cost of a connection.
const LOOKS_MAX: usize = 64;
