//! Entries: which answers contain them, how long they last, and who may change them.

use std::collections::BTreeMap;

use bytes::BytesMut;
use callsign_registrar::{
    Accounts,
    registry::{Event, Limits, Owner, Registry, RegistryError},
};
use endpoints::{Name, NamePattern};
use uuid::Uuid;
use wire::{
    CallId, InstanceSecret, METADATA_BYTES_MAX, RemovalReason, State, decode_body,
    registrar::{Answer, Change, ENDPOINTS_MAX, Register, Update},
};

use crate::support::{
    ACCOUNT, NOW, REGISTRAR, USER, answer, at, brief, read, register, registration, registry,
    with_limits,
};

#[test]
fn an_answer_has_the_newest_first_and_what_is_declared_last() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    drop(registry.declare(Name::new("feed").unwrap(), Uuid::from_u128(9), vec![], NOW));
    for uuid in 1..=5 {
        drop(register(&mut registry, "feed", uuid, session));
    }
    drop(register(&mut registry, "feeder", 6, session));
    assert_eq!(answer(&registry, "feed", false), [5, 4, 3, 2, 1, 9]);
    assert_eq!(answer(&registry, "fee", false), []);

    let update = Update {
        uuid: Uuid::from_u128(5),
        endpoints: None,
        metadata: None,
        state: Some(State::Draining),
    };
    drop(registry.apply(Event::Update { update, by: USER }, NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), [4, 3, 2, 1, 9]);
    assert_eq!(answer(&registry, "feed", true), [5, 4, 3, 2, 1, 9]);
}

#[test]
fn the_same_instance_again_takes_its_own_place_with_a_higher_epoch() {
    let mut registry = registry();
    let (first, second) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    let epoch = |registry: &mut Registry, session| {
        registry.register(registration("feed", 1), USER, session, NOW).unwrap().0.epoch
    };
    let before = epoch(&mut registry, first);
    assert!(epoch(&mut registry, second) > before);
    assert_eq!(answer(&registry, "feed", false), [1]);

    // It belongs to the second session now, so the end of the first leaves it alone.
    drop(registry.apply(Event::SessionEnded(first), NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), [1]);
    drop(registry.apply(Event::SessionEnded(second), NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), []);
}

#[test]
fn epochs_and_revisions_grow_across_restarts() {
    let mut before = registry();
    let session = before.open_session(ACCOUNT);
    let (old, _) = before.register(registration("feed", 1), USER, session, NOW).unwrap();
    let mut after =
        Registry::new(Uuid::from_u128(2), Limits::default(), Accounts::unlimited(), NOW + 20);
    let session = after.open_session(ACCOUNT);
    let (new, _) = after.register(registration("feed", 1), USER, session, NOW + 20).unwrap();
    assert!(new.epoch > old.epoch && new.revision > old.revision);
}

#[test]
fn waiters_are_woken_once_in_the_order_of_asking() {
    let mut registry = registry();
    let sessions: Vec<_> = (0..4).map(|_| registry.open_session(ACCOUNT)).collect();
    let feed = Name::new("feed").unwrap();
    let mut bytes = BytesMut::new();
    for session in [2, 0, 3, 1] {
        let call = 10 + session as CallId;
        let session = sessions[session];
        assert!(
            !registry.wait((session, call), feed.clone(), &USER.into(), NOW, &mut bytes).unwrap().0
        );
    }
    registry.cancel(sessions[3], 13);
    let counts = registry.counts();
    assert_eq!((counts.waiters, counts.sessions), (3, 4));

    // Neither declared nor starting instances answer waiters.
    drop(registry.declare(feed.clone(), Uuid::from_u128(9), vec![], NOW));
    let starting = Register { state: State::Starting, ..registration("feed", 1) };
    let (_, outcome) = registry.register(starting, USER, sessions[0], NOW).unwrap();
    assert!(outcome.woken.is_empty());

    let ready = Update {
        uuid: Uuid::from_u128(1),
        endpoints: None,
        metadata: None,
        state: Some(State::Ready),
    };
    let outcome = registry.apply(Event::Update { update: ready, by: USER }, NOW).unwrap();
    let woken: Vec<_> = outcome.woken.iter().map(|it| it.session).collect();
    assert_eq!(woken, [sessions[2], sessions[0], sessions[1]]);
    assert_eq!(registry.answer_wait(sessions[2], &feed, &USER.into(), NOW, &mut bytes), Some(12));
    let told: Answer = decode_body(&bytes).unwrap();
    assert_eq!(told.records[0].uuid.as_u128(), 1);
    assert_eq!(registry.answer_wait(sessions[2], &feed, &USER.into(), NOW, &mut bytes), None);
    for (session, call) in [(1, 11), (0, 10)] {
        let answered =
            registry.answer_wait(sessions[session], &feed, &USER.into(), NOW, &mut bytes);
        assert_eq!(answered, Some(call));
    }

    assert!(register(&mut registry, "feed", 2, sessions[0]).woken.is_empty());
    assert!(registry.wait((sessions[1], 20), feed, &USER.into(), NOW, &mut bytes).unwrap().0);
    assert_eq!(registry.counts().waiters, 0);
}

#[test]
fn the_end_of_a_session_takes_all_it_kept_in_one_change_and_leaves_nothing() {
    let mut registry = registry();
    let (session, watching) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    let empty = registry.counts();
    for uuid in 1..=3 {
        drop(register(&mut registry, "feed", uuid, session));
    }
    let mut bytes = BytesMut::new();
    assert!(
        !registry
            .wait((session, 2), Name::new("x").unwrap(), &USER.into(), NOW, &mut bytes)
            .unwrap()
            .0
    );
    registry.watch(session, 4, NamePattern::any(), None).unwrap();
    registry.watch(watching, 2, NamePattern::any(), None).unwrap();
    registry.credit(watching, 2, 100);
    assert_eq!(read(&mut registry, watching).len(), 5);

    let outcome = registry.apply(Event::SessionEnded(session), NOW).unwrap();
    assert_eq!(outcome.notified, [watching].into());
    let revisions: Vec<_> = read(&mut registry, watching)
        .into_iter()
        .map(|it| match it {
            Change::Remove { revision, reason: RemovalReason::SessionEnded, .. } => revision,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(revisions, [registry.revision(); 3]);
    registry.cancel(watching, 2);
    let counts = registry.counts();
    assert_eq!((counts.sessions, counts.instances), (1, 0));
    assert_eq!((counts.waiters, counts.watchers), (empty.waiters, empty.watchers));
}

#[test]
fn the_time_in_which_the_registrar_was_stopped_is_no_part_of_a_lease() {
    let mut registry = registry();
    let (session, dismissed) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    let leased = Register { lease_ms: Some(1000), ..registration("clock", 1) };
    drop(registry.register(leased, USER, session, NOW).unwrap());
    drop(register(&mut registry, "feed", 2, dismissed));
    let back_by_ms = NOW + 2000;
    for event in [
        Event::SessionDismissed { session: dismissed, back_by_ms },
        Event::SessionEnded(dismissed),
        // The process was stopped for a minute after half a second.
        Event::Paused { for_ms: 60_000 },
    ] {
        drop(registry.apply(event, NOW + 60_500).unwrap());
    }
    let mut left = |at_ms| {
        drop(registry.apply(Event::Tick, NOW + at_ms).unwrap());
        [answer(&registry, "clock", true).len(), answer(&registry, "feed", true).len()]
    };
    assert_eq!(left(60_500), [1, 1]);
    assert_eq!(left(60_999), [1, 1]);
    assert_eq!(left(61_000), [0, 1]);
    assert_eq!(left(62_000), [0, 0]);

    // A renewal lasts as long as ever, and does not add to the former time.
    let leased = Register { lease_ms: Some(1000), ..registration("clock", 1) };
    drop(registry.register(leased, USER, session, NOW).unwrap());
    drop(registry.apply(Event::Paused { for_ms: 60_000 }, NOW + 60_000).unwrap());
    drop(
        registry.apply(Event::Renew { uuid: Uuid::from_u128(1), by: USER }, NOW + 60_000).unwrap(),
    );
    assert_eq!(registry.next_deadline_ms(), Some(NOW + 61_000));
    drop(registry.apply(Event::Tick, NOW + 61_000).unwrap());
    assert_eq!((registry.next_deadline_ms(), answer(&registry, "clock", true)), (None, vec![]));
}

#[test]
fn leases_run_out_unless_they_are_renewed() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let leased = |uuid| Register { lease_ms: Some(1000), ..registration("clock", uuid) };
    drop(registry.register(leased(1), USER, session, NOW).unwrap());
    drop(registry.register(leased(2), USER, session, NOW + 10).unwrap());
    assert_eq!(registry.next_deadline_ms(), Some(NOW + 1000));
    // A lease outlives the connection over which it was taken.
    drop(registry.apply(Event::SessionEnded(session), NOW + 20).unwrap());

    let renew = Event::Renew { uuid: Uuid::from_u128(1), by: USER };
    drop(registry.apply(renew, NOW + 900).unwrap());
    assert_eq!(registry.next_deadline_ms(), Some(NOW + 1010));
    drop(registry.apply(Event::Tick, NOW + 1009).unwrap());
    assert_eq!(answer(&registry, "clock", false), [2, 1]);
    drop(registry.apply(Event::Tick, NOW + 1010).unwrap());
    assert_eq!(answer(&registry, "clock", false), [1]);
    drop(registry.apply(Event::Tick, NOW + 1900).unwrap());
    assert_eq!(answer(&registry, "clock", false), []);
    assert_eq!(registry.next_deadline_ms(), None);

    let renew = Event::Renew { uuid: Uuid::from_u128(1), by: USER };
    let error = registry.apply(renew, NOW + 2000).unwrap_err();
    assert_eq!(error.to_string(), format!("no instance {} is registered", Uuid::from_u128(1)));
}

#[test]
fn only_the_registrant_changes_what_it_registered() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    drop(register(&mut registry, "feed", 1, session));
    let uuid = Uuid::from_u128(1);
    let stranger = Owner::Host("10.0.0.9".parse().unwrap());
    for by in [stranger, Owner::User(1001)] {
        let refused = registry.apply(Event::Unregister { uuid, by }, NOW).unwrap_err();
        assert!(matches!(refused, RegistryError::NotOwner { .. }), "{refused}");
        assert!(registry.register(registration("feed", 1), by, session, NOW).is_err());
    }
    let renamed = registry.register(registration("other", 1), USER, session, NOW);
    assert_eq!(renamed.unwrap_err(), RegistryError::OtherName { uuid });
    assert_eq!(answer(&registry, "feed", false), [1]);
    drop(registry.apply(Event::Unregister { uuid, by: Owner::User(0) }, NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), []);
}

#[test]
fn the_registrar_s_own_entry_is_said_to_be_its_own() {
    let mut registry = registry();
    registry.enter_own("registrar".parse().unwrap(), Vec::new(), 0, NOW);
    let session = registry.open_session(ACCOUNT);
    let (uuid, state) = (REGISTRAR, Some(State::Draining));
    for by in [Owner::User(0), USER, Owner::Registrar] {
        let update = Update { uuid, endpoints: None, metadata: None, state };
        for event in [
            Event::Unregister { uuid, by },
            Event::UnregisterAll { uuids: vec![uuid], by },
            Event::Renew { uuid, by },
            Event::Update { update, by },
        ] {
            let refused = registry.apply(event, NOW).unwrap_err();
            assert_eq!(refused, RegistryError::IsRegistrar);
        }
        let own = Register { uuid, ..registration("registrar", 1) };
        let refused = registry.register(own, by, session, NOW).unwrap_err();
        assert_eq!(refused, RegistryError::IsRegistrar);
    }
    assert!(RegistryError::IsRegistrar.to_string().contains("end its process"));
}

/// In a user namespace all unmapped users have one number, so nobody can tell them apart.
#[test]
fn an_unknown_owner_changes_only_entries_of_its_own_connection() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let (uuid, own) = (Uuid::from_u128(1), Owner::Unknown(1));
    drop(registry.register(registration("feed", 1), own, session, NOW).unwrap());
    for by in [Owner::Unknown(2), Owner::User(65534), USER] {
        let refused = registry.apply(Event::Unregister { uuid, by }, NOW).unwrap_err();
        assert!(matches!(refused, RegistryError::NotOwner { .. }), "{refused}");
        assert!(registry.register(registration("feed", 1), by, session, NOW).is_err());
    }
    assert!(registry.register(registration("feed", 1), own, session, NOW).is_ok());
    drop(registry.apply(Event::Unregister { uuid, by: Owner::User(0) }, NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), []);
}

#[test]
fn several_are_taken_out_in_one_change_or_none_is() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    for uuid in 1..=3 {
        drop(register(&mut registry, "feed", uuid, session));
    }
    let uuids: Vec<_> = [1, 2, 2, 9].map(Uuid::from_u128).into();
    let by = Owner::User(1001);
    let refused = registry.apply(Event::UnregisterAll { uuids: uuids.clone(), by }, NOW);
    assert!(matches!(refused.unwrap_err(), RegistryError::NotOwner { .. }));
    assert_eq!(answer(&registry, "feed", false), [3, 2, 1]);

    let before = registry.revision();
    drop(registry.apply(Event::UnregisterAll { uuids, by: USER }, NOW).unwrap());
    assert_eq!(registry.revision(), before + 1);
    assert_eq!(answer(&registry, "feed", false), [3]);
}

#[test]
fn every_bound_has_its_error() {
    let limits = Limits {
        instances_max: 3,
        session_instances_max: 2,
        session_waiters_max: 1,
        session_watchers_max: 1,
        foreign_instances_max: 1,
    };
    let mut registry = with_limits(limits);
    let (first, second) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    let mut check = |register: Register, session, expected: &str| {
        let error = registry.register(register, USER, session, NOW).map(drop).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let many = (0..=ENDPOINTS_MAX).map(|it| at(&format!("/memory/{}", it + 1))).collect();
    let much = BTreeMap::from([("k".to_owned(), "v".repeat(METADATA_BYTES_MAX))]);
    let feed = registration("feed", 1);
    check(
        Register { endpoints: many, ..feed.clone() },
        first,
        "an instance has at most 64 endpoints, and 65 were given",
    );
    check(
        Register { metadata: much, ..feed.clone() },
        first,
        "an instance has at most 16384 bytes of metadata, and 16385 were given",
    );
    check(
        Register { endpoints: vec![at("/ip4/0.0.0.0/tcp/80")], ..feed.clone() },
        first,
        "`/ip4/0.0.0.0/tcp/80` can be bound, not dialed; register the address that others reach",
    );
    check(
        Register { lease_ms: Some(1), ..feed },
        first,
        "a lease lasts 100 to 86400000 ms, not 1 ms",
    );

    drop(register(&mut registry, "feed", 1, first));
    drop(register(&mut registry, "feed", 2, first));
    let full = registry.register(registration("feed", 3), USER, first, NOW).unwrap_err();
    assert_eq!(full.to_string(), "too many instances of one session: at most 2");
    drop(register(&mut registry, "feed", 3, second));
    let full = registry.register(registration("feed", 4), USER, second, NOW).unwrap_err();
    assert_eq!(full.to_string(), "too many instances: at most 3");

    let mut bytes = BytesMut::new();
    let mut wait =
        |call| registry.wait((first, call), Name::new("x").unwrap(), &USER.into(), NOW, &mut bytes);
    assert!(wait(2).is_ok() && wait(4).is_err());
    assert!(registry.watch(first, 6, NamePattern::any(), None).is_ok());
    assert!(registry.watch(first, 8, NamePattern::any(), None).is_err());
}

#[test]
fn dismissed_sessions_have_some_time_to_return() {
    let mut registry = registry();
    let (watcher, dismissed) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    registry.watch(watcher, 0, "*".parse().unwrap(), None).unwrap();
    registry.credit(watcher, 0, 100);
    drop(register(&mut registry, "feed", 1, dismissed));
    drop(register(&mut registry, "risk", 2, dismissed));
    read(&mut registry, watcher);

    let mut apply = |event, now_ms| drop(registry.apply(event, now_ms).unwrap());
    apply(Event::SessionDismissed { session: dismissed, back_by_ms: NOW + 5000 }, NOW);
    apply(Event::SessionEnded(dismissed), NOW + 10);
    let again = registry.open_session(ACCOUNT);
    drop(register(&mut registry, "feed", 1, again));
    assert_eq!(registry.next_deadline_ms(), Some(NOW + 5000));
    drop(registry.apply(Event::Tick, NOW + 4999).unwrap());
    drop(registry.apply(Event::Tick, NOW + 5000).unwrap());
    let told: Vec<_> = read(&mut registry, watcher).iter().map(brief).collect();
    assert_eq!(told, ["update 1", "remove 2: its session ended"]);
    // An instance that returned lasts as long as the session with which it returned.
    drop(registry.apply(Event::SessionEnded(again), NOW + 6000).unwrap());
    assert_eq!(read(&mut registry, watcher).iter().map(brief).collect::<Vec<_>>().len(), 1);
    assert_eq!(registry.next_deadline_ms(), None);
}

#[test]
fn a_registry_that_stops_tells_of_no_end() {
    let mut registry = registry();
    let (watcher, before) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    registry.watch(watcher, 0, "*".parse().unwrap(), None).unwrap();
    registry.credit(watcher, 0, 100);
    drop(register(&mut registry, "feed", 1, before));
    read(&mut registry, watcher);

    drop(registry.apply(Event::Stopping, NOW).unwrap());
    let after = registry.open_session(ACCOUNT);
    drop(register(&mut registry, "risk", 2, after));
    for session in [before, after] {
        drop(registry.apply(Event::SessionEnded(session), NOW + 10).unwrap());
    }
    drop(registry.apply(Event::Tick, NOW + 60_000).unwrap());
    let told: Vec<_> = read(&mut registry, watcher).iter().map(brief).collect();
    assert_eq!(told, ["add 2"]);
    assert_eq!(registry.counts().sessions, 1);
}

#[test]
fn a_state_that_is_not_known_is_refused() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let unknown = Register { state: State::Unknown, ..registration("feed", 1) };
    let refused = registry.register(unknown, USER, session, NOW).map(drop);
    assert_eq!(refused, Err(RegistryError::UnknownState));

    drop(register(&mut registry, "feed", 1, session));
    let update = Update {
        uuid: Uuid::from_u128(1),
        endpoints: None,
        metadata: None,
        state: Some(State::Unknown),
    };
    let refused = registry.apply(Event::Update { update, by: USER }, NOW).map(drop);
    assert_eq!(refused, Err(RegistryError::UnknownState));
    assert_eq!(answer(&registry, "feed", false), [1]);
}

#[test]
fn the_secret_of_a_uuid_regains_it() {
    let (alice, bob) = (Owner::User(1001), Owner::User(1002));
    for other in ["feed", "clock"] {
        let mut registry = registry();
        let [of_alice, of_bob] = [alice, bob].map(|it| registry.open_session(it.account()));
        let secret = InstanceSecret::new([7; 16]);
        let own = Register { uuid: secret.uuid(), ..registration("feed", 1) };
        let seen = Register { secret: None, ..own.clone() };
        // Bob has read the UUID in a listing, and registers it while Alice is away.
        let squatted = Register { name: other.parse().unwrap(), ..seen.clone() };
        drop(registry.register(squatted.clone(), bob, of_bob, NOW).unwrap());
        let guessed = Register { secret: Some(InstanceSecret::new([8; 16])), ..own.clone() };
        for refused in [seen, guessed] {
            registry.register(refused, alice, of_alice, NOW).unwrap_err();
        }
        let own = Register { secret: Some(secret), ..own };
        let (_, outcome) = registry.register(own.clone(), alice, of_alice, NOW).unwrap();
        assert_eq!(outcome.lost.keys().collect::<Vec<_>>(), [&of_bob], "Bob is told");
        let record = registry.record(own.uuid).unwrap();
        assert_eq!((record.name.as_str(), record.owner), ("feed", Some(alice.into())));
        assert_eq!(registry.counts().instances, 1);
        // Nor does it return.
        registry.register(squatted, bob, of_bob, NOW).unwrap_err();
        drop(registry.apply(Event::SessionEnded(of_bob), NOW).unwrap());
        assert!(registry.record(own.uuid).is_some());
        // A client's own instance has one name, as ever.
        let renamed = Register { name: "clock".parse().unwrap(), ..own };
        registry.register(renamed, alice, of_alice, NOW).unwrap_err();
    }
}

/// A client that has waited in vain for an answer registers by another connection. A busy registrar
/// reads what came by the first one late.
#[test]
fn a_program_is_where_its_later_connection_has_registered_it() {
    let mut registry = registry();
    let [first, second] = [1, 2].map(|_| registry.open_session(ACCOUNT));
    let secret = InstanceSecret::new([7; 16]);
    let own = Register { uuid: secret.uuid(), secret: Some(secret), ..registration("feed", 1) };
    drop(registry.register(own.clone(), USER, second, NOW).unwrap());
    let late = registry.register(own.clone(), USER, first, NOW).unwrap_err();
    assert_eq!(late, RegistryError::Superseded { uuid: own.uuid });
    drop(registry.apply(Event::SessionEnded(first), NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), [own.uuid.as_u128()]);

    // Its third has the number of the first.
    let third = registry.open_session(ACCOUNT);
    assert_eq!(third, first);
    let (_, outcome) = registry.register(own.clone(), USER, third, NOW).unwrap();
    assert_eq!(outcome.lost.keys().collect::<Vec<_>>(), [&second]);

    // A UUID that others may choose too is where it was registered last.
    let [older, newer] = [1, 2].map(|_| registry.open_session(ACCOUNT));
    drop(register(&mut registry, "mail", 2, newer));
    assert_eq!(register(&mut registry, "mail", 2, older).lost.len(), 1);
}
