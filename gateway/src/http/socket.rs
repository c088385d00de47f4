//! A connection that one task reads and writes, and another looks at.
//!
//! Why not a `Stream`? A request that waits has to see its peer go, and the end of a stream is told
//! to its reader alone: who has sent more requests meanwhile is not read, and would be waited for
//! after its death.

use std::{
    future::pending,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};
use transport::Stream;

/// A connection. Clones are the same.
#[derive(Clone, Debug)]
pub(super) enum Socket {
    Plain(Plain),
    /// One with TLS. Its lock is held by whoever reads or writes, who waits for nothing meanwhile.
    Tls(Arc<Mutex<Stream>>),
}

/// A connection without TLS.
#[derive(Clone, Debug)]
pub(super) enum Plain {
    Unix(Arc<UnixStream>),
    Tcp(Arc<TcpStream>),
}

/// By which way somebody asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// A Unix socket.
    Unix,
    /// A port of the loopback.
    Port,
    /// A port with TLS: a known authority has signed the certificate of whoever asks.
    Tls,
}

impl Socket {
    /// Waits until the peer is gone, or says that it sends no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is read.
    pub(super) async fn closed(&self) {
        match self {
            Self::Plain(socket) => socket.closed().await,
            Self::Tls(stream) => closed(stream).await,
        }
    }

    /// Returns by which way its peer asks.
    pub(super) fn way(&self) -> Way {
        match self {
            Self::Plain(Plain::Unix(_)) => Way::Unix,
            Self::Plain(Plain::Tcp(_)) => Way::Port,
            Self::Tls(_) => Way::Tls,
        }
    }
}

impl TryFrom<Stream> for Socket {
    type Error = Stream;

    fn try_from(stream: Stream) -> Result<Self, Stream> {
        let stream = match UnixStream::try_from(stream) {
            Ok(unix) => return Ok(Self::Plain(Plain::Unix(Arc::new(unix)))),
            Err(stream) => stream,
        };
        match TcpStream::try_from(stream) {
            Ok(tcp) => Ok(Self::Plain(Plain::Tcp(Arc::new(tcp)))),
            // Nothing else has one.
            Err(stream) if stream.channel_binding().is_some() => {
                Ok(Self::Tls(Arc::new(Mutex::new(stream))))
            }
            Err(stream) => Err(stream),
        }
    }
}

/// Waits for the end of a connection with TLS. A descriptor of its own sees it, for as long as
/// somebody waits: the stream cannot be lent out for so long.
async fn closed(stream: &Mutex<Stream>) {
    let again = || {
        let fd = lock(stream).fd().ok_or(io::ErrorKind::NotConnected)?.try_clone_to_owned()?;
        TcpStream::from_std(fd.into())
    };
    match again() {
        Ok(again) => drop(again.ready(Interest::PRIORITY).await),
        // There is no descriptor left: a wait has its limit, and a watch its signs of life.
        Err(_) => pending().await,
    }
}

fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    // Whoever panicked has ended the connection.
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

macro_rules! forward {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket {
            Plain::Unix($inner) => $call,
            Plain::Tcp($inner) => $call,
        }
    };
}

impl Plain {
    async fn closed(&self) {
        // The runtime tells the end to who waits for urgent bytes, which the kernel is not asked
        // for, and so not each time that there is something to read.
        let closed = forward!(self, it => it.ready(Interest::PRIORITY).await);
        drop(closed);
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            forward!(self, it => ready!(it.poll_read_ready(cx))?);
            let room = buffer.remaining();
            let mut read = Err(io::ErrorKind::WouldBlock.into());
            // Whoever leaves room has read all there is: that saves the call that would tell it.
            let is_more = forward!(self, it => it.try_io(Interest::READABLE, || {
                read = it.try_read_buf(buffer);
                match &read {
                    Ok(length) if *length == 0 || *length == room => Ok(()),
                    Ok(_) => Err(io::ErrorKind::WouldBlock.into()),
                    Err(error) => Err(error.kind().into()),
                }
            }));
            match (read, is_more) {
                (Ok(_), _) => return Poll::Ready(Ok(())),
                (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => {}
                (Err(error), _) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            forward!(self, it => ready!(it.poll_write_ready(cx))?);
            match forward!(self, it => it.try_write_vectored(parts)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn shut_down(&self) -> io::Result<()> {
        let shut = forward!(self, it => rustix::net::shutdown(it, rustix::net::Shutdown::Write));
        shut.map_err(Into::into)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &*self {
            Self::Plain(socket) => socket.poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut *lock(stream)).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &*self {
            Self::Plain(socket) => socket.poll_write(cx, parts),
            Self::Tls(stream) => Pin::new(&mut *lock(stream)).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &*self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(&mut *lock(stream)).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &*self {
            Self::Plain(socket) => Poll::Ready(socket.shut_down()),
            Self::Tls(stream) => Pin::new(&mut *lock(stream)).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future as _, poll_fn};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_peer_is_seen_to_go_behind_bytes_that_nobody_reads() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut socket = Socket::Plain(Plain::Unix(Arc::new(near)));
        let watched = socket.clone();
        let mut closed = std::pin::pin!(watched.closed());
        far.write_all(b"one two").await.unwrap();
        let mut first = [0; 3];
        socket.read_exact(&mut first).await.unwrap();
        let waits = poll_fn(|cx| Poll::Ready(closed.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "there is only more to read");
        drop(far);
        closed.await;
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert_eq!((&first, &rest[..]), (b"one", &b" two"[..]));
    }

    #[tokio::test]
    async fn what_is_written_arrives_and_ends() {
        let (near, far) = UnixStream::pair().unwrap();
        let [mut near, mut far] = [near, far].map(|it| Socket::Plain(Plain::Unix(Arc::new(it))));
        let sent = vec![7; 1024 * 1024];
        let mut got = Vec::new();
        let write = async {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
        };
        tokio::join!(write, async { far.read_to_end(&mut got).await.unwrap() });
        assert!(got == sent);
    }
}
