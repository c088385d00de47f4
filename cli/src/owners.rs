//! Owners of registrations: as people write and read them.

use anyhow::anyhow;
use endpoints::Quoted;
use wire::{Owner, OwnerUse, Quota, Record};

use crate::{
    failure::Failure,
    users::{NEED_TIMEOUT, asked, user_name, user_number},
};

/// The required owner of an actor.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Demanded {
    /// Only what this user registered, by the registrar's kernel: a name or a number; or what the
    /// holder of this certificate did: a SPIFFE ID, or `tls:` and a DNS name
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
}

impl Demanded {
    /// Reads the required owner, if there is one.
    pub(crate) fn read(&self) -> Result<Option<Owner>, Failure> {
        self.owner.as_deref().map(read).transpose()
    }
}

/// Reads a user's name or number, or an owner as it is written for programs.
fn read(text: &str) -> Result<Owner, Failure> {
    if text.starts_with("spiffe://") {
        return Ok(Owner::Certified(text.to_owned()));
    }
    let Ok(owner) = text.parse();
    let user = match &owner {
        Owner::Other(user) => user.strip_prefix("user:").unwrap_or(user),
        known => return Ok(known.clone()),
    };
    let number = match user.parse() {
        Ok(number) => Some(number),
        Err(_) => {
            let name = user.to_owned();
            let asked = asked(NEED_TIMEOUT, move || user_number(&name));
            asked.ok_or_else(|| {
                let what = "the system's directory of users (NSS) does not answer";
                Failure::usage(anyhow!("{what}: who is {}?", Quoted(user)))
                    .hint("write the user's number")
            })?
        }
    };
    number.map(Owner::User).ok_or_else(|| {
        Failure::usage(anyhow!("there is no user {} on this machine", Quoted(user))).hint(
            "write a user's name or number; for a registrant on the network, its SPIFFE ID, \
             `tls:feed.example` or `address:10.0.0.7`",
        )
    })
}

/// Returns the name of a record's owner, if the registrar has sent it.
pub(crate) fn owner_of(record: &Record) -> Option<String> {
    record.owner.as_ref().map(in_words)
}

/// Returns the name of an owner: users by their names on this machine.
pub(crate) fn in_words(owner: &Owner) -> String {
    match owner {
        Owner::User(user) => user_name(*user),
        Owner::Address(address) => address.to_string(),
        Owner::Certified(name) => name.clone(),
        Owner::Registrar => "the registrar".to_owned(),
        other => other.to_string(),
    }
}

/// An owner's use of a resource, and its quota, for people.
pub(crate) struct Amount {
    pub(crate) quota: Quota,
    pub(crate) used: String,
    /// `None` if only the registrar's own bounds apply.
    pub(crate) limit: Option<String>,
    pub(crate) is_used: bool,
}

/// Returns an owner's use of all limited resources.
pub(crate) fn amounts(owner: &OwnerUse) -> impl Iterator<Item = Amount> {
    Quota::ALL.into_iter().filter_map(|quota| {
        let it = owner.of(quota)?;
        let show = |count: u64| match quota {
            Quota::Bytes => size(count),
            Quota::Cpu => format!("{count}%"),
            _ => count.to_string(),
        };
        Some(Amount { quota, used: show(it.used), limit: it.quota.map(show), is_used: it.used > 0 })
    })
}

/// Writes a size of memory, rounded up.
fn size(bytes: u64) -> String {
    match bytes {
        0..KIB => format!("{bytes}B"),
        KIB..MIB => format!("{}KiB", bytes.div_ceil(KIB)),
        MIB..GIB => format!("{}MiB", bytes.div_ceil(MIB)),
        _ => format!("{}GiB", bytes.div_ceil(GIB)),
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_by_name_or_number() {
        let check =
            |text: &str, expected: Owner| assert_eq!(read(text).unwrap(), expected, "{text}");
        check("0", Owner::User(0));
        check("root", Owner::User(0));
        check("user:root", Owner::User(0));
        check("user:4711", Owner::User(4711));
        check("4711", Owner::User(4711));
        check("address:10.0.0.7", Owner::Address([10, 0, 0, 7].into()));
        check("registrar", Owner::Registrar);
        let feed = "spiffe://callsign.internal/feed";
        check(feed, Owner::Certified(feed.to_owned()));
        check(&format!("tls:{feed}"), Owner::Certified(feed.to_owned()));
        check("tls:feed.example", Owner::Certified("feed.example".to_owned()));
        for wrong in ["nobody-of-that-name", "", "address:nowhere", "user:"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_short() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0B");
        check(1024, "1KiB");
        check(1025, "2KiB");
        check(96 << 20, "96MiB");
        check((1 << 30) + 1, "2GiB");
    }
}
