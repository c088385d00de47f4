//! Merging the answers of several registrars into one.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use endpoints::Name;
use tokio::time::Instant;
use uuid::Uuid;
use wire::{Epoch, Lifetime, Record, registrar::Answer};

use crate::{LookupError, RegistrarFailure, RegistrarFailures, Trust};

/// An instance, as one or several registrars know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MergedRecord {
    /// The newest record of it.
    pub(crate) record: Record,
    /// The links that know it, each with its epoch: every registrar counts for itself.
    pub(crate) epochs: Vec<(usize, Epoch)>,
}

/// The answer of one registrar.
#[derive(Debug, Default)]
pub(crate) struct RegistrarAnswer {
    /// Until when the registrar does not know all yet.
    pub(super) settles_at: Option<Instant>,
    pub(super) now_ms: u64,
    pub(super) total: u64,
    pub(crate) records: Vec<Record>,
}

impl RegistrarAnswer {
    pub(super) fn of(answer: Answer, settles_at: Option<Instant>) -> Self {
        let Answer { now_ms, total, records, .. } = answer;
        Self { settles_at, now_ms, total, records }
    }
}

/// The merged records of the registrars, with the links that know each.
#[derive(Clone, Debug)]
pub(crate) struct MergedRecords {
    pub(crate) instances: Vec<MergedRecord>,
    pub(super) total: u64,
    pub(super) now_ms: u64,
    pub(super) unanswered: Vec<RegistrarFailure>,
    /// The time until which one of them settles.
    pub(super) settles_at: Option<Instant>,
}

impl MergedRecords {
    pub(super) fn of(
        answers: impl IntoIterator<Item = Option<Result<RegistrarAnswer, RegistrarFailure>>>,
        trust: Trust,
    ) -> Result<Self, LookupError> {
        let (mut parts, mut unanswered) = (Vec::new(), Vec::new());
        let (mut total, mut now_ms) = (0, 0);
        let mut settling = Vec::new();
        for (link, answer) in answers.into_iter().enumerate() {
            match answer {
                Some(Ok(part)) => {
                    total = part.total.max(total);
                    now_ms = part.now_ms.max(now_ms);
                    settling.push(part.settles_at);
                    parts.push((link, part.records));
                }
                Some(Err(failure)) => unanswered.push(failure),
                None => {}
            }
        }
        if parts.is_empty() {
            return Err(RegistrarFailures(unanswered).into());
        }
        unanswered.retain(|it| trust.misses(it));
        if trust == Trust::Usual && parts.len() > 1 {
            leave_names_to_the_first(&mut parts);
        }
        let instances = merge(parts);
        let total = total.max(instances.len() as u64);
        let settles_at = settling.into_iter().flatten().max();
        Ok(Self { instances, total, now_ms, unanswered, settles_at })
    }

    /// Fails as [`LookupResult::complete`](crate::LookupResult::complete) does.
    pub(crate) fn complete(self) -> Result<Self, LookupError> {
        if self.is_incomplete() {
            Err(LookupError::Incomplete(RegistrarFailures(self.unanswered)))
        } else {
            Ok(self)
        }
    }

    /// Tells whether it is a "no" that only some registrars gave.
    pub(super) fn is_incomplete(&self) -> bool {
        self.instances.is_empty() && !self.unanswered.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn from_instances(instances: Vec<MergedRecord>) -> Self {
        let total = instances.len() as u64;
        Self { instances, total, now_ms: 0, unanswered: Vec::new(), settles_at: None }
    }
}

/// Leaves the instances of a name to the first registrar that knows some.
fn leave_names_to_the_first(parts: &mut [(usize, Vec<Record>)]) {
    let mut known: HashSet<Name> = HashSet::new();
    for (_, records) in parts {
        records.retain(|it| !known.contains(&it.name));
        known.extend(records.iter().map(|it| it.name.clone()));
    }
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

/// Whether it is declared, when it came, its epoch, and which it is.
pub(crate) type Seniority = (bool, Reverse<u64>, Reverse<Epoch>, Uuid);

/// The sort key of records: live ones before declared ones, the newest first.
pub(crate) fn newest_first(record: &Record) -> Seniority {
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
        // The same instance at two registrars, one of which heard of it later.
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
