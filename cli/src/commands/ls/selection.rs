//! The selection and order of listed records.

use std::{cmp::Reverse, collections::BTreeSet};

use anyhow::anyhow;
use clap::ValueEnum;
use endpoints::{Locality, Quoted, is_match, names_like};
use wire::{Lifetime, Owner, Record};

use crate::{failure::Failure, lookup::ranking::Seen, owners};

/// The sort key of a list. Equals stay sorted by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(in crate::commands) enum SortKey {
    Name,
    /// The youngest first.
    Age,
    State,
    /// The nearest first, and those out of reach last.
    Locality,
    Lifetime,
    User,
}

/// What a record is sorted by.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum SortValue {
    /// Its name, and nothing else.
    Name,
    Age(Reverse<u64>),
    State(String, bool),
    Locality(bool, Option<Locality>),
    Lifetime(String),
    User(Option<Owner>),
}

impl SortKey {
    /// Returns what a record is sorted by.
    pub(super) fn value_of(self, seen: &Seen<'_>) -> SortValue {
        let record = seen.record;
        match self {
            Self::Name => SortValue::Name,
            Self::Age => SortValue::Age(Reverse(record.since_ms)),
            Self::State => SortValue::State(record.state.to_string(), record.suspicion.is_some()),
            Self::Locality => {
                let locality = seen.nearest().map(|(_, locality)| locality);
                SortValue::Locality(locality.is_none(), locality)
            }
            Self::Lifetime => SortValue::Lifetime(record.lifetime.to_string()),
            Self::User => SortValue::User(record.owner.clone()),
        }
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
        if let Some(compared) = key.strip_suffix(['!', '<', '>', '~', '=']) {
            let error = anyhow!("{} is not a filter: it compares by `=` alone", Quoted(text));
            let written = format!("write KEY=VALUE, as in `--filter {compared}={pattern}`");
            return Err(Failure::usage(error).hint(written));
        }
        let filter = Self { key: key.to_owned(), pattern: pattern.to_owned() };
        filter.check()?;
        Ok(filter)
    }

    /// Checks that the pattern matches something, if the key has few values.
    fn check(&self) -> Result<(), Failure> {
        let Some((key, values)) = VALUES.iter().find(|(key, _)| *key == self.key) else {
            return Ok(());
        };
        let spelled = |it: &&str| it.replace(' ', "-");
        let is_one =
            |it: &&str| is_match(&self.pattern, it) || is_match(&self.pattern, &spelled(it));
        if values.iter().any(is_one) {
            return Ok(());
        }
        let error = anyhow!("{} is not a {key}", Quoted(&self.pattern));
        let values: Vec<_> = values.iter().filter(|it| **it != "-").map(spelled).collect();
        let failure = Failure::usage(error);
        let near = names_like(&self.pattern, values.iter().map(String::as_str));
        Err(match near[..] {
            [meant] => failure.hint(format!("did you mean `--filter {}={meant}`?", self.key)),
            _ => failure.hint(format!("it is one of {}", values.join(", "))),
        })
    }

    /// Tells whether it selects draining instances.
    pub(super) fn asks_for_draining(&self) -> bool {
        self.key == "state" && is_match(&self.pattern, "draining")
    }

    /// Tells whether it is about metadata.
    pub(super) fn is_of_metadata(&self) -> bool {
        !KEYS.contains(&&*self.key)
    }

    /// Says so, if the key is one of the metadata that no record has.
    pub(super) fn unknown_key(&self, metadata: &BTreeSet<String>) -> Option<String> {
        if !self.is_of_metadata() || metadata.contains(self.metadata_key()) {
            return None;
        }
        let metadata = || metadata.iter().map(String::as_str);
        let near = names_like(&self.key, KEYS.iter().copied().chain(metadata()));
        let more = match near.split_last() {
            Some((last, [])) => format!("did you mean `{last}`?"),
            Some((last, others)) => format!("did you mean `{}`, or `{last}`?", others.join("`, `")),
            None => format!("other keys of a filter are {}", KEYS.join(", ")),
        };
        Some(format!("no instance has metadata {}; {more}", Quoted(&self.key)))
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

/// The keys that have few values: the key, and its values.
const VALUES: &[(&str, &[&str])] = &[
    ("state", &["starting", "ready", "draining", "suspect", "unknown"]),
    ("lifetime", &["session", "lease", "declared", "foreign", "unknown"]),
    (
        "locality",
        &["in process", "unix socket", "loopback", "this host", "same subnet", "remote", "-"],
    ),
];

/// The keys of a filter besides metadata.
const KEYS: &[&str] = &["name", "state", "lifetime", "user", "owner", "locality"];

/// Returns the name of a record's owner.
pub(in crate::commands) fn owner_of(record: &Record) -> String {
    let registered = Some(record).filter(|it| it.lifetime != Lifetime::Declared);
    registered.and_then(owners::owner_of).unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_can_match_nothing_is_refused() {
        let check = |text: &str, expected: Result<(), (&str, &str)>| {
            let read = Filter::read(text).map(|_| ());
            let said = read.map_err(|it| (it.error.to_string(), format!("{:?}", it.hints)));
            match (&said, expected) {
                (Ok(()), Ok(())) => {}
                (Err((error, hints)), Err((message, hint))) if error == message => {
                    assert!(hints.contains(hint), "{text}: {hints}");
                }
                _ => panic!("{text}: {said:?}"),
            }
        };
        for good in [
            "state=ready",
            "state=s*",
            "state=?eady",
            "state=*",
            "lifetime=declared",
            "locality=unix-socket",
            "locality=unix socket",
            "locality=-",
            "desk=",
            "desk=a=b",
            "meta.state=anything",
            "user=nobody",
        ] {
            check(good, Ok(()));
        }
        let states = "it is one of starting, ready, draining, suspect, unknown";
        check("state=redy", Err(("`redy` is not a state", "did you mean `--filter state=ready`?")));
        check(
            "state=Ready",
            Err(("`Ready` is not a state", "did you mean `--filter state=ready`?")),
        );
        check("state=alive", Err(("`alive` is not a state", states)));
        check("state=", Err(("`` is not a state", states)));
        check("state=ready,draining", Err(("`ready,draining` is not a state", states)));
        let meant = "did you mean `--filter lifetime=lease`?";
        check("lifetime=leas", Err(("`leas` is not a lifetime", meant)));
        let meant = "did you mean `--filter locality=remote`?";
        check("locality=remot", Err(("`remot` is not a locality", meant)));
        let localities = "in-process, unix-socket, loopback, this-host, same-subnet, remote";
        check("locality=near*", Err(("`near*` is not a locality", localities)));
        let alone = "`state!=ready` is not a filter: it compares by `=` alone";
        check("state!=ready", Err((alone, "as in `--filter state=ready`")));
        check("=x", Err(("`=x` is not a filter: no `=` after a key", "KEY=VALUE")));
    }
}
