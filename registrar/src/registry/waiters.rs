//! Calls that wait for a name, in the order in which they asked.

use std::collections::BTreeMap;

use endpoints::Name;
use foldhash::HashMap;
use wire::CallId;

use super::{RegistryError, SessionId};

/// Calls that wait for a name.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// By name, then by the order in which they asked.
    by_name: HashMap<Name, BTreeMap<u64, (SessionId, CallId)>>,
    by_session: HashMap<SessionId, HashMap<CallId, (Name, u64)>>,
    asked: u64,
    count: usize,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Keeps a call, if the session has room for it.
    pub(super) fn insert(
        &mut self,
        session: SessionId,
        call: CallId,
        name: Name,
        limit: usize,
    ) -> Result<(), RegistryError> {
        let calls = self.by_session.entry(session).or_default();
        if calls.contains_key(&call) {
            return Err(RegistryError::CallInUse { call });
        }
        if calls.len() >= limit {
            return Err(RegistryError::TooMany { what: "waiting calls of one session", limit });
        }
        self.asked += 1;
        self.count += 1;
        calls.insert(call, (name.clone(), self.asked));
        self.by_name.entry(name).or_default().insert(self.asked, (session, call));
        Ok(())
    }

    pub(super) fn is_awaited(&self, name: &Name) -> bool {
        self.by_name.contains_key(name)
    }

    /// Takes every call that waits for a name, first come first.
    pub(super) fn take(&mut self, name: &Name) -> Vec<(SessionId, CallId)> {
        let waiting = self.by_name.remove(name).unwrap_or_default();
        let waiting: Vec<_> = waiting.into_values().collect();
        for (session, call) in &waiting {
            self.forget(*session, *call);
        }
        waiting
    }

    pub(super) fn remove(&mut self, session: SessionId, call: CallId) {
        if let Some((name, asked)) = self.forget(session, call) {
            self.remove_from_name(&name, asked);
        }
    }

    pub(super) fn end_session(&mut self, session: SessionId) {
        for (name, asked) in self.by_session.remove(&session).unwrap_or_default().into_values() {
            self.count -= 1;
            self.remove_from_name(&name, asked);
        }
    }

    fn forget(&mut self, session: SessionId, call: CallId) -> Option<(Name, u64)> {
        let calls = self.by_session.get_mut(&session)?;
        let forgotten = calls.remove(&call)?;
        if calls.is_empty() {
            self.by_session.remove(&session);
        }
        self.count -= 1;
        Some(forgotten)
    }

    fn remove_from_name(&mut self, name: &Name, asked: u64) {
        if let Some(waiting) = self.by_name.get_mut(name) {
            waiting.remove(&asked);
            if waiting.is_empty() {
                self.by_name.remove(name);
            }
        }
    }
}
