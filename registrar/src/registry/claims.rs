//! The address index: the claims to each place.

use std::hash::BuildHasher;

use endpoints::{Endpoint, KernelId, NetnsId, ProcessId, RootId, Stamped, UnixAddress};
use foldhash::quality::RandomState;

use super::{
    Epoch, Key,
    keys::Keys,
    shards::{Removes, Shards},
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
    by_hash: Shards<u64, Keys>,
    hasher: RandomState,
}

impl Claims {
    /// Returns by which number a place is kept.
    pub(super) fn hash(&self, stamped: &Stamped) -> u64 {
        self.hasher.hash_one(Claim::of(stamped))
    }

    /// Enters a claim, and returns the latest of the earlier claimants.
    pub(super) fn insert(&mut self, hash: u64, epoch: Epoch, key: Key) -> Vec<Key> {
        let keys = self.by_hash.get_or_insert(hash);
        let before = keys.newest_first().filter(|it| *it != key).take(CONTESTED_MAX).collect();
        keys.insert(epoch, key);
        before
    }

    /// Returns the latest claimants of a place, except `key`.
    pub(super) fn others(&self, stamped: &Stamped, key: Key) -> impl Iterator<Item = Key> {
        let keys = self.by_hash.get(&self.hash(stamped)).into_iter();
        keys.flat_map(Keys::newest_first).filter(move |it| *it != key).take(CONTESTED_MAX)
    }

    pub(super) fn shrink(&mut self, shard: usize) {
        self.by_hash.shrink(shard);
    }

    /// Enters a claim in the place of an earlier one of the same entry, and returns the latest of
    /// the other claimants.
    pub(super) fn renew(
        &mut self,
        hash: u64,
        (before, epoch): (Epoch, Epoch),
        key: Key,
    ) -> Vec<Key> {
        let keys = self.by_hash.get_or_insert(hash);
        keys.remove(before);
        let others = keys.newest_first().take(CONTESTED_MAX).collect();
        keys.insert(epoch, key);
        others
    }

    pub(super) fn remove(&mut self, hash: u64, epoch: Epoch) {
        self.by_hash.change(&hash, |keys| {
            keys.remove(epoch);
            Removes::if_empty(keys.len())
        });
    }
}

/// The most claims besides one to the same place: one is usual, and each is a look at the endpoint.
const CONTESTED_MAX: usize = 4;
