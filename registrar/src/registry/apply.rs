//! Events: what each does to the registry.

use uuid::Uuid;
use wire::{Lifetime, RemovalReason, callbacks::LostCause, registrar::Update};

use super::{
    Caller, Entry, Event, Key, Outcome, Owner, Registry, RegistryError, SessionId,
    deferred::DEFERRED_STEPS_MAX, suspicion,
};

impl Registry {
    /// Applies an event that a session of a caller asks for, as [`apply_for`](Self::apply_for). The
    /// session is not told of what it has lost by its own doing, and may let it come back.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed then.
    pub(crate) fn apply_from(
        &mut self,
        session: SessionId,
        caller: &Caller,
        event: Event,
        now_ms: u64,
    ) -> Result<Outcome, RegistryError> {
        // By far the most frequent case costs no more than the removal.
        if let Event::Unregister { uuid, by } = event
            && self.exists_for(uuid, caller)
            && self.registrant(uuid) == Some(session)
        {
            let (key, mut outcome) = (self.owned(uuid, by)?, Outcome::default());
            self.remove_many(&[key], RemovalReason::Unregistered, &mut outcome);
            return Ok(outcome);
        }
        let mut outcome = self.apply_for(caller, event, now_ms)?;
        for lost in outcome.lost.remove(&session).into_iter().flat_map(|(_, lost)| lost) {
            self.tombstones.remove(lost.uuid);
        }
        Ok(outcome)
    }

    /// Applies an event that a caller asks for: instances that the caller may not find do not exist.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed then.
    pub fn apply_for(
        &mut self,
        caller: &Caller,
        mut event: Event,
        now_ms: u64,
    ) -> Result<Outcome, RegistryError> {
        let exists = |uuid: &Uuid| self.exists_for(*uuid, caller);
        match &mut event {
            Event::UnregisterAll { uuids, .. } => uuids.retain(exists),
            Event::Unregister { uuid, .. }
            | Event::Renew { uuid, .. }
            | Event::Update { update: Update { uuid, .. }, .. }
                if !exists(uuid) =>
            {
                return Err(RegistryError::NotFound { uuid: *uuid });
            }
            _ => {}
        }
        self.apply(event, now_ms)
    }

    /// Applies an event.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed then.
    pub fn apply(&mut self, event: Event, now_ms: u64) -> Result<Outcome, RegistryError> {
        let mut outcome = Outcome::default();
        match event {
            Event::SessionEnded(session) => {
                self.end_session(session, &mut outcome);
            }
            Event::SessionDismissed { session, back_by_ms } => {
                self.dismiss_session(session, back_by_ms);
            }
            Event::Stopping => self.is_stopping = true,
            Event::SessionSilent(session) => {
                self.lines.fell_silent(session);
                self.judge_session(session, (suspicion::silent, now_ms), &mut outcome);
            }
            Event::SessionHeard(session) => {
                self.lines.heard_again(session);
                self.judge_session(session, (suspicion::heard, now_ms), &mut outcome);
            }
            Event::SessionAnswers(session) => self.lines.answered(session),
            Event::Unregister { uuid, by } => {
                let key = self.owned(uuid, by)?;
                self.unregister_all(&[key], by, &mut outcome);
            }
            Event::UnregisterAll { mut uuids, by } => {
                uuids.sort_unstable();
                uuids.dedup();
                let mut keys = Vec::with_capacity(uuids.len());
                for uuid in uuids {
                    match self.owned(uuid, by) {
                        Ok(key) => keys.push(key),
                        Err(RegistryError::NotFound { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                self.unregister_all(&keys, by, &mut outcome);
            }
            Event::Renew { uuid, by } => {
                let key = self.owned(uuid, by)?;
                self.renew(key, now_ms)?;
                outcome.renewed.extend(self.doubted(key).into_iter().map(|it| (it, by)));
            }
            Event::Update { update, by } => {
                let key = self.owned(update.uuid, by)?;
                self.update(key, update, &mut outcome)?;
            }
            Event::FoundDead(claimant) => self.found_dead(&claimant, now_ms, &mut outcome),
            Event::FoundSilent(claimant) => self.found_silent(&claimant, now_ms, &mut outcome),
            Event::Disowned(claimant) => self.disowned(&claimant, now_ms, &mut outcome),
            Event::Suspect(claimant) => self.suspect(&claimant, now_ms, &mut outcome),
            Event::FoundAlive(claimant) => self.found_alive(&claimant, &mut outcome),
            Event::ProcessEnded { uuid, epoch } => {
                if let Some(key) = self.live(uuid).filter(|it| self.entries[*it].epoch == epoch) {
                    self.remove_all(&[key], RemovalReason::ProcessEnded, &mut outcome);
                }
            }
            Event::Paused { for_ms } => self.prolong_all(for_ms),
            Event::Tick => {
                let (mut expired, mut not_back, mut steps) = (Vec::new(), Vec::new(), 0);
                // However many there are: the rest is due soon, after others have run.
                while let Some((deadline_ms, key)) = self.leases.first().copied()
                    && deadline_ms <= now_ms
                    && steps < DEFERRED_STEPS_MAX
                {
                    self.leases.pop_first();
                    let entry = &self.entries[key];
                    steps += entry.chore_steps();
                    if self.is_over(entry) {
                        continue;
                    }
                    match entry.lifetime {
                        Lifetime::Session => not_back.push(key),
                        _ => expired.push(key),
                    }
                }
                self.remove_all(&expired, RemovalReason::LeaseExpired, &mut outcome);
                self.remove_all(&not_back, RemovalReason::SessionEnded, &mut outcome);
                if self.settles_at_ms.take_if(|it| *it <= now_ms).is_some() {
                    self.lines.all_freed();
                    self.tokens.settle();
                }
                self.lines.pass_over_the_mute(now_ms);
            }
        }
        Ok(outcome)
    }

    fn unregister_all(&mut self, keys: &[Key], by: Owner, outcome: &mut Outcome) {
        for key in keys {
            let Entry { uuid, epoch, lifetime, registrant, .. } = self.entries[*key];
            if lifetime != Lifetime::Declared {
                self.tombstones.insert(uuid, epoch, registrant.owner.account(), by);
            }
            self.lose(*key, LostCause::Unregistered, None, Some(by.to_string()), outcome);
        }
        self.remove_many(keys, RemovalReason::Unregistered, outcome);
    }
}
