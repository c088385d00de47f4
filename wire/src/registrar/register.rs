//! Calls that enter, change and remove instances.

use std::collections::BTreeMap;

use endpoints::{InstanceId, Name, Stamped};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    InstanceSecret, Owner, Proof, ProofKey,
    callbacks::Lost,
    optional::or_default,
    readable,
    record::{Epoch, Revision, State, is_false},
};

/// The most endpoints of an instance: more than any host has transports and interfaces for.
pub const ENDPOINTS_MAX: usize = InstanceId::ENDPOINTS_MAX;

/// The most instances that one call removes: they fit a frame of 64 KiB, and a registrar is done
/// with them in some milliseconds.
pub const UNREGISTER_MAX: usize = 2048;

/// The shortest lease; a shorter one is lost to any pause of a scheduler.
pub const LEASE_MS_MIN: u64 = 100;

/// The longest lease, a day: for longer ones a declared entry is better.
pub const LEASE_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Registers an instance. The same instance again, from the same owner, replaces the
/// earlier registration and gets a new epoch.
///
/// ```
/// # mod callsign { pub use {callsign_wire::*, endpoints::*};
/// # pub mod registrar { pub use callsign_wire::registrar::*; } }
/// use callsign::{Stamped, registrar::Register};
///
/// let endpoints = vec![Stamped::bare("/ip4/192.0.2.7/tcp/80".parse()?)];
/// let feed = Register {
///     endpoints,
///     lease_ms: Some(30_000),
///     ..Register::new("feed".parse()?, uuid::Uuid::new_v4())
/// };
/// assert_eq!(feed.endpoints.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Register {
    /// The actor's name.
    pub name: Name,
    /// The identity of this run.
    pub uuid: Uuid,
    /// Its endpoints: at most [`ENDPOINTS_MAX`].
    #[serde(deserialize_with = "readable::stamped")]
    pub endpoints: Vec<Stamped>,
    /// Its metadata: at most [`METADATA_BYTES_MAX`](crate::METADATA_BYTES_MAX).
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, String>,
    /// The stage of its life.
    pub state: State,
    /// Its time to live without a renewal, between [`LEASE_MS_MIN`] and
    /// [`LEASE_MS_MAX`]; without it, it lives as long as the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// Whether it answers the protocol's handshake, and proves its identity.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub proves: bool,
    /// From a returning registrant: the epoch of its latest registration with this registrar. If
    /// that was removed meanwhile, the instance is not registered again, but
    /// [reported](Registered::lost).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Epoch>,
    /// Whether it waits in line if another instance has the exclusive name: the
    /// answer comes when it has the name. Otherwise it is refused.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub wait: bool,
    /// From a returning registrant: the [token](crate::Record::token) by which it has the name. A
    /// registrar that has just started serves it before those who wait, if it
    /// [proves](Self::resume) that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// The [proof](Registered::resume) that came with that token: without it, the registrant is a
    /// newcomer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Proof>,
    /// Shows that the UUID was drawn here: another registration of it gives way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<InstanceSecret>,
}

impl Register {
    /// Makes the registration of an instance that is ready, lives with its session and listens
    /// nowhere.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_wire::*, endpoints::*};
    /// # pub mod registrar { pub use callsign_wire::registrar::*; } }
    /// use callsign::{State, registrar::Register};
    ///
    /// let feed = Register::new("feed".parse()?, uuid::Uuid::new_v4());
    /// assert_eq!((feed.state, feed.lease_ms), (State::Ready, None));
    /// # Ok::<(), callsign::NameError>(())
    /// ```
    pub fn new(name: Name, uuid: Uuid) -> Self {
        Self {
            name,
            uuid,
            endpoints: Vec::new(),
            metadata: BTreeMap::new(),
            state: State::Ready,
            lease_ms: None,
            proves: false,
            again: None,
            wait: false,
            token: None,
            resume: None,
            secret: None,
        }
    }
}

/// Says that an instance is registered.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_wire::registrar::*; } }
/// use callsign::registrar::Registered;
///
/// /// Tells whether an instance has an exclusive name, by a token.
/// fn is_holder(registered: &Registered) -> bool {
///     registered.lost.is_none() && registered.token.is_some()
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Registered {
    /// The number of this registration.
    pub epoch: Epoch,
    /// The change that brought it.
    pub revision: Revision,
    /// The key with which the instance proves that this registration is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ProofKey>,
    /// The [token](crate::Record::token) of an exclusive name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// The proof, for this registrar after a restart, that the instance held its name by that token.
    /// For the registrant only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Proof>,
    /// The reason why it is not registered: only for a [returning](Register::again) registrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Box<Lost>>,
    /// Other instances of the same owner at one of its places, which are either its aliases or
    /// behind the times: the latest of them, at most [`ALSO_MAX`].
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<InstanceId>,
}

/// The most other instances that a [`Registered`] names.
pub const ALSO_MAX: usize = 8;

/// Says that a change is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Changed {
    /// The registry's revision after it.
    pub revision: Revision,
}

/// Asks for the line for an exclusive name.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct AskLine {
    /// The whole name.
    pub name: Name,
    /// The instance whose place is wanted, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
}

/// The line for an exclusive name.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Line {
    /// Its length.
    pub total: u64,
    /// The number of waiters before the requested instance, if that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    /// The first of them, in their order: at most [`LINE_MAX`].
    pub waiting: Vec<InLine>,
}

/// The most instances that a [`Line`] names.
pub const LINE_MAX: usize = 256;

/// An instance that waits in line for its name.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct InLine {
    /// The instance.
    pub uuid: Uuid,
    /// Its owner.
    pub owner: Owner,
    /// The start of its wait, in milliseconds since 1970 by the registrar's clock.
    pub since_ms: u64,
}

/// Changes an instance's registration. Absent fields stay as they are.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Update {
    /// The instance.
    pub uuid: Uuid,
    /// Its new endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "readable::some_stamped")]
    pub endpoints: Option<Vec<Stamped>>,
    /// Its new metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Its new state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
}

/// Removes an instance from the registry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Unregister {
    /// The instance.
    pub uuid: Uuid,
}

/// Removes several instances from the registry, in one change. Missing ones are skipped;
/// if the caller may not remove all the others, none is removed.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct UnregisterAll {
    /// The instances: at most [`UNREGISTER_MAX`].
    pub uuids: Vec<Uuid>,
}

/// Renews the lease of an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Renew {
    /// The instance.
    pub uuid: Uuid,
}
