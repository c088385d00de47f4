//! How a node serves.

use std::{sync::Arc, time::Duration};

use endpoints::EndpointTable;
use portal::{HANDSHAKE_TIMEOUT, Heartbeat};
use transport::Access;

use crate::{
    ProtocolAdapter, QuotaRules,
    registry::{Limits, NameRules},
};

/// How a node serves.
///
/// ```
/// # use callsign_registrar as callsign;
/// use std::time::Duration;
///
/// use callsign::NodeOptions;
///
/// let options = NodeOptions { settle_time: Duration::ZERO, ..NodeOptions::default() };
/// assert!(options.adapters.is_empty() && options.sessions_max > 0);
/// ```
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The software and its version, for people.
    pub agent: String,
    /// Who may connect to its socket files; where nothing is said, the umask tells.
    pub access: Option<Access>,
    /// How long a peer may take to say who it is.
    pub handshake_timeout: Duration,
    /// How signs of life are asked for. Over TCP, a peer that gives none is cut; over a Unix
    /// socket, what it keeps is marked as suspect until it is heard again.
    pub heartbeat: Heartbeat,
    /// How many connections there may be at once. One owner may have half of them, and some are for
    /// user 0 and the node's own alone, who may have all.
    pub sessions_max: usize,
    /// How long those may take to come back whom a registrar before this one knew. For so long
    /// after its begin the node says that it does not know all yet. It is zero for one that nobody
    /// can have known.
    pub settle_time: Duration,
    /// How long connections have to end when the node stops.
    pub drain_timeout: Duration,
    /// How much the registry takes in.
    pub limits: Limits,
    /// How much of it one owner may use.
    pub quotas: QuotaRules,
    /// Whose names are.
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
            handshake_timeout: HANDSHAKE_TIMEOUT,
            heartbeat: Heartbeat::default(),
            sessions_max: 4096,
            settle_time: SETTLE_TIME,
            drain_timeout: Duration::from_secs(5),
            limits: Limits::default(),
            quotas: QuotaRules::default(),
            rules: NameRules::default(),
            declared: EndpointTable::default(),
            adapters: Vec::new(),
        }
    }
}

/// How long clients take to come back: they try again after 2 s at most, and some lose another
/// second or two to a connection that was half made.
const SETTLE_TIME: Duration = Duration::from_secs(5);
