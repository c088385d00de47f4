//! A record as a few aligned lines.

use std::{fmt::Write as _, time::Duration};

use wire::Kept;

use crate::{
    notice::plain,
    output::age,
    seen::{Seen, in_short, state_in_words},
};

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
    lines.push(("state", state_in_words(record)));
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
    let age_ms = now_ms.saturating_sub(record.since_ms);
    lines.push(("age", age(Duration::from_millis(age_ms))));
    for candidate in further {
        let verdict = match &candidate.verdict {
            Ok(locality) => locality.to_string(),
            Err(reason) => format!("out of reach: {}", in_short(reason)),
        };
        lines.push(("also at", format!("{} ({verdict})", candidate.stamped.endpoint)));
    }
    for (key, value) in &record.metadata {
        lines.push(("metadata", plain(&format!("{key} = {value}"))));
    }

    let mut text = format!("{head}\n");
    let mut last = "";
    for (label, value) in lines {
        let shown = if label == last { "" } else { label };
        _ = writeln!(text, "  {shown:8}  {value}");
        last = label;
    }
    text
}
