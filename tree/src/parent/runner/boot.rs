//! The boot of a child, until it is ready.
//!
//! A child within this process, with a registrar that is there too, is ready without a wait: then
//! the future that spawns it does all of it, and the runner takes it over.

use std::{
    io,
    pin::pin,
    task::{Context, Poll, Waker},
};

use tokio::time::timeout;
use transport::TlsFiles;
use wire::{
    State,
    supervised::{KIND_KEY, PARENT_KEY, PATH_KEY, PID_KEY},
};

use super::{BOOT_TIMEOUT, ChildRunner};
use crate::{
    Portal,
    child::LocalChild,
    messages::{Listening, RegisterRequest, SpawnSpec, TlsPaths},
    parent::{
        backend::{self, Launched, RunningChild},
        link::{ChildLink, StopCause},
    },
    registration::uplink::Parent as _,
    status::Phase,
};

/// A child that was launched, and its progress.
pub(crate) struct StartedRun {
    pub(super) running: Box<dyn RunningChild>,
    pub(super) link: Box<dyn ChildLink>,
    /// Set once it is ready, or will never be.
    pub(super) booted: Option<Result<Portal, StopCause>>,
}

impl StartedRun {
    /// Returns the handle of the child, if it is ready.
    pub(crate) fn portal(&self) -> Option<&Portal> {
        self.booted.as_ref()?.as_ref().ok()
    }
}

impl ChildRunner {
    /// Launches the child, and boots it, if neither has to wait: else `None`, and nothing was
    /// begun.
    pub(crate) fn begin(&self) -> Option<StartedRun> {
        if self.spec.kind.is_process() || !self.service.is_near() || !self.places.are_own {
            return None;
        }
        let _entered = self.span.enter();
        let mut begun = self.begun(backend::launch_local(self.local_child()).ok()?);
        begun.booted = {
            let boot = pin!(self.boot(&mut *begun.link));
            match boot.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(booted) => Some(booted),
                // A place is occupied: the runner waits for it.
                Poll::Pending => None,
            }
        };
        Some(begun)
    }

    /// Launches the child.
    pub(super) async fn launch(&self) -> io::Result<StartedRun> {
        let launched = if self.spec.kind.is_process() {
            let (spec, service) = (self.spawn_spec(), self.service.clone());
            let launch = backend::launch_process(spec, service, self.spec.grace);
            timeout(BOOT_TIMEOUT, launch).await??
        } else {
            backend::launch_local(self.local_child())?
        };
        Ok(self.begun(launched))
    }

    fn begun(&self, Launched { running, link }: Launched) -> StartedRun {
        self.status.set_pid(running.pid());
        self.status.enter(Phase::Booting);
        StartedRun { running, link, booted: None }
    }

    /// Waits until the child listens, and registers it.
    pub(super) async fn boot(&self, link: &mut dyn ChildLink) -> Result<Portal, StopCause> {
        let (portal, listening) = link.open().await?;
        self.status.enter(Phase::Registering);
        let request = self.request(listening);
        self.service.register(&request).await.map_err(StopCause::Refused)?;
        self.status.enter(Phase::Running);
        let (path, caller) = (self.spec.path.clone(), self.actor.path.clone());
        Ok(Portal::of_child(path, caller, portal, &request.endpoints))
    }

    /// Returns the child's registration.
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
            secret: Some(self.secret),
        }
    }

    fn local_child(&self) -> LocalChild {
        LocalChild {
            spec: self.spec.clone(),
            uuid: self.uuid,
            places: self.places.clone(),
            context: self.actor.context.clone(),
            service: self.service.clone(),
            span: self.span.clone(),
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
            entry_point: self.spec.entry_point.as_ref().map(|it| it.path.clone()),
            registrars: context.registrars.clone(),
            insecure: context.insecure,
            tls: transport::tls_files().map(|TlsFiles { ca, certificate, key }| TlsPaths {
                ca,
                certificate,
                key,
            }),
            table: context.table.clone(),
            dumps: context.dumps.clone(),
        }
    }
}
