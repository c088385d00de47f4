//! What the words of lower layers look like in a schema: those layers know nothing of schemas.

use utoipa::ToSchema;
use uuid::Uuid;

/// The stage of an instance's life.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "its schema is all that is needed")]
pub(crate) enum State {
    Starting,
    Ready,
    Draining,
}

/// The nearness of an endpoint.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "its schema is all that is needed")]
pub(crate) enum Locality {
    InProcess,
    UnixSocket,
    Loopback,
    ThisHost,
    SameSubnet,
    Remote,
}

/// The state of a registrar.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its schema is all that is needed")]
pub(crate) struct Status {
    /// The registrar, drawn when it starts.
    registrar: Uuid,
    /// The software and its version.
    agent: String,
    /// The number of its latest change.
    revision: u64,
    /// The time since its start.
    uptime_ms: u64,
    /// The number of its connections.
    sessions: u64,
    /// The number of its instances.
    instances: u64,
    /// The number of callers that wait for a name.
    waiters: u64,
    /// The number of watches.
    watchers: u64,
    /// The number of instances that wait in line for a name; absent if zero.
    in_line: Option<u64>,
    /// Its listeners.
    endpoints: Vec<String>,
    /// The addresses that others use.
    published: Option<Vec<String>>,
    /// How it shares with the other nodes of its cluster; absent if it is alone.
    cluster: Option<serde_json::Value>,
    /// The time within which clients of an earlier run may return; absent once it is over.
    settling_ms: Option<u64>,
}
