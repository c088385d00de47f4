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
//! | `client::environment` | the registrars that the environment names |
//! | `client::lookup` | asking all registrars |
//! | `client::merge`, `client::names` | one answer out of many; names alone |
//! | `client::remembered` | the last good answers, for when no registrar can be reached |
//! | `client::find` | looked up, dialed, and reported if it does not answer |
//! | `client::located` | the same in two steps |
//! | `client::wait` | waiting for a name |
//! | `client::watch` | following a pattern |
//! | `client::feed`, `client::view` | one registrar's part of a watch; the merged whole |
//! | `client::registration` | what an actor says of itself |
//! | `client::register`, `client::registered` | registering it; what keeps it registered |
//! | `client::refused` | why an actor is not registered |
//! | `client::registered::in_line` | a name that one instance has at a time |
//! | `client::losses` | what a registration has lost, one after the other |
//! | `client::requests` | what is asked of registrars about an instance or themselves |
//! | `link` | one registrar, as the handles see it |
//! | `link::connector` | keeps a link up: dial, serve until the connection ends, back off, again |
//! | `link::session` | what a link keeps registered while it is up |
//! | `link::desired` | what is to be kept registered, and how far each link is with it |
//! | `link::callbacks` | what a registrar may ask of this side, and tell it |
//! | `link::backoff` | how long to wait before trying again |
//! | `link::whereabouts` | where this process's own listeners are found by now |
//! | `dial` | ranking, explaining and racing candidates |
//! | `resolve` | sources of records |
//! | `options` | how a client looks up, dials and keeps its links |
//! | `failure` | which registrar did not answer, and why |
//! | `change`, `lost` | what a watcher is told; what a registration has lost |
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

mod change;
mod client;
pub mod dial;
mod failure;
mod link;
mod lost;
mod options;
mod resolve;

pub use change::Change;
pub use client::{
    Client,
    located::{Located, connect_first},
    lookup::LookupResult,
    losses::Losses,
    refused::RegisterError,
    registered::Registered,
    registration::{Registration, RegistrationError},
    requests::{Registrar, RequestError, Standing},
    watch::Watch,
};
#[doc(inline)]
pub use dial::{
    Assurance, Candidate, Connection, Explanation, FindError, NoneAnswered, Outcome, ReachError,
    connect_nearest, explain, probe,
};
pub use failure::{
    ConnectError, EnvironmentError, LinkError, LookupError, RegistrarFailure, RegistrarFailures,
};
pub use lost::Lost;
pub use options::{BackoffOptions, ClientOptions, DialOptions, IntoEndpoint, LookupOptions, Trust};
pub use resolve::{MemorySource, Resolve, ResolveError, TableSource};

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
            waiting: 0,
        }
    }
}
