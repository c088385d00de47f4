//! Registrations that change nothing but an instance's number.

use wire::{
    Lifetime,
    registrar::{Registered, UnreadRegister},
};

use super::{
    Caller, Entry, Key, Outcome, Registrant, Registry, SessionId,
    holders::{NameClaim, Turn},
};

impl Registry {
    /// Registers an instance again for the session that keeps it, if that gives it a new epoch and
    /// changes nothing else: what [`register`](Self::register) would do then, without reading the
    /// registration. Otherwise, or if that cannot be told at a glance, it returns `None` and changes
    /// nothing.
    pub fn register_again(
        &mut self,
        register: &UnreadRegister<'_>,
        caller: &Caller,
        session: SessionId,
        now_ms: u64,
    ) -> Option<(Registered, Outcome)> {
        let key = self.live(register.uuid)?;
        let entry = &self.entries[key];
        let registrant = Registrant { owner: caller.owner, session: Some(session) };
        // Where no other entry has its name or a place of it, its number is in no further index.
        let is_own = entry.registrant == registrant
            && !entry.shares.get()
            && entry.lifetime == Lifetime::Session
            && entry.lease_until_ms.is_none()
            && !entry.is_remote()
            && entry.name.as_str() == register.name;
        if !is_own || !self.may_stay(key, entry, caller) {
            return None;
        }
        if !self.entries[key].renew(register, now_ms) {
            return None;
        }

        // Nothing refuses it from here on.
        let epoch = self.take_epoch();
        let before = std::mem::replace(&mut self.entries[key].epoch, epoch);
        self.by_epoch.remove(before);
        self.by_epoch.insert(epoch, key);
        let keys = &mut self.sessions[session].keys;
        keys.remove(before);
        keys.insert(epoch, key);
        self.decisions.taken(&self.entries[key].name);
        self.totals.replaced += 1;
        self.revision += 1;
        let mut outcome = Outcome::default();
        self.tell(key, Some(before), &mut outcome);
        let (revision, also) = (self.revision, Vec::new());
        let (key, token, resume, lost) = (None, None, None, None);
        Some((Registered { epoch, revision, key, token, resume, lost, also }, outcome))
    }

    /// Tells whether an instance may still have its name, which is not exclusive; and whether its
    /// record tells of nobody who waits for that.
    fn may_stay(&self, key: Key, entry: &Entry, caller: &Caller) -> bool {
        let claim = NameClaim { caller, earlier: Some(key), yields: None, turn: Turn::Asks };
        self.lines.len() == 0
            && self.tokens.of(key).is_none()
            && matches!(self.check_name(&entry.name, &claim), Ok(false))
    }
}
