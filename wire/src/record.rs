//! Records: a registrar's descriptions of instances.

use std::{collections::BTreeMap, fmt};

use endpoints::{InstanceId, Name, Stamped};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use uuid::Uuid;

use crate::{Owner, optional::or_default};

/// A number that a registrar issues for every registration; a later one is higher, also across
/// restarts of the registrar.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::Epoch;
///
/// let (earlier, later): (Epoch, Epoch) = (7, 8);
/// assert!(earlier < later, "the later registration has the higher one");
/// ```
pub type Epoch = u64;

/// A number that a registrar gives every change of its registry; a later one is higher.
///
/// ```
/// # mod callsign { pub use callsign_wire as registrar; }
/// use callsign::registrar::Revision;
///
/// let (seen, now): (Revision, Revision) = (7, 9);
/// assert!(seen < now, "something has changed since");
/// ```
pub type Revision = u64;

/// The most bytes of [`Record::metadata`], keys and values together.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;

/// A registrar's description of an instance.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::{Record, State};
///
/// fn is_new(record: &Record, now_ms: u64) -> bool {
///     record.state == State::Ready && now_ms.saturating_sub(record.since_ms) < 60_000
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The actor's name.
    pub name: Name,
    /// The identity of this run.
    pub uuid: Uuid,
    /// When it was registered, as a number that only grows.
    pub epoch: Epoch,
    /// Its endpoints, in the registrant's order.
    pub endpoints: Vec<Stamped>,
    /// The registrant's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The stage of its life.
    pub state: State,
    /// The reason why it is in the registry.
    pub lifetime: Lifetime,
    /// When it was registered by the registrar's clock, in milliseconds since 1970.
    pub since_ms: u64,
    /// Evidence against it that the registrar could not settle.
    pub suspicion: Option<Suspicion>,
    /// Whether it answers the protocol's handshake and proves there who it is. A program that
    /// knows nothing of the protocol does not.
    pub proves: bool,
    /// Its owner, from the registrar's kernel; `None` from a registrar that does not report owners.
    pub owner: Option<Owner>,
    /// For an exclusive name, a number that grows with every change of its holder. A resource that
    /// the holder uses remembers the highest one, to refuse former holders.
    pub token: Option<u64>,
    /// For an exclusive name, the number of waiters in line.
    pub waiting: u64,
    /// The node of the cluster that keeps it; `None` if the registrar that tells of it does.
    pub node: Option<Name>,
}

pub(crate) fn is_zero(it: &u64) -> bool {
    *it == 0
}

pub(crate) fn is_false(it: &bool) -> bool {
    !it
}

impl Record {
    /// Tells whether whoever waits for its name need not wait on: it is ready, has registered itself,
    /// and is known by now.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{Record, State};
    ///
    /// let feed = Record::new("feed".parse()?, uuid::Uuid::new_v4());
    /// assert!(feed.is_there());
    /// assert!(!Record { state: State::Draining, ..feed }.is_there());
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    pub fn is_there(&self) -> bool {
        let has_registered = self.lifetime != Lifetime::Declared;
        self.state == State::Ready && has_registered && !self.is_cut_off()
    }

    /// Tells whether the registrar is cut off from the node of its cluster that keeps it, so that it may
    /// be gone.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{Record, Suspicion};
    ///
    /// let feed = Record::new("feed".parse()?, uuid::Uuid::new_v4());
    /// let suspicion = Some(Suspicion { cut_off: true, ..Suspicion::default() });
    /// assert!(Record { suspicion, ..feed }.is_cut_off());
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    pub fn is_cut_off(&self) -> bool {
        self.suspicion.is_some_and(|it| it.cut_off)
    }

    /// Describes a ready instance that a session keeps, without endpoints and an owner.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{Lifetime, Record};
    ///
    /// let feed = Record::new("feed".parse()?, uuid::Uuid::new_v4());
    /// let declared = Record { lifetime: Lifetime::Declared, ..feed };
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    pub fn new(name: Name, uuid: Uuid) -> Self {
        Self {
            name,
            uuid,
            epoch: 0,
            endpoints: Vec::new(),
            metadata: BTreeMap::new(),
            state: State::Ready,
            lifetime: Lifetime::Session,
            since_ms: 0,
            suspicion: None,
            proves: false,
            owner: None,
            token: None,
            waiting: 0,
            node: None,
        }
    }

    /// Returns which instance this is.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::Record;
    ///
    /// /// Tells whether two records are of one run of an actor.
    /// fn are_one(record: &Record, other: &Record) -> bool {
    ///     record.instance() == other.instance()
    /// }
    /// ```
    pub fn instance(&self) -> InstanceId {
        InstanceId { name: self.name.clone(), uuid: self.uuid }
    }

    /// Returns the user whose it is, if it is a user's.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::Record;
    ///
    /// /// Returns whose an actor is, for people.
    /// fn whose(record: &Record) -> String {
    ///     record.user().map_or("nobody's here".to_owned(), |user| format!("user {user}'s"))
    /// }
    /// ```
    pub fn user(&self) -> Option<u32> {
        match self.owner {
            Some(Owner::User(user)) => Some(user),
            _ => None,
        }
    }
}

/// A user has its own field, which is older; all other owners share one.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let user = self.user();
        RecordToWrite {
            name: &self.name,
            uuid: self.uuid,
            epoch: self.epoch,
            endpoints: &self.endpoints,
            metadata: &self.metadata,
            state: self.state,
            lifetime: self.lifetime,
            since_ms: self.since_ms,
            suspicion: self.suspicion,
            proves: self.proves,
            user,
            owner: self.owner.as_ref().filter(|_| user.is_none()),
            token: self.token,
            waiting: self.waiting,
            node: self.node.as_ref(),
        }
        .serialize(to)
    }
}

/// A record as it is written.
#[derive(Serialize)]
#[serde(rename = "Record")]
struct RecordToWrite<'a> {
    name: &'a Name,
    uuid: Uuid,
    epoch: Epoch,
    endpoints: &'a [Stamped],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    state: State,
    lifetime: Lifetime,
    since_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspicion: Option<Suspicion>,
    #[serde(skip_serializing_if = "is_false")]
    proves: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a Owner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    waiting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a Name>,
}

/// The stage of an instance's life.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::State;
///
/// assert_eq!(State::Draining.to_string(), "draining");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It runs, and does not listen yet.
    Starting,
    /// It can be connected to.
    Ready,
    /// It finishes its work, and accepts no more.
    Draining,
    /// A state that this version does not know. A registrar accepts none.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Unknown => "unknown",
        })
    }
}

/// The reason why a record is in the registry.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::Lifetime;
///
/// assert_eq!(Lifetime::Lease { ttl_ms: 30_000 }.ttl_ms(), Some(30_000));
/// assert_eq!(Lifetime::Session.ttl_ms(), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// The connection over which it was registered.
    Session,
    /// A time to live that is renewed.
    Lease {
        /// The time to live.
        ttl_ms: u64,
    },
    /// The registrar's own settings: nothing shows that it runs.
    Declared,
    /// The registrar's own watch: it was registered through an adapter for another protocol, over a
    /// connection that has ended, and the registrar watches whether it lives.
    Foreign,
    /// A lifetime that this version does not know. A registrar has none.
    Unknown,
}

impl Lifetime {
    /// Returns a lease's time to live; `None` for anything else.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::Lifetime;
    ///
    /// assert_eq!(Lifetime::Lease { ttl_ms: 30_000 }.ttl_ms(), Some(30_000));
    /// assert_eq!(Lifetime::Session.ttl_ms(), None);
    /// ```
    pub fn ttl_ms(self) -> Option<u64> {
        match self {
            Self::Lease { ttl_ms } => Some(ttl_ms),
            Self::Session | Self::Declared | Self::Foreign | Self::Unknown => None,
        }
    }
}

/// Reads the output of the derived `Serialize` and of any later version: a word, or a map from a
/// word to its details. `#[serde(other)]` would read words only.
impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeptVisitor;

        impl<'de> Visitor<'de> for KeptVisitor {
            type Value = Lifetime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("what keeps a record")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Lifetime, E> {
                Ok(match word {
                    "session" => Lifetime::Session,
                    "declared" => Lifetime::Declared,
                    "foreign" => Lifetime::Foreign,
                    _ => Lifetime::Unknown,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lifetime, A::Error> {
                let mut lifetime = Lifetime::Unknown;
                while let Some(word) = map.next_key::<String>()? {
                    if word == "lease" {
                        let Lease { ttl_ms } = map.next_value()?;
                        lifetime = Lifetime::Lease { ttl_ms };
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(lifetime)
            }
        }

        #[derive(Deserialize)]
        struct Lease {
            ttl_ms: u64,
        }

        deserializer.deserialize_any(KeptVisitor)
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Session => "session",
            Self::Lease { .. } => "lease",
            Self::Declared => "declared",
            Self::Foreign => "foreign",
            Self::Unknown => "unknown",
        })
    }
}

/// Evidence against an instance that the registrar could not settle.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::Suspicion;
///
/// let suspicion = Suspicion { reports: 2, silent: true, ..Suspicion::default() };
/// assert!(suspicion.silent, "its process does not answer");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub struct Suspicion {
    /// The number of reports that it does not answer.
    pub reports: u32,
    /// Since when something speaks against it by the registrar's clock, in milliseconds since
    /// 1970.
    pub since_ms: u64,
    /// Whether the process whose session keeps it gives no sign of life.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// Whether another node of the cluster keeps it, and the registrar is cut off from that: what it
    /// knows of the instance is from before.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
}

/// Why an instance is no longer in the registry.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::RemovalReason;
///
/// assert_eq!(RemovalReason::SessionEnded.to_string(), "its session ended");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemovalReason {
    /// Its registrant removed it.
    Unregistered,
    /// The session that kept it ended.
    SessionEnded,
    /// Its lease was not renewed.
    LeaseExpired,
    /// The registrar looked, and found nobody there.
    FoundDead,
    /// The process that registered it has ended.
    ProcessEnded,
    /// The node of the cluster that kept it is gone.
    NodeLost,
    /// It has not come back since its registrar was away: a watcher concludes this by itself, and no
    /// registrar sends it.
    Missed,
    /// A reason that this version does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unregistered => "unregistered",
            Self::SessionEnded => "its session ended",
            Self::LeaseExpired => "its lease ran out",
            Self::FoundDead => "found dead",
            Self::ProcessEnded => "its process ended",
            Self::NodeLost => "its node is gone",
            Self::Missed => "not back since the registrar was away",
            Self::Unknown => "gone",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode_body, encode_body};

    #[test]
    fn lifetimes_of_later_versions_are_read() {
        let read = |body: Vec<u8>| decode_body::<Lifetime>(&body).ok();
        for lifetime in [
            Lifetime::Session,
            Lifetime::Lease { ttl_ms: 3000 },
            Lifetime::Declared,
            Lifetime::Foreign,
        ] {
            assert_eq!(read(encode_body(&lifetime)), Some(lifetime));
        }
        let more = BTreeMap::from([("lease", BTreeMap::from([("by", 7), ("ttl_ms", 5)]))]);
        assert_eq!(read(encode_body(&more)), Some(Lifetime::Lease { ttl_ms: 5 }));
        assert_eq!(read(encode_body(&"replica")), Some(Lifetime::Unknown));
        let replica = BTreeMap::from([("replica", BTreeMap::from([("of", ["a", "b"])]))]);
        assert_eq!(read(encode_body(&replica)), Some(Lifetime::Unknown));

        let endless = BTreeMap::from([("lease", BTreeMap::from([("by", 7)]))]);
        for bad in [encode_body(&7), encode_body(&["session"]), encode_body(&endless)] {
            assert_eq!(read(bad), None);
        }
    }
}
