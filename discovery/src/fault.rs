//! Which registrar did not answer, and why.

use std::{fmt, sync::Arc, time::Duration};

use endpoints::{Endpoint, ParseEndpointError};
use portal::{Closed, HandshakeError};
use thiserror::Error;
use transport::DialError;
use wire::{RemoteError, WireError};

/// A registrar that gave no answer, and why.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Where the registrar was looked for.
    pub registrar: Endpoint,
    /// What happened.
    pub error: Arc<LinkError>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.registrar, Chain(&*self.error))
    }
}

/// The registrars that gave no answer. It prints one a line, each indented by two spaces.
#[derive(Clone, Debug, Default)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "  " } else { "\n  " })?;
            fault.fmt(f)?;
        }
        Ok(())
    }
}

/// Why a registrar gave no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It could not be dialed.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The conversation did not begin.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Something else listens there.
    #[error("something else than a registrar listens there{}", said_by(.agent))]
    NotARegistrar {
        /// What it says of its software.
        agent: String,
    },
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// The connection ended.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// It stopped telling of changes, without a reason.
    #[error("it ended the watch")]
    Ended,
    /// It answered with an error.
    #[error("it refused: {0}")]
    Refused(RemoteError),
    /// What it was asked is too long to be sent.
    #[error("what it is asked is too long to be sent")]
    TooLong(#[source] WireError),
    /// Its answer is not what was expected.
    #[error("its answer cannot be read")]
    Unreadable(#[source] WireError),
    /// No attempt to reach it has come to an end yet.
    #[error("it has not answered yet")]
    NotYet,
    /// This side has closed its client.
    #[error("this client is closed")]
    ClientClosed,
}

/// Why a client could not connect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A registrar's address is none.
    #[error(transparent)]
    Endpoint(#[from] ParseEndpointError),
    /// No registrar was named.
    #[error("no registrar is named")]
    NoRegistrar,
    /// No registrar can be reached.
    #[error("no registrar can be reached:\n{0}")]
    Unreachable(Faults),
}

/// An error and what caused it, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn said_by(agent: &str) -> String {
    if agent.is_empty() { String::new() } else { format!(": {}", agent.escape_debug()) }
}
