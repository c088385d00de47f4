//! The end of a child, with growing pressure, and the removal of what it leaves behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use endpoints::Stamped;
use portal::Request;
use process::FORCED_END_LIMIT;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{ChildRunner, child_channel::ChildChannel};
use crate::{
    CancelReason, Pressure,
    messages::{CANCEL, CancelRequest},
    parent::{
        backend::{RawExit, RunningChild},
        link::StopCause,
    },
    sockets,
    sockets::sweep,
    status::Phase,
};

impl ChildRunner {
    /// Ends the child, unless it is gone already: asks it, then sends SIGTERM, then SIGKILL, each
    /// after a bounded wait. Returns its exit, unless it could not be ended, and the pressure that
    /// was needed.
    pub(super) async fn end(
        &self,
        running: &mut dyn RunningChild,
        mut channel: Option<&mut ChildChannel>,
        cause: &StopCause,
    ) -> (Option<RawExit>, Pressure) {
        let (reason, patience) = self.reason(cause);
        let force = &self.actor.force;
        let mut pressure = Pressure::Asked;
        loop {
            let is_forced = force.is_cancelled();
            if is_forced && pressure == Pressure::Terminated {
                running.force_end();
                // A process is waited for only if it has others to end.
                if self.spec.kind.is_process() && !self.below.is_family() {
                    pressure = Pressure::Killed;
                }
            }
            let limit = match pressure {
                Pressure::Asked => {
                    self.ask(channel.as_deref(), &reason, false);
                    patience
                }
                Pressure::Terminated if is_forced => {
                    self.ask(channel.as_deref(), &reason, true);
                    FORCED_END_LIMIT
                }
                Pressure::Terminated => {
                    // A signal could come before the first request, and replace it.
                    if !running.terminate() {
                        self.ask(channel.as_deref(), &reason, true);
                    }
                    patience
                }
                Pressure::Killed => {
                    running.kill();
                    KILL_WAIT
                }
            };
            self.status.enter(Phase::Ending(pressure));
            let follow = async {
                match &mut channel {
                    Some(channel) => channel.follow(&self.status).await,
                    None => std::future::pending::<()>().await,
                }
            };
            tokio::select! {
                biased;
                raw_exit = running.gone() => {
                    self.status.enter(Phase::Reaping);
                    return (Some(raw_exit), pressure);
                }
                () = follow => {}
                // From then on the pressure grows again.
                () = force.cancelled(), if pressure == Pressure::Asked || !is_forced => {
                    if pressure == Pressure::Asked {
                        pressure = Pressure::Terminated;
                    }
                    continue;
                }
                () = sleep(limit) => self.actor.dump(&self.spec.path, pressure),
            }
            pressure = match pressure {
                Pressure::Asked => Pressure::Terminated,
                Pressure::Terminated => Pressure::Killed,
                Pressure::Killed => break,
            };
        }
        self.status.enter(Phase::Stuck);
        tracing::error!(
            target: "callsign", kind = %self.spec.kind,
            "an actor did not end, cannot be stopped by force, and is given up"
        );
        (None, Pressure::Killed)
    }

    /// Returns the request to the child, and its time for each step.
    fn reason(&self, cause: &StopCause) -> (CancelReason, Duration) {
        let own = |why: &str| CancelReason::new(self.actor.path.clone(), why);
        let grace = self.spec.grace;
        match cause {
            StopCause::Cancelled(reason) => (reason.clone(), grace),
            StopCause::Over => (own("its function has ended"), grace),
            StopCause::Gone => (own("its channel was closed"), grace.min(GONE_WAIT)),
            StopCause::TimedOut => (own("it was not ready in time"), Duration::ZERO),
            StopCause::Refused(_) => (own("it could not be registered"), grace),
        }
    }

    fn ask(&self, channel: Option<&ChildChannel>, reason: &CancelReason, force: bool) {
        if let Some(channel) = channel {
            let asked = CancelRequest { reason: reason.clone(), force };
            // A closed channel means the same to the child.
            channel.portal.send(Request::new(CANCEL, &asked)).ok();
        }
    }

    /// Removes the remains of the child: its entries in the registry, with those of all actors
    /// below it, and the socket files of killed and abandoned ones. A child that has parted has
    /// sent its last message, and ended everything below it before.
    pub(super) async fn leave(&self, is_gone: bool, has_parted: bool) {
        let left = self.below.take();
        if self.spec.kind.is_process() {
            self.sweep(&left, has_parted).await;
        } else if !is_gone {
            self.status.enter(Phase::Stuck);
            left.values().for_each(|it| sockets::remove(it));
        }
        if left.is_empty() {
            return;
        }
        left.keys().for_each(|uuid| self.actor.routes.remove(*uuid));
        let unregistering = self.actor.uplink.unregister(left.into_keys().collect());
        match timeout(REGISTRY_WAIT, unregistering).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(target: "callsign", %error, "not unregistered"),
            Err(_) => tracing::warn!(
                target: "callsign",
                "no registrar confirmed the end of an actor within {REGISTRY_WAIT:?}"
            ),
        }
    }

    /// Removes the socket files of a process that is gone, and of all actors below it.
    async fn sweep(&self, left: &BTreeMap<Uuid, Vec<Stamped>>, has_parted: bool) {
        let own = self.places.endpoints.iter().filter_map(sweep::file).cloned();
        // It no longer listens: if somebody does, the place is another's.
        sweep::remove_dead(own.collect()).await;
        let others = left.iter().filter(|(uuid, _)| **uuid != self.uuid);
        let told = others.flat_map(|(_, endpoints)| endpoints).map(|it| &it.endpoint);
        let mut below: BTreeSet<_> = told.clone().filter_map(sweep::file).cloned().collect();
        if !has_parted {
            // It may have been about to report one.
            let parents = left.keys().copied().chain([self.uuid]);
            below
                .append(&mut sweep::drawn_below(parents, self.places.endpoints.iter().chain(told)));
        }
        let alive = sweep::remove_dead(below).await;
        if !alive.is_empty() {
            // They have lost their parent, and are about to end.
            self.actor.adopt(sweep::remove_when_dead(alive));
        }
    }
}

impl RawExit {
    /// Tells whether this is the effect of pressure, rather than of the child itself.
    pub(super) fn is_by(&self, pressure: Pressure) -> bool {
        match self {
            // A process that exits with success after the request has complied, though its message
            // is lost.
            Self::Nothing | Self::Code(0) => true,
            Self::Signal(libc::SIGKILL) => pressure == Pressure::Killed,
            Self::Signal(libc::SIGTERM) => pressure != Pressure::Asked,
            _ => false,
        }
    }
}

/// The time for which a child may exist after its channel was closed: the kernel closes the channel
/// of a process some milliseconds before the process is gone.
const GONE_WAIT: Duration = Duration::from_secs(1);

/// The time for which a child may exist after it was killed. A process in an uninterruptible system
/// call stays, and is abandoned.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// The time for registrars to acknowledge an end. They do so immediately, or are away.
const REGISTRY_WAIT: Duration = Duration::from_secs(2);
