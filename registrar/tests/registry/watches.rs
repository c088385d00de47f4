//! What watchers are told.

use callsign_registrar::registry::{Event, Registry};
use endpoints::NamePattern;
use uuid::Uuid;
use wire::registrar::{Change, Seen};

use crate::support::{ACCOUNT, NOW, REGISTRAR, USER, brief, read, register, registry};

#[test]
fn a_watch_shows_what_is_there_and_then_what_changes() {
    let mut registry = registry();
    let (session, watching) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    drop(register(&mut registry, "feed.eu", 1, session));
    drop(register(&mut registry, "broker", 2, session));
    registry.watch(watching, 2, NamePattern::new("feed*").unwrap(), None).unwrap();
    assert_eq!(read(&mut registry, watching), [], "no credit, no items");

    registry.credit(watching, 2, 100);
    let mut told: Vec<_> = read(&mut registry, watching).iter().map(brief).collect();
    assert!(register(&mut registry, "broker", 3, session).notified.is_empty());
    assert_eq!(register(&mut registry, "feed.us", 4, session).notified, [watching].into());
    drop(registry.apply(Event::Unregister { uuid: Uuid::from_u128(1), by: USER }, NOW).unwrap());
    told.extend(read(&mut registry, watching).iter().map(brief));
    assert_eq!(told, ["reset", "add 1", "synced", "add 4", "remove 1: unregistered"]);
}

#[test]
fn a_watch_goes_on_where_it_left_off() {
    let mut registry = registry();
    let (session, watching) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
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
    let (session, watching) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
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
    let (session, watching) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
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

#[test]
fn changes_that_nobody_can_go_on_with_are_not_kept() {
    let mut registry = registry();
    let (session, watching) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    let goes_on = |registry: &mut Registry, seen| {
        let resumed = registry.watch(watching, 2, NamePattern::any(), Some(seen)).unwrap();
        registry.cancel(watching, 2);
        resumed
    };
    let seen = |registry: &Registry| Seen { registrar: REGISTRAR, revision: registry.revision() };
    let change = |registry: &mut Registry, times| {
        (0..times).for_each(|uuid| drop(register(registry, "feed", uuid, session)));
    };
    change(&mut registry, 3);
    let early = seen(&registry);
    assert!(goes_on(&mut registry, early));
    // So many that the log has forgotten the first: no more are written.
    change(&mut registry, 5000);
    let late = seen(&registry);
    change(&mut registry, 1);
    let latest = seen(&registry);
    assert!(!goes_on(&mut registry, early));
    change(&mut registry, 1);
    assert!(!goes_on(&mut registry, late));
    assert!(goes_on(&mut registry, latest), "a watch has begun since");
}
