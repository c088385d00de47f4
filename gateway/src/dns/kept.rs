//! Answers that are given again: the same question comes again and again, and mostly nothing has
//! changed in between.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use tokio::time::Instant;

use super::zone::Zone;

/// Answers by question and asker, for as long as the registry is as it was.
#[derive(Debug)]
pub(super) struct Kept {
    answers: HashMap<Vec<u8>, Vec<u8>>,
    /// As of which change, and when.
    revision: Option<u64>,
    since: Instant,
    /// The present question, as a key.
    key: Vec<u8>,
}

impl Kept {
    pub(super) fn new() -> Self {
        let answers = HashMap::new();
        Self { answers, revision: None, since: Instant::now(), key: Vec::new() }
    }

    /// Returns the answer to a question, if it was given before and is still right.
    pub(super) fn get(
        &mut self,
        zone: &Zone,
        question: &[u8],
        asker: IpAddr,
        now: Instant,
    ) -> Option<&[u8]> {
        self.key.clear();
        let (id, rest) = question.split_at_checked(2)?;
        let revision = zone.registry.settled_revision();
        if revision.is_none() || revision != self.revision || now >= self.since + KEPT_FOR {
            self.answers.clear();
            (self.revision, self.since) = (revision, now);
        }
        if revision.is_none() || rest.len() > QUESTION_BYTES_MAX {
            return None;
        }
        match asker.to_canonical() {
            IpAddr::V4(ip) => self.key.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => self.key.extend_from_slice(&ip.octets()),
        }
        self.key.extend_from_slice(rest);
        let answer = self.answers.get_mut(&self.key)?;
        answer[..2].copy_from_slice(id);
        Some(answer)
    }

    /// Keeps the answer to the question that was looked for last, unless it would be another one the
    /// next time: several records come in an order that is drawn.
    pub(super) fn keep(&mut self, answer: &[u8]) {
        let is_one = matches!(answer.get(6..8), Some([0, 0 | 1]));
        let has_room = self.answers.len() < ANSWERS_MAX && answer.len() <= ANSWER_BYTES_MAX;
        if is_one && has_room && !self.key.is_empty() {
            self.answers.insert(self.key.clone(), answer.to_owned());
        }
    }
}

/// Rules of names, and the places of this host and of declared actors, may change without a change of
/// the registry: an answer is made anew after so long.
const KEPT_FOR: Duration = Duration::from_millis(100);

/// The most answers that are kept, and their longest: half a MiB in all.
const ANSWERS_MAX: usize = 512;
const ANSWER_BYTES_MAX: usize = 512;
const QUESTION_BYTES_MAX: usize = 320;
