//! The calls that a registrar answers: names, arguments and results.
//!
//! | method | argument | result |
//! |---|---|---|
//! | [`REGISTER`] | [`Register`] | [`Registered`], immediately or when its turn comes |
//! | [`LINE`] | [`AskLine`] | [`Line`] |
//! | [`UPDATE`] | [`Update`] | [`Changed`] |
//! | [`UNREGISTER`] | [`Unregister`] | [`Changed`] |
//! | [`RENEW`] | [`Renew`] | [`Changed`] |
//! | [`QUERY`] | [`Query`] | [`Answer`] |
//! | [`FIND`] | [`Query`] | [`Located`] |
//! | [`WAIT`] | [`Wait`] | [`Answer`], once there is an instance |
//! | [`LIST`] | [`List`] | [`Page`] |
//! | [`NAMES`] | [`List`] | [`NamesPage`] |
//! | [`WATCH`] | [`Watch`] | [`Watching`] as the started value, then [`Change`]s as items |
//! | [`REPORT`] | [`Report`] | [`Changed`] |
//! | [`STATUS`] | nothing | [`Status`] |
//! | [`OWNERS`] | nothing | [`Owners`] |
//! | [`WHOAMI`] | nothing | [`Whoami`](crate::Whoami) |

use std::iter;

use endpoints::{Endpoint, InstanceId, Name, NamePattern};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Owed, Owner, OwnerUse, Proof, WireError,
    body::short_str,
    decode_body,
    optional::or_default,
    readable::{self, WrittenRecord},
    record::{Epoch, Record, RemovalReason, Revision, is_false, is_zero},
};

mod again;
mod canonical;
mod cluster;
mod register;

pub use again::UnreadRegister;
pub use cluster::{ClusterNode, ClusterStatus};
pub use register::{
    ALSO_MAX, AskLine, Changed, ENDPOINTS_MAX, InLine, LEASE_MS_MAX, LEASE_MS_MIN, LINE_MAX, Line,
    Register, Registered, Renew, UNREGISTER_MAX, Unregister, UnregisterAll, Update,
};

/// Registers an instance, with all of its endpoints in one step.
pub const REGISTER: &str = "registrar.register";
/// Asks for the line for an exclusive name.
pub const LINE: &str = "registrar.line";
/// Changes an instance's registration.
pub const UPDATE: &str = "registrar.update";
/// Takes an instance out of the registry.
pub const UNREGISTER: &str = "registrar.unregister";
/// Takes several instances out of the registry, in one change.
pub const UNREGISTER_ALL: &str = "registrar.unregister-all";
/// Renews the lease of an instance.
pub const RENEW: &str = "registrar.renew";
/// Looks up the instances of a name.
pub const QUERY: &str = "registrar.query";
/// Looks up the instances of a name, to dial them: each comes with a challenge and its proof.
pub const FIND: &str = "registrar.find";
/// Looks up the instances of a name, and waits for one if there is none.
pub const WAIT: &str = "registrar.wait";
/// Lists instances, a page at a time.
pub const LIST: &str = "registrar.list";
/// Lists names only, many at a time: for completion.
pub const NAMES: &str = "registrar.names";
/// Watches the instances of a name or a pattern.
pub const WATCH: &str = "registrar.watch";
/// Reports that an endpoint did not answer.
pub const REPORT: &str = "registrar.report";
/// Asks how the registrar is.
pub const STATUS: &str = "registrar.status";
/// Asks what each owner uses of the registrar, and how much it may.
pub const OWNERS: &str = "registrar.owners";

/// The most owners of one [`Owners`]: those that use the most memory.
pub const OWNERS_MAX: usize = 256;
/// Asks for the caller's identity and rights, as the registrar sees them.
pub const WHOAMI: &str = "registrar.whoami";

/// The most records of one [`Answer`] or [`Page`].
pub const RECORDS_MAX: u32 = 256;

/// The most bytes of all records of one [`Answer`] or [`Page`] but for the first of them: the
/// usual 256 take a quarter of it. It is what an answer costs the registrar that nobody reads.
pub const RECORDS_BYTES_MAX: usize = 256 * 1024;

/// Looks up the instances of a name.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Query<'a> {
    /// The whole name.
    pub name: &'a str,
    /// Whether starting and draining instances are included.
    #[serde(default, deserialize_with = "or_default")]
    pub all: bool,
    /// The required owner, if any. Others are left out before the answer is cut off, so that nobody
    /// hides another's instances behind many of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

impl<'a> Query<'a> {
    /// Looks up the ready instances of a name, of any owner.
    pub fn of(name: &'a str) -> Self {
        Self { name, all: false, owner: None }
    }

    /// Reads a query, quickly if it is written just as [`encode_body`](crate::encode_body) writes
    /// it.
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] when the bytes are no query.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let canonical = || {
            let (name, rest) = short_str(bytes.strip_prefix(b"\x82\xa4name")?)?;
            match rest.strip_prefix(b"\xa3all")? {
                [0xc2] => Some(Self::of(name)),
                [0xc3] => Some(Self { all: true, ..Self::of(name) }),
                _ => None,
            }
        };
        match canonical() {
            Some(query) => Ok(query),
            None => decode_body(bytes),
        }
    }
}

/// The instances of a name: live ones first, declared ones after them, each newest first; the first
/// [`RECORDS_MAX`] of them, up to [`RECORDS_BYTES_MAX`].
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Answer {
    /// The registry's revision.
    pub revision: Revision,
    /// The registrar's clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// The number of instances in any state; of the requested owner, if there is one.
    pub total: u64,
    /// The instances.
    #[serde(deserialize_with = "readable::records")]
    pub records: Vec<Record>,
}

/// The instances of a name, with the proofs by which to recognise them.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(from = "WrittenLocated")]
pub struct Located {
    /// The instances.
    pub answer: Answer,
    /// The registrar that draws the challenges.
    pub registrar: Uuid,
    /// The [nonce](crate::Challenge::nonce) of all challenges.
    pub nonce: Uuid,
    /// The response that each instance owes to its challenge, in the order of the answer's records;
    /// `None` for one that does not [prove](Record::proves) its identity.
    pub proofs: Vec<Option<Proof>>,
    /// What the response of each instance is made of over TLS; empty if none of them listens there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub over_tls: Vec<Option<Proof>>,
    /// In whose name each instance is challenged, if not in the `registrar`'s: another node of its
    /// cluster; empty if that is so of none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub homes: Vec<Option<Uuid>>,
}

impl Located {
    /// Returns by what to recognise the proof of each instance, in the order of the records.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::registrar::Located;
    ///
    /// /// Counts the instances that can be recognised.
    /// fn count(located: &Located) -> usize {
    ///     located.owed().flatten().count()
    /// }
    /// ```
    pub fn owed(&self) -> impl Iterator<Item = Option<Owed>> {
        let over_tls = self.over_tls.iter().copied().chain(iter::repeat(None));
        let owed = self.proofs.iter().zip(over_tls);
        owed.map(|(proof, over_tls)| proof.map(|proof| Owed { proof, over_tls }))
    }

    /// Returns in whose name an instance is challenged, by its place among the records.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::registrar::Located;
    ///
    /// /// Tells whether another registrar keeps the first instance.
    /// fn is_elsewhere(located: &Located) -> bool {
    ///     located.challenger(0) != located.registrar
    /// }
    /// ```
    pub fn challenger(&self, at: usize) -> Uuid {
        self.homes.get(at).copied().flatten().unwrap_or(self.registrar)
    }
}

/// A [`Located`] as written: its proofs are in the order of its records.
#[derive(Deserialize)]
pub(crate) struct WrittenLocated {
    pub(crate) answer: WrittenAnswer,
    pub(crate) registrar: Uuid,
    pub(crate) nonce: Uuid,
    pub(crate) proofs: Vec<Option<Proof>>,
    #[serde(default)]
    pub(crate) over_tls: Vec<Option<Proof>>,
    #[serde(default)]
    pub(crate) homes: Vec<Option<Uuid>>,
}

#[derive(Deserialize)]
pub(crate) struct WrittenAnswer {
    pub(crate) revision: Revision,
    pub(crate) now_ms: u64,
    pub(crate) total: u64,
    pub(crate) records: Vec<WrittenRecord>,
}

impl From<WrittenLocated> for Located {
    fn from(it: WrittenLocated) -> Self {
        let WrittenLocated { answer, registrar, nonce, proofs, over_tls, homes } = it;
        let WrittenAnswer { revision, now_ms, total, records } = answer;
        let mut read = Vec::with_capacity(records.len());
        let mut theirs = (Vec::new(), Vec::new(), Vec::new());
        let (mut proofs, mut over_tls) = (proofs.into_iter(), over_tls.into_iter());
        let mut homes = homes.into_iter();
        for record in records {
            let (proof, over_tls, home) = (proofs.next(), over_tls.next(), homes.next());
            if let Ok(record) = record.try_into() {
                read.push(record);
                theirs.0.extend(proof);
                theirs.1.extend(over_tls);
                theirs.2.extend(home);
            }
        }
        let answer = Answer { revision, now_ms, total, records: read };
        let (proofs, over_tls, homes) = theirs;
        Self { answer, registrar, nonce, proofs, over_tls, homes }
    }
}

/// Looks up the instances of a name, and waits until one that is not declared is ready.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Wait {
    /// The whole name.
    pub name: Name,
}

/// Lists instances, oldest first, a page at a time.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct List {
    /// The names.
    pub pattern: NamePattern,
    /// Begins after this epoch: the [`Page::next`] of the page before.
    #[serde(default, deserialize_with = "or_default")]
    pub after: Epoch,
}

/// A page of a list: at most [`RECORDS_MAX`] instances, fewer if they are long. A page that is not
/// the last may be empty, after many names that did not match.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_wire::registrar::*; } }
/// use callsign::registrar::Page;
///
/// /// Returns where the page after this one begins.
/// fn next(page: &Page) -> Option<u64> {
///     println!("{} instances at revision {}", page.records.len(), page.revision);
///     page.next
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Page {
    /// The registry's revision.
    pub revision: Revision,
    /// The registrar's clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// The start of the next page, if there is one.
    pub next: Option<Epoch>,
    /// The instances.
    #[serde(deserialize_with = "readable::records")]
    pub records: Vec<Record>,
}

/// Lists names, a page at a time.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ListNames {
    /// The names.
    pub pattern: NamePattern,
    /// Begins after this epoch: the [`NamesPage::next`] of the page before.
    #[serde(default, deserialize_with = "or_default")]
    pub after: Epoch,
    /// The most names of a page: of more, the first in order are left, and the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few: Option<u32>,
}

/// A page of names, each once. A page that is not the last may be empty, after many names that did
/// not match.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct NamesPage {
    /// The start of the next page, if there is one.
    pub next: Option<Epoch>,
    /// The names, in no order; of a later version there may be some that are no names here.
    pub names: Vec<String>,
}

impl NamesPage {
    /// Leaves at most so many names: of more, the first in order, and the last, so that what all of
    /// them begin with stays the same.
    ///
    /// ```
    /// use callsign_wire::registrar::NamesPage;
    ///
    /// let names = ["web", "feed", "price", "desk"].map(str::to_owned).into();
    /// let mut page = NamesPage { next: None, names };
    /// page.keep_few(3);
    /// page.names.sort();
    /// assert_eq!(page.names, ["desk", "feed", "web"]);
    /// ```
    pub fn keep_few(&mut self, few: usize) {
        let names = &mut self.names;
        let Some(first) = few.checked_sub(1) else { return names.clear() };
        if names.len() > few {
            let (_, _, others) = names.select_nth_unstable(first);
            let last = others.iter_mut().max().map(std::mem::take);
            names.truncate(first);
            names.extend(last);
        }
    }
}

/// Watches the instances of a name or a pattern.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Watch {
    /// The names.
    pub pattern: NamePattern,
    /// The watcher's last position; the registrar continues from there if it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// A watcher's position.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Seen {
    /// With which registrar: its [`Hello::registrar`](crate::Hello::registrar).
    pub registrar: Uuid,
    /// Up to which change.
    pub revision: Revision,
}

/// The started value of a watch.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Watching {
    /// The registry's revision.
    pub revision: Revision,
    /// The registrar's clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// Whether it continues at the watcher's position; otherwise a [`Change::Reset`] follows.
    pub resumed: bool,
}

/// An item of a watch.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_wire::registrar::*; } }
/// use callsign::registrar::Change;
///
/// /// Says what has come and gone.
/// fn show(change: &Change) {
///     match change {
///         Change::Add { record, .. } => println!("+ {}", record.name),
///         Change::Remove { instance, reason, .. } => println!("- {instance} {reason}"),
///         _ => {}
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Forget everything: the present state follows, as [`Change::Add`]s up to [`Change::Synced`].
    /// Sent at the beginning, and to a watcher that could not keep up.
    Reset,
    /// The snapshot is complete.
    Synced {
        /// All changes up to this one are in it.
        revision: Revision,
    },
    /// An instance is there.
    Add {
        /// The instance.
        record: Record,
        /// The change that brought it, or that a snapshot has reached.
        revision: Revision,
    },
    /// Something about an instance is different.
    Update {
        /// The instance, as it is now.
        record: Record,
        /// The change.
        revision: Revision,
    },
    /// An instance is gone.
    Remove {
        /// The instance.
        instance: InstanceId,
        /// Its last epoch.
        epoch: Epoch,
        /// Why.
        reason: RemovalReason,
        /// The change.
        revision: Revision,
    },
}

/// Reports that an endpoint did not answer. It is evidence, which the registrar examines; it
/// deletes nothing by itself.
///
/// ```
/// # mod callsign { pub use callsign_wire::{*, registrar::*}; }
/// use callsign::{Evidence, Record, Report};
/// use uuid::Uuid;
///
/// let record = Record::new("feed".parse()?, Uuid::from_u128(7));
/// let endpoint = "/unix/run/feed.sock".parse()?;
/// let (uuid, epoch) = (record.uuid, record.epoch);
/// let report = Report { uuid, epoch, endpoint, evidence: Evidence::Missing };
/// # drop(report);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Report {
    /// The instance that was meant.
    pub uuid: Uuid,
    /// Its registration.
    pub epoch: Epoch,
    /// The endpoint that was dialed.
    pub endpoint: Endpoint,
    /// The result of the dial.
    pub evidence: Evidence,
}

/// The result of a failed dial.
///
/// ```
/// # use callsign_wire::registrar as callsign;
/// use callsign::Evidence;
///
/// let evidence = Evidence::Refused;
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Nobody listens.
    Refused,
    /// The socket file is not there.
    Missing,
    /// The path leads to something that is not a socket.
    NotASocket,
    /// Another socket, or another actor, was there.
    OtherIdentity,
    /// No answer came in time.
    TimedOut,
    /// The dialer may not connect.
    NoPermission,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A registrar's status.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::registrar::Status;
///
/// fn summary(status: &Status) -> String {
///     format!("{} instances of {} sessions", status.instances, status.sessions)
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Status {
    /// The registrar.
    pub registrar: Uuid,
    /// The software and its version.
    pub agent: String,
    /// The registry's revision.
    pub revision: Revision,
    /// The time since its start.
    pub uptime_ms: u64,
    /// The number of its connections.
    pub sessions: u64,
    /// The number of its instances.
    pub instances: u64,
    /// The number of callers that wait for a name.
    pub waiters: u64,
    /// The number of watches.
    pub watchers: u64,
    /// The number of instances that wait in line for a name.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub in_line: u64,
    /// Its listeners.
    #[serde(deserialize_with = "readable::endpoints")]
    pub endpoints: Vec<Endpoint>,
    /// The addresses that others use, with the present addresses of a wildcard. Absent from earlier
    /// versions.
    #[serde(
        default,
        deserialize_with = "readable::endpoints",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub published: Vec<Endpoint>,
    /// How it shares with others, if it is a node of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Box<ClusterStatus>>,
    /// The time within which clients of an earlier run may return; `None` once it knows all names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settling_ms: Option<u64>,
}

/// The use of a registrar by each owner, with its quotas.
///
/// ```
/// # use callsign_wire::registrar as callsign;
/// use callsign::Owners;
///
/// /// Shows the owners that use the most memory.
/// fn show(owners: &Owners) {
///     for it in &owners.owners {
///         println!("{}: {} bytes", it.owner, it.bytes.used);
///     }
///     println!("{} owners in all", owners.total);
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Owners {
    /// The use of the caller's own owner.
    pub own: OwnerUse,
    /// The owners that use the most memory, largest first: at most [`OWNERS_MAX`]; only the
    /// caller's own, if it may not see the others.
    pub owners: Vec<OwnerUse>,
    /// The number of owners.
    pub total: u64,
    /// Whether the caller sees only its own use; root and the registrar's own user see all.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub is_own_alone: bool,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::encode_body;

    #[test]
    fn a_query_reads_the_same_either_way() {
        for (name, all) in [("feed", false), (&"x".repeat(255), true), (&"x".repeat(300), true)] {
            for owner in [None, Some(Owner::User(1000))] {
                let query = Query { name, all, owner };
                assert_eq!(Query::decode(&encode_body(&query)), Ok(query));
            }
        }
        let name_alone = encode_body(&BTreeMap::from([("name", "feed")]));
        assert_eq!(Query::decode(&name_alone), Ok(Query::of("feed")));
        assert!(Query::decode(b"\x82\xa4name\xa4fe").is_err());
    }
}
