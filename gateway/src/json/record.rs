//! Records.

use std::collections::BTreeMap;

use endpoints::{Endpoint, Locality, Name, Ranked, Stamp, Stamped, Unreachable};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use wire::{Lifetime, Owner, Record, State, Suspicion};

#[cfg(feature = "http")]
use super::schema;

/// A record, and how near its endpoints are.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = Record))]
pub struct RecordJson<'a> {
    /// The actor's name.
    name: &'a str,
    /// The instance: drawn by the actor, different in every run.
    uuid: Uuid,
    /// The number of the registration; a later one is higher.
    epoch: u64,
    /// The stage of its life.
    #[cfg_attr(feature = "http", schema(value_type = schema::State))]
    state: State,
    /// Unsettled evidence against it.
    #[cfg_attr(feature = "http", schema(required))]
    suspicion: Option<SuspicionJson>,
    lifetime: LifetimeJson,
    /// Whether it answers the protocol's handshake, and proves there who it is.
    proves: bool,
    /// The node of the cluster that keeps it; absent if that is the registrar asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    /// The registrant's user id, if it is on this host.
    #[cfg_attr(feature = "http", schema(required))]
    user: Option<u32>,
    /// The registrant.
    #[cfg_attr(feature = "http", schema(required, value_type = Option<String>, example = "user:1000"))]
    owner: Option<&'a Owner>,
    /// For an exclusive name, a number that grows with every change of its holder.
    #[cfg_attr(feature = "http", schema(required))]
    token: Option<u64>,
    /// For an exclusive name, the number of waiters in line.
    waiting: u64,
    /// The time to live of a lease.
    #[cfg_attr(feature = "http", schema(required))]
    ttl_ms: Option<u64>,
    /// The time of registration, in milliseconds since 1970; 0 if unknown.
    since_ms: u64,
    /// The time since then by the registrar's clock.
    #[cfg_attr(feature = "http", schema(required))]
    age_ms: Option<u64>,
    /// The registrant's metadata.
    metadata: &'a BTreeMap<String, String>,
    /// The endpoint that would be dialed first, if any is within reach.
    #[cfg_attr(feature = "http", schema(required, value_type = Option<String>))]
    nearest: Option<&'a Endpoint>,
    #[cfg_attr(feature = "http", schema(required))]
    nearest_encoded: Option<String>,
    /// The locality of that endpoint.
    #[cfg_attr(feature = "http", schema(required, value_type = Option<schema::Locality>))]
    locality: Option<Locality>,
    /// All endpoints: those within reach first, nearest first.
    endpoints: Vec<EndpointJson<'a>>,
}

impl<'a> RecordJson<'a> {
    /// Describes a record with its judged endpoints, nearest first. `now_ms` is the registrar's
    /// clock, where that is known.
    pub fn of(record: &'a Record, ranked: &[Ranked<&'a Stamped>], now_ms: Option<u64>) -> Self {
        let Record {
            name,
            uuid,
            epoch,
            metadata,
            state,
            lifetime,
            since_ms,
            suspicion,
            proves,
            owner,
            token,
            waiting,
            node,
            ..
        } = record;
        let first = ranked.first();
        let nearest =
            first.and_then(|it| Some((&it.stamped.endpoint, it.verdict.as_ref().ok().copied()?)));
        Self {
            name: name.as_str(),
            uuid: *uuid,
            epoch: *epoch,
            state: *state,
            suspicion: suspicion.map(SuspicionJson::of),
            lifetime: LifetimeJson::of(*lifetime),
            proves: *proves,
            node: node.as_ref().map(Name::as_str),
            user: record.user(),
            owner: owner.as_ref(),
            token: *token,
            waiting: *waiting,
            ttl_ms: lifetime.ttl_ms(),
            since_ms: *since_ms,
            age_ms: now_ms.and_then(|now_ms| age_ms(record, now_ms)),
            metadata,
            nearest: nearest.map(|(endpoint, _)| endpoint),
            nearest_encoded: nearest.map(|(endpoint, _)| endpoint.to_encoded()),
            locality: nearest.map(|(_, locality)| locality),
            endpoints: ranked.iter().map(EndpointJson::of).collect(),
        }
    }
}

/// Returns the age of an entry by the registrar's clock, if the registrar has sent its beginning.
pub fn age_ms(record: &Record, now_ms: u64) -> Option<u64> {
    (record.since_ms > 0).then(|| now_ms.saturating_sub(record.since_ms))
}

/// Unsettled evidence against an instance.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = Suspicion))]
pub struct SuspicionJson {
    /// The number of reports that it does not answer.
    reports: u32,
    /// Whether its process gives no sign of life.
    silent: bool,
    /// Whether the registrar is cut off from the node of the cluster that keeps it.
    cut_off: bool,
    /// The time of the first evidence, in milliseconds since 1970.
    since_ms: u64,
}

impl SuspicionJson {
    /// Describes it.
    pub fn of(suspicion: Suspicion) -> Self {
        let Suspicion { reports, since_ms, silent, cut_off } = suspicion;
        Self { reports, silent, cut_off, since_ms }
    }
}

/// The reason why an instance is in the registry, as one word.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = Lifetime))]
#[expect(missing_docs, reason = "each is its name")]
pub enum LifetimeJson {
    Session,
    Lease,
    Declared,
    Foreign,
    Unknown,
}

impl LifetimeJson {
    /// Describes it.
    pub fn of(lifetime: Lifetime) -> Self {
        match lifetime {
            Lifetime::Session => Self::Session,
            Lifetime::Lease { .. } => Self::Lease,
            Lifetime::Declared => Self::Declared,
            Lifetime::Foreign => Self::Foreign,
            Lifetime::Unknown => Self::Unknown,
        }
    }
}

/// An endpoint of a record.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = Endpoint))]
struct EndpointJson<'a> {
    /// The multiaddr.
    #[cfg_attr(feature = "http", schema(value_type = String, example = "/unix/run/feed.sock"))]
    endpoint: &'a Endpoint,
    /// The same in the spelling of the multiaddr standard.
    encoded: String,
    /// Its nearness; `null` if it is left out.
    #[cfg_attr(feature = "http", schema(required, value_type = Option<schema::Locality>))]
    locality: Option<Locality>,
    /// The reason why it is not dialed.
    #[cfg_attr(feature = "http", schema(required))]
    left_out: Option<LeftOutJson>,
    /// Whether the registrant has seen the place.
    verified: bool,
    /// The registrant's stamp, without its unknown parts.
    #[cfg_attr(feature = "http", schema(value_type = std::collections::BTreeMap<String, serde_json::Value>))]
    stamp: Stamp,
}

impl<'a> EndpointJson<'a> {
    fn of(candidate: &Ranked<&'a Stamped>) -> Self {
        Self {
            endpoint: &candidate.stamped.endpoint,
            encoded: candidate.stamped.endpoint.to_encoded(),
            locality: candidate.verdict.as_ref().ok().copied(),
            left_out: candidate.verdict.as_ref().err().map(LeftOutJson::of),
            verified: candidate.stamped.is_verified(),
            stamp: candidate.stamped.stamp,
        }
    }
}

/// Why an endpoint is left out.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = LeftOut))]
pub struct LeftOutJson {
    /// A word for programs.
    pub kind: String,
    /// A sentence for people.
    pub message: String,
}

impl LeftOutJson {
    /// Describes a verdict.
    pub fn of(unreachable: &Unreachable) -> Self {
        Self { kind: kind_of(unreachable), message: unreachable.to_string() }
    }

    /// Says that an instance is not in a state to be dialed.
    pub fn of_state(state: State) -> Self {
        Self { kind: state.to_string(), message: format!("it is {state}") }
    }
}

/// Returns the variant's name as on the wire, without its fields.
fn kind_of(unreachable: &Unreachable) -> String {
    match serde_json::to_value(unreachable) {
        Ok(Value::String(kind)) => kind,
        Ok(Value::Object(object)) => object.into_iter().map(|(kind, _)| kind).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_with_fields_has_one_word_too() {
        assert_eq!(kind_of(&Unreachable::OtherZone("eth0".to_owned())), "other-zone");
    }
}
