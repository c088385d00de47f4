//! From typed words to instances: by name, or by the first digits of a UUID, as lists print them.

use anyhow::anyhow;
use discovery::{Client, LookupResult};
use endpoints::{Name, Quoted};
use uuid::Uuid;
use wire::Record;

use crate::{
    context::Context,
    failure::Failure,
    lookup::{
        digits::{begins_with, digits_of_uuid, instance_and_digits},
        query,
        ranking::{SHORT_UUID_DIGITS, short_uuid},
        suggestion,
    },
    output::notices::patiently,
};

/// A typed choice of instances.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// The instances with this name, or else those whose UUID begins with these digits.
    NameOrDigits(Name, Option<String>),
    /// The instance of this name whose UUID begins with these digits: `feed[3f2a91c0]`.
    Instance(Name, String),
}

impl Target {
    /// Parses a typed choice.
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        if let Some((name, digits)) = instance_and_digits(text) {
            return Ok(Self::Instance(name, digits));
        }
        Ok(Self::NameOrDigits(query::name(text)?, digits_of_uuid(text)))
    }

    /// Looks up the matching instances. There is at least one.
    pub(crate) async fn look_up(
        &self,
        context: &Context,
        client: &Client,
    ) -> Result<Vec<Record>, Failure> {
        match self {
            Self::Instance(name, digits) => {
                let asked = client.query_all(name.as_str());
                let LookupResult { mut records, unanswered, .. } =
                    patiently(context, client, name, asked).await?;
                records.retain(begins_with(digits));
                if records.is_empty() {
                    let none =
                        anyhow!("no instance of `{name}` has a UUID that begins with {digits}");
                    return Err(Failure::not_found(none).unless_known_to(&unanswered));
                }
                Ok(records)
            }
            Self::NameOrDigits(name, digits) => {
                let mut unanswered = Vec::new();
                let mut records = client.list(name.as_str()).await?.records;
                let (mut near, mut alike) = (Vec::new(), None);
                if let Some(digits) = digits
                    && (records.is_empty() || digits.len() >= SHORT_UUID_DIGITS)
                {
                    let mut by_digits = client.list("*").await?.records;
                    by_digits.retain(begins_with(digits));
                    // Anybody may register a name that looks like the digits of another's instance; and
                    // few digits are those of somebody else's by chance.
                    if digits.len() < SHORT_UUID_DIGITS {
                        alike = by_digits.into_iter().next();
                    } else if records.is_empty() || is_whole(digits) && !by_digits.is_empty() {
                        records = by_digits;
                    } else if by_digits.iter().any(|it| it.name != *name) {
                        return Err(ambiguous(name, records.iter().chain(&by_digits)));
                    }
                }
                if records.is_empty() {
                    // It may still return to a registrar that has just started.
                    let asked = client.query_all(name.as_str());
                    let asked = patiently(context, client, name, asked);
                    let (found, names) = suggestion::with_names(client, asked).await;
                    (records, unanswered) = found.map(|it| (it.records, it.unanswered))?;
                    near = names;
                }
                if records.is_empty() {
                    let or_instance = if digits.is_some() { " and no instance" } else { "" };
                    let quoted = Quoted(name.as_str());
                    let error = anyhow!("no actor{or_instance} {quoted} is registered");
                    let near = near.iter().map(String::as_str);
                    let failure = Failure::not_found(error).unless_known_to(&unanswered);
                    let mut failure = suggestion::hint(failure, name.as_str(), near);
                    if let Some(alike) = alike {
                        failure = failure.hint(format!(
                            "a UUID is meant by its first {SHORT_UUID_DIGITS} digits or more: \
                             `{}` is of `{}`",
                            short_uuid(&alike.uuid),
                            alike.name
                        ));
                    }
                    return Err(failure.hint_command("show what is registered", ["ls"]));
                }
                Ok(records)
            }
        }
    }
}

/// Reports that digits are both the name of an actor and the beginning of another instance's UUID.
fn ambiguous<'a>(digits: &Name, records: impl Iterator<Item = &'a Record>) -> Failure {
    let listed: String = records.map(|it| format!("\n  {}", it.instance())).collect();
    let digits = Quoted(digits.as_str());
    let message = format!("{digits} names an actor, and begins the UUID of another's instance");
    Failure::usage(anyhow!("{message}:{listed}")).hint("write NAME[UUID] as listed, in quotes")
}

/// Returns the only record; for several, the failure that asks which one is meant.
pub(crate) fn only_one(mut records: Vec<Record>, command: &str) -> Result<Record, Failure> {
    if records.len() > 1 {
        let listed: String =
            records.iter().map(|it| format!("\n  {} ({})", it.instance(), it.lifetime)).collect();
        let error = anyhow!("{} instances are meant:{listed}", records.len());
        let example = short_uuid(&records[0].uuid);
        let failure = Failure::usage(error);
        return Err(failure.hint_command("say which one, as in", [command, &example]));
    }
    Ok(records.pop().expect("a look-up that finds nothing fails"))
}

/// Tells whether digits make a whole UUID.
fn is_whole(digits: &str) -> bool {
    digits.len() == Uuid::nil().simple().to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_uuids_are_told_apart() {
        let check = |text: &str, expected: Target| {
            assert_eq!(Target::read(text).unwrap(), expected, "{text}");
        };
        let name = |text: &str| Name::new(text).unwrap();
        let digits = |text: &str| Some(text.to_owned());
        check("web", Target::NameOrDigits(name("web"), None));
        // A name of hexadecimal digits is still a name first.
        check("feed", Target::NameOrDigits(name("feed"), digits("feed")));
        check("3F2A91C0", Target::NameOrDigits(name("3F2A91C0"), digits("3f2a91c0")));
        check("3f2", Target::NameOrDigits(name("3f2"), None));
        check(
            "3f2a91c0-5b1e-4c7a-9d1f-000102030405",
            Target::NameOrDigits(
                name("3f2a91c0-5b1e-4c7a-9d1f-000102030405"),
                digits("3f2a91c05b1e4c7a9d1f000102030405"),
            ),
        );
        check("feed[3f2a91c0]", Target::Instance(name("feed"), "3f2a91c0".to_owned()));
        check("feed[x]", Target::NameOrDigits(name("feed[x]"), None));
        assert!(Target::read("two words").is_err());
    }
}
