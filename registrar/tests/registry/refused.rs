//! A registration that is refused changes nothing, also of what is gone but not yet cleared away;
//! and whoever watches is told of every change.

use std::collections::BTreeMap;

use bytes::BytesMut;
use callsign_registrar::{
    Quotas,
    registry::{
        Account, Event, Foreign, HomeNode, NameRule, NameRules, Names, Outcome, Owner, Registry,
        RegistryError, Remote, SessionId,
    },
};
use endpoints::{Name, NamePattern};
use proptest::prelude::*;
use uuid::Uuid;
use wire::{
    ProofSecret, Record, decode_body,
    registrar::{Change, List, Page, Register},
};

use crate::support::{ACCOUNT, NOW, USER, at, read, registration, with_quotas};

const OTHER: Owner = Owner::User(1001);

/// The instances of a history. Three of them are more than one part clears away.
const UUIDS: u128 = 8;

/// Makes a registry in which an owner has room for six instances, and a name for two.
fn narrow() -> (Registry, impl Fn() -> String) {
    let quotas = Quotas { instances: 6, ..Quotas::default() };
    let (mut registry, accounts) = with_quotas(quotas);
    let few = NameRule {
        pattern: NamePattern::new("few").unwrap(),
        register: None,
        find: None,
        exclusive: false,
        instances_max: Some(2),
        place: String::new(),
    };
    drop(registry.set_rules(NameRules::new(Names::Open, String::new(), vec![few])));
    let (name, secret) = ("rome".parse().unwrap(), ProofSecret::new([7; 32]));
    assert!(registry.know_node(HomeNode { name, registrar: Uuid::from_u128(77), secret }));
    let uses = move || {
        let uses = [USER, OTHER].map(|it| accounts.use_of(it.account()));
        format!("{uses:?}")
    };
    (registry, uses)
}

/// Returns a registration that takes half of a turn to clear away.
fn fat(name: &str, uuid: u128) -> Register {
    Register { metadata: fat_metadata(), ..registration(name, uuid) }
}

fn fat_metadata() -> BTreeMap<String, String> {
    [("text".to_owned(), "x".repeat(16_000))].into()
}

fn listed(registry: &Registry) -> BTreeMap<Uuid, Record> {
    let mut listed = BTreeMap::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let mut page = BytesMut::new();
        let list = List { pattern: NamePattern::any(), after: from };
        registry.page(&list, &USER.into(), NOW, &mut page);
        let Page { next, records, .. } = decode_body(&page).unwrap();
        listed.extend(records.into_iter().map(|it| (it.uuid, it)));
        after = next;
    }
    listed
}

/// A watcher that reads only when it is told to, as a session does.
struct Watching {
    session: SessionId,
    seen: BTreeMap<Uuid, Record>,
}

impl Watching {
    fn begin(registry: &mut Registry) -> Self {
        let session = registry.open_session(ACCOUNT);
        registry.watch(session, 2, NamePattern::any(), None).unwrap();
        registry.credit(session, 2, u32::MAX);
        let mut watching = Self { session, seen: BTreeMap::new() };
        watching.read(registry);
        watching
    }

    fn hear(&mut self, registry: &mut Registry, outcome: &Outcome) {
        if outcome.notified.contains(&self.session) {
            self.read(registry);
        }
    }

    fn read(&mut self, registry: &mut Registry) {
        for change in read(registry, self.session) {
            match change {
                Change::Reset => self.seen.clear(),
                Change::Synced { .. } => {}
                Change::Add { record, .. } | Change::Update { record, .. } => {
                    self.seen.insert(record.uuid, record);
                }
                Change::Remove { instance, .. } => {
                    assert!(self.seen.remove(&instance.uuid).is_some(), "{instance} was not shown");
                }
            }
        }
    }
}

fn end(registry: &mut Registry, session: SessionId) -> Outcome {
    registry.apply(Event::SessionEnded(session), NOW).unwrap()
}

#[test]
fn a_watcher_hears_of_the_last_that_is_cleared_away_though_its_return_is_refused() {
    let (mut registry, uses) = narrow();
    let mut watching = Watching::begin(&mut registry);
    let sessions = [registry.open_session(ACCOUNT), registry.open_session(ACCOUNT)];
    for uuid in 1..=3 {
        let outcome = registry.register(fat("feed", uuid), USER, sessions[0], NOW).unwrap().1;
        watching.hear(&mut registry, &outcome);
    }
    for uuid in 4..=5 {
        let outcome = registry.register(registration("few", uuid), OTHER, sessions[1], NOW);
        watching.hear(&mut registry, &outcome.unwrap().1);
    }
    let outcome = end(&mut registry, sessions[0]);
    assert!(!outcome.notified.contains(&watching.session), "it is cleared away later");
    let outcome = registry.do_deferred();
    watching.hear(&mut registry, &outcome);
    assert!(registry.has_deferred() && watching.seen.len() == 3, "one of three is left");

    let before = (registry.counts(), registry.totals().clone(), uses());
    let again = registry.register(registration("few", 3), USER, sessions[1], NOW);
    assert!(matches!(again.unwrap_err(), RegistryError::TooManyOfName { .. }));
    assert_eq!((registry.counts(), registry.totals().clone(), uses()), before);
    assert!(registry.has_deferred(), "it has yet to be cleared away");
    let outcome = registry.do_deferred();
    watching.hear(&mut registry, &outcome);
    assert_eq!(watching.seen, listed(&registry));
    assert_eq!(watching.seen.len(), 2);
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Register { name: u8, uuid: u128, is_others: bool, session: usize, lease: bool },
    Foreign { name: u8, uuid: u128, is_others: bool },
    Remote { name: u8, uuid: u128, epoch: u64 },
    TakeOut { uuids: Vec<u128>, is_others: bool },
    EndSession { session: usize },
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let uuid = || 0..UUIDS;
    prop_oneof![
        8 => (0..3_u8, uuid(), any::<bool>(), 0..2_usize, any::<bool>()).prop_map(
            |(name, uuid, is_others, session, lease)| {
                Step::Register { name, uuid, is_others, session, lease }
            }
        ),
        2 => (0..3_u8, uuid(), any::<bool>())
            .prop_map(|(name, uuid, is_others)| Step::Foreign { name, uuid, is_others }),
        2 => (0..3_u8, uuid(), 0..4_u64)
            .prop_map(|(name, uuid, epoch)| Step::Remote { name, uuid, epoch }),
        1 => (proptest::collection::vec(uuid(), 3..6), any::<bool>())
            .prop_map(|(uuids, is_others)| Step::TakeOut { uuids, is_others }),
        2 => (0..2_usize).prop_map(|session| Step::EndSession { session }),
        2 => Just(Step::Clear),
    ]
}

/// Takes a step. An error is what a registration is refused with.
fn take(
    registry: &mut Registry,
    sessions: &mut [SessionId; 2],
    step: &Step,
) -> Result<Outcome, RegistryError> {
    let named = |name: u8| ["few", "feed", "price"][usize::from(name)];
    let owner = |is_others| if is_others { OTHER } else { USER };
    match step {
        Step::Register { name, uuid, is_others, session, lease } => {
            let lease_ms = lease.then_some(60_000);
            let register = Register { lease_ms, ..fat(named(*name), *uuid) };
            let done = registry.register(register, owner(*is_others), sessions[*session], NOW);
            done.map(|(_, outcome)| outcome)
        }
        Step::Foreign { name, uuid, is_others } => {
            let (name, uuid) = (Name::new(named(*name)).unwrap(), Uuid::from_u128(*uuid));
            let endpoint = Some(at("/ip4/10.0.0.8/tcp/9"));
            let foreign = Foreign { name, uuid, endpoint, metadata: fat_metadata() };
            let done = registry.register_foreign(foreign, owner(*is_others), NOW);
            done.map(|(_, outcome)| outcome)
        }
        Step::Remote { name, uuid, epoch } => {
            let record = Record {
                epoch: NOW * 1000 + epoch,
                owner: Some(USER.into()),
                node: Some("rome".parse().unwrap()),
                metadata: fat_metadata(),
                ..Record::new(Name::new(named(*name)).unwrap(), Uuid::from_u128(*uuid))
            };
            registry.enter_remote(Remote { record, has_key: false }, NOW)
        }
        Step::TakeOut { uuids, is_others } => {
            let uuids = uuids.iter().copied().map(Uuid::from_u128).collect();
            registry.apply(Event::UnregisterAll { uuids, by: owner(*is_others) }, NOW)
        }
        Step::EndSession { session } => {
            let outcome = end(registry, sessions[*session]);
            sessions[*session] = registry.open_session(Account::User(1000));
            Ok(outcome)
        }
        Step::Clear => Ok(registry.do_deferred()),
    }
}

proptest! {
    #[test]
    fn what_is_refused_changes_nothing_and_all_else_is_told(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let (mut registry, uses) = narrow();
        let mut watching = Watching::begin(&mut registry);
        let mut sessions = [registry.open_session(ACCOUNT), registry.open_session(ACCOUNT)];
        for step in steps {
            let state = |registry: &Registry| {
                let counts = (registry.counts(), registry.totals().clone(), uses());
                let deferred = (registry.has_deferred(), registry.deferred_account());
                (counts, deferred, registry.revision(), registry.next_deadline_ms())
            };
            let before = (state(&registry), listed(&registry));
            match take(&mut registry, &mut sessions, &step) {
                Ok(outcome) => watching.hear(&mut registry, &outcome),
                Err(error) => {
                    let after = (state(&registry), listed(&registry));
                    prop_assert_eq!(before, after, "{:?}: {}", step, error);
                }
            }
        }
        while registry.has_deferred() {
            let outcome = registry.do_deferred();
            watching.hear(&mut registry, &outcome);
        }
        prop_assert_eq!(watching.seen, listed(&registry));
    }
}
