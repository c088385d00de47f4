//! The last good answers, for when no registrar can be reached.
//!
//! A remembered answer never passes for a present one: only callers that say how old it may be get
//! it, only if no registrar can be asked, and with its age.

use std::{collections::HashMap, time::Duration};

use endpoints::Name;
use tokio::time::Instant;
use wire::Owner;

use super::merge::MergedRecords;
use crate::dial::Tickets;

/// An answer, and its age, unless it is a present one.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) found: MergedRecords,
    pub(crate) tickets: Tickets,
    pub(crate) age: Option<Duration>,
}

/// A look-up: the name, whether any state is included, and the owner.
pub(super) type LookupKey = (Name, bool, Option<Owner>);

/// The last good answers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    answers: HashMap<LookupKey, Stored>,
    /// The number of their records, and one for each answer.
    size: usize,
}

#[derive(Debug)]
struct Stored {
    answer: Answer,
    since: Instant,
}

impl Memory {
    /// Stores an answer in place of an earlier one, and forgets the oldest if there are too many.
    pub(super) fn keep(&mut self, key: LookupKey, answer: Answer, now: Instant) {
        self.size += size(&answer);
        if let Some(earlier) = self.answers.insert(key, Stored { answer, since: now }) {
            self.size -= size(&earlier.answer);
        }
        while self.size > SIZE_MAX && self.answers.len() > 1 {
            let oldest = self.answers.iter().min_by_key(|(_, it)| it.since);
            let oldest = oldest.expect("there are some").0.clone();
            let forgotten = self.answers.remove(&oldest).expect("it was found there");
            self.size -= size(&forgotten.answer);
        }
    }

    /// Returns an answer, if it is no older than that.
    pub(super) fn recall(
        &self,
        key: &LookupKey,
        max_age: Duration,
        now: Instant,
    ) -> Option<Answer> {
        let Stored { answer, since } = self.answers.get(key)?;
        let age = now.saturating_duration_since(*since);
        (age <= max_age).then(|| Answer { age: Some(age), ..answer.clone() })
    }

    /// Removes an answer, and returns it.
    pub(super) fn take(&mut self, key: &LookupKey) -> Option<Answer> {
        let Stored { answer, .. } = self.answers.remove(key)?;
        self.size -= size(&answer);
        Some(answer)
    }

    /// Forgets all answers.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn size(answer: &Answer) -> usize {
    answer.found.instances.len() + 1
}

/// The most remembered records, counting an answer as one too: those of a program that talks to a
/// thousand others. They take some megabytes, unless their metadata is large.
const SIZE_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::merge::merge, tests::record};

    #[test]
    fn the_latest_answers_are_kept_and_no_older_than_asked_for() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let key = |name: &str| (Name::new(name).unwrap(), false, None);
        let answer = |records: usize| {
            let records = (0..records as u128)
                .map(|it| wire::Record { uuid: uuid::Uuid::from_u128(it), ..record("feed") });
            let found = MergedRecords::from_instances(merge([(0, records.collect())]));
            Answer { found, tickets: Tickets::default(), age: None }
        };
        let mut memory = Memory::default();
        let recall = |memory: &Memory, name: &str, max_age, now| {
            memory
                .recall(&key(name), Duration::from_secs(max_age), now)
                .map(|it| (it.found.instances.len(), it.age.unwrap().as_secs()))
        };
        memory.keep(key("feed"), answer(2), at(0));
        assert_eq!(recall(&memory, "feed", 5, at(5)), Some((2, 5)));
        assert_eq!(recall(&memory, "feed", 5, at(6)), None);
        assert_eq!(recall(&memory, "risk", 5, at(0)), None);
        memory.keep(key("feed"), answer(1), at(10));
        assert_eq!(recall(&memory, "feed", 5, at(11)), Some((1, 1)));
        assert_eq!(memory.size, 2);

        for number in 0..100 {
            memory.keep(key(&format!("crowd-{number}")), answer(255), at(20 + number));
            assert!(memory.size <= SIZE_MAX, "{}", memory.size);
        }
        assert_eq!(memory.answers.len(), SIZE_MAX / 256);
        assert_eq!(recall(&memory, "feed", 1000, at(120)), None, "the oldest are forgotten");
        assert!(recall(&memory, "crowd-99", 1000, at(120)).is_some());
    }
}
