//! Suggestions for a misspelt name.

use std::{pin::pin, time::Duration};

use discovery::Client;
use endpoints::{Name, names_like};
use tokio::{
    select,
    time::{Instant, timeout},
};

use crate::failure::Failure;

/// Waits for `answer`, and asks for all names meanwhile. The names are used if they have come by
/// then, or shortly after: nobody waits for them.
pub(crate) async fn with_names<T>(
    client: &Client,
    answer: impl Future<Output = T>,
) -> (T, Vec<String>) {
    let began = Instant::now();
    let mut answer = pin!(answer);
    let mut names = pin!(client.names("*"));
    let mut listed = None;
    let answer = loop {
        select! {
            biased;
            answer = &mut answer => break answer,
            names = &mut names, if listed.is_none() => listed = Some(names),
        }
    };
    if listed.is_none() {
        let grace = began.elapsed().clamp(GRACE_MIN, GRACE_MAX);
        listed = timeout(grace, names).await.ok();
    }
    let names = listed.and_then(Result::ok).unwrap_or_default();
    (answer, names.names.iter().map(Name::to_string).collect())
}

/// Adds a hint to the failure of an unknown name, if there are similar names.
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

/// Asks whether a similar name was meant, if there are any.
pub(crate) fn did_you_mean<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let meant = names_like(written, names);
    let (last, others) = meant.split_last()?;
    Some(match others {
        [] => format!("did you mean `{last}`?"),
        _ => format!("did you mean `{}`, or `{last}`?", others.join("`, `")),
    })
}

/// The additional time for names after the answer itself: some twenty thousand come in the shorter
/// time, and nobody feels the longer one.
const GRACE_MIN: Duration = Duration::from_millis(100);
pub(crate) const GRACE_MAX: Duration = Duration::from_millis(200);
