//! Sessions with many entries: the entries disappear at once, and are cleared away in parts.

use std::collections::BTreeMap;

use bytes::BytesMut;
use callsign_registrar::{
    Quotas,
    registry::{Event, Owner, Registry, SessionId},
};
use endpoints::NamePattern;
use uuid::Uuid;
use wire::{
    Revision, decode_body,
    registrar::{Change, List, Page, Register, Seen, Update},
};

use crate::support::{
    ACCOUNT, NOW, REGISTRAR, USER, answer, at, read, register, registration, registry, with_quotas,
};

/// The number of instances of a session here: many times what one part clears away.
const MANY: u128 = 3000;

/// A registry with a session that has many entries, under names of its own but for the last.
fn crowded() -> (Registry, SessionId) {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    for uuid in 0..MANY {
        drop(register(&mut registry, &format!("n{}", uuid % (MANY - 1)), uuid, session));
    }
    (registry, session)
}

fn end(registry: &mut Registry, session: SessionId) {
    drop(registry.apply(Event::SessionEnded(session), NOW).unwrap());
    assert!(registry.has_deferred());
}

/// Does the remaining work, and returns the number of parts.
fn tidy_up(registry: &mut Registry) -> usize {
    let mut parts = 0;
    while registry.has_deferred() {
        drop(registry.do_deferred());
        parts += 1;
    }
    parts
}

fn listed(registry: &Registry, pattern: &str) -> Vec<u128> {
    let (mut listed, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let mut page = BytesMut::new();
        let list = List { pattern: NamePattern::new(pattern).unwrap(), after: from };
        registry.page(&list, &USER.into(), NOW, &mut page);
        let Page { records, next, .. } = decode_body(&page).unwrap();
        listed.extend(records.iter().map(|it| it.uuid.as_u128()));
        after = next;
    }
    listed
}

#[test]
fn all_that_it_kept_is_gone_at_once() {
    let (mut registry, session) = crowded();
    let other = registry.open_session(ACCOUNT);
    drop(register(&mut registry, "n5", MANY, other));
    assert_eq!(listed(&registry, "*").len(), MANY as usize + 1);
    let before = registry.revision();
    end(&mut registry, session);

    assert_eq!(registry.revision(), before + 1);
    assert_eq!(answer(&registry, "n5", true), [MANY]);
    assert_eq!(answer(&registry, "n0", true), []);
    assert_eq!(listed(&registry, "*"), [MANY]);
    assert_eq!(listed(&registry, "n0"), []);
    let counts = registry.counts();
    assert_eq!((counts.instances, counts.sessions), (1, 1));
    let gone = Uuid::from_u128(7);
    assert_eq!((registry.record(gone), registry.owner(gone)), (None, None));
    assert!(registry.apply(Event::Unregister { uuid: gone, by: USER }, NOW).is_err());

    let parts = tidy_up(&mut registry);
    assert!((5..100).contains(&parts), "{parts} parts");
    assert_eq!(listed(&registry, "*"), [MANY]);
    assert_eq!(registry.counts(), counts);
}

/// Whoever takes them out, and however.
#[test]
fn clearing_away_is_on_the_account_of_whose_it_was() {
    let check = |event: &dyn Fn(SessionId) -> Event| {
        let (mut registry, session) = crowded();
        assert_eq!(registry.deferred_account(), None);
        drop(registry.apply(event(session), NOW).unwrap());
        while let Some(account) = registry.deferred_account() {
            assert_eq!(account, ACCOUNT);
            drop(registry.do_deferred());
        }
        assert!(tidy_up(&mut registry) < 200, "only room is left to be given back");
    };
    check(&Event::SessionEnded);
    check(&Event::SessionSilent);
    check(&|session| Event::SessionDismissed { session, back_by_ms: NOW + 1000 });
    let uuids: Vec<_> = (0..2000).map(Uuid::from_u128).collect();
    check(&|_| Event::UnregisterAll { uuids: uuids.clone(), by: Owner::User(0) });
}

#[test]
fn instances_registered_again_meanwhile_stay() {
    let (mut registry, session) = crowded();
    let watching = registry.open_session(ACCOUNT);
    registry.watch(watching, 2, NamePattern::new("n7*").unwrap(), None).unwrap();
    registry.credit(watching, 2, u32::MAX);
    read(&mut registry, watching);
    end(&mut registry, session);
    let other = registry.open_session(ACCOUNT);
    let outcome = register(&mut registry, "n77", 77, other);
    assert!(outcome.notified.contains(&watching) && outcome.contested.is_empty());
    // Under another name as well: the UUID was free.
    drop(register(&mut registry, "else", 78, other));
    tidy_up(&mut registry);
    assert_eq!(answer(&registry, "n77", true), [77]);
    assert_eq!(answer(&registry, "else", true), [78]);
    assert_eq!(listed(&registry, "*"), [77, 78]);
    let removed = |it: &Change| matches!(it, Change::Remove { .. });
    assert!(read(&mut registry, watching).iter().filter(|it| removed(it)).count() > 100);
}

/// Watchers read while the entries are cleared away: some were live, some had begun, some begin
/// only then.
#[test]
fn watchers_see_one_change_and_no_removal_of_unseen_instances() {
    let (mut registry, session) = crowded();
    let watching = registry.open_session(ACCOUNT);
    let mut views: Vec<(u64, BTreeMap<Uuid, Revision>)> = Vec::new();
    let begin = |registry: &mut Registry, views: &mut Vec<_>, pattern: &str, credit| {
        let call = 2 * views.len() as u64;
        registry.watch(watching, call, NamePattern::new(pattern).unwrap(), None).unwrap();
        registry.credit(watching, call, credit);
        views.push((call, BTreeMap::new()));
    };
    begin(&mut registry, &mut views, "*", u32::MAX);
    begin(&mut registry, &mut views, "n?", 4);
    begin(&mut registry, &mut views, "n12*", 30);
    begin(&mut registry, &mut views, "n12", u32::MAX);
    let mut removals = Vec::new();
    let mut look = |registry: &mut Registry, views: &mut Vec<(u64, BTreeMap<Uuid, _>)>| {
        let mut told = Vec::new();
        let mut take = |call, change: &[u8]| {
            told.push((call, decode_body::<Change>(change).unwrap()));
            true
        };
        while registry.read_watches(watching, &USER.into(), &mut take).0 {}
        for (call, change) in told {
            let (_, view) = views.iter_mut().find(|(it, _)| *it == call).unwrap();
            match change {
                Change::Reset => view.clear(),
                Change::Synced { .. } => {}
                Change::Add { record, revision } | Change::Update { record, revision } => {
                    view.insert(record.uuid, revision);
                }
                Change::Remove { instance, revision, .. } => {
                    removals.push(revision);
                    assert!(view.remove(&instance.uuid).is_some(), "{instance} was never shown");
                }
            }
        }
    };
    look(&mut registry, &mut views);
    end(&mut registry, session);
    let end_revision = registry.revision();
    begin(&mut registry, &mut views, "*", u32::MAX);
    begin(&mut registry, &mut views, "n3*", 2);
    let other = registry.open_session(ACCOUNT);
    let mut seen = None;
    for part in 0.. {
        look(&mut registry, &mut views);
        drop(register(&mut registry, "n3", 10_000 + part, other));
        // A watcher that returns meanwhile cannot know how many of the removals it has read.
        let came_back = Seen { registrar: REGISTRAR, revision: registry.revision() };
        let resumes = registry.watch(other, 2, NamePattern::any(), Some(came_back)).unwrap();
        registry.cancel(other, 2);
        if resumes {
            // All removals are done: what is left to do is no change, as room that is given back.
            assert!(part > 1, "{part}");
            break;
        }
        seen = Some(came_back);
        if !registry.has_deferred() {
            break;
        }
        drop(registry.do_deferred());
        if !registry.has_deferred() {
            break;
        }
    }
    let late = registry.watch(other, 2, NamePattern::any(), seen).unwrap();
    assert!(!late, "what was told lately stands in no order");
    registry.cancel(other, 2);
    for (call, _) in &views {
        registry.credit(watching, *call, u32::MAX);
    }
    look(&mut registry, &mut views);
    assert!(removals.len() > MANY as usize && removals.iter().all(|it| *it == end_revision));
    for (call, view) in &views {
        let pattern = ["*", "n?", "n12*", "n12", "*", "n3*"][*call as usize / 2];
        let mut there: Vec<_> = view.keys().map(Uuid::as_u128).collect();
        there.sort_unstable();
        assert_eq!(there, listed(&registry, pattern), "{pattern}");
    }
    let now = Seen { registrar: REGISTRAR, revision: registry.revision() };
    assert!(registry.watch(other, 2, NamePattern::any(), Some(now)).unwrap());
}

#[test]
fn much_that_falls_silent_is_marked_in_parts_and_all_of_it_is_cleared() {
    let (mut registry, session) = crowded();
    let silent = |registry: &Registry| {
        let is = |it: u128| registry.record(Uuid::from_u128(it)).unwrap().suspicion.is_some();
        (0..MANY).filter(|it| is(*it)).count()
    };
    drop(registry.apply(Event::SessionSilent(session), NOW).unwrap());
    assert!((1..1000).contains(&silent(&registry)));
    // It is heard again before all of it is marked.
    drop(registry.apply(Event::SessionHeard(session), NOW).unwrap());
    tidy_up(&mut registry);
    assert_eq!(silent(&registry), 0);
    drop(registry.apply(Event::SessionSilent(session), NOW).unwrap());
    tidy_up(&mut registry);
    assert_eq!(silent(&registry), MANY as usize);

    drop(registry.apply(Event::SessionHeard(session), NOW).unwrap());
    end(&mut registry, session);
    tidy_up(&mut registry);
    assert_eq!(registry.counts().instances, 0);
    assert_ne!(registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
}

#[test]
fn many_leases_that_run_out_at_once_go_in_parts() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    for uuid in 0..MANY {
        let leased = Register { lease_ms: Some(1000), ..registration("clock", uuid) };
        drop(registry.register(leased, USER, session, NOW).unwrap());
    }
    let mut ticks = 0;
    while registry.next_deadline_ms().is_some_and(|it| it <= NOW + 1000) {
        drop(registry.apply(Event::Tick, NOW + 1000).unwrap());
        ticks += 1;
    }
    assert!((5..100).contains(&ticks), "{ticks} ticks");
    assert_eq!(registry.counts().instances, 0);
}

/// Endpoints are free again, whichever way their claims moved.
#[test]
fn former_claims_contest_nothing() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let claim = |registry: &mut Registry, uuid, port: u16| {
        let endpoints = vec![at(&format!("/ip4/10.0.0.7/tcp/{port}"))];
        let register = Register { endpoints, ..registration("feed", uuid) };
        let (registered, outcome) = registry.register(register, USER, session, NOW).unwrap();
        (registered.epoch, outcome.contested.len())
    };
    assert_eq!(claim(&mut registry, 1, 7).1, 0);
    assert_eq!(claim(&mut registry, 1, 8).1, 0, "it is registered again, elsewhere");
    assert_eq!(claim(&mut registry, 2, 7).1, 0);
    let update = Update {
        uuid: Uuid::from_u128(2),
        endpoints: Some(vec![at("/ip4/10.0.0.7/tcp/9")]),
        metadata: None,
        state: None,
    };
    drop(registry.apply(Event::Update { update, by: USER }, NOW).unwrap());
    let (epoch, contested) = claim(&mut registry, 3, 7);
    assert_eq!(contested, 0, "it has moved");
    let endpoint = "/ip4/10.0.0.7/tcp/7".parse().unwrap();
    let claimant = registry.claimant(Uuid::from_u128(3), epoch, &endpoint).unwrap();
    drop(registry.apply(Event::FoundDead(claimant), NOW).unwrap());
    assert_eq!(claim(&mut registry, 4, 7).1, 0, "it was found dead");
    drop(registry.apply(Event::Unregister { uuid: Uuid::from_u128(4), by: USER }, NOW).unwrap());
    assert_eq!(claim(&mut registry, 5, 7).1, 0, "it was taken out");
    assert_eq!(claim(&mut registry, 6, 7).1, 1);
}

fn take_out(registry: &mut Registry, uuids: impl Iterator<Item = u128>) {
    let uuids = uuids.map(Uuid::from_u128).collect();
    drop(registry.apply(Event::UnregisterAll { uuids, by: USER }, NOW).unwrap());
    assert!(registry.has_deferred());
}

#[test]
fn a_large_removal_is_immediate_and_cleared_away_in_parts() {
    let (mut registry, session) = crowded();
    let watching = registry.open_session(ACCOUNT);
    registry.watch(watching, 2, NamePattern::new("n1*").unwrap(), None).unwrap();
    registry.credit(watching, 2, u32::MAX);
    read(&mut registry, watching);
    let before = registry.revision();
    take_out(&mut registry, 0..2000);
    assert_eq!(registry.revision(), before + 1);
    let counts = registry.counts();
    assert_eq!((counts.instances, counts.sessions), (1000, 2));
    assert_eq!(listed(&registry, "*"), (2000..MANY).collect::<Vec<_>>());
    assert_eq!(answer(&registry, "n7", true), []);
    let gone = Uuid::from_u128(7);
    assert!(registry.apply(Event::Unregister { uuid: gone, by: USER }, NOW).is_err());
    assert!(registry.apply(Event::Renew { uuid: gone, by: USER }, NOW).is_err());

    // One instance returns, and the rest leaves with its session, before all of it is cleared away.
    let other = registry.open_session(ACCOUNT);
    drop(register(&mut registry, "n11", 11, other));
    end(&mut registry, session);
    assert_eq!(listed(&registry, "*"), [11]);
    assert!(tidy_up(&mut registry) > 5);
    assert_eq!(listed(&registry, "*"), [11]);
    assert_eq!((registry.counts().instances, registry.counts().sessions), (1, 2));
    let told = read(&mut registry, watching);
    let removed = told.iter().filter(|it| matches!(it, Change::Remove { .. })).count();
    assert!(removed >= 1111, "{removed}");
}

/// The memory is returned with the call, not once everything is cleared away.
#[test]
fn after_a_large_removal_as_much_can_be_registered_at_once() {
    let few = Quotas { instances: 2000, ..Quotas::default() };
    let (mut registry, accounts) = with_quotas(few);
    let session = registry.open_session(ACCOUNT);
    for uuid in 0..2000 {
        drop(register(&mut registry, &format!("n{uuid}"), uuid, session));
    }
    take_out(&mut registry, 0..2000);
    for uuid in 2000..4000 {
        drop(register(&mut registry, &format!("n{uuid}"), uuid, session));
    }
    tidy_up(&mut registry);
    assert_eq!(accounts.use_of(ACCOUNT).instances.used, 2000);
    take_out(&mut registry, 2000..4000);
    tidy_up(&mut registry);
    drop(registry.apply(Event::SessionEnded(session), NOW).unwrap());
    let left = accounts.use_of(ACCOUNT);
    assert_eq!((left.instances.used, left.bytes.used), (0, 0));
}

#[test]
fn leases_that_are_taken_out_run_out_no_more() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    for uuid in 0..MANY {
        let leased = Register { lease_ms: Some(1000), ..registration("clock", uuid) };
        drop(registry.register(leased, USER, session, NOW).unwrap());
    }
    take_out(&mut registry, 0..2000);
    let mut parts = 0;
    while registry.next_deadline_ms().is_some_and(|it| it <= NOW + 1000) || registry.has_deferred()
    {
        drop(registry.apply(Event::Tick, NOW + 1000).unwrap());
        drop(registry.do_deferred());
        parts += 1;
    }
    assert!((5..100).contains(&parts), "{parts} parts");
    assert_eq!(registry.counts().instances, 0);
}

/// The registrar itself has ended the session: its entries stay until its peer should have
/// returned.
#[test]
fn much_that_is_to_come_back_stays_in_parts() {
    let (mut registry, session) = crowded();
    let back_by_ms = NOW + 5000;
    drop(registry.apply(Event::SessionDismissed { session, back_by_ms }, NOW).unwrap());
    end(&mut registry, session);
    let other = registry.open_session(ACCOUNT);
    assert_ne!(other, session, "it has yet to be cleared away");
    for uuid in [5, 2500] {
        drop(register(&mut registry, &format!("n{uuid}"), uuid, other));
    }
    let taken_out = Event::Unregister { uuid: Uuid::from_u128(2600), by: USER };
    drop(registry.apply(taken_out, NOW).unwrap());
    drop(register(&mut registry, "new", MANY, other));
    tidy_up(&mut registry);
    assert_eq!((registry.counts().instances, registry.counts().sessions), (MANY as usize, 1));
    while registry.next_deadline_ms().is_some_and(|it| it <= back_by_ms) || registry.has_deferred()
    {
        drop(registry.apply(Event::Tick, back_by_ms).unwrap());
        drop(registry.do_deferred());
    }
    assert_eq!(listed(&registry, "*"), [5, 2500, MANY]);
}
