//! The life of an actor, from the inside: it is told what it is, listens, answers calls, and ends
//! when it is asked to, or when its parent is gone.

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
use endpoints::{InstanceId, Name};
use portal::{Handlers, Identity, IncomingCall, Options, accept};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use transport::{Listener, Stream, Whereabouts};
use wire::{ErrorKind, RemoteError, encode_body};

pub(crate) use self::within::{LocalChild, Near};
use self::{calls::Calls, peers::Acceptors, signals::Signals};
use crate::{
    Actor, CalleeError, CancelReason, Exit, Phase, Pressure,
    actor::{Core, LivenessGuard},
    messages::{Listening, Note, RUN, RelocateRequest, SpawnSpec},
    outcome::cancel::Cancel,
    process_context::ProcessContext,
    registration::{routes::Routes, uplink::Uplink},
    sockets,
};

/// Serves the parent at the other end of `channel`, another process, until this actor has ended.
pub(crate) async fn serve(channel: Stream, mut signals: Signals) {
    let (told, mut is_told) = mpsc::channel(1);
    let parent = FromParent { told, calls: Arc::default() };
    let answering = parent.clone();
    let handlers = Handlers::new(move |call| answering.clone().handle(call));
    let connected = match accept(channel, Options::default(), handlers).await {
        Ok(connected) => connected,
        Err(error) => {
            tracing::debug!(target: "callsign", %error, "the handshake with the parent failed");
            return;
        }
    };
    let mut drivers = JoinSet::new();
    drivers.spawn(connected.driver);

    let told = tokio::select! {
        _ = drivers.join_next() => return,
        _ = signals.next() => return,
        told = timeout(SPEC_WAIT, is_told.recv()) => told,
    };
    let Ok(Some(Told { spec, started, notes })) = told else { return };
    let portal = connected.portal;
    match begin(&spec, &portal).await {
        Ok((actor, listeners)) => {
            let exposed: Arc<[String]> = spec.expose.iter().cloned().collect();
            let of_parent = exposed.iter().cloned().chain(spec.main).collect();
            parent.open(Calls::of_parent(actor.clone(), of_parent));
            let endpoints = listeners.iter().flat_map(Listener::published).collect();
            drop(started.send(Ok(Listening { pid: std::process::id(), endpoints })));
            let exit = live(portal, signals, &actor, listeners, exposed, &notes).await;
            // The parent may be gone.
            drop(notes.send(Note::Exit(exit)).await);
            actor.core.context.pool.close().await;
        }
        Err(error) => drop(started.send(Err(error))),
    }
    drop(notes);
    // The parent says goodbye when it has read all. One that does not will see the channel's end.
    drop(timeout(FAREWELL_WAIT, drivers.join_next()).await);
}

/// What the parent told.
struct Told {
    spec: SpawnSpec,
    /// Takes where the actor listens.
    started: oneshot::Sender<Result<Listening, RemoteError>>,
    /// Takes what it says of itself. Dropping it ends the parent's call.
    notes: mpsc::Sender<Note>,
}

/// What a parent may call.
#[derive(Clone)]
struct FromParent {
    told: mpsc::Sender<Told>,
    /// There once the actor is up.
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
        if self.told.try_send(Told { spec, started, notes }).is_err() {
            let why = "this actor was told what it is";
            return Err(RemoteError::new(ErrorKind::Invalid, why));
        }
        if let Ok(listening) = is_started.await {
            // It fails when the parent is gone, which is noticed elsewhere.
            drop(call.start(&listening?, 0));
            while let Some(note) = to_say.recv().await {
                drop(call.send(&note).await);
            }
        }
        Ok(encode_body(&()).into())
    }
}

/// Makes an actor of this process, and binds what it is to listen at.
async fn begin(
    spec: &SpawnSpec,
    parent: &portal::Portal,
) -> Result<(Actor, Vec<Listener>), RemoteError> {
    let name = Name::new(spec.path.name()).map_err(|error| {
        RemoteError::new(ErrorKind::Invalid, format!("`{}`: {error}", spec.path))
    })?;
    let listeners = spec.places.listen().await?;
    let instance = InstanceId { name, uuid: spec.uuid };
    let core = Core::new(
        spec.path.clone(),
        instance.clone(),
        spec.kind,
        listeners.iter().map(|it| it.bound().clone()).collect(),
        Cancel::default(),
        CancellationToken::new(),
        Uplink::Parent(parent.clone()),
        Routes::new(Identity::new(instance)),
        Arc::new(ProcessContext::of(spec)),
        &LivenessGuard::new().0,
    );
    Ok((Actor { core: Arc::new(core) }, listeners))
}

/// Tells those above whenever the actor is to be found elsewhere: a socket of it was bound again,
/// or the addresses have changed that its wildcards mean.
fn follow_whereabouts(
    listeners: &[Listener],
    actor: &Actor,
) -> impl Future<Output = ()> + Send + use<> {
    let (uuid, core) = (actor.core.instance.uuid, actor.core.clone());
    let mut endpoints: Vec<_> = listeners.iter().flat_map(Listener::published).collect();
    let mut whereabouts = Whereabouts::of_listeners(listeners);
    let mut changes = whereabouts.changes();
    async move {
        loop {
            if whereabouts.follow(&mut endpoints) {
                let request = RelocateRequest { uuid, endpoints: endpoints.clone() };
                if let Err(error) = core.uplink.relocate(&request).await {
                    tracing::warn!(target: "callsign", actor = %core.path, %error, "not found any more");
                }
            }
            changes.next().await;
        }
    }
}

/// Answers calls until the actor is asked to end, then ends what is left of its work.
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
    acceptors.accompany(follow_whereabouts(&listeners, actor));
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
            // Whoever is between may be stuck, and then this is all that comes.
            () = process::forced_to_end(), if is_process => {
                core.force.cancel();
                let parent = actor.path().parent().unwrap_or_else(|| actor.path().clone());
                core.cancel.ask(CancelReason::new(parent, "its end is forced"));
            }
        }
    };
    // It is told for those who wonder, and nobody waits for it.
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
            // Those below a thread of this process that is stuck are told as well.
            () = core.force.cancelled(), if !are_told => {
                are_told = true;
                process::force_children_to_end();
            }
            _ = signals.next() => core.force.cancel(),
            () = process::forced_to_end(), if !are_told => core.force.cancel(),
        }
    }
    match core.take_left_behind() {
        // What failed before it was cancelled has failed all the same.
        Some(error) => Exit::Failed(CalleeError::failed(&error).at(actor.path())),
        None => Exit::Cancelled { reason, pressure: Pressure::Asked },
    }
}

/// How many notes may wait for the parent: it takes each at once.
const NOTES_MAX: usize = 16;

/// How long a child waits to be told what it is. It is told at once.
const SPEC_WAIT: Duration = Duration::from_secs(10);

/// How long the last words of a child wait to be read. A parent that is there reads them, however
/// little it is let run, and one that is gone closes the channel: this is for one that hangs.
const FAREWELL_WAIT: Duration = Duration::from_secs(30);
