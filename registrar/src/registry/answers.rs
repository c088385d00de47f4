//! What those who ask are answered, and those who wait.

use std::iter;

use bytes::BytesMut;
use endpoints::{InstanceId, Matcher, Name};
use wire::{
    CallId, Epoch, Proof, State, encode_answer, encode_page,
    registrar::{List, RECORDS_BYTES_MAX, RECORDS_MAX},
};

use super::{Key, Registry, RegistryError, STEPS_MAX, SessionId, keys::Keys};

impl Registry {
    /// Appends the encoded [`wire::registrar::Answer`] to a query.
    pub fn answer(&self, name: &str, all: bool, now_ms: u64, bytes: &mut BytesMut) {
        let wanted = |key: &Key| self.is_wanted(*key, all);
        let encoded = |key: Key| self.entries[key].encoded();
        let Some(keys) = self.by_name.get(name) else {
            return encode_answer(bytes, self.revision, now_ms, 0, iter::empty());
        };
        let total = match self.chores.is_clearing() {
            true => keys.newest_first().filter(|it| !self.is_over(&self.entries[*it])).count(),
            false => keys.len(),
        } as u64;
        if let Some(only) = keys.only() {
            // By far the most names have one instance, and need no list.
            let found = Some(only).filter(wanted).map(encoded);
            return encode_answer(bytes, self.revision, now_ms, total, found.into_iter());
        }
        let found: Vec<_> = self.found(name, all).map(encoded).collect();
        encode_answer(bytes, self.revision, now_ms, total, found.into_iter());
    }

    /// Appends the answer to a query, as [`answer`](Self::answer) does, and returns for each
    /// record what `prove` makes of those that prove who they are.
    pub fn locate(
        &self,
        name: &str,
        all: bool,
        now_ms: u64,
        bytes: &mut BytesMut,
        prove: impl Fn(&InstanceId, Epoch) -> Proof,
    ) -> Vec<Option<Proof>> {
        self.answer(name, all, now_ms, bytes);
        let prove = |key: Key| {
            let entry = &self.entries[key];
            entry.proves.then(|| prove(&entry.instance(), entry.epoch))
        };
        self.found(name, all).map(prove).collect()
    }

    /// Returns the instances that a query is answered with, in their order.
    fn found(&self, name: &str, all: bool) -> impl Iterator<Item = Key> {
        let wanted = move |key: &Key| self.is_wanted(*key, all);
        // What is declared was entered before anything else, so it comes last.
        let keys = self.by_name.get(name).into_iter().flat_map(Keys::newest_first);
        let mut bytes = 0;
        keys.filter(wanted).take(RECORDS_MAX as usize).take_while(move |key| {
            let is_first = bytes == 0;
            bytes += self.entries[*key].encoded().len();
            is_first || bytes <= RECORDS_BYTES_MAX
        })
    }

    /// Answers a call that waits for a name at once, or keeps it until it can.
    ///
    /// # Errors
    ///
    /// [`RegistryError::TooMany`], [`RegistryError::CallInUse`].
    pub fn wait(
        &mut self,
        session: SessionId,
        call: CallId,
        name: Name,
        now_ms: u64,
        bytes: &mut BytesMut,
    ) -> Result<bool, RegistryError> {
        if self.is_present(&name) {
            self.answer(name.as_str(), false, now_ms, bytes);
            return Ok(true);
        }
        self.waiters.insert(session, call, name, self.limits.session_waiters_max)?;
        Ok(false)
    }

    /// Keeps a call that waits for a name, and tells whether it can be answered already.
    ///
    /// # Errors
    ///
    /// [`RegistryError::TooMany`], [`RegistryError::CallInUse`].
    pub fn begin_wait(
        &mut self,
        session: SessionId,
        call: CallId,
        name: &Name,
    ) -> Result<bool, RegistryError> {
        let limit = self.limits.session_waiters_max;
        self.waiters.insert(session, call, name.clone(), limit)?;
        Ok(self.is_present(name))
    }

    /// Answers one of the calls of a session that wait for a name, and returns which. If nobody of
    /// that name is there any more, they wait on.
    pub fn answer_wait(
        &mut self,
        session: SessionId,
        name: &Name,
        now_ms: u64,
        bytes: &mut BytesMut,
    ) -> Option<CallId> {
        if !self.is_present(name) {
            self.waiters.line_up(session, name);
            return None;
        }
        let call = self.waiters.take(session, name)?;
        self.answer(name.as_str(), false, now_ms, bytes);
        Some(call)
    }

    /// Tells whether a name has an instance that answers those who wait.
    fn is_present(&self, name: &Name) -> bool {
        let mut keys = self.by_name.get(name).into_iter().flat_map(Keys::newest_first);
        keys.any(|key| self.entries[key].is_present() && !self.is_over(&self.entries[key]))
    }

    fn is_wanted(&self, key: Key, all: bool) -> bool {
        let entry = &self.entries[key];
        (all || entry.state == State::Ready) && !self.is_over(entry)
    }

    /// Appends the encoded [`wire::registrar::Page`] of a list, and returns how many steps it
    /// took. A page ends where many names were looked at, whether they match or not.
    pub fn page(&self, list: &List, now_ms: u64, bytes: &mut BytesMut) -> usize {
        let mut found: Vec<_> = self.own_for(list).into_iter().collect();
        let (mut after, mut next, mut steps, mut room) = (list.after, None, 0, RECORDS_BYTES_MAX);
        let matcher = Matcher::new(&list.pattern);
        for (epoch, key) in self.by_epoch.range(list.after.saturating_add(1)..) {
            if found.len() == RECORDS_MAX as usize || steps >= STEPS_MAX || room == 0 {
                next = Some(after);
                break;
            }
            after = *epoch;
            let entry = &self.entries[*key];
            steps += matcher.steps(entry.name.as_str());
            if matcher.matches(entry.name.as_str()) && !self.is_over(entry) {
                found.push(entry.encoded());
                room = room.saturating_sub(entry.encoded().len());
            }
        }
        encode_page(bytes, self.revision, now_ms, next, found.into_iter());
        steps
    }
}
