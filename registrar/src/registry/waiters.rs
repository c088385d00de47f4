//! Calls that wait for a name, in order of arrival.
//!
//! When an instance of a name appears, each session that waits for it is notified once, however
//! many of its calls do. The calls wait until the session answers each in its own time, so that no
//! part of an answer is kept for a peer that does not read it.

use std::collections::{BTreeMap, VecDeque};

use endpoints::Name;
use foldhash::HashMap;
use wire::CallId;

use super::{RegistryError, SessionId};

/// Calls that wait for a name.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// The sessions to notify, by name, then in order of their first call.
    by_name: HashMap<Name, BTreeMap<u64, SessionId>>,
    by_session: HashMap<SessionId, Waits>,
    asked: u64,
    count: usize,
}

/// The calls of one session.
#[derive(Debug, Default)]
struct Waits {
    /// Each with its name, and its place among the calls that wait for it.
    calls: HashMap<CallId, (Name, u64)>,
    by_name: HashMap<Name, Calls>,
}

/// The calls of one session that wait for one name.
#[derive(Debug)]
struct Calls {
    /// Each with its place among them, oldest first.
    calls: VecDeque<(u64, CallId)>,
    /// Its place among those to notify; `None` if it has been notified.
    place: Option<u64>,
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
        let waits = self.by_session.entry(session).or_default();
        if waits.calls.contains_key(&call) {
            return Err(RegistryError::CallInUse { call });
        }
        if waits.calls.len() >= limit {
            return Err(RegistryError::TooMany { what: "waiting calls of one session", limit });
        }
        self.count += 1;
        self.asked += 1;
        waits.calls.insert(call, (name.clone(), self.asked));
        let fresh = || Calls { calls: VecDeque::new(), place: None };
        let calls = waits.by_name.entry(name.clone()).or_insert_with(fresh);
        calls.calls.push_back((self.asked, call));
        self.line_up(session, &name);
        Ok(())
    }

    /// Returns the bytes of a call that waits for a name.
    pub(super) fn held_bytes(name: &Name) -> usize {
        HELD_BYTES + name.as_str().len()
    }

    /// Returns the names whose waiting sessions are to be notified.
    pub(super) fn names(&self) -> Vec<Name> {
        self.by_name.keys().cloned().collect()
    }

    /// Takes the sessions to notify of a name, first come first.
    pub(super) fn take_sessions(&mut self, name: &Name) -> Vec<SessionId> {
        let sessions: Vec<_> =
            self.by_name.remove(name).unwrap_or_default().into_values().collect();
        for session in &sessions {
            if let Some(calls) = self.calls_mut(*session, name) {
                calls.place = None;
            }
        }
        sessions
    }

    /// Returns the oldest call of a session that waits for a name.
    pub(super) fn oldest(&self, session: SessionId, name: &Name) -> Option<CallId> {
        self.by_session.get(&session)?.by_name.get(name)?.calls.front().map(|(_, call)| *call)
    }

    /// Re-arms a session that was notified in vain, if any of its calls waits for the name.
    pub(super) fn line_up(&mut self, session: SessionId, name: &Name) {
        self.asked += 1;
        let asked = self.asked;
        if let Some(calls) = self.calls_mut(session, name)
            && calls.place.is_none()
        {
            calls.place = Some(asked);
            self.by_name.entry(name.clone()).or_default().insert(asked, session);
        }
    }

    /// Removes a call, and returns its bytes.
    pub(super) fn remove(&mut self, session: SessionId, call: CallId) -> Option<usize> {
        let waits = self.by_session.get_mut(&session)?;
        let (name, asked) = waits.calls.remove(&call)?;
        self.count -= 1;
        let held_bytes = Self::held_bytes(&name);
        let calls = waits.by_name.get_mut(&name)?;
        if let Ok(at) = calls.calls.binary_search_by_key(&asked, |(asked, _)| *asked) {
            calls.calls.remove(at);
        }
        if !calls.calls.is_empty() {
            return Some(held_bytes);
        }
        let place = calls.place;
        waits.by_name.remove(&name);
        if waits.calls.is_empty() {
            self.by_session.remove(&session);
        }
        self.leave_line(&name, place);
        Some(held_bytes)
    }

    /// Removes all calls of a session, and returns their number and bytes.
    pub(super) fn end_session(&mut self, session: SessionId) -> (usize, usize) {
        let Some(waits) = self.by_session.remove(&session) else { return (0, 0) };
        let count = waits.calls.len();
        let held_bytes = waits.calls.values().map(|(name, _)| Self::held_bytes(name)).sum();
        self.count -= count;
        for (name, calls) in waits.by_name {
            self.leave_line(&name, calls.place);
        }
        (count, held_bytes)
    }

    /// Frees the room of finished calls.
    pub(super) fn shrink(&mut self) {
        self.by_name.shrink_to_fit();
        self.by_session.shrink_to_fit();
    }

    fn leave_line(&mut self, name: &Name, place: Option<u64>) {
        if let Some(sessions) = self.by_name.get_mut(name)
            && let Some(place) = place
        {
            sessions.remove(&place);
            if sessions.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    fn calls_mut(&mut self, session: SessionId, name: &Name) -> Option<&mut Calls> {
        self.by_session.get_mut(&session)?.by_name.get_mut(name)
    }
}

/// The bytes of a waiting call, besides the name, as measured with a different name for each.
const HELD_BYTES: usize = 768;
