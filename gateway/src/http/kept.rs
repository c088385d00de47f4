//! Answers that are given again: the same actor is asked for again and again, and mostly nothing has
//! changed in between but its age.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::Uri;
use registrar::{RegistryHandle, registry::Caller};
use tokio::time::Instant;

/// Answers by what was asked for and by caller, for as long as the registry is as it was.
#[derive(Debug)]
pub(super) struct Kept(Mutex<Answers>);

#[derive(Debug)]
struct Answers {
    by_address: HashMap<String, Vec<(Caller, Answer)>>,
    count: usize,
    /// As of which change, and when.
    revision: Option<u64>,
    since: Instant,
}

/// An answer, without the ages of its records.
#[derive(Debug)]
pub(super) struct Answer {
    /// The JSON, with `null` for each age that is known.
    body: Vec<u8>,
    /// Where each age is, and when it began, by the registrar's clock.
    ages: Vec<(usize, u64)>,
    revision: u64,
}

impl Answer {
    /// Takes JSON that was made without ages, and since when each of its records is there (0 if that
    /// is unknown), in their order.
    pub(super) fn new(body: Vec<u8>, revision: u64, since_ms: impl Iterator<Item = u64>) -> Self {
        // Nothing else looks so: within a string, quotes are escaped.
        let found = (0..body.len()).filter(|at| body[*at..].starts_with(AGELESS));
        let ages = found.map(|at| at + AGELESS.len() - NULL.len());
        let ages = ages.zip(since_ms).filter(|(_, since_ms)| *since_ms > 0).collect();
        Self { body, ages, revision }
    }

    /// Returns the JSON with the ages of a moment.
    pub(super) fn body(&self, now_ms: u64) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.body.len() + self.ages.len() * AGE_BYTES);
        let mut written = 0;
        for (at, since_ms) in &self.ages {
            body.extend_from_slice(&self.body[written..*at]);
            let age_ms = now_ms.saturating_sub(*since_ms);
            serde_json::to_writer(&mut body, &age_ms).expect("a number is no fault");
            written = at + NULL.len();
        }
        body.extend_from_slice(&self.body[written..]);
        body
    }
}

impl Kept {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Answers {
            by_address: HashMap::new(),
            count: 0,
            revision: None,
            since: Instant::now(),
        }))
    }

    /// Returns the JSON that a caller had to the same request, if it is still right, and the revision
    /// of the registry.
    pub(super) fn get(
        &self,
        uri: &Uri,
        caller: &Caller,
        registry: &RegistryHandle,
    ) -> Option<(Vec<u8>, u64)> {
        let mut answers = self.lock();
        let revision = registry.settled_revision()?;
        answers.follow(revision);
        let found = answers.by_address.get(uri.path_and_query()?.as_str())?;
        let (_, answer) = found.iter().find(|(other, _)| other == caller)?;
        Some((answer.body(registry.now_ms()), revision))
    }

    /// Keeps the answer to a request.
    pub(super) fn keep(
        &self,
        uri: &Uri,
        caller: &Caller,
        registry: &RegistryHandle,
        answer: Answer,
    ) {
        let (Some(revision), Some(address)) = (registry.settled_revision(), uri.path_and_query())
        else {
            return;
        };
        let mut answers = self.lock();
        answers.follow(revision);
        let address = address.as_str();
        let is_short = address.len() <= ADDRESS_BYTES_MAX && answer.body.len() <= BODY_BYTES_MAX;
        // It may have changed since it was made.
        if is_short && answers.count < ANSWERS_MAX && answer.revision == revision {
            answers.count += 1;
            let of_address = answers.by_address.entry(address.to_owned()).or_default();
            of_address.push((caller.clone(), answer));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        // Whoever panicked left answers that are right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    /// Forgets all answers, if they may be others now.
    fn follow(&mut self, revision: u64) {
        let now = Instant::now();
        if self.revision != Some(revision) || now >= self.since + KEPT_FOR {
            self.by_address.clear();
            (self.count, self.revision, self.since) = (0, Some(revision), now);
        }
    }
}

/// An age that is not known, and its value.
const AGELESS: &[u8] = b"\"age_ms\":null";
const NULL: &[u8] = b"null";

/// What an age takes beyond that, for some centuries.
const AGE_BYTES: usize = 12;

/// Rules of names, and the places of this host and of declared actors, may change without a change of
/// the registry: an answer is made anew after so long.
const KEPT_FOR: Duration = Duration::from_millis(100);

/// The most answers that are kept, and their longest: two MiB in all.
const ANSWERS_MAX: usize = 512;
const BODY_BYTES_MAX: usize = 3584;
const ADDRESS_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use registrar::registry::{Foreign, Limits, Owner};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn ages_are_those_of_the_moment() {
        let body = br#"[{"metadata":{"a":"\"age_ms\":null"},"age_ms":null},{"age_ms":null}]"#;
        let told = |since: [u64; 2]| {
            let answer = Answer::new(body.to_vec(), 7, since.into_iter());
            String::from_utf8(answer.body(1000)).unwrap()
        };
        let whole = |first: &str, second: &str| {
            format!(
                r#"[{{"metadata":{{"a":"\"age_ms\":null"}},"age_ms":{first}}},{{"age_ms":{second}}}]"#
            )
        };
        assert_eq!(told([990, 0]), whole("10", "null"));
        assert_eq!(told([2000, 1]), whole("0", "999"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_its_caller_until_something_changes() {
        let registry = RegistryHandle::unattended(Limits::default());
        let (kept, revision) = (Kept::new(), registry.revision());
        let [uri, other]: [Uri; 2] =
            ["/v1/actors/feed", "/v1/actors/feed?all=true"].map(|it| it.parse().unwrap());
        let [alice, bob] = [Owner::User(1001), Owner::User(1002)].map(Caller::from);
        let answer = || Answer::new(b"[]".to_vec(), revision, std::iter::empty());
        assert!(kept.get(&uri, &alice, &registry).is_none());
        kept.keep(&uri, &alice, &registry, answer());
        assert!(kept.get(&uri, &alice, &registry).is_some());
        assert!(kept.get(&uri, &bob, &registry).is_none());
        assert!(kept.get(&other, &alice, &registry).is_none());
        tokio::time::advance(Duration::from_millis(99)).await;
        assert!(kept.get(&uri, &alice, &registry).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(kept.get(&uri, &alice, &registry).is_none());

        kept.keep(&uri, &alice, &registry, answer());
        let web = Foreign {
            name: "web".parse().unwrap(),
            uuid: Uuid::from_u128(8),
            endpoint: None,
            metadata: BTreeMap::new(),
        };
        registry.remember_foreign(web, Owner::User(1000)).unwrap();
        assert_ne!(registry.revision(), revision);
        assert!(kept.get(&uri, &alice, &registry).is_none());
        kept.keep(&uri, &alice, &registry, answer());
        assert!(kept.get(&uri, &alice, &registry).is_none(), "it was made before the change");
    }
}
