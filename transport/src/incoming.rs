//! The connections that come to a listener, one after the other.

use std::{borrow::Borrow, io, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::{Listener, Stream};

/// The connections that come to a listener, one after the other. A failure that passes, such as a
/// lack of descriptors, is logged and waited out.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use transport::{Incoming, Listener, dial};
///
/// let listener = Listener::bind(&"/memory/0".parse()?).await?;
/// let mut incoming = Incoming::new(listener);
/// let _caller = dial(incoming.listener().bound()).await?;
/// println!("{} calls", incoming.next().await?.peer());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Incoming<L = Listener> {
    listener: L,
    /// The pause after the next failure.
    pause: Duration,
    /// The time before which no connection is accepted.
    retry_at: Option<Instant>,
}

impl<L: Borrow<Listener>> Incoming<L> {
    /// Takes a listener, or a handle of one.
    pub fn new(listener: L) -> Self {
        Self { listener, pause: PAUSE_MIN, retry_at: None }
    }

    /// Returns the listener.
    pub fn listener(&self) -> &Listener {
        self.listener.borrow()
    }

    /// Waits for the next connection, and maintains the path of a socket file meanwhile.
    ///
    /// # Errors
    ///
    /// Once, if another socket now listens at its path ([`is_displaced`](Listener::is_displaced)).
    /// The next connection comes when that is gone, and the path is bound again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection is either returned or still waiting.
    pub async fn next(&mut self) -> io::Result<Stream> {
        loop {
            if let Some(retry_at) = self.retry_at {
                sleep_until(retry_at).await;
                self.retry_at = None;
            }
            let listener = self.listener.borrow();
            match listener.accept().await {
                Ok(stream) => {
                    self.pause = PAUSE_MIN;
                    return Ok(stream);
                }
                Err(error) if listener.is_displaced() => return Err(error),
                // Most likely there are no descriptors left: an immediate retry would only burn
                // time.
                Err(error) => {
                    if self.pause == PAUSE_MIN {
                        warn!(%error, endpoint = %listener.bound(), "cannot take a connection; trying again");
                    }
                    self.retry_at = Some(Instant::now() + self.pause);
                    self.pause = (self.pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }
}

/// The pause after a failed accept, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
