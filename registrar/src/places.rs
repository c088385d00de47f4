//! The places of a node: its connections are limited, and no owner takes them from the others.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::BytesMut;
use thiserror::Error;
use tracing::debug;
use transport::Stream;
use wire::{Frame, Quota, preface};

use crate::{
    accounts::{Accounts, Exceeded},
    registry::Account,
};

/// The places for connections. Clones are handles of the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    accounts: Accounts,
    /// The number in use.
    taken: Arc<AtomicUsize>,
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
    #[error(transparent)]
    Quota(#[from] Exceeded),
}

impl NoPlace {
    /// Reports to a peer that there is no place for it, if that can be written at once. For one
    /// that has gone already this costs a system call.
    pub(crate) fn turn_away(&self, mut stream: Stream) {
        let said = stream.write_at_once(&preface::preface()).and_then(|_| {
            let reason = self.to_string();
            let error = match self {
                Self::Quota(exceeded) => Some(Box::new(exceeded.into())),
                Self::Full => None,
            };
            let mut bytes = BytesMut::new();
            let goodbye = Frame::Goodbye { reason: &reason, returns: false, error };
            goodbye.encode(&mut bytes).expect("a reason is short");
            stream.write_at_once(&bytes)
        });
        debug!(peer = %stream.peer(), ?said, why = %self, "no place for another session");
    }
}

impl Places {
    pub(crate) fn new(accounts: Accounts) -> Self {
        Self { accounts, taken: Arc::default() }
    }

    /// Takes a place for one more connection, if there is one.
    pub(crate) fn take(&self, account: Account, places_max: usize) -> Result<Place, NoPlace> {
        self.accounts.check(account, Quota::Sessions, 1)?;
        let is_trusted = self.accounts.is_trusted(account);
        let reserve = if is_trusted { 0 } else { reserve(places_max) };
        if self.taken.load(Ordering::Relaxed) >= places_max - reserve {
            return Err(NoPlace::Full);
        }
        // An owner that has used up its memory can still connect to free some.
        self.accounts.charge_anyway(account, &PLACE);
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(Place { places: self.clone(), account })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.accounts.give_back(self.account, &PLACE);
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The charge for a connection, with everything it takes while idle: its tasks, timers and
/// descriptors, and its own small buffers, as measured.
const PLACE: [(Quota, usize); 2] = [(Quota::Sessions, 1), (Quota::Bytes, 12 * 1024)];

/// The places reserved for trusted owners: enough to investigate.
fn reserve(places_max: usize) -> usize {
    (places_max / 16).min(64)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::{quotas::QuotaRules, registry::Owner};

    const OWN: u32 = 1000;
    const STRANGER: Account = Account::User(12_345);

    fn places(places_max: usize) -> Places {
        Places::new(Accounts::new(QuotaRules::default(), places_max, OWN))
    }

    fn take(places: &Places, account: Account, count: usize) -> Vec<Place> {
        (0..count).map_while(|_| places.take(account, 64).ok()).collect()
    }

    #[test]
    fn no_owner_has_more_than_half_and_some_are_reserved_for_the_nodes_user() {
        let places = places(64);
        let strangers = take(&places, STRANGER, 64);
        assert_eq!(strangers.len(), 32);
        let refused = places.take(STRANGER, 64).unwrap_err();
        let expected = "user 12345 has 32 sessions here, of at most 32: close some, \
                        or raise `sessions` in the registrar's [quotas] \
                        (no owner has more than half of `sessions_max`)";
        assert_eq!(refused.to_string(), expected);
        let others = take(&places, Account::Host(Ipv4Addr::LOCALHOST), 64);
        assert_eq!(others.len(), 28);
        let refused = places.take(Account::Unknown, 64).unwrap_err();
        assert_eq!(refused, NoPlace::Full);
        let own = take(&places, Account::User(OWN), 64);
        assert_eq!(own.len(), 4);
        drop(strangers);
        assert_eq!(take(&places, Account::User(0), 64).len(), 32);
        drop((others, own));
        assert_eq!(places.accounts.uses(), []);
        assert_eq!(places.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_place_is_everybody_s() {
        for account in [STRANGER, Account::Unknown, Account::Registrar] {
            let places = places(1);
            let place = places.take(account, 1).unwrap();
            assert!(places.take(account, 1).is_err());
            drop(place);
        }
    }

    #[test]
    fn owners_that_multiply_freely_share_an_account() {
        let host = |address: &str| Owner::Host(address.parse::<IpAddr>().unwrap()).account();
        assert_eq!(host("2001:db8::1"), host("2001:db8::ffff:0:0:7"));
        assert_ne!(host("2001:db8::1"), host("2001:db8:0:1::1"));
        assert_eq!(host("2001:db8::1").to_string(), "2001:db8::/64");
        assert_ne!(host("192.0.2.1"), host("192.0.2.2"));
        assert_eq!(Owner::Unknown(1).account(), Owner::Unknown(2).account());
        assert_eq!(host("::1"), Owner::Host(Ipv6Addr::LOCALHOST.into()).account());
    }
}
