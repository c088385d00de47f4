//! One answer out of many.

use std::{cmp::Reverse, collections::HashMap};

use uuid::Uuid;
use wire::{Epoch, Lifetime, Record};

/// An instance, as one or several registrars know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MergedRecord {
    /// The newest record of it.
    pub(crate) record: Record,
    /// Which links know it, and by which epoch: each registrar counts for itself.
    pub(crate) epochs: Vec<(usize, Epoch)>,
}

/// Merges what links answered: each instance once, live ones before declared ones, the newest
/// first.
pub(crate) fn merge(answers: impl IntoIterator<Item = (usize, Vec<Record>)>) -> Vec<MergedRecord> {
    let mut merged: Vec<MergedRecord> = Vec::new();
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for (link, records) in answers {
        for record in records {
            let seen = (link, record.epoch);
            match places.get(&record.uuid) {
                Some(&place) => {
                    let known = &mut merged[place];
                    known.epochs.push(seen);
                    if newest_first(&record) < newest_first(&known.record) {
                        known.record = record;
                    }
                }
                None => {
                    places.insert(record.uuid, merged.len());
                    merged.push(MergedRecord { record, epochs: vec![seen] });
                }
            }
        }
    }
    merged.sort_by_key(|it| newest_first(&it.record));
    merged
}

/// By what records are sorted: live ones before declared ones, the newest first.
pub(crate) fn newest_first(record: &Record) -> impl Ord + use<> {
    let is_declared = record.lifetime == Lifetime::Declared;
    (is_declared, Reverse(record.since_ms), Reverse(record.epoch), record.uuid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::record;

    #[test]
    fn instances_are_merged_by_uuid_and_sorted() {
        let with = |uuid: u128, since_ms: u64, epoch: Epoch, lifetime: Lifetime| Record {
            uuid: Uuid::from_u128(uuid),
            since_ms,
            epoch,
            lifetime,
            ..record("feed")
        };
        type Seen<'a> = (u128, u64, &'a [(usize, Epoch)]);
        let check = |answers: &[&[Record]], expected: &[Seen<'_>]| {
            let answers = answers.iter().map(|it| it.to_vec()).enumerate();
            let merged = merge(answers);
            let seen: Vec<_> = merged
                .iter()
                .map(|it| (it.record.uuid.as_u128(), it.record.since_ms, &*it.epochs))
                .collect();
            assert_eq!(seen, expected);
        };
        let session = Lifetime::Session;
        check(&[], &[]);
        check(&[&[], &[with(1, 10, 5, session)]], &[(1, 10, &[(1, 5)])]);
        // The same instance at two registrars, of which one has heard of it later.
        check(
            &[&[with(1, 10, 5, session)], &[with(1, 12, 3, session)]],
            &[(1, 12, &[(0, 5), (1, 3)])],
        );
        check(
            &[
                &[with(1, 10, 1, session), with(2, 30, 2, Lifetime::Declared)],
                &[with(3, 20, 9, Lifetime::Lease { ttl_ms: 1000 }), with(4, 10, 2, session)],
            ],
            &[(3, 20, &[(1, 9)]), (4, 10, &[(1, 2)]), (1, 10, &[(0, 1)]), (2, 30, &[(0, 2)])],
        );
    }
}
