//! The selection and order of listed records.

use anyhow::anyhow;
use clap::ValueEnum;
use endpoints::{Quoted, is_match};
use wire::{Lifetime, Record};

use crate::{failure::Failure, lookup::ranking::Seen, owners};

/// The sort key of a list. Equals stay sorted by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum SortKey {
    Name,
    /// The youngest first.
    Age,
    State,
    /// The nearest first, and those out of reach last.
    Locality,
    Lifetime,
    User,
}

/// Sorts records that are sorted by name.
pub(super) fn sort(seen: &mut [Seen<'_>], key: SortKey) {
    match key {
        SortKey::Name => {}
        SortKey::Age => seen.sort_by_key(|it| std::cmp::Reverse(it.record.since_ms)),
        SortKey::State => {
            seen.sort_by_key(|it| (it.record.state.to_string(), it.record.suspicion.is_some()));
        }
        SortKey::Locality => seen.sort_by_key(|it| {
            let locality = it.nearest().map(|(_, locality)| locality);
            (locality.is_none(), locality)
        }),
        SortKey::Lifetime => seen.sort_by_key(|it| it.record.lifetime.to_string()),
        SortKey::User => seen.sort_by_key(|it| it.record.owner.clone()),
    }
}

/// A condition on listed records: `state=ready`.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    key: String,
    /// `*` matches any run of characters in it, `?` any one.
    pattern: String,
}

impl Filter {
    /// Reads `KEY=PATTERN`.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        let Some((key, pattern)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let error = anyhow!("{} is not a filter: no `=` after a key", Quoted(text));
            return Err(Failure::usage(error).hint("write KEY=VALUE, as in `--filter state=ready`"));
        };
        Ok(Self { key: key.to_owned(), pattern: pattern.to_owned() })
    }

    /// Tells whether it selects draining instances.
    pub(super) fn asks_for_draining(&self) -> bool {
        self.key == "state" && is_match(&self.pattern, "draining")
    }

    /// Returns the key, if it is one of the metadata that no record has.
    pub(super) fn unknown_key(&self, seen: &[Seen<'_>]) -> Option<&str> {
        let is_known = KEYS.contains(&&*self.key)
            || seen.iter().any(|it| it.record.metadata.contains_key(self.metadata_key()));
        (!is_known).then_some(&*self.key)
    }

    /// Tells whether a record matches.
    pub(super) fn takes(&self, seen: &Seen<'_>) -> bool {
        let is = |value: &str| is_match(&self.pattern, value);
        let record = seen.record;
        match &*self.key {
            "name" => is(record.name.as_str()),
            "state" => is(&record.state.to_string()) || record.suspicion.is_some() && is("suspect"),
            "lifetime" => is(&record.lifetime.to_string()),
            "user" | "owner" => {
                let text = record.owner.as_ref().map(ToString::to_string).unwrap_or_default();
                is(&owner_of(record))
                    || is(&text)
                    || record.user().is_some_and(|it| is(&it.to_string()))
            }
            "locality" => match seen.nearest() {
                Some((_, locality)) => {
                    is(locality.as_str()) || is(&locality.as_str().replace(' ', "-"))
                }
                None => is("-"),
            },
            _ => record.metadata.get(self.metadata_key()).is_some_and(|it| is(it)),
        }
    }

    fn metadata_key(&self) -> &str {
        self.key.strip_prefix("meta.").unwrap_or(&self.key)
    }
}

/// The keys of a filter besides metadata.
pub(super) const KEYS: &[&str] = &["name", "state", "lifetime", "user", "owner", "locality"];

/// Tells whether several owners have registered actors. Nobody has registered the declared ones.
pub(super) fn have_several_owners(seen: &[Seen<'_>]) -> bool {
    let registered = seen.iter().filter(|it| it.record.lifetime != Lifetime::Declared);
    let mut owners = registered.map(|it| &it.record.owner);
    let first = owners.next();
    owners.any(|owner| Some(owner) != first)
}

/// Returns the name of a record's owner.
pub(super) fn owner_of(record: &Record) -> String {
    let registered = Some(record).filter(|it| it.lifetime != Lifetime::Declared);
    registered.and_then(owners::owner_of).unwrap_or_else(|| "-".to_owned())
}
