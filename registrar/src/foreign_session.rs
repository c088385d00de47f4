//! The access of an adapter's peer to the registry.

mod calls;
mod decided;

use std::{future::poll_fn, sync::Arc, task::Poll};

use endpoints::{Endpoint, Name, NamePattern};
use uuid::Uuid;
use wire::{
    CallId, Epoch, Record, RemoteError,
    registrar::{Evidence, Page, Query},
};

use crate::{
    RegistryHandle,
    accounts::Holding,
    registry::{Caller, Event, Foreign, Registry, SessionId},
    session_handle::SessionHandle,
};

/// The access of an adapter's peer to the registry. It counts as a session, and its waits end when
/// it is dropped; its registrations stay, and the adapter watches them.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Accepted;
///
/// /// Takes from a connection what its peer may do, as an adapter does that answers for it.
/// fn rights(accepted: Accepted) -> callsign::registrar::ForeignSession {
///     accepted.session
/// }
/// ```
#[derive(Debug)]
pub struct ForeignSession {
    registry: RegistryHandle,
    id: SessionId,
    caller: Caller,
    handle: Arc<SessionHandle>,
}

impl ForeignSession {
    pub(crate) fn new(registry: RegistryHandle, caller: Caller) -> Self {
        let handle = Arc::new(SessionHandle::default());
        let id = registry.open_session(handle.clone(), &caller);
        Self { registry, id, caller, handle }
    }

    /// Returns which session of the registry it is.
    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// Returns the handle of the registry.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Answers a foreign "how are you?".
    /// fn how(session: &ForeignSession) -> String {
    ///     format!("{} actors are here", session.registry().status().instances)
    /// }
    /// ```
    pub fn registry(&self) -> &RegistryHandle {
        &self.registry
    }

    /// Returns the peer's identity.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Answers a foreign "who am I?".
    /// fn who(session: &ForeignSession) -> String {
    ///     session.caller().owner.to_string()
    /// }
    /// ```
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns what says how much waits in the buffers of its connection.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Tells whether the peer may leave so many bytes unread.
    /// fn may_leave(session: &ForeignSession, bytes: usize) -> bool {
    ///     let mut holding = session.holding();
    ///     holding.set(bytes).is_ok()
    /// }
    /// ```
    pub fn holding(&self) -> Holding {
        Holding::new(self.registry.accounts().clone(), self.caller.owner.account())
    }

    /// Registers an endpoint of a foreign instance, and returns the epoch of the registration;
    /// `None` if the endpoint was there already. The instance is starting until it is
    /// [settled](Self::settle), so that no waiter sees only some of its endpoints. If its name is
    /// exclusive and a cluster decides who has it, this waits for that; one such wait at a time.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use endpoints::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// # use uuid::Uuid;
    /// # use wire::RemoteError;
    /// use callsign::registrar::{ForeignSession, Foreign};
    ///
    /// /// Registers an actor that listens at nothing callsign knows.
    /// async fn register(session: &ForeignSession, name: callsign::Name) -> Result<Uuid, RemoteError> {
    ///     let uuid = Uuid::new_v4();
    ///     let metadata = [("protocol".to_owned(), "chat".to_owned())].into();
    ///     session.register(Foreign { name, uuid, endpoint: None, metadata }).await?;
    ///     session.settle(uuid);
    ///     Ok(uuid)
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
    pub async fn register(&self, foreign: Foreign) -> Result<Option<Epoch>, RemoteError> {
        let entered = self.registry.register_foreign(foreign, &self.caller, self.to_decide())?;
        self.epoch(entered).await
    }

    /// Says that all endpoints of an instance are registered.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use callsign::registrar::{Limits, RegistryHandle};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// use callsign::{Stamped, State, registrar::Foreign};
    ///
    /// let (session, uuid) = (registry.own_session(), uuid::Uuid::new_v4());
    /// for address in ["/ip4/192.0.2.7/tcp/80", "/ip4/192.0.2.8/tcp/80"] {
    ///     let endpoint = Some(Stamped::bare(address.parse()?));
    ///     let (name, metadata) = ("chat".parse()?, Default::default());
    ///     session.register(Foreign { name, uuid, endpoint, metadata }).await?;
    /// }
    /// session.settle(uuid);
    /// assert_eq!(registry.instances(&"chat".parse()?)[0].state, State::Ready);
    /// # Ok(())
    /// # }
    /// ```
    pub fn settle(&self, uuid: Uuid) {
        self.registry.settle(uuid, self.caller.owner);
    }

    /// Takes an instance out of the registry.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use endpoints::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// # use wire::RemoteError;
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Removes all instances of a name that the peer may remove.
    /// fn unregister_all(session: &ForeignSession, name: &callsign::Name) -> Result<(), RemoteError> {
    ///     let instances = session.instances(name);
    ///     instances.iter().try_for_each(|record| session.unregister(record.uuid))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// That of the registry; nothing has changed then.
    pub fn unregister(&self, uuid: Uuid) -> Result<(), RemoteError> {
        let by = self.caller.owner;
        let event = Event::Unregister { uuid, by };
        self.registry.unregister(event, &[uuid], &self.caller, self.id).map(|_| ())
    }

    /// Records a report that an endpoint of an instance does not answer, as
    /// [`RegistryHandle::report`] does.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use wire::{Record, registrar::Evidence};
    /// use callsign::registrar::ForeignSession;
    ///
    /// fn refused(session: &ForeignSession, record: &Record) {
    ///     for stamped in &record.endpoints {
    ///         session.report(record.uuid, record.epoch, &stamped.endpoint, Evidence::Refused);
    ///     }
    /// }
    /// ```
    pub fn report(&self, uuid: Uuid, epoch: Epoch, endpoint: &Endpoint, evidence: Evidence) {
        self.registry.report(uuid, epoch, endpoint, evidence, self.caller.owner);
    }

    /// Waits for a ready instance of a name that is not declared. The answer comes through
    /// [`answers`](Self::answers), immediately if there is one.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use endpoints::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// # use wire::{Record, RemoteError};
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Returns the instances of a name, once there is one.
    /// async fn wait(session: &ForeignSession, name: callsign::Name) -> Result<Vec<Record>, RemoteError> {
    ///     session.wait(1, name)?;
    ///     let answers = session.answers().await;
    ///     Ok(answers.into_iter().flat_map(|(_call, records)| records).collect())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// That of the registry, if too many calls wait already.
    pub fn wait(&self, call: CallId, name: Name) -> Result<(), RemoteError> {
        let begin_wait =
            |registry: &mut Registry| registry.begin_wait(self.id, call, &name, &self.caller);
        if self.registry.with(begin_wait)? {
            self.handle.tell_present(name);
        }
        Ok(())
    }

    /// Returns the first 256 instances of a name that the peer may find, in whatever state: live
    /// ones first, then declared ones, each newest first.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use endpoints::{Endpoint, Name};
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Returns where the newest live instance of a name listens.
    /// fn place(session: &ForeignSession, name: &Name) -> Option<Endpoint> {
    ///     let instances = session.instances(name);
    ///     Some(instances.first()?.endpoints.first()?.endpoint.clone())
    /// }
    /// ```
    pub fn instances(&self, name: &Name) -> Vec<Record> {
        self.registry.instances_for(name, &self.caller)
    }

    /// Returns the record of an instance, if the peer may find it.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use uuid::Uuid;
    /// use callsign::registrar::ForeignSession;
    ///
    /// fn name(session: &ForeignSession, uuid: Uuid) -> Option<String> {
    ///     session.record(uuid).map(|record| record.name.to_string())
    /// }
    /// ```
    pub fn record(&self, uuid: Uuid) -> Option<Record> {
        self.registry.read(|registry| registry.record_for(uuid, &self.caller))
    }

    /// Returns the registered names that the peer may find: all of them, up to some thousands.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Answers a foreign "who is here?".
    /// fn who(session: &ForeignSession) -> String {
    ///     session.names().join(", ")
    /// }
    /// ```
    pub fn names(&self) -> Vec<String> {
        self.registry.names_for(&self.caller)
    }

    /// Returns a page of all instances that the peer may find, oldest first: those after an epoch.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use wire::Record;
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Returns all that the peer may find, page by page.
    /// fn all(session: &ForeignSession) -> Vec<Record> {
    ///     let (mut records, mut after) = (Vec::new(), Some(0));
    ///     while let Some(epoch) = after {
    ///         let page = session.page(epoch);
    ///         records.extend(page.records);
    ///         after = page.next;
    ///     }
    ///     records
    /// }
    /// ```
    pub fn page(&self, after: Epoch) -> Page {
        self.list(&NamePattern::any(), after)
    }

    /// Ends a call that waits or watches.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use endpoints::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// # use std::time::Duration;
    /// # use wire::RemoteError;
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Waits for a name, but not for ever.
    /// async fn wait(session: &ForeignSession, name: callsign::Name) -> Result<bool, RemoteError> {
    ///     session.wait(1, name)?;
    ///     let answered = tokio::time::timeout(Duration::from_secs(5), session.answers()).await;
    ///     if answered.is_err() {
    ///         session.cancel(1);
    ///     }
    ///     Ok(answered.is_ok())
    /// }
    /// ```
    pub fn cancel(&self, call: CallId) {
        self.registry.with(|registry| registry.cancel(self.id, call));
    }

    /// Waits until there are answers to calls that waited, and returns each with the instances,
    /// the preferred first.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::ForeignSession;
    ///
    /// /// Says of each call that has waited how many are there now.
    /// async fn answer(session: &ForeignSession) {
    ///     for (call, records) in session.answers().await {
    ///         println!("call {call}: {} instances", records.len());
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is taken before it is returned.
    pub async fn answers(&self) -> Vec<(CallId, Vec<Record>)> {
        poll_fn(|cx| {
            // Watches are not a session's: there is no word of changes.
            self.handle.take_has_changes(cx);
            let mut answers = Vec::new();
            while let Some(name) = self.handle.present() {
                let answered = self.registry.with(|registry| {
                    let call = registry.take_wait(self.id, &name, &self.caller)?;
                    Some((call, registry.records(&Query::of(name.as_str()), &self.caller)))
                });
                match answered {
                    Some(answer) => answers.push(answer),
                    None => drop(self.handle.take_present()),
                }
            }
            if answers.is_empty() { Poll::Pending } else { Poll::Ready(answers) }
        })
        .await
    }
}

impl Drop for ForeignSession {
    fn drop(&mut self) {
        self.registry.close_session(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context};

    use wire::registrar::Register;

    use super::*;
    use crate::registry::{Grantee, Limits, NameRule, NameRules, Names, Owner};

    #[test]
    fn a_door_tells_nobody_what_a_rule_hides_from_him() {
        let registry = RegistryHandle::unattended(Limits::default());
        let hidden = NameRule {
            pattern: "db*".parse().unwrap(),
            register: None,
            find: Some(vec![Grantee::User(7)]),
            exclusive: false,
            instances_max: None,
            place: String::new(),
        };
        registry.set_rules(NameRules::new(Names::SameUser, String::new(), vec![hidden]));
        let (name, uuid): (Name, _) = ("db-main".parse().unwrap(), Uuid::from_u128(1));
        let session = registry.open_session(Arc::default(), &Owner::User(0).into());
        let register = Register::new(name.clone(), uuid);
        registry.register(register, &Owner::User(0).into(), session).0.unwrap();

        for (owner, expected) in [(7, true), (8, false), (0, true)] {
            let session = ForeignSession::new(registry.clone(), Owner::User(owner).into());
            session.wait(3, name.clone()).unwrap();
            let waited =
                pin!(session.answers()).poll(&mut Context::from_waker(std::task::Waker::noop()));
            let told = [
                !session.instances(&name).is_empty(),
                session.record(uuid).is_some(),
                !session.page(0).records.is_empty(),
                waited.is_ready(),
            ];
            assert_eq!(told, [expected; 4], "{owner}");
        }
    }
}
