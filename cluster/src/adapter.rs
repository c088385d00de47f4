//! The link to a cluster as a part of a node.

use std::{future::ready, sync::Mutex};

use endpoints::Endpoint;
use registrar::{Accepted, ProtocolAdapter, Recognised, RegistryHandle, Serving};
use tonic::transport::ClientTlsConfig;

use crate::{ClusterError, ClusterSettings, link::Link};

/// Lets a node share with the other nodes of its cluster through etcd, for as long as it serves. It
/// serves no connections.
///
/// ```
/// # use callsign_cluster as callsign;
/// use callsign::{ClusterSettings, EtcdAdapter};
///
/// let settings = ClusterSettings::new("rome".parse()?, ["http://127.0.0.1:2379".to_owned()]);
/// let adapter = EtcdAdapter::new(settings)?;
/// # drop(adapter);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EtcdAdapter {
    settings: ClusterSettings,
    tls: Mutex<Option<ClientTlsConfig>>,
}

impl EtcdAdapter {
    /// Takes the settings. etcd need not be there yet.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] says what cannot work.
    pub fn new(settings: ClusterSettings) -> Result<Self, ClusterError> {
        let tls = Mutex::new(settings.checked()?);
        Ok(Self { settings, tls })
    }
}

impl ProtocolAdapter for EtcdAdapter {
    fn serves(&self, _: &Endpoint) -> bool {
        false
    }

    fn recognises(&self, _: &[u8]) -> Recognised {
        Recognised::No
    }

    fn serve(&self, accepted: Accepted) -> Serving {
        drop(accepted);
        Box::pin(ready(()))
    }

    fn run(&self, registry: RegistryHandle) -> Serving {
        let tls = self.tls.lock().expect("nothing panics while it holds the lock").clone();
        let link = Link::new(self.settings.clone(), tls, registry);
        Box::pin(link.run())
    }
}
