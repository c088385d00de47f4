//! Instances that are registered through an adapter.

use std::collections::BTreeMap;

use bytes::BytesMut;
use callsign_registrar::registry::{
    Caller, Claimant, Event, Foreign, Limits, Owner, Registry, Woken,
};
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
    // Registering the same again changes nothing, whoever does it.
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
fn adapters_do_not_change_instances_of_sessions() {
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
    // The end of an earlier registration does not concern the present one.
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

#[test]
fn no_owner_has_more_than_half_of_the_foreign_instances() {
    let mut registry = with_limits(Limits { foreign_instances_max: 8, ..Limits::default() });
    let network = |it: u16| Owner::Host(format!("2001:db8::{it:x}").parse().unwrap());
    let mut next = 0;
    let mut fill = |registry: &mut Registry, caller: &dyn Fn(u16) -> Caller, attempts: u16| {
        let errors = (0..attempts).filter_map(|it| {
            next += 1;
            let instance = Foreign { endpoint: None, ..foreign(next, "/unix/@a") };
            registry.register_foreign(instance, caller(it), NOW).err()
        });
        let errors: Vec<_> = errors.map(|it| it.to_string()).collect();
        (usize::from(attempts) - errors.len(), errors.last().cloned().unwrap_or_default())
    };
    let full = "user 1000 has 4 foreign instances here, of at most 4 (no owner has more than half \
                of the room for them): take some out";
    assert_eq!(fill(&mut registry, &|_| USER.into(), 9), (4, full.to_owned()));
    // All hosts of one IPv6 network share an account.
    let (count, error) = fill(&mut registry, &|it| network(it).into(), 3);
    assert_eq!((count, error), (3, String::new()));
    assert_eq!(fill(&mut registry, &|_| Owner::User(1001).into(), 1).0, 1, "others have room");
    assert_eq!(registry.counts().instances, 8);

    // A removal makes room for another instance.
    let first = Uuid::from_u128(1);
    drop(registry.apply(Event::Unregister { uuid: first, by: USER }, NOW).unwrap());
    assert_eq!(fill(&mut registry, &|_| USER.into(), 2).0, 1);

    // Owners that may end the node anyway, and remembered instances, are not subject to quotas.
    for trusted in [Owner::User(0).into(), Caller { is_trusted: true, ..USER.into() }] {
        let mut registry = with_limits(Limits { foreign_instances_max: 8, ..Limits::default() });
        let trusted: &Caller = &trusted;
        assert_eq!(fill(&mut registry, &|_| trusted.clone(), 9).0, 8);
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
