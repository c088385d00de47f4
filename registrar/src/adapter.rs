//! Adapters: other protocols on the endpoints of a node.

use std::{fmt, io, pin::Pin, sync::Arc};

use bytes::BytesMut;
use endpoints::Endpoint;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;
use transport::{Listener, Stream};
use wire::preface;

use crate::{ForeignSession, RegistryHandle};

/// Serves programs that speak another protocol, on the endpoints of a node.
///
/// The node tells protocols apart by the first bytes of a connection: its own comes first, then
/// each adapter is asked in turn. It knows nothing else of what an adapter does.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// # use endpoints::Endpoint;
/// use callsign::registrar::{RegistryHandle, ProtocolAdapter, Recognised, Serving, Accepted};
///
/// /// Takes connections that begin with a `?`, and closes them.
/// #[derive(Debug)]
/// struct Mute;
///
/// impl ProtocolAdapter for Mute {
///     fn serves(&self, _: &Endpoint) -> bool {
///         true
///     }
///
///     fn recognises(&self, first_bytes: &[u8]) -> Recognised {
///         if first_bytes.starts_with(b"?") { Recognised::Yes } else { Recognised::No }
///     }
///
///     fn serve(&self, accepted: Accepted) -> Serving {
///         Box::pin(async move { drop(accepted.stream) })
///     }
///
///     fn run(&self, _: RegistryHandle) -> Serving {
///         Box::pin(std::future::ready(()))
///     }
/// }
///
/// assert_eq!(Mute.recognises(b"?x"), Recognised::Yes);
/// ```
pub trait ProtocolAdapter: fmt::Debug + Send + Sync {
    /// Tells whether the protocol is served on an endpoint of the node.
    fn serves(&self, endpoint: &Endpoint) -> bool;

    /// Tells whether the first bytes of a connection, at least one, are this protocol's.
    fn recognises(&self, first_bytes: &[u8]) -> Recognised;

    /// Serves one connection until it ends. It has to end by itself soon after its `stop`
    /// is cancelled.
    fn serve(&self, accepted: Accepted) -> Serving;

    /// Hands over, once, the listeners of the adapter's own, at which nothing else is served. The
    /// node accepts their connections as it does its own, and turns away as many.
    fn take_listeners(&self) -> Vec<Listener> {
        Vec::new()
    }

    /// Tells a peer at one of those listeners why there is no place for it, without waiting.
    fn turn_away(&self, _stream: Stream, _why: &str) {}

    /// Runs the adapter's work besides its connections, such as watching the programs that it
    /// registered. The node calls it once, and polls it for as long as it serves.
    fn run(&self, registry: RegistryHandle) -> Serving;
}

/// An adapter's work, to be polled by the node.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Serving;
///
/// fn nothing() -> Serving {
///     Box::pin(std::future::ready(()))
/// }
/// ```
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whether bytes are the first of a protocol.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Recognised;
///
/// /// Tells a request of HTTP by its method.
/// fn is_get(first_bytes: &[u8]) -> Recognised {
///     match first_bytes {
///         bytes if bytes.starts_with(b"GET ") => Recognised::Yes,
///         bytes if b"GET ".starts_with(bytes) => Recognised::NeedMore,
///         _ => Recognised::No,
///     }
/// }
///
/// assert_eq!(is_get(b"GE"), Recognised::NeedMore);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recognised {
    /// They are.
    Yes,
    /// They are not.
    No,
    /// More bytes are needed to tell.
    NeedMore,
}

/// A connection to an adapter.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{Serving, Accepted};
///
/// /// Holds a connection until the node stops.
/// fn hold(accepted: Accepted) -> Serving {
///     Box::pin(async move {
///         accepted.stop.cancelled().await;
///         drop(accepted.stream);
///     })
/// }
/// ```
#[derive(Debug)]
pub struct Accepted {
    /// The connection, as if nothing had been read yet.
    pub stream: Stream,
    /// The peer's access to the registry.
    pub session: ForeignSession,
    /// Cancelled when the node stops.
    pub stop: CancellationToken,
}

/// Reads the first bytes of a connection until its protocol is clear, and puts them back. `None`
/// stands for callsign's own protocol, which also answers unknown ones.
pub(crate) async fn choose(
    stream: &mut Stream,
    adapters: &[Arc<dyn ProtocolAdapter>],
) -> io::Result<Option<Arc<dyn ProtocolAdapter>>> {
    let mut bytes = BytesMut::with_capacity(FIRST_BYTES_MAX);
    let chosen = loop {
        let room = FIRST_BYTES_MAX - bytes.len();
        if room == 0 || (&mut *stream).take(room as u64).read_buf(&mut bytes).await? == 0 {
            break None;
        }
        if bytes.len() >= preface::PREFACE_BYTES && preface::may_begin(&bytes) {
            break None;
        }
        let said = || adapters.iter().map(|adapter| adapter.recognises(&bytes));
        if let Some(at) = said().position(|it| it == Recognised::Yes) {
            break Some(adapters[at].clone());
        }
        if said().all(|it| it == Recognised::No) {
            break None;
        }
    };
    stream.unread(bytes);
    Ok(chosen)
}

/// The bytes by which a protocol must be recognised: every known one shows in far fewer.
const FIRST_BYTES_MAX: usize = 64;
