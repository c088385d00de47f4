//! The requests of adapters to the registry, for any of their peers.

use std::time::Duration;

use endpoints::{Name, NamePattern, Stamped};
use transport::{DialError, Stream};
use uuid::Uuid;
use wire::{
    Epoch, Record, RemoteError, State,
    registrar::{List, Query, Update},
};

use super::RegistryHandle;
use crate::{
    ForeignSession,
    registry::{Caller, Event, Foreign, Owner},
    rights::dial_for,
    verify::{Look, look_at},
};

impl RegistryHandle {
    /// Returns the first 256 instances of a name in whatever state: live ones first, then declared
    /// ones, each newest first.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # use callsign::{RegistryHandle, registry::Limits};
    /// # use endpoints::Name;
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// assert!(registry.instances(&Name::new("feed")?).is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn instances(&self, name: &Name) -> Vec<Record> {
        self.instances_for(name, &Owner::Registrar.into())
    }

    /// Returns those that a caller may find of the [`instances`](Self::instances) of a name.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{RegistryHandle, Limits};
    /// # use endpoints::Name;
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// use callsign::registrar::Owner;
    ///
    /// let by = Owner::Host("192.0.2.7".parse()?).into();
    /// assert!(registry.instances_for(&Name::new("feed")?, &by).is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn instances_for(&self, name: &Name, caller: &Caller) -> Vec<Record> {
        self.records(&Query { all: true, ..Query::of(name.as_str()) }, caller)
    }

    /// Returns the registered names that a caller may find: all of them, up to some thousands.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{RegistryHandle, Limits};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// use callsign::registrar::Owner;
    ///
    /// assert!(registry.names_for(&Owner::User(1000).into()).is_empty());
    /// ```
    pub fn names_for(&self, caller: &Caller) -> Vec<String> {
        let list = List { pattern: NamePattern::any(), after: 0 };
        let (page, _steps) = self.read(|registry| registry.names(&list, caller, None));
        page.names
    }

    /// Registers a foreign instance again for an absent registrant, as
    /// [`ForeignSession::register`](crate::ForeignSession::register) did when it was connected: the
    /// rules of names allowed it then.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use std::collections::BTreeMap;
    /// # use endpoints::Name;
    /// # use uuid::Uuid;
    /// use callsign::registrar::{RegistryHandle, Foreign, Limits, Owner};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// let (name, uuid) = (Name::new("chat")?, Uuid::new_v4());
    /// let written = Foreign { name, uuid, endpoint: None, metadata: BTreeMap::new() };
    /// assert!(registry.remember_foreign(written.clone(), Owner::User(1000))?.is_some());
    /// assert!(registry.remember_foreign(written, Owner::User(1000))?.is_none(), "it is there");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// That of the registry; nothing has changed then.
    pub fn remember_foreign(
        &self,
        foreign: Foreign,
        owner: Owner,
    ) -> Result<Option<Epoch>, RemoteError> {
        self.remember(foreign, &Caller { is_trusted: true, ..owner.into() })
    }

    /// Registers a foreign instance again as [`remember_foreign`](Self::remember_foreign) does. If a
    /// cluster decides who has its name, this waits until the cluster can, and the name is free.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use wire::{Epoch, RemoteError};
    /// use callsign::registrar::{RegistryHandle, Foreign, Owner};
    ///
    /// /// Registers an actor of an earlier run, whoever decides about its name.
    /// async fn again(registry: &RegistryHandle, actor: Foreign) -> Result<Option<Epoch>, RemoteError> {
    ///     registry.return_foreign(actor, Owner::User(1000)).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// That of the registry; nothing has changed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait, and leaves nothing registered that it has not returned.
    pub async fn return_foreign(
        &self,
        foreign: Foreign,
        owner: Owner,
    ) -> Result<Option<Epoch>, RemoteError> {
        let caller = Caller { is_trusted: true, ..owner.into() };
        ForeignSession::new(self.clone(), caller).enter_again(foreign).await
    }

    /// Says since when, in milliseconds since 1970, a foreign instance is there that an earlier run of
    /// the registrar has registered.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use std::collections::BTreeMap;
    /// # use endpoints::Name;
    /// # use uuid::Uuid;
    /// use callsign::registrar::{RegistryHandle, Foreign, Limits, Owner};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// let (name, uuid) = (Name::new("chat")?, Uuid::new_v4());
    /// let written = Foreign { name, uuid, endpoint: None, metadata: BTreeMap::new() };
    /// let epoch = registry.remember_foreign(written, Owner::User(1000))?.expect("it is new");
    /// registry.is_there_since(uuid, epoch, 7);
    /// assert_eq!(registry.record(uuid).map(|it| it.since_ms), Some(7));
    /// // It is not there since a later time.
    /// registry.is_there_since(uuid, epoch, u64::MAX);
    /// assert_eq!(registry.record(uuid).map(|it| it.since_ms), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_there_since(&self, uuid: Uuid, epoch: Epoch, since_ms: u64) {
        self.with(|registry| registry.is_there_since(uuid, epoch, since_ms));
    }

    /// Tells whether a name is exclusive, and a cluster decides who has it.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert!(!registry.is_decided_elsewhere(&"feed".parse()?), "there is no cluster");
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    pub fn is_decided_elsewhere(&self, name: &Name) -> bool {
        self.read(|registry| registry.is_decided_elsewhere(name))
    }

    /// Says that all endpoints of an instance are registered.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use std::collections::BTreeMap;
    /// # use endpoints::Name;
    /// # use uuid::Uuid;
    /// # use wire::State;
    /// use callsign::registrar::{RegistryHandle, Foreign, Limits, Owner};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// let (name, uuid) = (Name::new("chat")?, Uuid::new_v4());
    /// let written = Foreign { name, uuid, endpoint: None, metadata: BTreeMap::new() };
    /// registry.remember_foreign(written, Owner::User(1000))?;
    /// assert_eq!(registry.record(uuid).map(|it| it.state), Some(State::Starting));
    /// registry.settle(uuid, Owner::User(1000));
    /// assert_eq!(registry.record(uuid).map(|it| it.state), Some(State::Ready));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settle(&self, uuid: Uuid, by: Owner) {
        let ready = Some(State::Ready);
        let update = Update { uuid, endpoints: None, metadata: None, state: ready };
        self.note(Event::Update { update, by });
    }

    /// Returns the owner of an instance.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use std::collections::BTreeMap;
    /// # use endpoints::Name;
    /// # use uuid::Uuid;
    /// use callsign::registrar::{RegistryHandle, Foreign, Limits, Owner};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// let (name, uuid) = (Name::new("chat")?, Uuid::new_v4());
    /// # let written = Foreign { name, uuid, endpoint: None, metadata: BTreeMap::new() };
    /// registry.remember_foreign(written, Owner::User(1000))?;
    /// assert_eq!(registry.owner(uuid), Some(Owner::User(1000)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn owner(&self, uuid: Uuid) -> Option<Owner> {
        self.read(|registry| registry.owner(uuid))
    }

    /// Looks at an endpoint of an instance without connecting to it. `None` means that only a
    /// connection can tell, and that one is permitted: the registrant could make it as well, or
    /// speaks from there.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use wire::Record;
    /// use callsign::registrar::RegistryHandle;
    ///
    /// /// Tells whether an adapter may dial a program to see how it is.
    /// async fn may_dial(registry: &RegistryHandle, record: &Record) -> bool {
    ///     let Some(first) = record.endpoints.first() else { return false };
    ///     registry.look_at(record.uuid, first).await.is_none()
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn look_at(&self, uuid: Uuid, stamped: &Stamped) -> Option<Look> {
        look_at(self, uuid, stamped).await
    }

    /// Connects to an endpoint of an instance that may be connected to, as
    /// [`look_at`](Self::look_at) says, with no more rights than its registrant has.
    ///
    /// # Errors
    ///
    /// [`DialError`] tells what happened: [`NoPermission`](DialError::NoPermission) if the path leads
    /// to another user's socket by now.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future drops the attempt.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use endpoints::Stamped;
    /// # use transport::DIAL_TIMEOUT;
    /// # use uuid::Uuid;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// let anywhere = Stamped::bare("/ip4/192.0.2.7/tcp/22".parse()?);
    /// assert!(registry.dial(Uuid::new_v4(), &anywhere, DIAL_TIMEOUT).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn dial(
        &self,
        uuid: Uuid,
        stamped: &Stamped,
        limit: Duration,
    ) -> Result<Stream, DialError> {
        match self.owner(uuid) {
            Some(registrant) => dial_for(stamped, registrant, limit).await,
            None => Err(DialError::NoPermission),
        }
    }

    /// Returns the record of an instance.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # use callsign::{RegistryHandle, registry::Limits};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// assert_eq!(registry.record(uuid::Uuid::new_v4()), None, "nobody has registered it");
    /// ```
    pub fn record(&self, uuid: Uuid) -> Option<Record> {
        self.read(|registry| registry.record(uuid))
    }

    /// Returns the record of an instance, if the caller may find it.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{RegistryHandle, Limits};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// use callsign::registrar::Owner;
    ///
    /// let by = Owner::User(1000).into();
    /// assert_eq!(registry.record_for(uuid::Uuid::new_v4(), &by), None, "nobody has registered it");
    /// ```
    pub fn record_for(&self, uuid: Uuid, by: &Caller) -> Option<Record> {
        self.read(|registry| registry.record_for(uuid, by))
    }
}
