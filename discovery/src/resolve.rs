//! Sources of records.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard},
};

use endpoints::{EndpointTable, Name, Stamped};
use thiserror::Error;
use uuid::Uuid;
use wire::{Lifetime, Record, State};

use crate::LookupError;

/// A source of records: what knows where the instances of a name listen.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use endpoints::{Written, parse_endpoints};
/// use callsign::{Resolve, TableSource};
///
/// let table = parse_endpoints([("feed", Written::from("/ip4/192.0.2.7/tcp/5555"))])?;
/// let records = TableSource::new(&table).resolve(&"feed".parse()?).await?;
/// assert_eq!(records.len(), 1);
/// # Ok(())
/// # }
/// ```
pub trait Resolve {
    /// Returns the ready instances of a name, the preferred first; none if there is no such
    /// name.
    ///
    /// # Errors
    ///
    /// [`ResolveError`] when the source cannot tell.
    fn resolve(
        &self,
        name: &Name,
    ) -> impl Future<Output = Result<Vec<Record>, ResolveError>> + Send;
}

/// An endpoint table, for actors that register nowhere. Its records are declared ones, stamped
/// with what this process sees of their endpoints.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use endpoints::{Written, parse_endpoints};
/// use callsign::{Resolve, TableSource};
///
/// let table = parse_endpoints([("feed", Written::from("/ip4/192.0.2.7/tcp/5555"))])?;
/// assert!(TableSource::new(&table).resolve(&"chart".parse()?).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TableSource {
    /// Each actor's endpoints, under its own uuid.
    table: BTreeMap<Name, (Uuid, Vec<endpoints::Endpoint>)>,
}

impl TableSource {
    /// Takes a table.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, endpoints::*}; }
    /// use callsign::TableSource;
    /// use callsign::{Written, parse_endpoints};
    ///
    /// let table = parse_endpoints([("feed", Written::from("/unix/@feed"))])?;
    /// let source = TableSource::new(&table);
    /// # Ok::<(), endpoints::TableErrors>(())
    /// ```
    pub fn new(table: &EndpointTable) -> Self {
        let entry =
            |(name, endpoints): (&Name, &[_])| (name.clone(), (Uuid::new_v4(), endpoints.to_vec()));
        Self { table: table.iter().map(entry).collect() }
    }
}

impl Resolve for TableSource {
    async fn resolve(&self, name: &Name) -> Result<Vec<Record>, ResolveError> {
        let Some((uuid, endpoints)) = self.table.get(name) else { return Ok(Vec::new()) };
        // Stamped each time: a socket may have been bound again since.
        let stamped = |endpoint: &endpoints::Endpoint| Stamped {
            stamp: transport::stamp(endpoint),
            endpoint: endpoint.clone(),
        };
        Ok(vec![Record {
            endpoints: endpoints.iter().map(stamped).collect(),
            lifetime: Lifetime::Declared,
            ..Record::new(name.clone(), *uuid)
        }])
    }
}

/// Records in memory, for programs and tests. Clones share them.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{MemorySource, Resolve};
///
/// let source = MemorySource::default();
/// assert!(source.resolve(&"feed".parse()?).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    /// The preferred last.
    records: Arc<Mutex<Vec<Record>>>,
}

impl MemorySource {
    /// Adds a record; it replaces one of the same instance, and is preferred to earlier ones.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, wire::*}; }
    /// use callsign::MemorySource;
    ///
    /// fn know_all(source: &MemorySource, records: Vec<callsign::Record>) {
    ///     records.into_iter().for_each(|it| source.insert(it));
    /// }
    /// ```
    pub fn insert(&self, record: Record) {
        let mut records = self.lock();
        records.retain(|it| it.uuid != record.uuid);
        records.push(record);
    }

    /// Removes the record of an instance, and returns it if there was one.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, wire::*}; }
    /// use callsign::MemorySource;
    ///
    /// /// Knows an instance no more that is no good.
    /// fn forget(source: &MemorySource, record: &callsign::Record) {
    ///     if source.remove(record.uuid).is_some() {
    ///         println!("{} is forgotten", record.instance());
    ///     }
    /// }
    /// ```
    pub fn remove(&self, uuid: Uuid) -> Option<Record> {
        let mut records = self.lock();
        let place = records.iter().position(|it| it.uuid == uuid)?;
        Some(records.remove(place))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().expect("nothing panics while it holds the lock")
    }
}

impl Resolve for MemorySource {
    async fn resolve(&self, name: &Name) -> Result<Vec<Record>, ResolveError> {
        let is_meant = |it: &&Record| it.name == *name && it.state == State::Ready;
        Ok(self.lock().iter().rev().filter(is_meant).cloned().collect())
    }
}

/// Why a source cannot tell where a name is.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::ResolveError;
///
/// let error = ResolveError::Other("the directory is closed".into());
/// assert_eq!(error.to_string(), "the directory is closed");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The registrars were asked in vain.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Another source failed.
    #[error(transparent)]
    Other(Box<dyn Error + Send + Sync>),
}
