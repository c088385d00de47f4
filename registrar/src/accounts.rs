//! Accounts: each owner's use of the node, and its quotas. Plain bookkeeping, with no socket and no
//! clock. A charge is credited when its object goes.

mod exceeded;
mod held;
mod holding;

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use wire::{
    OwnerUse, Quota, Use,
    registrar::{OWNERS_MAX, Owners},
};

use self::held::Held;
pub use self::{exceeded::Exceeded, holding::Holding};
use crate::{
    meter::{Meter, Reading},
    quotas::{QuotaRules, Quotas},
    registry::Account,
};

/// The use of the node by each account. Clones are handles of the same.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// # use wire::Quota;
/// use callsign::registrar::{Accounts, QuotaRules, Account};
///
/// let accounts = Accounts::new(QuotaRules::default(), 4096, 0);
/// let user = Account::User(1000);
/// let room = accounts.room(user, Quota::Instances);
/// accounts.charge(user, &[(Quota::Instances, 1)])?;
/// assert_eq!(accounts.room(user, Quota::Instances), room - 1);
/// # Ok::<(), callsign::registrar::Exceeded>(())
/// ```
#[derive(Clone, Debug)]
pub struct Accounts(Arc<Mutex<Ledger>>);

#[derive(Debug)]
pub(crate) struct Ledger {
    rules: QuotaRules,
    /// The most connections of the node.
    pub(crate) sessions_max: usize,
    /// As whom the node runs.
    user: u32,
    /// Looked up by each registration, some times.
    used: foldhash::HashMap<Account, Used>,
    /// The running time of each.
    ran: HashMap<Account, Reading>,
    /// The bytes of all of them.
    held: Held,
}

fn bytes_of(what: &[(Quota, usize)]) -> usize {
    what.iter().filter(|(quota, _)| *quota == Quota::Bytes).map(|(_, count)| count).sum()
}

/// The room in the buffers of an account's connections, whatever else it uses: the answers to
/// several callers that request full ones.
const BUFFERS_RESERVED: usize = 2 * 1024 * 1024;

/// The use of one account.
#[derive(Debug, Default, Eq, PartialEq)]
struct Used {
    by_quota: [usize; Quota::ALL.len()],
    /// The part of the bytes that is in buffers of connections.
    in_buffers: usize,
}

impl Accounts {
    /// Makes accounts that nothing is charged to, of a node that runs as a user.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::Quota;
    /// use callsign::registrar::{Account, Accounts, QuotaRules};
    ///
    /// // Of a node that runs as user 1000, who may have whatever it has.
    /// let accounts = Accounts::new(QuotaRules::default(), 4096, 1000);
    /// let room = |user| accounts.room(Account::User(user), Quota::Instances);
    /// assert!(room(1000) > room(1001));
    /// ```
    pub fn new(rules: QuotaRules, sessions_max: usize, user: u32) -> Self {
        let ledger = Ledger {
            rules,
            sessions_max,
            user,
            used: foldhash::HashMap::default(),
            ran: HashMap::new(),
            held: Held::default(),
        };
        Self(Arc::new(Mutex::new(ledger)))
    }

    /// Makes accounts that may be charged whatever it is.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::Quota;
    /// use callsign::registrar::{Account, Accounts};
    ///
    /// let accounts = Accounts::unlimited();
    /// assert_eq!(accounts.room(Account::User(1000), Quota::Watches), usize::MAX);
    /// ```
    pub fn unlimited() -> Self {
        let (trusted, others) = (Quotas::UNLIMITED, Quotas::UNLIMITED);
        Self::new(QuotaRules { trusted, others, named: HashMap::new() }, usize::MAX, 0)
    }

    /// Returns the bytes that are charged to all accounts together.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::Quota;
    /// use callsign::registrar::{Account, Accounts};
    ///
    /// let accounts = Accounts::unlimited();
    /// accounts.charge(Account::User(1000), &[(Quota::Bytes, 70)])?;
    /// accounts.charge(Account::User(1001), &[(Quota::Bytes, 30)])?;
    /// assert_eq!(accounts.bytes(), 100);
    /// # Ok::<(), callsign::registrar::Exceeded>(())
    /// ```
    pub fn bytes(&self) -> usize {
        self.ledger().held.bytes()
    }

    /// Applies other quotas. An account that exceeds them keeps what it has, and gets no more.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::Quota;
    /// use callsign::registrar::{Account, Accounts, QuotaRules, Quotas};
    ///
    /// let accounts = Accounts::unlimited();
    /// let others = Quotas { watches: 10, ..Quotas::default() };
    /// accounts.set(QuotaRules { others, ..QuotaRules::default() }, 4096);
    /// assert_eq!(accounts.room(Account::User(1000), Quota::Watches), 10);
    /// ```
    pub fn set(&self, rules: QuotaRules, sessions_max: usize) {
        let mut ledger = self.ledger();
        ledger.rules = rules;
        ledger.sessions_max = sessions_max;
    }

    /// Charges all of it to an account, or nothing.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::Quota;
    /// use callsign::registrar::{Account, Accounts, QuotaRules};
    ///
    /// let accounts = Accounts::new(QuotaRules::default(), 4096, 0);
    /// let user = Account::User(1000);
    /// let too_much = [(Quota::Instances, 1), (Quota::Watches, 1_000_000)];
    /// assert!(accounts.charge(user, &too_much).is_err());
    /// assert!(accounts.uses().is_empty(), "the instance is not charged either");
    /// ```
    ///
    /// # Errors
    ///
    /// [`Exceeded`] names the first quota that has no room.
    pub fn charge(&self, account: Account, what: &[(Quota, usize)]) -> Result<(), Exceeded> {
        let mut ledger = self.ledger();
        for (quota, asked) in what {
            ledger.check(account, *quota, *asked)?;
        }
        ledger.add(account, what);
        Ok(())
    }

    /// Charges to an account what nobody has asked for.
    pub(crate) fn charge_anyway(&self, account: Account, what: &[(Quota, usize)]) {
        self.ledger().add(account, what);
    }

    /// Charges the buffered bytes of a connection to an account, instead of the earlier number.
    /// Some of them are never refused, so that an owner that has used up its memory still gets
    /// answers, and can free some.
    ///
    /// # Errors
    ///
    /// [`Exceeded`]; the earlier bytes stay charged.
    pub(crate) fn charge_buffers(
        &self,
        account: Account,
        before: usize,
        now: usize,
    ) -> Result<(), Exceeded> {
        let mut ledger = self.ledger();
        if let Some(more) = now.checked_sub(before) {
            let in_buffers = ledger.used.get(&account).map_or(0, |it| it.in_buffers);
            if in_buffers + more > BUFFERS_RESERVED {
                ledger.check(account, Quota::Bytes, more)?;
            }
            ledger.add(account, &[(Quota::Bytes, more)]);
            if let Some(used) = ledger.used.get_mut(&account) {
                used.in_buffers += more;
            }
        } else {
            let less = before - now;
            if let Some(used) = ledger.used.get_mut(&account) {
                used.in_buffers = used.in_buffers.saturating_sub(less);
            }
            ledger.give_back(account, &[(Quota::Bytes, less)]);
        }
        Ok(())
    }

    /// Credits an earlier charge to an account.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::Quota;
    /// use callsign::registrar::{Account, Accounts};
    ///
    /// let accounts = Accounts::unlimited();
    /// let (user, one) = (Account::User(1000), [(Quota::Instances, 1)]);
    /// accounts.charge(user, &one)?;
    /// accounts.give_back(user, &one);
    /// assert_eq!(accounts.use_of(user).instances.used, 0);
    /// # Ok::<(), callsign::registrar::Exceeded>(())
    /// ```
    pub fn give_back(&self, account: Account, what: &[(Quota, usize)]) {
        self.ledger().give_back(account, what);
    }

    /// Tells whether so much less memory is used than was that it is worth to give it back to the
    /// system. It is to be asked from time to time; while more and more is freed, that is awaited.
    pub(crate) fn take_has_shrunk(&self) -> bool {
        self.ledger().held.take_has_shrunk()
    }

    /// Tells whether so much memory was freed that some is to be given back to the system before more
    /// is freed. It is to be asked after everything that may free much.
    pub(crate) fn take_has_freed_much(&self, now_ms: u64) -> bool {
        self.ledger().held.take_has_freed_much(now_ms)
    }

    /// Tells the same after the end of a session, of which another may follow that takes the same
    /// memory again: then it is given back once in a while, unless it is very much.
    pub(crate) fn take_has_freed_much_for_now(&self, now_ms: u64) -> bool {
        self.ledger().held.take_has_freed_much_for_now(now_ms)
    }

    /// Records that memory is freed whose charge was credited earlier.
    pub(crate) fn note_freed(&self, bytes: usize) {
        self.ledger().held.note_freed(bytes);
    }

    /// Tells whether an account may use this much more.
    ///
    /// # Errors
    ///
    /// [`Exceeded`], if it may not.
    pub(crate) fn check(
        &self,
        account: Account,
        quota: Quota,
        asked: usize,
    ) -> Result<(), Exceeded> {
        self.ledger().check(account, quota, asked)
    }

    /// Tells whether an account may use this much more of each.
    ///
    /// # Errors
    ///
    /// [`Exceeded`] names the first quota that has no room.
    pub(crate) fn check_all(
        &self,
        account: Account,
        what: &[(Quota, usize)],
    ) -> Result<(), Exceeded> {
        let ledger = self.ledger();
        what.iter().try_for_each(|(quota, asked)| ledger.check(account, *quota, *asked))
    }

    /// Returns how much more an account may use of something.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::Quota;
    /// use callsign::registrar::{Account, Accounts, QuotaRules};
    ///
    /// let accounts = Accounts::new(QuotaRules::default(), 4096, 0);
    /// let room = accounts.room(Account::User(1000), Quota::Watches);
    /// assert_eq!(room, QuotaRules::default().others.watches, "nothing is used");
    /// ```
    pub fn room(&self, account: Account, quota: Quota) -> usize {
        let ledger = self.ledger();
        ledger.limit(account, quota).saturating_sub(ledger.used(account, quota))
    }

    /// Says that an account has used more of the processor than it may.
    pub(crate) fn cpu_exceeded(&self, account: Account) -> Exceeded {
        let ledger = self.ledger();
        let (quota, limit) = (Quota::Cpu, ledger.limit(account, Quota::Cpu));
        let used = ledger.ran.get(&account).map_or(0, |it| it.percent as usize);
        // What it has used since the last reading counts too.
        Exceeded { quota, account, used: used.max(limit), asked: 1, limit }
    }

    /// Returns how much an account may use of something.
    pub(crate) fn limit(&self, account: Account, quota: Quota) -> usize {
        self.ledger().limit(account, quota)
    }

    /// Returns what counts how long the connections of an account run.
    pub(crate) fn meter(&self, account: Account) -> Meter {
        self.ledger().ran.entry(account).or_default().meter.clone()
    }

    /// Records the running time of each since the last call, that long ago.
    pub(crate) fn read_meters(&self, passed: Duration) {
        let Ledger { ran, used, .. } = &mut *self.ledger();
        ran.retain(|account, reading| {
            reading.take(passed);
            reading.percent > 0 || reading.meter.is_shared() || used.contains_key(account)
        });
    }

    /// Tells whether an account belongs to those that may end the node anyway: a limit for them
    /// would protect nobody.
    pub(crate) fn is_trusted(&self, account: Account) -> bool {
        self.ledger().is_trusted(account)
    }

    /// Returns what everybody uses who uses anything, in the order of their accounts, and how much
    /// each may.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::Quota;
    /// use callsign::registrar::{Account, Accounts};
    ///
    /// let accounts = Accounts::unlimited();
    /// accounts.charge(Account::User(1000), &[(Quota::Instances, 3)])?;
    /// for owner in accounts.uses() {
    ///     println!("{}: {} instances", owner.owner, owner.instances.used);
    /// }
    /// # Ok::<(), callsign::registrar::Exceeded>(())
    /// ```
    pub fn uses(&self) -> Vec<OwnerUse> {
        let ledger = self.ledger();
        let mut accounts = ledger.accounts();
        accounts.sort_unstable();
        accounts.into_iter().map(|it| ledger.owner_use(it)).collect()
    }

    /// Returns the accounts that use the most memory, for a caller.
    pub(crate) fn owners(&self, own: Account) -> Owners {
        let ledger = self.ledger();
        let bytes = |it: &Account| ledger.used(*it, Quota::Bytes);
        let mut accounts = ledger.accounts();
        accounts.sort_unstable_by_key(|it| (Reverse(bytes(it)), *it));
        let total = accounts.len() as u64;
        let most = accounts.into_iter().take(OWNERS_MAX);
        Owners {
            own: ledger.owner_use(own),
            owners: most.map(|it| ledger.owner_use(it)).collect(),
            total,
            is_own_alone: false,
        }
    }

    /// Returns a caller's own use, if it may not see that of others: their numbers would reveal
    /// hidden names.
    pub(crate) fn own(&self, own: Account) -> Owners {
        let own = self.use_of(own);
        Owners { owners: vec![own.clone()], own, total: 1, is_own_alone: true }
    }

    /// Returns what one account uses, and how much it may.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::Quota;
    /// use callsign::registrar::{Account, Accounts};
    ///
    /// let accounts = Accounts::unlimited();
    /// accounts.charge(Account::User(1000), &[(Quota::Instances, 3)])?;
    /// let own = accounts.use_of(Account::User(1000));
    /// assert_eq!((own.instances.used, own.instances.quota), (3, None));
    /// # Ok::<(), callsign::registrar::Exceeded>(())
    /// ```
    pub fn use_of(&self, account: Account) -> OwnerUse {
        self.ledger().owner_use(account)
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

impl Ledger {
    /// Returns those that use anything. Whoever only comes and goes uses the processor alone.
    fn accounts(&self) -> Vec<Account> {
        let ran = self.ran.iter().filter(|(_, it)| it.percent > 0).map(|(account, _)| account);
        let ran_alone = ran.filter(|it| !self.used.contains_key(it));
        self.used.keys().chain(ran_alone).copied().collect()
    }

    fn check(&self, account: Account, quota: Quota, asked: usize) -> Result<(), Exceeded> {
        let (used, limit) = (self.used(account, quota), self.limit(account, quota));
        match used.checked_add(asked) {
            Some(sum) if sum <= limit => Ok(()),
            // A change that needs nothing more is never refused.
            _ if asked == 0 => Ok(()),
            _ => Err(Exceeded { quota, account, used, asked, limit }),
        }
    }

    fn add(&mut self, account: Account, what: &[(Quota, usize)]) {
        if what.iter().all(|(_, count)| *count == 0) {
            return;
        }
        let used = self.used.entry(account).or_default();
        for (quota, count) in what {
            used.by_quota[*quota as usize] += count;
        }
        self.held.add(bytes_of(what));
    }

    fn give_back(&mut self, account: Account, what: &[(Quota, usize)]) {
        let Some(used) = self.used.get_mut(&account) else { return };
        for (quota, count) in what {
            let used = &mut used.by_quota[*quota as usize];
            debug_assert!(*used >= *count, "{count} {quota} were never charged to {account}");
            *used = used.saturating_sub(*count);
        }
        if *used == Used::default() {
            self.used.remove(&account);
        }
        self.held.give_back(bytes_of(what));
    }

    fn used(&self, account: Account, quota: Quota) -> usize {
        self.used.get(&account).map_or(0, |it| it.by_quota[quota as usize])
    }

    fn limit(&self, account: Account, quota: Quota) -> usize {
        let said = self.quotas(account).of(quota);
        match quota {
            Quota::Sessions if !self.is_trusted(account) => said.min(self.sessions_max.div_ceil(2)),
            _ => said,
        }
    }

    fn quotas(&self, account: Account) -> &Quotas {
        match self.rules.named.get(&account) {
            _ if account == Account::Registrar => &Quotas::UNLIMITED,
            Some(quotas) => quotas,
            None if self.is_trusted(account) => &self.rules.trusted,
            None => &self.rules.others,
        }
    }

    fn is_trusted(&self, account: Account) -> bool {
        match account {
            Account::Registrar | Account::User(0) => true,
            Account::User(user) => user == self.user,
            Account::Unknown | Account::Host(_) | Account::Network(_) | Account::Certified(_) => {
                false
            }
        }
    }

    fn owner_use(&self, account: Account) -> OwnerUse {
        let of = |quota| {
            let limit = self.limit(account, quota);
            let quota_shown = (limit != usize::MAX).then_some(limit as u64);
            Use { used: self.used(account, quota) as u64, quota: quota_shown }
        };
        let ran = self.ran.get(&account);
        OwnerUse {
            owner: account.into(),
            sessions: of(Quota::Sessions),
            instances: of(Quota::Instances),
            waits: of(Quota::Waits),
            watches: of(Quota::Watches),
            bytes: of(Quota::Bytes),
            looks: of(Quota::Looks),
            cpu: Use { used: ran.map_or(0, |it| it.percent), ..of(Quota::Cpu) },
            cpu_ms: ran.map_or(0, |it| it.meter.total().as_millis() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn memory_is_released_once_a_crowd_has_left_and_not_while_it_leaves() {
        let accounts = Accounts::unlimited();
        let account = Account::User(7);
        let leave = |mib: usize| accounts.give_back(account, &[(Quota::Bytes, mib * MIB)]);
        accounts.charge(account, &[(Quota::Bytes, 100 * MIB)]).unwrap();
        assert!(!accounts.take_has_shrunk());
        leave(40);
        assert!(!accounts.take_has_shrunk(), "most of it is there");
        leave(20);
        assert!(!accounts.take_has_shrunk(), "more may follow");
        leave(5);
        assert!(!accounts.take_has_shrunk(), "more may follow");
        assert!(accounts.take_has_shrunk());
        assert!(!accounts.take_has_shrunk(), "once");
        leave(35);
        assert!(!accounts.take_has_shrunk());
        assert!(accounts.take_has_shrunk());
        accounts.charge(account, &[(Quota::Bytes, 3 * MIB)]).unwrap();
        leave(3);
        assert!(!accounts.take_has_shrunk(), "it is little");
    }

    #[test]
    fn no_more_than_some_memory_is_released_at_once() {
        let accounts = Accounts::unlimited();
        let account = Account::User(7);
        accounts.charge(account, &[(Quota::Bytes, 100 * MIB)]).unwrap();
        let mut released = 0;
        for _ in 0..100 {
            accounts.give_back(account, &[(Quota::Bytes, MIB)]);
            released += usize::from(accounts.take_has_freed_much(0));
        }
        assert_eq!(released, 100 / 8);
        // Whoever comes and goes takes the same memory again.
        for _ in 0..100 {
            accounts.charge(account, &[(Quota::Bytes, MIB)]).unwrap();
            accounts.give_back(account, &[(Quota::Bytes, MIB)]);
            assert!(!accounts.take_has_freed_much(0));
        }
        accounts.note_freed(8 * MIB);
        assert!(accounts.take_has_freed_much(0) && !accounts.take_has_freed_much(0));
    }

    #[test]
    fn a_quota_is_that_of_the_account_then_of_its_kind() {
        let quotas = |instances| Quotas { instances, ..Quotas::default() };
        let named = [Account::User(7), Account::Registrar].map(|it| (it, quotas(1)));
        let rules = QuotaRules { trusted: quotas(2), others: quotas(3), named: named.into() };
        let accounts = Accounts::new(rules.clone(), 64, 1000);
        let check = |account, expected: Option<u64>| {
            assert_eq!(accounts.use_of(account).instances.quota, expected, "{account}");
        };
        check(Account::User(7), Some(1));
        check(Account::User(0), Some(2));
        check(Account::User(1000), Some(2));
        check(Account::User(1001), Some(3));
        check(Account::Unknown, Some(3));
        check(Account::Registrar, None);
        // Earlier charges stay.
        accounts.charge(Account::User(8), &[(Quota::Instances, 3)]).unwrap();
        accounts.set(QuotaRules { others: quotas(1), ..rules }, 64);
        check(Account::User(8), Some(1));
        assert!(accounts.charge(Account::User(8), &[(Quota::Instances, 1)]).is_err());
        assert_eq!(accounts.use_of(Account::User(8)).instances.used, 3);
    }
}
