//! Sources of records.

use std::{
    error::Error,
    sync::{Arc, Mutex},
};

use endpoints::{EndpointTable, Name};
use thiserror::Error;
use uuid::Uuid;
use wire::Record;

use crate::{Client, LookupError};

/// A source of records: what knows where the instances of a name listen.
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

impl Resolve for Client {
    async fn resolve(&self, name: &Name) -> Result<Vec<Record>, ResolveError> {
        Ok(self.query_ready(name.as_str()).await?.records)
    }
}

/// An endpoint table, for actors that register nowhere. Its records are declared ones, stamped
/// with what this process sees of their endpoints.
#[derive(Clone, Debug, Default)]
pub struct TableSource {
    table: EndpointTable,
    salt: Uuid,
}

impl TableSource {
    /// Takes a table.
    pub fn new(table: EndpointTable) -> Self {
        Self { table, salt: Uuid::new_v4() }
    }
}

impl Resolve for TableSource {
    async fn resolve(&self, name: &Name) -> Result<Vec<Record>, ResolveError> {
        _ = (name, &self.table, self.salt);
        todo!()
    }
}

/// Records in memory, for programs and tests. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    records: Arc<Mutex<Vec<Record>>>,
}

impl MemorySource {
    /// Adds a record; it takes the place of one of the same instance, and is preferred to those
    /// that were there before.
    pub fn insert(&self, record: Record) {
        _ = (record, &self.records);
        todo!()
    }

    /// Removes the record of an instance, and returns it if it was there.
    pub fn remove(&self, uuid: Uuid) -> Option<Record> {
        _ = uuid;
        todo!()
    }
}

impl Resolve for MemorySource {
    async fn resolve(&self, name: &Name) -> Result<Vec<Record>, ResolveError> {
        _ = name;
        todo!()
    }
}

/// Why a source cannot tell where a name is.
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
