//! Charges for the contents of the registry, credited when they go.

use wire::{CallId, Quota};

use super::{Account, Entry, Key, Registry, RegistryError, SessionId, waiters::Waiters};

impl Registry {
    /// Tells whether the owner of an entry with so many claims may have it, in the place of an
    /// earlier one, or of one that is gone.
    pub(super) fn check_quotas(
        &self,
        entry: &Entry,
        claims: usize,
        earlier: Option<Key>,
    ) -> Result<(), RegistryError> {
        let account = entry.registrant.owner.account();
        let earlier = earlier.map(|key| &self.entries[key]);
        // Nothing was paid for that of another node, nor for one whose owner has its room back.
        let is_own = |it: &&Entry| it.registrant.owner.account() == account && it.charged > 0;
        let own = earlier.filter(is_own);
        let bytes = entry.held_bytes() + claims * Entry::CLAIM_BYTES;
        let more = bytes.saturating_sub(own.map_or(0, |it| it.charged as usize));
        let one = usize::from(own.is_none());
        Ok(self.accounts.check_all(account, &[(Quota::Instances, one), (Quota::Bytes, more)])?)
    }

    /// Charges a new entry of the registry.
    pub(super) fn charge_entry(&mut self, key: Key) {
        let entry = &mut self.entries[key];
        if entry.is_remote() {
            // Its owner has paid for it at its own node.
            return;
        }
        let (account, bytes) = (entry.registrant.owner.account(), entry.held_bytes());
        entry.charged = bytes as u32;
        self.accounts.charge_anyway(account, &[(Quota::Instances, 1), (Quota::Bytes, bytes)]);
    }

    /// Charges the growth of an entry, or credits its shrinking.
    pub(super) fn recharge_entry(&mut self, key: Key) {
        let entry = &mut self.entries[key];
        if entry.is_remote() {
            return;
        }
        let (account, bytes) = (entry.registrant.owner.account(), entry.held_bytes());
        let before = std::mem::replace(&mut entry.charged, bytes as u32) as usize;
        self.charge_change(account, before, bytes);
    }

    /// Credits the charge for an entry that leaves the registry, once.
    pub(super) fn give_back_entry(&mut self, key: Key) {
        let entry = &mut self.entries[key];
        let bytes = std::mem::take(&mut entry.charged) as usize;
        if bytes == 0 {
            return;
        }
        let account = entry.registrant.owner.account();
        self.accounts.give_back(account, &[(Quota::Instances, 1), (Quota::Bytes, bytes)]);
    }

    pub(super) fn charge_change(&self, account: Account, before: usize, now: usize) {
        match now.checked_sub(before) {
            Some(0) => {}
            Some(more) => self.accounts.charge_anyway(account, &[(Quota::Bytes, more)]),
            None => self.accounts.give_back(account, &[(Quota::Bytes, before - now)]),
        }
    }

    /// Stores a call that waits for a name, if its session and its owner have room for it.
    pub(super) fn begin_to_wait(
        &mut self,
        session: SessionId,
        call: CallId,
        name: endpoints::Name,
    ) -> Result<(), RegistryError> {
        let account = self.account(session);
        let what = [(Quota::Waits, 1), (Quota::Bytes, Waiters::held_bytes(&name))];
        self.accounts.charge(account, &what)?;
        let limit = self.limits.session_waiters_max;
        let kept = self.waiters.insert(session, call, name, limit);
        if kept.is_err() {
            self.accounts.give_back(account, &what);
        }
        kept
    }

    pub(super) fn end_wait(&mut self, session: SessionId, call: CallId) {
        let ended = self.waiters.remove(session, call);
        self.give_back(session, Quota::Waits, ended.map_or((0, 0), |bytes| (1, bytes)));
    }

    pub(super) fn end_waits_and_watches(&mut self, session: SessionId) {
        let (waits, watches) =
            (self.waiters.end_session(session), self.watchers.end_session(session));
        self.give_back(session, Quota::Waits, waits);
        self.give_back(session, Quota::Watches, watches);
    }

    /// Gives back that many of something to the account of a session, and their bytes.
    pub(super) fn give_back(
        &self,
        session: SessionId,
        quota: Quota,
        (count, bytes): (usize, usize),
    ) {
        if count > 0 {
            let account = self.account(session);
            self.accounts.give_back(account, &[(quota, count), (Quota::Bytes, bytes)]);
        }
    }

    pub(super) fn account(&self, session: SessionId) -> Account {
        self.sessions.get(session).map_or(Account::Registrar, |it| it.account)
    }
}
