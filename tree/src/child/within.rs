//! The life of an actor within its parent's process: it needs no greeting, and gets its
//! specification as a value.

use std::{
    future::{Future, ready},
    sync::Arc,
};

use endpoints::{InstanceId, Stamped};
use portal::{Connected, Established, Handlers, Identity, Options};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::{Instrument as _, Span};
use transport::{Listener, Stream};
use uuid::Uuid;
use wire::{Hello, RemoteError};

use super::{Life, NOTES_MAX, bound, places::Places, published, signals::Signals};
use crate::{
    actor::{CoreParts, LivenessGuard},
    messages::Note,
    process_context::ProcessContext,
    registration::{
        parent_service::ParentService,
        routes::{Route, Routes},
        uplink::Uplink,
    },
    scope::child_spec::ChildSpec,
};

/// An actor within its parent's process, before its start.
pub(crate) struct LocalChild {
    pub(crate) spec: Arc<ChildSpec>,
    pub(crate) uuid: Uuid,
    pub(crate) places: Places,
    pub(crate) context: Arc<ProcessContext>,
    pub(crate) service: ParentService,
    pub(crate) span: Span,
}

/// The parent's ends of its connections to a child within its process.
pub(crate) struct Near {
    /// The parent's end of the channel.
    pub(crate) channel: Stream,
    /// Gets the actor's endpoints, once.
    pub(crate) listening: oneshot::Receiver<Result<Vec<Stamped>, RemoteError>>,
    /// The notes of the actor about itself.
    pub(crate) notes: mpsc::Receiver<Note>,
}

impl LocalChild {
    /// Begins its life on the present runtime, and returns the future to run there. An actor with
    /// drawn places listens when this returns, and its callers wait for it to run.
    pub(crate) fn begin(
        self,
        liveness: Option<LivenessGuard>,
    ) -> (impl Future<Output = ()> + Send, Near) {
        let (near, channel) = Stream::pair();
        let (listens, listening) = oneshot::channel();
        let (say, notes) = mpsc::channel(NOTES_MAX);
        let Self { spec, uuid, places, context, service, span } = self;
        let routes = Routes::new(Identity::new(InstanceId { name: spec.name.clone(), uuid }));
        service.open(Route::Within(routes.clone()));
        let early = match places.listen_now() {
            Some(listeners) => {
                // The other end is right here.
                listens.send(Ok(published(&listeners))).ok();
                Ok(listeners)
            }
            None => Err(listens),
        };
        let life =
            Within { spec, context, service, routes, liveness, span: span.clone(), channel, say };
        let run = async move {
            let listeners = match early {
                Ok(listeners) => listeners,
                Err(listens) => {
                    let bound = places.listen().await;
                    let told = bound.as_deref().map(published).map_err(Clone::clone);
                    // A parent that reads nothing any more has abandoned the child.
                    listens.send(told).ok();
                    let Ok(listeners) = bound else { return };
                    listeners
                }
            };
            life.run(listeners).await;
        };
        (run.instrument(span), Near { channel: near, listening, notes })
    }
}

struct Within {
    spec: Arc<ChildSpec>,
    context: Arc<ProcessContext>,
    service: ParentService,
    routes: Routes,
    liveness: Option<LivenessGuard>,
    span: Span,
    channel: Stream,
    say: mpsc::Sender<Note>,
}

impl Within {
    async fn run(self, listeners: Vec<Listener>) {
        let Self { spec, context, service, routes, liveness, span, channel, say } = self;
        // Until this returns, the functions of the actor can report that they are at work.
        let _alive = liveness.clone();
        let parts = CoreParts {
            path: spec.path.clone(),
            kind: spec.kind,
            bound: bound(&listeners),
            span,
            uplink: Uplink::Within(Arc::new(service)),
            routes,
            context,
            liveness,
        };
        let entry_point = spec.entry_point.as_ref().map(|it| it.path.clone());
        let life = Life::new(parts, listeners, &spec.expose, entry_point);
        let calls = life.calls.clone();
        let handlers = Handlers::new(move |call| calls.clone().handle(call));
        let established = Established::accepted(channel, Hello::default());
        let Connected { portal, driver } = established.converse(&Options::default(), handlers);
        let mut drivers = JoinSet::new();
        drivers.spawn(driver.in_current_span());
        life.live(portal, Signals::none(), say, drivers, ready(())).await;
    }
}
