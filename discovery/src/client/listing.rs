//! Lists: all registrars are asked page by page, and of each record what is wanted is kept.

use std::time::Duration;

use endpoints::{Name, NamePattern};
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use futures_util::future::join;
use tokio::{task::yield_now, time::Instant};
use uuid::Uuid;
use wire::{
    Record, encode_body,
    registrar::{self, List, Page},
};

use super::{
    lookup::Answers,
    merge::{Seniority, newest_first},
};
use crate::{
    Client, LookupError, LookupResult, RegistrarFailure, RegistrarFailures, Trust, link::Reply,
};

impl Client {
    /// Lists the instances of all names that match a pattern (`*` stands for any run of
    /// characters, `?` for any one), by name, and within a name in the order of
    /// [`query_ready`](Self::query_ready).
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for record in client.list("feed.*").await?.records {
    ///     println!("{}", record.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn list(&self, pattern: &str) -> Result<LookupResult, LookupError> {
        Ok(self.list_as(pattern, |record, _| record).await?.into())
    }

    /// Lists as [`list`](Self::list) does, and keeps of each record what `keep` makes of it, with
    /// the time of its registrar's clock. A long list takes no more memory than that: `keep` sees
    /// each page as it comes, and sees an instance that several registrars know several times.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, wire::*}; }
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let states = client.list_as("feed.*", |record, _now_ms| record.state).await?.kept;
    /// let drain = states.iter().filter(|(_name, state)| *state == callsign::State::Draining).count();
    /// println!("{drain} of them drain");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn list_as<T>(
        &self,
        pattern: &str,
        keep: impl Fn(Record, u64) -> T,
    ) -> Result<Listed<T>, LookupError> {
        let pattern = NamePattern::new(pattern)?;
        let answers = self.gather(|index| self.list_of(index, &pattern, &keep)).await;
        Listed::of(answers, self.hub().options.trust)
    }

    /// Lists as [`list`](Self::list) does, from the registrars that answer within `limit`.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let found = client.list_within("feed.*", Duration::from_millis(100)).await?;
    /// println!("{} are known, and {} do not say", found.records.len(), found.unanswered.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list); a late registrar counts as unanswered.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn list_within(
        &self,
        pattern: &str,
        limit: Duration,
    ) -> Result<LookupResult, LookupError> {
        let pattern = NamePattern::new(pattern)?;
        let ask = |index| self.list_of(index, &pattern, &|record, _| record);
        let late = |failure| Some(Err(failure));
        let answers = self.answers(ask, |_| false, late, Some(Instant::now() + limit)).await;
        Ok(Listed::of(answers, self.hub().options.trust)?.into())
    }

    /// Asks one registrar for all pages. One that another link serves is not asked twice: `None`.
    pub(super) async fn list_of<T>(
        &self,
        index: usize,
        pattern: &NamePattern,
        keep: &impl Fn(Record, u64) -> T,
    ) -> Option<Result<Part<T>, RegistrarFailure>> {
        let mut list = List { pattern: pattern.clone(), after: 0 };
        let mut part = Part { settles_at: None, now_ms: 0, kept: Vec::new() };
        let mut answer = self.page(index, &list).await?;
        loop {
            let page = match answer {
                Ok(Reply { value, settles_at }) => {
                    part.settles_at = settles_at;
                    value
                }
                Err(failure) => return Some(Err(failure)),
            };
            part.now_ms = page.now_ms;
            let read = async {
                // The call for the next page goes out first, so that it comes meanwhile.
                yield_now().await;
                let kept = |record| Kept::of(record, |it| keep(it, page.now_ms));
                part.kept.extend(page.records.into_iter().map(kept));
            };
            match page.next {
                // Only a broken registrar would send a list round in circles.
                Some(next) if next > list.after => {
                    list.after = next;
                    let (next, ()) = join(self.page(index, &list), read).await;
                    answer = next?;
                }
                _ => {
                    read.await;
                    return Some(Ok(part));
                }
            }
        }
    }

    async fn page(
        &self,
        index: usize,
        list: &List,
    ) -> Option<Result<Reply<Page>, RegistrarFailure>> {
        self.hub().ask_and_read(index, registrar::LIST, &encode_body(list), Page::decode).await
    }
}

/// What one registrar listed.
#[derive(Debug)]
pub(super) struct Part<T> {
    /// Until when the registrar does not know all yet.
    settles_at: Option<Instant>,
    now_ms: u64,
    kept: Vec<Kept<T>>,
}

impl<T> Part<T> {
    /// Returns what was kept, in the registrar's order.
    pub(super) fn into_kept(self) -> impl Iterator<Item = T> {
        self.kept.into_iter().map(|it| it.what)
    }
}

/// What is kept of a record, and what is needed to merge and sort.
#[derive(Debug)]
struct Kept<T> {
    name: Name,
    seniority: Seniority,
    what: T,
}

impl<T> Kept<T> {
    fn of(record: Record, keep: impl FnOnce(Record) -> T) -> Self {
        let (name, seniority) = (record.name.clone(), newest_first(&record));
        Self { name, seniority, what: keep(record) }
    }

    fn uuid(&self) -> Uuid {
        let (.., uuid) = self.seniority;
        uuid
    }
}

/// A list of which only a part of each record is kept.
///
/// ```
/// # use callsign_discovery as callsign;
/// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let listed: callsign::Listed<u64> = client.list_as("*", |record, _| record.since_ms).await?;
/// for (name, since_ms) in listed.kept {
///     println!("{name} came {since_ms} ms after 1970");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed<T> {
    /// The names of the instances, and what was kept of each, in the order of [`Client::list`].
    pub kept: Vec<(Name, T)>,
    /// The registrars' clock at the end, in milliseconds since 1970; the latest of several.
    pub now_ms: u64,
    /// The registrars that did not answer, though they count.
    pub unanswered: Vec<RegistrarFailure>,
    /// For how long others may still come back, if a registrar that answered has begun only a short
    /// while ago.
    pub settling: Option<Duration>,
}

impl<T> Listed<T> {
    fn of(answers: Answers<Part<T>>, trust: Trust) -> Result<Self, LookupError> {
        let (mut parts, mut unanswered) = (Vec::new(), Vec::new());
        for answer in answers.into_iter().flatten() {
            match answer {
                Ok(part) => parts.push(part),
                Err(failure) => unanswered.push(failure),
            }
        }
        if parts.is_empty() {
            return Err(RegistrarFailures(unanswered).into());
        }
        unanswered.retain(|it| trust.misses(it));
        let now_ms = parts.iter().map(|it| it.now_ms).max().unwrap_or_default();
        let settles_at = parts.iter().filter_map(|it| it.settles_at).max();
        let settling = settles_at.map(|it| it.duration_since(Instant::now()));
        let kept = merge(parts.into_iter().map(|it| it.kept), trust);
        Ok(Self { kept, now_ms, unanswered, settling })
    }
}

impl From<Listed<Record>> for LookupResult {
    fn from(listed: Listed<Record>) -> Self {
        let Listed { kept, now_ms, unanswered, settling } = listed;
        let records: Vec<_> = kept.into_iter().map(|(_, record)| record).collect();
        let total = records.len() as u64;
        Self { records, total, now_ms, unanswered, age: None, settling }
    }
}

/// Merges what registrars listed: each instance once, as the newest record has it, sorted by name.
/// Of the usual registrars, the first that knows some of a name has all of it.
fn merge<T>(parts: impl ExactSizeIterator<Item = Vec<Kept<T>>>, trust: Trust) -> Vec<(Name, T)> {
    let leaves_names = trust == Trust::Usual && parts.len() > 1;
    let mut known: HashSet<Name> = HashSet::new();
    let mut all: Vec<Kept<T>> = Vec::new();
    for mut part in parts {
        if leaves_names {
            part.retain(|it| !known.contains(&it.name));
            known.extend(part.iter().map(|it| it.name.clone()));
        }
        // A list may be long: it is not copied unless there are several.
        if all.is_empty() { all = part } else { all.extend(part) }
    }
    let mut newest: HashMap<Uuid, usize> = HashMap::with_capacity(all.len());
    for (at, kept) in all.iter().enumerate() {
        let newest = newest.entry(kept.uuid()).or_insert(at);
        if kept.seniority < all[*newest].seniority {
            *newest = at;
        }
    }
    let mut places = 0..all.len();
    all.retain(|it| newest.get(&it.uuid()) == places.next().as_ref());
    drop(newest);
    all.sort_unstable_by(|one, other| {
        one.name.cmp(&other.name).then_with(|| one.seniority.cmp(&other.seniority))
    });
    all.into_iter().map(|it| (it.name, it.what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::record;

    #[test]
    fn each_instance_is_kept_once_by_name() {
        let kept = |name: &str, uuid: u128, since_ms: u64, what: &'static str| {
            let record = Record { uuid: Uuid::from_u128(uuid), since_ms, ..record(name) };
            Kept::of(record, |_| what)
        };
        let parts = || {
            vec![
                vec![kept("feed", 1, 10, "feed 1"), kept("clock", 2, 10, "clock")],
                vec![
                    kept("feed", 3, 30, "feed 3"),
                    kept("feed", 1, 20, "feed 1, again"),
                    kept("job", 4, 5, "job"),
                    kept("job", 4, 4, "job, before"),
                ],
            ]
        };
        let merged = |trust| {
            let merged = merge(parts().into_iter(), trust).into_iter();
            merged.map(|(_, what)| what).collect::<Vec<_>>()
        };
        assert_eq!(merged(Trust::Named), ["clock", "feed 3", "feed 1, again", "job"]);
        assert_eq!(merged(Trust::Usual), ["clock", "feed 1", "job"]);
        assert_eq!(merge(Vec::<Vec<Kept<()>>>::new().into_iter(), Trust::Named), []);
    }
}
