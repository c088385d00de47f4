//! The connection for every transport, and the machine's description of its other end.

/// Calls a method of the transport that a stream has, or a half of one.
macro_rules! forward {
    ($transport:expr, $kind:ident, $inner:ident => $call:expr) => {
        match $transport {
            $kind::Unix($inner) => $call,
            $kind::Tcp($inner) => $call,
            $kind::Memory($inner) => $call,
            $kind::Tls($inner) => $call,
        }
    };
}

/// Writes to the transport that a stream has, or a half of one; all but `poll_write` itself.
macro_rules! forward_writes {
    ($field:tt, $kind:ident) => {
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let transport = &mut self.get_mut().$field;
            forward!(transport, $kind, inner => Pin::new(inner).poll_write_vectored(cx, slices))
        }

        fn is_write_vectored(&self) -> bool {
            forward!(&self.$field, $kind, inner => inner.is_write_vectored())
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let transport = &mut self.get_mut().$field;
            forward!(transport, $kind, inner => Pin::new(inner).poll_flush(cx))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let transport = &mut self.get_mut().$field;
            forward!(transport, $kind, inner => Pin::new(inner).poll_shutdown(cx))
        }
    };
}

mod first;
mod halves;
mod peer;

use std::{
    io, mem,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use endpoints::Host;
use rustix::net::{self, SendFlags, sockopt};
use tokio::{
    io::{AsyncWrite, DuplexStream},
    net::{TcpStream, UnixStream},
};

use self::{first::Untried, peer::canonical};
pub use self::{
    halves::{ReadHalf, WriteHalf},
    peer::{Peer, TcpEnds},
};
use crate::{
    identity,
    linux::PeerProcess,
    tls::{Credentials, TlsStream},
};

/// A connection: a stream of bytes each way.
///
/// TCP sends immediately (`TCP_NODELAY`): writers are expected to write whole batches.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::Stream;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let (mut near, mut far) = Stream::pair();
/// near.write_all(b"hello").await?;
/// let mut heard = [0; 5];
/// far.read_exact(&mut heard).await?;
/// assert_eq!(&heard, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Stream {
    kind: Kind,
    peer: Peer,
    /// Bytes that were read and put back.
    unread: Bytes,
    untried: Untried,
}

#[derive(Debug)]
enum Kind {
    Unix(UnixStream),
    Tcp(TcpStream),
    Memory(DuplexStream),
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Makes two ends of one connection within this process.
    ///
    /// ```
    /// # use transport as callsign;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Stream;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// let (mut near, mut far) = Stream::pair();
    /// near.write_all(b"hello").await?;
    /// let mut heard = [0; 5];
    /// far.read_exact(&mut heard).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pair() -> (Self, Self) {
        let (one, other) = tokio::io::duplex(MEMORY_BUFFER_BYTES);
        let of = |end| Self::new(Kind::Memory(end), Peer::Memory);
        (of(one), of(other))
    }

    /// Returns what the machine says of the other end.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::{Peer, Stream};
    ///
    /// let (near, _far) = Stream::pair();
    /// assert!(matches!(near.peer(), Peer::Memory));
    /// ```
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the socket, for options of the kernel. There is none within a process.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::Stream;
    ///
    /// let (near, _far) = Stream::pair();
    /// assert!(near.fd().is_none(), "the kernel knows nothing of it");
    /// ```
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            Kind::Unix(unix) => Some(unix.as_fd()),
            Kind::Tcp(tcp) => Some(tcp.as_fd()),
            Kind::Tls(tls) => Some(tls.socket()?.as_fd()),
            Kind::Memory(_) => None,
        }
    }

    /// Returns the addresses of both ends, over TCP.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Listener, dial};
    ///
    /// let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
    /// let (near, far) = tokio::join!(dial(listener.bound()), listener.accept());
    /// let (near, far) = (near?, far?);
    /// let ends = far.tcp_ends().ok_or("no TCP")?;
    /// // The ends suffice for this question, wherever the stream is by then.
    /// println!("{:?}", ends.who());
    /// # drop(near);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tcp_ends(&self) -> Option<TcpEnds> {
        let Peer::Tcp(far) = self.peer else { return None };
        let near = match &self.kind {
            Kind::Tcp(tcp) => tcp.local_addr(),
            Kind::Tls(tls) => tls.socket()?.local_addr(),
            Kind::Unix(_) | Kind::Memory(_) => return None,
        };
        Some(TcpEnds { near: near.ok()?, far })
    }

    /// Returns what only the two ends of this connection over TLS know, by which a proof is tied to
    /// it: the exporter of RFC 9266. `None` without TLS, and until its handshake is done.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::Stream;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (near, _far) = Stream::pair();
    /// assert_eq!(near.channel_binding(), None, "it has no TLS");
    /// # }
    /// ```
    pub fn channel_binding(&self) -> Option<[u8; 32]> {
        match &self.kind {
            Kind::Tls(tls) => tls.channel_binding(),
            Kind::Unix(_) | Kind::Tcp(_) | Kind::Memory(_) => None,
        }
    }

    /// Completes the handshake of TLS, which otherwise takes place when an accepted connection is
    /// first read or written. Without TLS, nothing is to be done.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::Stream;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let (mut near, _far) = Stream::pair();
    /// near.handshake().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// That of the connection, which is of no use then; [`TlsError::of`](crate::TlsError::of) has the
    /// reason.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the handshake continues with the next use.
    pub async fn handshake(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::Tls(tls) => tls.handshake().await,
            Kind::Unix(_) | Kind::Tcp(_) | Kind::Memory(_) => Ok(()),
        }
    }

    /// Returns the name that the certificate of the peer gives it: its SPIFFE ID, or else its first
    /// DNS name. `None` if it has none, without TLS, and until the handshake is done.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::Stream;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (near, _far) = Stream::pair();
    /// assert_eq!(near.certified_name(), None, "it has no TLS");
    /// # }
    /// ```
    pub fn certified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Tls(tls) => tls.holder(),
            Kind::Unix(_) | Kind::Tcp(_) | Kind::Memory(_) => None,
        }
    }

    /// Tells whether nobody but its two ends, and root, can read it: it stays within this host, or
    /// TLS is spoken on it.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::Stream;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (near, _far) = Stream::pair();
    /// assert!(near.is_private());
    /// # }
    /// ```
    pub fn is_private(&self) -> bool {
        match (&self.kind, self.peer) {
            (Kind::Tcp(_), Peer::Tcp(far)) => far.ip().is_loopback(),
            _ => true,
        }
    }

    /// Splits the stream into a half that reads and one that writes, for two tasks. Neither waits
    /// for the other. When the half that writes is dropped, the peer reads the end of the stream.
    ///
    /// ```
    /// # use transport as callsign;
    /// # async fn example(stream: callsign::Stream) -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut reader, mut writer) = stream.into_split();
    /// tokio::io::copy(&mut reader, &mut writer).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        halves::split(self)
    }

    /// Opens the process at the other end, to see it end. This works over Unix sockets only. Since
    /// Linux 6.5 the kernel supplies it with the socket; before, it is looked up by its number,
    /// which a process in another PID namespace does not have.
    ///
    /// A connection may outlive the process that made it, if another process inherited it.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::Stream;
    ///
    /// /// Waits until the process has ended that has connected over a Unix socket.
    /// async fn outlive(stream: &Stream) -> std::io::Result<()> {
    ///     stream.peer_process()?.ended().await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] on any other transport; else the error of the system call.
    pub fn peer_process(&self) -> io::Result<PeerProcess> {
        match (&self.kind, &self.peer) {
            (Kind::Unix(unix), Peer::Unix { pid, .. }) => PeerProcess::of(unix.as_fd(), *pid),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Enables the kernel's keepalive over TCP, for a protocol without heartbeats: a peer whose
    /// host has vanished is noticed within about a minute. Other transports report a death anyway.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Listener, dial};
    ///
    /// let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
    /// let (near, far) = tokio::join!(dial(listener.bound()), listener.accept());
    /// let (near, far) = (near?, far?);
    /// // The peer may be silent for days, and yet is noticed when its host is gone.
    /// far.keep_alive()?;
    /// # drop(near);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the system call.
    pub fn keep_alive(&self) -> io::Result<()> {
        let (Peer::Tcp(_), Some(tcp)) = (&self.peer, self.fd()) else { return Ok(()) };
        sockopt::set_tcp_keepidle(tcp, KEEP_ALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(tcp, KEEP_ALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(tcp, KEEP_ALIVE_MISSES)?;
        Ok(sockopt::set_socket_keepalive(tcp, true)?)
    }

    /// Writes what the kernel takes at once, also if the runtime has not seen the stream ready yet:
    /// last words to a peer that nobody waits for.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Stream;
    /// use tokio::io::AsyncReadExt;
    ///
    /// let (mut near, mut far) = Stream::pair();
    /// assert_eq!(near.write_at_once(b"goodbye")?, 7);
    /// drop(near);
    /// let mut heard = String::new();
    /// far.read_to_string(&mut heard).await?;
    /// assert_eq!(heard, "goodbye");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is no room; else the error of the system call.
    pub fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(fd) = self.fd().filter(|_| !matches!(self.kind, Kind::Tls(_))) {
            return Ok(net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?);
        }
        match Pin::new(self).poll_write(&mut Context::from_waker(Waker::noop()), bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(crate) fn tcp(tcp: TcpStream, address: SocketAddr) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        Ok(Self::new(Kind::Tcp(tcp), Peer::Tcp(canonical(address))))
    }

    /// Takes an accepted connection on which TLS is spoken. Its handshake runs when it is first read
    /// or written.
    pub(crate) fn accept_tls(
        tcp: TcpStream,
        address: SocketAddr,
        credentials: &Credentials,
    ) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let tls = TlsStream::accept(tcp, credentials);
        Ok(Self::new(Kind::Tls(Box::new(tls)), Peer::Tcp(canonical(address))))
    }

    /// Shakes hands on a connection to a listener that was dialed as that host.
    pub(crate) async fn connect_tls(
        tcp: TcpStream,
        host: &Host,
        credentials: &Credentials,
    ) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let peer = Peer::Tcp(tcp.peer_addr()?);
        let tls = TlsStream::connect(tcp, host, credentials).await?;
        Ok(Self::new(Kind::Tls(Box::new(tls)), peer))
    }

    fn new(kind: Kind, peer: Peer) -> Self {
        let untried = Untried::of(&kind);
        Self { kind, peer, unread: Bytes::new(), untried }
    }

    /// Puts bytes back that were read, to be read again before all others.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Stream;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// let (mut near, mut far) = Stream::pair();
    /// near.write_all(b"GET /").await?;
    /// let mut first = [0; 3];
    /// far.read_exact(&mut first).await?;
    /// // Who that is for reads it from the start.
    /// far.unread(first.to_vec());
    /// let mut all = [0; 5];
    /// far.read_exact(&mut all).await?;
    /// assert_eq!(&all, b"GET /");
    /// # Ok(())
    /// # }
    /// ```
    pub fn unread(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.unread = if self.unread.is_empty() {
            bytes
        } else {
            [bytes, mem::take(&mut self.unread)].concat().into()
        };
    }
}

impl TryFrom<UnixStream> for Stream {
    type Error = io::Error;

    fn try_from(unix: UnixStream) -> io::Result<Self> {
        let credentials = unix.peer_cred()?;
        let peer = Peer::Unix {
            // The kernel reports 0 for a process outside of this namespace.
            pid: credentials.pid().filter(|pid| *pid != 0),
            uid: identity::known_user(credentials.uid()),
            gid: identity::known_group(credentials.gid()),
        };
        Ok(Self::new(Kind::Unix(unix), peer))
    }
}

impl TryFrom<TcpStream> for Stream {
    type Error = io::Error;

    fn try_from(tcp: TcpStream) -> io::Result<Self> {
        let address = tcp.peer_addr()?;
        Self::tcp(tcp, address)
    }
}

/// Returns the stream itself if it runs over another transport, or if bytes were put back into it
/// that would be lost.
impl TryFrom<Stream> for UnixStream {
    type Error = Stream;

    fn try_from(stream: Stream) -> Result<Self, Stream> {
        match stream {
            Stream { kind: Kind::Unix(unix), unread, .. } if unread.is_empty() => Ok(unix),
            other => Err(other),
        }
    }
}

/// Returns the stream itself if it runs over another transport, or if bytes were put back into it
/// that would be lost.
impl TryFrom<Stream> for TcpStream {
    type Error = Stream;

    fn try_from(stream: Stream) -> Result<Self, Stream> {
        match stream {
            Stream { kind: Kind::Tcp(tcp), unread, .. } if unread.is_empty() => Ok(tcp),
            other => Err(other),
        }
    }
}

/// The idle time after which the kernel sends a keepalive, the interval, and the number of
/// unanswered ones: a minute in all, at a packet every half minute while all is well.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_MISSES: u32 = 3;

/// The bytes that one end of a connection in memory may write ahead of the other's reading: the
/// capacity of a kernel pipe.
const MEMORY_BUFFER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_put_back_are_read_first() {
        let (mut near, mut far) = Stream::pair();
        far.write_all(b"three").await.unwrap();
        near.unread(&b"two "[..]);
        near.unread(&b"one "[..]);
        let mut heard = [0; 13];
        near.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"one two three");
    }

    #[tokio::test]
    async fn halves_read_what_was_put_back_and_end_apart() {
        let check = async |near: Stream, far: Stream| {
            let (mut near, mut far) = (near, far);
            far.write_all(b"two").await.unwrap();
            near.unread(&b"one "[..]);
            let (mut reading, mut writing) = near.into_split();
            let mut heard = [0; 7];
            reading.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"one two");

            writing.write_all(b"three").await.unwrap();
            drop(writing);
            let mut rest = String::new();
            far.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "three");
            far.write_all(b"four").await.unwrap();
            drop(far);
            reading.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "threefour");
        };
        let (near, far) = Stream::pair();
        assert!(near.fd().is_none());
        check(near, far).await;
        let (near, far) = UnixStream::pair().unwrap();
        let (near, far) = (Stream::try_from(near).unwrap(), Stream::try_from(far).unwrap());
        assert!(near.fd().is_some());
        check(near, far).await;
    }

    #[tokio::test]
    async fn a_stream_becomes_the_socket_that_it_is() {
        let (unix, _far) = UnixStream::pair().unwrap();
        let mut stream = Stream::try_from(unix).unwrap();
        stream.unread(&b"early"[..]);
        // Bytes that were put back would be lost.
        let stream = UnixStream::try_from(stream).unwrap_err();
        let mut stream = TcpStream::try_from(stream).unwrap_err();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        UnixStream::try_from(stream).unwrap();
    }
}
