//! The contents of each session, and their fate when it ends.

use std::mem;

use slab::Slab;

use super::{Account, Caller, Entry, Outcome, Registry, SessionId, timeline::Timeline};

/// The contents of a session.
#[derive(Debug)]
pub(super) struct SessionContents {
    /// The account for its waits and watches.
    pub(super) account: Account,
    /// Its caller, as far as it is known.
    pub(super) caller: Option<Caller>,
    /// The instances that it keeps, oldest first.
    pub(super) keys: Timeline,
    /// Whether it has ended, and its entries have yet to be removed.
    pub(super) is_over: bool,
    /// Whether its peer can be asked for a sign of life.
    pub(super) is_answerable: bool,
    /// The time by which its peer should be back, if the registrar is ending it.
    back_by_ms: Option<u64>,
    /// Its place in the order in which sessions began.
    number: u64,
}

impl SessionContents {
    pub(super) fn new(account: Account, number: u64) -> Self {
        Self {
            account,
            caller: None,
            keys: Timeline::default(),
            is_over: false,
            is_answerable: false,
            back_by_ms: None,
            number,
        }
    }
}

impl Registry {
    /// Removes a session's entries from the registry. If the registrar itself has ended it, its
    /// registrant may be well: then they stay for as long as it may take to return.
    pub(super) fn end_session(&mut self, session: SessionId, outcome: &mut Outcome) {
        self.end_waits_and_watches(session);
        self.leave_lines(session);
        let own = &mut self.sessions[session];
        let (keys, back_by_ms) = (mem::take(&mut own.keys), own.back_by_ms.take());
        match back_by_ms {
            // A registrar that stops is gone by the time that they should be back.
            _ if self.is_stopping => {
                self.deferred.forget(session);
                self.sessions.remove(session);
                for key in keys.keys() {
                    self.entries[key].registrant.session = None;
                }
            }
            Some(back_by_ms) => self.dismiss_kept(session, keys, back_by_ms),
            None => self.remove_kept(session, keys, outcome),
        }
    }

    /// Tells whether a session began before that of an entry.
    ///
    /// A client that has waited in vain for the answer to a registration gives its connection up and
    /// registers by another. A busy registrar may read the second before the first.
    pub(super) fn is_of_later_session(&self, entry: &Entry, session: SessionId) -> bool {
        let number = |it| self.sessions.get(it).map(|it| it.number);
        entry.keeper().and_then(number) > number(session)
    }

    pub(super) fn dismiss_session(&mut self, session: SessionId, back_by_ms: u64) {
        if let Some(own) = self.sessions.get_mut(session) {
            own.back_by_ms = Some(back_by_ms);
        }
    }
}

/// Tells whether the session of an entry has ended.
pub(super) fn is_over(sessions: &Slab<SessionContents>, entry: &Entry) -> bool {
    entry.keeper().and_then(|it| sessions.get(it)).is_some_and(|it| it.is_over)
}
