//! The life of an actor within its parent's process: it needs no greeting, and is handed what it
//! is rather than told.

use std::sync::Arc;

use endpoints::{InstanceId, Stamped};
use portal::{Established, Handlers, Identity, Options};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use transport::{Listener, Stream};
use uuid::Uuid;
use wire::{Hello, RemoteError};

use super::{FAREWELL_WAIT, NOTES_MAX, calls::Calls, live, places::Places, signals::Signals};
use crate::{
    Actor,
    actor::{Core, LivenessGuard},
    messages::Note,
    outcome::cancel::Cancel,
    process_context::ProcessContext,
    registration::{
        parent_service::ParentService,
        routes::{Routes, Way},
        uplink::Uplink,
    },
    scope::child_spec::ChildSpec,
};

/// An actor within its parent's process that has yet to begin.
pub(crate) struct LocalChild {
    pub(crate) spec: Arc<ChildSpec>,
    pub(crate) uuid: Uuid,
    pub(crate) places: Places,
    pub(crate) context: Arc<ProcessContext>,
    pub(crate) service: ParentService,
}

/// What the parent has of an actor within its process.
pub(crate) struct Near {
    /// The parent's end of the channel.
    pub(crate) channel: Stream,
    /// Told once where the actor listens.
    pub(crate) listening: oneshot::Receiver<Result<Vec<Stamped>, RemoteError>>,
    /// What it says of itself.
    pub(crate) notes: mpsc::Receiver<Note>,
}

impl LocalChild {
    /// Begins its life on the present runtime, and returns what is to be run there. An actor that
    /// may listen at places of its own does so when this returns, and its callers wait for it to
    /// be run.
    pub(crate) fn begin(self, liveness: LivenessGuard) -> (impl Future<Output = ()> + Send, Near) {
        let (near, far) = Stream::pair();
        let (listens, listening) = oneshot::channel();
        let (say, notes) = mpsc::channel(NOTES_MAX);
        let Self { spec, uuid, places, context, service } = self;
        let routes = Routes::new(Identity::new(InstanceId { name: spec.name.clone(), uuid }));
        service.open(Way::Within(routes.clone()));
        let early = match places.listen_now() {
            Some(listeners) => {
                // The other end is right here.
                drop(listens.send(Ok(published(&listeners))));
                Ok(listeners)
            }
            None => Err(listens),
        };
        let life = Within { spec, context, service, routes, liveness, channel: far, say };
        let run = async move {
            let listeners = match early {
                Ok(listeners) => listeners,
                Err(listens) => {
                    let bound = places.listen().await;
                    let told = bound.as_deref().map(published).map_err(Clone::clone);
                    // A parent that hears nothing any more has given this up.
                    drop(listens.send(told));
                    let Ok(listeners) = bound else { return };
                    listeners
                }
            };
            life.run(listeners).await;
        };
        (run, Near { channel: near, listening, notes })
    }
}

fn published(listeners: &[Listener]) -> Vec<Stamped> {
    listeners.iter().flat_map(Listener::published).collect()
}

struct Within {
    spec: Arc<ChildSpec>,
    context: Arc<ProcessContext>,
    service: ParentService,
    routes: Routes,
    liveness: LivenessGuard,
    channel: Stream,
    say: mpsc::Sender<Note>,
}

impl Within {
    async fn run(self, listeners: Vec<Listener>) {
        let Self { spec, context, service, routes, liveness, channel, say } = self;
        let core = Core::new(
            spec.path.clone(),
            routes.own().instance().clone(),
            spec.kind,
            listeners.iter().map(|it| it.bound().clone()).collect(),
            Cancel::default(),
            CancellationToken::new(),
            Uplink::Within(Arc::new(service)),
            routes,
            context,
            &liveness,
        );
        let actor = Actor { core: Arc::new(core) };
        let exposed: Arc<[String]> = spec.expose.iter().cloned().collect();
        let main = spec.entry_point.as_ref().map(|it| it.path.clone());
        let calls = Calls::of_parent(actor.clone(), exposed.iter().cloned().chain(main).collect());
        let handlers = Handlers::new(move |call| calls.clone().handle(call));
        let connected = Established::accepted(channel, Hello::default())
            .converse(&Options::default(), handlers);
        let mut drivers = JoinSet::new();
        drivers.spawn(connected.driver);

        let exit = live(connected.portal, Signals::none(), &actor, listeners, exposed, &say).await;
        // The parent may be gone.
        drop(say.send(Note::Exit(exit)).await);
        drop(say);
        // The parent says goodbye when it has read all. One that does not will drop its end.
        drop(timeout(FAREWELL_WAIT, drivers.join_next()).await);
    }
}
