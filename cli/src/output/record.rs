//! A record as a few aligned lines.

use std::{fmt::Write as _, time::Duration};

use endpoints::{Plain, Ranked, Stamped};
use wire::Lifetime;

use crate::{
    lookup::ranking::{
        Seen, age_in_words, doubt_in_words, has_no_verified, in_short, is_unverified, remark_on,
    },
    output::fitted,
    owners::owner_of,
};

/// Writes a record as lines: the first is only the nearest endpoint, whole, however wide it is;
/// then the rest of the record.
pub(crate) fn portrait(seen: &Seen<'_>, now_ms: u64, width: Option<u16>) -> String {
    match seen.nearest() {
        Some((endpoint, locality)) => {
            let (head, further) = (endpoint.to_string(), &seen.candidates[1..]);
            let remark = remark_on(seen.candidates[0].stamped, seen.record);
            draw(seen, &head, Some(format!("{locality}{remark}")), further, now_ms, width)
        }
        None => {
            draw(seen, &format!("none: {}", seen.why_none()), None, &seen.candidates, now_ms, width)
        }
    }
}

/// Writes a record that cannot be reached from here as [`portrait`] does, for readers that take the
/// first line as an endpoint: it is one at which others may reach the actor, or empty if there is
/// none.
pub(crate) fn portrait_of_unreachable(seen: &Seen<'_>, now_ms: u64, width: Option<u16>) -> String {
    match &seen.candidates[..] {
        [first, further @ ..] => {
            let (head, why) = (first.stamped.endpoint.to_string(), seen.why_none());
            draw(seen, &head, Some(format!("out of reach: {why}")), further, now_ms, width)
        }
        [] => draw(seen, "", Some(seen.why_none()), &[], now_ms, width),
    }
}

fn draw(
    seen: &Seen<'_>,
    head: &str,
    locality: Option<String>,
    further: &[Ranked<&Stamped>],
    now_ms: u64,
    width: Option<u16>,
) -> String {
    let record = seen.record;
    let mut lines: Vec<(&str, String)> = vec![("instance", record.instance().to_string())];
    lines.extend(locality.map(|it| ("locality", it)));
    let mut state = vec![record.state.to_string()];
    state.extend(record.suspicion.map(|it| doubt_in_words(it, now_ms)));
    if has_no_verified(record) {
        let of_registrant = is_unverified(record);
        state.push(if of_registrant { UNVERIFIED } else { DECLARED }.to_owned());
    }
    lines.push(("state", state.join(", ")));
    lines.push((
        "lifetime",
        match record.lifetime {
            Lifetime::Lease { ttl_ms } => {
                let ttl = humantime::format_duration(Duration::from_millis(ttl_ms));
                format!("lease of {ttl}")
            }
            lifetime => lifetime.to_string(),
        },
    ));
    lines.extend(record.node.as_ref().map(|node| ("node", node.to_string())));
    lines.extend(owner_of(record).map(|owner| ("owner", owner)));
    lines.extend(record.token.map(|token| ("token", token.to_string())));
    if record.waiting > 0 {
        lines.push(("waiting", format!("{} in line for the name", record.waiting)));
    }
    lines.extend(age_in_words(record, now_ms).map(|age| ("age", age)));
    for candidate in further {
        let verdict = match &candidate.verdict {
            Ok(locality) => locality.to_string(),
            Err(reason) => format!("out of reach: {}", in_short(reason)),
        };
        let remark = remark_on(candidate.stamped, record);
        lines.push(("also at", format!("{} ({verdict}{remark})", candidate.stamped.endpoint)));
    }
    for (key, value) in &record.metadata {
        lines.push(("metadata", format!("{key} = {value}")));
    }

    let mut text = format!("{head}\n");
    let mut last = "";
    for (label, value) in lines {
        let shown = if label == last { "" } else { label };
        let line = format!("  {shown:8}  {}", Plain(&value));
        _ = writeln!(text, "{}", fitted(&line, width, 0, 12));
        last = label;
    }
    text
}

/// What is added to a state that nobody but the registrant can vouch for.
const UNVERIFIED: &str = "unverified: its registrant alone says where it listens";

/// The same of a declared actor, which has no registrant.
const DECLARED: &str = "unverified: the registrar's settings alone say where it listens";

#[cfg(test)]
mod tests {
    use wire::{Owner, Suspicion};

    use super::*;
    use crate::lookup::ranking::sample::{record, seen};

    #[test]
    fn the_nearest_endpoint_stands_alone_on_the_first_line() {
        let mut feed = record(
            "feed",
            3,
            &[("/ip4/10.0.0.9/tcp/7", 2), ("/unix/run/feed.sock", 1), ("/unix/gone", 1)],
        );
        feed.lifetime = Lifetime::Lease { ttl_ms: 90_000 };
        feed.owner = Some(Owner::User(0));
        feed.token = Some(17);
        feed.waiting = 2;
        feed.suspicion =
            Some(Suspicion { reports: 2, since_ms: 58_000, silent: true, ..Suspicion::default() });
        feed.metadata.insert("desk".to_owned(), "rates".to_owned());
        feed.metadata.insert("note".to_owned(), "\u{1b}[2J".to_owned());
        assert_eq!(
            portrait(&seen(&feed), 61_000, Some(80)),
            "\
/unix/run/feed.sock
  instance  feed[33333333-3333-3333-3333-333333333333]
  locality  unix socket
  state     ready, suspect for 3s: reported 2 times, gives no sign of life
  lifetime  lease of 1m 30s
  owner     root
  token     17
  waiting   2 in line for the name
  age       1m
  also at   /ip4/10.0.0.9/tcp/7 (same subnet)
            /unix/gone (out of reach: no such socket)
  metadata  desk = rates
            note = \\u{1b}[2J
"
        );
        assert_eq!(
            portrait(&seen(&record("feed", 3, &[])), 0, None),
            "\
none: no endpoints
  instance  feed[33333333-3333-3333-3333-333333333333]
  state     ready
  lifetime  session
  age       0s
"
        );
    }

    #[test]
    fn an_endpoint_that_nobody_can_see_is_marked() {
        let shown = |record: &wire::Record| {
            let text = portrait(&seen(record), 0, None);
            let tells =
                |it: &&str| ["locality", "state", "also at"].iter().any(|at| it.contains(at));
            text.lines().filter(tells).map(|it| it.trim().to_owned()).collect::<Vec<_>>()
        };
        let mut feed = record("feed", 3, &[("/unix/run/feed.sock", 1), ("/dns/far/tcp/7", 0)]);
        assert_eq!(
            shown(&feed),
            [
                "locality  unix socket",
                "state     ready",
                "also at   /dns/far/tcp/7 (remote, unverified)",
            ]
        );
        feed.endpoints[0].stamp.kernel = Some(endpoints::KernelId(2));
        assert_eq!(
            shown(&feed),
            [
                "locality  remote, unverified",
                "state     ready",
                "also at   /unix/run/feed.sock (out of reach: on another host)",
            ]
        );
        let mut far = record("far", 3, &[("/dns/far/tcp/7", 0), ("/ip4/192.0.2.7/tcp/7", 0)]);
        let also = "also at   /ip4/192.0.2.7/tcp/7 (remote)";
        let unverified = "unverified: its registrant alone says where it listens";
        let state = format!("state     ready, {unverified}");
        assert_eq!(shown(&far), ["locality  remote", &state, also]);
        far.suspicion = Some(Suspicion { reports: 1, ..Suspicion::default() });
        let state = format!("state     ready, suspect for 0s: reported once, {unverified}");
        assert_eq!(shown(&far), ["locality  remote", &state, also]);
        far.suspicion = None;
        far.lifetime = Lifetime::Declared;
        let state =
            "state     ready, unverified: the registrar's settings alone say where it listens";
        assert_eq!(shown(&far), ["locality  remote", state, also]);
    }

    #[test]
    fn the_first_line_of_what_is_out_of_reach_is_an_endpoint_too() {
        let check = |endpoints: &[(&str, u64)], expected: &str| {
            let record = record("feed", 3, endpoints);
            let text = portrait_of_unreachable(&seen(&record), 0, None);
            let shown: Vec<_> = text.lines().filter(|it| !it.contains("instance")).collect();
            assert_eq!(shown[..shown.len() - 3].join("\n"), expected);
        };
        check(&[], "\n  locality  no endpoints");
        check(&[("/unix/gone", 1)], "/unix/gone\n  locality  out of reach: no such socket");
    }
}
