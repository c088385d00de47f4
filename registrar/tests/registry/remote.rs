//! Records of other nodes of a cluster.

use bytes::BytesMut;
use callsign_registrar::registry::{
    Event, HomeNode, Limits, NameRule, NameRules, Names, Outcome, Owner, Registry, RegistryError,
    Remote, Stride,
};
use endpoints::{Name, NamePattern};
use uuid::Uuid;
use wire::{ProofSecret, Record, RemovalReason, Suspicion, registrar::Update};

use super::support::*;

fn node(name: &str) -> HomeNode {
    let (name, registrar) = (name.parse().unwrap(), Uuid::from_u128(77));
    HomeNode { name, registrar, secret: ProofSecret::new([7; 32]) }
}

fn clustered() -> Registry {
    let mut registry = registry();
    assert!(registry.know_node(node("rome")) && registry.know_node(node("oslo")));
    registry
}

fn record(name: &str, uuid: u128, epoch: u64, node: &str) -> Record {
    Record {
        epoch,
        endpoints: vec![at("/ip4/10.0.0.9/tcp/80")],
        owner: Some(USER.into()),
        node: Some(node.parse().unwrap()),
        ..Record::new(Name::new(name).unwrap(), Uuid::from_u128(uuid))
    }
}

fn enter(registry: &mut Registry, record: Record) -> Result<Outcome, RegistryError> {
    registry.enter_remote(Remote { record, has_key: false }, NOW)
}

fn watch(registry: &mut Registry) -> usize {
    let session = registry.open_session(ACCOUNT);
    registry.watch(session, 1, NamePattern::any(), None).unwrap();
    registry.credit(session, 1, 1000);
    assert_eq!(changes(registry, session), ["reset", "synced"]);
    session
}

fn changes(registry: &mut Registry, session: usize) -> Vec<String> {
    read(registry, session).iter().map(brief).collect()
}

fn epoch_of(registry: &Registry, uuid: u128) -> u64 {
    registry.record(Uuid::from_u128(uuid)).unwrap().epoch
}

#[test]
fn a_record_of_another_node_is_found_watched_and_lost() {
    let mut registry = clustered();
    let session = watch(&mut registry);
    drop(enter(&mut registry, record("feed", 1, NOW * 1000 - 5, "rome")).unwrap());
    assert_eq!(answer(&registry, "feed", false), [1]);
    let told = registry.record(Uuid::from_u128(1)).unwrap();
    assert_eq!(told, record("feed", 1, NOW * 1000 - 5, "rome"), "as its node has told it");
    drop(enter(&mut registry, record("feed", 1, NOW * 1000 + 9, "oslo")).unwrap());
    let uuids = [Uuid::from_u128(1)];
    drop(registry.remove_remote(&"rome".parse().unwrap(), &uuids, RemovalReason::NodeLost));
    assert_eq!(answer(&registry, "feed", false), [1], "it is at another node by now");
    drop(registry.remove_remote(&"oslo".parse().unwrap(), &uuids, RemovalReason::NodeLost));
    assert!(answer(&registry, "feed", true).is_empty());
    let expected = ["add 1", "update 1", "remove 1: its node is gone"];
    assert_eq!(changes(&mut registry, session), expected);
}

#[test]
fn an_instance_that_moves_here_is_updated_and_kept() {
    let mut registry = clustered();
    let session = watch(&mut registry);
    let theirs = NOW * 1000 + 4000;
    drop(enter(&mut registry, record("feed", 1, theirs, "rome")).unwrap());
    drop(register(&mut registry, "feed", 1, session));
    assert!(epoch_of(&registry, 1) > theirs, "a later registration has a higher epoch");
    assert_eq!(registry.record(Uuid::from_u128(1)).unwrap().node, None);
    assert_eq!(changes(&mut registry, session), ["add 1", "update 1"]);
    let late = enter(&mut registry, record("feed", 1, theirs + 1_000_000, "rome"));
    assert_eq!(late.unwrap_err(), RegistryError::KeptHere { uuid: Uuid::from_u128(1) });
    let uuids = [Uuid::from_u128(1)];
    drop(registry.remove_remote(&"rome".parse().unwrap(), &uuids, RemovalReason::NodeLost));
    assert_eq!(answer(&registry, "feed", false), [1]);
    drop(registry.apply(Event::SessionEnded(session), NOW).unwrap());
    assert!(answer(&registry, "feed", true).is_empty());
}

#[test]
fn nobody_here_changes_the_record_of_another_node() {
    let mut registry = clustered();
    drop(enter(&mut registry, record("feed", 1, NOW * 1000, "rome")).unwrap());
    let uuid = Uuid::from_u128(1);
    let elsewhere = RegistryError::KeptElsewhere { uuid, node: "rome".parse().unwrap() };
    for by in [USER, Owner::User(0), Owner::Registrar] {
        let nothing = Update { uuid, endpoints: Some(Vec::new()), metadata: None, state: None };
        for event in [
            Event::Unregister { uuid, by },
            Event::UnregisterAll { uuids: vec![uuid], by },
            Event::Renew { uuid, by },
            Event::Update { update: nothing, by },
        ] {
            assert_eq!(registry.apply(event, NOW).unwrap_err(), elsewhere);
        }
    }
    let endpoint = "/ip4/10.0.0.9/tcp/80".parse().unwrap();
    assert_eq!(registry.claimant(uuid, NOW * 1000, &endpoint), None, "nobody looks after it here");
    let session = registry.open_session(ACCOUNT);
    let register = registration("feed", 1);
    let stranger = registry.register(register, Owner::User(1001), session, NOW);
    assert!(matches!(stranger.unwrap_err(), RegistryError::NotOwner { .. }));
    assert_eq!(answer(&registry, "feed", false), [1]);
}

#[test]
fn what_a_node_knew_before_it_was_cut_off_is_in_doubt_until_it_hears_again() {
    let mut registry = clustered();
    let session = watch(&mut registry);
    let silent = Suspicion { since_ms: NOW - 9, silent: true, ..Suspicion::default() };
    let hung = Record { suspicion: Some(silent), ..record("feed", 2, NOW * 1000 + 9, "oslo") };
    drop(enter(&mut registry, record("feed", 1, NOW * 1000, "rome")).unwrap());
    drop(enter(&mut registry, hung).unwrap());
    drop(register(&mut registry, "clock", 3, session));
    drop(changes(&mut registry, session));
    let uuids: Vec<_> = (1..5).map(Uuid::from_u128).collect();
    let evidence = |registry: &Registry| {
        [1, 2, 3].map(|it| registry.record(Uuid::from_u128(it)).unwrap().suspicion)
    };
    let cut_off = Suspicion { since_ms: NOW - 4000, cut_off: true, ..Suspicion::default() };
    for _ in 0..2 {
        drop(registry.doubt_remote(&uuids, Some(NOW - 4000)));
        let both = Suspicion { cut_off: true, ..silent };
        assert_eq!(evidence(&registry), [Some(cut_off), Some(both), None]);
    }
    assert_eq!(answer(&registry, "feed", false), [2, 1], "they are found nevertheless");
    let mut bytes = BytesMut::new();
    let mut wait = |registry: &mut Registry, call, name: &str| {
        let name = Name::new(name).unwrap();
        registry.wait((session, call), name, &USER.into(), NOW, &mut bytes).unwrap().0
    };
    assert!(wait(&mut registry, 20, "clock") && !wait(&mut registry, 21, "feed"));
    let outcome = registry.doubt_remote(&uuids, None);
    assert_eq!(outcome.woken.len(), 1);
    assert_eq!(evidence(&registry), [None, Some(silent), None]);
    assert!(wait(&mut registry, 22, "feed"));
    drop(registry.doubt_remote(&uuids, None));
    let expected = ["update 1", "update 2", "update 1", "update 2"];
    assert_eq!(changes(&mut registry, session), expected);
    drop(registry.doubt_remote(&uuids[..1], Some(NOW)));
    drop(enter(&mut registry, record("feed", 1, NOW * 1000 + 99, "rome")).unwrap());
    assert_eq!(evidence(&registry)[0], None, "what comes from its node is known by now");
}

#[test]
fn an_exclusive_name_is_taken_by_an_instance_elsewhere() {
    let mut registry = clustered();
    let exclusive = NameRule {
        pattern: "feed".parse().unwrap(),
        register: None,
        find: None,
        exclusive: true,
        instances_max: None,
        place: String::new(),
    };
    let theirs = Record { token: Some(7), ..record("feed", 1, NOW * 1000, "rome") };
    drop(enter(&mut registry, theirs.clone()).unwrap());
    drop(registry.set_rules(NameRules::new(Names::Open, String::new(), vec![exclusive])));
    while registry.has_deferred() {
        drop(registry.do_deferred());
    }
    assert_eq!(registry.record(theirs.uuid), Some(theirs.clone()), "its token is its node's");
    let session = registry.open_session(ACCOUNT);
    let ask = |registry: &mut Registry| {
        registry.register(registration("feed", 2), USER, session, NOW).map(|(it, _)| it.token)
    };
    assert!(matches!(ask(&mut registry).unwrap_err(), RegistryError::Exclusive { .. }));
    let rome = "rome".parse().unwrap();
    drop(registry.remove_remote(&rome, &[theirs.uuid], RemovalReason::NodeLost));
    assert!(ask(&mut registry).unwrap() > theirs.token, "a later holder has a higher token");
}

#[test]
fn a_faulty_record_is_refused_and_changes_nothing() {
    let mut registry = with_limits(Limits { instances_max: 2, ..Limits::default() });
    assert!(registry.know_node(node("rome")));
    let good = record("feed", 1, NOW * 1000 + 7, "rome");
    drop(enter(&mut registry, good.clone()).unwrap());
    let other = |epoch| record("feed", 2, epoch, "rome");
    let (endpoints, metadata) = (vec![at("/memory/7"); 65], "x".repeat(17_000));
    for faulty in [
        Record { node: Some("bern".parse().unwrap()), ..other(9) },
        Record { node: None, ..other(9) },
        Record { owner: None, ..other(9) },
        Record { state: wire::State::Unknown, ..other(9) },
        Record { endpoints, ..other(9) },
        Record { metadata: [("a".to_owned(), metadata)].into(), ..other(9) },
        Record { name: "bread".parse().unwrap(), ..good.clone() },
        other(0),
        other(u64::MAX),
        other(good.epoch),
    ] {
        assert!(enter(&mut registry, faulty.clone()).is_err(), "{faulty:?}");
        assert_eq!(answer(&registry, "feed", true), [1]);
        assert_eq!(registry.record(good.uuid), Some(good.clone()));
    }
    drop(enter(&mut registry, other(9)).unwrap());
    let full = enter(&mut registry, record("feed", 3, 10, "rome")).unwrap_err();
    assert!(matches!(full, RegistryError::TooMany { .. }), "{full}");
}

#[test]
fn nodes_issue_different_epochs() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    drop(register(&mut registry, "feed", 1, session));
    registry.set_stride(Stride::of(5).unwrap());
    let mut last = epoch_of(&registry, 1);
    for uuid in 2..400 {
        drop(register(&mut registry, "feed", uuid, session));
        let epoch = epoch_of(&registry, uuid);
        assert!(epoch > last && epoch % Stride::NODES == 5, "{epoch} after {last}");
        last = epoch;
    }
}
