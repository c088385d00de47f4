//! The state shared by an adapter's connections.

use std::sync::{Arc, OnceLock};

use endpoints::Endpoint;
use registrar::RegistryHandle;
use tokio::sync::mpsc;
use wire::Record;

use super::{liveness::Order, message::Aid};

/// The endpoints that serve tractor's protocol. It has no authentication: any program that can
/// connect may register any free name.
///
/// ```
/// # use callsign_gateway as callsign;
/// # use registrar::ProtocolAdapter;
/// use callsign::tractor::{Scope, TractorAdapter};
///
/// let elsewhere = "/ip4/10.0.0.7/tcp/1616".parse()?;
/// assert!(!TractorAdapter::new(Scope::Local).serves(&elsewhere));
/// assert!(TractorAdapter::new(Scope::Everywhere).serves(&elsewhere));
/// # Ok::<(), endpoints::ParseEndpointError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// On Unix sockets and the loopback, which only this host reaches.
    Local,
    /// On every endpoint of the node.
    Everywhere,
}

/// The state shared by all connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) scope: Scope,
    own: OnceLock<Arc<Aid>>,
    pub(super) orders: mpsc::Sender<Order>,
}

impl Scope {
    pub(super) fn serves(self, endpoint: &Endpoint) -> bool {
        match endpoint {
            Endpoint::Tcp(tcp) => self == Self::Everywhere || tcp.host.is_loopback(),
            Endpoint::Unix(_) => true,
            Endpoint::Memory(_) => false,
        }
    }
}

impl Shared {
    pub(super) fn new(scope: Scope, orders: mpsc::Sender<Order>) -> Self {
        Self { scope, own: OnceLock::new(), orders }
    }

    /// Returns the registrar's identity.
    pub(super) fn own(&self, registry: &RegistryHandle) -> &Arc<Aid> {
        self.own.get_or_init(|| {
            let record = registry.record(registry.registrar());
            let name = record.map_or_else(|| "registrar".to_owned(), |it| it.name.to_string());
            let aid = Aid::new(name, registry.registrar().to_string(), Some(true));
            Arc::new(Aid { pid: Some(std::process::id().into()), ..aid })
        })
    }

    /// Returns the record of the registrar, with the endpoints at which this adapter is.
    pub(super) fn own_record(&self, registry: &RegistryHandle) -> Option<Record> {
        let mut record = registry.record(registry.registrar())?;
        // An address of a wildcard is served if the wildcard is.
        let bound = registry.status().endpoints;
        record.endpoints.retain(|it| {
            let is_bound = self.scope == Scope::Everywhere || bound.contains(&it.endpoint);
            is_bound && self.scope.serves(&it.endpoint)
        });
        Some(record)
    }
}
