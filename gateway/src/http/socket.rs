//! A connection that one task reads and writes, and another looks at.
//!
//! Why not a `Stream`? A request that waits has to see its peer go, and the end of a stream is told
//! to its reader alone: who has sent more requests meanwhile is not read, and would be waited for
//! after its death.

use std::{
    io,
    pin::Pin,
    sync::Arc,
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
    Unix(Arc<UnixStream>),
    Tcp(Arc<TcpStream>),
}

macro_rules! forward {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket {
            Socket::Unix($inner) => $call,
            Socket::Tcp($inner) => $call,
        }
    };
}

impl Socket {
    /// Waits until the peer is gone, or says that it sends no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is read.
    pub(super) async fn closed(&self) {
        // The runtime tells the end to who waits for urgent bytes, which the kernel is not asked
        // for, and so not each time that there is something to read.
        let closed = forward!(self, it => it.ready(Interest::PRIORITY).await);
        drop(closed);
    }
}

impl TryFrom<Stream> for Socket {
    type Error = Stream;

    fn try_from(stream: Stream) -> Result<Self, Stream> {
        match UnixStream::try_from(stream) {
            Ok(unix) => Ok(Self::Unix(Arc::new(unix))),
            Err(stream) => TcpStream::try_from(stream).map(|it| Self::Tcp(Arc::new(it))),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            forward!(&*self, it => ready!(it.poll_read_ready(cx))?);
            let room = buffer.remaining();
            let mut read = Err(io::ErrorKind::WouldBlock.into());
            // Whoever leaves room has read all there is: that saves the call that would tell it.
            let is_more = forward!(&*self, it => it.try_io(Interest::READABLE, || {
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
        loop {
            forward!(&*self, it => ready!(it.poll_write_ready(cx))?);
            match forward!(&*self, it => it.try_write_vectored(parts)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = forward!(&*self, it => rustix::net::shutdown(it, rustix::net::Shutdown::Write));
        Poll::Ready(shut.map_err(Into::into))
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
        let mut socket = Socket::Unix(Arc::new(near));
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
        let [mut near, mut far] = [near, far].map(|it| Socket::Unix(Arc::new(it)));
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
