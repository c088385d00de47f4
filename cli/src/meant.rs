//! The names that somebody may have meant who wrote another.

use std::{pin::pin, time::Duration};

use discovery::{Client, Found, LookupError};
use tokio::{
    select,
    time::{Instant, timeout},
};

use crate::failure::Failure;

/// Waits for `answer`, and asks for all names meanwhile. They are there if they have come by then,
/// or shortly after: nobody waits for them.
pub(crate) async fn with_names<T>(
    client: &Client,
    answer: impl Future<Output = T>,
) -> (T, Vec<String>) {
    let began = Instant::now();
    let mut answer = pin!(answer);
    let mut names = pin!(client.list("*"));
    let mut listed: Option<Result<Found, LookupError>> = None;
    let answer = loop {
        select! {
            biased;
            answer = &mut answer => break answer,
            names = &mut names, if listed.is_none() => listed = Some(names),
        }
    };
    if listed.is_none() {
        listed = timeout(began.elapsed().min(GRACE_MAX), names).await.ok();
    }
    let records = listed.and_then(Result::ok).unwrap_or_default().records;
    let mut names: Vec<_> = records.into_iter().map(|it| it.name.to_string()).collect();
    names.dedup();
    (answer, names)
}

/// Adds a hint to the failure of a name that nobody has, if there are names like it.
pub(crate) fn hint<'a>(
    failure: Failure,
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Failure {
    match did_you_mean(written, names) {
        Some(meant) => failure.hint(meant),
        None => failure,
    }
}

/// Asks whether a name like it was meant, if there are any.
pub(crate) fn did_you_mean<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let meant = nearest(written, names);
    let (last, others) = meant.split_last()?;
    Some(match others {
        [] => format!("did you mean `{last}`?"),
        _ => format!("did you mean `{}`, or `{last}`?", others.join("`, `")),
    })
}

/// Returns the names that are nearest to what was written, if a slip or two would make it of them.
fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let length = written.chars().count();
    if length > CHARACTERS_MAX {
        return Vec::new();
    }
    let small = written.to_lowercase();
    // One slip in three letters; in a name of one letter it would be another.
    let slips_max = if length == 1 { 0 } else { (length / 3).max(1) };
    let slips = |name: &'a str| {
        let is_near = name.chars().count().abs_diff(length) <= slips_max;
        let slips = is_near.then(|| strsim::damerau_levenshtein(&small, &name.to_lowercase()))?;
        (slips <= slips_max && name != written).then_some((slips, name))
    };
    let mut near: Vec<_> = names.into_iter().filter_map(slips).collect();
    near.sort_unstable();
    near.dedup();
    let best = near.first().map(|(slips, _)| *slips);
    let best = near.into_iter().filter(|(slips, _)| Some(*slips) == best);
    best.map(|(_, name)| name).take(SHOWN_MAX).collect()
}

/// How much longer than the answer itself the names may take, at most: nobody feels it.
const GRACE_MAX: Duration = Duration::from_millis(50);

/// The comparison takes the square of the length, and longer names are seldom typed.
const CHARACTERS_MAX: usize = 64;

/// More would be a list.
const SHOWN_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_name() {
        let check = |written: &str, expected: &[&str]| {
            let names = ["web", "web", "feed", "feed-eu", "feed-us", "order.book", "x", "Grüße"];
            assert_eq!(nearest(written, names), expected, "{written}");
        };
        check("wbe", &["web"]);
        check("wob", &["web"]);
        check("we", &["web"]);
        check("WEB", &["web"]);
        check("feeed", &["feed"]);
        check("feed_eu", &["feed-eu"]);
        check("feed-xs", &["feed-us"]);
        check("feed-u", &["feed-eu", "feed-us"]);
        check("orderbook", &["order.book"]);
        check("grusse", &[]);
        check("grüsse", &["Grüße"]);
        check("broker", &[]);
        check("y", &[]);
        check("X", &["x"]);
        check("web", &[]);
        check(&"w".repeat(65), &[]);
    }
}
