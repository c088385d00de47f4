//! The registry, event by event, and by a model that a watcher must agree with.
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use callsign_registrar::registry::{
    Claimant, Event, Foreign, Limits, Outcome, Owner, Registry, RegistryError, SessionId,
};
use endpoints::{KernelId, Name, NamePattern, Stamp, Stamped};
use proptest::prelude::*;
use uuid::Uuid;
use wire::{
    CallId, Epoch, Gone, Kept, METADATA_BYTES_MAX, Record, State, decode_body,
    registrar::{Answer, Change, ENDPOINTS_MAX, List, Page, Register, Seen, Update},
};

const NOW: u64 = 1_795_000_000_000;
const USER: Owner = Owner::User(1000);
const REGISTRAR: Uuid = Uuid::from_u128(1616);

fn registry() -> Registry {
    Registry::new(REGISTRAR, Limits::default(), NOW)
}

fn registration(name: &str, uuid: u128) -> Register {
    Register {
        name: Name::new(name).unwrap(),
        uuid: Uuid::from_u128(uuid),
        endpoints: vec![at(&format!("/ip4/10.0.0.7/tcp/{}", 1024 + uuid % 60_000))],
        metadata: BTreeMap::new(),
        state: State::Ready,
        lease_ms: None,
        proves: false,
    }
}

fn at(endpoint: &str) -> Stamped {
    Stamped::bare(endpoint.parse().unwrap())
}

fn register(registry: &mut Registry, name: &str, uuid: u128, session: SessionId) -> Outcome {
    registry.register(registration(name, uuid), USER, session, NOW).unwrap().1
}

fn answer(registry: &Registry, name: &str, all: bool) -> Vec<u128> {
    let mut bytes = BytesMut::new();
    registry.answer(name, all, NOW, &mut bytes);
    let Answer { total, records, .. } = decode_body(&bytes).unwrap();
    assert!(total >= records.len() as u64);
    records.iter().map(|it| it.uuid.as_u128()).collect()
}

/// Reads what every watch of a session has to say.
fn read(registry: &mut Registry, session: SessionId) -> Vec<Change> {
    let mut changes = Vec::new();
    registry.read_watches(session, &mut |_, change| {
        changes.push(decode_body(change).unwrap());
        true
    });
    changes
}

/// Writes a change in a word.
fn brief(change: &Change) -> String {
    match change {
        Change::Reset => "reset".to_owned(),
        Change::Synced { .. } => "synced".to_owned(),
        Change::Add { record, .. } => format!("add {}", record.uuid.as_u128()),
        Change::Update { record, .. } => format!("update {}", record.uuid.as_u128()),
        Change::Remove { instance, gone, .. } => {
            format!("remove {}: {gone}", instance.uuid.as_u128())
        }
    }
}

#[test]
fn an_answer_has_the_newest_first_and_what_is_declared_last() {
    let mut registry = registry();
    let session = registry.open_session();
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
    let (first, second) = (registry.open_session(), registry.open_session());
    let epoch = |registry: &mut Registry, session| {
        registry.register(registration("feed", 1), USER, session, NOW).unwrap().0.epoch
    };
    let before = epoch(&mut registry, first);
    assert!(epoch(&mut registry, second) > before);
    assert_eq!(answer(&registry, "feed", false), [1]);

    // It is the second session's now, so the end of the first takes nothing.
    drop(registry.apply(Event::SessionEnded(first), NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), [1]);
    drop(registry.apply(Event::SessionEnded(second), NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), []);
}

#[test]
fn epochs_and_revisions_grow_across_restarts() {
    let mut before = registry();
    let session = before.open_session();
    let (old, _) = before.register(registration("feed", 1), USER, session, NOW).unwrap();
    let mut after = Registry::new(Uuid::from_u128(2), Limits::default(), NOW + 20);
    let session = after.open_session();
    let (new, _) = after.register(registration("feed", 1), USER, session, NOW + 20).unwrap();
    assert!(new.epoch > old.epoch && new.revision > old.revision);
}

#[test]
fn waiters_are_woken_once_in_the_order_of_asking() {
    let mut registry = registry();
    let sessions: Vec<_> = (0..4).map(|_| registry.open_session()).collect();
    let feed = Name::new("feed").unwrap();
    let mut bytes = BytesMut::new();
    for session in [2, 0, 3, 1] {
        let call = 10 + session as CallId;
        let session = sessions[session];
        assert!(!registry.wait(session, call, feed.clone(), NOW, &mut bytes).unwrap());
    }
    registry.cancel(sessions[3], 13);
    let counts = registry.counts();
    assert_eq!((counts.waiters, counts.sessions), (3, 4));

    // Neither what is declared nor what is starting answers those who wait.
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
    let woken: Vec<_> = outcome.woken.iter().map(|it| (it.session, it.call)).collect();
    assert_eq!(woken, [(sessions[2], 12), (sessions[0], 10), (sessions[1], 11)]);
    let told: Answer = decode_body(&outcome.woken[0].answer).unwrap();
    assert_eq!(told.records[0].uuid.as_u128(), 1);

    assert!(register(&mut registry, "feed", 2, sessions[0]).woken.is_empty());
    assert!(registry.wait(sessions[1], 20, feed, NOW, &mut bytes).unwrap());
    assert_eq!(registry.counts().waiters, 0);
}

#[test]
fn the_end_of_a_session_takes_all_it_kept_in_one_change_and_leaves_nothing() {
    let mut registry = registry();
    let (session, watching) = (registry.open_session(), registry.open_session());
    let empty = registry.counts();
    for uuid in 1..=3 {
        drop(register(&mut registry, "feed", uuid, session));
    }
    let mut bytes = BytesMut::new();
    assert!(!registry.wait(session, 2, Name::new("x").unwrap(), NOW, &mut bytes).unwrap());
    registry.watch(session, 4, NamePattern::any(), None).unwrap();
    registry.watch(watching, 2, NamePattern::any(), None).unwrap();
    registry.credit(watching, 2, 100);
    assert_eq!(read(&mut registry, watching).len(), 5);

    let outcome = registry.apply(Event::SessionEnded(session), NOW).unwrap();
    assert_eq!(outcome.stirred, [watching].into());
    let revisions: Vec<_> = read(&mut registry, watching)
        .into_iter()
        .map(|it| match it {
            Change::Remove { revision, gone: Gone::SessionEnded, .. } => revision,
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
fn leases_run_out_unless_they_are_renewed() {
    let mut registry = registry();
    let session = registry.open_session();
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
    let session = registry.open_session();
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
fn several_are_taken_out_in_one_change_or_none_is() {
    let mut registry = registry();
    let session = registry.open_session();
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
    let mut registry = Registry::new(REGISTRAR, limits, NOW);
    let (first, second) = (registry.open_session(), registry.open_session());
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
        "a lease lasts 100 to 86400000 ms, and 1 ms were asked for",
    );

    drop(register(&mut registry, "feed", 1, first));
    drop(register(&mut registry, "feed", 2, first));
    let full = registry.register(registration("feed", 3), USER, first, NOW).unwrap_err();
    assert_eq!(full.to_string(), "too many instances of one session: at most 2");
    drop(register(&mut registry, "feed", 3, second));
    let full = registry.register(registration("feed", 4), USER, second, NOW).unwrap_err();
    assert_eq!(full.to_string(), "too many instances: at most 3");

    let mut bytes = BytesMut::new();
    let mut wait = |call| registry.wait(first, call, Name::new("x").unwrap(), NOW, &mut bytes);
    assert!(wait(2).is_ok() && wait(4).is_err());
    assert!(registry.watch(first, 6, NamePattern::any(), None).is_ok());
    assert!(registry.watch(first, 8, NamePattern::any(), None).is_err());
}

#[test]
fn an_older_claim_goes_only_when_it_is_found_dead() {
    let here = Stamp { kernel: Some(KernelId(1)), ..Stamp::default() };
    let there = Stamp { kernel: Some(KernelId(2)), ..Stamp::default() };
    let socket = |stamp| vec![Stamped { stamp, ..at("/unix/run/feed.sock") }];
    let mut registry = registry();
    let session = registry.open_session();
    let put = |registry: &mut Registry, uuid, stamp, lease_ms| {
        let register =
            Register { endpoints: socket(stamp), lease_ms, ..registration("feed", uuid) };
        registry.register(register, USER, session, NOW).unwrap().1.contested
    };
    assert_eq!(put(&mut registry, 1, here, Some(1000)), []);
    assert_eq!(put(&mut registry, 2, there, None), [], "the same path of another host is another");
    let contested = put(&mut registry, 3, here, None);
    assert_eq!(contested.len(), 1);
    assert_eq!(contested[0].uuid.as_u128(), 1);
    assert_eq!(answer(&registry, "feed", false), [3, 2, 1], "contested, and not yet judged");

    // A claim of an earlier registration is not the claim of a later one.
    let mut earlier = contested[0].clone();
    earlier.epoch -= 1;
    drop(registry.apply(Event::FoundDead(earlier), NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), [3, 2, 1]);

    drop(registry.apply(Event::FoundDead(contested[0].clone()), NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), [3, 2]);

    // A session vouches for its instance, whatever becomes of the endpoint.
    let contested = put(&mut registry, 4, here, None);
    assert_eq!(contested[0].uuid.as_u128(), 3);
    drop(registry.apply(Event::FoundDead(contested[0].clone()), NOW).unwrap());
    assert_eq!(registry.record(Uuid::from_u128(3)).unwrap().endpoints, []);
}

#[test]
fn what_cannot_be_judged_is_marked_until_it_is_seen_alive() {
    let mut registry = registry();
    let session = registry.open_session();
    let uuid = Uuid::from_u128(1);
    let (registered, _) = registry.register(registration("feed", 1), USER, session, NOW).unwrap();
    let endpoint = registration("feed", 1).endpoints[0].endpoint.clone();
    let claimant = registry.claimant(uuid, registered.epoch, &endpoint).unwrap();
    for now in [NOW + 1, NOW + 2] {
        drop(registry.apply(Event::Suspect(claimant.clone()), now).unwrap());
    }
    let suspicion = registry.record(uuid).unwrap().suspicion.unwrap();
    assert_eq!((suspicion.reports, suspicion.since_ms), (2, NOW + 1));
    drop(registry.apply(Event::FoundAlive(claimant.clone()), NOW + 3).unwrap());
    assert_eq!(registry.record(uuid).unwrap().suspicion, None);

    // Its session lives, so it may listen again at any moment.
    drop(registry.apply(Event::FoundSilent(claimant), NOW + 4).unwrap());
    let record = registry.record(uuid).unwrap();
    assert_eq!((record.endpoints.len(), record.suspicion.map(|it| it.reports)), (1, Some(1)));
}

#[test]
fn what_a_silent_session_keeps_is_marked_in_one_change_and_cleared_in_one() {
    let mut registry = registry();
    let (session, other) = (registry.open_session(), registry.open_session());
    for uuid in [1, 2, 3] {
        drop(register(&mut registry, "feed", uuid, session));
    }
    drop(register(&mut registry, "feed", 4, other));
    let leased = Register { lease_ms: Some(1000), ..registration("feed", 5) };
    drop(registry.register(leased, USER, session, NOW).unwrap());
    registry.watch(other, 0, NamePattern::new("*").unwrap(), None).unwrap();
    registry.credit(other, 0, 100);
    drop(read(&mut registry, other));
    let suspicion = |registry: &Registry, uuid: u128| {
        let suspicion = registry.record(Uuid::from_u128(uuid)).unwrap().suspicion;
        suspicion.map(|it| (it.reports, it.since_ms - NOW, it.silent))
    };

    // One of them was reported before.
    let record = registry.record(Uuid::from_u128(2)).unwrap();
    let claimant =
        registry.claimant(record.uuid, record.epoch, &record.endpoints[0].endpoint).unwrap();
    drop(registry.apply(Event::Suspect(claimant.clone()), NOW + 1).unwrap());
    drop(read(&mut registry, other));

    let revisions = |registry: &mut Registry| -> Vec<_> {
        let changes = read(registry, other);
        let revision = |it: &Change| match it {
            Change::Update { record, revision } => (record.uuid.as_u128(), *revision),
            other => panic!("{other:?}"),
        };
        changes.iter().map(revision).collect()
    };
    drop(registry.apply(Event::SessionSilent(session), NOW + 2).unwrap());
    let revision = registry.revision();
    assert_eq!(revisions(&mut registry), [(1, revision), (2, revision), (3, revision)]);
    assert_eq!(suspicion(&registry, 1), Some((0, 2, true)));
    assert_eq!(suspicion(&registry, 2), Some((1, 1, true)));
    assert_eq!([4, 5].map(|it| suspicion(&registry, it)), [None, None], "others keep these");

    // To be told twice changes nothing.
    drop(registry.apply(Event::SessionSilent(session), NOW + 3).unwrap());
    assert_eq!(registry.revision(), revision);

    // The kernel takes connections for a stopped process: what answers may be silent all the same.
    drop(registry.apply(Event::FoundAlive(claimant), NOW + 4).unwrap());
    assert_eq!(suspicion(&registry, 2), Some((0, 1, true)));
    drop(read(&mut registry, other));

    drop(registry.apply(Event::SessionHeard(session), NOW + 5).unwrap());
    let revision = registry.revision();
    assert_eq!(revisions(&mut registry), [(1, revision), (2, revision), (3, revision)]);
    assert_eq!([1, 2, 3].map(|it| suspicion(&registry, it)), [None; 3]);
}

#[test]
fn a_lease_goes_with_its_last_endpoint_that_is_found_silent() {
    let mut registry = registry();
    let session = registry.open_session();
    let endpoints = vec![at("/ip4/10.0.0.7/tcp/1"), at("/ip4/10.0.0.7/tcp/2")];
    let leased =
        Register { lease_ms: Some(1000), endpoints: endpoints.clone(), ..registration("clock", 1) };
    let (registered, _) = registry.register(leased, USER, session, NOW).unwrap();
    for (left, stamped) in [(1, &endpoints[0]), (0, &endpoints[1])] {
        let claimant =
            registry.claimant(Uuid::from_u128(1), registered.epoch, &stamped.endpoint).unwrap();
        drop(registry.apply(Event::FoundSilent(claimant), NOW).unwrap());
        let record = registry.record(Uuid::from_u128(1));
        assert_eq!(record.map_or(0, |it| it.endpoints.len()), left);
    }
    assert_eq!(registry.counts().instances, 0);
}

#[test]
fn a_watch_shows_what_is_there_and_then_what_changes() {
    let mut registry = registry();
    let (session, watching) = (registry.open_session(), registry.open_session());
    drop(register(&mut registry, "feed.eu", 1, session));
    drop(register(&mut registry, "broker", 2, session));
    registry.watch(watching, 2, NamePattern::new("feed*").unwrap(), None).unwrap();
    assert_eq!(read(&mut registry, watching), [], "no credit, no items");

    registry.credit(watching, 2, 100);
    let mut told: Vec<_> = read(&mut registry, watching).iter().map(brief).collect();
    assert!(register(&mut registry, "broker", 3, session).stirred.is_empty());
    assert_eq!(register(&mut registry, "feed.us", 4, session).stirred, [watching].into());
    drop(registry.apply(Event::Unregister { uuid: Uuid::from_u128(1), by: USER }, NOW).unwrap());
    told.extend(read(&mut registry, watching).iter().map(brief));
    assert_eq!(told, ["reset", "add 1", "synced", "add 4", "remove 1: unregistered"]);
}

#[test]
fn a_watch_goes_on_where_it_left_off() {
    let mut registry = registry();
    let (session, watching) = (registry.open_session(), registry.open_session());
    drop(register(&mut registry, "feed", 1, session));
    let seen = Seen { registrar: REGISTRAR, revision: registry.revision() };
    drop(register(&mut registry, "feed", 2, session));
    drop(register(&mut registry, "broker", 3, session));

    let mut check = |seen: Seen, expected: &[&str]| {
        registry.watch(watching, 2, NamePattern::new("feed").unwrap(), Some(seen)).unwrap();
        registry.credit(watching, 2, 100);
        let told: Vec<_> = read(&mut registry, watching).iter().map(brief).collect();
        registry.cancel(watching, 2);
        assert_eq!(told, expected);
    };
    check(seen, &["add 2"]);
    let everything = ["reset", "add 1", "add 2", "synced"];
    check(Seen { registrar: Uuid::from_u128(7), ..seen }, &everything);
    check(Seen { revision: 7, ..seen }, &everything);
    check(Seen { revision: u64::MAX, ..seen }, &everything);
}

#[test]
fn a_watcher_cut_within_a_change_hears_all_of_it_by_naming_one_less() {
    let mut registry = registry();
    let (session, watching) = (registry.open_session(), registry.open_session());
    drop(register(&mut registry, "feed", 1, session));
    drop(register(&mut registry, "feed", 2, session));
    drop(registry.apply(Event::SessionEnded(session), NOW).unwrap());
    // It has read the first of the two removals, which carries the revision of both.
    let seen = Seen { registrar: REGISTRAR, revision: registry.revision() - 1 };
    assert!(registry.watch(watching, 2, NamePattern::any(), Some(seen)).unwrap());
    registry.credit(watching, 2, 100);
    let told: Vec<_> = read(&mut registry, watching).iter().map(brief).collect();
    assert_eq!(told, ["remove 1: its session ended", "remove 2: its session ended"]);
}

#[test]
fn a_watcher_that_does_not_keep_up_begins_again() {
    let mut registry = registry();
    let (session, watching) = (registry.open_session(), registry.open_session());
    registry.watch(watching, 2, NamePattern::any(), None).unwrap();
    registry.credit(watching, 2, 2);
    assert_eq!(read(&mut registry, watching).len(), 2);
    for uuid in 0..5000 {
        drop(register(&mut registry, "feed", uuid, session));
    }
    registry.credit(watching, 2, u32::MAX);
    let told = read(&mut registry, watching);
    assert_eq!(told.len(), 5002);
    assert_eq!((told[0].clone(), brief(&told[5001])), (Change::Reset, "synced".to_owned()));
}

/// One step of a random history. It prints itself when a history fails.
#[derive(Clone, Debug)]
enum Step {
    Register { name: u8, uuid: u8, lease: bool },
    Unregister { uuid: u8 },
    State { uuid: u8, state: State },
    EndSession,
    Pass { ms: u16 },
    Read { credit: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 0..12_u8, any::<bool>())
            .prop_map(|(name, uuid, lease)| Step::Register { name, uuid, lease }),
        2 => (0..12_u8).prop_map(|uuid| Step::Unregister { uuid }),
        2 => (0..12_u8, prop_oneof![Just(State::Ready), Just(State::Draining)])
            .prop_map(|(uuid, state)| Step::State { uuid, state }),
        1 => Just(Step::EndSession),
        1 => (0..700_u16).prop_map(|ms| Step::Pass { ms }),
        4 => (0..6_u8).prop_map(|credit| Step::Read { credit }),
    ]
}

/// What a watcher makes of what it is told.
#[derive(Default)]
struct View(BTreeMap<Uuid, Record>);

impl View {
    fn learn(&mut self, change: Change) {
        match change {
            Change::Reset => self.0.clear(),
            Change::Synced { .. } => {}
            Change::Add { record, .. } | Change::Update { record, .. } => {
                self.0.insert(record.uuid, record);
            }
            Change::Remove { instance, .. } => {
                assert!(self.0.remove(&instance.uuid).is_some(), "{instance} was never shown");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_watcher_sees_what_is_there_whatever_happens(
        steps in proptest::collection::vec(step(), 1..120),
        pattern in prop_oneof![Just("*"), Just("n1"), Just("n?")],
    ) {
        let mut registry = registry();
        let mut session = registry.open_session();
        let watching = registry.open_session();
        let pattern = NamePattern::new(pattern).unwrap();
        registry.watch(watching, 2, pattern.clone(), None).unwrap();
        let (mut view, mut now) = (View::default(), NOW);

        for step in steps {
            // A step may be refused, as when an instance is registered under another name.
            match step {
                Step::Register { name, uuid, lease } => {
                    let register = Register {
                        lease_ms: lease.then_some(500),
                        ..registration(&format!("n{name}"), uuid.into())
                    };
                    drop(registry.register(register, USER, session, now));
                }
                Step::Unregister { uuid } => {
                    let uuid = Uuid::from_u128(uuid.into());
                    drop(registry.apply(Event::Unregister { uuid, by: USER }, now));
                }
                Step::State { uuid, state } => {
                    let uuid = Uuid::from_u128(uuid.into());
                    let update =
                        Update { uuid, endpoints: None, metadata: None, state: Some(state) };
                    drop(registry.apply(Event::Update { update, by: USER }, now));
                }
                Step::EndSession => {
                    drop(registry.apply(Event::SessionEnded(session), now).unwrap());
                    session = registry.open_session();
                }
                Step::Pass { ms } => {
                    now += u64::from(ms);
                    drop(registry.apply(Event::Tick, now).unwrap());
                }
                Step::Read { credit } => {
                    registry.credit(watching, 2, credit.into());
                    read(&mut registry, watching).into_iter().for_each(|it| view.learn(it));
                }
            }
        }
        registry.credit(watching, 2, u32::MAX);
        read(&mut registry, watching).into_iter().for_each(|it| view.learn(it));

        let mut page = BytesMut::new();
        registry.page(&List { pattern, after: 0 }, now, &mut page);
        let Page { next, records, .. } = decode_body(&page).unwrap();
        prop_assert_eq!(next, None);
        let there: BTreeMap<_, _> = records.into_iter().map(|it| (it.uuid, it)).collect();
        prop_assert_eq!(&view.0, &there);
        let epochs: Vec<Epoch> = there.values().map(|it| it.epoch).collect();
        prop_assert!(epochs.iter().all(|it| *it > NOW));
        let leased = there.values().filter(|it| matches!(it.kept, Kept::Lease { .. }));
        prop_assert!(leased.clone().next().is_none() || registry.next_deadline_ms().is_some());
    }
}

#[test]
fn a_foreign_instance_is_ready_when_all_of_it_is_there() {
    let mut registry = registry();
    let session = registry.open_session();
    let mut bytes = BytesMut::new();
    let name = Name::new("snake").unwrap();
    assert!(!registry.wait(session, 2, name.clone(), NOW, &mut bytes).unwrap());

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
    let [woken] = &outcome.woken[..] else { panic!("{outcome:?}") };
    let Answer { records, .. } = decode_body(&woken.answer).unwrap();
    assert_eq!(records[0].endpoints, [at(first), at(second)]);
    assert_eq!((records[0].kept, records[0].user), (Kept::Foreign, Some(1000)));
}

#[test]
fn what_a_program_keeps_itself_is_not_changed_through_a_door() {
    let mut registry = registry();
    let session = registry.open_session();
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
         and not through a door",
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
    check(Owner::User(7), "the instance was registered by user 1000, and user 7 may not change it");
}

#[test]
fn a_foreign_instance_goes_with_its_process_or_its_last_endpoint() {
    let limits = Limits { foreign_instances_max: 1, ..Limits::default() };
    let mut registry = Registry::new(REGISTRAR, limits, NOW);
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
        endpoint: at(endpoint),
        metadata: BTreeMap::new(),
    }
}
