//! The trees of supervised actors.

use std::collections::BTreeMap;

use endpoints::Endpoint;
use serde::Serialize;
use uuid::Uuid;
use wire::{
    Record, State,
    supervised::{KIND_KEY, PARENT_KEY, PATH_KEY, PID_KEY},
};

#[cfg(feature = "http")]
use super::schema;

/// An actor, and those that it supervises.
#[derive(Debug)]
pub struct Supervised<'a> {
    /// The actor's record.
    pub record: &'a Record,
    /// The actors below it.
    pub children: Vec<Self>,
}

/// Arranges actors below their parents. An actor without its parent is a root.
pub fn forest(records: &[Record]) -> Vec<Supervised<'_>> {
    let supervised: BTreeMap<Uuid, &Record> = records
        .iter()
        .filter(|it| it.metadata.contains_key(PATH_KEY))
        .map(|it| (it.uuid, it))
        .collect();
    let parent = |it: &Record| {
        let uuid = it.metadata.get(PARENT_KEY)?.parse().ok()?;
        // An actor that claims to be its own parent has none.
        (uuid != it.uuid && supervised.contains_key(&uuid)).then_some(uuid)
    };
    let mut below: BTreeMap<Option<Uuid>, Vec<&Record>> = BTreeMap::new();
    for record in supervised.values() {
        below.entry(parent(record)).or_default().push(record);
    }
    grow(&mut below, None)
}

/// Takes the actors below a parent. Each is taken once, so a circle of parents does not loop.
fn grow<'a>(
    below: &mut BTreeMap<Option<Uuid>, Vec<&'a Record>>,
    parent: Option<Uuid>,
) -> Vec<Supervised<'a>> {
    let mut records = below.remove(&parent).unwrap_or_default();
    records.sort_by(|one, other| (&one.name, one.epoch).cmp(&(&other.name, other.epoch)));
    let node = |record: &'a Record| Supervised { record, children: grow(below, Some(record.uuid)) };
    records.into_iter().map(node).collect()
}

/// A supervised actor, and those that it supervises.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = SupervisedActor))]
pub struct SupervisedJson<'a> {
    /// The actor's name.
    name: &'a str,
    /// The instance.
    uuid: Uuid,
    /// Its path in the tree.
    #[cfg_attr(feature = "http", schema(required))]
    path: Option<&'a str>,
    /// The way in which it runs: `root`, `task`, `thread`, `process`, `forkserver`.
    #[cfg_attr(feature = "http", schema(required))]
    kind: Option<&'a str>,
    /// Its process id, as that process sees it.
    #[cfg_attr(feature = "http", schema(required))]
    pid: Option<u32>,
    /// The stage of its life.
    #[cfg_attr(feature = "http", schema(value_type = schema::State))]
    state: State,
    /// The time since its registration.
    age_ms: u64,
    /// Its endpoints.
    #[cfg_attr(feature = "http", schema(value_type = Vec<String>))]
    endpoints: Vec<&'a Endpoint>,
    /// The same in the spelling of the multiaddr standard.
    endpoints_encoded: Vec<String>,
    /// The actors that it supervises.
    #[cfg_attr(feature = "http", schema(no_recursion))]
    children: Vec<Self>,
}

impl<'a> Supervised<'a> {
    /// Describes it, with all below it.
    pub fn to_json(&self, now_ms: u64) -> SupervisedJson<'a> {
        let Record { name, uuid, metadata, state, since_ms, endpoints, .. } = self.record;
        SupervisedJson {
            name: name.as_str(),
            uuid: *uuid,
            path: metadata.get(PATH_KEY).map(String::as_str),
            kind: metadata.get(KIND_KEY).map(String::as_str),
            pid: metadata.get(PID_KEY).and_then(|it| it.parse().ok()),
            state: *state,
            age_ms: now_ms.saturating_sub(*since_ms),
            endpoints: endpoints.iter().map(|it| &it.endpoint).collect(),
            endpoints_encoded: endpoints.iter().map(|it| it.endpoint.to_encoded()).collect(),
            children: self.children.iter().map(|it| it.to_json(now_ms)).collect(),
        }
    }
}
