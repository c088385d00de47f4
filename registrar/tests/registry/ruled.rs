//! Names that become exclusive, or no longer are, while instances have them.

use callsign_registrar::registry::{
    Event, Grantee, NameRule, NameRules, Names, Owner, Registry, SessionId,
};
use uuid::Uuid;
use wire::registrar::Register;

use crate::{
    stage::{OTHER, Stage},
    support::{NOW, USER, registration},
};

fn rules(pattern: &str, exclusive: bool) -> NameRules {
    let rule = NameRule {
        pattern: pattern.parse().unwrap(),
        register: Some(vec![Grantee::Any]),
        find: None,
        exclusive,
        instances_max: None,
        place: "market.toml:3".to_owned(),
    };
    NameRules::new(Names::Open, String::new(), vec![rule])
}

/// Makes a registry that remembers, in which no name is exclusive.
fn stage() -> Stage {
    let mut stage = Stage::remembering(NOW);
    rule(&mut stage, NameRules::new(Names::Open, String::new(), Vec::new()));
    stage
}

/// Sets the rules, and returns the instances that are told of their tokens.
fn rule(stage: &mut Stage, rules: NameRules) -> Vec<u128> {
    let outcome = stage.registry.set_rules(rules);
    assert_eq!(outcome.tokens, [], "they are reviewed in turns");
    reviewed(&mut stage.registry)
}

fn reviewed(registry: &mut Registry) -> Vec<u128> {
    let mut told = Vec::new();
    while registry.has_deferred() {
        told.extend(registry.do_deferred().tokens.into_iter().map(|it| it.0.as_u128()));
        let served = registry.serve_lines(NOW);
        assert!(served.granted.is_empty(), "{served:?}");
    }
    told
}

fn enter(stage: &mut Stage, name: &str, uuid: u128, by: Owner) -> SessionId {
    let session = stage.session(by);
    assert!(stage.ask(registration(name, uuid), session, by).unwrap());
    session
}

fn waiting(stage: &Stage, uuid: u128) -> u64 {
    stage.registry.record(Uuid::from_u128(uuid)).unwrap().waiting
}

#[test]
fn the_one_instance_of_a_name_that_becomes_exclusive_gets_a_token_by_which_it_comes_back() {
    for pattern in ["leader", "lead*", "*"] {
        let mut stage = stage();
        enter(&mut stage, "leader", 1, USER);
        assert_eq!(stage.token(1), None);
        assert_eq!(rule(&mut stage, rules(pattern, true)), [1]);
        let token = stage.token(1);
        assert!(token.is_some(), "{pattern}");
        // Who waits is shown, and the record says so.
        let other = stage.session(OTHER);
        let waits = Register { wait: true, ..registration("leader", 2) };
        assert!(!stage.ask(waits.clone(), other, OTHER).unwrap());
        assert_eq!(waiting(&stage, 1), 1);

        let (epoch, known, resume) = told(&stage, 1);
        assert_eq!((known, resume.is_some(), epoch > 0), (token, true, true));
        let back = Register { token, resume, ..registration("leader", 1) };
        let mut stage = stage.restart(NOW + 10_000);
        drop(stage.registry.set_rules(rules(pattern, true)));
        let [one, two] = [USER, OTHER].map(|it| stage.session(it));
        assert!(!stage.ask(waits, two, OTHER).unwrap(), "the holder comes first");
        assert!(stage.ask(back, one, USER).unwrap());
        assert_eq!(stage.token(1), token);
    }
}

/// Returns what the registrant of an instance is told, as a later registration over its session
/// shows it.
fn told(stage: &Stage, uuid: u128) -> (u64, Option<u64>, Option<wire::Proof>) {
    stage.registry.token_of(Uuid::from_u128(uuid)).unwrap()
}

#[test]
fn of_several_the_last_that_is_left_gets_a_token() {
    let mut stage = stage();
    let sessions: Vec<_> = (1..=3).map(|it| enter(&mut stage, "leader", it, USER)).collect();
    assert_eq!(rule(&mut stage, rules("leader", true)), []);
    let other = stage.session(OTHER);
    let waits = Register { wait: true, ..registration("leader", 9) };
    assert!(!stage.ask(waits, other, OTHER).unwrap());
    assert_eq!([1, 2, 3].map(|it| waiting(&stage, it)), [0, 0, 1], "the newest shows the line");
    // By whatever way the others go.
    assert_eq!(stage.apply(Event::SessionEnded(sessions[2])), []);
    assert_eq!([1, 2].map(|it| stage.token(it)), [None; 2]);
    assert_eq!(stage.unregister(1, USER), []);
    assert!(stage.token(2).is_some());
    assert_eq!(waiting(&stage, 2), 1);
    // And only then the line moves on.
    let before = stage.token(2);
    assert_eq!(stage.unregister(2, USER), [9]);
    assert!(stage.token(9) > before);
}

#[test]
fn a_name_that_is_exclusive_no_more_takes_the_token_and_gives_the_same_again() {
    let mut stage = stage();
    let one = enter(&mut stage, "leader", 1, USER);
    rule(&mut stage, rules("leader", true));
    let token = stage.token(1);
    for again in [rules("leader", false), NameRules::new(Names::SameUser, "x".into(), Vec::new())] {
        assert_eq!(rule(&mut stage, again), [1]);
        assert_eq!((stage.token(1), told(&stage, 1).1), (None, None));
        assert_eq!(rule(&mut stage, rules("lea*", true)), [1]);
        assert_eq!(stage.token(1), token);
        // A change of another rule, or of what holds of other names, is none.
        let mut same: Vec<_> = rules("lea*", true).iter().cloned().collect();
        assert_eq!(rule(&mut stage, NameRules::new(Names::SameUser, "x".into(), same.clone())), []);
        same.push(NameRule {
            exclusive: false,
            ..rules("other", true).iter().next().unwrap().clone()
        });
        assert_eq!(rule(&mut stage, NameRules::new(Names::Open, "x".into(), same)), []);
        assert_eq!(stage.token(1), token);
    }
    // Two that have it meanwhile have no token until one of them is left, which gets a higher one.
    rule(&mut stage, rules("leader", false));
    enter(&mut stage, "leader", 2, OTHER);
    assert_eq!(rule(&mut stage, rules("leader", true)), []);
    assert_eq!([1, 2].map(|it| stage.token(it)), [None; 2]);
    assert_eq!(stage.apply(Event::SessionEnded(one)), []);
    assert!(stage.token(2) > token);
}

#[test]
fn a_crowd_is_reviewed_in_turns() {
    let mut stage = stage();
    for uuid in 1..=600 {
        enter(&mut stage, &format!("work.{}", uuid / 2), uuid, Owner::User(0));
    }
    let outcome = stage.registry.set_rules(rules("work.*", true));
    assert!(outcome.tokens.is_empty());
    // Each has its name with another, but for the first and the last.
    let (mut told, mut turns) = (Vec::new(), 0);
    while stage.registry.has_deferred() {
        told.extend(stage.registry.do_deferred().tokens.into_iter().map(|it| it.0.as_u128()));
        turns += 1;
    }
    assert_eq!(told, [1, 600]);
    let odd = (3..600).step_by(2).map(Uuid::from_u128).collect();
    drop(stage.registry.apply(Event::UnregisterAll { uuids: odd, by: Owner::User(0) }, NOW));
    assert_eq!(reviewed(&mut stage.registry).len(), 299);
    assert!(turns < 600);
}
