//! Asking all registrars at once.

use endpoints::NameError;
use thiserror::Error;
use wire::Record;

use crate::{Client, Fault, Faults};

impl Client {
    /// Looks up the newest ready instance of a name, without connecting to it. One that is merely
    /// declared comes last.
    ///
    /// # Errors
    ///
    /// [`LookupError`]; a name that is not there is `None`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_actor(&self, name: &str) -> Result<Option<Record>, LookupError> {
        _ = name;
        todo!()
    }

    /// Looks up the ready instances of a name: live ones first, then declared ones, each newest
    /// first.
    ///
    /// # Errors
    ///
    /// [`LookupError`]; a name that is not there brings no records.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_ready(&self, name: &str) -> Result<Found, LookupError> {
        _ = name;
        todo!()
    }

    /// Looks up the instances of a name as [`query_ready`](Self::query_ready) does, with those
    /// that are starting or draining.
    ///
    /// # Errors
    ///
    /// As [`query_ready`](Self::query_ready).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_all(&self, name: &str) -> Result<Found, LookupError> {
        _ = name;
        todo!()
    }

    /// Lists the instances of all names that match a pattern (`*` stands for any run of
    /// characters, `?` for any one), by name, and within a name in the order of
    /// [`query_ready`](Self::query_ready).
    ///
    /// # Errors
    ///
    /// [`LookupError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn list(&self, pattern: &str) -> Result<Found, LookupError> {
        _ = pattern;
        todo!()
    }
}

/// What the registrars that answered know.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The instances, each once.
    pub records: Vec<Record>,
    /// How many there are in all, at the least: a registrar answers with the first 256 of a name.
    pub total: u64,
    /// The registrars' clock, in milliseconds since 1970; the latest of several.
    pub now_ms: u64,
    /// The registrars that did not answer. What only they know is not in this answer.
    pub unanswered: Vec<Fault>,
}

/// Why a lookup has no answer.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// What was asked for is not a name or a pattern.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No registrar gave an answer: whether the name is there is not known.
    #[error("no registrar can be reached:\n{0}")]
    Unreachable(Faults),
}
