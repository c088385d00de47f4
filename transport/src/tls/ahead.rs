//! A socket that is read ahead of rustls.
//!
//! rustls asks for 4 KiB at a time, so that a long record would take five system calls. Here it takes
//! one, into memory that all connections of a thread share, and a connection keeps what is left of that
//! only until rustls asks again: an idle one keeps nothing.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A socket, and what was read of it that nobody has asked for yet.
#[derive(Debug)]
pub(super) struct ReadAhead {
    tcp: TcpStream,
    ahead: Vec<u8>,
    /// How much of that was asked for since.
    taken: usize,
}

impl ReadAhead {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, ahead: Vec::new(), taken: 0 }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.tcp
    }

    /// Takes what was read ahead, and tells whether there was any.
    fn take(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let left = &self.ahead[self.taken..];
        if left.is_empty() {
            return false;
        }
        let length = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..length]);
        self.taken += length;
        if self.taken == self.ahead.len() {
            (self.ahead, self.taken) = (Vec::new(), 0);
        }
        true
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        if buffer.remaining() == 0 || it.take(buffer) {
            return Poll::Ready(Ok(()));
        }
        SHARED.with_borrow_mut(|shared| {
            let mut read = ReadBuf::new(shared);
            ready!(Pin::new(&mut it.tcp).poll_read(cx, &mut read))?;
            let read = read.filled();
            let (asked, ahead) = read.split_at(read.len().min(buffer.remaining()));
            buffer.put_slice(asked);
            if !ahead.is_empty() {
                it.ahead = ahead.to_vec();
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// The most that is read at once: the longest record, with its header and what encryption adds.
const READ_BYTES: usize = 5 + 16 * 1024 + 256;

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn all_bytes_come_in_order_and_an_idle_socket_keeps_none() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut near = ReadAhead::new(near);

        let sent: Vec<_> = (0..READ_BYTES as u32 + 7).flat_map(u32::to_le_bytes).collect();
        far.write_all(&sent[..5]).await.unwrap();
        let mut heard = vec![0; 3];
        near.read_exact(&mut heard).await.unwrap();
        assert_eq!(near.ahead.len() - near.taken, 2);
        heard.resize(5, 0);
        near.read_exact(&mut heard[3..]).await.unwrap();
        assert_eq!(heard, sent[..5]);
        assert_eq!(near.ahead.capacity(), 0);

        let (heard, written) = tokio::join!(
            async {
                let mut heard = Vec::new();
                while heard.len() + 5 < sent.len() {
                    let mut some = [0; 4096];
                    let read = near.read(&mut some).await.unwrap();
                    heard.extend_from_slice(&some[..read]);
                }
                heard
            },
            far.write_all(&sent[5..]),
        );
        written.unwrap();
        assert!(heard == sent[5..]);
        assert_eq!(near.ahead.capacity(), 0);
        drop(far);
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
