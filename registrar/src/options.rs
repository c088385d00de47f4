//! Options of a node.

use std::{path::PathBuf, sync::Arc, time::Duration};

use endpoints::EndpointTable;
use portal::{HANDSHAKE_TIMEOUT, Heartbeat};
use transport::Access;

use crate::{
    ProtocolAdapter, QuotaRules,
    registry::{Limits, NameRules},
};

/// Options of a node.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use std::time::Duration;
///
/// use callsign::registrar::NodeOptions;
///
/// let options = NodeOptions { settle_time: Duration::ZERO, ..NodeOptions::default() };
/// assert!(options.adapters.is_empty() && options.sessions_max > 0);
/// ```
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The software and its version, for people.
    pub agent: String,
    /// The access to its socket files; without it, the umask decides.
    pub access: Option<Access>,
    /// Whether it listens beyond the loopback without TLS: then whoever can read the network reads
    /// everything, and changes what it likes.
    pub insecure: bool,
    /// The time limit for a handshake.
    pub handshake_timeout: Duration,
    /// The heartbeat. Over TCP, a silent peer is cut; over a Unix socket, its entries are marked as
    /// suspect until it is heard again.
    pub heartbeat: Heartbeat,
    /// The most connections. One owner may have half of them, and some are reserved for user 0 and
    /// the node's own, who may have all. A session over a socket takes two descriptors: shares and
    /// reserve hold only if the process may open as many.
    pub sessions_max: usize,
    /// The time for clients of the previous registrar to return. For that time after its start, the
    /// node says that it does not know all names yet. Zero if nobody can have known it.
    pub settle_time: Duration,
    /// The file with the holders of exclusive names, by which the next run recognises them. It belongs
    /// to this node alone, in a folder to which only its user can write. Without it, every client is a
    /// newcomer after a restart.
    pub tokens_file: Option<PathBuf>,
    /// The time for connections to end when the node stops.
    pub drain_timeout: Duration,
    /// The limits of the registry.
    pub limits: Limits,
    /// The quotas of owners.
    pub quotas: QuotaRules,
    /// The rules of names.
    pub rules: NameRules,
    /// The actors that never register themselves.
    pub declared: EndpointTable,
    /// The other protocols that are spoken, in the order in which they are recognised.
    pub adapters: Vec<Arc<dyn ProtocolAdapter>>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            agent: concat!("callsign/", env!("CARGO_PKG_VERSION")).to_owned(),
            access: None,
            insecure: false,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            heartbeat: Heartbeat::default(),
            sessions_max: 4096,
            settle_time: SETTLE_TIME,
            tokens_file: None,
            drain_timeout: Duration::from_secs(5),
            limits: Limits::default(),
            quotas: QuotaRules::default(),
            rules: NameRules::default(),
            declared: EndpointTable::default(),
            adapters: Vec::new(),
        }
    }
}

/// The time in which clients return: they dial again after at most 2 s, and some lose another
/// second or two to a half-made connection.
const SETTLE_TIME: Duration = Duration::from_secs(5);
