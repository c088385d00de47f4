//! A connection to an actor.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use endpoints::{Endpoint, Locality};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use transport::Stream;
use wire::{Hello, Record};

use super::{Assurance, Explanation};
use crate::RegistrarFailure;

/// A connection to an actor. It reads and writes as its stream does.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::{Assurance, Connection};
///
/// fn describe(connection: &Connection) -> String {
///     let proof = if connection.assurance == Assurance::Proved { "proved" } else { "unproved" };
///     format!("{} over {}, {proof}", connection.record.name, connection.endpoint)
/// }
/// ```
#[derive(Debug)]
pub struct Connection {
    /// The bytes.
    pub stream: Stream,
    /// The actor's introduction, if it speaks the protocol.
    pub peer: Option<Hello>,
    /// The instance that was dialed.
    pub record: Record,
    /// The endpoint that answered.
    pub endpoint: Endpoint,
    /// Its locality.
    pub locality: Locality,
    /// How certain it is that this is the right instance.
    pub assurance: Assurance,
    /// Every candidate, and its result.
    pub explanation: Explanation,
    /// The age of the look-up's answer, if no registrar could be reached and a remembered one was
    /// allowed; `None` for a present one.
    pub age: Option<Duration>,
    /// The registrars that did not answer as it was looked up, and are missed: they may know a
    /// nearer instance, or a newer one.
    pub unanswered: Vec<RegistrarFailure>,
}

impl Connection {
    /// Returns only the stream.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(feed: callsign::Connection) -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut reader, _writer) = feed.into_stream().into_split();
    /// tokio::io::copy(&mut reader, &mut tokio::io::sink()).await?;
    /// # Ok(())
    /// # }
    /// ```
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
