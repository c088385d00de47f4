//! Each owner's use is charged to it and given back, and nobody exceeds a quota.

use std::collections::BTreeMap;

use bytes::BytesMut;
use callsign_registrar::{
    Accounts, Quotas,
    registry::{Account, Claimant, Event, Foreign, Owner, Registry, RegistryError, SessionId},
};
use endpoints::{Name, NamePattern};
use proptest::prelude::*;
use uuid::Uuid;
use wire::{
    ErrorKind, Quota, QuotaExceeded, RemoteError, State,
    registrar::{Register, Update},
};

use crate::support::{NOW, at, registration, with_quotas};

const ONE: Owner = Owner::User(1000);
const OTHER: Owner = Owner::User(1001);

#[track_caller]
fn is_refused<T>(result: Result<T, RegistryError>, expected: &str) {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

fn watch(
    registry: &mut Registry,
    session: SessionId,
    pattern: &str,
) -> Result<bool, RegistryError> {
    let call = registry.counts().watchers as u64 * 2;
    registry.watch(session, call, NamePattern::new(pattern).unwrap(), None)
}

fn wait(registry: &mut Registry, session: SessionId, name: &str) -> Result<bool, RegistryError> {
    let call = registry.counts().waiters as u64 * 2;
    let waiting = registry.wait(
        (session, call),
        Name::new(name).unwrap(),
        &ONE.into(),
        NOW,
        &mut BytesMut::new(),
    );
    waiting.map(|(is_there, _)| is_there)
}

#[test]
fn an_owner_s_sessions_have_one_quota_of_instances_together() {
    let (mut registry, accounts) = with_quotas(Quotas { instances: 2, ..Quotas::default() });
    let account = ONE.account();
    let sessions = [registry.open_session(account), registry.open_session(account)];
    let mut take = |uuid: u128, session: usize, owner| {
        let register = registration("feed", uuid);
        registry.register(register, owner, sessions[session], NOW).map(drop)
    };
    take(1, 0, ONE).unwrap();
    take(2, 1, ONE).unwrap();
    let expected = "user 1000 has 2 instances here, of at most 2: take some out, \
                    or raise `instances` in the registrar's [quotas]";
    is_refused(take(3, 0, ONE), expected);
    is_refused(take(3, 1, ONE), expected);
    // The same instance again is no further one; others have quotas of their own, and user 0 has no
    // limit.
    take(2, 0, ONE).unwrap();
    take(4, 0, OTHER).unwrap();
    (10..20).for_each(|uuid| take(uuid, 0, Owner::User(0)).unwrap());
    let lease = Register { lease_ms: Some(1000), ..registration("feed", 3) };
    is_refused(registry.register(lease, ONE, sessions[0], NOW), expected);
    let foreign = Foreign {
        name: Name::new("feed").unwrap(),
        uuid: Uuid::from_u128(3),
        endpoint: None,
        metadata: BTreeMap::new(),
    };
    is_refused(registry.register_foreign(foreign, ONE, NOW), expected);

    let out = Event::Unregister { uuid: Uuid::from_u128(1), by: ONE };
    drop(registry.apply(out, NOW).unwrap());
    drop(registry.register(registration("feed", 3), ONE, sessions[0], NOW).unwrap());
    assert_eq!(accounts.use_of(account).instances.used, 2);
}

#[test]
fn waits_and_watches_of_all_sessions_count_together() {
    let (mut registry, accounts) =
        with_quotas(Quotas { waits: 2, watches: 3, ..Quotas::default() });
    let sessions = [ONE, ONE, OTHER].map(|it| registry.open_session(it.account()));
    wait(&mut registry, sessions[0], "a").unwrap();
    wait(&mut registry, sessions[1], "b").unwrap();
    let expected = "user 1000 has 2 waiting calls here, of at most 2: cancel some, \
                    or raise `waits` in the registrar's [quotas]";
    is_refused(wait(&mut registry, sessions[0], "c"), expected);
    wait(&mut registry, sessions[2], "c").unwrap();
    for pattern in ["*", "a*", "a"] {
        watch(&mut registry, sessions[1], pattern).unwrap();
    }
    let expected = "user 1000 has 3 watches here, of at most 3: cancel some, \
                    or raise `watches` in the registrar's [quotas]";
    is_refused(watch(&mut registry, sessions[0], "z"), expected);
    watch(&mut registry, sessions[2], "z").unwrap();

    drop(registry.apply(Event::SessionEnded(sessions[1]), NOW).unwrap());
    let own = accounts.use_of(ONE.account());
    assert_eq!((own.waits.used, own.watches.used), (1, 0));
    registry.cancel(sessions[0], 0);
    assert_eq!(accounts.use_of(ONE.account()).bytes.used, 0);
}

#[test]
fn bytes_are_those_of_all_that_is_held() {
    let (mut registry, accounts) = with_quotas(Quotas { bytes: 20_000, ..Quotas::default() });
    let session = registry.open_session(ONE.account());
    let fat = |uuid: u128, bytes: usize| Register {
        metadata: BTreeMap::from([("text".to_owned(), "x".repeat(bytes))]),
        ..registration("feed", uuid)
    };
    drop(registry.register(fat(1, 10_000), ONE, session, NOW).unwrap());
    let error = registry.register(fat(2, 10_000), ONE, session, NOW).map(drop).unwrap_err();
    let error = RemoteError::from(error);
    assert_eq!(error.kind, ErrorKind::QuotaExceeded);
    let exceeded = QuotaExceeded::of(&error).unwrap();
    assert_eq!((exceeded.quota, exceeded.limit), (Quota::Bytes, 20_000));
    assert_eq!(exceeded.owner, wire::Owner::User(1000));
    assert!(exceeded.used > 10_000 && exceeded.used + exceeded.asked > 20_000, "{exceeded:?}");

    let metadata = Some(BTreeMap::from([("text".to_owned(), "x".repeat(16_000))]));
    let grow = |uuid: u128| Update {
        uuid: Uuid::from_u128(uuid),
        endpoints: None,
        metadata: metadata.clone(),
        state: None,
    };
    drop(registry.apply(Event::Update { update: grow(1), by: ONE }, NOW).unwrap());
    drop(registry.register(registration("feed", 2), ONE, session, NOW).unwrap());
    let too_much = registry.apply(Event::Update { update: grow(2), by: ONE }, NOW);
    assert!(matches!(too_much, Err(RegistryError::Quota(_))), "{too_much:?}");
    // Patterns take more memory than their texts.
    let patterns = (0..100).map(|it| format!("*{}*{it}?", "abcdefghijklmnop".repeat(10)));
    let refused = patterns.filter(|it| watch(&mut registry, session, it).is_err()).count();
    assert!((95..100).contains(&refused), "{refused} of 100 are refused");
    let names = (0..100).map(|it| format!("{}{it}", "x".repeat(200)));
    let refused = names.filter(|it| wait(&mut registry, session, it).is_err()).count();
    assert!((95..=100).contains(&refused), "{refused} of 100 are refused");

    drop(registry.apply(Event::SessionEnded(session), NOW).unwrap());
    assert_eq!(accounts.uses(), []);
}

/// One call or event of a random history.
#[derive(Clone, Debug)]
enum Step {
    Register { session: u8, uuid: u8, bytes: u16, lease: bool },
    Foreign { owner: u8, uuid: u8 },
    Unregister { uuids: Vec<u8>, owner: u8 },
    Update { uuid: u8, endpoints: u8, bytes: u16 },
    Renew { uuid: u8 },
    Wait { session: u8, call: u8, name: u8 },
    Answer { session: u8, name: u8 },
    Watch { session: u8, call: u8, pattern: u8 },
    Credit { session: u8, call: u8, items: u8 },
    Cancel { session: u8, call: u8 },
    Silent { session: u8 },
    Found { uuid: u8, what: u8 },
    Dismiss { session: u8 },
    End { session: u8 },
    Pass { ms: u16 },
    Chore,
}

fn step() -> impl Strategy<Value = Step> {
    let (session, call, uuid, name) = (0..4_u8, 0..8_u8, 0..12_u8, 0..3_u8);
    prop_oneof![
        6 => (session.clone(), uuid.clone(), 0..3000_u16, any::<bool>()).prop_map(
            |(session, uuid, bytes, lease)| Step::Register { session, uuid, bytes, lease }
        ),
        1 => (session.clone(), uuid.clone()).prop_map(|(owner, uuid)| Step::Foreign { owner, uuid }),
        2 => (proptest::collection::vec(uuid.clone(), 1..4), session.clone())
            .prop_map(|(uuids, owner)| Step::Unregister { uuids, owner }),
        2 => (uuid.clone(), 0..4_u8, 0..3000_u16)
            .prop_map(|(uuid, endpoints, bytes)| Step::Update { uuid, endpoints, bytes }),
        1 => uuid.clone().prop_map(|uuid| Step::Renew { uuid }),
        4 => (session.clone(), call.clone(), name.clone())
            .prop_map(|(session, call, name)| Step::Wait { session, call, name }),
        2 => (session.clone(), name).prop_map(|(session, name)| Step::Answer { session, name }),
        4 => (session.clone(), call.clone(), 0..4_u8)
            .prop_map(|(session, call, pattern)| Step::Watch { session, call, pattern }),
        4 => (session.clone(), call.clone(), 0..9_u8)
            .prop_map(|(session, call, items)| Step::Credit { session, call, items }),
        2 => (session.clone(), call).prop_map(|(session, call)| Step::Cancel { session, call }),
        1 => session.clone().prop_map(|session| Step::Silent { session }),
        2 => (uuid, 0..6_u8).prop_map(|(uuid, what)| Step::Found { uuid, what }),
        1 => session.clone().prop_map(|session| Step::Dismiss { session }),
        1 => session.prop_map(|session| Step::End { session }),
        1 => (0..700_u16).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Chore),
    ]
}

/// The owner of each session: user 0 for the last.
const OWNERS: [Owner; 4] = [ONE, ONE, OTHER, Owner::User(0)];

struct World {
    registry: Registry,
    sessions: [SessionId; 4],
    now: u64,
}

impl World {
    /// Takes a step. It may be refused, for instance because such a call is under way already.
    fn take(&mut self, step: Step) {
        let Self { registry, sessions, now } = self;
        let at_session = |it: u8| sessions[usize::from(it)];
        let text = |bytes: u16| BTreeMap::from([("text".to_owned(), "x".repeat(bytes.into()))]);
        match step {
            Step::Register { session, uuid, bytes, lease } => {
                let register = Register {
                    metadata: text(bytes),
                    lease_ms: lease.then_some(500),
                    ..registration(&format!("n{}", uuid % 3), uuid.into())
                };
                let owner = OWNERS[usize::from(session)];
                drop(registry.register(register, owner, at_session(session), *now));
            }
            Step::Foreign { owner, uuid } => {
                let foreign = Foreign {
                    name: Name::new(&format!("n{}", uuid % 3)).unwrap(),
                    uuid: Uuid::from_u128(uuid.into()),
                    endpoint: Some(at(&format!("/unix/@{owner}"))),
                    metadata: BTreeMap::new(),
                };
                drop(registry.register_foreign(foreign, OWNERS[usize::from(owner)], *now));
            }
            Step::Unregister { uuids, owner } => {
                let uuids = uuids.into_iter().map(|it| Uuid::from_u128(it.into())).collect();
                let by = OWNERS[usize::from(owner)];
                drop(registry.apply(Event::UnregisterAll { uuids, by }, *now));
            }
            Step::Update { uuid, endpoints, bytes } => {
                let endpoints = (0..endpoints).map(|it| at(&format!("/unix/@{it}"))).collect();
                let update = Update {
                    uuid: Uuid::from_u128(uuid.into()),
                    endpoints: Some(endpoints),
                    metadata: Some(text(bytes)),
                    state: Some(State::Ready),
                };
                drop(registry.apply(Event::Update { update, by: ONE }, *now));
            }
            Step::Renew { uuid } => {
                let uuid = Uuid::from_u128(uuid.into());
                drop(registry.apply(Event::Renew { uuid, by: ONE }, *now));
            }
            Step::Wait { session, call, name } => {
                let name = Name::new(&format!("n{name}")).unwrap();
                let mut bytes = BytesMut::new();
                drop(registry.wait(
                    (at_session(session), call.into()),
                    name,
                    &ONE.into(),
                    *now,
                    &mut bytes,
                ));
            }
            Step::Answer { session, name } => {
                let name = Name::new(&format!("n{name}")).unwrap();
                registry.answer_wait(
                    at_session(session),
                    &name,
                    &ONE.into(),
                    *now,
                    &mut BytesMut::new(),
                );
            }
            Step::Watch { session, call, pattern } => {
                let pattern = ["*", "n1", "n?", "*a*b*"][usize::from(pattern)];
                let pattern = NamePattern::new(pattern).unwrap();
                drop(registry.watch(at_session(session), call.into(), pattern, None));
            }
            Step::Credit { session, call, items } => {
                registry.credit(at_session(session), call.into(), items.into());
                registry.read_watches(at_session(session), &ONE.into(), &mut |_, _| true);
            }
            Step::Cancel { session, call } => registry.cancel(at_session(session), call.into()),
            Step::Silent { session } => {
                drop(registry.apply(Event::SessionSilent(at_session(session)), *now));
            }
            Step::Found { uuid, what } => self.find(uuid, what),
            Step::Dismiss { session } => {
                let back_by_ms = *now + 500;
                let session = at_session(session);
                drop(registry.apply(Event::SessionDismissed { session, back_by_ms }, *now));
            }
            Step::End { session } => {
                let own = &mut sessions[usize::from(session)];
                drop(registry.apply(Event::SessionEnded(*own), *now).unwrap());
                *own = registry.open_session(OWNERS[usize::from(session)].account());
            }
            Step::Pass { ms } => {
                *now += u64::from(ms);
                drop(registry.apply(Event::Tick, *now).unwrap());
            }
            Step::Chore => drop(registry.do_deferred()),
        }
    }

    /// Looks at the first endpoint of an instance, and reports the result.
    fn find(&mut self, uuid: u8, what: u8) {
        let uuid = Uuid::from_u128(uuid.into());
        let Some(record) = self.registry.record(uuid) else { return };
        let Some(stamped) = record.endpoints.first().cloned() else { return };
        let claimant = Claimant { uuid, epoch: record.epoch, stamped };
        let event = match what {
            0 => Event::FoundDead(claimant),
            1 => Event::FoundSilent(claimant),
            2 => Event::Disowned(claimant),
            3 => Event::Suspect(claimant),
            4 => Event::FoundAlive(claimant),
            _ => Event::ProcessEnded { uuid, epoch: record.epoch },
        };
        drop(self.registry.apply(event, self.now));
    }

    fn end(mut self) {
        for session in self.sessions {
            drop(self.registry.apply(Event::SessionEnded(session), self.now).unwrap());
        }
        let uuids = (0..12).map(Uuid::from_u128).collect();
        let out = Event::UnregisterAll { uuids, by: Owner::User(0) };
        drop(self.registry.apply(out, self.now).unwrap());
        while self.registry.has_deferred() {
            drop(self.registry.do_deferred());
        }
    }
}

fn within(accounts: &Accounts, registry: &Registry, quotas: &Quotas) {
    let uses = accounts.uses();
    for own in uses.iter().filter(|it| it.owner != wire::Owner::User(0)) {
        for quota in [Quota::Instances, Quota::Waits, Quota::Watches] {
            let used = own.of(quota).unwrap().used;
            assert!(used <= quotas.of(quota) as u64, "{} has {used} {quota}", own.owner);
        }
        // The registrar's own notes on an instance are charged, whatever the quota.
        let noted = 100 * own.instances.used + 24 * 1024;
        assert!(own.bytes.used <= quotas.bytes as u64 + noted, "{own:?}");
    }
    let sum = |quota| uses.iter().map(|it| it.of(quota).unwrap().used as usize).sum::<usize>();
    let counts = registry.counts();
    assert_eq!(sum(Quota::Waits), counts.waiters);
    assert_eq!(sum(Quota::Watches), counts.watchers);
    assert!(sum(Quota::Instances) >= counts.instances);
}

proptest! {
    #[test]
    fn charges_are_given_back(steps in proptest::collection::vec(step(), 1..150)) {
        let quotas = Quotas { instances: 5, waits: 4, watches: 4, bytes: 9000, ..Quotas::default() };
        let (mut registry, accounts) = with_quotas(quotas);
        let sessions = OWNERS.map(|it| registry.open_session(it.account()));
        let mut world = World { registry, sessions, now: NOW };
        for step in steps {
            world.take(step);
            within(&accounts, &world.registry, &quotas);
        }
        world.end();
        prop_assert_eq!(accounts.uses(), []);
    }
}

#[test]
fn an_account_is_charged_all_of_it_or_nothing() {
    let quotas = Quotas { instances: 3, bytes: 100, ..Quotas::default() };
    let (_, accounts) = with_quotas(quotas);
    let account = Account::User(7);
    let charge = |instances, bytes| {
        accounts.charge(account, &[(Quota::Instances, instances), (Quota::Bytes, bytes)])
    };
    charge(2, 60).unwrap();
    assert_eq!(charge(1, 60).unwrap_err().quota, Quota::Bytes);
    assert_eq!(charge(2, 10).unwrap_err().quota, Quota::Instances);
    charge(1, 40).unwrap();
    charge(0, 0).unwrap();
    assert_eq!(charge(0, usize::MAX).unwrap_err().used, 100);
    accounts.give_back(account, &[(Quota::Instances, 3), (Quota::Bytes, 100)]);
    assert_eq!(accounts.uses(), []);
}
