//! The schedule of looks at instances, and the conclusions from them.

use std::{mem, time::Duration};

use endpoints::Stamped;
use registrar::registry::{Claimant, Event};
use tokio::time::{Instant, timeout};
use tracing::info;
use transport::here_for;
use uuid::Uuid;
use wire::Epoch;

use super::{Inquiry, LivenessMonitor, unlist};
use crate::tractor::{
    Uid,
    look::{ProbeResult, look_at},
};

/// The result of a look at an instance.
#[derive(Debug)]
pub(super) struct LookResult {
    uuid: Uuid,
    epoch: Epoch,
    uid: Uid,
    results: Vec<(Stamped, ProbeResult)>,
    was_doubted: bool,
    asked: Vec<Inquiry>,
}

impl LivenessMonitor {
    /// Requests a look at an instance, now or after the present one.
    pub(super) fn doubt(&mut self, uuid: Uuid) {
        let Some(watched) = self.watched.get_mut(&uuid) else { return };
        watched.is_doubted = true;
        if watched.due.is_some() {
            self.schedule(uuid, Instant::now());
        }
    }

    /// Sets when an instance is looked at next.
    pub(super) fn schedule(&mut self, uuid: Uuid, at: Instant) {
        let Some(watched) = self.watched.get_mut(&uuid) else { return };
        if let Some(due) = watched.due.replace(at) {
            self.due.remove(&(due, uuid));
        }
        self.due.insert((at, uuid));
    }

    /// Looks at the instance that is due next.
    pub(super) fn look(&mut self) {
        let Some((_, uuid)) = self.due.pop_first() else { return };
        let watched = self.watched.get_mut(&uuid).expect("what is due is watched");
        watched.due = None;
        let Some(record) = self.registry.record(uuid).filter(|it| watched.is_about(it)) else {
            return self.forget(uuid);
        };
        // Endpoints may have been removed meanwhile, here or elsewhere.
        let by_endpoint = &mut self.by_endpoint;
        watched.endpoints.retain(|endpoint| {
            let is_there = record.endpoints.iter().any(|it| it.endpoint == *endpoint);
            if !is_there {
                unlist(by_endpoint, endpoint, uuid);
            }
            is_there
        });
        // The kernel reports the end of its process; a look shows whether the process answers.
        let was_doubted = mem::take(&mut watched.is_doubted);
        let asked = mem::take(&mut watched.asked);
        let (uid, own, epoch) = (Uid::from(&record), self.own.clone(), watched.epoch);
        let registry = self.registry.clone();
        self.looks.spawn(async move {
            let mut results = Vec::with_capacity(record.endpoints.len());
            let looking = async {
                for stamped in record.endpoints {
                    let sight = look_at(&registry, (uuid, &uid), &stamped, &own).await;
                    results.push((stamped, sight));
                }
            };
            // The rest is seen next time.
            drop(timeout(LOOK_TIMEOUT, looking).await);
            LookResult { uuid, epoch, uid, results, was_doubted, asked }
        });
    }

    /// Records the result of a look.
    pub(super) fn note(&mut self, looked: LookResult) {
        let LookResult { uuid, epoch, uid, results, was_doubted, asked } = looked;
        let Some(watched) = self.watched.get_mut(&uuid).filter(|it| it.epoch == epoch) else {
            return;
        };
        let is_seen = |sight| results.iter().any(|(_, it)| *it == sight);
        let is_alive = is_seen(ProbeResult::Alive);
        let silent_since = if is_alive || is_seen(ProbeResult::Mute) {
            None
        } else {
            Some(*watched.silent_since.get_or_insert_with(Instant::now))
        };
        watched.silent_since = silent_since;
        // If the kernel reports its end, no look is needed.
        let is_given_up =
            watched.process.is_none() && silent_since.is_some_and(|it| it.elapsed() >= SILENCE_MAX);
        let kernel = here_for([]).kernel;
        let is_local = |it: &Stamped| it.stamp.kernel.is_some() && it.stamp.kernel == kernel;
        if !is_alive && is_seen(ProbeResult::Mute) {
            self.mute.insert(uuid)
        } else {
            self.mute.remove(&uuid)
        };
        let is_prompt = is_alive || self.mute.len() <= MUTE_PROMPT_MAX;
        let is_near = is_prompt && results.iter().any(|(stamped, _)| is_local(stamped));
        let interval_max = if is_near { INTERVAL_MAX_LOCAL } else { INTERVAL_MAX_BEYOND };
        let is_suspect = self.registry.record(uuid).is_some_and(|it| it.suspicion.is_some());

        let is_vouched_for = watched.process.is_some() && !was_doubted;

        let mut dead = Vec::new();
        for (stamped, sight) in results {
            let endpoint = stamped.endpoint.clone();
            let claimant = Claimant { uuid, epoch, stamped };
            let event = match sight {
                // The kernel reports that it lives, and nobody else reports that it does not
                // answer.
                ProbeResult::Dead if is_vouched_for && is_suspect => continue,
                ProbeResult::Dead if is_vouched_for => Event::Suspect(claimant),
                ProbeResult::Dead => Event::FoundDead(claimant),
                ProbeResult::Unclear if is_given_up => Event::FoundDead(claimant),
                ProbeResult::Alive if is_suspect => Event::FoundAlive(claimant),
                // An instance seen alive at one endpoint need not be seen at all.
                ProbeResult::Mute | ProbeResult::Unclear if !is_alive && !is_suspect => {
                    Event::Suspect(claimant)
                }
                ProbeResult::Alive | ProbeResult::Mute | ProbeResult::Unclear => continue,
            };
            if matches!(event, Event::FoundDead(_)) {
                info!(actor = %uid, %endpoint, "found dead");
                dead.push(endpoint);
            }
            self.registry.note(event);
        }

        if !dead.is_empty() {
            self.is_to_write();
        }
        for (endpoint, answer) in asked {
            let found = dead.contains(&endpoint).then(|| uid.clone());
            // The caller may have gone.
            answer.send(found).ok();
        }
        let Some(watched) = self.watched.get_mut(&uuid) else { return };
        if !self.registry.record(uuid).is_some_and(|it| watched.is_about(&it)) {
            return self.forget(uuid);
        }
        watched.interval = (watched.interval * 2).min(interval_max);
        let wait = if watched.is_doubted { Duration::ZERO } else { watched.interval };
        self.schedule(uuid, Instant::now() + wait);
    }
}

/// The time until the first look at an instance. It doubles with every look.
pub(super) const INTERVAL_FIRST: Duration = Duration::from_secs(1);

/// The longest time between two looks within this host, where a look costs some 0.2 ms: an actor
/// that is killed is gone within that and the time of a look.
const INTERVAL_MAX_LOCAL: Duration = Duration::from_secs(3);

/// The longest time between two looks beyond this host, or at a silent instance: such a look takes
/// seconds, and silent instances must not delay looks at others.
const INTERVAL_MAX_BEYOND: Duration = Duration::from_secs(30);

/// The most mute instances of this host that are looked at as often as others, so that one released
/// by a debugger is soon cleared. With more, each waits as long as one beyond.
const MUTE_PROMPT_MAX: usize = 16;

/// The time without a sign of life after which an instance is given up: longer than a switch or a
/// host takes to restart, and nobody else vouches for it.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The time limit for a look at all endpoints of an instance. One that does not answer takes up to
/// two seconds, and two are usual.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// The most concurrent looks, each at the cost of a connection.
pub(super) const LOOKS_MAX: usize = 64;
