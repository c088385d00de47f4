//! Taking an actor's callers in, one after the other, once each has been greeted.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};
use tracing::{debug, warn};
use transport::{Listener, Stream};

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
    listener: Listener,
    identity: Identity,
    options: Options,
    greetings: JoinSet<Result<Greeted<Stream>, HandshakeError>>,
    /// How long to wait when the next connection cannot be taken.
    pause: Duration,
}

impl Reception {
    /// Makes a reception at a listener.
    pub fn new(listener: Listener, identity: Identity, options: Options) -> Self {
        Self { listener, identity, options, greetings: JoinSet::new(), pause: PAUSE_MIN }
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
        &self.listener
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
                accepted = self.listener.accept(), if self.greetings.len() < GREETINGS_MAX => {
                    let Ok(stream) = accepted.inspect_err(|error| {
                        warn!(%error, endpoint = %self.listener.bound(), "cannot take a connection");
                    }) else {
                        // Out of descriptors, most likely: to try at once would only burn time.
                        sleep(self.pause).await;
                        self.pause = (self.pause * 2).min(PAUSE_MAX);
                        continue;
                    };
                    self.pause = PAUSE_MIN;
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

/// How long to wait after a connection could not be taken, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
