//! The first digits of a UUID, as they are typed for an instance.

use discovery::Client;
use endpoints::Name;
use tokio::time::timeout;
use uuid::Uuid;
use wire::Record;

use crate::{failure::Hint, lookup::suggestion::GRACE_MAX};

/// Returns what may be the first digits of a UUID, without dashes and in lower case.
pub(crate) fn digits_of_uuid(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|it| *it != '-').collect();
    let is_hexadecimal = digits.bytes().all(|it| it.is_ascii_hexdigit());
    let fits = (DIGITS_MIN..=Uuid::nil().simple().to_string().len()).contains(&digits.len());
    (is_hexadecimal && fits).then(|| digits.to_ascii_lowercase())
}

/// Reads `feed[3f2a91c0]`.
pub(crate) fn instance_and_digits(text: &str) -> Option<(Name, String)> {
    let (name, digits) = text.strip_suffix(']')?.split_once('[')?;
    Some((Name::new(name).ok()?, digits_of_uuid(digits)?))
}

/// Returns the condition that the UUID of a record begins with digits.
pub(crate) fn begins_with(digits: &str) -> impl Fn(&Record) -> bool + use<> {
    let digits = digits.to_owned();
    move |it| it.uuid.simple().to_string().starts_with(&digits)
}

/// Says which actor's instance was typed where a name is needed, if it was one.
pub(crate) async fn instance_meant(client: &Client, typed: &Name) -> Option<Hint> {
    let typed = typed.as_str();
    let digits = match instance_and_digits(typed) {
        Some((_, digits)) => digits,
        None => digits_of_uuid(typed)?,
    };
    // It is only a hint, so nobody waits for it.
    let listed = timeout(GRACE_MAX, client.list("*")).await.ok()?.ok()?;
    let is_meant = begins_with(&digits);
    let meant = listed.records.iter().find(|it| is_meant(it))?;
    Some(Hint::Command {
        does: format!("that is an instance of `{}`; ask for its name", meant.name),
        words: vec!["find".to_owned(), meant.name.to_string()],
    })
}

/// Fewer digits would often mean several instances.
const DIGITS_MIN: usize = 4;
