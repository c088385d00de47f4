//! Which actor is meant: tractor's word for it, and callsign's.

use std::{collections::BTreeMap, fmt};

use endpoints::{Name, NameError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::Record;

/// Which actor: its name, and what tells this run of it from every other. The latter is a UUID as
/// a rule, and may be any text.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub(super) struct Uid(pub(super) String, pub(super) String);

impl Uid {
    /// Returns which instance this is in callsign's words.
    pub(super) fn instance(&self) -> Result<(Name, Uuid), NameError> {
        let name = Name::new(&self.0)?;
        let uuid = self.as_uuid().unwrap_or_else(|| {
            // No name has a zero byte in it, so no two pairs run together.
            Uuid::new_v5(&UIDS, format!("{}\0{}", self.0, self.1).as_bytes())
        });
        Ok((name, uuid))
    }

    /// Returns what has to be remembered to tell the actor as it was told.
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
        Self(record.name.to_string(), uuid.unwrap_or_else(|| record.uuid.to_string()))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.1)
    }
}

/// How addresses are written.
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
        assert!(instance("a b", "u").is_err());
        assert!(instance("", "u").is_err());
    }
}
