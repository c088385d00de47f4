//! The calls of the registrar's own protocol, for adapters whose peers may make them.

use std::{future::poll_fn, task::Poll};

use endpoints::{Name, NamePattern};
use uuid::Uuid;
use wire::{
    CallId, Epoch, RemoteError,
    registrar::{Change, List, Owners, Page, Query, Register, Registered, Seen},
};

use super::ForeignSession;
use crate::registry::Event;

impl ForeignSession {
    /// Returns the ready instances of a name, as the call `registrar.query` does: a page that has no
    /// next.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use endpoints::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Tells how many ready instances of a name the peer may find.
    /// fn count(session: &ForeignSession, name: &callsign::Name) -> usize {
    ///     session.look_up(name).records.len()
    /// }
    /// ```
    pub fn look_up(&self, name: &Name) -> Page {
        self.registry.answer_to(&Query::of(name.as_str()), &self.caller)
    }

    /// Returns the instances of a name in whatever state, as [`look_up`](Self::look_up) does the
    /// ready ones.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use endpoints::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Tells whether the peer may find an instance of a name in any state.
    /// fn exists(session: &ForeignSession, name: &callsign::Name) -> bool {
    ///     !session.look_up_all(name).records.is_empty()
    /// }
    /// ```
    pub fn look_up_all(&self, name: &Name) -> Page {
        let query = Query { all: true, ..Query::of(name.as_str()) };
        self.registry.answer_to(&query, &self.caller)
    }

    /// Returns a page of the instances whose names match a pattern, as the call `registrar.list`
    /// does: those after an epoch.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use wire::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// # use endpoints::NamePattern;
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Returns the first instances that the peer may find.
    /// fn first(session: &ForeignSession) -> Vec<callsign::Record> {
    ///     session.list(&NamePattern::any(), 0).records
    /// }
    /// ```
    pub fn list(&self, pattern: &NamePattern, after: Epoch) -> Page {
        if after == 0 {
            self.registry.look_at_all_declared(self.caller.owner.account());
        }
        let now_ms = self.registry.now_ms();
        let list = List { pattern: pattern.clone(), after };
        self.registry.read(|registry| {
            let (records, next) = registry.page_of_records(&list, &self.caller);
            Page { revision: registry.revision(), now_ms, next, records }
        })
    }

    /// Registers an instance that lives by a lease, or renews one under new terms. It has to have
    /// one: what lives as long as the connection would be gone after this exchange. If its name is
    /// exclusive and a cluster decides who has it, this waits for that; one such wait at a time.
    ///
    /// ```
    /// # mod callsign { pub use wire::*;
    /// # pub mod registrar { pub use {callsign_registrar::*, wire::registrar::*}; } }
    /// use callsign::RemoteError;
    /// use callsign::registrar::{ForeignSession, Register, Registered};
    ///
    /// /// Registers an actor for a minute.
    /// async fn register(
    ///     session: &ForeignSession,
    ///     register: Register,
    /// ) -> Result<Registered, RemoteError> {
    ///     session.register_lease(60_000, register).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// That of the registry; nothing has changed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing registered that it has not returned.
    pub async fn register_lease(
        &self,
        lease_ms: u64,
        register: Register,
    ) -> Result<Registered, RemoteError> {
        let register = Register { lease_ms: Some(lease_ms), wait: false, ..register };
        let at = self.to_decide();
        self.registered(self.registry.register_or_wait(register, &self.caller, at).0?).await
    }

    /// Renews the lease of an instance.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use wire::RemoteError;
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Tells whether an instance is there, and keeps it.
    /// fn keep(session: &ForeignSession, uuid: uuid::Uuid) -> bool {
    ///     session.renew(uuid).is_ok()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// That of the registry; nothing has changed then.
    pub fn renew(&self, uuid: Uuid) -> Result<(), RemoteError> {
        let event = Event::Renew { uuid, by: self.caller.owner };
        self.registry
            .change(|registry, now_ms| Ok(((), registry.apply_for(&self.caller, event, now_ms)?)))
    }

    /// Returns what each owner uses, as far as the peer may know.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Tells how many instances the peer has registered.
    /// fn registered(session: &ForeignSession) -> u64 {
    ///     session.owners().own.instances.used
    /// }
    /// ```
    pub fn owners(&self) -> Owners {
        let (accounts, account) = (self.registry.accounts(), self.caller.owner.account());
        if self.caller.is_trusted { accounts.owners(account) } else { accounts.own(account) }
    }

    /// Begins to watch names, as the call `registrar.watch` does, and tells whether it continues
    /// where the peer was. The changes come by [`changes`](Self::changes), until the watch is
    /// [cancelled](Self::cancel).
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use {callsign_registrar::*, wire::registrar::*}; } }
    /// use callsign::{NamePattern, RemoteError};
    /// use callsign::registrar::{Change, ForeignSession};
    ///
    /// /// Waits until an instance goes.
    /// async fn gone(session: &ForeignSession) -> Result<(), RemoteError> {
    ///     session.watch(1, NamePattern::any(), None)?;
    ///     let is_removal = |it: &Change| matches!(it, Change::Remove { .. });
    ///     while !session.changes().await.iter().any(is_removal) {}
    ///     session.cancel(1);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// That of the registry, if the peer watches too much already.
    pub fn watch(
        &self,
        call: CallId,
        pattern: NamePattern,
        seen: Option<Seen>,
    ) -> Result<bool, RemoteError> {
        self.registry.with(|registry| {
            let resumed = registry.watch(self.id, call, pattern, seen)?;
            // What is not read stays in the log of the registry, so that it takes no more credit.
            registry.credit(self.id, call, u32::MAX);
            Ok(resumed)
        })
    }

    /// Begins to watch all that is registered here, as [`watch`](Self::watch) does: the records of
    /// other nodes of a cluster are passed over unseen.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let session = RegistryHandle::unattended(Limits::default()).own_session();
    /// session.watch_own(1)?;
    /// # Ok::<(), wire::RemoteError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// That of the registry, if the peer watches too much already.
    pub fn watch_own(&self, call: CallId) -> Result<(), RemoteError> {
        self.registry.with(|registry| {
            registry.watch_own(self.id, call)?;
            registry.credit(self.id, call, u32::MAX);
            Ok(())
        })
    }

    /// Waits until there are changes of the names that the peer watches, and returns the next of
    /// them: some, so that others get their turn.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Says how many changes there are at once.
    /// async fn count(session: &ForeignSession) -> usize {
    ///     session.changes().await.len()
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is taken before it is returned.
    pub async fn changes(&self) -> Vec<Change> {
        let encoded = poll_fn(|cx| {
            // The watch itself knows whether there is something.
            self.handle.take_has_changes(cx);
            let mut encoded = Vec::new();
            let mut bytes = 0;
            let (has_more, _steps) = self.registry.with(|registry| {
                let mut from = None;
                let read = registry.read_watches(self.id, &self.caller, &mut |call, change| {
                    from = Some(call);
                    bytes += change.len();
                    encoded.push(change.to_vec());
                    encoded.len() < CHANGES_MAX && bytes < CHANGES_BYTES_MAX
                });
                if let Some(call) = from {
                    registry.credit(self.id, call, encoded.len() as u32);
                }
                read
            });
            if !encoded.is_empty() {
                return Poll::Ready(encoded);
            }
            if has_more {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        let read = |it: &Vec<u8>| wire::decode_body(it).ok();
        encoded.iter().filter_map(read).collect()
    }
}

/// The most changes that are returned together: what is made of them takes less than a millisecond.
const CHANGES_MAX: usize = 32;

/// The bytes of changes at which no more are returned.
const CHANGES_BYTES_MAX: usize = 64 * 1024;
