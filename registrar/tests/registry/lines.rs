//! The lines of waiters for exclusive names.

use std::collections::VecDeque;

use callsign_registrar::{
    Quotas,
    registry::{
        Claimant, Entered, Event, Grantee, NameRule, NameRules, Names, Outcome, Owner,
        RegistryError, SessionId,
    },
};
use endpoints::{Name, NamePattern};
use proptest::prelude::*;
use uuid::Uuid;
use wire::registrar::{AskLine, Change, Register};

use crate::{
    stage::{OTHER, Stage, foreign, leader, rules, shown},
    support::{NOW, USER, read, registration},
};

#[test]
fn the_first_to_ask_is_the_first_to_have_it_whichever_way_the_holder_goes() {
    let mut stage = Stage::new();
    let sessions: Vec<_> = (0..4).map(|_| stage.session(USER)).collect();
    let lease = Register { lease_ms: Some(1000), wait: true, ..registration("leader", 1) };
    assert!(stage.ask(lease.clone(), sessions[0], USER).unwrap());
    assert!(!stage.enter(2, sessions[1], USER).unwrap());
    assert!(!stage.enter(3, sessions[2], OTHER).unwrap());
    let endpoints = registration("leader", 4).endpoints;
    let second = Register { uuid: Uuid::from_u128(4), endpoints: endpoints.clone(), ..lease };
    assert!(!stage.ask(second, sessions[3], USER).unwrap());
    assert!(!stage.enter(5, sessions[3], USER).unwrap());
    assert_eq!((stage.waiting(1), stage.ahead(4, USER)), (4, Some(2)));
    assert_eq!(stage.registry.counts().in_line, 4);
    let mut tokens = vec![stage.token(1)];

    // A lease runs out.
    stage.now_ms += 1000;
    assert_eq!(stage.registry.next_deadline_ms(), Some(stage.now_ms));
    assert_eq!(stage.apply(Event::Tick), [2]);
    tokens.push(stage.token(2));
    // A silent session keeps its name; one that ends does not.
    assert_eq!(stage.apply(Event::SessionSilent(sessions[1])), []);
    assert_eq!(stage.apply(Event::SessionEnded(sessions[1])), [3]);
    tokens.push(stage.token(3));
    // Somebody who may remove it does.
    assert_eq!(stage.unregister(3, Owner::User(0)), [4]);
    tokens.push(stage.token(4));
    // The registrar finds nobody at an instance without a session.
    let epoch = stage.registry.record(Uuid::from_u128(4)).unwrap().epoch;
    let stamped = endpoints[0].clone();
    let dead = Claimant { uuid: Uuid::from_u128(4), epoch, stamped };
    assert_eq!(stage.apply(Event::FoundDead(dead)), [5]);
    tokens.push(stage.token(5));
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
    assert_eq!((stage.waiting(5), stage.registry.counts().in_line), (0, 0));
}

#[test]
fn a_session_that_the_registrar_ends_itself_keeps_its_name_until_it_should_be_back() {
    let mut stage = Stage::new();
    let [one, two] = [0; 2].map(|_| stage.session(USER));
    stage.enter(1, one, USER).unwrap();
    stage.enter(2, two, USER).unwrap();
    let back_by_ms = stage.now_ms + 5000;
    stage.apply(Event::SessionDismissed { session: one, back_by_ms });
    assert_eq!(stage.apply(Event::SessionEnded(one)), []);
    stage.now_ms = back_by_ms - 1;
    assert_eq!(stage.apply(Event::Tick), []);
    stage.now_ms += 1;
    assert_eq!(stage.apply(Event::Tick), [2]);
}

#[test]
fn a_waiter_that_leaves_is_charged_no_more() {
    let mut stage = Stage::new();
    let [one, two] = [0; 2].map(|_| stage.session(USER));
    stage.enter(1, one, USER).unwrap();
    let before = stage.accounts.use_of(USER.account());
    for uuid in 2..=4 {
        stage.enter(uuid, two, USER).unwrap();
    }
    let waiting = stage.accounts.use_of(USER.account());
    assert_eq!(waiting.waits.used, 3);
    assert!(waiting.bytes.used > before.bytes.used + 3000);
    let outcome = stage.registry.leave_line(two, 6);
    assert_eq!(stage.serve(outcome), []);
    assert_eq!((stage.ahead(4, USER), stage.waiting(1)), (Some(1), 2));
    stage.apply(Event::SessionEnded(two));
    assert_eq!(stage.waiting(1), 0);
    assert_eq!(stage.accounts.use_of(USER.account()).waits, before.waits);
    stage.apply(Event::SessionEnded(one));
    assert_eq!(stage.registry.counts().instances, 0);
}

#[test]
fn nobody_overtakes_the_waiters() {
    let mut stage = Stage::new();
    let [one, two] = [0; 2].map(|_| stage.session(USER));
    stage.enter(1, one, USER).unwrap();
    stage.enter(2, two, OTHER).unwrap();
    let outcome = stage.registry.apply(Event::SessionEnded(one), NOW).unwrap();
    // The name is free, and the first waiter has not been served yet.
    let refused = stage.ask(registration("leader", 3), two, USER).unwrap_err();
    let said = "`leader` is exclusive (market.toml:3), and 1 wait in line for it; \
                wait too (`--wait`), or take another name";
    assert_eq!(refused.to_string(), said);
    assert_eq!(stage.serve(outcome), [2]);
    let refused = stage.ask(registration("leader", 3), two, USER).unwrap_err();
    let uuid = Uuid::from_u128(2);
    let said = format!(
        "`leader` is exclusive (market.toml:3), and user 1001 has it: {uuid}; \
         wait in line for it (`--wait`), or take another name"
    );
    assert_eq!(refused.to_string(), said);
}

#[test]
fn an_owner_that_has_used_up_its_waits_keeps_nobody_else_from_the_line() {
    let mut stage = Stage::begun(NOW, Quotas { waits: 2, ..Quotas::default() });
    let [one, two] = [USER, OTHER].map(|it| stage.session(it));
    stage.enter(1, one, USER).unwrap();
    stage.enter(2, one, USER).unwrap();
    stage.enter(3, one, USER).unwrap();
    let refused = stage.enter(4, one, USER).unwrap_err();
    assert!(matches!(refused, RegistryError::Quota(_)), "{refused}");
    stage.enter(5, two, OTHER).unwrap();

    // Nor does an owner without a quota that fills the line.
    let mut stage = Stage::new();
    let root = Owner::User(0);
    let [one, two] = [root, OTHER].map(|it| stage.session(it));
    let mut refused = None;
    for uuid in 1..1000 {
        refused = refused.or(stage.enter(uuid, one, root).err());
    }
    assert!(matches!(refused, Some(RegistryError::TooMany { .. })), "{refused:?}");
    stage.enter(1001, two, OTHER).unwrap();
}

#[test]
fn an_owner_has_so_many_places_in_a_line_wherever_else_he_waits() {
    let mut stage = Stage::new();
    let spare = NameRule { pattern: "spare".parse().unwrap(), ..leader() };
    let both = NameRules::new(Names::Open, String::new(), vec![leader(), spare]);
    drop(stage.registry.set_rules(both));
    let root = Owner::User(0);
    let [one, two, roots] = [USER, USER, root].map(|it| stage.session(it));
    let asks = |name, uuid| Register { wait: true, ..registration(name, uuid) };
    stage.ask(asks("leader", 10_001), one, USER).unwrap();
    stage.ask(asks("spare", 10_002), one, USER).unwrap();
    for uuid in 1..=256 {
        stage.ask(asks("leader", uuid), one, USER).unwrap();
    }
    // An instance that already has a place keeps it, over another connection too.
    assert!(!stage.ask(asks("leader", 7), two, USER).unwrap());
    assert_eq!((stage.ahead(7, USER), stage.ahead(8, USER)), (Some(6), Some(7)));

    // A place in another line does not count here, and is kept.
    stage.ask(asks("spare", 1000), two, USER).unwrap();
    let refused = stage.ask(asks("leader", 1000), two, USER).unwrap_err();
    assert!(matches!(refused, RegistryError::TooMany { .. }), "{refused}");
    assert_eq!(stage.registry.counts().in_line, 257);

    // Nor does the place of another owner.
    for uuid in 2001..=2256 {
        stage.ask(asks("leader", uuid), roots, root).unwrap();
    }
    let refused = stage.ask(asks("leader", 9), roots, root).unwrap_err();
    assert!(matches!(refused, RegistryError::TooMany { .. }), "{refused}");
    assert_eq!(stage.registry.counts().in_line, 513);
}

#[test]
fn after_a_restart_the_former_holder_precedes_the_waiters() {
    let mut stage = Stage::remembering(NOW);
    let session = stage.session(USER);
    let (before, back) = stage.lead(1, session, USER);

    let now_ms = NOW + 10_000;
    let mut stage = stage.restart(now_ms);
    let [one, two, three] = [0; 3].map(|_| stage.session(USER));
    assert!(!stage.enter(2, two, USER).unwrap());
    assert!(!stage.enter(3, three, USER).unwrap());
    assert!(stage.ask(back, one, USER).unwrap());
    assert_eq!(stage.token(1), before);
    assert_eq!((stage.waiting(1), stage.ahead(2, USER)), (2, Some(0)));
    stage.now_ms = now_ms + 5000;
    assert_eq!(stage.registry.next_deadline_ms(), Some(stage.now_ms));
    assert_eq!(stage.apply(Event::Tick), []);
    assert_eq!(stage.apply(Event::SessionEnded(one)), [2]);
}

#[test]
fn a_name_with_a_returning_holder_goes_to_nobody_else() {
    for waits in [false, true] {
        let mut stage = Stage::remembering(NOW - 10_000);
        let session = stage.session(USER);
        let (_, back) = stage.lead(1, session, USER);
        let mut stage = stage.restart(NOW);
        let [one, two] = [0; 2].map(|_| stage.session(USER));
        if waits {
            assert!(!stage.enter(3, two, USER).unwrap());
        }
        for (by, token) in [(OTHER, None), (Owner::User(0), None), (OTHER, Some(NOW * 1000 + 1))] {
            let asks = Register { token, ..registration("leader", 2) };
            let refused = stage.ask(asks, two, by).unwrap_err();
            let said = "`leader` is exclusive (market.toml:3), and the registrar \
                        has just started: the former holder may return within 5 s; ask again then, \
                        or wait in line (`--wait`)";
            assert_eq!(refused.to_string(), said);
            // Nor has an instance that asks through an adapter, unless it was there all the time.
            let refused = stage.registry.register_foreign(foreign(9), by, NOW).unwrap_err();
            assert_eq!(refused.to_string(), said);
        }
        // A name that is not exclusive is there immediately.
        assert!(stage.ask(registration("other", 4), two, OTHER).unwrap());
        assert!(stage.ask(back, one, USER).unwrap());
        // It registers again, and others learn that it has the name.
        assert!(stage.ask(registration("leader", 1), one, USER).unwrap());
        let refused = stage.ask(registration("leader", 2), two, OTHER).unwrap_err();
        assert!(matches!(refused, RegistryError::Exclusive { .. }), "{refused}");
        let refused = stage.registry.register_foreign(foreign(9), OTHER, NOW).unwrap_err();
        assert!(matches!(refused, RegistryError::Exclusive { .. }), "{refused}");
    }
    let mut stage = Stage::remembering(NOW - 10_000).restart(NOW);
    drop(stage.registry.remember_foreign(foreign(9), OTHER, NOW).unwrap());
    assert_eq!(stage.registry.owner(Uuid::from_u128(9)), Some(OTHER));

    // If nobody returns, the name is free once that time is over.
    let mut stage = Stage::new();
    stage.registry.settle_until(NOW + 5000);
    let session = stage.session(USER);
    stage.ask(registration("leader", 1), session, USER).unwrap_err();
    stage.now_ms = NOW + 5000;
    assert!(stage.ask(registration("leader", 1), session, USER).unwrap());
}

#[test]
fn a_name_that_nobody_comes_back_for_is_free_when_all_should_be_back() {
    let mut stage = Stage::new();
    stage.registry.settle_until(NOW + 5000);
    let session = stage.session(USER);
    assert!(!stage.enter(1, session, USER).unwrap());
    assert!(!stage.enter(2, session, USER).unwrap());
    stage.now_ms = NOW + 4999;
    assert_eq!(stage.apply(Event::Tick), []);
    stage.now_ms = NOW + 5000;
    assert_eq!(stage.apply(Event::Tick), [1]);
}

#[test]
fn other_rules_hold_for_those_who_wait_too() {
    let mut stage = Stage::new();
    let session = stage.session(USER);
    for (uuid, by) in [(1, USER), (2, OTHER), (3, USER), (4, USER)] {
        stage.enter(uuid, session, by).unwrap();
    }
    let mut outcome = stage.registry.set_rules(rules(Some(vec![Grantee::User(1000)]), true));
    outcome.granted.extend(stage.registry.serve_lines(NOW).granted);
    let [turned_away] = &outcome.granted[..] else { panic!("{outcome:?}") };
    assert!(matches!(turned_away.result, Err(RegistryError::NameDenied { .. })));
    assert_eq!(turned_away.uuid.as_u128(), 2);
    assert_eq!(stage.serve(Outcome::default()), []);
    assert_eq!(stage.waiting(1), 2);
    // Nobody waits for a name that several may have.
    let outcome = stage.registry.set_rules(rules(None, false));
    assert_eq!(stage.serve(outcome), [3, 4]);
    assert_eq!(stage.registry.counts().in_line, 0);
}

#[test]
fn an_instance_that_comes_over_another_connection_keeps_its_place_and_is_nobody_elses() {
    let mut stage = Stage::new();
    let [one, two] = [0; 2].map(|_| stage.session(USER));
    for uuid in 1..=3 {
        stage.enter(uuid, one, USER).unwrap();
    }
    let refused = stage.enter(2, two, OTHER).unwrap_err();
    assert!(matches!(refused, RegistryError::NotOwner { .. }), "{refused}");
    let elsewhere = registration("elsewhere", 2);
    let refused = stage.ask(elsewhere, two, OTHER).unwrap_err();
    assert!(matches!(refused, RegistryError::NotOwner { .. }), "{refused}");
    stage.enter(2, two, USER).unwrap();
    assert_eq!((stage.ahead(2, USER), stage.ahead(3, USER)), (Some(0), Some(1)));
    assert_eq!(stage.apply(Event::SessionEnded(one)), [2]);
    assert_eq!(stage.registry.registrant(Uuid::from_u128(2)), Some(two));
}

#[test]
fn the_line_of_a_hidden_name_shows_a_waiter_only_itself() {
    let mut stage = Stage::new();
    let session = stage.session(USER);
    let hidden = NameRule {
        pattern: "leader".parse().unwrap(),
        register: Some(vec![Grantee::Any]),
        find: Some(vec![Grantee::User(1000)]),
        exclusive: true,
        instances_max: None,
        place: String::new(),
    };
    let rules = NameRules::new(Names::Open, String::new(), vec![hidden]);
    drop(stage.registry.set_rules(rules));
    for (uuid, by) in [(1, USER), (2, USER), (3, OTHER)] {
        stage.enter(uuid, session, by).unwrap();
    }
    let line = |uuid, by: Owner| {
        let ask = AskLine { name: Name::new("leader").unwrap(), uuid: Some(Uuid::from_u128(uuid)) };
        let line = stage.registry.line(&ask, &by.into()).0;
        (line.total, line.ahead)
    };
    assert_eq!((line(2, USER), line(3, USER)), ((2, Some(0)), (2, Some(1))));
    assert_eq!((line(2, OTHER), line(3, OTHER)), ((1, None), (1, Some(0))));
    // Nor does a denial reveal more before the first waiter is served.
    let unregister = Event::Unregister { uuid: Uuid::from_u128(1), by: USER };
    drop(stage.registry.apply(unregister, NOW).unwrap());
    for (by, said) in [(USER, "2 wait in line"), (OTHER, "others wait in line")] {
        let denial = stage.ask(registration("leader", 9), session, by).unwrap_err().to_string();
        assert!(denial.contains(said), "{denial}");
    }
}

#[test]
fn a_record_tells_its_holder_only_of_waiters_that_it_may_find() {
    // Who may find the name, and what a holder of user 1000 sees of two strangers and of its own.
    let group = Grantee::Group(27);
    for (find, expected) in [
        (None, 3),
        (Some(vec![Grantee::User(1000)]), 3),
        (Some(vec![Grantee::User(1001)]), 1),
        (Some(vec![group]), 1),
    ] {
        let mut stage = Stage::new();
        let rule = |find| {
            let rule = NameRule { register: Some(vec![Grantee::Any]), find, ..leader() };
            NameRules::new(Names::SameUser, String::new(), vec![rule])
        };
        let outcome = stage.registry.set_rules(rule(find));
        drop(stage.serve(outcome));
        let (own, session) = (stage.session(USER), stage.session(OTHER));
        assert!(stage.enter(1, own, USER).unwrap());
        for (uuid, session, by) in [(2, session, OTHER), (3, session, OTHER), (4, own, USER)] {
            assert!(!stage.enter(uuid, session, by).unwrap());
        }
        assert_eq!(stage.waiting(1), expected);
        // The same instance again.
        let again = stage.registry.register(registration("leader", 1), USER, own, NOW);
        let outcome = again.unwrap().1;
        assert_eq!(stage.waiting(1), expected);
        drop(stage.serve(outcome));
        // Another rule shows all of the line.
        let outcome = stage.registry.set_rules(rule(None));
        drop(stage.serve(outcome));
        assert_eq!(stage.waiting(1), 3);
    }
}

#[test]
fn names_that_several_have_when_they_become_exclusive_are_told() {
    let mut stage = Stage::new();
    let outcome = stage.registry.set_rules(rules(Some(vec![Grantee::Any]), false));
    drop(stage.serve(outcome));
    let session = stage.session(USER);
    for (uuid, by) in [(1, USER), (2, OTHER), (3, OTHER)] {
        drop(stage.registry.register(registration("leader", uuid), by, session, NOW).unwrap());
        drop(stage.registry.register(registration("other", 10), USER, session, NOW).unwrap());
    }
    assert_eq!(stage.registry.shared_names(0).0, [], "it is not exclusive");
    let outcome = stage.registry.set_rules(rules(Some(vec![Grantee::Any]), true));
    drop(stage.serve(outcome));
    let (shared, latest) = stage.registry.shared_names(0);
    let of = |uuid, by| (Uuid::from_u128(uuid), by);
    let expected = vec![of(3, OTHER), of(2, OTHER), of(1, USER)];
    assert_eq!(shared, [("leader".parse().unwrap(), expected)]);
    assert_eq!(stage.registry.shared_names(latest.unwrap()), (vec![], None));
    for uuid in [1, 3] {
        stage.unregister(uuid, Owner::User(0));
    }
    assert_eq!(stage.registry.shared_names(0).0, [], "one has it alone");
}

#[test]
fn watchers_see_the_length_of_the_line() {
    let mut stage = Stage::new();
    let session = stage.session(USER);
    stage.enter(1, session, USER).unwrap();
    let pattern = NamePattern::new("*").unwrap();
    stage.registry.watch(session, 100, pattern, None).unwrap();
    stage.registry.credit(session, 100, 100);
    read(&mut stage.registry, session);
    stage.enter(2, session, USER).unwrap();
    stage.unregister(1, USER);
    let waiting = |it: &Change| match it {
        Change::Add { record, .. } | Change::Update { record, .. } => {
            Some((record.uuid.as_u128(), record.waiting))
        }
        _ => None,
    };
    let told: Vec<_> = read(&mut stage.registry, session).iter().filter_map(waiting).collect();
    assert_eq!(told, [(1, 1), (2, 0)]);
}

#[test]
fn however_many_leave_lines_each_holder_is_told_once_and_in_a_turn_of_its_own() {
    let mut stage = Stage::new();
    let names = ["leader", "second", "third", "fourth"];
    let of = |name: &&str| NameRule { pattern: name.parse().unwrap(), ..leader() };
    let all = NameRules::new(Names::Open, String::new(), names.iter().map(of).collect());
    drop(stage.registry.set_rules(all));
    let [holds, waits, watches] = [0; 3].map(|_| stage.session(USER));
    let mut uuids = 1..;
    let mut asks = |name| Register { wait: true, ..registration(name, uuids.next().unwrap()) };
    for name in names {
        assert!(stage.ask(asks(name), holds, USER).unwrap());
    }
    for name in names.repeat(200) {
        assert!(!stage.ask(asks(name), waits, USER).unwrap());
    }
    stage.registry.watch(watches, 100, NamePattern::new("*").unwrap(), None).unwrap();
    stage.registry.credit(watches, 100, 10_000);
    read(&mut stage.registry, watches);
    let before = stage.registry.revision();

    // In the turn in which they leave, no record is stored anew.
    drop(stage.registry.apply(Event::SessionEnded(waits), NOW).unwrap());
    assert_eq!(stage.registry.counts().in_line, 0);
    assert_eq!(stage.registry.revision(), before);
    let mut told = Vec::new();
    while stage.registry.has_deferred() {
        drop(stage.registry.do_deferred());
        drop(stage.registry.serve_lines(NOW));
        told.push(stage.registry.revision() - before);
    }
    assert_eq!(told, [1, 2, 3, 4]);
    assert_eq!([1, 2, 3, 4].map(|it| stage.waiting(it)), [0; 4]);
    assert_eq!(read(&mut stage.registry, watches).len(), 4);

    // Waiters that come and go at once change nothing for watchers.
    let before = stage.registry.revision();
    for call in (2..1000).step_by(2) {
        let at = (holds, call);
        let (entered, _) =
            stage.registry.register_or_wait(asks("leader"), &USER.into(), at, NOW).unwrap();
        assert!(matches!(entered, Entered::InLine));
        drop(stage.registry.leave_line(holds, call));
    }
    stage.serve(Outcome::default());
    assert_eq!((stage.registry.revision(), stage.waiting(1)), (before, 0));
}

/// The events of a history, by the number of an instance.
#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(u128),
    Leave(u128),
    Restart(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..8_u128).prop_map(Step::Enter),
        3 => (1..8_u128).prop_map(Step::Leave),
        1 => (1..20_u64).prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    /// However instances come and go, and the registrar with them: one has the name at a time, in
    /// the order in which they asked, and each that has it has a higher token than all before, which
    /// stays as long as it has it.
    #[test]
    fn one_at_a_time_has_it_and_the_token_grows(steps in steps()) {
        let mut stage = Stage::remembering(NOW);
        let mut sessions: Vec<(u128, SessionId)> = Vec::new();
        // The holder first, then the waiters.
        let mut expected: VecDeque<u128> = VecDeque::new();
        let (mut latest, mut token) = (None, 0);
        for step in steps {
            match step {
                Step::Enter(uuid) if !expected.contains(&uuid) => {
                    let session = stage.session(USER);
                    stage.enter(uuid, session, USER).unwrap();
                    sessions.push((uuid, session));
                    expected.push_back(uuid);
                }
                Step::Enter(_) => {}
                Step::Leave(uuid) => {
                    if let Some(at) = sessions.iter().position(|it| it.0 == uuid) {
                        let (_, session) = sessions.remove(at);
                        stage.apply(Event::SessionEnded(session));
                        expected.retain(|it| *it != uuid);
                    }
                }
                Step::Restart(after_ms) => {
                    let (holder, now_ms) = (expected.front().copied(), stage.now_ms + after_ms);
                    let had = holder.and_then(|it| stage.token(it));
                    stage = stage.restart(now_ms);
                    stage.registry.settle_until(now_ms + 5);
                    // The holder returns last of all.
                    let back = expected.iter().skip(1).copied().chain(holder);
                    sessions.clear();
                    for uuid in back {
                        let session = stage.session(USER);
                        let token = had.filter(|_| Some(uuid) == holder);
                        let asks = Register { wait: true, ..registration("leader", uuid) };
                        let resume = token.map(|it| shown(&asks, it));
                        let back = Register { token, resume, ..asks };
                        let is_there = stage.ask(back, session, USER).unwrap();
                        prop_assert_eq!(is_there, Some(uuid) == holder);
                        sessions.push((uuid, session));
                    }
                    stage.now_ms += 5;
                    stage.apply(Event::Tick);
                }
            }
            let holders: Vec<_> =
                expected.iter().copied().filter(|it| stage.token(*it).is_some()).collect();
            prop_assert_eq!(&holders[..], &expected.iter().copied().take(1).collect::<Vec<_>>()[..]);
            if let Some(holder) = expected.front().copied() {
                let theirs = stage.token(holder).unwrap();
                prop_assert_eq!(stage.waiting(holder), expected.len() as u64 - 1);
                if latest == Some(holder) { prop_assert_eq!(theirs, token) } else { prop_assert!(theirs > token, "{} after {}", theirs, token) }
                (latest, token) = (Some(holder), theirs);
            } else {
                latest = None;
            }
        }
        for (_, session) in sessions {
            stage.apply(Event::SessionEnded(session));
        }
        let left = stage.accounts.use_of(USER.account());
        prop_assert_eq!((left.waits.used, left.bytes.used, left.instances.used), (0, 0, 0));
    }
}
