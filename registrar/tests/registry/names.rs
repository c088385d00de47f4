//! The rules that say who may use which names.

use bytes::BytesMut;
use callsign_registrar::registry::{
    Caller, Event, Grantee, HomeNode, NameRule, NameRules, Names, Owner, Registry, RegistryError,
    SessionId, UNNAMED_ROOT,
};

use endpoints::{InstanceId, Name};
use uuid::Uuid;
use wire::{
    Challenge, InstanceSecret, ProofKey, ProofSecret, Record, decode_body,
    registrar::{Answer, Change, List, Page, Query, Register, Seen},
};

use crate::support::{ACCOUNT, NOW, REGISTRAR, USER, registration, registry};

const OTHER: Owner = Owner::User(1001);

#[test]
fn a_name_that_somebody_has_is_not_taken_by_another() {
    let (mut registry, session) = opened();
    enter(&mut registry, session, 1, USER).unwrap();
    enter(&mut registry, session, 2, USER).unwrap();
    for stranger in [OTHER, Owner::Unknown(1), Owner::Host("10.0.0.9".parse().unwrap())] {
        let refused = enter(&mut registry, session, 3, stranger).unwrap_err();
        assert!(matches!(refused, RegistryError::NameHeld { .. }), "{refused}");
    }
    // Root may, and takes the name from nobody by that.
    enter(&mut registry, session, 4, Owner::User(0)).unwrap();
    enter(&mut registry, session, 5, USER).unwrap();

    open(&mut registry);
    enter(&mut registry, session, 6, OTHER).unwrap();
}

#[test]
fn the_secret_of_a_uuid_regains_it_whatever_rule_the_name_has() {
    let any = || Some(vec![Grantee::Any]);
    let limited = NameRule { instances_max: Some(2), ..rule("db", any()) };
    for (rules, by, squatter) in [
        (NameRules::default(), USER, OTHER),
        (NameRules::default(), Owner::Unknown(1), Owner::Unknown(2)),
        (rules([NameRule { exclusive: true, ..rule("db", any()) }]), USER, OTHER),
        (rules([limited.clone()]), USER, OTHER),
    ] {
        let is_limited = rules.of("db").is_some_and(|it| it.instances_max.is_some());
        let (mut registry, session) = opened();
        set(&mut registry, rules);
        let secret = InstanceSecret::new([7; 16]);
        let squatted = Register { uuid: secret.uuid(), ..registration("db", 1) };
        drop(registry.register(squatted.clone(), squatter, session, NOW).unwrap());
        if is_limited {
            drop(registry.register(registration("db", 2), squatter, session, NOW).unwrap());
        }
        registry.register(squatted.clone(), by, session, NOW).unwrap_err();
        let own = Register { secret: Some(secret), ..squatted };
        drop(registry.register(own, by, session, NOW).unwrap());
        assert_eq!(registry.owner(secret.uuid()), Some(by));
    }

    // What another has by another instance too stays his.
    let (mut registry, session) = opened();
    let secret = InstanceSecret::new([7; 16]);
    let squatted = Register { uuid: secret.uuid(), ..registration("db", 1) };
    for register in [squatted.clone(), registration("db", 2)] {
        drop(registry.register(register, OTHER, session, NOW).unwrap());
    }
    let own = Register { secret: Some(secret), ..squatted };
    let refused = registry.register(own, USER, session, NOW).unwrap_err();
    assert!(matches!(refused, RegistryError::NameHeld { .. }), "{refused}");
}

#[test]
fn every_user_may_have_a_root_that_nobody_has_named() {
    let (mut registry, session) = opened();
    let mut enter = |uuid, by: Owner| {
        registry.register(registration(UNNAMED_ROOT, uuid), by, session, NOW).map(drop)
    };
    enter(1, USER).unwrap();
    enter(2, OTHER).unwrap();
    set(&mut registry, rules([rule("*", Some(vec![Grantee::User(1000)]))]));
    let refused = registry.register(registration(UNNAMED_ROOT, 3), OTHER, session, NOW);
    assert!(matches!(refused, Err(RegistryError::NameDenied { .. })));
}

#[test]
fn declared_names_are_taken_by_those_whom_a_rule_allows() {
    let (mut registry, session) = opened();
    let name = "feed".parse().unwrap();
    drop(registry.declare(name, Uuid::from_u128(9), Vec::new(), NOW));
    enter(&mut registry, session, 1, USER).unwrap_err();
    set(&mut registry, rules([rule("feed", Some(vec![Grantee::User(1000)]))]));
    enter(&mut registry, session, 1, USER).unwrap();
    let refused = enter(&mut registry, session, 2, OTHER).unwrap_err();
    let said = "user 1001 may not register under `feed`: the rule `feed` (market.toml:3) lets \
                only others; take another name, or have user 1001 added to its `register`";
    assert_eq!(refused.to_string(), said);
}

#[test]
fn the_most_specific_rule_holds_alone() {
    let (mut registry, session) = opened();
    let group = |group| Some(vec![Grantee::Group(group)]);
    set(
        &mut registry,
        rules([
            rule("*", Some(vec![Grantee::Any])),
            rule("fe*", group(7)),
            rule("fee?", group(8)),
            rule("f*", Some(Vec::new())),
        ]),
    );
    let member = |group: u32| Caller { groups: [group].into(), ..USER.into() };
    enter(&mut registry, session, 1, member(7)).unwrap_err();
    enter(&mut registry, session, 1, member(8)).unwrap();
    let network = Some(vec![Grantee::Address("10.0.0.0".parse().unwrap(), 8)]);
    set(&mut registry, rules([rule("feed", network)]));
    let host = |text: &str| Owner::Host(text.parse().unwrap());
    enter(&mut registry, session, 2, host("10.1.2.3")).unwrap();
    enter(&mut registry, session, 3, host("11.1.2.3")).unwrap_err();
    enter(&mut registry, session, 3, host("::1")).unwrap_err();
}

#[test]
fn an_exclusive_name_has_one_at_a_time_and_a_token_that_grows() {
    let (mut registry, session) = opened();
    let exclusive = NameRule { exclusive: true, ..rule("feed", Some(vec![Grantee::Any])) };
    set(&mut registry, rules([exclusive]));
    let first = enter(&mut registry, session, 1, USER).unwrap();
    // A registrant that registers again remains the same instance.
    assert_eq!(enter(&mut registry, session, 1, USER).unwrap(), first);
    for other in [USER, OTHER, Owner::User(0)] {
        let refused = enter(&mut registry, session, 2, other).unwrap_err();
        assert!(matches!(refused, RegistryError::Exclusive { .. }), "{refused}");
    }
    let (uuid, by) = (Uuid::from_u128(1), USER);
    let gone = Event::Unregister { uuid, by };
    drop(registry.apply(gone, NOW).unwrap());
    let second = enter(&mut registry, session, 2, OTHER).unwrap();
    assert!(second > first, "{second:?} {first:?}");
    assert_eq!(registry.record(Uuid::from_u128(2)).unwrap().token, second);
}

#[test]
fn a_rule_bounds_the_instances_of_a_name() {
    let (mut registry, session) = opened();
    let few = NameRule { instances_max: Some(2), ..rule("feed", None) };
    set(&mut registry, rules([few]));
    enter(&mut registry, session, 1, USER).unwrap();
    enter(&mut registry, session, 2, USER).unwrap();
    let refused = enter(&mut registry, session, 3, USER).unwrap_err();
    assert!(matches!(refused, RegistryError::TooManyOfName { limit: Some(2), .. }), "{refused}");
    enter(&mut registry, session, 2, USER).unwrap();
}

#[test]
fn the_bound_of_a_name_is_told_to_those_only_who_may_find_it() {
    for (find, by, expected) in [
        (None, OTHER, Some(2)),
        (Some(vec![Grantee::User(1001)]), OTHER, Some(2)),
        (Some(vec![Grantee::User(1001)]), Owner::User(0), Some(2)),
        (Some(vec![Grantee::Group(7)]), OTHER, None),
        (Some(Vec::new()), OTHER, None),
        (Some(Vec::new()), Owner::Unknown(1), None),
    ] {
        let (mut registry, session) = opened();
        let few = NameRule {
            find: find.clone(),
            instances_max: Some(2),
            ..rule("feed", Some(vec![Grantee::Any]))
        };
        set(&mut registry, rules([few]));
        enter(&mut registry, session, 1, USER).unwrap();
        enter(&mut registry, session, 2, USER).unwrap();
        let refused = enter(&mut registry, session, 3, by).unwrap_err();
        let RegistryError::TooManyOfName { limit, .. } = &refused else { panic!("{refused}") };
        assert_eq!(*limit, expected, "{find:?} {by}");
        assert_eq!(refused.to_string().contains('2'), expected.is_some(), "{refused}");
    }
}

#[test]
fn rules_say_who_may_find_a_name() {
    let hidden = NameRule { find: Some(vec![Grantee::Group(7)]), ..rule("db*", None) };
    let rules = rules([hidden]);
    let member = Caller { groups: [7].into(), ..OTHER.into() };
    for (caller, name, expected) in [
        (USER.into(), "db", false),
        (USER.into(), "feed", true),
        (member, "db-main", true),
        (Owner::User(0).into(), "db", true),
    ] {
        assert_eq!(rules.may_find(&caller, name), expected, "{caller:?} {name}");
    }
}

/// Every look-up, for everything that it may reveal, on behalf of an owner.
fn seen_by(registry: &mut Registry, session: SessionId, caller: &Caller) -> Vec<String> {
    let mut bytes = BytesMut::new();
    let names = |records: Vec<Record>| records.into_iter().map(|it| it.name.to_string());
    let mut seen = Vec::new();
    registry.answer(&Query { all: true, ..Query::of("db-main") }, caller, NOW, &mut bytes);
    let answer: Answer = decode_body(&bytes.split()).unwrap();
    assert_eq!(answer.total, answer.records.len() as u64);
    seen.extend(names(answer.records).map(|it| format!("query {it}")));
    let query = Query { all: true, ..Query::of("db-main") };
    let prove = |instance: &InstanceId, epoch, has_tls, _: Option<&HomeNode>| {
        let key = ProofKey::derive(&ProofSecret::new([0; 32]), instance.uuid, epoch);
        let nonce = Uuid::from_u128(7);
        key.owed(instance, &Challenge { registrar: REGISTRAR, epoch, nonce }, has_tls)
    };
    let proofs = registry.locate(&query, caller, NOW, &mut bytes, prove);
    seen.extend(proofs.0.iter().map(|_| "locate".to_owned()));
    bytes.clear();
    let list = List { pattern: "db*".parse().unwrap(), after: 0 };
    registry.page(&list, caller, NOW, &mut bytes);
    let page: Page = decode_body(&bytes.split()).unwrap();
    seen.extend(names(page.records).map(|it| format!("list {it}")));
    let wait = registry.wait((session, 77), "db-main".parse().unwrap(), caller, NOW, &mut bytes);
    seen.extend(wait.unwrap().0.then(|| "wait".to_owned()));
    registry.cancel(session, 77);
    for pattern in ["db-main", "db*"] {
        registry.watch(session, 78, pattern.parse().unwrap(), None).unwrap();
        seen.extend(watched(registry, session, caller).iter().map(|it| format!("{pattern} {it}")));
        registry.cancel(session, 78);
    }
    seen.extend(registry.record_for(Uuid::from_u128(1), caller).map(|_| "record".to_owned()));
    seen
}

fn watched(registry: &mut Registry, session: SessionId, caller: &Caller) -> Vec<String> {
    registry.credit(session, 78, 100);
    let mut told = Vec::new();
    let mut take = |_, change: &[u8]| {
        match decode_body(change).unwrap() {
            Change::Reset => told.push("reset".to_owned()),
            Change::Synced { .. } => {}
            Change::Add { record, .. } => told.push(format!("add {}", record.name)),
            Change::Update { record, .. } => told.push(format!("update {}", record.name)),
            Change::Remove { instance, .. } => told.push(format!("remove {}", instance.name)),
        }
        true
    };
    while registry.read_watches(session, caller, &mut take).0 {}
    told
}

#[test]
fn no_look_up_reveals_hidden_names() {
    let (mut registry, session) = opened();
    let hidden = || NameRule { find: Some(vec![Grantee::Group(7)]), ..rule("db*", None) };
    set(&mut registry, rules([hidden()]));
    let register = registration("db-main", 1);
    drop(registry.register(register, USER, session, NOW).unwrap());
    let member = Caller { groups: [7].into(), ..OTHER.into() };
    let all = [
        "query db-main",
        "locate",
        "list db-main",
        "wait",
        "db-main reset",
        "db-main add db-main",
        "db* reset",
        "db* add db-main",
        "record",
    ];
    for caller in [member, USER.into(), Owner::User(0).into()] {
        assert_eq!(seen_by(&mut registry, session, &caller), all, "{caller:?}");
    }
    for stranger in [OTHER, Owner::Unknown(3), Owner::Host("10.0.0.1".parse().unwrap())] {
        let seen = seen_by(&mut registry, session, &stranger.into());
        assert_eq!(seen, ["db-main reset", "db* reset"], "{stranger:?}");
    }
}

#[test]
fn watchers_and_waiters_follow_changes_of_rules() {
    let (mut registry, session) = opened();
    let other = &OTHER.into();
    let name: Name = "db-main".parse().unwrap();
    registry.watch(session, 78, "db*".parse().unwrap(), None).unwrap();
    drop(registry.register(registration("db-main", 1), USER, session, NOW).unwrap());
    assert_eq!(watched(&mut registry, session, other), ["reset", "add db-main"]);

    let hidden = || NameRule { find: Some(Vec::new()), ..rule("db*", None) };
    let outcome = registry.set_rules(rules([hidden()]));
    assert!(outcome.notified.contains(&session));
    assert_eq!(watched(&mut registry, session, other), ["reset"]);
    drop(registry.register(registration("db-main", 2), USER, session, NOW).unwrap());
    let (uuid, by) = (Uuid::from_u128(1), USER);
    drop(registry.apply(Event::Unregister { uuid, by }, NOW).unwrap());
    assert_eq!(watched(&mut registry, session, other), [""; 0]);
    let mut bytes = BytesMut::new();
    assert!(!registry.wait((session, 9), name.clone(), other, NOW, &mut bytes).unwrap().0);
    assert_eq!(registry.answer_wait(session, &name, other, NOW, &mut bytes), None);

    // Setting the same rules again changes nothing.
    assert!(registry.set_rules(rules([hidden()])).notified.is_empty());
    let outcome = registry.set_rules(rules([]));
    assert_eq!(outcome.woken.len(), 1);
    assert_eq!(registry.answer_wait(session, &name, other, NOW, &mut bytes), Some(9));
    assert_eq!(watched(&mut registry, session, other), ["reset", "add db-main"]);
}

#[test]
fn a_resumed_watch_does_not_reveal_names_hidden_meanwhile() {
    let (mut registry, session) = opened();
    drop(registry.register(registration("db-main", 1), USER, session, NOW).unwrap());
    let seen = Seen { registrar: REGISTRAR, revision: registry.revision() };
    drop(registry.register(registration("db-main", 2), USER, session, NOW).unwrap());
    let hidden = NameRule { find: Some(Vec::new()), ..rule("db*", None) };
    set(&mut registry, rules([hidden]));
    let resumed = registry.watch(session, 78, "db*".parse().unwrap(), Some(seen)).unwrap();
    assert!(!resumed);
    assert_eq!(watched(&mut registry, session, &OTHER.into()), ["reset"]);
}

#[test]
fn the_end_of_a_page_does_not_reveal_hidden_names() {
    let (mut registry, session) = opened();
    let hidden = NameRule { find: Some(Vec::new()), ..rule("db*", None) };
    set(&mut registry, rules([hidden]));
    let ask = |registry: &Registry, begin: &str, by: &Caller| {
        let pattern = format!("{begin}*{}", "?".repeat(250 - begin.len()));
        let list = List { pattern: pattern.parse().unwrap(), after: 0 };
        let page = registry.page_of_records(&list, by).1;
        (page, registry.names(&list, by, None).0.next)
    };
    drop(registry.register(registration("db-main-of-the-payroll", 1), USER, session, NOW).unwrap());
    for uuid in 2..4200 {
        drop(registry.register(registration("feed", uuid), OTHER, session, NOW).unwrap());
    }
    let told = ask(&registry, "x", &OTHER.into());
    assert!(told.0.is_some() && told.1.is_some());
    for begin in ["d", "db-", "db-main-of", "db-x"] {
        assert_eq!(ask(&registry, begin, &OTHER.into()), told, "{begin}");
    }
    // An owner that may see the name has its steps counted exactly.
    assert_ne!(ask(&registry, "db-", &USER.into()), told);
}

#[test]
fn a_page_ends_at_no_entry_that_is_hidden() {
    let (mut registry, session) = opened();
    let hidden = NameRule { find: Some(Vec::new()), ..rule("db*", None) };
    set(&mut registry, rules([hidden]));
    let mut shown = Vec::new();
    for uuid in 1..14_000 {
        let (name, by) = if uuid % 2999 == 0 { ("feed", OTHER) } else { ("db-main", USER) };
        drop(registry.register(registration(name, uuid), by, session, NOW).unwrap());
        if by == OTHER {
            shown.push(registry.record_for(Uuid::from_u128(uuid), &OTHER.into()).unwrap().epoch);
        }
    }
    let (mut found, mut pages, mut list) =
        (Vec::new(), 0, List { pattern: "*".parse().unwrap(), after: 0 });
    loop {
        let (records, next) = registry.page_of_records(&list, &OTHER.into());
        found.extend(records.iter().map(|it| it.epoch));
        assert_eq!(registry.names(&list, &OTHER.into(), None).0.next, next);
        let Some(next) = next else { break };
        assert!(next > list.after);
        assert!(shown.contains(&next) || next % 1024 == 1023, "{next}");
        (list.after, pages) = (next, pages + 1);
    }
    assert_eq!((found, pages > 1), (shown, true));
}

#[test]
fn a_denial_tells_of_a_hidden_name_neither_whose_it_is_nor_how_many_wait() {
    let (mut registry, session) = opened();
    let denial = |registry: &mut Registry, by: Owner| {
        let mut caller = Caller::from(by);
        caller.is_trusted = false;
        registry.register(registration("db", 9), caller, session, NOW).unwrap_err().to_string()
    };
    let find = || Some(vec![Grantee::User(1000), Grantee::User(1002)]);
    let exclusive = |find| NameRule {
        register: Some(vec![Grantee::Any]),
        exclusive: true,
        find,
        ..rule("db", None)
    };
    set(&mut registry, rules([exclusive(find())]));
    drop(registry.register(registration("db", 1), USER, session, NOW).unwrap());
    let may = Owner::User(1002);
    assert!(denial(&mut registry, may).contains("user 1000 has it: 00000000"));
    let said = "`db` is exclusive (a rule of the registrar), and another has it; wait in line \
                for it (`--wait`), or take another name";
    assert_eq!(denial(&mut registry, OTHER), said);

    // The same holds if no rule says who may register.
    set(&mut registry, rules([NameRule { find: find(), ..rule("db", None) }]));
    assert!(denial(&mut registry, may).contains("which belongs to user 1000: "));
    assert!(denial(&mut registry, OTHER).contains("which belongs to another: "));
}

fn opened() -> (Registry, SessionId) {
    let mut registry = registry();
    set(&mut registry, NameRules::default());
    let session = registry.open_session(ACCOUNT);
    (registry, session)
}

fn open(registry: &mut Registry) {
    set(registry, NameRules::new(Names::Open, String::new(), Vec::new()));
}

fn set(registry: &mut Registry, rules: NameRules) {
    drop(registry.set_rules(rules));
}

fn rules<const N: usize>(rules: [NameRule; N]) -> NameRules {
    NameRules::new(Names::SameUser, "the default".to_owned(), rules.into())
}

fn rule(pattern: &str, register: Option<Vec<Grantee>>) -> NameRule {
    NameRule {
        pattern: pattern.parse().unwrap(),
        register,
        find: None,
        exclusive: false,
        instances_max: None,
        place: "market.toml:3".to_owned(),
    }
}

fn enter(
    registry: &mut Registry,
    session: SessionId,
    uuid: u128,
    by: impl Into<Caller>,
) -> Result<Option<u64>, RegistryError> {
    let (registered, _) = registry.register(registration("feed", uuid), by, session, NOW)?;
    Ok(registered.token)
}
