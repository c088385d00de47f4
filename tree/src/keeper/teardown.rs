//! How a child is ended, with growing pressure, and what is done about what it leaves behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use endpoints::Stamped;
use process::HURRY;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Fall, Keeper, line::Line};
use crate::{
    CancelReason, Pressure,
    kinds::{Remains, Vessel},
    phase::Phase,
    sockets,
    spec::{CANCEL, CancelAsked},
    sweep,
};

impl Keeper {
    /// Ends the child, unless it is gone already: asks it, then sends SIGTERM, then SIGKILL, each
    /// after a bounded wait. Returns what is left of it, unless it could not be ended, and what it
    /// took.
    pub(super) async fn end(
        &self,
        vessel: &mut dyn Vessel,
        mut line: Option<&mut Line>,
        fall: &Fall,
    ) -> (Option<Remains>, Pressure) {
        let (reason, patience) = self.reason(fall);
        let hurry = &self.actor.hurry;
        let mut pressure = Pressure::Asked;
        loop {
            let is_hurried = hurry.is_cancelled();
            if is_hurried && pressure == Pressure::Terminated {
                vessel.hurry();
                // A process is waited for only if it has others to end.
                if self.spec.kind.is_process() && !self.below.is_family() {
                    pressure = Pressure::Killed;
                }
            }
            let limit = match pressure {
                Pressure::Asked => {
                    self.ask(line.as_deref(), &reason, false);
                    patience
                }
                Pressure::Terminated if is_hurried => {
                    self.ask(line.as_deref(), &reason, true);
                    HURRY
                }
                Pressure::Terminated => {
                    // A signal could come before the first request, and take its place.
                    if !vessel.terminate() {
                        self.ask(line.as_deref(), &reason, true);
                    }
                    patience
                }
                Pressure::Killed => {
                    vessel.kill();
                    KILL_WAIT
                }
            };
            self.place.enter(Phase::Ending(pressure));
            let follow = async {
                match &mut line {
                    Some(line) => line.follow(&self.place).await,
                    None => std::future::pending::<()>().await,
                }
            };
            tokio::select! {
                biased;
                remains = vessel.gone() => {
                    self.place.enter(Phase::Reaping);
                    return (Some(remains), pressure);
                }
                () = follow => {}
                // From then on it is pressed anew.
                () = hurry.cancelled(), if pressure == Pressure::Asked || !is_hurried => {
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
        self.place.enter(Phase::Stuck);
        tracing::error!(
            target: "callsign", actor = %self.spec.path, kind = %self.spec.kind,
            "an actor did not end, cannot be stopped by force, and is given up"
        );
        (None, Pressure::Killed)
    }

    /// Returns what the child is told, and how long it has at each step.
    fn reason(&self, fall: &Fall) -> (CancelReason, Duration) {
        let own = |why: &str| CancelReason::new(self.actor.path.clone(), why);
        let grace = self.spec.grace;
        match fall {
            Fall::Cancelled(reason) => (reason.clone(), grace),
            Fall::Over => (own("its function has ended"), grace),
            Fall::Gone => (own("its channel was closed"), grace.min(GONE_WAIT)),
            Fall::TimedOut => (own("it was not ready in time"), Duration::ZERO),
            Fall::Refused(_) => (own("it could not be registered"), grace),
        }
    }

    fn ask(&self, line: Option<&Line>, reason: &CancelReason, hurry: bool) {
        if let Some(line) = line {
            let asked = CancelAsked { reason: reason.clone(), hurry };
            // A channel that is closed has told the child as much.
            drop(line.portal.send(CANCEL, &asked));
        }
    }

    /// Clears away what the child has left behind: its entries of the registry, with those of all
    /// that was below it, and the socket files of those that were killed or given up. One that has
    /// parted has said its last word, and ended all that was below it before.
    pub(super) async fn leave(&self, is_gone: bool, has_parted: bool) {
        let left = self.below.take();
        if self.spec.kind.is_process() {
            self.sweep(&left, has_parted).await;
        } else if !is_gone {
            self.place.enter(Phase::Stuck);
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
                target: "callsign", actor = %self.spec.path,
                "no registrar has taken note of the end of an actor within {REGISTRY_WAIT:?}"
            ),
        }
    }

    /// Removes the socket files of a process that is gone, and of all that was below it.
    async fn sweep(&self, left: &BTreeMap<Uuid, Vec<Stamped>>, has_parted: bool) {
        let own = self.places.endpoints.iter().filter_map(sweep::file).cloned();
        // It does not listen any more: if somebody does, the place is another's.
        sweep::remove_dead(own.collect()).await;
        let others = left.iter().filter(|(uuid, _)| **uuid != self.uuid);
        let told = others.flat_map(|(_, endpoints)| endpoints).map(|it| &it.endpoint);
        let mut below: BTreeSet<_> = told.clone().filter_map(sweep::file).cloned().collect();
        if !has_parted {
            // It may have been about to tell of one.
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

impl Remains {
    /// Tells whether this is what pressure brings about, rather than the child itself.
    pub(super) fn is_by(&self, pressure: Pressure) -> bool {
        match self {
            // A process that exits well when it is asked to has done so, though its word is lost.
            Self::Nothing | Self::Code(0) => true,
            Self::Signal(libc::SIGKILL) => pressure == Pressure::Killed,
            Self::Signal(libc::SIGTERM) => pressure != Pressure::Asked,
            _ => false,
        }
    }
}

/// How long a child may be there after its channel was closed: the kernel closes the channel of a
/// process some milliseconds before the process is gone.
const GONE_WAIT: Duration = Duration::from_secs(1);

/// How long a child may be there after it was killed. A process that is in the midst of a system
/// call that cannot be interrupted stays, and is given up.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// How long registrars may take to take note of an end. They take note at once, or are away.
const REGISTRY_WAIT: Duration = Duration::from_secs(2);
