//! An encrypted connection, whose handshake runs with its first use.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use endpoints::Host;
use rustls::pki_types::{DnsName, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{Accept, TlsAcceptor, TlsConnector, TlsStream as Established};

use super::{
    ahead::ReadAhead,
    credentials::Credentials,
    error::{TlsError, explained},
    name,
};

/// An encrypted connection.
///
/// Who accepts one does not wait for its handshake, which the peer may never finish: it runs when
/// the connection is first read or written, within the time limit that holds there.
pub(crate) struct TlsStream(State);

enum State {
    Accepting(Box<Accept<ReadAhead>>),
    Established(Box<Established<ReadAhead>>),
    Failed(TlsError),
}

impl TlsStream {
    /// Takes an accepted connection.
    pub(crate) fn accept(tcp: TcpStream, credentials: &Credentials) -> Self {
        let accept = TlsAcceptor::from(credentials.server.clone()).accept(ReadAhead::new(tcp));
        Self(State::Accepting(Box::new(accept)))
    }

    /// Shakes hands with a listener that was dialed as that host.
    pub(crate) async fn connect(
        tcp: TcpStream,
        host: &Host,
        credentials: &Credentials,
    ) -> Result<Self, io::Error> {
        let connector = TlsConnector::from(Arc::clone(&credentials.client));
        let connected = connector.connect(server_name(host)?, ReadAhead::new(tcp)).await;
        let connected = connected.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                io::Error::other(TlsError::Ended)
            }
            _ => explained(error),
        })?;
        Ok(Self(State::Established(Box::new(connected.into()))))
    }

    /// Returns the socket; `None` once the handshake has failed, which closes it.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match &self.0 {
            State::Accepting(accept) => accept.get_ref().map(ReadAhead::socket),
            State::Established(stream) => Some(stream.get_ref().0.socket()),
            State::Failed(_) => None,
        }
    }

    /// Returns what only the two ends of this connection know (RFC 9266); `None` until the handshake
    /// is done.
    pub(crate) fn channel_binding(&self) -> Option<[u8; 32]> {
        let State::Established(stream) = &self.0 else { return None };
        let exported = match &**stream {
            Established::Client(it) => {
                it.get_ref().1.export_keying_material([0; 32], BINDING_LABEL, None)
            }
            Established::Server(it) => {
                it.get_ref().1.export_keying_material([0; 32], BINDING_LABEL, None)
            }
        };
        exported.ok()
    }

    /// Completes the handshake.
    pub(crate) async fn handshake(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_established(cx).map_ok(drop)).await
    }

    /// Returns the name of the peer, as its certificate has it.
    pub(crate) fn holder(&self) -> Option<String> {
        let State::Established(stream) = &self.0 else { return None };
        let certificates = match &**stream {
            Established::Client(it) => it.get_ref().1.peer_certificates(),
            Established::Server(it) => it.get_ref().1.peer_certificates(),
        };
        name::holder(certificates?.first()?)
    }

    /// Goes on with the handshake, and returns the stream once it is done.
    fn poll_established(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut Established<ReadAhead>>>> {
        if let State::Accepting(accept) = &mut self.0 {
            self.0 = match ready!(Pin::new(accept.as_mut()).poll(cx)) {
                Ok(stream) => State::Established(Box::new(stream.into())),
                Err(error) => State::Failed(failure(&explained(error))),
            };
        }
        match &mut self.0 {
            State::Established(stream) => Poll::Ready(Ok(Pin::new(stream.as_mut()))),
            State::Failed(error) => Poll::Ready(Err(io::Error::other(error.clone()))),
            State::Accepting(_) => unreachable!("its handshake has ended"),
        }
    }
}

/// The label of the exporter `tls-exporter` (RFC 9266).
const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

fn failure(error: &io::Error) -> TlsError {
    match TlsError::of(error) {
        Some(TlsError::Cut) => TlsError::Ended,
        Some(error) => error.clone(),
        None => TlsError::Other(error.to_string()),
    }
}

/// Returns the name that the certificate of a host has to have.
pub(super) fn server_name(host: &Host) -> io::Result<ServerName<'static>> {
    match host {
        Host::Dns(name, _) => {
            let name = name.as_str().trim_end_matches('.').to_owned();
            let name = DnsName::try_from(name).map_err(io::Error::other)?;
            Ok(ServerName::DnsName(name))
        }
        host => {
            let ip = host.ip().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
            Ok(ServerName::IpAddress(ip.into()))
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = ready!(self.get_mut().poll_established(cx))?;
        stream.poll_read(cx, buffer).map_err(explained)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = ready!(self.get_mut().poll_established(cx))?;
        stream.poll_write(cx, bytes).map_err(explained)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = ready!(self.get_mut().poll_established(cx))?;
        stream.poll_write_vectored(cx, slices).map_err(explained)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = ready!(self.get_mut().poll_established(cx))?;
        stream.poll_flush(cx).map_err(explained)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = ready!(self.get_mut().poll_established(cx))?;
        stream.poll_shutdown(cx)
    }
}

impl Drop for TlsStream {
    /// Says goodbye, as far as there is room: without that, the peer could not tell this end from
    /// one that somebody in between has made.
    fn drop(&mut self) {
        if let State::Established(stream) = &mut self.0 {
            let mut cx = Context::from_waker(Waker::noop());
            let _said = Pin::new(stream.as_mut()).poll_shutdown(&mut cx);
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}
