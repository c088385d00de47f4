//! Records that are looked up again and again, as they are written.
//!
//! A folded record is written piece by piece, which takes ten times as long as to copy it whole. So
//! those asked for most are kept whole besides, a fixed number of them: a look-up that finds its
//! record here copies it.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;

use super::{Entry, Key};

/// Places for records, one for each that comes to have it. An entry knows whether its record is as it
/// was when it was put in its place; the place knows whose record it has.
#[derive(Debug)]
pub(super) struct Unfolded {
    owners: Box<[Cell<Place>]>,
    /// The bytes of all places, from the first record on.
    bytes: RefCell<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    owner: Key,
    length: u32,
    /// The entry that was looked for in vain the last time.
    missed: Key,
}

impl Unfolded {
    /// Appends the record of an entry.
    pub(super) fn append(&self, key: Key, entry: &Entry, bytes: &mut BytesMut) {
        let at = key as usize % PLACES;
        let place = self.owners[at].get();
        if place.owner == key && entry.is_unfolded.get() {
            bytes.extend_from_slice(
                &self.bytes.borrow()[at * PLACE_BYTES..][..place.length as usize],
            );
            return;
        }
        let start = bytes.len();
        entry.folded().unfold(bytes);
        let record = &bytes[start..];
        if place.missed != key {
            // It may never be asked for again, as most are where there are many.
            self.owners[at].set(Place { missed: key, ..place });
        } else if record.len() <= PLACE_BYTES {
            let mut places = self.bytes.borrow_mut();
            if places.is_empty() {
                // The kernel gives it page by page, as they are written.
                *places = vec![0; PLACES * PLACE_BYTES];
            }
            places[at * PLACE_BYTES..][..record.len()].copy_from_slice(record);
            self.owners[at].set(Place { owner: key, length: record.len() as u32, missed: NONE });
            entry.is_unfolded.set(true);
        }
    }
}

impl Default for Unfolded {
    fn default() -> Self {
        let place = Place { owner: NONE, length: 0, missed: NONE };
        let owners = (0..PLACES).map(|_| Cell::new(place)).collect();
        Self { owners, bytes: RefCell::default() }
    }
}

/// No entry has this key: there are fewer.
const NONE: Key = Key::MAX;

/// The number of places, and the bytes of each: a megabyte together, which is more than most
/// registrars need.
const PLACES: usize = 2048;
const PLACE_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use endpoints::Stamped;
    use uuid::Uuid;
    use wire::{
        State,
        registrar::{Answer, Query, Register, UnreadRegister, Update},
    };

    use super::*;
    use crate::{
        Accounts,
        registry::{Account, Caller, Event, Limits, Owner, Registry, SessionId},
    };

    const OWNER: Owner = Owner::User(7);

    fn register(number: usize) -> Register {
        let uuid = Uuid::from_u128(number as u128);
        let endpoint = format!("/unix/run/market/{number}.sock").parse().unwrap();
        let endpoints = vec![Stamped::bare(endpoint)];
        Register { endpoints, ..Register::new(format!("feed-{number}").parse().unwrap(), uuid) }
    }

    fn registry() -> (Registry, SessionId) {
        let mut registry = Registry::new(Uuid::nil(), Limits::default(), Accounts::unlimited(), 1);
        let session = registry.open_session(Account::User(7));
        (registry, session)
    }

    /// Looks a name up until its record is kept whole, and compares each answer with the record.
    fn check(registry: &Registry, number: usize) {
        let (name, uuid) = (format!("feed-{number}"), Uuid::from_u128(number as u128));
        let query = Query { all: true, ..Query::of(&name) };
        for _ in 0..3 {
            let mut bytes = BytesMut::new();
            registry.answer(&query, &OWNER.into(), 5, &mut bytes);
            let answer = Answer::decode(&bytes).unwrap();
            assert_eq!((answer.now_ms, answer.total), (5, 1));
            assert_eq!(answer.records, [registry.record(uuid).unwrap()]);
        }
        let key = registry.live(uuid).unwrap();
        assert!(registry.entries[key].is_unfolded.get(), "{name} is not kept whole");
    }

    #[test]
    fn whatever_changes_a_record_changes_the_answers() {
        let (mut registry, session) = registry();
        let caller = Caller::from(OWNER);
        drop(registry.register(register(1), OWNER, session, 1).unwrap());
        check(&registry, 1);

        let uuid = Uuid::from_u128(1);
        let state = Some(State::Draining);
        let update = Update { uuid, endpoints: None, metadata: None, state };
        drop(registry.apply(Event::Update { update, by: OWNER }, 2).unwrap());
        check(&registry, 1);
        drop(registry.apply(Event::SessionSilent(session), 3).unwrap());
        check(&registry, 1);
        drop(registry.apply(Event::SessionHeard(session), 3).unwrap());
        check(&registry, 1);

        // It is registered anew, then again without a change, and then by another of the same place.
        drop(registry.register(register(1), OWNER, session, 4).unwrap());
        check(&registry, 1);
        let again = wire::encode_body(&register(1));
        let unread = UnreadRegister::of(&again).unwrap();
        let now_ms = 1_795_000_000_000;
        drop(registry.register(register(1), OWNER, session, now_ms).unwrap());
        check(&registry, 1);
        assert!(registry.register_again(&unread, &caller, session, now_ms + 1).is_some());
        check(&registry, 1);
        let key = registry.live(uuid);
        drop(registry.apply(Event::Unregister { uuid, by: OWNER }, now_ms).unwrap());
        drop(registry.register(register(2), OWNER, session, now_ms).unwrap());
        assert_eq!(registry.live(Uuid::from_u128(2)), key);
        check(&registry, 2);
    }

    #[test]
    fn records_of_one_place_take_turns() {
        let (mut registry, session) = registry();
        for number in 0..=2 * PLACES {
            drop(registry.register(register(number), OWNER, session, 1).unwrap());
        }
        let place = |number| registry.live(Uuid::from_u128(number)).unwrap() as usize % PLACES;
        assert_eq!([place(PLACES as u128), place(2 * PLACES as u128)], [place(0); 2]);
        for number in [0, PLACES, 0, 2 * PLACES, PLACES, 1] {
            check(&registry, number);
        }
        // What was kept is let go with a crowd that has left.
        registry.forget_the_gone();
        check(&registry, PLACES);
        check(&registry, 0);
    }
}
