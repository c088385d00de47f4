//! Ranking, explaining and racing candidates.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use endpoints::{Endpoint, Here, InstanceId, Locality, Look, Name, Stamped, Unreachable};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use transport::{DialError, Stream};
use wire::{Epoch, Record};

use crate::{Client, Resolve, ResolveError};

impl Client {
    /// Connects to the nearest ready instance of a name; `None` when there is none.
    ///
    /// Candidates that do not answer are reported to the registrars, which look for themselves.
    ///
    /// # Errors
    ///
    /// [`FindError`] when the registrars cannot be reached, or no candidate answers.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future drops all dials in progress.
    pub async fn find_actor(&self, name: &str) -> Result<Option<Connection>, FindError> {
        _ = name;
        todo!()
    }
}

/// Connects to the nearest instance of a name that a source knows; `None` when it knows none.
///
/// # Errors
///
/// [`FindError`] when the source cannot tell, or no candidate answers.
///
/// # Cancel safety
///
/// Cancel safe, as far as the source is.
pub async fn find(
    source: &impl Resolve,
    name: &Name,
    options: &DialOptions,
) -> Result<Option<Connection>, FindError> {
    let records = source.resolve(name).await?;
    if records.is_empty() {
        return Ok(None);
    }
    Ok(Some(connect_nearest(&records, options).await?))
}

/// Dials the endpoints of records, nearest first and within a tier in the order of the records,
/// and returns the first connection made. The next dial begins when one fails, or has taken
/// [a while](DialOptions); the others are dropped when one is made.
///
/// # Errors
///
/// [`NoneAnswered`] when every dial failed, or nothing is within reach.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future drops all dials in progress.
pub async fn connect_nearest(
    records: &[Record],
    options: &DialOptions,
) -> Result<Connection, NoneAnswered> {
    _ = (records, options);
    todo!()
}

/// Judges every endpoint of records as seen from `here`, in the order in which they would be
/// dialed; those that are left out come last.
pub fn explain(records: &[Record], here: &Here, look: &Look<'_>) -> Explanation {
    _ = (records, here, look);
    todo!()
}

/// Dials every candidate within reach, all at once, and closes what it has connected: to tell how
/// each of them does.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future drops all dials in progress.
pub async fn probe(records: &[Record], options: &DialOptions) -> Explanation {
    _ = (records, options);
    todo!()
}

/// How actors are dialed.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// How long one dial may take.
    pub timeout: Duration,
    /// After how long the next candidate is dialed too, when the last one is on this host.
    pub stagger_within_host: Duration,
    /// After how long the next candidate is dialed too, when the last one is beyond this host.
    pub stagger_beyond: Duration,
}

impl Default for DialOptions {
    /// 5 s a dial. The next begins after 10 ms within the host, where a dial takes some 0.1 ms,
    /// and after 250 ms beyond, as RFC 8305 recommends.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            stagger_within_host: Duration::from_millis(10),
            stagger_beyond: Duration::from_millis(250),
        }
    }
}

/// A connection to an actor. It reads and writes as its stream does.
#[derive(Debug)]
pub struct Connection {
    /// The bytes.
    pub stream: Stream,
    /// The instance that was dialed.
    pub record: Record,
    /// Which of its endpoints answered.
    pub endpoint: Endpoint,
    /// How near that is.
    pub locality: Locality,
    /// Every candidate, and what became of it.
    pub explanation: Explanation,
}

impl Connection {
    /// Returns the stream alone.
    pub fn into_stream(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Every candidate, in the order in which they are dialed, and what became of it. It prints one
/// a line, each indented by two spaces.
#[derive(Debug, Default)]
pub struct Explanation {
    /// The candidates; those that are left out come last.
    pub candidates: Vec<Candidate>,
}

/// One endpoint of one instance, and what became of it.
#[derive(Debug)]
pub struct Candidate {
    /// Which instance.
    pub instance: InstanceId,
    /// Which registration of it.
    pub epoch: Epoch,
    /// Where it listens, as its registrant stamped it.
    pub stamped: Stamped,
    /// How near that is, or why it is left out.
    pub verdict: Result<Locality, Unreachable>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a candidate.
#[derive(Debug)]
pub enum Outcome {
    /// It was not dialed.
    NotDialed,
    /// It answered first.
    Connected {
        /// How long the dial took.
        took: Duration,
    },
    /// It did not answer.
    Failed {
        /// Why.
        error: DialError,
        /// How long the dial took.
        took: Duration,
    },
    /// Its dial was given up, because another answered first.
    GivenUp {
        /// How long the dial had taken.
        took: Duration,
    },
}

/// No candidate answered. It prints every one, with the reason.
#[derive(Debug, Error)]
#[error("nothing answered")]
pub struct NoneAnswered {
    /// Every candidate, and why.
    pub explanation: Explanation,
}

/// Why an actor that is there could not be connected to, or could not be looked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FindError {
    /// Whether there is such an actor is not known.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// There is such an actor, and it does not answer.
    #[error(transparent)]
    NoneAnswered(#[from] NoneAnswered),
}
