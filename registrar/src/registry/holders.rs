//! The rights to a name, for a registration under it.

use endpoints::Name;
use uuid::Uuid;
use wire::{Epoch, Lifetime, NameRight, Whoami};

use super::{
    Caller, Key, Owner, Registry, RegistryError,
    instances::{Instances, Selection},
    names::{Grantee, NameRule, Names, UNNAMED_ROOT},
};

/// The situation in which an exclusive name may be granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// A claimant asks, and those in line go first.
    Asks,
    /// A claimant asks while the former holder may still return, until the given time.
    AsksEarly { left_ms: u64 },
    /// A claimant asks that would rather wait for a returning holder than be taken for one.
    WaitsForOthers,
    /// The claimant had the name before this registrar started.
    ComesBack,
    /// The claimant was the first in line.
    Next,
}

/// An instance that has a name, and its owner.
pub type Holder = (Uuid, Owner);

/// A caller that would register an instance under a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameClaim<'a> {
    pub(super) caller: &'a Caller,
    /// Its entry, if it is there already.
    pub(super) earlier: Option<Key>,
    /// Another owner's entry with the same UUID, which ends by the registration.
    pub(super) yields: Option<Key>,
    pub(super) turn: Turn,
}

impl Registry {
    /// Tells whether a caller may register an instance under a name, and returns whether it is then
    /// the only one.
    pub(super) fn check_name(
        &self,
        name: &Name,
        claim: &NameClaim<'_>,
    ) -> Result<bool, RegistryError> {
        let NameClaim { caller, earlier, yields, .. } = *claim;
        let rule = self.rules.of(name.as_str());
        if !caller.is_trusted {
            self.check_whose(name, caller, (rule, yields))?;
        }
        let Some(rule) = rule.filter(|it| it.exclusive || it.instances_max.is_some()) else {
            return Ok(false);
        };
        if rule.exclusive {
            self.check_turn(name, claim, rule)?;
            return Ok(true);
        }
        let Some(instances) = self.by_name.get(name.as_str(), &self.entries) else {
            return Ok(false);
        };
        let others = self.holders(instances).filter(|it| ![earlier, yields].contains(&Some(*it)));
        let limit = rule.instances_max.unwrap_or(usize::MAX);
        if earlier.is_none() && instances.len() >= limit && others.take(limit).count() >= limit {
            let (name, place) = (name.clone(), self.place_for(caller, rule));
            let limit = rule.instances_max.filter(|_| self.lets_find(caller, rule));
            return Err(RegistryError::TooManyOfName { name, limit, place });
        }
        Ok(false)
    }

    /// Tells whether a claimant may have an exclusive name now.
    fn check_turn(
        &self,
        name: &Name,
        claim: &NameClaim<'_>,
        rule: &NameRule,
    ) -> Result<(), RegistryError> {
        let NameClaim { caller, earlier, yields, turn } = *claim;
        let instances = self.by_name.get(name.as_str(), &self.entries).into_iter();
        let mut holders = instances.flat_map(|it| self.holders(it));
        if let Some(holder) = holders.find(|it| ![earlier, yields].contains(&Some(*it))) {
            let holder = &self.entries[holder];
            let shown = Some(holder).filter(|it| self.shows(caller, it));
            let uuid = shown.map(|it| it.uuid);
            let node = shown.and_then(|it| Some(self.home_of(it)?.name.clone()));
            let holder = shown.map(|it| it.registrant.owner);
            let (name, place) = (name.clone(), self.place_for(caller, rule));
            return Err(RegistryError::Exclusive { name, holder, uuid, node, place });
        }
        if let (Turn::AsksEarly { left_ms }, None) = (turn, earlier) {
            let (name, place) = (name.clone(), self.place_for(caller, rule));
            return Err(RegistryError::Unsettled { name, left_ms, place });
        }
        let waiting = self.lines.awake_of(name);
        let is_out_of_turn = match turn {
            Turn::Next | Turn::ComesBack => false,
            Turn::WaitsForOthers => true,
            Turn::Asks | Turn::AsksEarly { .. } => waiting > 0,
        };
        if is_out_of_turn && earlier.is_none() {
            let may_find = self.rules.may_find(caller, name.as_str());
            let waiting = may_find.then_some(waiting);
            let (name, place) = (name.clone(), self.place_for(caller, rule));
            return Err(RegistryError::OthersWait { name, waiting, place });
        }
        Ok(())
    }

    /// Returns the holder of an exclusive name.
    pub(super) fn holder(&self, name: &Name) -> Option<Key> {
        let instances = self.by_name.get(name.as_str(), &self.entries)?;
        let is_exclusive = self.rules.is_exclusive(name.as_str());
        self.holders(instances).next().filter(|_| is_exclusive)
    }

    /// Looks at some instances after an epoch. Returns the exclusive names that several of them have,
    /// each with the newest holders, and where to look on; `None` at the end.
    pub fn shared_names(&self, after: Epoch) -> (Vec<(Name, Vec<Holder>)>, Option<Epoch>) {
        let (mut shared, mut latest) = (Vec::new(), None);
        if !self.rules.has_exclusive() {
            return (shared, latest);
        }
        for (epoch, key) in self.by_epoch.after(after).take(LOOKED_AT_MAX) {
            latest = Some(epoch);
            let name = &self.entries[key].name;
            let instances = self.by_name.get(name.as_str(), &self.entries);
            let Some(instances) = instances.filter(|it| it.len() > 1) else {
                continue;
            };
            if self.holder(name) != Some(key) {
                continue;
            }
            let holders = self.holders(instances).take(HOLDERS_NAMED).map(|it| &self.entries[it]);
            let holders: Vec<_> = holders.map(|it| (it.uuid, it.registrant.owner)).collect();
            if holders.len() > 1 {
                shared.push((name.clone(), holders));
            }
        }
        (shared, latest)
    }

    /// Returns the holders of a name, newest first: the name is free if they are the registrar
    /// itself, declared, or finished.
    pub(super) fn holders(&self, instances: Instances<'_>) -> impl Iterator<Item = Key> {
        instances.newest_first(Selection::ALL).filter(|key| {
            let entry = &self.entries[*key];
            Some(*key) != self.own && entry.lifetime != Lifetime::Declared && !self.is_over(entry)
        })
    }

    /// Returns a caller's identity and rights, with only those rules that let it find their names,
    /// because it must not learn of the others. The registry does not know its connection or its
    /// use.
    pub fn whoami(&self, caller: &Caller) -> Whoami {
        let may = |grantees: &Vec<Grantee>| {
            caller.is_trusted || grantees.iter().any(|grantee| grantee.is(caller))
        };
        let rules = self.rules.iter().filter(|it| it.find.as_ref().is_none_or(may));
        let right = |rule: &NameRule| NameRight {
            pattern: rule.pattern.to_string(),
            place: rule.place.clone(),
            may_register: rule.register.as_ref().map(may),
            exclusive: rule.exclusive,
            instances_max: rule.instances_max.map(|it| it as u64),
        };
        Whoami {
            owner: caller.owner.into(),
            transport: None,
            locality: None,
            groups: caller.groups.to_vec(),
            is_trusted: caller.is_trusted,
            may_change_all: caller.owner.may_change_all(),
            names: self.rules.otherwise().to_string(),
            names_place: self.rules.otherwise_place().to_owned(),
            rules: rules.map(right).collect(),
            uses: None,
        }
    }

    /// Tells whether a name is open to a caller, by its rule or because nobody else has it: apart
    /// from an entry that yields.
    pub(super) fn check_whose(
        &self,
        name: &Name,
        caller: &Caller,
        (rule, yields): (Option<&NameRule>, Option<Key>),
    ) -> Result<(), RegistryError> {
        let by = caller.owner;
        if let Some((rule, register)) = rule.and_then(|it| Some((it, it.register.as_ref()?))) {
            if register.iter().any(|it| it.is(caller)) {
                return Ok(());
            }
            let pattern = self.lets_find(caller, rule).then(|| rule.pattern.clone());
            let (name, place) = (name.clone(), self.place_for(caller, rule));
            return Err(RegistryError::NameDenied { name, by, pattern, place });
        }
        let is_open = self.rules.otherwise() == Names::Open || name.as_str() == UNNAMED_ROOT;
        let Some(holders) = self.by_name.get(name.as_str(), &self.entries).filter(|_| !is_open)
        else {
            return Ok(());
        };
        let own = wire::Owner::from(by);
        let is_there = |key: Key| {
            Some(&self.entries[key]).filter(|it| Some(key) != yields && !self.is_over(it))
        };
        let of = |meant| holders.newest_first(meant).take(HOLDERS_SEEN).filter_map(is_there);
        let has_one = of(Selection { owner: Some(&own), ..Selection::ALL })
            .any(|it| it.registrant.owner == by);
        match of(Selection::ALL).next().filter(|_| !has_one) {
            Some(holder) => {
                let is_shown = self.shows(caller, holder);
                let holder = is_shown.then_some(holder.registrant.owner);
                let place = self.rules.otherwise_place().to_owned();
                Err(RegistryError::NameHeld { name: name.clone(), holder, by, place })
            }
            None => Ok(()),
        }
    }

    /// Returns the place of a rule, for a caller: one that may not find the names of a rule learns of
    /// the rule no more than that there is one.
    fn place_for(&self, caller: &Caller, rule: &NameRule) -> String {
        if self.lets_find(caller, rule) { rule.place.clone() } else { HIDDEN_RULE.to_owned() }
    }

    fn lets_find(&self, caller: &Caller, rule: &NameRule) -> bool {
        let is_one = |find: &Vec<Grantee>| find.iter().any(|it| it.is(caller));
        caller.is_trusted || rule.find.as_ref().is_none_or(is_one)
    }

    /// Returns the turn of a caller that neither waits nor returns.
    pub(super) fn turn(&self, now_ms: u64) -> Turn {
        match self.settling_ms(now_ms) {
            0 => Turn::Asks,
            left_ms => Turn::AsksEarly { left_ms },
        }
    }

    /// Returns the entry of an instance that a caller may change.
    pub(super) fn owned(&self, uuid: Uuid, by: Owner) -> Result<Key, RegistryError> {
        let key = self.live(uuid).ok_or(RegistryError::NotFound { uuid })?;
        let owner = self.entries[key].registrant.owner;
        if self.own == Some(key) {
            return Err(RegistryError::IsRegistrar);
        }
        if !by.may_change(owner) {
            return Err(RegistryError::NotOwner { owner, by });
        }
        match self.home_of(&self.entries[key]) {
            Some(home) => Err(RegistryError::KeptElsewhere { uuid, node: home.name.clone() }),
            None => Ok(key),
        }
    }

    /// Returns the token of a registration of a name that one has at a time: that by which the
    /// instance has the name already, or which it has `shown` to be its own, or a new one.
    pub(super) fn token(
        &self,
        is_exclusive: bool,
        earlier: Option<Key>,
        shown: Option<u64>,
        epoch: Epoch,
    ) -> Option<u64> {
        let kept = || self.tokens.of(earlier?).or_else(|| self.tokens.review.withdrawn(earlier?));
        is_exclusive.then(|| kept().or(shown).unwrap_or(epoch))
    }
}

/// What stands for a rule whose names a caller may not find.
const HIDDEN_RULE: &str = "a rule of the registrar";

/// The most instances to look at in one turn for exclusive names that several have, and the most
/// holders of one to name.
const LOOKED_AT_MAX: usize = 1024;
const HOLDERS_NAMED: usize = 4;

/// The most holders of a name to check for one that is still there.
const HOLDERS_SEEN: usize = 4096;
