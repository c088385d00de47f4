//! What a caller may not find does not exist, whatever it asks.

use callsign_registrar::registry::{
    Caller, Event, Foreign, Grantee, NameRule, NameRules, Names, Owner, Registry, RegistryError,
    SessionId,
};
use uuid::Uuid;
use wire::{
    ErrorKind, RemoteError, State,
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
