//! Deferred work: too much for one turn, it is done in parts, and others run in between.
//!
//! The end of a session removes all of its entries in one change, and so does a call that removes
//! many instances: from then on no answer contains any of them. Removing them from the indexes and
//! notifying watchers takes its time if they are many. All of it bears the revision of the one
//! change, so that the log is out of order meanwhile: a watcher that returns then starts again.

use std::collections::VecDeque;

use uuid::Uuid;
use wire::{Epoch, RemovalReason, Suspicion};

use super::{
    Account, Entry, Key, Outcome, Registry, SessionId,
    log::{CHANGES_MAX, Removal},
    sessions,
    timeline::Timeline,
};

/// The deferred work, in order.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    ends: VecDeque<End>,
    verdicts: VecDeque<Verdict>,
    dismissals: VecDeque<Dismissal>,
    /// From where on the room of a crowd that has left is yet to be given back.
    shrinking: Option<usize>,
    /// The number of ends that took several parts.
    counted: u64,
}

/// The end of many entries together.
#[derive(Debug)]
struct End {
    /// The session that kept them, if that is why.
    session: Option<SessionId>,
    left: Timeline,
    removal: Removal,
}

/// The end of a session that kept much which stays for a while.
#[derive(Debug)]
struct Dismissal {
    session: SessionId,
    left: Timeline,
    back_by_ms: u64,
}

/// New evidence against a session's entries, from a time on.
#[derive(Debug)]
struct Verdict {
    session: SessionId,
    verdict: (Judge, u64),
    after: Epoch,
}

/// The new evidence against an instance, from the earlier evidence.
pub(super) type Judge = fn(Option<Suspicion>, u64) -> Option<Suspicion>;

impl Deferred {
    pub(super) fn is_clearing(&self) -> bool {
        !self.ends.is_empty()
    }

    pub(super) fn ends(&self) -> u64 {
        self.counted
    }

    pub(super) fn sessions_over(&self) -> usize {
        self.ends.iter().filter(|it| it.session.is_some()).count() + self.dismissals.len()
    }

    pub(super) fn instances_over(&self) -> usize {
        self.ends.iter().map(|it| it.left.len()).sum()
    }

    pub(super) fn begin_to_shrink(&mut self) {
        self.shrinking = Some(0);
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.verdicts.retain(|it| it.session != session);
    }
}

impl Registry {
    /// Tells whether there is something left to be [done](Self::do_deferred).
    pub fn has_deferred(&self) -> bool {
        let Deferred { ends, verdicts, dismissals, shrinking, .. } = &self.deferred;
        let is_done = ends.is_empty() && verdicts.is_empty() && dismissals.is_empty();
        let is_done = is_done && shrinking.is_none() && !self.tokens.review.is_due();
        !is_done || self.lines.are_due() || self.lines.are_untold()
    }

    /// Returns the account of the next part of it, if it is somebody's.
    pub fn deferred_account(&self) -> Option<Account> {
        let Deferred { ends, verdicts, dismissals, .. } = &self.deferred;
        if let Some(Verdict { session, .. }) = verdicts.front() {
            return Some(self.account(*session));
        }
        if let Some(Dismissal { session, .. }) = dismissals.front() {
            return Some(self.account(*session));
        }
        let key = ends.front()?.left.first()?;
        Some(self.entries[key].registrant.owner.account())
    }

    /// Does a part of the deferred work.
    pub fn do_deferred(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(Verdict { session, verdict, after }) = self.deferred.verdicts.pop_front() {
            if let Some(after) = self.suspect_some(session, verdict, after, &mut outcome) {
                self.deferred.verdicts.push_front(Verdict { session, verdict, after });
            }
        } else if let Some(mut dismissal) = self.deferred.dismissals.pop_front() {
            self.dismiss_some(&mut dismissal);
            if dismissal.left.is_empty() {
                drop(self.sessions.remove(dismissal.session));
            } else {
                self.deferred.dismissals.push_front(dismissal)
            }
        } else if let Some(mut end) = self.deferred.ends.pop_front() {
            self.remove_some(&mut end, &mut outcome);
            if !end.left.is_empty() {
                self.deferred.ends.push_front(end);
                return outcome;
            }
            if let Some(session) = end.session {
                self.sessions.remove(session);
            }
            // Its changes are in the log among others, some of which are later.
            self.revision += 1;
            self.log.begin_after(self.revision);
            self.shrink();
        } else if self.tokens.review.is_due() {
            self.review_some(&mut outcome);
        } else if let Some(at) = self.deferred.shrinking {
            self.deferred.shrinking = self.shrink_some(at);
        } else {
            self.tell_a_line(&mut outcome);
        }
        outcome
    }

    /// Removes all entries of a session, in one change. The first part is done immediately, which
    /// is all of it for nearly every session.
    pub(super) fn remove_kept(
        &mut self,
        session: SessionId,
        left: Timeline,
        outcome: &mut Outcome,
    ) {
        self.deferred.forget(session);
        if left.is_empty() {
            self.sessions.remove(session);
            return;
        }
        self.revision += 1;
        let reason = RemovalReason::SessionEnded;
        let is_logged = left.len() <= CHANGES_MAX || self.watchers.len() > 0;
        let removal = Removal { reason, revision: self.revision, end: None, is_logged };
        let mut end = End { session: Some(session), left, removal };
        let steps: usize = end.left.keys().take(FEW).map(|it| self.entries[it].chore_steps()).sum();
        if end.left.len() <= FEW && steps <= DEFERRED_STEPS_MAX {
            self.remove_some(&mut end, outcome);
            self.sessions.remove(session);
            return self.shrink();
        }
        self.deferred.counted += 1;
        end.removal.end = Some(self.deferred.counted);
        self.sessions[session].is_over = true;
        self.deferred.ends.push_back(end);
    }

    /// Removes instances in one change, and in parts where they are many.
    pub(super) fn remove_many(
        &mut self,
        keys: &[Key],
        reason: RemovalReason,
        outcome: &mut Outcome,
    ) {
        let steps: usize = keys.iter().map(|it| self.entries[*it].chore_steps()).sum();
        if steps <= DEFERRED_STEPS_MAX {
            return self.remove_all(keys, reason, outcome);
        }
        self.revision += 1;
        self.deferred.counted += 1;
        let mut left = Vec::with_capacity(keys.len());
        for key in keys {
            // Its owner has room for others immediately.
            self.give_back_entry(*key);
            let entry = &mut self.entries[*key];
            entry.is_gone = true;
            left.push((entry.epoch, *key));
            if let Some(own) = entry.keeper().and_then(|it| self.sessions.get_mut(it)) {
                own.keys.remove(entry.epoch);
            }
        }
        left.sort_unstable();
        let left = left.into_iter().collect();
        let end = Some(self.deferred.counted);
        let removal = Removal { reason, revision: self.revision, end, is_logged: true };
        self.deferred.ends.push_back(End { session: None, left, removal });
    }

    /// Lets all that a session kept stay until its peer should be back.
    pub(super) fn dismiss_kept(&mut self, session: SessionId, left: Timeline, back_by_ms: u64) {
        self.deferred.forget(session);
        let mut dismissal = Dismissal { session, left, back_by_ms };
        self.dismiss_some(&mut dismissal);
        if dismissal.left.is_empty() {
            drop(self.sessions.remove(session));
        } else {
            self.deferred.dismissals.push_back(dismissal)
        }
    }

    /// Judges all entries of a session, the first part immediately.
    pub(super) fn judge_session(
        &mut self,
        session: SessionId,
        verdict: (Judge, u64),
        outcome: &mut Outcome,
    ) {
        let is_next = self.deferred.verdicts.iter().all(|it| it.session != session);
        let after = if is_next { self.suspect_some(session, verdict, 0, outcome) } else { Some(0) };
        if let Some(after) = after {
            self.deferred.verdicts.push_back(Verdict { session, verdict, after });
        }
    }

    /// Tells whether an entry is gone but not yet removed.
    pub(super) fn is_over(&self, entry: &Entry) -> bool {
        self.deferred.is_clearing() && (entry.is_gone || sessions::is_over(&self.sessions, entry))
    }

    /// Returns the entry of an instance that is gone, but not yet removed.
    pub(super) fn gone(&self, uuid: Uuid) -> Option<Key> {
        self.by_uuid.get(uuid, &self.entries).filter(|key| self.is_over(&self.entries[*key]))
    }

    /// Removes an instance that is gone, before it is registered again.
    pub(super) fn make_way(&mut self, uuid: Uuid, outcome: &mut Outcome) {
        if self.deferred.is_clearing()
            && let Some(key) = self.by_uuid.get(uuid, &self.entries)
        {
            let epoch = self.entries[key].epoch;
            let mut ends = self.deferred.ends.iter_mut();
            let end = ends.find_map(|it| it.left.remove(epoch).map(|_| it.removal));
            if let Some(removal) = end {
                self.remove(key, removal, outcome);
            }
        }
    }

    fn dismiss_some(&mut self, dismissal: &mut Dismissal) {
        let Dismissal { session, left, back_by_ms } = dismissal;
        for _ in 0..DEFERRED_STEPS_MAX / DISMISSAL_STEPS {
            let Some((epoch, key)) = left.pop_first() else { return };
            // A client that has already returned has registered it again.
            let entry = self.entries.get_mut(key).filter(|it| it.epoch == epoch);
            if let Some(entry) = entry.filter(|it| it.keeper() == Some(*session)) {
                entry.registrant.session = None;
                entry.lease_until_ms = Some(*back_by_ms);
                self.leases.insert((*back_by_ms, key));
            }
        }
    }

    fn remove_some(&mut self, end: &mut End, outcome: &mut Outcome) {
        let mut steps = 0;
        while steps < DEFERRED_STEPS_MAX
            && let Some((_, key)) = end.left.pop_first()
        {
            steps += self.entries[key].chore_steps();
            self.remove(key, end.removal, outcome);
        }
    }
}

/// The work of one part: two tenths of a millisecond.
pub(super) const DEFERRED_STEPS_MAX: usize = 4 * 1024;

/// The steps of keeping an entry.
const DISMISSAL_STEPS: usize = 16;

/// The number of entries that is small enough to remove in one go.
const FEW: usize = 512;
