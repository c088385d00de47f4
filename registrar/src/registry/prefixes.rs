//! The sessions that watch patterns which a name may match, by the beginnings of the patterns.

use std::collections::BTreeMap;

use foldhash::HashMap;

use super::SessionId;

/// The sessions that watch patterns, by the beginnings of the patterns. A name is looked up by each
/// of its beginnings that is as long as some pattern's: at most once for each of its bytes, however
/// many patterns there are.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// The number of each session's patterns with a beginning.
    by_prefix: HashMap<Box<str>, BTreeMap<SessionId, usize>>,
    /// The number of beginnings of each length.
    lengths: BTreeMap<usize, usize>,
}

impl Prefixes {
    pub(super) fn insert(&mut self, prefix: &str, session: SessionId) {
        let Some(sessions) = self.by_prefix.get_mut(prefix) else {
            *self.lengths.entry(prefix.len()).or_default() += 1;
            self.by_prefix.insert(prefix.into(), [(session, 1)].into());
            return;
        };
        *sessions.entry(session).or_default() += 1;
    }

    pub(super) fn remove(&mut self, prefix: &str, session: SessionId) {
        let Some(sessions) = self.by_prefix.get_mut(prefix) else { return };
        if let Some(patterns) = sessions.get_mut(&session) {
            *patterns -= 1;
            if *patterns == 0 {
                sessions.remove(&session);
            }
        }
        if !sessions.is_empty() {
            return;
        }
        self.by_prefix.remove(prefix);
        if let Some(beginnings) = self.lengths.get_mut(&prefix.len()) {
            *beginnings -= 1;
            if *beginnings == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// Returns the sessions with patterns that a name may match; a session may occur several times.
    pub(super) fn of(&self, name: &str) -> impl Iterator<Item = SessionId> {
        self.lengths
            .keys()
            .filter_map(|length| self.by_prefix.get(name.get(..*length)?))
            .flat_map(|sessions| sessions.keys().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_what_its_patterns_begin_with() {
        let mut prefixes = Prefixes::default();
        for (prefix, session) in [("", 1), ("feed.", 2), ("feed.", 2), ("föe", 3), ("x", 4)] {
            prefixes.insert(prefix, session);
        }
        let check = |prefixes: &Prefixes, name: &str, expected: &[SessionId]| {
            assert_eq!(prefixes.of(name).collect::<Vec<_>>(), expected, "{name}");
        };
        check(&prefixes, "feed.eu", &[1, 2]);
        check(&prefixes, "feed", &[1]);
        check(&prefixes, "föe", &[1, 3]);
        check(&prefixes, "fö", &[1]);
        check(&prefixes, "ö", &[1]);
        prefixes.remove("feed.", 2);
        check(&prefixes, "feed.eu", &[1, 2]);
        for (prefix, session) in [("feed.", 2), ("", 1), ("föe", 3), ("x", 4), ("y", 5)] {
            prefixes.remove(prefix, session);
        }
        check(&prefixes, "feed.eu", &[]);
        assert!(prefixes.lengths.is_empty() && prefixes.by_prefix.is_empty());
    }
}
