//! Taking an actor's callers in, one after the other, once each has been greeted.

use tokio::task::JoinSet;
use tracing::{debug, warn};
use transport::{Incoming, Listener, Stream};

use crate::{Greeted, HandshakeError, Identity, Options, WithCauses};

/// Where an actor's callers are greeted: it accepts connections, proves to each caller who the
/// actor is, and hands over those that are done. A caller that is slow to speak keeps no other
/// waiting.
///
/// ```no_run
/// use callsign_portal::{Identity, Options, Reception};
/// use transport::Listener;
///
/// # async fn run(identity: Identity) -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind(&"/unix/run/feed.sock".parse()?).await?;
/// let mut reception = Reception::new(listener, identity, Options::default());
/// loop {
///     let greeted = reception.accept().await;
///     println!("{} calls", greeted.peer.agent);
///     let stream = greeted.into_stream(); // or `greeted.converse(…)`
/// #   drop(stream);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Reception {
    incoming: Incoming,
    identity: Identity,
    options: Options,
    greetings: JoinSet<Result<Greeted<Stream>, HandshakeError>>,
}

impl Reception {
    /// Makes a reception at a listener.
    pub fn new(listener: Listener, identity: Identity, options: Options) -> Self {
        let incoming = Incoming::new(listener);
        Self { incoming, identity, options, greetings: JoinSet::new() }
    }

    /// Returns the listener.
    ///
    /// ```
    /// # use callsign_portal as callsign;
    /// use callsign::Reception;
    ///
    /// fn show(reception: &Reception) {
    ///     println!("callers come to {}", reception.listener().bound());
    /// }
    /// # let _ = show;
    /// ```
    pub fn listener(&self) -> &Listener {
        self.incoming.listener()
    }

    /// Waits for the next caller that has been greeted. Whoever is turned away is told of in the
    /// log.
    ///
    /// ```
    /// use tokio::io::AsyncWriteExt;
    ///
    /// async fn serve(mut reception: callsign_portal::Reception) -> std::io::Result<()> {
    ///     loop {
    ///         let mut caller = reception.accept().await.into_stream();
    ///         caller.write_all(b"EURUSD 1.0842").await?;
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: callers that are being greeted stay so.
    pub async fn accept(&mut self) -> Greeted<Stream> {
        loop {
            tokio::select! {
                Some(greeted) = self.greetings.join_next() => {
                    match greeted.expect("to greet does not panic, and is not aborted") {
                        Ok(greeted) => return greeted,
                        Err(error) => debug!(error = %WithCauses(&error), "turned away"),
                    }
                }
                accepted = self.incoming.next(), if self.greetings.len() < GREETINGS_MAX => {
                    let Ok(stream) = accepted.inspect_err(|error| {
                        warn!(%error, endpoint = %self.listener().bound(), "nobody comes any more");
                    }) else {
                        continue;
                    };
                    let (identity, options) = (self.identity.clone(), self.options.clone());
                    self.greetings.spawn(async move { identity.accept(stream, &options).await });
                }
            }
        }
    }
}

/// How many callers are greeted at once: mute ones cost a descriptor each, and are gone after
/// [`HANDSHAKE_TIMEOUT`](crate::HANDSHAKE_TIMEOUT).
const GREETINGS_MAX: usize = 1024;
