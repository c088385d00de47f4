//! The records of other nodes of a cluster, which hold them in memory as their own.
//!
//! Their own node alone makes, judges, changes and removes them: here, they make no claims, are
//! charged to nobody, and no caller changes them. An instance that registers here anew is this
//! node's from then on, and a record of this node's is replaced by none of another, unless it lives by a
//! lease, and has been registered there since.

use endpoints::Name;
use uuid::Uuid;
use wire::{Epoch, Lifetime, ProofSecret, Record, RemovalReason};

use super::{
    Entry, Key, Outcome, Owner, Registrant, Registry, RegistryError,
    checks::{check_endpoints, check_metadata, check_state},
    entry::Home,
};

/// A record of another node.
///
/// ```
/// # mod callsign {
/// # pub use wire::*;
/// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
/// # }
/// use callsign::registrar::Remote;
/// use callsign::Record;
///
/// /// Takes a record from a node whose instances hold no key.
/// fn keyless(record: Record) -> Remote {
///     Remote { record, has_key: false }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remote {
    /// The record, with its node.
    pub record: Record,
    /// Whether the instance holds the key of its registration.
    pub has_key: bool,
}

/// Another node of the cluster.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{RegistryHandle, HomeNode, Limits};
///
/// let registry = RegistryHandle::unattended(Limits::default());
/// let (name, secret) = ("rome".parse()?, registry.proof_secret());
/// let known = registry.know_node(HomeNode { name, registrar: uuid::Uuid::new_v4(), secret });
/// assert!(known, "there is room for it");
/// # Ok::<(), endpoints::NameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct HomeNode {
    /// What it is called.
    pub name: Name,
    /// The registrar there.
    pub registrar: Uuid,
    /// From which that registrar derives the keys of its registrations.
    pub secret: ProofSecret,
}

/// Which of all epochs a registrar issues, so that those of a cluster differ.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Stride;
///
/// let third = Stride::of(3).unwrap();
/// assert_eq!(third.after(128), 131);
/// assert_eq!(third.after(131), 259);
/// assert_eq!(Stride::default().after(131), 132);
/// assert_eq!(Stride::of(128), None);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stride(Option<u8>);

impl Stride {
    /// The nodes that a cluster can have, and how far the epochs of one are apart: at so many, an
    /// epoch stays below 2^53, beyond which some readers of JSON are no longer exact.
    pub const NODES: u64 = 128;

    /// That of one of the nodes; `None` if there is no such.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::Stride;
    ///
    /// assert!(Stride::of(0).is_some() && Stride::of(Stride::NODES).is_none());
    /// ```
    pub fn of(slot: u64) -> Option<Self> {
        u8::try_from(slot).ok().filter(|it| u64::from(*it) < Self::NODES).map(|it| Self(Some(it)))
    }

    /// Returns the first epoch of these after another.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::Stride;
    ///
    /// let slots = [5, 6].map(|slot| Stride::of(slot).unwrap());
    /// assert_eq!(slots.map(|it| it.after(1000)), [1029, 1030]);
    /// ```
    pub fn after(self, epoch: Epoch) -> Epoch {
        let Some(slot) = self.0 else { return epoch + 1 };
        let row = epoch - epoch % Self::NODES + u64::from(slot);
        if row > epoch { row } else { row + Self::NODES }
    }
}

/// The other nodes, each by its number less one.
#[derive(Debug, Default)]
pub(super) struct Homes(Vec<HomeNode>);

impl Registry {
    /// Records another node, or its new registrar. `false` if there are too many.
    pub fn know_node(&mut self, node: HomeNode) -> bool {
        let Homes(nodes) = &mut self.homes;
        match nodes.iter().position(|it| it.name == node.name) {
            Some(at) => nodes[at] = node,
            None if nodes.len() < HOMES_MAX => nodes.push(node),
            None => return false,
        }
        true
    }

    /// Lets the epochs differ from those of other nodes.
    pub fn set_stride(&mut self, stride: Stride) {
        self.stride = stride;
    }

    /// Enters or replaces a record of another node.
    ///
    /// # Errors
    ///
    /// [`RegistryError::KeptHere`] if this registrar keeps the instance itself,
    /// [`RegistryError::Faulty`], [`RegistryError::TooMany`], or that of a record that no registrar
    /// accepts; nothing is changed then.
    pub fn enter_remote(&mut self, remote: Remote, now_ms: u64) -> Result<Outcome, RegistryError> {
        let Remote { record, has_key } = remote;
        let Record { uuid, epoch, .. } = record;
        let faulty = |why| Err(RegistryError::Faulty { uuid, epoch, why });
        check_endpoints(&record.endpoints)?;
        check_metadata(&record.metadata)?;
        check_state(record.state)?;
        let known = self.homes.0.iter().position(|it| Some(&it.name) == record.node.as_ref());
        let Some(home) = known.map(|it| Home(it as u16 + 1)) else {
            return faulty("nothing is known of its node");
        };
        if epoch == 0 || epoch > (now_ms + AHEAD_MS_MAX) * 1000 {
            return faulty("its node's clock is more than a day ahead of this one's");
        }
        let Some(owner) = record.owner.as_ref().and_then(owner) else {
            return faulty("its owner is unknown");
        };
        let (earlier, gone) = (self.live(uuid), self.gone(uuid));
        let count = self.by_epoch.len() - usize::from(gone.is_some());
        match earlier.map(|it| &self.entries[it]) {
            Some(earlier) if !earlier.is_remote() && !moves_on(earlier, &record, owner) => {
                return Err(RegistryError::KeptHere { uuid });
            }
            Some(earlier) if earlier.name != record.name => {
                return faulty("it has another name");
            }
            Some(_) => {}
            None if count >= self.limits.instances_max => {
                let limit = self.limits.instances_max;
                return Err(RegistryError::TooMany { what: "instances", limit });
            }
            None => {}
        }
        let twin = self.by_epoch.after(epoch - 1).next().filter(|(it, _)| *it == epoch);
        if twin.is_some_and(|(_, key)| ![earlier, gone].contains(&Some(key))) {
            return faulty("another registration has its epoch");
        }
        let mut outcome = Outcome::default();
        self.make_way(uuid, &mut outcome);
        // What is registered here from now on is newer.
        self.next_epoch = self.next_epoch.max(epoch);
        let registrant = Registrant { owner, session: None };
        let mut entry = Entry::new(&record, registrant, now_ms, &mut self.forms);
        entry.lease_until_ms = None;
        entry.has_key &= has_key;
        entry.home = home;
        self.leave_line_of(uuid, &mut outcome);
        self.put(earlier, (entry, None), &[], &mut outcome);
        Ok(outcome)
    }

    /// Removes instances that another node has kept, in one change.
    pub fn remove_remote(&mut self, node: &Name, uuids: &[Uuid], reason: RemovalReason) -> Outcome {
        let is_its = |key: &Key| {
            let home = self.home_of(&self.entries[*key]);
            home.is_some_and(|it| it.name == *node)
        };
        let keys: Vec<_> =
            uuids.iter().filter_map(|it| self.live(*it)).filter(|it| is_its(it)).collect();
        let mut outcome = Outcome::default();
        self.remove_many(&keys, reason, &mut outcome);
        outcome
    }

    /// Returns the node that keeps an entry, if it is another.
    pub(super) fn home_of(&self, entry: &Entry) -> Option<&HomeNode> {
        self.homes.0.get(usize::from(entry.home.0.checked_sub(1)?))
    }
}

/// Tells whether an instance of this node is another's now: one that lives by a lease has no session that
/// could tell, and whoever has registered it since has done so there.
fn moves_on(own: &Entry, record: &Record, owner: Owner) -> bool {
    let lives_by_lease = matches!(own.lifetime, Lifetime::Lease { .. });
    lives_by_lease
        && own.epoch < record.epoch
        && own.name == record.name
        && own.registrant.owner == owner
}

/// Returns the owner of a record of another node: the hosts of a cluster have the same users.
fn owner(told: &wire::Owner) -> Option<Owner> {
    Some(match told {
        wire::Owner::Registrar => Owner::Registrar,
        wire::Owner::User(user) => Owner::User(*user),
        wire::Owner::Unknown => Owner::Unknown(u64::MAX),
        wire::Owner::Address(address) => Owner::Host(*address),
        wire::Owner::Certified(name) => Owner::Certified(super::Certified::new(name)?),
        _ => return None,
    })
}

/// The most other nodes: those that there were in the life of a registrar.
const HOMES_MAX: usize = 4096;

/// How far another node's clock may be ahead. An epoch counts from a time too, and a registrar has
/// to issue higher ones than it has seen.
const AHEAD_MS_MAX: u64 = 24 * 60 * 60 * 1000;
