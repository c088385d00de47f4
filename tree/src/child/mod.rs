//! The life of an actor, from the inside: it learns its specification, listens, answers calls, and
//! ends when it is asked to, or when its parent is gone.

pub(crate) mod calls;
pub(crate) mod peers;
pub(crate) mod places;
pub(crate) mod signals;
mod within;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use endpoints::{Endpoint, InstanceId, Name, Stamped};
use portal::{Closed, Handlers, Identity, IncomingCall, Options, accept};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use tracing::{
    Instrument as _, Span, error_span,
    field::{Empty, display},
    warn,
};
use transport::{Listener, Stream, TlsFiles, Whereabouts};
use wire::{ErrorKind, RemoteError, encode_body};

pub(crate) use self::within::{LocalChild, Near};
use self::{calls::Calls, peers::Acceptors, signals::Signals};
use crate::{
    Actor, CalleeError, CancelReason, Exit, Phase, Pressure,
    actor::{Core, CoreParts},
    messages::{Listening, Note, RUN, RelocateRequest, SpawnSpec, TlsPaths},
    process_context::ProcessContext,
    registration::{routes::Routes, uplink::Uplink},
    sockets,
};

/// Serves the parent at the other end of `channel`, another process, until this actor has ended.
pub(crate) async fn serve(channel: Stream, signals: Signals) {
    // The parent adds its name.
    let span = error_span!(
        target: "callsign", "actor", path = Empty, name = Empty, uuid = Empty
    );
    serve_within(span.clone(), channel, signals).instrument(span).await;
}

async fn serve_within(span: Span, channel: Stream, mut signals: Signals) {
    let (told, mut is_told) = mpsc::channel(1);
    let parent = FromParent { told, calls: Arc::default() };
    let answering = parent.clone();
    let handlers = Handlers::new(move |call| answering.clone().handle(call));
    let accepted = tokio::select! {
        accepted = accept(channel, Options::default(), handlers) => accepted,
        _ = signals.next() => return,
    };
    let connected = match accepted {
        Ok(connected) => connected,
        Err(error) => {
            tracing::debug!(target: "callsign", %error, "the handshake with the parent failed");
            return;
        }
    };
    let mut drivers = JoinSet::new();
    drivers.spawn(connected.driver.in_current_span());

    let told = tokio::select! {
        _ = drivers.join_next() => return,
        _ = signals.next() => return,
        told = timeout(SPEC_WAIT, is_told.recv()) => told,
    };
    let Ok(Some(SpecMessage { spec, started, notes })) = told else { return };
    span.record("path", display(&spec.path));
    span.record("name", spec.path.name());
    span.record("uuid", display(spec.uuid));
    let portal = connected.portal;
    let begun = tokio::select! {
        begun = begin(spec, span, &portal) => begun,
        // It may wait for a place that is occupied.
        _ = drivers.join_next() => return,
        _ = signals.next() => return,
    };
    match begun {
        Ok(life) => {
            parent.open(life.calls.clone());
            drop(
                started
                    .send(Ok(Listening { pid: std::process::id(), endpoints: life.published() })),
            );
            let context = life.actor.core.context.clone();
            life.live(portal, signals, notes, drivers, context.pool.close()).await;
        }
        Err(error) => {
            started.send(Err(error)).ok();
            drop(notes);
            farewell(drivers).await;
        }
    }
}

/// The parent's message with a child's specification.
struct SpecMessage {
    spec: SpawnSpec,
    /// Gets the endpoints at which the actor listens.
    started: oneshot::Sender<Result<Listening, RemoteError>>,
    /// Reads its specification. Dropping it ends the parent's call.
    notes: mpsc::Sender<Note>,
}

/// The service of a child to its parent.
#[derive(Clone)]
struct FromParent {
    told: mpsc::Sender<SpecMessage>,
    /// Set once the actor is up.
    calls: Arc<OnceLock<Calls>>,
}

impl FromParent {
    fn open(&self, calls: Calls) {
        // An actor comes up once.
        drop(self.calls.set(calls));
    }

    /// Answers a call.
    async fn handle(self, mut call: IncomingCall) -> Result<Bytes, RemoteError> {
        if call.method() != RUN {
            return match self.calls.get() {
                Some(calls) => calls.clone().handle(call).await,
                None => {
                    let why = format!("{:?} is called before the actor is up", call.method());
                    Err(RemoteError::new(ErrorKind::Invalid, why))
                }
            };
        }
        let spec: SpawnSpec = call.args()?;
        let (started, is_started) = oneshot::channel();
        let (notes, mut to_say) = mpsc::channel(NOTES_MAX);
        if self.told.try_send(SpecMessage { spec, started, notes }).is_err() {
            let why = "this actor was told what it is";
            return Err(RemoteError::new(ErrorKind::Invalid, why));
        }
        if let Ok(listening) = is_started.await {
            // It fails if the parent is gone, which is noticed elsewhere.
            drop(call.start(&listening?, 0));
            while let Some(note) = to_say.recv().await {
                call.send(&note).await.ok();
            }
        }
        Ok(encode_body(&()).into())
    }
}

/// Makes an actor of this process, and binds its endpoints.
async fn begin(spec: SpawnSpec, span: Span, parent: &portal::Portal) -> Result<Life, RemoteError> {
    let name = Name::new(spec.path.name()).map_err(|error| {
        RemoteError::new(ErrorKind::Invalid, format!("`{}`: {error}", spec.path))
    })?;
    if let Some(TlsPaths { ca, certificate, key }) = spec.tls.clone() {
        let files = TlsFiles { ca, certificate, key };
        // An actor that needs no TLS does without, and one that does is told by what it binds or dials.
        if let Err(error) = transport::follow_tls(files) {
            warn!(%error, "no TLS until its certificate can be used");
        }
    }
    let listeners = spec.places.listen().await?;
    let parts = CoreParts {
        context: Arc::new(ProcessContext::of(&spec)),
        path: spec.path,
        kind: spec.kind,
        bound: bound(&listeners),
        span,
        uplink: Uplink::Parent(parent.clone()),
        routes: Routes::new(Identity::new(InstanceId { name, uuid: spec.uuid })),
        liveness: None,
    };
    Ok(Life::new(parts, listeners, &spec.expose, spec.entry_point))
}

/// The life of an actor, wherever it runs.
struct Life {
    actor: Actor,
    listeners: Vec<Listener>,
    exposed: Arc<[String]>,
    /// Answers the calls of its parent.
    calls: Calls,
}

impl Life {
    fn new(
        parts: CoreParts,
        listeners: Vec<Listener>,
        expose: &[String],
        entry_point: Option<String>,
    ) -> Self {
        let actor = Actor { core: Arc::new(Core::new(parts)) };
        let of_parent = expose.iter().cloned().chain(entry_point).collect();
        let calls = Calls::of_parent(actor.clone(), of_parent);
        Self { actor, listeners, exposed: expose.into(), calls }
    }

    fn published(&self) -> Vec<Stamped> {
        published(&self.listeners)
    }

    /// Lives to the end, reports its exit, and lets the parent read that. `clean_up` runs before
    /// the channel closes.
    async fn live(
        self,
        parent: portal::Portal,
        signals: Signals,
        notes: mpsc::Sender<Note>,
        drivers: JoinSet<Closed>,
        clean_up: impl Future<Output = ()>,
    ) {
        let Self { actor, listeners, exposed, .. } = self;
        let exit = live(parent, signals, &actor, listeners, exposed, &notes).await;
        // The parent may be gone.
        notes.send(Note::Exit(exit)).await.ok();
        clean_up.await;
        drop(notes);
        farewell(drivers).await;
    }
}

/// Waits until the parent has read everything and says goodbye. The channel ends if the parent does
/// not.
async fn farewell(mut drivers: JoinSet<Closed>) {
    drop(timeout(FAREWELL_WAIT, drivers.join_next()).await);
}

fn bound(listeners: &[Listener]) -> Vec<Endpoint> {
    listeners.iter().map(|it| it.bound().clone()).collect()
}

fn published(listeners: &[Listener]) -> Vec<Stamped> {
    listeners.iter().flat_map(Listener::published).collect()
}

/// Reports to those above whenever the actor has other endpoints: a socket of it was bound again,
/// or the addresses of its wildcards have changed.
fn follow_whereabouts(
    listeners: &[Listener],
    actor: &Actor,
) -> impl Future<Output = ()> + Send + use<> {
    let (uuid, core) = (actor.core.instance.uuid, actor.core.clone());
    let mut endpoints = published(listeners);
    let mut whereabouts = Whereabouts::of_listeners(listeners);
    let mut changes = whereabouts.changes();
    async move {
        loop {
            if whereabouts.follow(&mut endpoints) {
                let request = RelocateRequest { uuid, endpoints: endpoints.clone() };
                if let Err(error) = core.uplink.relocate(&request).await {
                    tracing::warn!(target: "callsign", %error, "not found any more");
                }
            }
            changes.next().await;
        }
    }
}

/// Answers calls until the actor is asked to end, then ends the rest of its work.
async fn live(
    parent: portal::Portal,
    mut signals: Signals,
    actor: &Actor,
    listeners: Vec<Listener>,
    exposed: Arc<[String]>,
    notes: &mpsc::Sender<Note>,
) -> Exit {
    let core = &actor.core;
    let is_process = core.kind.is_process();
    let _listed = sockets::list(&listeners);
    let mut acceptors = Acceptors::default();
    let following = follow_whereabouts(&listeners, actor);
    acceptors.accompany(following.in_current_span());
    for listener in listeners {
        acceptors.serve(listener, actor.clone(), exposed.clone());
    }
    let mut is_parent_there = true;
    let reason = loop {
        tokio::select! {
            biased;
            reason = core.cancel.asked() => break reason,
            _ = parent.closed(), if is_parent_there => {
                is_parent_there = false;
                let parent = actor.path().parent().unwrap_or_else(|| actor.path().clone());
                core.cancel.ask(CancelReason::new(parent, "it is gone"));
            }
            signal = signals.next() => {
                core.cancel.ask(CancelReason::new(actor.path().clone(), signal));
            }
            () = acceptors.broken() => {
                core.cancel.ask(CancelReason::new(actor.path().clone(), peers::HAS_PANICKED));
            }
            // A process in between may be stuck, and then nothing else arrives.
            () = process::forced_to_end(), if is_process => {
                core.force.cancel();
                let parent = actor.path().parent().unwrap_or_else(|| actor.path().clone());
                core.cancel.ask(CancelReason::new(parent, "its end is forced"));
            }
        }
    };
    // It is reported for people who wonder, and nobody waits for it.
    drop(notes.try_send(Note::Phase(Phase::AwaitingChildren)));
    // No new caller, and no socket file, from here on.
    let mut idle = std::pin::pin!(async {
        acceptors.close().await;
        core.idle().await;
    });
    let mut are_told = !is_process;
    loop {
        tokio::select! {
            biased;
            () = &mut idle => break,
            // Actors below a stuck thread of this process are notified as well.
            () = core.force.cancelled(), if !are_told => {
                are_told = true;
                process::force_children_to_end();
            }
            _ = signals.next() => core.force.cancel(),
            () = process::forced_to_end(), if !are_told => core.force.cancel(),
        }
    }
    match core.take_left_behind() {
        // A failure before the cancellation is still a failure.
        Some(error) => Exit::Failed(CalleeError::failed(&error).at(actor.path())),
        None => Exit::Cancelled { reason, pressure: Pressure::Asked },
    }
}

/// The most notes that wait for the parent: it takes each immediately.
const NOTES_MAX: usize = 16;

/// The child's time limit for its specification. It arrives immediately.
const SPEC_WAIT: Duration = Duration::from_secs(10);

/// The time for reading a child's last message. A parent that is there reads it, however little it
/// gets to run, and one that is gone closes the channel: this is for one that hangs.
const FAREWELL_WAIT: Duration = Duration::from_secs(30);
