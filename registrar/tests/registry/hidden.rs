//! What a caller may not find does not exist, whatever it asks.

use callsign_registrar::registry::{
    Caller, Event, Foreign, Grantee, NameRule, NameRules, Names, Owner, Registry, RegistryError,
    SessionId,
};
use uuid::Uuid;
use wire::{
    ErrorKind, InstanceSecret, RemoteError, State,
    registrar::{Register, Update},
};

use crate::support::{ACCOUNT, NOW, USER, at, registration, registry};

const OTHER: Owner = Owner::User(1001);
const HIDDEN: Uuid = Uuid::from_u128(1);
const NOBODYS: Uuid = Uuid::from_u128(99);

/// Makes a registry in which only members of group 7 find `secret*`, and USER has one.
fn opened() -> (Registry, SessionId) {
    let mut registry = registry();
    let rule = |pattern: &str, exclusive| NameRule {
        pattern: pattern.parse().unwrap(),
        register: Some(vec![Grantee::User(1000), Grantee::User(1001)]),
        find: Some(vec![Grantee::Group(7)]),
        exclusive,
        instances_max: None,
        place: "market.toml:3".to_owned(),
    };
    let rules = vec![rule("secret*", false), rule("secret-line", true)];
    drop(registry.set_rules(NameRules::new(Names::SameUser, "the default".to_owned(), rules)));
    let session = registry.open_session(ACCOUNT);
    let lease = Register { lease_ms: Some(60_000), ..registration("secret-vault", 1) };
    drop(registry.register(lease, USER, session, NOW).unwrap());
    (registry, session)
}

fn member() -> Caller {
    Caller { groups: [7].into(), ..OTHER.into() }
}

/// Returns what every call about an instance answers to a caller, without its UUID.
fn answers(registry: &mut Registry, uuid: Uuid, by: &Caller) -> Vec<String> {
    let owner = by.owner;
    let update = Update { uuid, endpoints: None, metadata: None, state: Some(State::Draining) };
    let events = [
        Event::Unregister { uuid, by: owner },
        Event::UnregisterAll { uuids: vec![uuid], by: owner },
        Event::Renew { uuid, by: owner },
        Event::Update { update, by: owner },
    ];
    let answer = |event| match registry.apply_for(by, event, NOW) {
        Ok(_) => "done".to_owned(),
        Err(error) => RemoteError::from(error).to_string().replace(&uuid.to_string(), "it"),
    };
    events.map(answer).into()
}

#[test]
fn calls_about_a_hidden_instance_answer_as_if_there_were_none() {
    let (mut registry, _) = opened();
    let before = registry.record(HIDDEN);
    for stranger in [OTHER, Owner::Unknown(3), Owner::Host("10.0.0.1".parse().unwrap())] {
        let hidden = answers(&mut registry, HIDDEN, &stranger.into());
        assert_eq!(hidden, answers(&mut registry, NOBODYS, &stranger.into()), "{stranger}");
    }
    let denied = answers(&mut registry, HIDDEN, &member());
    assert!(denied.iter().all(|it| it.contains("registered by user 1000")), "{denied:?}");
    assert_eq!(registry.record(HIDDEN), before);
    let own = answers(&mut registry, HIDDEN, &USER.into());
    assert_eq!(own[0], "done", "whatever the rule, its owner finds it");
}

#[test]
fn a_uuid_of_a_hidden_instance_or_waiter_cannot_be_had_and_that_is_all() {
    let (mut registry, session) = opened();
    let line = |uuid| Register { wait: true, ..registration("secret-line", uuid) };
    for (call, uuid) in [(1, 3), (2, 4)] {
        let at = (session, call);
        drop(registry.register_or_wait(line(uuid), &USER.into(), at, NOW).unwrap());
    }
    for uuid in [HIDDEN, Uuid::from_u128(3), Uuid::from_u128(4)] {
        for name in ["secret-vault", "secret-line", "secret-other", "mine"] {
            for again in [None, Some(u64::MAX)] {
                let register = Register { again, uuid, ..registration(name, 0) };
                let mut refused = |by| {
                    RemoteError::from(
                        registry.register(register.clone(), by, session, NOW).unwrap_err(),
                    )
                };
                let error = refused(OTHER.into());
                let said = format!("the UUID {uuid} cannot be had: take another");
                assert_eq!((error.kind, error.message), (ErrorKind::Denied, said), "{name}");
                let told = refused(member()).message;
                let names = ["registered by user 1000", "under another name"];
                assert!(names.iter().any(|it| told.contains(it)), "{told}");
            }
        }
    }
}

#[test]
fn a_hidden_instance_of_another_protocol_is_not_had_either() {
    let (mut registry, _) = opened();
    let foreign = |endpoint| Foreign {
        name: "secret-vault".parse().unwrap(),
        uuid: Uuid::from_u128(5),
        endpoint: Some(at(endpoint)),
        metadata: [].into(),
    };
    drop(registry.register_foreign(foreign("/unix/@one"), USER, NOW).unwrap());
    for endpoint in ["/unix/@one", "/unix/@other"] {
        let refused = registry.register_foreign(foreign(endpoint), OTHER, NOW).unwrap_err();
        assert!(matches!(refused, RegistryError::UuidTaken { .. }), "{refused}");
    }
    assert!(registry.register_foreign(foreign("/unix/@one"), member(), NOW).is_ok());
}

/// Registers an instance over a session of its owner's own.
fn enter(registry: &mut Registry, register: Register, by: impl Into<Caller>) -> (SessionId, u64) {
    let caller = by.into();
    let session = registry.open_session(caller.owner.account());
    registry.introduce(session, caller.clone());
    let (registered, _) = registry.register(register, caller, session, NOW).unwrap();
    (session, registered.epoch)
}

#[test]
fn a_rival_that_may_not_be_found_is_not_named() {
    for (loser, rival, is_told) in [
        (Caller::from(OTHER), "secret-rival", false),
        (Owner::Unknown(4).into(), "secret-rival", false),
        (member(), "secret-rival", true),
        (OTHER.into(), "rival", true),
        (Owner::User(0).into(), "secret-rival", true),
    ] {
        let (mut registry, _) = opened();
        let mine = Register { uuid: Uuid::from_u128(7), ..registration("mine", 8) };
        let endpoint = mine.endpoints[0].endpoint.clone();
        let (session, epoch) = enter(&mut registry, mine, loser.clone());
        enter(&mut registry, registration(rival, 8), USER);
        let claimant = registry.claimant(Uuid::from_u128(7), epoch, &endpoint).unwrap();
        let outcome = registry.apply(Event::FoundDead(claimant), NOW).unwrap();
        let by = outcome.lost[&session].1[0].by.clone();
        let is_named =
            by.as_ref().is_some_and(|it| it.starts_with(rival) && it.ends_with("user 1000"));
        assert_eq!((by.is_some(), is_named), (is_told, is_told), "{loser:?} {by:?}");
    }
}

#[test]
fn who_takes_a_uuid_back_for_a_hidden_name_is_not_named() {
    for (loser, is_told) in [(Caller::from(OTHER), false), (member(), true)] {
        let (mut registry, _) = opened();
        let secret = InstanceSecret::new([7; 16]);
        let uuid = secret.uuid();
        let (squatter, _) =
            enter(&mut registry, Register { uuid, ..registration("mine", 8) }, loser);
        let own = Register { uuid, secret: Some(secret), ..registration("secret-own", 9) };
        let session = registry.open_session(ACCOUNT);
        let (_, outcome) = registry.register(own, USER, session, NOW).unwrap();
        let by = &outcome.lost[&squatter].1[0].by;
        assert_eq!(by.as_deref(), is_told.then_some("user 1000"));
    }
}

#[test]
fn who_removed_an_instance_is_told_to_its_owner_only() {
    let (mut registry, session) = opened();
    let epoch = registry.record(HIDDEN).unwrap().epoch;
    let by = Owner::User(0);
    drop(registry.apply(Event::Unregister { uuid: HIDDEN, by }, NOW).unwrap());
    let again = Register { again: Some(epoch), ..registration("secret-vault", 1) };
    let (registered, _) = registry.register(again.clone(), USER, session, NOW).unwrap();
    assert_eq!(registered.lost.unwrap().by.as_deref(), Some("user 0"));
    let (registered, _) = registry.register(again, OTHER, session, NOW).unwrap();
    assert_eq!(registered.lost, None, "as for a UUID that nobody has had");
}

#[test]
fn a_later_session_of_another_owner_is_told_nothing_of_a_lease() {
    let (mut registry, _) = opened();
    let lease = Register { lease_ms: Some(60_000), ..registration("secret-lease", 6) };
    let (session, _) = enter(&mut registry, lease, USER);
    assert_eq!(registry.registrant(Uuid::from_u128(6)), Some(session));
    drop(registry.apply(Event::SessionEnded(session), NOW).unwrap());
    while registry.has_deferred() {
        drop(registry.do_deferred());
    }
    let (later, _) = enter(&mut registry, registration("mine", 7), OTHER);
    assert_eq!(later, session, "it has the same number");
    assert_eq!(registry.registrant(Uuid::from_u128(6)), None);
    let gone = Event::Unregister { uuid: Uuid::from_u128(6), by: Owner::User(0) };
    assert!(registry.apply(gone, NOW).unwrap().lost.is_empty());
}

#[test]
fn a_denial_does_not_tell_of_a_rule_whose_names_one_may_not_find() {
    let (mut registry, session) = opened();
    let stranger = Owner::User(1002);
    let denial = |registry: &mut Registry, name, by: Caller| {
        registry.register(registration(name, 9), by, session, NOW).unwrap_err().to_string()
    };
    let said = "user 1002 may not register under `secret-x`: a rule of the registrar lets only \
                others; take another name, or have user 1002 added to its `register`";
    assert_eq!(denial(&mut registry, "secret-x", stranger.into()), said);
    let finds = Caller { groups: [7].into(), ..stranger.into() };
    let told = denial(&mut registry, "secret-x", finds);
    assert!(told.contains("the rule `secret*` (market.toml:3)"), "{told}");
    enter(&mut registry, registration("secret-line", 2), USER);
    let told = denial(&mut registry, "secret-line", OTHER.into());
    assert!(told.contains("exclusive (a rule of the registrar), and another has it"), "{told}");
}
