//! The settings as they are meant, and within what limits.

use std::time::Duration;

use endpoints::{Endpoint, EndpointTable, HostId, Quoted};

use crate::{
    diagnostic::{Diagnostic, Place},
    names::{NameRule, Names},
    quotas::QuotaSettings,
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

/// A group of users, as somebody has named it. Whether there is such a one is known only where the
/// settings are used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SocketGroup {
    /// Its name, or its number.
    pub name: String,
    pub(crate) place: Place,
}

impl SocketGroup {
    /// Returns the fault that there is no such group.
    pub fn unknown(&self) -> Diagnostic {
        let name = Quoted(&self.name);
        let help = "name one that is there (`getent group`), or make it (`groupadd`)";
        Diagnostic::error(format!("there is no group {name}"), self.place.clone())
            .help(help.to_owned())
    }
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

/// The keys of the settings that say who may connect to socket files.
pub(crate) const SOCKET_MODE: &str = "socket_mode";
pub(crate) const SOCKET_GROUP: &str = "socket_group";

/// What a setting may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Limits<T> {
    /// The key of the setting in `[registrar]`.
    pub(crate) key: &'static str,
    /// The least that it may be.
    pub(crate) min: T,
    /// What it is where nothing is said.
    pub(crate) default: T,
    /// The most that it may be.
    pub(crate) max: T,
}

/// A handshake is two small messages. Five seconds outlast a lost packet or two; five minutes
/// would let strangers hold sessions open for nothing.
pub(crate) const HANDSHAKE_TIMEOUT: Limits<Duration> = Limits {
    key: "handshake_timeout",
    min: Duration::from_millis(10),
    default: Duration::from_secs(5),
    max: Duration::from_secs(5 * 60),
};

/// A silent peer is missed after three heartbeats, and so its watchers hear of it within three
/// seconds. Below ten
/// milliseconds a busy host misses beats of its own; beyond an hour nobody waits for one.
pub(crate) const HEARTBEAT: Limits<Duration> = Limits {
    key: "heartbeat",
    min: Duration::from_millis(10),
    default: Duration::from_millis(900),
    max: Duration::from_secs(60 * 60),
};

/// One lost beat may be chance; a hundred are not.
pub(crate) const HEARTBEAT_MISSES: Limits<u32> =
    Limits { key: "heartbeat_misses", min: 1, default: 3, max: 100 };

/// Each session costs a descriptor and some tens of kilobytes of buffers. 4096 of them fit a small
/// machine; a million is more than one process may have files open on most.
pub(crate) const SESSIONS_MAX: Limits<usize> =
    Limits { key: "sessions_max", min: 1, default: 4096, max: 1_000_000 };

/// Clients try again after two seconds at most, and some lose another second or two to a connection
/// that was half made. Nobody believes a registrar that it does not know all yet after a minute.
pub(crate) const SETTLE_TIME: Limits<Duration> = Limits {
    key: "settle_time",
    min: Duration::ZERO,
    default: Duration::from_secs(5),
    max: Duration::from_secs(60),
};

/// Clients need a moment to hear that the node stops. Service managers kill what takes longer
/// than 90 seconds, and an hour is beyond all of them.
pub(crate) const DRAIN_TIMEOUT: Limits<Duration> = Limits {
    key: "drain_timeout",
    min: Duration::ZERO,
    default: Duration::from_secs(5),
    max: Duration::from_secs(60 * 60),
};
