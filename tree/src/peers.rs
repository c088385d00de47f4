//! Connections of others to an actor.

use std::sync::Arc;

use portal::{Greeted, Handlers, Heartbeat, Options, Reception};
use tokio::task::JoinSet;
use transport::{Listener, Peer, Stream};

use crate::{Actor, calls::Calls};

/// Takes connections, proves to each who the actor is, and answers their calls, until it is
/// dropped.
pub(crate) async fn serve(listener: Listener, actor: Actor, exposed: Arc<[String]>) {
    let identity = actor.core.routes.own().clone();
    let mut reception = Reception::new(listener, identity, Options::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            greeted = reception.accept(), if connections.len() < CONNECTIONS_MAX => {
                connections.spawn(converse(greeted, actor.clone(), exposed.clone()));
            }
        }
    }
}

/// Talks with one peer until either side has enough.
async fn converse(greeted: Greeted<Stream>, actor: Actor, exposed: Arc<[String]>) {
    let peer = *greeted.io.peer();
    let (may_cancel, heartbeat) = match peer {
        Peer::Unix { uid, .. } => (uid == Some(rustix::process::geteuid().as_raw()), None),
        Peer::Memory => (true, None),
        Peer::Tcp(_) => (false, Some(Heartbeat::default())),
    };
    let options = Options { heartbeat, ..Options::default() };
    let calls = Calls::of_peer(actor, exposed, may_cancel);
    let handlers = Handlers::new(move |call| calls.clone().handle(call));
    let closed = greeted.converse(&options, handlers).driver.await;
    tracing::debug!(target: "callsign", %peer, "{closed}");
}

/// Why an actor ends that nobody could reach any more.
pub(crate) const HAS_PANICKED: &str = "what takes its connections has panicked";

/// How many connections an actor has at each of its endpoints; further ones wait to be taken.
const CONNECTIONS_MAX: usize = 1024;
