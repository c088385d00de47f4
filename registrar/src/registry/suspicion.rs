//! Evidence against an instance: reports, the registrar's own observations, and silence.
//!
//! None of it removes a session's entries: the end of the session does.

use std::mem;

use endpoints::Stamped;
use uuid::Uuid;
use wire::{Lifetime, Record, RemovalReason, Suspicion, callbacks::LostCause};

use super::{
    Claim, Claimant, Entry, Epoch, Key, Outcome, Registry, SessionId, Suspected,
    deferred::{DEFERRED_STEPS_MAX, Judge},
};

impl Registry {
    /// Changes the evidence against a session's entries, in one change: of as many as fit one turn,
    /// after an epoch. Returns the epoch that it has reached, if there are more.
    pub(super) fn suspect_some(
        &mut self,
        session: SessionId,
        (judge, now_ms): (Judge, u64),
        after: Epoch,
        outcome: &mut Outcome,
    ) -> Option<Epoch> {
        let rest = self.sessions[session].keys.after(after);
        let (mut steps, mut keys, mut up_to) = (0, Vec::new(), None);
        for (epoch, key) in rest {
            if steps >= DEFERRED_STEPS_MAX {
                up_to = keys.last().map(|(epoch, _)| *epoch);
                break;
            }
            steps += self.entries[key].chore_steps();
            keys.push((epoch, key));
        }
        let mut has_begun = false;
        for (_, key) in keys {
            let judge = |before| judge(before, now_ms);
            if let Some(suspected) = self.judge(key, judge, &mut has_begun, outcome) {
                self.recharge_entry(key);
                outcome.suspected.push(suspected);
            }
        }
        up_to
    }

    /// Says in one change that this node is cut off from those that keep some instances, since a time;
    /// or, with `None`, that they are heard of again. Those that this node keeps stay as they are.
    pub fn doubt_remote(&mut self, uuids: &[Uuid], since_ms: Option<u64>) -> Outcome {
        let (mut outcome, mut has_begun) = (Outcome::default(), false);
        for key in uuids.iter().filter_map(|it| self.live(*it)).collect::<Vec<_>>() {
            if self.entries[key].is_remote() {
                let judge = |before| cut_off(before, since_ms);
                // It is charged to nobody here, and looked at by its own node.
                self.judge(key, judge, &mut has_begun, &mut outcome);
            }
        }
        outcome
    }

    /// Changes the evidence against an instance, as part of one change that may have begun already.
    /// `None` if it stays as it is.
    fn judge(
        &mut self,
        key: Key,
        judge: impl FnOnce(Option<Suspicion>) -> Option<Suspicion>,
        has_begun: &mut bool,
        outcome: &mut Outcome,
    ) -> Option<Suspected> {
        let mut record = self.entries[key].record();
        let suspicion = judge(record.suspicion);
        if suspicion == record.suspicion {
            return None;
        }
        if !mem::replace(has_begun, true) {
            self.revision += 1;
        }
        record.suspicion = suspicion;
        self.entries[key].store(&record, &mut self.forms);
        self.tell(key, Some(record.epoch), outcome);
        Some(Suspected::of(&record))
    }

    /// Removes a dead endpoint of an instance; an instance without a session goes with its last.
    pub(super) fn found_dead(&mut self, claimant: &Claimant, now_ms: u64, outcome: &mut Outcome) {
        let Some((key, mut record)) = self.claiming(claimant) else { return };
        if record.lifetime == Lifetime::Declared {
            return self.suspect(claimant, now_ms, outcome);
        }
        self.evict(key, claimant, outcome);
        if record.endpoints.len() == 1 && record.lifetime != Lifetime::Session {
            return self.remove_all(&[key], RemovalReason::FoundDead, outcome);
        }
        record.endpoints.retain(|it| *it != claimant.stamped);
        // The earlier evidence is settled.
        record.suspicion = refuted(record.suspicion);
        let hash = self.claims.hash(&claimant.stamped);
        self.claims.remove(hash, (claimant.epoch, key));
        self.store(key, &record, outcome);
    }

    /// Records that an endpoint is removed, and the present holder of the place, if its former one
    /// may find that.
    fn evict(&self, key: Key, claimant: &Claimant, outcome: &mut Outcome) {
        let stamped = &claimant.stamped;
        let mut rivals = self.rivals_of(key, stamped).map(|(it, _)| &self.entries[it]);
        let rival = rivals.find(|rival| self.may_tell(&self.entries[key], rival));
        let by = rival.map(|it| format!("{}, of {}", it.instance(), it.registrant.owner));
        self.lose(key, LostCause::FoundDead, Some(&stamped.endpoint), by, outcome);
        outcome.evicted.push(claimant.clone());
    }

    pub(super) fn suspect(&mut self, claimant: &Claimant, now_ms: u64, outcome: &mut Outcome) {
        let Some((key, mut record)) = self.claiming(claimant) else { return };
        record.suspicion = Some(reported(record.suspicion, now_ms));
        outcome.suspected.push(Suspected::of(&record));
        self.store(key, &record, outcome);
    }

    /// Removes an endpoint that the instance's own registrant disowns. The instance goes with its
    /// last.
    pub(super) fn disowned(&mut self, claimant: &Claimant, now_ms: u64, outcome: &mut Outcome) {
        let Some((key, record)) = self.claiming(claimant) else { return };
        match record.endpoints.len() {
            1 => {
                self.evict(key, claimant, outcome);
                self.remove_all(&[key], RemovalReason::FoundDead, outcome);
            }
            _ => self.found_dead(claimant, now_ms, outcome),
        }
    }

    /// Records that nobody answers at an endpoint: an instance that its session vouches for, or an
    /// unexpired lease, may be about to listen there again. A stamped socket file does not come
    /// back.
    pub(super) fn found_silent(&mut self, claimant: &Claimant, now_ms: u64, outcome: &mut Outcome) {
        if self.may_listen_again(claimant) {
            self.suspect(claimant, now_ms, outcome);
        } else {
            self.found_dead(claimant, now_ms, outcome);
        }
    }

    /// Tells whether an instance may listen again at an endpoint where nobody answers.
    pub(crate) fn may_listen_again(&self, claimant: &Claimant) -> bool {
        match self.record(claimant.uuid).map(|it| it.lifetime) {
            Some(Lifetime::Session) => true,
            Some(Lifetime::Lease { .. }) => claimant.stamped.stamp.socket.is_none(),
            _ => false,
        }
    }

    /// Records that somebody answers at an endpoint, which refutes the reports.
    pub(super) fn found_alive(&mut self, claimant: &Claimant, outcome: &mut Outcome) {
        let Some((key, mut record)) = self.claiming(claimant) else { return };
        let suspicion = refuted(record.suspicion);
        if suspicion != record.suspicion {
            record.suspicion = suspicion;
            outcome.suspected.push(Suspected::of(&record));
            self.store(key, &record, outcome);
        }
    }

    /// Returns the endpoints to check when the owner of a suspect instance renews its lease.
    pub(super) fn doubted(&self, key: Key) -> Vec<Claimant> {
        let record = self.entries[key].record();
        if record.suspicion.is_none_or(|it| it.reports == 0) {
            return Vec::new();
        }
        let Record { uuid, epoch, endpoints, .. } = record;
        endpoints.into_iter().map(|stamped| Claimant { uuid, epoch, stamped }).collect()
    }

    /// Returns the other claims to the place of a claim, newest first.
    pub fn rivals(&self, claimant: &Claimant) -> Vec<Claimant> {
        let Some((key, _)) = self.claiming(claimant) else { return Vec::new() };
        let rivals = self.rivals_of(key, &claimant.stamped);
        rivals
            .map(|(key, stamped)| {
                let Entry { uuid, epoch, .. } = self.entries[key];
                Claimant { uuid, epoch, stamped }
            })
            .collect()
    }

    fn rivals_of(&self, key: Key, stamped: &Stamped) -> impl Iterator<Item = (Key, Stamped)> {
        self.claims.others(stamped, key).filter(|it| !self.is_over(&self.entries[*it])).filter_map(
            |key| {
                let theirs = self.entries[key].record().endpoints.into_iter();
                // Two places may share a hash.
                theirs
                    .into_iter()
                    .find(|it| Claim::of(it) == Claim::of(stamped))
                    .map(|it| (key, it))
            },
        )
    }

    /// Returns the entry of a claim, if that registration still makes it.
    fn claiming(&self, claimant: &Claimant) -> Option<(Key, Record)> {
        let key = self.live(claimant.uuid).filter(|it| self.own != Some(*it))?;
        if self.entries[key].is_remote() {
            // Its own node looks after it.
            return None;
        }
        let record = self.entries[key].record();
        let claims = record.epoch == claimant.epoch && record.endpoints.contains(&claimant.stamped);
        claims.then_some((key, record))
    }
}

impl Suspected {
    fn of(record: &Record) -> Self {
        let Record { uuid, epoch, suspicion, .. } = *record;
        Self { uuid, epoch, suspicion }
    }
}

/// One more report.
fn reported(before: Option<Suspicion>, now_ms: u64) -> Suspicion {
    let before = before.unwrap_or(fresh(now_ms));
    Suspicion { reports: before.reports.saturating_add(1), ..before }
}

/// The reports are wrong.
fn refuted(before: Option<Suspicion>) -> Option<Suspicion> {
    before.filter(|it| it.silent || it.cut_off).map(|it| Suspicion { reports: 0, ..it })
}

/// The session gives no sign of life.
pub(super) fn silent(before: Option<Suspicion>, now_ms: u64) -> Option<Suspicion> {
    Some(Suspicion { silent: true, ..before.unwrap_or(fresh(now_ms)) })
}

/// The session is heard again.
pub(super) fn heard(before: Option<Suspicion>, _now_ms: u64) -> Option<Suspicion> {
    before.filter(|it| it.reports > 0 || it.cut_off).map(|it| Suspicion { silent: false, ..it })
}

/// Its node is not heard of: this one is cut off from the cluster since a time, or no longer.
fn cut_off(before: Option<Suspicion>, since_ms: Option<u64>) -> Option<Suspicion> {
    match since_ms {
        Some(since_ms) => Some(Suspicion { cut_off: true, ..before.unwrap_or(fresh(since_ms)) }),
        None => before
            .filter(|it| it.reports > 0 || it.silent)
            .map(|it| Suspicion { cut_off: false, ..it }),
    }
}

fn fresh(now_ms: u64) -> Suspicion {
    Suspicion { since_ms: now_ms, ..Suspicion::default() }
}
