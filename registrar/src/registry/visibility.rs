//! The visibility of entries: to those that the rule of its name lets find it, and to its
//! registrant.
//!
//! A name is matched against the rules once, and an entry remembers the result: so a look-up costs
//! no more with many rules.

use uuid::Uuid;

use super::{
    Caller, Entry, Key, Outcome, Owner, Registry,
    names::{NO_RULE, NameRules, RuleNumber, Ruled},
};

/// The part of a name that a caller may see.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sees {
    All,
    /// Its own registrations.
    Own(Owner),
}

/// The facts that decide who may see an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visibility {
    rule: RuleNumber,
    owner: Owner,
}

impl Registry {
    /// Replaces the rules of names. Registered instances stay.
    pub fn set_rules(&mut self, rules: NameRules) -> Outcome {
        let mut outcome = Outcome::default();
        if rules.says_as(&self.rules) {
            return outcome;
        }
        let hidden = self.rules.hides() || rules.hides();
        if self.rules.has_exclusive() || rules.has_exclusive() {
            self.tokens.review.begin();
        }
        self.rules = rules;
        self.rules_set = self.rules_set.wrapping_add(1).max(1);
        self.lines.ruled_anew();
        self.tokens.ruled_anew();
        if hidden {
            // Earlier answers may differ from the caller's present view.
            self.log.begin_after(self.revision);
            self.watchers.begin_anew(&mut outcome.notified);
            for name in self.waiters.names() {
                if self.by_name.get(name.as_str(), &self.entries).is_some() {
                    self.wake(name, &mut outcome);
                }
            }
        }
        outcome
    }

    /// Returns the rules of names.
    pub fn rules(&self) -> &NameRules {
        &self.rules
    }

    /// Returns the part of an entry's name that a caller may see.
    pub(super) fn sees(&self, caller: &Caller, entry: &Entry) -> Sees {
        let hides = self.rules.hides_from(caller);
        if hides && !self.rules.lets_find(caller, self.rule_of(entry)) {
            Sees::Own(caller.owner)
        } else {
            Sees::All
        }
    }

    /// Tells whether a caller may see an entry.
    pub(super) fn shows(&self, caller: &Caller, entry: &Entry) -> bool {
        self.sees(caller, entry).shows(entry)
    }

    /// Tells whether an instance exists, as far as a caller may see.
    pub fn exists_for(&self, uuid: Uuid, caller: &Caller) -> bool {
        self.live(uuid).is_some_and(|key| self.shows(caller, &self.entries[key]))
    }

    /// Returns the facts that decide who may see an entry; `None` if everybody may.
    pub(super) fn logged_visibility(&self, key: Key) -> Option<Visibility> {
        let entry = &self.entries[key];
        let visibility = || Visibility { rule: self.rule_of(entry), owner: entry.registrant.owner };
        self.rules.hides().then(visibility)
    }

    /// Returns the number of the rule that decides who may find an entry. The registrar's own name
    /// is hidden from nobody.
    fn rule_of(&self, entry: &Entry) -> RuleNumber {
        let known = entry.ruled.get();
        if known.times_set == self.rules_set {
            return known.rule;
        }
        let is_own = self.own.is_some_and(|it| self.entries[it].name == entry.name);
        let rule = if is_own { NO_RULE } else { self.rules.number_of(entry.name.as_str()) };
        entry.ruled.set(Ruled { times_set: self.rules_set, rule });
        rule
    }
}

impl Sees {
    /// Tells whether it includes an entry of the name: whatever the rules, every caller sees its
    /// own.
    pub(super) fn shows(self, entry: &Entry) -> bool {
        match self {
            Self::All => true,
            Self::Own(owner) => entry.registrant.owner == owner,
        }
    }
}

impl Visibility {
    /// Tells whether a caller may see the entry.
    pub(super) fn is_of(self, caller: &Caller, rules: &NameRules) -> bool {
        self.owner == caller.owner
            || !rules.hides_from(caller)
            || rules.lets_find(caller, self.rule)
    }
}
