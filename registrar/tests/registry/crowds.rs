//! Names with many instances: a look-up does not pay for those that it does not ask for.

use bytes::BytesMut;
use callsign_registrar::registry::{Event, Owner, Registry, SessionId};
use endpoints::Name;
use wire::{
    State,
    registrar::{Query, Register},
};

use crate::support::{ACCOUNT, NOW, USER, answer_to, register, registration, registry};

/// More than fit into an answer.
const MANY: u128 = 1000;

/// Registers instances of `feed` that no look-up asks for.
fn crowd(registry: &mut Registry, session: SessionId, owner: Owner, state: State) {
    for uuid in 0..MANY {
        let one_more = Register { state, ..registration("feed", 100 + uuid) };
        drop(registry.register(one_more, owner, session, NOW).unwrap());
    }
}

fn of(owner: Owner) -> Query<'static> {
    Query { owner: Some(owner.into()), ..Query::of("feed") }
}

#[test]
fn many_instances_of_one_owner_hide_none_of_anothers() {
    let others = [Owner::User(1001), Owner::Unknown(7), Owner::Host([10, 0, 0, 7].into())];
    for other in others {
        let mut registry = registry();
        let session = registry.open_session(ACCOUNT);
        for uuid in 1..=2 {
            drop(register(&mut registry, "feed", uuid, session));
        }
        crowd(&mut registry, session, other, State::Ready);
        assert_eq!(answer_to(&registry, &of(USER)), (2, vec![2, 1]));
        let (total, found) = answer_to(&registry, &of(other));
        assert_eq!((total, found.len()), (MANY as u64, 256));
        assert_eq!(answer_to(&registry, &of(Owner::User(4711))), (0, vec![]));
        assert_eq!(answer_to(&registry, &Query::of("feed")).0, MANY as u64 + 2);
    }
}

#[test]
fn a_single_instance_is_asked_for_by_its_owner_too() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    drop(register(&mut registry, "feed", 1, session));
    assert_eq!(answer_to(&registry, &of(USER)), (1, vec![1]));
    assert_eq!(answer_to(&registry, &of(Owner::User(4711))), (0, vec![]));
}

/// Passing over instances that are not ready takes as long as there are many.
#[test]
fn instances_that_are_not_ready_cost_nothing() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    drop(register(&mut registry, "feed", 1, session));
    crowd(&mut registry, session, USER, State::Starting);
    let mut bytes = BytesMut::new();
    for query in [Query::of("feed"), of(USER)] {
        assert_eq!(registry.answer(&query, &USER.into(), NOW, &mut bytes), 1);
        assert_eq!(answer_to(&registry, &query), (MANY as u64 + 1, vec![1]));
    }
    let feed = Name::new("feed").unwrap();
    bytes.clear();
    let (is_there, steps) =
        registry.wait((session, 2), feed, &USER.into(), NOW, &mut bytes).unwrap();
    assert!(is_there && steps < 10, "{steps}");
}

/// Entries that are yet to be cleared away are passed over, at the caller's cost.
#[test]
fn ended_entries_are_skipped_at_the_callers_cost() {
    let mut registry = registry();
    let (stays, leaves) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    drop(register(&mut registry, "feed", 1, stays));
    crowd(&mut registry, leaves, USER, State::Ready);
    drop(registry.apply(Event::SessionEnded(leaves), NOW).unwrap());
    assert!(registry.has_deferred());
    assert_eq!(answer_to(&registry, &Query::of("feed")), (1, vec![1]));
    let mut bytes = BytesMut::new();
    assert!(registry.answer(&Query::of("feed"), &USER.into(), NOW, &mut bytes) >= MANY as usize);
    while registry.has_deferred() {
        drop(registry.do_deferred());
    }
    assert_eq!(registry.answer(&Query::of("feed"), &USER.into(), NOW, &mut bytes), 0);
    assert_eq!(answer_to(&registry, &of(USER)), (1, vec![1]));
}
