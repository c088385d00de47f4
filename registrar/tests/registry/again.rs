//! Registrations that repeat what is known: they are recognised by their bytes, and do what they
//! would do if they were read.

use bytes::BytesMut;
use callsign_registrar::registry::{
    Caller, Event, NameRule, NameRules, Names, Outcome, Owner, Registry, RegistryError, SessionId,
};
use endpoints::NamePattern;
use proptest::prelude::*;
use uuid::Uuid;
use wire::{
    State, encode_body,
    registrar::{List, Register, Registered, UnreadRegister, Update},
};

use crate::support::{ACCOUNT, NOW, USER, at, brief, read, registration, registry};

type Entered = Result<(Registered, Outcome), RegistryError>;

fn again(registry: &mut Registry, register: &Register, by: Owner, session: SessionId) -> bool {
    try_again(registry, register, by, session, NOW).is_some()
}

fn try_again(
    registry: &mut Registry,
    register: &Register,
    by: Owner,
    session: SessionId,
    now: u64,
) -> Option<(Registered, Outcome)> {
    let body = encode_body(register);
    registry.register_again(&UnreadRegister::of(&body).unwrap(), &Caller::from(by), session, now)
}

#[derive(Clone, Debug)]
enum Step {
    Register { name: u8, uuid: u8, place: u8, session: usize, is_lease: bool },
    Unregister { uuid: u8 },
    State { uuid: u8, state: State },
    EndSession { session: usize },
    Silent { session: usize, is_silent: bool },
    Pass { ms: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    let register = (0..3_u8, 0..4_u8, 0..8_u8, 0..2_usize, 0..8_u8);
    prop_oneof![
        12 => register.prop_map(|(name, uuid, place, session, lease)| {
            // Mostly, an instance has a name and a place of its own.
            let (name, place) = (if name == 0 { 0 } else { uuid }, place.saturating_sub(5) + uuid);
            Step::Register { name, uuid, place, session, is_lease: lease == 0 }
        }),
        1 => (0..4_u8).prop_map(|uuid| Step::Unregister { uuid }),
        1 => (0..4_u8, prop_oneof![Just(State::Ready), Just(State::Draining)])
            .prop_map(|(uuid, state)| Step::State { uuid, state }),
        1 => (0..2_usize).prop_map(|session| Step::EndSession { session }),
        1 => (0..2_usize, any::<bool>())
            .prop_map(|(session, is_silent)| Step::Silent { session, is_silent }),
        1 => (0..700_u16).prop_map(|ms| Step::Pass { ms }),
    ]
}

proptest! {
    #[test]
    fn what_is_recognised_does_what_is_read_would_do(
        steps in proptest::collection::vec(step(), 1..100),
    ) {
        let mut twins = [registry(), registry()];
        let mut sessions = [0, 1].map(|_| {
            let [one, other] = twins.each_mut().map(|it| it.open_session(ACCOUNT));
            assert_eq!(one, other);
            one
        });
        let watching = twins.each_mut().map(|it| it.open_session(ACCOUNT))[0];
        for registry in &mut twins {
            registry.watch(watching, 2, NamePattern::any(), None).unwrap();
            registry.credit(watching, 2, u32::MAX);
        }
        let mut now = NOW;
        for step in steps {
            if let Step::Pass { ms } = step {
                now += u64::from(ms);
            }
            let done = [0, 1].map(|it| {
                let registry = &mut twins[it];
                let done = take(registry, &step, sessions, now, it == 1);
                let told = read(registry, watching);
                let mut page = BytesMut::new();
                registry.page(
                    &List { pattern: NamePattern::any(), after: 0 },
                    &USER.into(), now, &mut page,
                );
                (done, told, page, registry.counts(), registry.revision())
            });
            prop_assert_eq!(&done[0], &done[1], "{:?}", step);
            if let Step::EndSession { session } = step {
                let [one, other] = twins.each_mut().map(|it| it.open_session(ACCOUNT));
                prop_assert_eq!(one, other);
                sessions[session] = one;
            }
        }
    }
}

/// Takes a step. If registrations may be recognised, that is tried first.
fn take(
    registry: &mut Registry,
    step: &Step,
    sessions: [SessionId; 2],
    now: u64,
    is_quick: bool,
) -> String {
    let uuid = |it: u8| Uuid::from_u128(it.into());
    let event = match *step {
        Step::Register { name, uuid, place, session, is_lease } => {
            let register = Register {
                endpoints: vec![at(&format!("/ip4/10.0.0.7/tcp/{}", 2000 + u16::from(place)))],
                lease_ms: is_lease.then_some(500),
                ..registration(&format!("n{name}"), uuid.into())
            };
            let (session, mut entered) = (sessions[session], None::<Entered>);
            if is_quick {
                entered = try_again(registry, &register, USER, session, now).map(Ok);
            }
            let entered =
                entered.unwrap_or_else(|| registry.register(register, USER, session, now));
            return format!("{entered:?}");
        }
        Step::Unregister { uuid: it } => Event::Unregister { uuid: uuid(it), by: USER },
        Step::State { uuid: it, state } => {
            let (endpoints, metadata, state) = (None, None, Some(state));
            Event::Update {
                update: Update { uuid: uuid(it), endpoints, metadata, state },
                by: USER,
            }
        }
        Step::EndSession { session } => Event::SessionEnded(sessions[session]),
        Step::Silent { session, is_silent: true } => Event::SessionSilent(sessions[session]),
        Step::Silent { session, is_silent: false } => Event::SessionHeard(sessions[session]),
        Step::Pass { .. } => Event::Tick,
    };
    format!("{:?}", registry.apply(event, now))
}

#[test]
fn only_who_keeps_an_instance_as_it_is_is_recognised() {
    let mut registry = registry();
    let [session, other] = [0, 1].map(|_| registry.open_session(ACCOUNT));
    let one = registration("feed", 1);
    assert!(!again(&mut registry, &one, USER, session), "it is new");
    drop(registry.register(one.clone(), USER, session, NOW).unwrap());
    assert!(again(&mut registry, &one, USER, session));
    assert!(again(&mut registry, &one, USER, session), "and once more");

    assert!(!again(&mut registry, &one, USER, other), "another session");
    assert!(!again(&mut registry, &one, Owner::User(7), session), "another owner");
    for changed in [
        Register { name: "broker".parse().unwrap(), ..one.clone() },
        Register { endpoints: vec![at("/unix/run/feed.sock")], ..one.clone() },
        Register { state: State::Draining, ..one.clone() },
        Register { proves: true, ..one.clone() },
        Register { lease_ms: Some(5000), ..one.clone() },
    ] {
        assert!(!again(&mut registry, &changed, USER, session), "{changed:?}");
    }
    // Others at its place, or of its name, are told of it.
    let place = Register { endpoints: one.endpoints.clone(), ..registration("broker", 2) };
    drop(registry.register(place, USER, other, NOW).unwrap());
    assert!(!again(&mut registry, &one, USER, session), "another is at its place");
    drop(registry.apply(Event::Unregister { uuid: Uuid::from_u128(2), by: USER }, NOW).unwrap());
    assert!(!again(&mut registry, &one, USER, session), "that has to be looked at once");
    drop(registry.register(one.clone(), USER, session, NOW).unwrap());
    assert!(again(&mut registry, &one, USER, session), "it is alone again");
    drop(registry.register(registration("feed", 3), USER, other, NOW).unwrap());
    assert!(!again(&mut registry, &one, USER, session), "another has its name");
}

#[test]
fn a_rule_is_asked_each_time() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let one = registration("feed", 1);
    drop(registry.register(one.clone(), USER, session, NOW).unwrap());
    for (exclusive, register) in [(true, None), (false, Some(Vec::new()))] {
        let pattern = "feed".parse().unwrap();
        let (find, place, instances_max) = (None, String::new(), None);
        let rule = NameRule { pattern, register, find, exclusive, instances_max, place };
        drop(registry.set_rules(NameRules::new(Names::Open, String::new(), vec![rule])));
        assert!(!again(&mut registry, &one, USER, session));
    }
    drop(registry.set_rules(NameRules::new(Names::Open, String::new(), Vec::new())));
    assert!(again(&mut registry, &one, USER, session));
}

#[test]
fn a_watcher_hears_of_it() {
    let mut registry = registry();
    let (session, watching) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    let one = registration("feed", 1);
    drop(registry.register(one.clone(), USER, session, NOW).unwrap());
    registry.watch(watching, 2, NamePattern::any(), None).unwrap();
    registry.credit(watching, 2, 100);
    drop(read(&mut registry, watching));
    let (_, outcome) = try_again(&mut registry, &one, USER, session, NOW).unwrap();
    assert_eq!(outcome.notified, [watching].into());
    let told: Vec<_> = read(&mut registry, watching).iter().map(brief).collect();
    assert_eq!(told, ["update 1"]);
}
