//! The candidates of a name, in the order of dialing.

use std::time::Duration;

use discovery::{Explanation, Outcome};
use endpoints::{Endpoint, Locality};
use portal::WithCauses;
use serde::Serialize;
use uuid::Uuid;
use wire::{Epoch, Owner, Record, State};

#[cfg(feature = "http")]
use super::schema;
use super::{LeftOutJson, LifetimeJson, SuspicionJson};

/// The source of records.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub enum Source {
    /// A registrar.
    Registrar,
    /// A settings file, because no registrar answers.
    Table,
    /// DNS, which was asked for a `/dnsaddr/…`.
    Dns,
}

/// An endpoint of an instance, and its description.
#[derive(Debug)]
pub struct Row<'a> {
    /// The order in which it would be dialed, from 1; `None` if it is left out.
    pub rank: Option<usize>,
    /// The registration and the instance; a table knows neither.
    pub instance: Option<(Uuid, Epoch)>,
    /// The instance's record.
    pub record: &'a Record,
    /// The endpoint.
    pub endpoint: &'a Endpoint,
    /// Its locality, or why it is left out.
    pub verdict: Result<Locality, LeftOutJson>,
    /// Whether its registrant has seen the place.
    pub is_verified: bool,
    /// The result of dialing it.
    pub outcome: Option<&'a Outcome>,
}

/// Sorts the judged endpoints, then adds those of instances that are not ready.
///
/// # Panics
///
/// If a candidate is of none of the records in `ready`.
pub fn rows<'a>(
    source: Source,
    explanation: &'a Explanation,
    ready: &'a [Record],
    others: &'a [Record],
) -> Vec<Row<'a>> {
    let instance = |record: &Record| match source {
        Source::Registrar => Some((record.uuid, record.epoch)),
        Source::Table | Source::Dns => None,
    };
    let mut rows = Vec::new();
    for (at, candidate) in explanation.candidates.iter().enumerate() {
        let is_of_candidate = |it: &&Record| it.uuid == candidate.instance.uuid;
        let record = ready.iter().find(is_of_candidate).expect("the candidates are theirs");
        rows.push(Row {
            rank: candidate.verdict.is_ok().then_some(at + 1),
            instance: instance(record),
            record,
            endpoint: &candidate.stamped.endpoint,
            verdict: candidate.verdict.clone().map_err(|it| LeftOutJson::of(&it)),
            is_verified: candidate.stamped.is_verified(),
            outcome: Some(&candidate.outcome),
        });
    }
    for record in others {
        rows.extend(record.endpoints.iter().map(|stamped| Row {
            rank: None,
            instance: instance(record),
            record,
            endpoint: &stamped.endpoint,
            verdict: Err(LeftOutJson::of_state(record.state)),
            is_verified: stamped.is_verified(),
            outcome: None,
        }));
    }
    rows
}

impl Row<'_> {
    fn to_json(&self) -> CandidateJson<'_> {
        let dial = |took: &Duration, assurance, error| DialJson {
            took_us: took.as_micros() as u64,
            assurance,
            error,
        };
        CandidateJson {
            rank: self.rank,
            endpoint: self.endpoint,
            encoded: self.endpoint.to_encoded(),
            locality: self.verdict.as_ref().ok().copied(),
            left_out: self.verdict.as_ref().err(),
            uuid: self.instance.map(|(uuid, _)| uuid),
            epoch: self.instance.map(|(_, epoch)| epoch),
            state: self.record.state,
            lifetime: LifetimeJson::of(self.record.lifetime),
            suspicion: self.record.suspicion.map(SuspicionJson::of),
            proves: self.record.proves,
            verified: self.is_verified,
            owner: self.record.owner.as_ref(),
            dial: match self.outcome {
                Some(Outcome::Connected { took, assurance }) => {
                    Some(dial(took, Some(assurance.to_string()), None))
                }
                Some(Outcome::Failed { error, took }) => {
                    Some(dial(took, None, Some(WithCauses(error).to_string())))
                }
                _ => None,
            },
        }
    }
}

/// The candidates of a name.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = Resolved))]
pub struct ResolvedJson<'a> {
    /// The name that was looked up.
    name: &'a str,
    source: Source,
    /// The endpoints, in the order of dialing; those that are left out come last.
    candidates: Vec<CandidateJson<'a>>,
}

impl<'a> ResolvedJson<'a> {
    /// Describes them.
    pub fn of(name: &'a str, source: Source, rows: &'a [Row<'a>]) -> Self {
        Self { name, source, candidates: rows.iter().map(Row::to_json).collect() }
    }
}

/// An endpoint of an instance.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = Candidate))]
struct CandidateJson<'a> {
    /// Its place in the order of dialing, from 1; `null` if it is left out.
    #[cfg_attr(feature = "http", schema(required))]
    rank: Option<usize>,
    /// The multiaddr.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    endpoint: &'a Endpoint,
    /// The same in the spelling of the multiaddr standard.
    encoded: String,
    /// Its nearness; `null` if it is left out.
    #[cfg_attr(feature = "http", schema(required, value_type = Option<schema::Locality>))]
    locality: Option<Locality>,
    /// The reason why it is not dialed.
    #[cfg_attr(feature = "http", schema(required))]
    left_out: Option<&'a LeftOutJson>,
    /// The instance.
    #[cfg_attr(feature = "http", schema(required))]
    uuid: Option<Uuid>,
    /// The number of its registration.
    #[cfg_attr(feature = "http", schema(required))]
    epoch: Option<Epoch>,
    /// The stage of its life.
    #[cfg_attr(feature = "http", schema(value_type = schema::State))]
    state: State,
    /// Unsettled evidence against it.
    #[cfg_attr(feature = "http", schema(required))]
    suspicion: Option<SuspicionJson>,
    lifetime: LifetimeJson,
    /// Whether it proves who it is.
    proves: bool,
    /// Whether the registrant has seen the place.
    verified: bool,
    /// The registrant.
    #[cfg_attr(feature = "http", schema(required, value_type = Option<String>))]
    owner: Option<&'a Owner>,
    /// The result of dialing it, if it was.
    #[cfg_attr(feature = "http", schema(required))]
    dial: Option<DialJson>,
}

/// The result of dialing an endpoint.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = Dial))]
struct DialJson {
    /// The duration.
    took_us: u64,
    /// How certain its identity is: `proved`, `claimed`, `unproved`.
    #[cfg_attr(feature = "http", schema(required))]
    assurance: Option<String>,
    /// The reason why it did not answer.
    #[cfg_attr(feature = "http", schema(required))]
    error: Option<String>,
}
