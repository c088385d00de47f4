//! The first bytes of a new connection, each way.
//!
//! The runtime learns at its next turn that a new socket has room, or something to read. But room there
//! is, and a peer that speaks first has mostly spoken by the time it is accepted. So the first use of
//! each way asks the socket itself, and only then the runtime: a handshake over a Unix socket needs
//! a turn less at either end.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use rustix::{
    io::Errno,
    net::{self, RecvFlags},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Kind, Stream, halves::read_again};

/// The ways of a connection that the runtime may not know to be ready, though they may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Untried {
    reads: bool,
    writes: bool,
}

impl Untried {
    /// Returns those of a new connection: whoever dialed it has nothing to read yet.
    pub(super) fn of(kind: &Kind) -> Self {
        Self { reads: false, writes: matches!(kind, Kind::Unix(_) | Kind::Tcp(_)) }
    }
}

impl Stream {
    /// Tells that the peer dialed, and may have spoken.
    pub(crate) fn accepted(mut self) -> Self {
        self.untried.reads = self.untried.writes;
        self
    }

    /// Reads what has come, if anything has.
    fn read_at_once(&self, buffer: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        let room = buffer.initialize_unfilled_to(buffer.remaining().min(FIRST_BYTES));
        match net::recv(self.fd()?, room, RecvFlags::DONTWAIT) {
            Ok((read, _)) => {
                buffer.advance(read);
                Some(Ok(()))
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if read_again(&mut stream.unread, buffer) {
            return Poll::Ready(Ok(()));
        }
        if mem::take(&mut stream.untried.reads)
            && let Some(read) = stream.read_at_once(buffer)
        {
            return Poll::Ready(read);
        }
        forward!(&mut stream.kind, Kind, inner => Pin::new(inner).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if mem::take(&mut stream.untried.writes) {
            match stream.write_at_once(bytes) {
                Err(error) if is_passing(&error) => {}
                written => return Poll::Ready(written),
            }
        }
        forward!(&mut stream.kind, Kind, inner => Pin::new(inner).poll_write(cx, bytes))
    }

    forward_writes!(kind, Kind);
}

/// The most that is read at once: first words are short, and the room for them is cleared.
const FIRST_BYTES: usize = 1024;

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{Listener, dial};

    /// Polls once, without a runtime that would be woken.
    fn at_once<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>) -> Option<T> {
        match poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done.unwrap()),
            Poll::Pending => None,
        }
    }

    fn write_at_once(stream: &mut Stream, bytes: &[u8]) -> Option<usize> {
        at_once(|cx| Pin::new(stream).poll_write(cx, bytes))
    }

    fn read_at_once(stream: &mut Stream) -> Option<Vec<u8>> {
        let mut bytes = [0; 16];
        let mut buffer = ReadBuf::new(&mut bytes);
        at_once(|cx| Pin::new(stream).poll_read(cx, &mut buffer))?;
        Some(buffer.filled().to_vec())
    }

    async fn ends(place: &str) -> (Stream, Stream) {
        let listener = Listener::bind(&place.parse().unwrap()).await.unwrap();
        let (near, far) = tokio::join!(dial(listener.bound()), listener.accept());
        (near.unwrap(), far.unwrap())
    }

    #[tokio::test]
    async fn the_first_bytes_wait_for_no_turn_of_the_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let path = format!("/unix{}/feed.sock", folder.path().display());
        for place in [&*path, "/ip4/127.0.0.1/tcp/0"] {
            let (mut near, mut far) = ends(place).await;
            assert_eq!(write_at_once(&mut near, b"hello"), Some(5));
            assert_eq!(read_at_once(&mut far).unwrap(), b"hello");
            assert_eq!(write_at_once(&mut far, b"well"), Some(4));

            // Both ways continue as usual.
            let mut heard = [0; 4];
            near.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"well");
            near.write_all(b"more").await.unwrap();
            drop(near);
            let mut rest = String::new();
            far.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "more");
        }
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_yet_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = format!("/unix{}/feed.sock", folder.path().display());
        for place in [&*path, "/ip4/127.0.0.1/tcp/0"] {
            let (mut near, mut far) = ends(place).await;
            assert_eq!(read_at_once(&mut far), None);
            near.write_all(b"late").await.unwrap();
            let mut heard = [0; 4];
            far.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"late");
        }
    }
}
