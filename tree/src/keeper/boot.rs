//! How a child becomes ready.
//!
//! A child within this process, with a registrar that is there too, is ready without a wait: then
//! whoever spawns it has done all of it, and the keeper takes it over.

use std::{io, process};

use endpoints::Stamped;
use portal::{CallError, Greeted, Handlers, NoService, Options, connect};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use transport::Stream;
use wire::{Hello, RemoteError, State};

use super::{
    BOOT_TIMEOUT, Fall, Keeper,
    line::{Line, Notes},
};
use crate::{
    Portal,
    child::{Near, Newborn},
    child_spec::ChildSpec,
    kinds::{self, Channel, Launched, Vessel},
    phase::Phase,
    routes::Way,
    spec::{Enrolment, KIND_KEY, Listening, Note, PARENT_KEY, PATH_KEY, PID_KEY, RUN, SpawnSpec},
    uplink::Parent,
};

/// A child that was launched, and how far it is.
pub(crate) struct Begun {
    pub(super) vessel: Box<dyn Vessel>,
    /// What runs the channel, for as long as the child is kept.
    pub(super) drivers: JoinSet<()>,
    pub(super) stage: Stage,
}

/// How far a child is.
pub(super) enum Stage {
    Launched(Channel),
    /// It is ready, or will never be.
    Booted(Result<Box<Up>, Fall>),
}

/// A child that is ready.
pub(super) struct Up {
    pub(super) line: Line,
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

impl Keeper {
    /// Launches the child, and makes it ready, where neither takes any waiting: else `None`, and
    /// nothing was begun.
    pub(crate) fn begin(&self) -> Option<Begun> {
        if self.spec.kind.is_process() || !self.host.is_near() || !self.places.are_own {
            return None;
        }
        let Launched { vessel, channel } = kinds::launch_within(self.newborn()).ok()?;
        self.place.set_pid(vessel.pid());
        self.place.enter(Phase::Booting);
        let mut drivers = JoinSet::new();
        let stage = match channel {
            Channel::Within(mut near) => match near.listening.try_recv() {
                Ok(listening) => Stage::Booted(self.boot_now(near, listening, &mut drivers)),
                // Something is in the way of a place.
                Err(_) => Stage::Launched(Channel::Within(near)),
            },
            Channel::Apart(_) => Stage::Launched(channel),
        };
        Some(Begun { vessel, drivers, stage })
    }

    /// Has a child within this process registered, that listens already.
    fn boot_now(
        &self,
        near: Near,
        listening: Result<Vec<Stamped>, RemoteError>,
        drivers: &mut JoinSet<()>,
    ) -> Result<Box<Up>, Fall> {
        let endpoints = listening.map_err(Fall::Refused)?;
        self.place.enter(Phase::Registering);
        let enrolment = self.enrolment(Listening { pid: process::id(), endpoints });
        let registered = self.host.register_now(&enrolment).expect("the registrar is near");
        registered.map_err(Fall::Refused)?;
        let (portal, notes) = open(near.channel, near.notes, drivers);
        Ok(self.up(portal, notes, &enrolment))
    }

    /// Launches the child.
    pub(super) async fn launch(&self) -> io::Result<Begun> {
        let ChildSpec { kind, name, grace, .. } = &*self.spec;
        let launched = if kind.is_process() {
            timeout(BOOT_TIMEOUT, kinds::launch(*kind, name.as_str(), *grace)).await??
        } else {
            kinds::launch_within(self.newborn())?
        };
        let Launched { vessel, channel } = launched;
        self.place.set_pid(vessel.pid());
        self.place.enter(Phase::Booting);
        Ok(Begun { vessel, drivers: JoinSet::new(), stage: Stage::Launched(channel) })
    }

    /// Tells a child what it is, unless it knows, and has it registered once it listens.
    pub(super) async fn boot(
        &self,
        channel: Channel,
        drivers: &mut JoinSet<()>,
    ) -> Result<Box<Up>, Fall> {
        let (portal, notes, listening) = match channel {
            Channel::Apart(channel) => self.greet(channel, drivers).await?,
            Channel::Within(near) => {
                let (portal, notes) = open(near.channel, near.notes, drivers);
                // Whoever says nothing is gone.
                let endpoints =
                    near.listening.await.map_err(|_| Fall::Gone)?.map_err(Fall::Refused)?;
                (portal, notes, Listening { pid: process::id(), endpoints })
            }
        };
        self.place.enter(Phase::Registering);
        let enrolment = self.enrolment(listening);
        self.host.register(&enrolment).await.map_err(Fall::Refused)?;
        Ok(self.up(portal, notes, &enrolment))
    }

    /// Greets a child that is a process, and tells it what it is.
    async fn greet(
        &self,
        channel: Stream,
        drivers: &mut JoinSet<()>,
    ) -> Result<(portal::Portal, Notes, Listening), Fall> {
        let answering = self.host.clone();
        let handlers = Handlers::new(move |call| answering.clone().handle(call));
        let connected = connect(channel, Options::default(), handlers).await.map_err(|error| {
            tracing::debug!(target: "callsign", actor = %self.spec.path, %error, "no handshake");
            Fall::Gone
        })?;
        drivers.spawn(async move {
            connected.driver.await;
        });
        let portal = connected.portal;
        self.host.open(Way::Channel(portal.clone()));
        match portal.stream(RUN, &self.spawn_spec(), NOTES_WINDOW).await {
            Ok((listening, notes)) => Ok((portal, Notes::Apart(notes), listening)),
            Err(CallError::Remote(error)) => Err(Fall::Refused(error)),
            Err(_) => Err(Fall::Gone),
        }
    }

    fn up(&self, portal: portal::Portal, notes: Notes, enrolment: &Enrolment) -> Box<Up> {
        self.place.enter(Phase::Running);
        let (path, caller) = (self.spec.path.clone(), self.actor.path.clone());
        let handle = Portal::of_child(path, caller, portal.clone(), &enrolment.endpoints);
        Box::new(Up { line: Line::new(portal, notes), portal: handle })
    }

    /// Returns what is registered of the child.
    fn enrolment(&self, Listening { pid, endpoints }: Listening) -> Enrolment {
        let said = [
            (PATH_KEY, self.spec.path.to_string()),
            (KIND_KEY, self.spec.kind.to_string()),
            (PID_KEY, pid.to_string()),
            (PARENT_KEY, self.actor.instance.uuid.to_string()),
        ];
        Enrolment {
            name: self.spec.name.clone(),
            uuid: self.uuid,
            endpoints,
            metadata: said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            state: State::Ready,
        }
    }

    fn newborn(&self) -> Newborn {
        Newborn {
            spec: self.spec.clone(),
            uuid: self.uuid,
            places: self.places.clone(),
            home: self.actor.home.clone(),
            host: self.host.clone(),
        }
    }

    fn spawn_spec(&self) -> SpawnSpec {
        let home = &self.actor.home;
        SpawnSpec {
            path: self.spec.path.clone(),
            uuid: self.uuid,
            kind: self.spec.kind,
            places: self.places.clone(),
            expose: self.spec.expose.clone(),
            main: self.spec.entry_point.as_ref().map(|it| it.path.clone()),
            registrars: home.registrars.clone(),
            table: home.table.clone(),
            dumps: home.dumps.clone(),
        }
    }
}

/// Opens the channel to a child within this process, which asks nothing over it.
fn open(
    channel: Stream,
    notes: mpsc::Receiver<Note>,
    drivers: &mut JoinSet<()>,
) -> (portal::Portal, Notes) {
    let greeted = Greeted::dialed(channel, Hello::default());
    let connected = greeted.converse(&Options::default(), NoService);
    drivers.spawn(async move {
        connected.driver.await;
    });
    (connected.portal, Notes::Within(notes))
}

/// How many notes of a child may be on their way: it makes one now and then.
const NOTES_WINDOW: u16 = 16;
