//! Registering an actor.

use super::registered::Registered;
use crate::{Client, RegisterError, Registration};

impl Client {
    /// Registers an actor with all registrars, and keeps it registered: also with those that are
    /// away now, and with those that restart. One that accepts it suffices. One that has just
    /// started is asked again for an exclusive name until its former holder should be back.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Registration;
    ///
    /// let feed = Registration::new("feed").endpoint("/unix/run/feed.sock")?;
    /// let kept = client.register(feed).await?;
    /// println!("{} is registered", kept.instance());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if none accepts it; it is not kept registered then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future withdraws the registration, and leaves the line if it
    /// [waits](Registration::wait_in_line) in one.
    pub async fn register(&self, registration: Registration) -> Result<Registered, RegisterError> {
        let registered = Registered::put(self, registration)?;
        registered.accepted_first().await?;
        if registered.waits_in_line() {
            registered.accepted().await?;
        }
        Ok(registered)
    }

    /// Registers an actor as [`register`](Self::register) does, for a program that may start before
    /// its registrar: where none is within reach, it is registered as soon as one is.
    /// [`Registered::missing`] tells how that is, and [`Registered::accepted`] waits for it. So it
    /// is with one that [waits in line](Registration::wait_in_line).
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Client, ClientOptions, Registration};
    ///
    /// let client = Client::open(["/unix/run/no/registrar.sock"], ClientOptions::default())?;
    /// let feed = Registration::new("feed").endpoint("/unix/@feed")?;
    /// let kept = client.register_patiently(feed).await?;
    /// assert_eq!(kept.missing().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegisterError`] when a registrar refuses it and none accepts it, or when no registrar is
    /// within reach for reasons that do not pass by themselves; it is not kept then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes back the registration.
    pub async fn register_patiently(
        &self,
        registration: Registration,
    ) -> Result<Registered, RegisterError> {
        let registered = Registered::put(self, registration)?;
        match registered.accepted_first().await {
            Err(RegisterError::Unreachable(failures)) if failures.may_pass() => {
                tracing::info!(
                    target: "callsign", actor = %registered.instance(),
                    "no registrar can be reached; it is registered when one is"
                );
                Ok(registered)
            }
            accepted => accepted.map(|()| registered),
        }
    }
}
