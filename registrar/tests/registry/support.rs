//! Shared by the tests.

use bytes::BytesMut;
use callsign_registrar::{
    Accounts, QuotaRules, Quotas,
    registry::{Account, Limits, NameRules, Names, Outcome, Owner, Registry, SessionId},
};
use endpoints::{Name, Stamped};
use uuid::Uuid;
use wire::{
    decode_body,
    registrar::{Answer, Change, Query, Register},
};

pub(crate) const NOW: u64 = 1_795_000_000_000;
pub(crate) const USER: Owner = Owner::User(1000);
pub(crate) const ACCOUNT: Account = Account::User(1000);
pub(crate) const REGISTRAR: Uuid = Uuid::from_u128(1616);

pub(crate) fn registry() -> Registry {
    with_limits(Limits::default())
}

pub(crate) fn with_limits(limits: Limits) -> Registry {
    let mut registry = Registry::new(REGISTRAR, limits, Accounts::unlimited(), NOW);
    drop(registry.set_rules(NameRules::new(Names::Open, String::new(), Vec::new())));
    registry
}

/// Makes a registry in which everybody but user 0 has these quotas.
pub(crate) fn with_quotas(quotas: Quotas) -> (Registry, Accounts) {
    let rules = QuotaRules { others: quotas, ..QuotaRules::default() };
    let accounts = Accounts::new(rules, 4096, 0);
    let mut registry = Registry::new(REGISTRAR, Limits::default(), accounts.clone(), NOW);
    drop(registry.set_rules(NameRules::new(Names::Open, String::new(), Vec::new())));
    (registry, accounts)
}

pub(crate) fn registration(name: &str, uuid: u128) -> Register {
    Register {
        endpoints: vec![at(&format!("/ip4/10.0.0.7/tcp/{}", 1024 + uuid % 60_000))],
        ..Register::new(Name::new(name).unwrap(), Uuid::from_u128(uuid))
    }
}

pub(crate) fn at(endpoint: &str) -> Stamped {
    Stamped::bare(endpoint.parse().unwrap())
}

pub(crate) fn register(
    registry: &mut Registry,
    name: &str,
    uuid: u128,
    session: SessionId,
) -> Outcome {
    registry.register(registration(name, uuid), USER, session, NOW).unwrap().1
}

pub(crate) fn answer(registry: &Registry, name: &str, all: bool) -> Vec<u128> {
    answer_to(registry, &Query { all, ..Query::of(name) }).1
}

/// Returns the total number, and the instances in the answer.
pub(crate) fn answer_to(registry: &Registry, query: &Query<'_>) -> (u64, Vec<u128>) {
    let mut bytes = BytesMut::new();
    registry.answer(query, &USER.into(), NOW, &mut bytes);
    let Answer { total, records, .. } = decode_body(&bytes).unwrap();
    assert!(total >= records.len() as u64);
    (total, records.iter().map(|it| it.uuid.as_u128()).collect())
}

/// Reads all that every watch of a session has to send.
pub(crate) fn read(registry: &mut Registry, session: SessionId) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut take = |_, change: &[u8]| {
        changes.push(decode_body(change).unwrap());
        true
    };
    // Long output is read in several turns.
    while registry.read_watches(session, &USER.into(), &mut take).0 {}
    changes
}

/// Writes a change as a word.
pub(crate) fn brief(change: &Change) -> String {
    match change {
        Change::Reset => "reset".to_owned(),
        Change::Synced { .. } => "synced".to_owned(),
        Change::Add { record, .. } => format!("add {}", record.uuid.as_u128()),
        Change::Update { record, .. } => format!("update {}", record.uuid.as_u128()),
        Change::Remove { instance, reason, .. } => {
            format!("remove {}: {reason}", instance.uuid.as_u128())
        }
    }
}
