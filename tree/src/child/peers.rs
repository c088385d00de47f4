//! The connections of peers to an actor.

use std::sync::Arc;

use portal::{Acceptor, Established, Handlers, Heartbeat, Options};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use transport::{Listener, Peer, Stream};

use super::calls::Calls;
use crate::Actor;

/// The accept loops of an actor, one at each of its endpoints.
#[derive(Debug, Default)]
pub(crate) struct Acceptors {
    tasks: JoinSet<()>,
    over: CancellationToken,
}

impl Acceptors {
    /// Accepts connections at an endpoint.
    pub(crate) fn serve(&mut self, listener: Listener, actor: Actor, exposed: Arc<[String]>) {
        let span = actor.core.span.clone();
        let serving = serve(listener, actor, exposed, self.over.clone());
        self.tasks.spawn(serving.instrument(span));
    }

    /// Runs a task for as long as connections are accepted.
    pub(crate) fn accompany(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let over = self.over.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = over.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Waits until one of them has panicked.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn broken(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if ended.is_err() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Accepts no more callers, removes the socket files, and waits until no connection is at work:
    /// a caller that has asked the actor to end gets its answer before the process is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the rest can be awaited again.
    pub(crate) async fn close(&mut self) {
        self.over.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Accepts connections, proves the actor's identity to each, and answers their calls.
async fn serve(listener: Listener, actor: Actor, exposed: Arc<[String]>, over: CancellationToken) {
    let identity = actor.core.routes.own().clone();
    let mut acceptor = Acceptor::new(listener, identity, Options::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => break,
            Some(_) = connections.join_next() => {}
            established = acceptor.accept(), if connections.len() < CONNECTIONS_MAX => {
                let conversation = converse(established, actor.clone(), exposed.clone());
                connections.spawn(conversation.in_current_span());
            }
        }
    }
    drop(acceptor);
    connections.shutdown().await;
}

/// Serves one peer until either side closes the connection.
async fn converse(established: Established<Stream>, actor: Actor, exposed: Arc<[String]>) {
    let peer = *established.io.peer();
    let (may_cancel, heartbeat) = match peer {
        Peer::Unix { uid, .. } => (uid == Some(rustix::process::geteuid().as_raw()), None),
        Peer::Memory => (true, None),
        Peer::Tcp(_) => (false, Some(Heartbeat::default())),
    };
    let options = Options { heartbeat, ..Options::default() };
    let calls = Calls::of_peer(actor, exposed, may_cancel);
    let handlers = Handlers::new(move |call| calls.clone().handle(call));
    let closed = established.converse(&options, handlers).driver.await;
    tracing::debug!(target: "callsign", %peer, "{closed}");
}

/// The reason for the end of an actor that can no longer be reached.
pub(crate) const HAS_PANICKED: &str = "what takes its connections has panicked";

/// The most connections of an actor at each of its endpoints; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use portal::{NoService, Request, connect};
    use transport::dial_within;
    use wire::Hello;

    use super::*;
    use crate::{
        ActorPath, CancelReason,
        messages::{CANCEL, CancelRequest},
        registration::parent_service,
    };

    /// An actor that is a process ends once its accept loops have closed. Then no message of theirs
    /// may be in transit from a thread to the kernel.
    #[tokio::test]
    async fn a_request_to_end_is_answered_before_the_actor_is_gone() {
        let (near, _far) = Stream::pair();
        let parent =
            Established::dialed(near, Hello::default()).converse(&Options::default(), NoService);
        let actor = Actor { core: parent_service::tests::actor(parent.portal) };
        let listener = Listener::bind(&"/memory/0".parse().unwrap()).await.unwrap();
        let endpoint = listener.bound().clone();
        let exposed: Arc<[String]> = Arc::new(["greet".to_owned()]);
        let mut acceptors = Acceptors::default();
        acceptors.serve(listener, actor.clone(), exposed.clone());

        let stream = dial_within(&endpoint, std::time::Duration::from_secs(30)).await.unwrap();
        let caller = connect(stream, Options::default(), NoService).await.unwrap();
        let mut drivers = JoinSet::new();
        drivers.spawn(caller.driver);
        let reason = CancelReason::new(ActorPath::root(&"asker".parse().unwrap()), "enough");
        let asked = CancelRequest { reason, force: false };
        let ends = async {
            actor.core.cancel.asked().await;
            acceptors.close().await;
            // A connection that still ran would hold the list.
            assert_eq!(Arc::strong_count(&exposed), 1);
        };
        let (told, ()) = tokio::join!(caller.portal.call::<()>(Request::new(CANCEL, &asked)), ends);
        told.unwrap();
    }
}
