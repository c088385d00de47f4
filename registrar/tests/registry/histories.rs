//! Random histories, and a model that a watcher must agree with.

use std::collections::BTreeMap;

use bytes::BytesMut;
use callsign_registrar::registry::{Event, Owner};
use endpoints::NamePattern;
use proptest::prelude::*;
use uuid::Uuid;
use wire::{
    Epoch, Lifetime, Record, State, decode_body,
    registrar::{Change, List, Page, Query, Register, Update},
};

use crate::support::{ACCOUNT, NOW, USER, answer_to, read, registration, registry};

/// One step of a random history. It prints itself when a history fails.
#[derive(Clone, Debug)]
enum Step {
    Register { name: u8, uuid: u8, lease: bool },
    Unregister { uuid: u8 },
    State { uuid: u8, state: State },
    EndSession,
    Pass { ms: u16 },
    Read { credit: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 0..12_u8, any::<bool>())
            .prop_map(|(name, uuid, lease)| Step::Register { name, uuid, lease }),
        2 => (0..12_u8).prop_map(|uuid| Step::Unregister { uuid }),
        2 => (0..12_u8, prop_oneof![Just(State::Ready), Just(State::Draining)])
            .prop_map(|(uuid, state)| Step::State { uuid, state }),
        1 => Just(Step::EndSession),
        1 => (0..700_u16).prop_map(|ms| Step::Pass { ms }),
        4 => (0..6_u8).prop_map(|credit| Step::Read { credit }),
    ]
}

/// The owner of an instance.
fn owner(uuid: u8) -> Owner {
    if uuid < 8 { USER } else { Owner::Host([10, 0, 0, 7].into()) }
}

/// The state of a watcher, by the changes that it has read.
#[derive(Default)]
struct View(BTreeMap<Uuid, Record>);

impl View {
    fn learn(&mut self, change: Change) {
        match change {
            Change::Reset => self.0.clear(),
            Change::Synced { .. } => {}
            Change::Add { record, .. } | Change::Update { record, .. } => {
                self.0.insert(record.uuid, record);
            }
            Change::Remove { instance, .. } => {
                assert!(self.0.remove(&instance.uuid).is_some(), "{instance} was never shown");
            }
        }
    }
}

/// The look-ups that a name allows.
fn asked() -> Vec<(&'static str, bool, Option<wire::Owner>)> {
    let owners = [None, Some(USER.into()), Some(owner(8).into()), Some(wire::Owner::Unknown)];
    let of = |all: bool| owners.clone().into_iter().map(move |owner| ("n1", all, owner));
    of(true).chain(of(false)).collect()
}

proptest! {
    #[test]
    fn a_watcher_sees_what_is_there_whatever_happens(
        steps in proptest::collection::vec(step(), 1..120),
        pattern in prop_oneof![Just("*"), Just("n1"), Just("n?")],
    ) {
        let mut registry = registry();
        let mut session = registry.open_session(ACCOUNT);
        let watching = registry.open_session(ACCOUNT);
        let pattern = NamePattern::new(pattern).unwrap();
        registry.watch(watching, 2, pattern.clone(), None).unwrap();
        let (mut view, mut now) = (View::default(), NOW);

        for step in steps {
            // A step may be refused, for instance to register an instance under another name.
            match step {
                Step::Register { name, uuid, lease } => {
                    let register = Register {
                        lease_ms: lease.then_some(500),
                        ..registration(&format!("n{name}"), uuid.into())
                    };
                    drop(registry.register(register, owner(uuid), session, now));
                }
                Step::Unregister { uuid } => {
                    let (uuid, by) = (Uuid::from_u128(uuid.into()), owner(uuid));
                    drop(registry.apply(Event::Unregister { uuid, by }, now));
                }
                Step::State { uuid, state } => {
                    let (uuid, by) = (Uuid::from_u128(uuid.into()), owner(uuid));
                    let update =
                        Update { uuid, endpoints: None, metadata: None, state: Some(state) };
                    drop(registry.apply(Event::Update { update, by }, now));
                }
                Step::EndSession => {
                    drop(registry.apply(Event::SessionEnded(session), now).unwrap());
                    session = registry.open_session(ACCOUNT);
                }
                Step::Pass { ms } => {
                    now += u64::from(ms);
                    drop(registry.apply(Event::Tick, now).unwrap());
                }
                Step::Read { credit } => {
                    registry.credit(watching, 2, credit.into());
                    read(&mut registry, watching).into_iter().for_each(|it| view.learn(it));
                }
            }
        }
        registry.credit(watching, 2, u32::MAX);
        read(&mut registry, watching).into_iter().for_each(|it| view.learn(it));

        let mut page = BytesMut::new();
        registry.page(&List { pattern, after: 0 }, &USER.into(), now, &mut page);
        let Page { next, records, .. } = decode_body(&page).unwrap();
        prop_assert_eq!(next, None);
        let there: BTreeMap<_, _> = records.into_iter().map(|it| (it.uuid, it)).collect();
        prop_assert_eq!(&view.0, &there);
        // A look-up with a limit returns that many, newest first.
        for (name, all, owner) in asked() {
            let is_of = |it: &&Record| owner.is_none() || owner == it.owner;
            let of_name = there.values().filter(|it| it.name.as_str() == name).filter(is_of);
            let mut of_name: Vec<_> = of_name.collect();
            of_name.sort_by_key(|it| std::cmp::Reverse(it.epoch));
            let meant = of_name.iter().filter(|it| all || it.state == State::Ready);
            let meant: Vec<_> = meant.map(|it| it.uuid.as_u128()).collect();
            let query = Query { name, all, owner: owner.clone() };
            prop_assert_eq!(answer_to(&registry, &query), (of_name.len() as u64, meant));
        }
        let epochs: Vec<Epoch> = there.values().map(|it| it.epoch).collect();
        prop_assert!(epochs.iter().all(|it| *it > NOW));
        let leased = there.values().filter(|it| matches!(it.lifetime, Lifetime::Lease { .. }));
        prop_assert!(leased.clone().next().is_none() || registry.next_deadline_ms().is_some());
    }
}
