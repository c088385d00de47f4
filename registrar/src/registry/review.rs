//! The tokens of instances whose names become exclusive, or no longer are, while they have them.
//!
//! When the rules change, all instances are reviewed, in turns: the one instance of an exclusive name
//! gets a token, as if it had just registered. Where several have the name, none gets one until the
//! others have ended. An instance whose name is exclusive no more has no token, but gets the same one
//! again if the name becomes exclusive again.

use std::collections::{BTreeMap, BTreeSet};

use endpoints::Name;
use wire::{Epoch, Lifetime, Proof};

use super::{
    Entry, Key, Outcome, Registry, Uuid, deferred::DEFERRED_STEPS_MAX, instances::Selection,
};

/// The review under way.
#[derive(Debug, Default)]
pub(super) struct Review {
    /// After which registration to look on.
    after: Option<Epoch>,
    /// Exclusive names that an instance has left to others.
    left: BTreeSet<Name>,
    /// The tokens of instances whose names are exclusive no more.
    withdrawn: BTreeMap<Key, u64>,
}

impl Review {
    pub(super) fn begin(&mut self) {
        self.after = Some(0);
    }

    pub(super) fn is_due(&self) -> bool {
        self.after.is_some() || !self.left.is_empty()
    }

    pub(super) fn forget(&mut self, key: Key) {
        self.withdrawn.remove(&key);
    }

    pub(super) fn withdrawn(&self, key: Key) -> Option<u64> {
        self.withdrawn.get(&key).copied()
    }
}

impl Registry {
    /// Records that an instance has left its name, if others may have it that are without a token.
    pub(super) fn left_name(&mut self, name: &Name) {
        if self.rules.has_exclusive()
            && self.by_name.get(name.as_str(), &self.entries).is_some()
            && self.rules.is_exclusive(name.as_str())
        {
            self.tokens.review.left.insert(name.clone());
        }
    }

    /// Reviews some instances.
    pub(super) fn review_some(&mut self, outcome: &mut Outcome) {
        let mut steps = 0;
        while steps < DEFERRED_STEPS_MAX {
            if let Some(name) = self.tokens.review.left.pop_first() {
                steps += 1;
                let holder = self.holder(&name);
                steps += holder.map_or(0, |it| self.review(it, outcome));
                continue;
            }
            let Some(after) = self.tokens.review.after else { return };
            let next = self.by_epoch.after(after).next();
            self.tokens.review.after = next.map(|(epoch, _)| epoch);
            steps += next.map_or(0, |(_, key)| self.review(key, outcome));
        }
    }

    /// Gives an instance a token, or takes it away, as the rules have it. Returns the steps.
    fn review(&mut self, key: Key, outcome: &mut Outcome) -> usize {
        let entry = &self.entries[key];
        let steps = 1 + self.rules.steps(entry.name.as_str());
        let is_its_own = entry.lifetime != Lifetime::Declared && !entry.is_remote();
        if self.is_over(entry) || !is_its_own {
            return steps;
        }
        // In a cluster, who has it keeps it, and no token was given for it.
        if self.decisions.are_made_elsewhere() && self.tokens.of(key).is_none() {
            return steps;
        }
        let has_name = self.rules.is_exclusive(entry.name.as_str()) && self.is_sole(entry);
        if has_name == self.tokens.of(key).is_some() {
            return steps;
        }
        let steps = steps + entry.chore_steps();
        let (name, owner) = (entry.name.clone(), entry.registrant.owner);
        let mut record = entry.record();
        record.token = if has_name {
            let kept = self.tokens.review.withdrawn.remove(&key);
            self.tokens.taken(&name);
            Some(kept.unwrap_or_else(|| self.take_epoch()))
        } else {
            self.tokens.review.withdrawn.extend(record.token.map(|it| (key, it)));
            None
        };
        record.waiting = if has_name { self.waiting_told(&name, record.uuid, owner) } else { 0 };
        self.tokens.note(key, record.token.map(|it| (it, owner.account())));
        self.store(key, &record, outcome);
        outcome.tokens.push((record.uuid, owner));
        steps
    }

    /// Tells whether nobody else has the name of an entry.
    fn is_sole(&self, entry: &Entry) -> bool {
        let instances = self.by_name.get(entry.name.as_str(), &self.entries);
        let mut holders = instances.into_iter().flat_map(|it| self.holders(it));
        holders.all(|it| self.entries[it].uuid == entry.uuid)
    }

    /// Returns the registration of an instance, and by what it has its name.
    pub fn token_of(&self, uuid: Uuid) -> Option<(Epoch, Option<u64>, Option<Proof>)> {
        let key = self.live(uuid)?;
        let (entry, token) = (&self.entries[key], self.tokens.of(key));
        let owner = entry.registrant.owner;
        Some((entry.epoch, token, self.tokens.shown((&entry.name, uuid), owner, token)))
    }

    /// Updates the number of waiters in the record of the newest holder, for one name whose line has
    /// changed: once for all changes in the meantime, because a record may be long.
    pub(super) fn tell_a_line(&mut self, outcome: &mut Outcome) {
        let Some(name) = self.lines.take_untold() else { return };
        let Some(instances) = self.by_name.get(name.as_str(), &self.entries) else { return };
        let holder = self.holder(&name);
        let looked_at = instances.newest_first(Selection::ALL).take(HOLDERS_LOOKED_AT);
        let others = looked_at.filter(|it| Some(*it) != holder);
        let told: Vec<_> = holder.into_iter().chain(others).collect();
        for key in told {
            let entry = &self.entries[key];
            if self.is_over(entry) || entry.is_remote() {
                continue;
            }
            let is_told = Some(key) == holder;
            let waiting = || self.waiting_told(&name, entry.uuid, entry.registrant.owner);
            let waiting = if is_told { waiting() } else { 0 };
            let mut record = entry.record();
            if record.waiting != waiting {
                record.waiting = waiting;
                self.store(key, &record, outcome);
            }
        }
    }
}

/// The most holders of a name to look at for an outdated number of waiters.
const HOLDERS_LOOKED_AT: usize = 64;
