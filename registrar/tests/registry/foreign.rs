//! Instances that are registered through an adapter.

use std::collections::BTreeMap;

use bytes::BytesMut;
use callsign_registrar::registry::{Claimant, Event, Foreign, Limits, Owner, Woken};
use endpoints::Name;
use uuid::Uuid;
use wire::{
    Lifetime, State, decode_body,
    registrar::{Answer, Update},
};

use crate::support::{ACCOUNT, NOW, USER, at, register, registry, with_limits};

#[test]
fn a_foreign_instance_is_ready_when_all_of_it_is_there() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let mut bytes = BytesMut::new();
    let name = Name::new("snake").unwrap();
    assert!(!registry.wait((session, 2), name.clone(), &USER.into(), NOW, &mut bytes).unwrap().0);

    let (first, second) = ("/ip4/127.0.0.1/tcp/7", "/unix/run/snake.sock");
    let (epoch, outcome) = registry.register_foreign(foreign(1, first), USER, NOW).unwrap();
    assert!(epoch.is_some() && outcome.woken.is_empty());
    let (again, outcome) = registry.register_foreign(foreign(1, second), USER, NOW).unwrap();
    assert_eq!((again, outcome.woken.len()), (epoch, 0));
    // To say again what is there changes nothing, whoever says it.
    let revision = registry.revision();
    let (again, _) = registry.register_foreign(foreign(1, first), Owner::User(7), NOW).unwrap();
    assert_eq!((again, registry.revision()), (None, revision));

    let ready = Some(State::Ready);
    let update = Update { uuid: Uuid::from_u128(1), endpoints: None, metadata: None, state: ready };
    let outcome = registry.apply(Event::Update { update, by: USER }, NOW).unwrap();
    assert_eq!(outcome.woken, [Woken { session, name: name.clone() }]);
    assert_eq!(registry.answer_wait(session, &name, &USER.into(), NOW, &mut bytes), Some(2));
    let Answer { records, .. } = decode_body(&bytes).unwrap();
    assert_eq!(records[0].endpoints, [at(first), at(second)]);
    assert_eq!((records[0].lifetime, records[0].user()), (Lifetime::Foreign, Some(1000)));
}

#[test]
fn what_a_program_keeps_itself_is_not_changed_through_a_door() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    drop(register(&mut registry, "snake", 1, session));
    let mut check = |uuid: u128, at: &str, owner: Owner, expected: &str| {
        let error = registry.register_foreign(foreign(uuid, at), owner, NOW).map(drop).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        1,
        "/unix/run/snake.sock",
        USER,
        "the instance 00000000-0000-0000-0000-000000000001 is registered by its own program, \
         and not through an adapter",
    );
    check(
        2,
        "/ip4/0.0.0.0/tcp/7",
        USER,
        "`/ip4/0.0.0.0/tcp/7` can be bound, not dialed; register the address that others reach",
    );
    drop(registry.register_foreign(foreign(2, "/unix/@a"), USER, NOW).unwrap());
    let mut check = |owner: Owner, expected: &str| {
        let other = foreign(2, "/unix/@b");
        let error = registry.register_foreign(other, owner, NOW).map(drop).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        Owner::User(7),
        "the instance was registered by user 1000, and user 7 may not change it: \
         only its owner and user 0 may",
    );
}

#[test]
fn a_foreign_instance_goes_with_its_process_or_its_last_endpoint() {
    let limits = Limits { foreign_instances_max: 1, ..Limits::default() };
    let mut registry = with_limits(limits);
    let uuid = Uuid::from_u128(1);
    let (epoch, _) = registry.register_foreign(foreign(1, "/unix/@a"), USER, NOW).unwrap();
    let epoch = epoch.unwrap();
    let full = registry.register_foreign(foreign(2, "/unix/@b"), USER, NOW).unwrap_err();
    assert_eq!(full.to_string(), "too many foreign instances: at most 1");
    // An earlier registration's end is not this one's.
    drop(registry.apply(Event::ProcessEnded { uuid, epoch: epoch - 1 }, NOW).unwrap());
    assert_eq!(registry.counts().instances, 1);
    drop(registry.apply(Event::ProcessEnded { uuid, epoch }, NOW).unwrap());
    assert_eq!(registry.counts().instances, 0);

    let (epoch, _) = registry.register_foreign(foreign(2, "/unix/@b"), USER, NOW).unwrap();
    let epoch = epoch.unwrap();
    drop(registry.register_foreign(foreign(2, "/unix/@c"), USER, NOW).unwrap());
    for (endpoint, left) in [("/unix/@b", 1), ("/unix/@c", 0)] {
        let uuid = Uuid::from_u128(2);
        let claimant = Claimant { uuid, epoch, stamped: at(endpoint) };
        drop(registry.apply(Event::FoundDead(claimant), NOW).unwrap());
        assert_eq!(registry.counts().instances, left);
    }
}

fn foreign(uuid: u128, endpoint: &str) -> Foreign {
    Foreign {
        name: Name::new("snake").unwrap(),
        uuid: Uuid::from_u128(uuid),
        endpoint: Some(at(endpoint)),
        metadata: BTreeMap::new(),
    }
}
