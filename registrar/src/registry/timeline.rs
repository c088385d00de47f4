//! Entries in the order of their registration, in little memory.

use std::collections::VecDeque;

use super::{Epoch, Key};

/// Entries in the order of their epochs. Nearly every epoch that comes is the latest so far, so that
/// blocks of sorted entries do: half the memory of a B-tree, whose nodes are left half full by such
/// an order, and no search to enter one.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// None of them is empty, and each ends before the next begins.
    blocks: VecDeque<Block>,
    len: usize,
}

/// Entries whose epochs are less than 2^32 apart.
#[derive(Debug)]
struct Block {
    first: Epoch,
    /// How far each is beyond the first, in order.
    entries: VecDeque<(u32, Key)>,
}

impl Timeline {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the oldest entry.
    pub(super) fn first(&self) -> Option<Key> {
        self.keys().next()
    }

    /// Goes through the entries, oldest first. No epoch is 0.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.after(0).map(|(_, key)| key)
    }

    /// Goes through the entries after an epoch, oldest first.
    pub(super) fn after(&self, epoch: Epoch) -> impl Iterator<Item = (Epoch, Key)> {
        let at = self.block_of(epoch);
        let (first, rest) = (self.blocks.get(at), (at + 1).min(self.blocks.len()));
        let first = first.map(|it| it.skip(it.count_up_to(epoch)));
        let rest = self.blocks.range(rest..).flat_map(|it| it.skip(0));
        first.into_iter().flatten().chain(rest)
    }

    /// Enters the key of an epoch that is not there yet.
    pub(super) fn insert(&mut self, epoch: Epoch, key: Key) {
        self.len += 1;
        let at = self.block_of(epoch);
        if let Some(block) = self.blocks.get_mut(at)
            && let Some(beyond) = block.beyond(epoch)
        {
            let place = block.count_up_to(epoch);
            if place < block.entries.len() || block.entries.len() < BLOCK {
                block.entries.insert(place, (beyond, key));
                return self.split(at);
            }
        }
        let at = if self.blocks.get(at).is_some_and(|it| it.first < epoch) { at + 1 } else { at };
        self.blocks.insert(at, Block { first: epoch, entries: [(0, key)].into() });
    }

    pub(super) fn remove(&mut self, epoch: Epoch) -> Option<Key> {
        let at = self.block_of(epoch);
        let block = self.blocks.get_mut(at)?;
        let beyond = block.beyond(epoch)?;
        let place = block.entries.binary_search_by_key(&beyond, |(it, _)| *it).ok()?;
        let (_, key) = block.entries.remove(place)?;
        self.len -= 1;
        self.tidy(at);
        Some(key)
    }

    pub(super) fn pop_first(&mut self) -> Option<(Epoch, Key)> {
        let (epoch, _) = self.after(0).next()?;
        self.remove(epoch).map(|key| (epoch, key))
    }

    /// Returns the last block that begins at an epoch or before it, or the first of all.
    fn block_of(&self, epoch: Epoch) -> usize {
        match self.blocks.back() {
            Some(last) if last.first <= epoch => self.blocks.len() - 1,
            _ => self.blocks.partition_point(|it| it.first <= epoch).saturating_sub(1),
        }
    }

    /// Splits a block that has grown too long.
    fn split(&mut self, at: usize) {
        let block = &mut self.blocks[at];
        if block.entries.len() <= BLOCK {
            return;
        }
        let mut entries = block.entries.split_off(BLOCK / 2);
        let moved = entries[0].0;
        entries.iter_mut().for_each(|(beyond, _)| *beyond -= moved);
        let first = block.first + u64::from(moved);
        self.blocks.insert(at + 1, Block { first, entries });
    }

    /// Drops a block that has become empty, and joins one that has become short with the next.
    fn tidy(&mut self, at: usize) {
        let block = &self.blocks[at];
        if block.entries.is_empty() {
            self.blocks.remove(at);
            return;
        }
        let is_short = block.entries.len() < BLOCK / 8;
        let Some(next) = self.blocks.get(at + 1).filter(|_| is_short) else { return };
        let moved = next.first - block.first;
        let last = moved + next.entries.back().map_or(0, |it| u64::from(it.0));
        let fits = block.entries.len() + next.entries.len() <= BLOCK / 2;
        if let (true, Ok(_)) = (fits, u32::try_from(last))
            && let Some(next) = self.blocks.remove(at + 1)
        {
            let entries = next.entries.iter().map(|(beyond, key)| (beyond + moved as u32, *key));
            let block = &mut self.blocks[at];
            block.entries.extend(entries);
            block.entries.shrink_to(BLOCK / 2);
        }
    }
}

impl FromIterator<(Epoch, Key)> for Timeline {
    fn from_iter<I: IntoIterator<Item = (Epoch, Key)>>(entries: I) -> Self {
        let mut timeline = Self::default();
        entries.into_iter().for_each(|(epoch, key)| timeline.insert(epoch, key));
        timeline
    }
}

impl Block {
    /// Goes through its entries but the first so many.
    fn skip(&self, passed: usize) -> impl Iterator<Item = (Epoch, Key)> {
        self.entries.range(passed..).map(|(beyond, key)| (self.first + u64::from(*beyond), *key))
    }

    /// Returns how far an epoch is beyond the first, if it has room here.
    fn beyond(&self, epoch: Epoch) -> Option<u32> {
        u32::try_from(epoch.checked_sub(self.first)?).ok()
    }

    fn count_up_to(&self, epoch: Epoch) -> usize {
        let Some(beyond) = epoch.checked_sub(self.first) else { return 0 };
        // Most that come are the latest.
        match self.entries.back() {
            Some((last, _)) if u64::from(*last) <= beyond => self.entries.len(),
            _ => self.entries.partition_point(|(it, _)| u64::from(*it) <= beyond),
        }
    }
}

/// The entries of a block: to move half of them takes a tenth of a microsecond. The oldest, which
/// mostly go first, leave without moving any.
const BLOCK: usize = 512;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Append,
        Insert(Epoch),
        Remove(usize),
        PopFirst,
        /// Most of them go.
        Thin(usize),
        Leap,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            8 => Just(Act::Append),
            1 => (1..2_000_u64).prop_map(Act::Insert),
            2 => any::<usize>().prop_map(Act::Remove),
            1 => Just(Act::PopFirst),
            1 => (2..40_usize).prop_map(Act::Thin),
            1 => Just(Act::Leap),
        ]
    }

    proptest! {
        // Each has thousands of entries.
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn it_keeps_what_a_sorted_map_keeps(acts in prop::collection::vec(act(), 1..80)) {
            let (mut timeline, mut map) = (Timeline::default(), BTreeMap::new());
            let mut latest = 0;
            for (key, act) in (0..).zip(acts) {
                match act {
                    // Some blocks' worth.
                    Act::Append => {
                        for _ in 0..200 {
                            latest += 3;
                            map.insert(latest, key);
                            timeline.insert(latest, key);
                        }
                    }
                    Act::Insert(epoch) => {
                        if let std::collections::btree_map::Entry::Vacant(entry) = map.entry(epoch) {
                            entry.insert(key);
                            timeline.insert(epoch, key);
                            latest = latest.max(epoch);
                        }
                    }
                    Act::Remove(at) => {
                        let epoch = map.keys().nth(at % map.len().max(1)).copied().unwrap_or(7);
                        prop_assert_eq!(timeline.remove(epoch), map.remove(&epoch));
                    }
                    Act::PopFirst => prop_assert_eq!(timeline.pop_first(), map.pop_first()),
                    Act::Thin(every) => {
                        let gone: Vec<_> = map.keys().copied().collect();
                        for epoch in gone.into_iter().filter(|it| !(*it as usize).is_multiple_of(every)) {
                            prop_assert_eq!(timeline.remove(epoch), map.remove(&epoch));
                        }
                    }
                    Act::Leap => latest += 1 << 33,
                }
                let after = latest / 2;
                let all: Vec<_> = timeline.after(after).collect();
                let expected: Vec<_> = map.range(after + 1..).map(|(it, key)| (*it, *key)).collect();
                prop_assert_eq!(all, expected);
                let keys: Vec<_> = map.values().copied().collect();
                prop_assert_eq!(timeline.keys().collect::<Vec<_>>(), keys);
                prop_assert_eq!((timeline.len(), timeline.is_empty()), (map.len(), map.is_empty()));
                prop_assert_eq!(timeline.first(), map.values().next().copied());
                let entries: usize = timeline.blocks.iter().map(|it| it.entries.len()).sum();
                prop_assert!(timeline.blocks.len() <= 2 + 16 * entries.div_ceil(BLOCK) + leaps(&timeline));
            }
        }
    }

    /// Counts the blocks that cannot be joined with the next, being too far from it.
    fn leaps(timeline: &Timeline) -> usize {
        let pairs = timeline.blocks.iter().zip(timeline.blocks.iter().skip(1));
        pairs.filter(|(it, next)| next.first - it.first > u64::from(u32::MAX) / 2).count()
    }
}
