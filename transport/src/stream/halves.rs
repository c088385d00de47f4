//! The two halves of a stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{tcp, unix},
};

use super::{Kind, Stream};
use crate::tls::TlsStream;

/// The half of a [`Stream`] that reads.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::Stream;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let (near, mut far) = Stream::pair();
/// let (mut reading, _writing) = near.into_split();
/// far.write_all(b"hello").await?;
/// let mut heard = [0; 5];
/// reading.read_exact(&mut heard).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadHalf {
    kind: Reading,
    /// Bytes that were read and put back.
    unread: Bytes,
}

/// The half of a [`Stream`] that writes. When it is dropped, the peer reads the end.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::Stream;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let (near, mut far) = Stream::pair();
/// let (_reading, mut writing) = near.into_split();
/// writing.write_all(b"hello").await?;
/// drop(writing);
/// let mut heard = String::new();
/// far.read_to_string(&mut heard).await?;
/// assert_eq!(heard, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WriteHalf(Writing);

#[derive(Debug)]
enum Reading {
    Unix(unix::OwnedReadHalf),
    Tcp(tcp::OwnedReadHalf),
    Memory(tokio::io::ReadHalf<DuplexStream>),
    Tls(tokio::io::ReadHalf<Box<TlsStream>>),
}

#[derive(Debug)]
enum Writing {
    Unix(unix::OwnedWriteHalf),
    Tcp(tcp::OwnedWriteHalf),
    Memory(tokio::io::WriteHalf<DuplexStream>),
    Tls(tokio::io::WriteHalf<Box<TlsStream>>),
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // These streams belong to both halves, and would not end before the other is gone.
        let mut cx = Context::from_waker(Waker::noop());
        let _told = match &mut self.0 {
            Writing::Memory(memory) => Pin::new(memory).poll_shutdown(&mut cx),
            Writing::Tls(tls) => Pin::new(tls).poll_shutdown(&mut cx),
            Writing::Unix(_) | Writing::Tcp(_) => return,
        };
    }
}

pub(super) fn split(stream: Stream) -> (ReadHalf, WriteHalf) {
    let (reading, writing) = match stream.kind {
        Kind::Unix(unix) => {
            let (reading, writing) = unix.into_split();
            (Reading::Unix(reading), Writing::Unix(writing))
        }
        Kind::Tcp(tcp) => {
            let (reading, writing) = tcp.into_split();
            (Reading::Tcp(reading), Writing::Tcp(writing))
        }
        Kind::Memory(memory) => {
            let (reading, writing) = tokio::io::split(memory);
            (Reading::Memory(reading), Writing::Memory(writing))
        }
        Kind::Tls(tls) => {
            let (reading, writing) = tokio::io::split(tls);
            (Reading::Tls(reading), Writing::Tls(writing))
        }
    };
    (ReadHalf { kind: reading, unread: stream.unread }, WriteHalf(writing))
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let half = self.get_mut();
        if read_again(&mut half.unread, buffer) {
            return Poll::Ready(Ok(()));
        }
        forward!(&mut half.kind, Reading, inner => Pin::new(inner).poll_read(cx, buffer))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(&mut self.get_mut().0, Writing, inner => Pin::new(inner).poll_write(cx, bytes))
    }

    forward_writes!(0, Writing);
}

/// Reads bytes that were put back, if there are any, and tells whether there were.
pub(super) fn read_again(unread: &mut Bytes, buffer: &mut ReadBuf<'_>) -> bool {
    if unread.is_empty() {
        return false;
    }
    let length = unread.len().min(buffer.remaining());
    buffer.put_slice(&unread.split_to(length));
    true
}
