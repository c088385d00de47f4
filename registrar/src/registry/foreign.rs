//! Instances of programs that speak another protocol, registered through an adapter.

use std::collections::{BTreeMap, HashMap, hash_map};

use endpoints::{Name, Stamped};
use uuid::Uuid;
use wire::{Epoch, Lifetime, Record, State, registrar::Update};

use super::{
    Account, Caller, Entry, Key, NameClaim, Outcome, Registrant, Registry, RegistryError, Turn,
    check_endpoints, check_metadata,
};

/// An instance that is registered through an adapter, with one endpoint or none.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// # use uuid::Uuid;
/// use callsign::registrar::Foreign;
///
/// let chat = Foreign {
///     name: "chat".parse()?,
///     uuid: Uuid::new_v4(),
///     endpoint: None,
///     metadata: [("protocol".to_owned(), "tractor".to_owned())].into(),
/// };
/// assert_eq!(chat.metadata["protocol"], "tractor");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Foreign {
    /// The actor's name.
    pub name: Name,
    /// The identity of this run.
    pub uuid: Uuid,
    /// Its endpoint, stamped by the registrar; `None` if it has none.
    pub endpoint: Option<Stamped>,
    /// The adapter's own data about it.
    pub metadata: BTreeMap<String, String>,
}

impl Registry {
    /// Registers an endpoint of a foreign instance, and returns the epoch of the registration. The
    /// first endpoint makes the instance, which is starting until an update says otherwise; others
    /// are added. A repeated endpoint changes nothing, whoever repeats it: `None`.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing has changed then.
    pub fn register_foreign(
        &mut self,
        foreign: Foreign,
        caller: impl Into<Caller>,
        now_ms: u64,
    ) -> Result<(Option<Epoch>, Outcome), RegistryError> {
        let turn = self.turn(now_ms);
        self.enter_foreign(foreign, caller.into(), turn, now_ms)
    }

    /// Registers an endpoint of a foreign instance as [`register_foreign`](Self::register_foreign)
    /// does, of one that was there already when another registrar stood in the place of this one.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed then.
    pub fn remember_foreign(
        &mut self,
        foreign: Foreign,
        caller: impl Into<Caller>,
        now_ms: u64,
    ) -> Result<(Option<Epoch>, Outcome), RegistryError> {
        self.enter_foreign(foreign, caller.into(), Turn::ComesBack, now_ms)
    }

    /// Says since when a foreign instance is there, which an earlier run of the registrar has registered.
    pub fn is_there_since(&mut self, uuid: Uuid, epoch: Epoch, since_ms: u64) {
        let Some(key) = self.live(uuid) else { return };
        let mut record = self.entries[key].record();
        let is_it = record.epoch == epoch && record.lifetime == Lifetime::Foreign;
        if is_it && since_ms < record.since_ms {
            record.since_ms = since_ms;
            self.entries[key].store(&record, &mut self.forms);
        }
    }

    pub(super) fn enter_foreign(
        &mut self,
        foreign: Foreign,
        caller: Caller,
        turn: Turn,
        now_ms: u64,
    ) -> Result<(Option<Epoch>, Outcome), RegistryError> {
        let owner = caller.owner;
        let Foreign { name, uuid, endpoint, metadata } = foreign;
        check_endpoints(endpoint.as_slice())?;
        check_metadata(&metadata)?;
        let mut outcome = Outcome::default();
        let Some(key) = self.live(uuid) else {
            let gone = self.gone(uuid);
            self.check_room_for_foreign(&caller, gone)?;
            let claim = NameClaim { caller: &caller, earlier: None, yields: None, turn };
            let is_exclusive = self.check_name(&name, &claim)?;
            let decided = self.decided(is_exclusive, (&name, uuid), None)?;
            let epoch = self.next_epoch();
            let record = Record {
                name,
                uuid,
                epoch,
                endpoints: endpoint.into_iter().collect(),
                metadata,
                state: State::Starting,
                lifetime: Lifetime::Foreign,
                since_ms: now_ms,
                suspicion: None,
                proves: false,
                owner: Some(owner.into()),
                token: decided.or_else(|| self.token(is_exclusive, None, None, epoch)),
                waiting: 0,
                node: None,
            };
            let registrant = Registrant { owner, session: None };
            let entry = Entry::new(&record, registrant, now_ms, &mut self.forms);
            self.check_quotas(&entry, record.endpoints.len(), gone)?;
            self.next_epoch = epoch;
            self.make_way(uuid, &mut outcome);
            self.decisions.taken(&record.name);
            self.put(None, (entry, record.token), &record.endpoints, &mut outcome);
            return Ok((Some(record.epoch), outcome));
        };

        let earlier = &self.entries[key];
        let epoch = earlier.epoch;
        if !self.shows(&caller, earlier) {
            return Err(RegistryError::UuidTaken { uuid });
        }
        if earlier.name != name {
            return Err(RegistryError::OtherName { uuid });
        }
        if earlier.lifetime != Lifetime::Foreign {
            return Err(RegistryError::NotForeign { uuid });
        }
        let mut endpoints = earlier.record().endpoints;
        let Some(endpoint) = endpoint.filter(|it| !endpoints.contains(it)) else {
            return Ok((None, Outcome::default()));
        };
        let key = self.owned(uuid, owner)?;
        // The same place with another stamp: the socket there was bound again.
        endpoints.retain(|it| it.endpoint != endpoint.endpoint);
        endpoints.push(endpoint);
        let update = Update { uuid, endpoints: Some(endpoints), metadata: None, state: None };
        self.update(key, update, &mut outcome)?;
        Ok((Some(epoch), outcome))
    }

    fn check_room_for_foreign(
        &self,
        caller: &Caller,
        gone: Option<Key>,
    ) -> Result<(), RegistryError> {
        let gone = gone.map(|it| &self.entries[it]);
        let goes = usize::from(gone.is_some());
        let gone = gone.filter(|it| it.lifetime == Lifetime::Foreign);
        let foreign_goes = usize::from(gone.is_some());
        let foreign_max = self.limits.foreign_instances_max;
        let room = [
            ("instances", self.by_epoch.len() - goes, self.limits.instances_max),
            ("foreign instances", self.foreign.all - foreign_goes, foreign_max),
        ];
        if let Some((what, _, limit)) = room.into_iter().find(|(_, count, limit)| count >= limit) {
            return Err(RegistryError::TooMany { what, limit });
        }
        let account = caller.owner.account();
        let own_goes = gone.filter(|it| it.registrant.owner.account() == account);
        let count = self.foreign.of(account) - usize::from(own_goes.is_some());
        let limit = foreign_max.div_ceil(2);
        // The records of an earlier run had room there.
        let is_bound = !caller.is_trusted && !self.accounts.is_trusted(account);
        if is_bound && count >= limit {
            Err(RegistryError::TooManyForeign { account, count, limit })
        } else {
            Ok(())
        }
    }
}

/// The number of foreign instances.
#[derive(Debug, Default)]
pub(super) struct ForeignCounts {
    all: usize,
    by_account: HashMap<Account, usize>,
}

impl ForeignCounts {
    pub(super) fn add(&mut self, account: Account) {
        self.all += 1;
        *self.by_account.entry(account).or_default() += 1;
    }

    pub(super) fn take_out(&mut self, account: Account) {
        self.all -= 1;
        if let hash_map::Entry::Occupied(mut count) = self.by_account.entry(account) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn of(&self, account: Account) -> usize {
        self.by_account.get(&account).copied().unwrap_or_default()
    }
}
