//! Listeners that axum serves.

use std::{future, io, net::SocketAddr, process};

use ::axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener as Served},
};
use endpoints::{Endpoint, Host};
use rustix::process::{getegid, geteuid};
use tracing::warn;

use crate::{Incoming, Listener, Peer, Stream};

/// A failure to accept is logged and waited out. Once another socket listens at its path, no
/// connection comes any more.
impl Served for Listener {
    type Io = Stream;
    type Addr = Peer;

    async fn accept(&mut self) -> (Stream, Peer) {
        match Incoming::new(&*self).next().await {
            Ok(stream) => {
                let peer = *stream.peer();
                (stream, peer)
            }
            Err(error) => {
                warn!(%error, endpoint = %self.bound(), "no more connections");
                future::pending().await
            }
        }
    }

    /// Returns what the other end of a connection sees of this one.
    /// [`bound`](Listener::bound) returns the endpoint.
    fn local_addr(&self) -> io::Result<Peer> {
        Ok(match self.bound() {
            Endpoint::Tcp(tcp) => {
                let ip = match &tcp.host {
                    Host::Ip4(ip) => (*ip).into(),
                    Host::Ip6(ip) | Host::Ip6Zone { ip, .. } => (*ip).into(),
                    Host::Dns(..) => return Err(io::ErrorKind::Unsupported.into()),
                };
                Peer::Tcp(SocketAddr::new(ip, tcp.port))
            }
            Endpoint::Unix(_) => Peer::Unix {
                pid: Some(process::id().cast_signed()),
                uid: Some(geteuid().as_raw()),
                gid: Some(getegid().as_raw()),
            },
            Endpoint::Memory(_) => Peer::Memory,
        })
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        *stream.remote_addr()
    }
}
