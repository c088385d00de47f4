//! Who has a place at a node: so many connections there may be at once, and no owner takes them
//! from the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use rustix::process::geteuid;
use thiserror::Error;

use crate::registry::Account;

/// The places for connections. Clones are handles of the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_account: HashMap<Account, usize>,
}

/// The place of one connection, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    account: Account,
}

/// Why there is no place for a connection.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum NoPlace {
    #[error("too many sessions; try again later")]
    Full,
    #[error("too many sessions of {account}: at most {limit}")]
    TooMany { account: Account, limit: usize },
}

impl Places {
    /// Takes a place for one more connection, if there is one among so many.
    pub(crate) fn take(&self, account: Account, places_max: usize) -> Result<Place, NoPlace> {
        let mut taken = self.taken();
        taken.check_room(account, places_max)?;
        taken.all += 1;
        *taken.by_account.entry(account).or_default() += 1;
        Ok(Place { places: self.clone(), account })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

impl Taken {
    fn check_room(&self, account: Account, places_max: usize) -> Result<(), NoPlace> {
        if is_trusted(account) {
            return if self.all < places_max { Ok(()) } else { Err(NoPlace::Full) };
        }
        let own = self.by_account.get(&account).copied().unwrap_or_default();
        let limit = places_max.div_ceil(2);
        if own >= limit {
            return Err(NoPlace::TooMany { account, limit });
        }
        if self.all >= places_max - reserve(places_max) {
            return Err(NoPlace::Full);
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(own) = taken.by_account.get_mut(&self.account) {
            *own -= 1;
            if *own == 0 {
                taken.by_account.remove(&self.account);
            }
        }
    }
}

/// Tells whether an account may have all places. User 0 and the node's own can end the node anyway:
/// to keep places from them would protect nobody.
fn is_trusted(account: Account) -> bool {
    match account {
        Account::Registrar | Account::User(0) => true,
        Account::User(user) => user == geteuid().as_raw(),
        Account::Unknown | Account::Host(_) | Account::Network(_) => false,
    }
}

/// How many places only those have who are trusted: enough to look what the matter is.
fn reserve(places_max: usize) -> usize {
    (places_max / 16).min(64)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::registry::Owner;

    const STRANGER: Account = Account::User(12_345);

    fn take(places: &Places, account: Account, count: usize) -> Vec<Place> {
        (0..count).map_while(|_| places.take(account, 64).ok()).collect()
    }

    #[test]
    fn nobody_has_more_than_half_and_some_are_kept_for_the_node_s_own_user() {
        let places = Places::default();
        let strangers = take(&places, STRANGER, 64);
        assert_eq!(strangers.len(), 32);
        let refused = places.take(STRANGER, 64).unwrap_err();
        assert_eq!(refused.to_string(), "too many sessions of user 12345: at most 32");
        let others = take(&places, Account::Host(Ipv4Addr::LOCALHOST), 64);
        assert_eq!(others.len(), 28);
        let refused = places.take(Account::Unknown, 64).unwrap_err();
        assert_eq!(refused, NoPlace::Full);
        let own = take(&places, Account::User(geteuid().as_raw()), 64);
        assert_eq!(own.len(), 4);
        drop(strangers);
        assert_eq!(take(&places, Account::User(0), 64).len(), 32);
        drop((others, own));
        let taken = places.taken();
        assert_eq!((taken.all, taken.by_account.len()), (0, 0));
    }

    #[test]
    fn one_place_is_everybody_s() {
        for account in [STRANGER, Account::Unknown, Account::Registrar] {
            let places = Places::default();
            let place = places.take(account, 1).unwrap();
            assert!(places.take(account, 1).is_err());
            drop(place);
        }
    }

    #[test]
    fn who_may_have_many_owners_has_one_account() {
        let host = |address: &str| Owner::Host(address.parse::<IpAddr>().unwrap()).account();
        assert_eq!(host("2001:db8::1"), host("2001:db8::ffff:0:0:7"));
        assert_ne!(host("2001:db8::1"), host("2001:db8:0:1::1"));
        assert_eq!(host("2001:db8::1").to_string(), "2001:db8::/64");
        assert_ne!(host("192.0.2.1"), host("192.0.2.2"));
        assert_eq!(Owner::Unknown(1).account(), Owner::Unknown(2).account());
        assert_eq!(host("::1"), Owner::Host(Ipv6Addr::LOCALHOST.into()).account());
    }
}
