//! How a child becomes ready.

use std::collections::BTreeMap;

use portal::{CallError, Handlers, Options, connect};
use tokio::task::JoinSet;
use transport::Stream;
use wire::State;

use super::{Fall, Keeper, line::Line};
use crate::{
    Portal,
    host::Host,
    phase::Phase,
    spec::{Enrolment, KIND_KEY, Listening, PARENT_KEY, PATH_KEY, PID_KEY, RUN, Spec},
};

impl Keeper {
    /// Tells a child what it is, and has it registered once it listens.
    pub(super) async fn boot(
        &self,
        channel: Stream,
        drivers: &mut JoinSet<()>,
    ) -> Result<(Line, Portal), Fall> {
        let host = Host::new(self.actor.clone(), self.below.clone());
        let answering = host.clone();
        let handlers = Handlers::new(move |call| answering.clone().handle(call));
        let connected = connect(channel, Options::default(), handlers).await.map_err(|error| {
            tracing::debug!(target: "callsign", actor = %self.plan.path, %error, "no handshake");
            Fall::Gone
        })?;
        drivers.spawn(async move {
            connected.driver.await;
        });
        let portal = connected.portal;
        host.open(portal.clone());
        let spec = self.spec();
        let (listening, notes): (Listening, _) = match portal.stream(RUN, &spec, NOTES_WINDOW).await
        {
            Ok(started) => started,
            Err(CallError::Remote(error)) => return Err(Fall::Refused(error)),
            Err(_) => return Err(Fall::Gone),
        };

        self.place.enter(Phase::Registering);
        let enrolment = Enrolment {
            name: self.plan.name.clone(),
            uuid: self.uuid,
            metadata: self.metadata(listening.pid),
            endpoints: listening.endpoints.clone(),
            state: State::Ready,
        };
        host.register(&enrolment).await.map_err(Fall::Refused)?;
        let path = self.plan.path.clone();
        let caller = self.actor.path.clone();
        let handle = Portal::of_child(path, caller, portal.clone(), &listening.endpoints);
        Ok((Line::new(portal, notes), handle))
    }

    /// Returns what is said of the child in the registry beside where it listens.
    fn metadata(&self, pid: u32) -> BTreeMap<String, String> {
        let said = [
            (PATH_KEY, self.plan.path.to_string()),
            (KIND_KEY, self.plan.kind.to_string()),
            (PID_KEY, pid.to_string()),
            (PARENT_KEY, self.actor.instance.uuid.to_string()),
        ];
        said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn spec(&self) -> Spec {
        let home = &self.actor.home;
        Spec {
            path: self.plan.path.clone(),
            uuid: self.uuid,
            kind: self.plan.kind,
            bind: self.bind.clone(),
            expose: self.plan.expose.clone(),
            main: self.plan.main.as_ref().map(|it| it.path.clone()),
            registrars: home.registrars.clone(),
            table: home.table.clone(),
            dumps: home.dumps.clone(),
        }
    }
}

/// How many notes of a child may be on their way: it makes one now and then.
const NOTES_WINDOW: u16 = 16;
