//! The progress of written data, as the kernel reports it.

use std::os::fd::{AsFd, BorrowedFd};

use tokio::{
    io::DuplexStream,
    net::{TcpStream, UnixStream},
};

use crate::{Flow, Stream, linux};

/// A connection whose kernel may report the progress of written data.
pub trait Flows {
    /// Asks the kernel. It answers only for TCP: within a host, nothing is lost in transit.
    fn flow(&self) -> Option<Flow> {
        None
    }
}

impl Flows for Stream {
    fn flow(&self) -> Option<Flow> {
        of_tcp(self.fd().filter(|_| self.tcp_ends().is_some())?)
    }
}

impl Flows for TcpStream {
    fn flow(&self) -> Option<Flow> {
        of_tcp(self.as_fd())
    }
}

impl Flows for UnixStream {}

impl Flows for DuplexStream {}

fn of_tcp(socket: BorrowedFd<'_>) -> Option<Flow> {
    linux::tcp_flow(socket)
        .inspect_err(|error| tracing::debug!(%error, "the kernel does not report the progress of written data"))
        .ok()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn acknowledged_data_differs_from_data_without_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut near = Stream::try_from(near).unwrap();
        let before = near.flow().unwrap();
        assert_eq!((before.outstanding, before.is_in_flight), (0, false));

        near.write_all(b"hello").await.unwrap();
        far.read_exact(&mut [0; 5]).await.unwrap();
        let mut after = near.flow().unwrap();
        while after.outstanding > 0 {
            tokio::task::yield_now().await;
            after = near.flow().unwrap();
        }
        assert_eq!(after.acknowledged, before.acknowledged + 5);

        // It writes until the peer, which does not read, has no room.
        let Some(socket) = near.fd() else { unreachable!() };
        let bytes = [0; 64 * 1024];
        while rustix::io::write(socket, &bytes).is_ok() {}
        loop {
            let full = near.flow().unwrap();
            if !full.is_in_flight {
                assert!(full.outstanding > 0, "{full:?}");
                break;
            }
            tokio::task::yield_now().await;
        }
        let (other, _far) = tokio::io::duplex(1);
        assert_eq!(other.flow(), None);
    }
}
