//! The accept loop of an actor: it hands over connections whose handshake is complete.

use std::{future::poll_fn, sync::Arc, task::Poll};

use tokio::task::JoinSet;
use tracing::{debug, warn};
use transport::{Incoming, Listener, Stream};

use crate::{Established, HandshakeError, Identity, Options, WithCauses};

/// Accepts connections, proves the actor's identity to each caller, and hands over those whose
/// handshake is complete. A slow caller delays no other.
///
/// ```no_run
/// # mod callsign { pub use {callsign_portal::{*, Options as HandshakeOptions}, transport::*}; }
/// use callsign::{Acceptor, HandshakeOptions, Identity, Listener};
///
/// # async fn run(identity: Identity) -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind(&"/unix/run/feed.sock".parse()?).await?;
/// let mut acceptor = Acceptor::new(listener, identity, HandshakeOptions::default());
/// loop {
///     let established = acceptor.accept().await;
///     println!("{} calls", established.peer.agent);
///     let stream = established.into_stream(); // or `established.converse(…)`
/// #   drop(stream);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Acceptor {
    incoming: Incoming,
    identity: Identity,
    options: Arc<Options>,
    handshakes: JoinSet<Result<Established<Stream>, HandshakeError>>,
}

impl Acceptor {
    /// Makes an acceptor at a listener.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_portal::{*, Options as HandshakeOptions}, transport::*}; }
    /// use callsign::{Acceptor, HandshakeOptions, Identity, Listener};
    ///
    /// /// Begins to take callers for a registered actor.
    /// fn serve(listener: Listener, identity: &Identity) -> Acceptor {
    ///     Acceptor::new(listener, identity.clone(), HandshakeOptions::default())
    /// }
    /// ```
    pub fn new(listener: Listener, identity: Identity, options: Options) -> Self {
        let incoming = Incoming::new(listener);
        Self { incoming, identity, options: Arc::new(options), handshakes: JoinSet::new() }
    }

    /// Returns the listener.
    ///
    /// ```
    /// # use callsign_portal as callsign;
    /// use callsign::Acceptor;
    ///
    /// fn show(acceptor: &Acceptor) {
    ///     println!("callers come to {}", acceptor.listener().bound());
    /// }
    /// ```
    pub fn listener(&self) -> &Listener {
        self.incoming.listener()
    }

    /// Waits for the next caller whose handshake is complete. The log tells of failed handshakes.
    ///
    /// ```
    /// # use callsign_portal as callsign;
    /// use tokio::io::AsyncWriteExt;
    ///
    /// async fn serve(mut acceptor: callsign::Acceptor) -> std::io::Result<()> {
    ///     loop {
    ///         let mut caller = acceptor.accept().await.into_stream();
    ///         caller.write_all(b"EURUSD 1.0842").await?;
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: handshakes continue with the next call.
    pub async fn accept(&mut self) -> Established<Stream> {
        loop {
            tokio::select! {
                Some(established) = self.handshakes.join_next() => {
                    match established.expect("a handshake does not panic, and is not aborted") {
                        Ok(established) => return established,
                        Err(error) => has_failed(&error),
                    }
                }
                accepted = self.incoming.next(), if self.handshakes.len() < HANDSHAKES_MAX => {
                    let Ok(stream) = accepted.inspect_err(|error| {
                        warn!(%error, endpoint = %self.listener().bound(), "no more connections");
                    }) else {
                        continue;
                    };
                    let (identity, options) = (self.identity.clone(), self.options.clone());
                    let mut handshake =
                        Box::pin(async move { identity.accept(stream, &options).await });
                    // Most callers have said all by now, and need no task.
                    match poll_fn(|cx| Poll::Ready(handshake.as_mut().poll(cx))).await {
                        Poll::Ready(Ok(established)) => return established,
                        Poll::Ready(Err(error)) => has_failed(&error),
                        Poll::Pending => drop(self.handshakes.spawn(handshake)),
                    }
                }
            }
        }
    }
}

fn has_failed(error: &HandshakeError) {
    debug!(error = %WithCauses(error), "a handshake failed");
}

/// The most concurrent handshakes: a mute caller costs a descriptor, and is gone after
/// [`HANDSHAKE_TIMEOUT`](crate::HANDSHAKE_TIMEOUT).
const HANDSHAKES_MAX: usize = 1024;
