//! The address index: the claims to each place.

use std::hash::BuildHasher;

use endpoints::{Endpoint, KernelId, NetnsId, ProcessId, RootId, Stamped, UnixAddress};
use foldhash::quality::RandomState;

use super::{
    Epoch, Key,
    keys::{Crowds, Keys},
    shards::Shards,
};

/// A place that only one listener can have. The same text means another place on another host, or
/// below another root, so the stamp's parts that tell them apart belong to it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Claim<'a> {
    endpoint: &'a Endpoint,
    kernel: Option<KernelId>,
    netns: Option<NetnsId>,
    process: Option<ProcessId>,
    root: Option<RootId>,
}

impl<'a> Claim<'a> {
    /// Returns the endpoint.
    pub fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }

    /// Returns the place that an endpoint claims.
    pub fn of(stamped: &'a Stamped) -> Self {
        let Stamped { endpoint, stamp } = stamped;
        let anywhere = Self { endpoint, kernel: None, netns: None, process: None, root: None };
        match endpoint {
            Endpoint::Memory(_) => Self { process: stamp.process, ..anywhere },
            Endpoint::Unix(UnixAddress::Path(_)) => {
                Self { kernel: stamp.kernel, root: stamp.root, ..anywhere }
            }
            Endpoint::Unix(UnixAddress::Abstract(_)) => {
                Self { kernel: stamp.kernel, netns: stamp.netns, ..anywhere }
            }
            Endpoint::Tcp(tcp) if tcp.host.is_loopback() => {
                Self { kernel: stamp.kernel, netns: stamp.netns, ..anywhere }
            }
            Endpoint::Tcp(_) => anywhere,
        }
    }
}

/// The claims to each place. Places are kept only by their hash, which saves a copy of each; a
/// place that shares a hash by chance is checked and found alive, which changes nothing.
#[derive(Debug, Default)]
pub(super) struct Claims {
    places: Shards<Place>,
    crowds: Crowds,
    hasher: RandomState,
}

/// A claimed place.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Its hash, in halves that need no alignment, which would take more room.
    halves: [u32; 2],
    claimants: Keys,
}

impl Place {
    fn new(hash: u64) -> Self {
        Self { halves: [(hash >> 32) as u32, hash as u32], claimants: Keys::default() }
    }

    fn hash(&self) -> u64 {
        let [high, low] = self.halves;
        u64::from(high) << 32 | u64::from(low)
    }
}

impl Claims {
    /// Returns by which number a place is kept.
    pub(super) fn hash(&self, stamped: &Stamped) -> u64 {
        self.hasher.hash_one(Claim::of(stamped))
    }

    /// Enters a claim, and returns the latest of the earlier claimants. `epoch_of` finds the epoch
    /// of a claimant.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        (epoch, key): (Epoch, Key),
        epoch_of: impl Fn(Key) -> Epoch,
    ) -> Vec<Key> {
        let place = self.places.entry(hash, |it| it.hash() == hash, Place::hash);
        let mut place = place.or_insert_with(|| Place::new(hash));
        let claimants = &mut place.get_mut().claimants;
        let others = self.crowds.newest_first(*claimants).filter(|it| *it != key);
        let before = others.take(CONTESTED_MAX).collect();
        self.crowds.insert(claimants, (epoch, key), epoch_of);
        before
    }

    /// Returns the latest claimants of a place, except `key`.
    pub(super) fn others(&self, stamped: &Stamped, key: Key) -> impl Iterator<Item = Key> {
        let hash = self.hash(stamped);
        let place = self.places.find(hash, |it| it.hash() == hash);
        let claimants = place.map(|it| it.claimants).unwrap_or_default();
        self.crowds.newest_first(claimants).filter(move |it| *it != key).take(CONTESTED_MAX)
    }

    pub(super) fn shrink(&mut self, shard: usize) {
        self.places.shrink(shard, Place::hash);
    }

    /// Enters a claim in the place of an earlier one of the same entry, and returns the latest of
    /// the other claimants.
    pub(super) fn renew(
        &mut self,
        hash: u64,
        before: Epoch,
        (epoch, key): (Epoch, Key),
        epoch_of: impl Fn(Key) -> Epoch,
    ) -> Vec<Key> {
        let place = self.places.entry(hash, |it| it.hash() == hash, Place::hash);
        let mut place = place.or_insert_with(|| Place::new(hash));
        let claimants = &mut place.get_mut().claimants;
        self.crowds.remove(claimants, (before, key));
        let others = self.crowds.newest_first(*claimants).take(CONTESTED_MAX).collect();
        self.crowds.insert(claimants, (epoch, key), epoch_of);
        others
    }

    pub(super) fn remove(&mut self, hash: u64, claim: (Epoch, Key)) {
        let Some(mut place) = self.places.find_entry(hash, |it| it.hash() == hash) else { return };
        let claimants = &mut place.get_mut().claimants;
        self.crowds.remove(claimants, claim);
        if claimants.is_empty() {
            place.remove();
        }
    }
}

/// The most claims besides one to the same place: one is usual, and each is a look at the endpoint.
const CONTESTED_MAX: usize = 4;
