//! What others have written and this node leaves out: counted, and told in the log in one line for each
//! kind from time to time, because whoever writes it may do so without end.

use std::{collections::BTreeMap, time::Duration};

use endpoints::Plain;
use tokio::time::Instant;
use tracing::warn;

/// What is left out.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    count: u64,
    kinds: BTreeMap<&'static str, Kind>,
}

/// What is left out for one reason.
#[derive(Debug, Default)]
struct Kind {
    /// How many were not told yet, and the first of them.
    untold: u64,
    first: String,
    told_at: Option<Instant>,
}

impl Faults {
    /// Returns how many there were so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Records that something is left out, and where it stands.
    pub(crate) fn note(&mut self, why: &'static str, at: &[u8]) {
        self.note_with(why, || {
            String::from_utf8_lossy(&at[..at.len().min(SHOWN_MAX)]).into_owned()
        });
    }

    /// Records that something is left out, as it is to be told.
    pub(crate) fn note_with(&mut self, why: &'static str, what: impl FnOnce() -> String) {
        self.count += 1;
        let kind = self.kinds.entry(why).or_default();
        kind.untold += 1;
        if kind.untold == 1 {
            kind.first = what();
        }
    }

    /// Writes what has not been told, a line for each kind, unless there was one lately.
    pub(crate) fn tell(&mut self, now: Instant) {
        for (why, first, count) in self.take_due(now) {
            warn!(
                target: "callsign", why, first = %Plain(&first), count,
                "what another node has written is left out"
            );
        }
    }

    fn take_due(&mut self, now: Instant) -> Vec<(&'static str, String, u64)> {
        let is_due = |it: &Kind| it.told_at.is_none_or(|told| now - told >= INTERVAL);
        let due = self.kinds.iter_mut().filter(|(_, it)| it.untold > 0 && is_due(it));
        due.map(|(why, kind)| {
            kind.told_at = Some(now);
            (*why, std::mem::take(&mut kind.first), std::mem::take(&mut kind.untold))
        })
        .collect()
    }
}

/// The least time between two lines of a kind.
const INTERVAL: Duration = Duration::from_secs(60);

/// The most bytes of a key that are shown: those of a usual record are fewer.
const SHOWN_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_line_a_minute_for_each_kind() {
        let (mut faults, start) = (Faults::default(), Instant::now());
        let mut due = |after: u64, noted: &[(&'static str, &[u8])]| {
            noted.iter().for_each(|(why, at)| faults.note(why, at));
            faults.take_due(start + Duration::from_secs(after))
        };
        assert_eq!(due(0, &[("long", b"a"), ("long", b"b")]), [("long", "a".to_owned(), 2)]);
        assert_eq!(due(1, &[("long", b"c"), ("odd", b"d")]), [("odd", "d".to_owned(), 1)]);
        assert_eq!(due(59, &[("long", b"e")]), []);
        assert_eq!(due(60, &[]), [("long", "c".to_owned(), 2)]);
        assert_eq!(due(200, &[]), []);
        assert_eq!(due(201, &[("odd", &[b'x'; 4096])])[0].1.len(), SHOWN_MAX);
        assert_eq!(faults.count(), 6);
    }
}
