//! How a child becomes ready.
//!
//! A child within this process, with a registrar that is there too, is ready without a wait: then
//! the future that spawns it does all of it, and the runner takes it over.

use std::{io, process};

use endpoints::Stamped;
use portal::{CallError, Established, Handlers, NoService, Options, Request, connect};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use transport::Stream;
use wire::{Hello, RemoteError, State};

use super::{
    BOOT_TIMEOUT, ChildRunner, StopCause,
    child_channel::{ChildChannel, Notes},
};
use crate::{
    Portal,
    child::{LocalChild, Near},
    messages::{
        KIND_KEY, Listening, Note, PARENT_KEY, PATH_KEY, PID_KEY, RUN, RegisterRequest, SpawnSpec,
    },
    parent::backend::{self, Channel, Launched, RunningChild},
    registration::{routes::Way, uplink::Parent},
    scope::child_spec::ChildSpec,
    status::Phase,
};

/// A child that was launched, and how far it is.
pub(crate) struct Begun {
    pub(super) running: Box<dyn RunningChild>,
    /// What runs the channel, for as long as the child is kept.
    pub(super) drivers: JoinSet<()>,
    pub(super) stage: Stage,
}

/// How far a child is.
pub(super) enum Stage {
    Launched(Channel),
    /// It is ready, or will never be.
    Booted(Result<Box<Up>, StopCause>),
}

/// A child that is ready.
pub(super) struct Up {
    pub(super) channel: ChildChannel,
    pub(super) portal: Portal,
}

impl Begun {
    /// Returns the handle of the child, if it is ready.
    pub(crate) fn portal(&self) -> Option<&Portal> {
        match &self.stage {
            Stage::Booted(Ok(up)) => Some(&up.portal),
            _ => None,
        }
    }
}

impl ChildRunner {
    /// Launches the child, and makes it ready, where neither takes any waiting: else `None`, and
    /// nothing was begun.
    pub(crate) fn begin(&self) -> Option<Begun> {
        if self.spec.kind.is_process() || !self.service.is_near() || !self.places.are_own {
            return None;
        }
        let Launched { running, channel } = backend::launch_within(self.local_child()).ok()?;
        self.status.set_pid(running.pid());
        self.status.enter(Phase::Booting);
        let mut drivers = JoinSet::new();
        let stage = match channel {
            Channel::Within(mut near) => match near.listening.try_recv() {
                Ok(listening) => Stage::Booted(self.boot_now(near, listening, &mut drivers)),
                // Something is in the way of a place.
                Err(_) => Stage::Launched(Channel::Within(near)),
            },
            Channel::Apart(_) => Stage::Launched(channel),
        };
        Some(Begun { running, drivers, stage })
    }

    /// Has a child within this process registered, that listens already.
    fn boot_now(
        &self,
        near: Near,
        listening: Result<Vec<Stamped>, RemoteError>,
        drivers: &mut JoinSet<()>,
    ) -> Result<Box<Up>, StopCause> {
        let endpoints = listening.map_err(StopCause::Refused)?;
        self.status.enter(Phase::Registering);
        let request = self.request(Listening { pid: process::id(), endpoints });
        let registered = self.service.register_now(&request).expect("the registrar is near");
        registered.map_err(StopCause::Refused)?;
        let (portal, notes) = open(near.channel, near.notes, drivers);
        Ok(self.up(portal, notes, &request))
    }

    /// Launches the child.
    pub(super) async fn launch(&self) -> io::Result<Begun> {
        let ChildSpec { kind, name, grace, .. } = &*self.spec;
        let launched = if kind.is_process() {
            timeout(BOOT_TIMEOUT, backend::launch(*kind, name.as_str(), *grace)).await??
        } else {
            backend::launch_within(self.local_child())?
        };
        let Launched { running, channel } = launched;
        self.status.set_pid(running.pid());
        self.status.enter(Phase::Booting);
        Ok(Begun { running, drivers: JoinSet::new(), stage: Stage::Launched(channel) })
    }

    /// Tells a child what it is, unless it knows, and has it registered once it listens.
    pub(super) async fn boot(
        &self,
        channel: Channel,
        drivers: &mut JoinSet<()>,
    ) -> Result<Box<Up>, StopCause> {
        let (portal, notes, listening) = match channel {
            Channel::Apart(channel) => self.introduce(channel, drivers).await?,
            Channel::Within(near) => {
                let (portal, notes) = open(near.channel, near.notes, drivers);
                // Whoever says nothing is gone.
                let endpoints = near
                    .listening
                    .await
                    .map_err(|_| StopCause::Gone)?
                    .map_err(StopCause::Refused)?;
                (portal, notes, Listening { pid: process::id(), endpoints })
            }
        };
        self.status.enter(Phase::Registering);
        let request = self.request(listening);
        self.service.register(&request).await.map_err(StopCause::Refused)?;
        Ok(self.up(portal, notes, &request))
    }

    /// Does the handshake with a child that is a process, and tells it what it is.
    async fn introduce(
        &self,
        channel: Stream,
        drivers: &mut JoinSet<()>,
    ) -> Result<(portal::Portal, Notes, Listening), StopCause> {
        let answering = self.service.clone();
        let handlers = Handlers::new(move |call| answering.clone().handle(call));
        let connected = connect(channel, Options::default(), handlers).await.map_err(|error| {
            tracing::debug!(target: "callsign", actor = %self.spec.path, %error, "no handshake");
            StopCause::Gone
        })?;
        drivers.spawn(async move {
            connected.driver.await;
        });
        let portal = connected.portal;
        self.service.open(Way::Channel(portal.clone()));
        match portal.stream(Request::new(RUN, &self.spawn_spec()), NOTES_WINDOW).await {
            Ok((listening, notes)) => Ok((portal, Notes::Apart(notes), listening)),
            Err(CallError::Remote(error)) => Err(StopCause::Refused(error)),
            Err(_) => Err(StopCause::Gone),
        }
    }

    fn up(&self, portal: portal::Portal, notes: Notes, request: &RegisterRequest) -> Box<Up> {
        self.status.enter(Phase::Running);
        let (path, caller) = (self.spec.path.clone(), self.actor.path.clone());
        let handle = Portal::of_child(path, caller, portal.clone(), &request.endpoints);
        Box::new(Up { channel: ChildChannel::new(portal, notes), portal: handle })
    }

    /// Returns what is registered of the child.
    fn request(&self, Listening { pid, endpoints }: Listening) -> RegisterRequest {
        let said = [
            (PATH_KEY, self.spec.path.to_string()),
            (KIND_KEY, self.spec.kind.to_string()),
            (PID_KEY, pid.to_string()),
            (PARENT_KEY, self.actor.instance.uuid.to_string()),
        ];
        RegisterRequest {
            name: self.spec.name.clone(),
            uuid: self.uuid,
            endpoints,
            metadata: said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            state: State::Ready,
        }
    }

    fn local_child(&self) -> LocalChild {
        LocalChild {
            spec: self.spec.clone(),
            uuid: self.uuid,
            places: self.places.clone(),
            context: self.actor.context.clone(),
            service: self.service.clone(),
        }
    }

    fn spawn_spec(&self) -> SpawnSpec {
        let context = &self.actor.context;
        SpawnSpec {
            path: self.spec.path.clone(),
            uuid: self.uuid,
            kind: self.spec.kind,
            places: self.places.clone(),
            expose: self.spec.expose.clone(),
            main: self.spec.entry_point.as_ref().map(|it| it.path.clone()),
            registrars: context.registrars.clone(),
            table: context.table.clone(),
            dumps: context.dumps.clone(),
        }
    }
}

/// Opens the channel to a child within this process, which asks nothing over it.
fn open(
    channel: Stream,
    notes: mpsc::Receiver<Note>,
    drivers: &mut JoinSet<()>,
) -> (portal::Portal, Notes) {
    let established = Established::dialed(channel, Hello::default());
    let connected = established.converse(&Options::default(), NoService);
    drivers.spawn(async move {
        connected.driver.await;
    });
    (connected.portal, Notes::Within(notes))
}

/// How many notes of a child may be on their way: it makes one now and then.
const NOTES_WINDOW: u16 = 16;
