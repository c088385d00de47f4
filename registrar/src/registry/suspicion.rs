//! What speaks against an instance: reports, what the registrar saw itself, and silence.
//!
//! Nothing of it removes what a session keeps: the end of the session does.

use wire::{Gone, Kept, Record, Suspicion};

use super::{Claimant, Key, Outcome, Registry, SessionId, Suspected};

impl Registry {
    /// Changes what speaks against all that a session keeps, in one change.
    pub(super) fn suspect_session(
        &mut self,
        session: SessionId,
        judge: fn(Option<Suspicion>, u64) -> Option<Suspicion>,
        now_ms: u64,
        outcome: &mut Outcome,
    ) {
        let mut keys: Vec<_> = self.sessions[session].keys.iter().copied().collect();
        keys.sort_by_key(|key| self.entries[*key].epoch);
        let mut has_begun = false;
        for key in keys {
            let mut record = self.entries[key].record();
            let suspicion = judge(record.suspicion, now_ms);
            if suspicion == record.suspicion {
                continue;
            }
            if !has_begun {
                self.revision += 1;
                has_begun = true;
            }
            record.suspicion = suspicion;
            self.entries[key].store(&record);
            self.tell(key, Some(record.epoch), outcome);
            outcome.suspected.push(Suspected::of(&record));
        }
    }

    /// Takes a dead endpoint from an instance; one that no session keeps goes with its last.
    pub(super) fn found_dead(&mut self, claimant: &Claimant, now_ms: u64, outcome: &mut Outcome) {
        let Some((key, mut record)) = self.claiming(claimant) else { return };
        if record.kept == Kept::Declared {
            return self.suspect(claimant, now_ms, outcome);
        }
        outcome.evicted.push(claimant.clone());
        if record.endpoints.len() == 1 && record.kept != Kept::Session {
            return self.remove_all(&[key], Gone::FoundDead, outcome);
        }
        record.endpoints.retain(|it| *it != claimant.stamped);
        // What was said of it is settled.
        record.suspicion = refuted(record.suspicion);
        self.claims.remove(&claimant.stamped, claimant.epoch);
        self.store(key, &record, outcome);
    }

    pub(super) fn suspect(&mut self, claimant: &Claimant, now_ms: u64, outcome: &mut Outcome) {
        let Some((key, mut record)) = self.claiming(claimant) else { return };
        record.suspicion = Some(reported(record.suspicion, now_ms));
        outcome.suspected.push(Suspected::of(&record));
        self.store(key, &record, outcome);
    }

    /// Takes from an instance an endpoint that its own registrant says it does not have. It goes with
    /// its last.
    pub(super) fn disowned(&mut self, claimant: &Claimant, now_ms: u64, outcome: &mut Outcome) {
        let Some((key, record)) = self.claiming(claimant) else { return };
        match record.endpoints.len() {
            1 => {
                outcome.evicted.push(claimant.clone());
                self.remove_all(&[key], Gone::FoundDead, outcome);
            }
            _ => self.found_dead(claimant, now_ms, outcome),
        }
    }

    /// Takes note that nobody answers at an endpoint: an instance that its session vouches for may
    /// be about to listen there again.
    pub(super) fn found_silent(&mut self, claimant: &Claimant, now_ms: u64, outcome: &mut Outcome) {
        let kept = self.record(claimant.uuid).map(|it| it.kept);
        match kept {
            Some(Kept::Session) => self.suspect(claimant, now_ms, outcome),
            _ => self.found_dead(claimant, now_ms, outcome),
        }
    }

    /// Takes note that somebody answers at an endpoint, which refutes the reports.
    pub(super) fn found_alive(&mut self, claimant: &Claimant, outcome: &mut Outcome) {
        let Some((key, mut record)) = self.claiming(claimant) else { return };
        let suspicion = refuted(record.suspicion);
        if suspicion != record.suspicion {
            record.suspicion = suspicion;
            outcome.suspected.push(Suspected::of(&record));
            self.store(key, &record, outcome);
        }
    }

    /// Returns the entry of a claim, if that registration still makes it.
    fn claiming(&self, claimant: &Claimant) -> Option<(Key, Record)> {
        let key = *self.by_uuid.get(&claimant.uuid).filter(|it| self.own != Some(**it))?;
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
    before.filter(|it| it.silent).map(|it| Suspicion { reports: 0, ..it })
}

/// The session gives no sign of life.
pub(super) fn silent(before: Option<Suspicion>, now_ms: u64) -> Option<Suspicion> {
    Some(Suspicion { silent: true, ..before.unwrap_or(fresh(now_ms)) })
}

/// The session is heard again.
pub(super) fn heard(before: Option<Suspicion>, _now_ms: u64) -> Option<Suspicion> {
    before.filter(|it| it.reports > 0).map(|it| Suspicion { silent: false, ..it })
}

fn fresh(now_ms: u64) -> Suspicion {
    Suspicion { reports: 0, since_ms: now_ms, silent: false }
}
