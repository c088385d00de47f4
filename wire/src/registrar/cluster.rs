//! How a registrar shares with the other nodes of its cluster.

use endpoints::{Endpoint, Name, Stamped};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::readable;

/// How a registrar shares what it knows with the other nodes of its cluster.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_wire::registrar::*; } }
/// use callsign::registrar::ClusterStatus;
///
/// /// Says how old the registrar's knowledge of other nodes is, if it is old.
/// fn warn(cluster: &ClusterStatus) {
///     if let Some(error) = &cluster.error {
///         println!("cut off for {} ms: {error}", cluster.age_ms);
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ClusterStatus {
    /// What this node is called.
    pub node: Name,
    /// Through what the nodes share: `etcd`.
    pub engine: String,
    /// The member that it is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Why it is cut off, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How old its knowledge of the others is.
    pub age_ms: u64,
    /// How long it took its last beat to come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<u64>,
    /// The time to live of its lease.
    pub lease_ms: u64,
    /// The number of its own records that it has yet to write.
    pub pending: u64,
    /// The number of its own records that it has written.
    pub written: u64,
    /// The number of values of others that it could not use.
    pub faulty: u64,
    /// The other nodes.
    #[serde(default)]
    pub nodes: Vec<ClusterNode>,
}

/// Another node of a cluster.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_wire::registrar::*; } }
/// use callsign::registrar::ClusterNode;
///
/// /// Says how many records a node keeps.
/// fn show(node: &ClusterNode) {
///     println!("{}: {} records", node.name, node.records);
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ClusterNode {
    /// What it is called.
    pub name: Name,
    /// The registrar there, if it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registrar: Option<Uuid>,
    /// Where that is found.
    #[serde(
        default,
        deserialize_with = "readable::endpoints",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub endpoints: Vec<Endpoint>,
    /// The same with their stamps: for the registrar itself, which does not send them.
    #[serde(skip)]
    pub places: Vec<Stamped>,
    /// The number of its records.
    pub records: u64,
    /// The time since its last beat.
    pub heard_ms: u64,
    /// Whether its records are told: it lives.
    pub lives: bool,
}
