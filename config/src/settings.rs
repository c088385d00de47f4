//! The settings as they are meant.

use std::time::Duration;

use endpoints::{Endpoint, EndpointTable, HostId};

use crate::{
    cluster::ClusterSettings,
    dns::DnsSettings,
    http::HttpSettings,
    insecure::RefusedEndpoint,
    keys::{
        DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, HEARTBEAT, HEARTBEAT_MISSES, SESSIONS_MAX, SETTLE_TIME,
    },
    names::{NameRule, Names},
    quotas::QuotaSettings,
    tls::TlsSettings,
    values::SocketGroup,
};

/// The settings of a file, with defaults for what it omits.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// The configured id of this host in stamps; `None` if the kernel's identity is used.
    pub host_id: Option<HostId>,
    /// The settings of a registrar node.
    pub registrar: RegistrarSettings,
    /// The endpoints that each actor binds.
    pub network: EndpointTable,
    /// Actors that never register themselves. The registrar publishes them as they stand.
    pub declared: EndpointTable,
    /// The rules of names.
    pub names: Vec<NameRule>,
    /// The limits of each owner's use of a registrar.
    pub quotas: QuotaSettings,
    /// The DNS server of a registrar.
    pub dns: DnsSettings,
    /// The files of this program's certificate.
    pub tls: Option<TlsSettings>,
    /// The HTTP server of a registrar.
    pub http: HttpSettings,
    /// With whom a registrar shares what it knows.
    pub cluster: Option<ClusterSettings>,
}

/// The settings of a registrar node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistrarSettings {
    /// The registrar's endpoints; if empty, [`default_registrars`](crate::default_registrars).
    pub listen: Vec<Endpoint>,
    /// Those that other hosts can reach without TLS, and those at `/tls` without a certificate.
    pub refused: Vec<RefusedEndpoint>,
    /// Whether it listens beyond the loopback without TLS, and clients talk to it there.
    pub insecure: bool,
    /// The mode of the socket files: a program that may write to one may connect. If absent, the
    /// program that binds them chooses.
    pub socket_mode: Option<u32>,
    /// The group of the socket files; nothing leaves them to that of the process.
    pub socket_group: Option<SocketGroup>,
    /// The time limit for a handshake.
    pub handshake_timeout: Duration,
    /// The interval between heartbeats.
    pub heartbeat: Duration,
    /// The number of missed heartbeats after which a peer is considered gone.
    pub heartbeat_misses: u32,
    /// The most open sessions.
    pub sessions_max: usize,
    /// The time for clients of the previous registrar to return; zero if there was none.
    pub settle_time: Duration,
    /// The time for sessions to end when the node stops; zero ends them immediately.
    pub drain_timeout: Duration,
    /// The endpoints at which tractor programs may use the registrar as theirs.
    pub tractor: Tractor,
    /// The policy for names without a rule.
    pub names: Names,
    /// The place of that policy, file and line; `None` if it is the default.
    pub names_place: Option<String>,
}

/// The endpoints at which programs of the Python project tractor may use a registrar as theirs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tractor {
    /// On Unix sockets and the loopback: their protocol has no authentication, and there it is
    /// not exposed to other hosts.
    #[default]
    Local,
    /// All endpoints of the registrar, on request.
    Everywhere,
    /// Nowhere.
    Nowhere,
}

impl Default for RegistrarSettings {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            refused: Vec::new(),
            insecure: false,
            socket_mode: None,
            socket_group: None,
            handshake_timeout: HANDSHAKE_TIMEOUT.default,
            heartbeat: HEARTBEAT.default,
            heartbeat_misses: HEARTBEAT_MISSES.default,
            sessions_max: SESSIONS_MAX.default,
            settle_time: SETTLE_TIME.default,
            drain_timeout: DRAIN_TIMEOUT.default,
            tractor: Tractor::default(),
            names: Names::default(),
            names_place: None,
        }
    }
}
