//! The settings as they are meant.

use std::time::Duration;

use endpoints::{Endpoint, EndpointTable, HostId};

use crate::{
    keys::{
        DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, HEARTBEAT, HEARTBEAT_MISSES, SESSIONS_MAX, SETTLE_TIME,
    },
    names::{NameRule, Names},
    quotas::QuotaSettings,
    values::SocketGroup,
};

/// What a settings file says, with what it leaves out filled in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// What this host goes by in stamps; nothing where the kernel tells it.
    pub host_id: Option<HostId>,
    /// How a registrar node runs.
    pub registrar: RegistrarSettings,
    /// Where each actor listens, that is, what it binds.
    pub network: EndpointTable,
    /// Actors that never register themselves. The registrar publishes them as they stand.
    pub declared: EndpointTable,
    /// Whose names are.
    pub names: Vec<NameRule>,
    /// How much of a registrar one owner may use.
    pub quotas: QuotaSettings,
}

/// How a registrar node runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistrarSettings {
    /// Where the registrar listens; empty where nothing is said, which means
    /// [`default_registrars`](crate::default_registrars).
    pub listen: Vec<Endpoint>,
    /// The mode of the socket files: whoever may write to one may connect. Where nothing is said,
    /// that is for whoever binds them to choose.
    pub socket_mode: Option<u32>,
    /// The group of the socket files; nothing leaves them to that of the process.
    pub socket_group: Option<SocketGroup>,
    /// How long a peer may take to say who it is.
    pub handshake_timeout: Duration,
    /// How often a peer is asked for a sign of life.
    pub heartbeat: Duration,
    /// How many of those may stay without an answer before the peer is taken for gone.
    pub heartbeat_misses: u32,
    /// How many sessions may be open at once.
    pub sessions_max: usize,
    /// How long those may take to come back whom a registrar before this one knew; zero if there
    /// was none.
    pub settle_time: Duration,
    /// How long sessions may take to end when the node stops; zero ends them at once.
    pub drain_timeout: Duration,
    /// Where programs of the Python project tractor may use the registrar as theirs.
    pub tractor: Tractor,
    /// What holds of names that no rule gives to anybody.
    pub names: Names,
    /// Where that is written, the file and the line; nothing if it is not.
    pub names_place: Option<String>,
}

/// Where programs of the Python project tractor may use a registrar as theirs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tractor {
    /// On Unix sockets and the loopback: their protocol has no authentication, and there it is
    /// not exposed to other hosts.
    #[default]
    Local,
    /// Wherever the registrar listens, because somebody has asked for it.
    Everywhere,
    /// Nowhere.
    Nowhere,
}

impl Default for RegistrarSettings {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
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
