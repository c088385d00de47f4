//! Whose a registration is: as people write and read it.

use anyhow::anyhow;
use endpoints::Quoted;
use wire::{Owner, Record};

use crate::{
    failure::Failure,
    users::{user_name, user_number},
};

/// Whose an actor has to be.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Demanded {
    /// Only what this user registered, by the registrar's kernel: a name or a number
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
}

impl Demanded {
    /// Reads whose it has to be, if that matters.
    pub(crate) fn read(&self) -> Result<Option<Owner>, Failure> {
        self.owner.as_deref().map(read).transpose()
    }
}

/// Reads a user's name or number, or an owner as it is written for programs.
fn read(text: &str) -> Result<Owner, Failure> {
    let Ok(owner) = text.parse();
    let user = match &owner {
        Owner::Other(user) => user.strip_prefix("user:").unwrap_or(user),
        known => return Ok(known.clone()),
    };
    let number = user.parse().ok().or_else(|| user_number(user));
    number.map(Owner::User).ok_or_else(|| {
        Failure::usage(anyhow!("there is no user {} on this machine", Quoted(user))).hint(
            "write a user's name or number, or `address:10.0.0.7` for who came over a network",
        )
    })
}

/// Returns what the owner of a record is called, if the registrar has said whose it is.
pub(crate) fn owner_of(record: &Record) -> Option<String> {
    record.owner.as_ref().map(in_words)
}

/// Returns what an owner is called: users by their names on this machine.
pub(crate) fn in_words(owner: &Owner) -> String {
    match owner {
        Owner::User(user) => user_name(*user),
        Owner::Address(address) => address.to_string(),
        Owner::Registrar => "the registrar".to_owned(),
        other => other.to_string(),
    }
}

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
        for wrong in ["nobody-of-that-name", "", "address:nowhere", "user:"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
