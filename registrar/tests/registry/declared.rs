//! The entries that the registrar's settings declare.

use callsign_registrar::{
    Quotas,
    registry::{Entered, Event, NameRule, NameRules, Names, Outcome, Owner, Registry},
};
use endpoints::{KernelId, Name, Stamped};
use uuid::Uuid;
use wire::{
    Lifetime,
    callbacks::LostCause,
    registrar::{Register, Update},
};

use crate::support::{NOW, USER, answer, at, registration, registry, with_quotas};

const DECLARED: Uuid = Uuid::from_u128(9);

fn declare(registry: &mut Registry) -> Outcome {
    registry.declare(name(), DECLARED, vec![at("/unix/run/db.sock")], NOW)
}

fn name() -> Name {
    Name::new("db").unwrap()
}

/// Every stamp differs from those of before.
fn restamped(registry: &Registry) -> Vec<Stamped> {
    let mut endpoints = registry.record(DECLARED).unwrap().endpoints;
    for stamped in &mut endpoints {
        stamped.stamp.kernel = Some(KernelId(7));
    }
    endpoints
}

#[test]
fn an_instance_with_the_uuid_of_a_declared_actor_gives_way_and_is_told() {
    for (called, lease_ms) in [("evil", None), ("db", None), ("evil", Some(60_000))] {
        let mut registry = registry();
        let session = registry.open_session(USER.account());
        let register = Register { lease_ms, ..registration(called, DECLARED.as_u128()) };
        drop(registry.register(register, USER, session, NOW).unwrap());

        let outcome = declare(&mut registry);
        let (owner, lost) = &outcome.lost[&session];
        assert_eq!((*owner, lost.len(), lost[0].uuid), (USER, 1, DECLARED));
        assert_eq!(lost[0].cause, LostCause::Replaced);
        assert_eq!(lost[0].by.as_deref(), Some("the registrar's own settings"));
        assert_eq!(registry.owner(DECLARED), Some(Owner::Registrar));
        assert_eq!(answer(&registry, "db", true), [DECLARED.as_u128()]);
        assert_eq!(answer(&registry, "evil", true), []);

        // The end of its session takes nothing more.
        drop(registry.apply(Event::SessionEnded(session), NOW).unwrap());
        assert!(registry.declared(DECLARED).is_some());
    }
}

#[test]
fn a_waiter_with_the_uuid_of_a_declared_actor_gives_way_and_is_told() {
    let mut registry = registry();
    let rule = NameRule {
        pattern: "lead*".parse().unwrap(),
        register: None,
        find: None,
        exclusive: true,
        instances_max: None,
        place: String::new(),
    };
    drop(registry.set_rules(NameRules::new(Names::Open, String::new(), vec![rule])));
    let session = registry.open_session(USER.account());
    drop(registry.register(registration("leader", 1), USER, session, NOW).unwrap());
    let register = Register { wait: true, ..registration("leader", DECLARED.as_u128()) };
    let entered = registry.register_or_wait(register, &USER.into(), (session, 2), NOW).unwrap().0;
    assert!(matches!(entered, Entered::InLine));

    let outcome = declare(&mut registry);
    assert_eq!(outcome.granted.len(), 1);
    assert!(outcome.granted[0].result.is_err());
    assert_eq!(registry.counts().in_line, 0);
    let by_itself = Event::Unregister { uuid: Uuid::from_u128(1), by: USER };
    drop(registry.apply(by_itself, NOW).unwrap());
    assert!(registry.serve_lines(NOW).granted.is_empty());
    assert!(registry.declared(DECLARED).is_some());
}

#[test]
fn only_declared_entries_are_restamped_and_removed_with_the_settings() {
    let mut registry = registry();
    let session = registry.open_session(USER.account());
    let register = Register {
        endpoints: vec![at("/unix/run/secret.sock")],
        ..registration("evil", DECLARED.as_u128())
    };
    drop(registry.register(register, USER, session, NOW).unwrap());
    let before = registry.record(DECLARED).unwrap();
    let stamps = restamped(&registry);
    drop(registry.restamp_declared(DECLARED, stamps));
    drop(registry.undeclare(&[DECLARED]));
    assert_eq!(registry.record(DECLARED), Some(before));

    // User 0 may replace what is declared: that is its own from then on.
    drop(declare(&mut registry));
    let root = Owner::User(0);
    drop(registry.register(registration("db", 9), root, session, NOW).unwrap());
    drop(registry.undeclare(&[DECLARED]));
    assert_eq!(registry.owner(DECLARED), Some(root));

    drop(declare(&mut registry));
    assert_eq!(registry.record(DECLARED).unwrap().lifetime, Lifetime::Declared);
    drop(registry.undeclare(&[DECLARED]));
    assert_eq!(registry.record(DECLARED), None);
}

#[test]
fn stamps_follow_the_files_however_little_others_may_have() {
    let (mut registry, _) = with_quotas(Quotas { bytes: 1, instances: 1, ..Quotas::default() });
    drop(declare(&mut registry));
    let stamps = restamped(&registry);
    let revision = registry.revision();
    drop(registry.restamp_declared(DECLARED, stamps.clone()));
    assert_eq!(registry.declared(DECLARED).unwrap().endpoints, stamps);
    assert_eq!(registry.revision(), revision + 1);
    drop(registry.restamp_declared(DECLARED, stamps.clone()));
    assert_eq!(registry.revision(), revision + 1, "nothing has changed");

    // User 0 has moved it since the look.
    let moved = vec![at("/unix/run/other.sock")];
    let update =
        Update { uuid: DECLARED, endpoints: Some(moved.clone()), metadata: None, state: None };
    drop(registry.apply(Event::Update { update, by: Owner::User(0) }, NOW).unwrap());
    drop(registry.restamp_declared(DECLARED, stamps));
    assert_eq!(registry.declared(DECLARED).unwrap().endpoints, moved);
}
