//! The last good answers, for when no registrar can be reached.
//!
//! An answer of yesterday is never taken for one of now: it is given only to those who say how old
//! it may be, only when nobody can be asked, and with its age.

use std::{collections::HashMap, time::Duration};

use endpoints::Name;
use tokio::time::Instant;
use wire::Owner;

use crate::{Client, LookupError, LookupResult, dial::Tickets, lookup::MergedRecords};

/// How a name is looked up.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use registrar::{Node, NodeOptions};
/// # let options = NodeOptions { settle_time: std::time::Duration::ZERO, ..Default::default() };
/// # let node = Node::bind(&["/memory/0".parse()?], options).await?;
/// # let registrars = node.endpoints();
/// # let mut tasks = tokio::task::JoinSet::new();
/// # tasks.spawn(node.serve(tokio_util::sync::CancellationToken::new()));
///
/// use std::time::Duration;
///
/// use callsign::{Client, LookupOptions};
///
/// let client = Client::connect(&registrars).await?;
/// // When no registrar can be reached, what was known a minute ago will do.
/// let options = LookupOptions { max_age: Some(Duration::from_secs(60)), ..Default::default() };
/// assert!(client.query_with("feed", options).await?.records.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LookupOptions {
    /// Whether instances that are starting or draining are wanted too.
    pub all: bool,
    /// How old an answer may be when no registrar can be reached: then the last good one to a
    /// look-up of the same name is given, if that one was made with a `max_age` too. `None` wants
    /// no answer but one of now.
    ///
    /// It is for clients that live for long: what a program has never asked, it cannot remember.
    /// The answers to the latest names are kept, with 4096 records in all.
    pub max_age: Option<Duration>,
    /// Whose an instance has to be, by the word of the kernel of the registrar that knows it; of
    /// others nothing is returned, none is dialed, and however many there are, they hide none of
    /// those that are meant.
    pub owner: Option<Owner>,
}

impl Client {
    /// Looks up the instances of a name as [`query_ready`](Self::query_ready) does, with options.
    /// [`LookupResult::age`] tells whether the answer is one of now.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use callsign::LookupOptions;
    ///
    /// // An answer of the last hour will do when no registrar answers.
    /// let max_age = Some(Duration::from_secs(3600));
    /// let options = LookupOptions { max_age, ..LookupOptions::default() };
    /// let found = client.query_with("feed", options).await?;
    /// if let Some(age) = found.age {
    ///     println!("so it was {age:?} ago");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`]; a name that is not there brings no records.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_with(
        &self,
        name: &str,
        options: LookupOptions,
    ) -> Result<LookupResult, LookupError> {
        let Answer { found, age, .. } = self.answer(name, options).await?;
        Ok(LookupResult { age, ..found.into() })
    }

    pub(crate) async fn answer(
        &self,
        name: &str,
        options: LookupOptions,
    ) -> Result<Answer, LookupError> {
        let LookupOptions { all, max_age, owner } = options;
        let key = (Name::new(name)?, all, owner);
        let owner = key.2.as_ref();
        let mut located = self.locate(&key.0, all, owner).await;
        if let (Ok((found, _)), Some(owner)) = (&mut located, owner) {
            // An earlier registrar does not know that it matters.
            found.instances.retain(|it| it.record.owner.as_ref() == Some(owner));
        }
        match (located, max_age) {
            (Ok((found, tickets)), None) => Ok(Answer { found, tickets, age: None }),
            (Ok((found, tickets)), Some(_)) => {
                let answer = Answer { found, tickets, age: None };
                self.hub().memory().keep(key, answer.clone(), Instant::now());
                Ok(answer)
            }
            (Err(LookupError::Unreachable(failures)), Some(max_age)) => {
                let recalled = self.hub().memory().recall(&key, max_age, Instant::now());
                let Some(mut answer) = recalled else {
                    return Err(LookupError::Unreachable(failures));
                };
                tracing::warn!(
                    target: "callsign", name = %key.0, age = ?answer.age.unwrap_or_default(),
                    "no registrar can be reached; the last good answer is used"
                );
                answer.found.set_unanswered(failures);
                Ok(answer)
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// An answer, and how old it is, unless it is one of now.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) found: MergedRecords,
    pub(crate) tickets: Tickets,
    pub(crate) age: Option<Duration>,
}

/// What was looked up: a name, in whatever state or not, and whose.
type Asked = (Name, bool, Option<Owner>);

/// The last good answers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    answers: HashMap<Asked, Lifetime>,
    /// How many records they have, and one for each answer.
    size: usize,
}

#[derive(Debug)]
struct Lifetime {
    answer: Answer,
    since: Instant,
}

impl Memory {
    /// Keeps an answer in the place of an earlier one, and forgets the oldest if there are too
    /// many.
    fn keep(&mut self, key: Asked, answer: Answer, now: Instant) {
        self.size += size(&answer);
        if let Some(earlier) = self.answers.insert(key, Lifetime { answer, since: now }) {
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
    fn recall(&self, key: &Asked, max_age: Duration, now: Instant) -> Option<Answer> {
        let Lifetime { answer, since } = self.answers.get(key)?;
        let age = now.saturating_duration_since(*since);
        (age <= max_age).then(|| Answer { age: Some(age), ..answer.clone() })
    }
}

fn size(answer: &Answer) -> usize {
    answer.found.instances.len() + 1
}

/// How many records are remembered, counting an answer as one too: those of a program that talks
/// to a thousand others. They take some megabytes, unless their metadata is large.
const SIZE_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{merge::merge, tests::record};

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
