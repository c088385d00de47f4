//! The identity of an actor: tractor's form, and callsign's.

use std::{collections::BTreeMap, fmt};

use endpoints::{Name, NameError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::Record;

/// The identity of an actor: its name, and the id of this run. The latter is usually a UUID, and
/// may be any string.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub(super) struct Uid(pub(super) String, pub(super) String);

impl Uid {
    /// Returns the instance in callsign's terms.
    pub(super) fn instance(&self) -> Result<(Name, Uuid), NameError> {
        let name = escaped(&self.0)?;
        let uuid = self.as_uuid().unwrap_or_else(|| {
            // No name has a zero byte in it, so no two pairs run together.
            Uuid::new_v5(&UIDS, format!("{name}\0{}", self.1).as_bytes())
        });
        Ok((name, uuid))
    }

    /// Returns the metadata that restore the actor's original identity.
    pub(super) fn metadata(&self, form: Form) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([("protocol".to_owned(), "tractor".to_owned())]);
        if self.as_uuid().is_none() {
            metadata.insert(UUID_KEY.to_owned(), self.1.clone());
        }
        if form == Form::Tagged {
            metadata.insert(FORM_KEY.to_owned(), "tagged".to_owned());
        }
        metadata
    }

    fn as_uuid(&self) -> Option<Uuid> {
        Uuid::try_parse(&self.1).ok().filter(|it| it.to_string() == self.1)
    }
}

/// Takes a record, whatever protocol its actor speaks.
impl From<&Record> for Uid {
    fn from(record: &Record) -> Self {
        let uuid = record.metadata.get(UUID_KEY).cloned();
        Self(unescaped(record.name.as_str()), uuid.unwrap_or_else(|| record.uuid.to_string()))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.1)
    }
}

/// Returns callsign's name for tractor's `text`: the same, unless it has a character that names do
/// not have. Then that character, and each `%`, is written as `%` and two hexadecimal digits for
/// each byte.
pub(super) fn escaped(text: &str) -> Result<Name, NameError> {
    // Text that looks like an escape would be read as one.
    let looks_escaped = unescape(text).is_some_and(|it| it != text);
    if !looks_escaped && let Ok(name) = Name::new(text) {
        return Ok(name);
    }
    let is_kept = |it: char| it != '%' && Name::new(&format!("a{it}a")).is_ok();
    let escaped = escape(text, |_, it| is_kept(it));
    // A character may be allowed within a name, but not as its first.
    Name::new(&escaped).or_else(|_| Name::new(&escape(text, |at, it| at > 0 && is_kept(it))))
}

/// Returns tractor's name of an actor that callsign knows by `name`.
fn unescaped(name: &str) -> String {
    let is_meant = |it: &String| escaped(it).is_ok_and(|it| it.as_str() == name);
    unescape(name).filter(is_meant).unwrap_or_else(|| name.to_owned())
}

fn escape(text: &str, is_kept: impl Fn(usize, char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if is_kept(at, character) {
            escaped.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}

/// Reads every `%` with two digits after it as the byte that it encodes.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|it| *first == b'%' && it.iter().all(is_digit));
        let byte = digits.and_then(|it| u8::from_str_radix(str::from_utf8(it).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

fn is_digit(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'F')
}

/// The forms of addresses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Form {
    /// `[host, port]` and `[folder, file]`.
    #[default]
    Pairs,
    /// `["tcp", host, port]` and `["unix", path]`.
    Tagged,
}

impl Form {
    /// Returns the form in which an actor wrote its own addresses.
    pub(super) fn of(record: &Record) -> Self {
        match record.metadata.get(FORM_KEY).map(String::as_str) {
            Some("tagged") => Self::Tagged,
            _ => Self::Pairs,
        }
    }
}

const UUID_KEY: &str = "tractor.uuid";
const FORM_KEY: &str = "tractor.addresses";

/// The namespace of texts that are no UUIDs; drawn once, and then never changed.
const UIDS: Uuid = Uuid::from_u128(0x8b3f_7f1e_52c1_4c0a_9d37_61a5_0be2_74d6);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_stays_and_any_other_text_gets_one() {
        let instance = |name: &str, uuid: &str| Uid(name.into(), uuid.into()).instance();
        let canonical = "0f0f4d9c-5a48-4b0e-9b52-3a0a44b3a7c1";
        assert_eq!(instance("a", canonical).unwrap().1.to_string(), canonical);
        let (_, upper) = instance("a", &canonical.to_uppercase()).unwrap();
        assert_ne!(upper.to_string(), canonical);
        assert_eq!(instance("a", "u").unwrap(), instance("a", "u").unwrap());
        assert_ne!(instance("a", "u").unwrap().1, instance("b", "u").unwrap().1);
        assert!(instance("", "u").is_err());
        assert_ne!(instance("a b", "u").unwrap().1, instance("a%20b", "u").unwrap().1);
    }

    #[test]
    fn invalid_characters_are_escaped_and_restored() {
        let check = |text: &str, expected: &str| {
            let name = escaped(text).unwrap();
            assert_eq!(name.as_str(), expected);
            assert_eq!(unescaped(expected), text);
        };
        check("feed", "feed");
        check("50%", "50%");
        check("feed one", "feed%20one");
        check("market/feed", "market%2Ffeed");
        check("who?*", "who%3F%2A");
        check("a\nb\0", "a%0Ab%00");
        check("größe ß", "größe%20ß");
        check("\u{3000}", "%E3%80%80");
        // Text that would be read as an escape is escaped.
        check("a%20b", "a%2520b");
        check("50% of all", "50%25%20of%20all");
        check("%E3%80", "%E3%80");
        assert!(escaped("").is_err());
        assert!(escaped(&" ".repeat(86)).is_err(), "258 bytes");
    }

    #[test]
    fn a_name_that_is_no_escape_stays() {
        for name in ["a%41", "%zz", "%", "a%2", "%e3%80%80", "%2520%zz"] {
            assert_eq!(unescaped(name), name);
        }
    }
}
