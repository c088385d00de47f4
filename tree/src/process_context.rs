//! The context that all actors of one process share.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use discovery::{Client, ClientOptions, ConnectError};
use endpoints::{Endpoint, Name};
use tokio::{runtime::Handle, sync::OnceCell};

use crate::{handle::pool::ConnectionPool, messages::SpawnSpec};

/// The state shared by all actors of one process: the registrars, one client of them, and the
/// connections to looked-up actors.
#[derive(Debug)]
pub(crate) struct ProcessContext {
    pub(crate) registrars: Vec<Endpoint>,
    /// Whether they may be beyond the loopback without TLS.
    pub(crate) insecure: bool,
    /// The endpoints of the tree's actors, by name.
    pub(crate) table: BTreeMap<Name, Vec<Endpoint>>,
    /// The destination of a dump if an end takes too long.
    pub(crate) dumps: PathBuf,
    /// The runtime that lasts as long as this: an actor that is a thread has its own, which ends
    /// before.
    runtime: Handle,
    client: OnceCell<Client>,
    pub(crate) pool: Arc<ConnectionPool>,
}

impl ProcessContext {
    pub(crate) fn new(
        (registrars, insecure): (Vec<Endpoint>, bool),
        table: BTreeMap<Name, Vec<Endpoint>>,
        dumps: PathBuf,
    ) -> Self {
        let runtime = Handle::current();
        let pool = Arc::new(ConnectionPool::new(runtime.clone()));
        Self { registrars, insecure, table, dumps, runtime, client: OnceCell::new(), pool }
    }

    /// Makes the context of a process that is an actor.
    pub(crate) fn of(spec: &SpawnSpec) -> Self {
        let registrars = (spec.registrars.clone(), spec.insecure);
        Self::new(registrars, spec.table.clone(), spec.dumps.clone())
    }

    /// Lends an existing client.
    pub(crate) fn lend(&self, client: Client) {
        // Whichever client came first asks the same registrars.
        drop(self.client.set(client));
    }

    /// Returns the client for lookups, and opens it at the first time.
    pub(crate) async fn client(&self) -> Result<&Client, ConnectError> {
        let open = async || {
            let _entered = self.runtime.enter();
            let options = ClientOptions { insecure: self.insecure, ..ClientOptions::default() };
            Client::open(&self.registrars, options)
        };
        self.client.get_or_try_init(open).await
    }
}
