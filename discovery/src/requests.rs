//! What is asked of registrars about an instance, or about themselves.

use std::time::Duration;

use endpoints::Endpoint;
use thiserror::Error;
use uuid::Uuid;
use wire::registrar::{Report, Status};

use crate::{Client, Fault, Faults};

impl Client {
    /// Takes an instance out of the registry, whoever registered it.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when no registrar did so.
    pub async fn unregister(&self, uuid: Uuid) -> Result<(), RequestError> {
        _ = uuid;
        todo!()
    }

    /// Renews the lease of an instance, whoever registered it.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when no registrar did so.
    pub async fn renew(&self, uuid: Uuid) -> Result<(), RequestError> {
        _ = uuid;
        todo!()
    }

    /// Reports to the registrars within reach that an endpoint did not answer, and does not wait.
    /// It is evidence, which they examine; it deletes nothing.
    pub fn report(&self, report: &Report) {
        _ = report;
        todo!()
    }

    /// Asks all registrars how they are, in the order given.
    pub async fn status(&self) -> Vec<Registrar> {
        todo!()
    }
}

/// A registrar, and how it is.
#[derive(Clone, Debug)]
pub struct Registrar {
    /// Where it is looked for.
    pub endpoint: Endpoint,
    /// How it is.
    pub standing: Standing,
}

/// How a registrar is.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It answers.
    Up {
        /// What it says.
        status: Box<Status>,
        /// How long the answer took.
        took: Duration,
    },
    /// It is one that another address leads to as well, and is used over that.
    SameAs(Endpoint),
    /// It does not answer.
    Down(Fault),
}

/// Why no registrar did what it was asked to do.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No registrar that answered has such an instance.
    #[error("no registrar has such an instance")]
    NotFound,
    /// A registrar refused, and none did it.
    #[error("no registrar does it:\n{0}")]
    Refused(Faults),
    /// No registrar can be reached.
    #[error("no registrar can be reached:\n{0}")]
    Unreachable(Faults),
}
