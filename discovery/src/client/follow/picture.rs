//! The records of a followed view, by name.
//!
//! One writer changes the picture and publishes copies of it, which readers keep for as long as
//! they like. The names are divided among [`SHARDS`] maps, of which a copy shares those that have
//! not changed: so a change costs time in proportion to a small part of all names.

use std::{collections::HashMap, hash::BuildHasher, sync::Arc};

use endpoints::{InstanceId, Name};
use foldhash::fast::RandomState;
use uuid::Uuid;
use wire::Record;

use crate::{Change, client::merge::newest_first};

/// The records of one name: live ones first, then declared ones, each newest first.
type Records = Box<[Arc<Record>]>;

/// The records of all names, at one moment.
#[derive(Clone, Debug)]
pub(super) struct ByName {
    hasher: RandomState,
    shards: Box<[Arc<HashMap<Name, Records, RandomState>>]>,
    instances: usize,
}

impl ByName {
    pub(super) fn records(&self, name: &str) -> &[Arc<Record>] {
        self.shards[self.shard(name)].get(name).map_or(&[], |it| &**it)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&Name, &[Arc<Record>])> {
        self.shards.iter().flat_map(|it| it.iter()).map(|(name, records)| (name, &**records))
    }

    pub(super) fn instances(&self) -> usize {
        self.instances
    }

    /// Returns the shard of a name. The maps use the other bits of the hash.
    fn shard(&self, name: &str) -> usize {
        (self.hasher.hash_one(name) >> 32) as usize % SHARDS
    }

    fn put(&mut self, record: Arc<Record>) {
        let shard = Arc::make_mut(&mut self.shards[self.shard(record.name.as_str())]);
        let records = shard.entry(record.name.clone()).or_default();
        let others = records.iter().filter(|it| it.uuid != record.uuid).cloned();
        let mut now: Vec<_> = others.collect();
        self.instances += 1;
        self.instances -= records.len() - now.len();
        let key = newest_first(&record);
        let at = now.partition_point(|it| newest_first(it) < key);
        now.insert(at, record);
        *records = now.into();
    }

    fn remove(&mut self, instance: &InstanceId) {
        let shard = Arc::make_mut(&mut self.shards[self.shard(instance.name.as_str())]);
        let Some(records) = shard.get_mut(&instance.name) else { return };
        let left: Records = records.iter().filter(|it| it.uuid != instance.uuid).cloned().collect();
        self.instances -= records.len() - left.len();
        if left.is_empty() {
            shard.remove(&instance.name);
        } else {
            *records = left;
        }
    }
}

/// The state of the one writer.
#[derive(Debug)]
pub(super) struct Picture {
    by_name: ByName,
    /// Each instance, with its name and the number of the report that last contained it.
    instances: HashMap<Uuid, (Name, u64)>,
    /// Counts the reports of everything.
    report: u64,
}

impl Picture {
    pub(super) fn new() -> Self {
        let hasher = RandomState::default();
        let shard = Arc::new(HashMap::with_hasher(hasher.clone()));
        let by_name = ByName { hasher, shards: vec![shard; SHARDS].into(), instances: 0 };
        Self { by_name, instances: HashMap::new(), report: 0 }
    }

    /// Returns the records as they are now.
    pub(super) fn by_name(&self) -> &ByName {
        &self.by_name
    }

    /// Records a change. While everything is reported anew, what was known before stays until that
    /// is complete: a moment in which half is missing would be no answer.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Reset => self.report += 1,
            Change::Add { record } | Change::Update { record } => self.put(record),
            Change::Remove { instance, .. } => {
                if let Some((name, _)) = self.instances.remove(&instance.uuid) {
                    self.by_name.remove(&InstanceId { name, ..instance });
                }
            }
            Change::Synced => self.sweep(),
            Change::Stale { .. } | Change::Partial { .. } => {}
        }
    }

    fn put(&mut self, record: Record) {
        let (uuid, name) = (record.uuid, record.name.clone());
        match self.instances.insert(uuid, (name.clone(), self.report)) {
            Some((former, _)) if former != name => {
                self.by_name.remove(&InstanceId { name: former, uuid });
            }
            _ => {}
        }
        self.by_name.put(Arc::new(record));
    }

    /// Removes what the report that is complete now does not contain.
    fn sweep(&mut self) {
        let Self { by_name, instances, report } = self;
        instances.retain(|uuid, (name, seen)| {
            let is_there = *seen == *report;
            if !is_there {
                by_name.remove(&InstanceId { name: name.clone(), uuid: *uuid });
            }
            is_there
        });
    }
}

/// The number of maps: with 100,000 names, a change copies some 400 of them.
const SHARDS: usize = 256;

#[cfg(test)]
mod tests {
    use wire::State;

    use super::*;
    use crate::tests::record;

    fn with(name: &str, uuid: u128, since_ms: u64) -> Record {
        Record { uuid: Uuid::from_u128(uuid), since_ms, ..record(name) }
    }

    fn add(name: &str, uuid: u128, since_ms: u64) -> Change {
        Change::Add { record: with(name, uuid, since_ms) }
    }

    fn remove(name: &str, uuid: u128) -> Change {
        Change::Remove { instance: with(name, uuid, 0).instance(), reason: None }
    }

    fn known(by_name: &ByName, name: &str) -> Vec<u128> {
        by_name.records(name).iter().map(|it| it.uuid.as_u128()).collect()
    }

    #[test]
    fn the_newest_comes_first_and_copies_do_not_change() {
        let mut picture = Picture::new();
        for change in
            [add("feed", 1, 10), add("feed", 2, 30), add("risk", 3, 5), add("feed", 4, 20)]
        {
            picture.apply(change);
        }
        let copy = picture.by_name().clone();
        let drained = Record { state: State::Draining, ..with("feed", 4, 20) };
        picture.apply(Change::Update { record: drained });
        picture.apply(remove("feed", 2));
        picture.apply(remove("feed", 9));
        picture.apply(remove("risk", 3));

        assert_eq!(known(&copy, "feed"), [2, 4, 1]);
        assert_eq!(copy.records("feed")[1].state, State::Ready);
        assert_eq!((copy.instances(), copy.names().count()), (4, 2));
        let now = picture.by_name();
        assert_eq!(known(now, "feed"), [4, 1]);
        assert_eq!(now.records("feed")[0].state, State::Draining);
        assert_eq!((now.instances(), now.names().count()), (2, 1));
        assert!(now.records("risk").is_empty());
    }

    #[test]
    fn what_was_known_stays_until_a_new_report_is_complete() {
        let mut picture = Picture::new();
        for change in [Change::Reset, add("feed", 1, 10), add("feed", 2, 20), Change::Synced] {
            picture.apply(change);
        }
        picture.apply(Change::Reset);
        assert_eq!(known(picture.by_name(), "feed"), [2, 1]);
        picture.apply(add("feed", 3, 30));
        assert_eq!(known(picture.by_name(), "feed"), [3, 2, 1]);
        picture.apply(add("feed", 2, 20));
        picture.apply(Change::Synced);
        assert_eq!(known(picture.by_name(), "feed"), [3, 2]);
        // The same report goes on: nothing is swept.
        picture.apply(Change::Synced);
        assert_eq!(known(picture.by_name(), "feed"), [3, 2]);
    }

    #[test]
    fn an_instance_that_takes_another_name_leaves_the_former() {
        let mut picture = Picture::new();
        picture.apply(add("feed", 1, 10));
        picture.apply(Change::Update { record: with("risk", 1, 20) });
        assert!(known(picture.by_name(), "feed").is_empty());
        assert_eq!(known(picture.by_name(), "risk"), [1]);
        picture.apply(remove("feed", 1));
        assert_eq!(picture.by_name().instances(), 0);
    }

    #[test]
    fn many_names_and_many_instances_are_all_found() {
        let mut picture = Picture::new();
        for number in 0..2000 {
            picture.apply(add(&format!("feed-{number}"), number, 1));
            picture.apply(add("crowd", 10_000 + number, number as u64));
        }
        let by_name = picture.by_name();
        assert_eq!((by_name.instances(), by_name.names().count()), (4000, 2001));
        assert!((0..2000).all(|it| known(by_name, &format!("feed-{it}")) == [it]));
        assert_eq!(known(by_name, "crowd")[0], 11_999);
    }
}
