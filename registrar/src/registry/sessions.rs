//! What each session keeps, and what becomes of it when the session ends.

use std::collections::HashSet;

use wire::Gone;

use super::{Key, Outcome, Registry, SessionId};

/// What belongs to a session.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// The instances that it keeps.
    pub(super) keys: HashSet<Key>,
    /// Until when its peer should be back, if the registrar is ending it.
    back_by_ms: Option<u64>,
}

impl Registry {
    /// Takes what a session kept out of the registry. If the registrar itself has ended it, its
    /// registrant may be well: then it stays for as long as that may take to come back.
    pub(super) fn end_session(&mut self, session: SessionId, outcome: &mut Outcome) {
        self.waiters.end_session(session);
        self.watchers.end_session(session);
        let Own { keys, back_by_ms } = self.sessions.remove(session);
        let mut keys: Vec<_> = keys.into_iter().collect();
        if back_by_ms.is_none() && !self.is_stopping {
            keys.sort_by_key(|key| self.entries[*key].epoch);
            return self.remove_all(&keys, Gone::SessionEnded, outcome);
        }
        // A registrar that stops is not there any more when they should be back.
        let back_by_ms = back_by_ms.filter(|_| !self.is_stopping);
        for key in keys {
            let entry = &mut self.entries[key];
            entry.registrant.session = None;
            entry.lease_until_ms = back_by_ms;
            self.leases.extend(back_by_ms.map(|it| (it, key)));
        }
    }

    pub(super) fn dismiss_session(&mut self, session: SessionId, back_by_ms: u64) {
        if let Some(own) = self.sessions.get_mut(session) {
            own.back_by_ms = Some(back_by_ms);
        }
    }
}
