//! The specification of a child.

use std::time::Duration;

use bytes::Bytes;
use endpoints::{Endpoint, Name};

use crate::{ActorPath, Call, CallError, Kind, export::Wire};

/// The specification of a child, from which its parent starts and restarts it. Erlang's child spec.
#[derive(Debug)]
pub(crate) struct ChildSpec {
    pub(crate) name: Name,
    pub(crate) path: ActorPath,
    pub(crate) kind: Kind,
    pub(crate) bind: Vec<Endpoint>,
    pub(crate) expose: Vec<String>,
    pub(crate) entry_point: Option<EntryPoint>,
    pub(crate) grace: Duration,
}

/// The function that a child runs.
#[derive(Clone, Debug)]
pub(crate) struct EntryPoint {
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

impl EntryPoint {
    pub(crate) fn of<T: Wire, E: Wire>(call: &Call<T, E>) -> Result<Self, CallError<E>> {
        Ok(Self { path: call.export().path.to_owned(), body: call.body()? })
    }
}
