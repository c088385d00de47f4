//! The keys of the settings, and between what their values may be.

use std::time::Duration;

/// The tables of the file.
pub(crate) const TABLES: &[&str] = &[
    "host",
    "registrar",
    "network",
    "declared",
    "names",
    "quotas",
    "dns",
    "tls",
    "http",
    "cluster",
];

/// The keys of `[cluster]`.
pub(crate) const CLUSTER_KEYS: &[&str] = &[
    "engine",
    "endpoints",
    "prefix",
    "node",
    CLUSTER_LEASE.key,
    "user",
    "password_file",
    "ca",
    "certificate",
    "key",
];

/// etcd counts in seconds, and lets no lease end within two of its elections; and nobody waits longer
/// than a minute for the dead.
pub(crate) const CLUSTER_LEASE: Limits<Duration> = Limits {
    key: "lease",
    min: Duration::from_secs(2),
    default: Duration::from_secs(3),
    max: Duration::from_secs(60),
};

/// The keys of `[tls]`.
pub(crate) const TLS_KEYS: &[&str] = &["ca", "certificate", "key"];

pub(crate) const REGISTRAR_KEYS: &[&str] = &[
    "listen",
    "insecure",
    SOCKET_MODE,
    SOCKET_GROUP,
    "handshake_timeout",
    "heartbeat",
    "heartbeat_misses",
    "sessions_max",
    "settle_time",
    "drain_timeout",
    "tractor",
    "names",
];

/// The keys of `[registrar]` whose values are durations.
pub(crate) const DURATION_KEYS: &[&str] =
    &[HANDSHAKE_TIMEOUT.key, HEARTBEAT.key, SETTLE_TIME.key, DRAIN_TIMEOUT.key];

/// The keys of `[registrar]` whose values are numbers.
pub(crate) const NUMBER_KEYS: &[&str] = &[HEARTBEAT_MISSES.key, SESSIONS_MAX.key];

/// The keys that set who may connect to socket files.
pub(crate) const SOCKET_MODE: &str = "socket_mode";
pub(crate) const SOCKET_GROUP: &str = "socket_group";

/// The bounds of a setting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Limits<T> {
    /// The key of the setting in `[registrar]`.
    pub(crate) key: &'static str,
    /// The least that it may be.
    pub(crate) min: T,
    /// The default.
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

/// A silent peer is given up after three heartbeats, so its watchers hear of it within three
/// seconds. Below ten milliseconds a busy host misses its own beats; above an hour nobody waits for
/// one.
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

/// The name of the table for user 0 and the registrar's own user.
pub(crate) const TRUSTED: &str = "trusted";

/// The bounds of each counted quota. Every owner needs a session; no more than a thousand looks
/// wait in total; and one processor serves all.
pub(crate) const COUNTS: [Limits<usize>; 6] = [
    Limits { key: "sessions", min: 1, default: 2048, max: 1_000_000 },
    Limits { key: "instances", min: 0, default: 100_000, max: 4_000_000 },
    Limits { key: "waits", min: 0, default: 20_000, max: 10_000_000 },
    Limits { key: "watches", min: 0, default: 5000, max: 10_000_000 },
    Limits { key: "looks", min: 0, default: 256, max: 1024 },
    Limits { key: "cpu", min: 1, default: 100, max: 100 },
];

pub(crate) const QUOTA_KEYS: &[&str] =
    &["sessions", "instances", "waits", "watches", "looks", "cpu", "bytes"];
