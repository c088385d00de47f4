//! A record as a few aligned lines.

use std::{fmt::Write as _, time::Duration};

use endpoints::Plain;
use wire::Kept;

use crate::seen::{Seen, age_in_words, doubt_in_words, in_short};

/// Writes a record as lines: the nearest endpoint alone on the first, then what is known of it.
pub(crate) fn portrait(seen: &Seen<'_>, now_ms: u64) -> String {
    let record = seen.record;
    let mut lines: Vec<(&str, String)> = vec![("instance", record.instance().to_string())];
    let mut further = &seen.candidates[..];
    let head = match seen.nearest() {
        Some((endpoint, locality)) => {
            lines.push(("locality", locality.to_string()));
            further = &seen.candidates[1..];
            endpoint.to_string()
        }
        None => format!("none: {}", seen.why_none()),
    };
    lines.push((
        "state",
        match record.suspicion {
            Some(it) => format!("{}, {}", record.state, doubt_in_words(it, now_ms)),
            None => record.state.to_string(),
        },
    ));
    lines.push((
        "kept by",
        match record.kept {
            Kept::Lease { ttl_ms } => {
                let ttl = humantime::format_duration(Duration::from_millis(ttl_ms));
                format!("lease of {ttl}")
            }
            kept => kept.to_string(),
        },
    ));
    lines.extend(age_in_words(record, now_ms).map(|age| ("age", age)));
    for candidate in further {
        let verdict = match &candidate.verdict {
            Ok(locality) => locality.to_string(),
            Err(reason) => format!("out of reach: {}", in_short(reason)),
        };
        lines.push(("also at", format!("{} ({verdict})", candidate.stamped.endpoint)));
    }
    for (key, value) in &record.metadata {
        lines.push(("metadata", format!("{key} = {value}")));
    }

    let mut text = format!("{head}\n");
    let mut last = "";
    for (label, value) in lines {
        let shown = if label == last { "" } else { label };
        _ = writeln!(text, "  {shown:8}  {}", Plain(&value));
        last = label;
    }
    text
}

#[cfg(test)]
mod tests {
    use wire::Suspicion;

    use super::*;
    use crate::seen::sample::{record, seen};

    #[test]
    fn the_nearest_endpoint_stands_alone_on_the_first_line() {
        let mut feed = record(
            "feed",
            3,
            &[("/ip4/10.0.0.9/tcp/7", 2), ("/unix/run/feed.sock", 1), ("/unix/gone", 1)],
        );
        feed.kept = Kept::Lease { ttl_ms: 90_000 };
        feed.suspicion = Some(Suspicion { reports: 2, since_ms: 58_000, silent: true });
        feed.metadata.insert("desk".to_owned(), "rates".to_owned());
        feed.metadata.insert("note".to_owned(), "\u{1b}[2J".to_owned());
        assert_eq!(
            portrait(&seen(&feed), 61_000),
            "\
/unix/run/feed.sock
  instance  feed[33333333-3333-3333-3333-333333333333]
  locality  unix socket
  state     ready, suspect for 3s: reported 2 times, gives no sign of life
  kept by   lease of 1m 30s
  age       1m
  also at   /ip4/10.0.0.9/tcp/7 (same subnet)
            /unix/gone (out of reach: no such socket)
  metadata  desk = rates
            note = \\u{1b}[2J
"
        );
        assert_eq!(
            portrait(&seen(&record("feed", 3, &[])), 0),
            "\
none: no endpoints
  instance  feed[33333333-3333-3333-3333-333333333333]
  state     ready
  kept by   session
  age       0s
"
        );
    }
}
