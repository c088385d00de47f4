//! From a name to a connection over the nearest transport.
//!
//! A [`Client`] keeps a link to each registrar, registers this program's actors with all of them,
//! and asks all of them at once; what it finds is dialed by rank, nearest first. It does not
//! listen (that is `transport`), does not keep names (that is `registrar`), and does not know
//! what is said over the connections that it makes.
//!
//! - [`Client`] looks up, waits, watches and connects; [`ClientOptions`] says how.
//! - [`Registration`] is what an actor says of itself, and [`Registered`] keeps it registered.
//! - [`Resolve`] is any source of records: a client, a [`TableSource`], a [`MemorySource`].
//! - [`connect_nearest`] dials records by rank, and [`explain`] tells the rank of each.
//!
//! A registrar that cannot be reached never looks like a name that is not there: the one is an
//! error that lists every registrar with its reason, the other is `None`.
//!
//! | module | its one idea |
//! |---|---|
//! | `client` | the handle, and the tasks it owns |
//! | `options` | how a client behaves |
//! | `environment` | the registrars that the environment names |
//! | `link` | one registrar, as the handles see it |
//! | `connector` | what keeps a link up: dial, serve until the connection ends, back off, again |
//! | `session` | what a link keeps registered while it is up |
//! | `callbacks` | what a registrar may ask of this side, and tell it |
//! | `lost`, `losses` | what a registration has lost, and not by its own doing; one after the other |
//! | `whereabouts` | where this process's own listeners are found by now |
//! | `desired` | what is to be kept registered, and how far each link is with it |
//! | `backoff` | how long to wait before trying again |
//! | `failure` | which registrar did not answer, and why |
//! | `registration`, `registered` | what an actor says of itself; what keeps it |
//! | `lookup`, `merge`, `names` | asking all registrars; one answer out of many; names alone |
//! | `remembered` | the last good answers, for when no registrar can be reached |
//! | `wait` | waiting for a name |
//! | `watch`, `feed`, `view` | following a pattern; one registrar's part of it; the merged whole |
//! | `change` | what a watcher is told |
//! | `requests` | what is asked of registrars about an instance or themselves |
//! | `resolve` | sources of records |
//! | `dial` | ranking, explaining and racing candidates |
//! | `find` | from a name to a connection: looked up, dialed, and reported if it does not answer |
//!
//! ```no_run
//! use callsign_discovery::{Client, Registration};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(["/ip4/127.0.0.1/tcp/1616"]).await?;
//! let pricer = Registration::new("pricer").endpoint("/unix/run/pricer.sock")?;
//! let _kept = client.register(pricer).await?;
//!
//! let feed = client.wait_for_actor("feed").await?;
//! println!("{} listens at {}", feed.instance(), feed.endpoints[0].endpoint);
//! if let Some(connection) = client.find_actor("feed").await? {
//!     println!("connected over {}", connection.endpoint);
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod backoff;
mod callbacks;
mod change;
mod client;
mod connector;
mod desired;
pub mod dial;
mod environment;
mod failure;
mod feed;
mod find;
mod link;
mod lookup;
mod losses;
mod lost;
mod merge;
mod names;
mod options;
mod registered;
mod registration;
mod remembered;
mod requests;
mod resolve;
mod session;
mod view;
mod wait;
mod watch;
mod whereabouts;

pub use change::Change;
pub use client::Client;
#[doc(inline)]
pub use dial::{
    Assurance, Candidate, Connection, DialOptions, Explanation, FindError, Located, NoneAnswered,
    Outcome, ReachError, connect_first, connect_nearest, explain, probe,
};
pub use failure::{ConnectError, EnvironmentError, LinkError, RegistrarFailure, RegistrarFailures};
pub use lookup::{LookupError, LookupResult};
pub use losses::Losses;
pub use lost::Lost;
pub use options::{BackoffOptions, ClientOptions, IntoEndpoint, Trust};
pub use registered::{RegisterError, Registered};
pub use registration::{Registration, RegistrationError};
pub use remembered::LookupOptions;
pub use requests::{Registrar, RequestError, Standing};
pub use resolve::{MemorySource, Resolve, ResolveError, TableSource};
pub use watch::Watch;

#[cfg(test)]
mod tests {
    use endpoints::Name;
    use uuid::Uuid;
    use wire::{Lifetime, Record, State};

    /// Returns a record of a ready instance, without endpoints.
    pub(crate) fn record(name: &str) -> Record {
        Record {
            name: Name::new(name).unwrap(),
            uuid: Uuid::new_v4(),
            epoch: 1,
            endpoints: Vec::new(),
            metadata: [].into(),
            state: State::Ready,
            lifetime: Lifetime::Session,
            since_ms: 0,
            suspicion: None,
            proves: false,
            owner: None,
            token: None,
        }
    }
}
