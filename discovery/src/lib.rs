//! From a name to a connection over the nearest transport.
//!
//! A [`Client`] keeps a link to each registrar, registers this program's actors with all of them,
//! and asks all of them together; it dials the instances it finds by rank, nearest first. It does
//! not listen (that is `transport`), does not keep names (that is `registrar`), and does not
//! interpret the bytes of its connections.
//!
//! - [`Client`] looks up, waits, watches and connects; [`ClientOptions`] configures it.
//! - [`Registration`] describes an actor, and [`Registered`] keeps it registered.
//! - [`Resolve`] is any source of records: a client, a [`TableSource`], a [`MemorySource`].
//! - [`connect_nearest`] dials records by rank, and [`explain`] shows the rank of each.
//!
//! An unreachable registrar never looks like a missing name: the former is an error that lists
//! every registrar with its reason, the latter is `None`.
//!
//! | module | its one idea |
//! |---|---|
//! | `client` | the handle, and the tasks it owns |
//! | `client::environment` | the registrars of the environment |
//! | `client::lookup` | asking all registrars |
//! | `client::merge`, `client::names` | one answer out of many; names without instances |
//! | `client::remembered` | the last good answers, for when no registrar can be reached |
//! | `client::find` | look-up, dial, and report of failures |
//! | `client::located` | the same in two steps |
//! | `client::wait` | waiting for a name |
//! | `client::watch` | following a pattern |
//! | `client::follow` | names whose instances are kept in memory |
//! | `client::feed`, `client::view` | one registrar's part of a watch; the merged state |
//! | `client::registration` | the description of an actor |
//! | `client::register`, `client::registered` | registering an actor; the handle that keeps it registered |
//! | `client::refused` | the reason why an actor is not registered |
//! | `client::registered::in_line` | exclusive names |
//! | `client::losses` | the losses of a registration, one after the other |
//! | `client::requests` | requests to registrars about an instance or themselves |
//! | `link` | one registrar, as the handles see it |
//! | `link::connector` | keeps a link up: dials, serves until the connection ends, backs off, starts again |
//! | `link::session` | reconciles a registrar with the desired state while the link is up |
//! | `link::desired` | the desired state, and the progress of each link |
//! | `link::callbacks` | the calls that a registrar makes to this side |
//! | `link::backoff` | the pause before the next attempt |
//! | `link::returns` | the return of what was found dead, and is there again |
//! | `link::whereabouts` | the present endpoints of this process's own listeners |
//! | `dial` | ranking, explaining and racing candidates |
//! | `resolve` | sources of records |
//! | `options` | options for look-ups, dials and links |
//! | `failure` | failures of registrars, and the errors made of them |
//! | `change`, `lost` | the events of a watch; the losses of a registration |
//! | `freshness` | how far a followed view can be relied on |
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
mod freshness;
mod link;
mod lost;
mod options;
mod resolve;

pub use change::Change;
pub use client::{
    Client,
    follow::{Followed, FollowedView},
    listing::Listed,
    located::{Located, connect_first},
    lookup::LookupResult,
    losses::Losses,
    names::NamesResult,
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
pub use freshness::Freshness;
pub use lost::Lost;
pub use options::{BackoffOptions, ClientOptions, DialOptions, IntoEndpoint, LookupOptions, Trust};
pub use resolve::{MemorySource, Resolve, ResolveError, TableSource};

#[cfg(test)]
mod tests {
    use endpoints::Name;
    use uuid::Uuid;
    use wire::Record;

    /// Returns a record of a ready instance, without endpoints.
    pub(crate) fn record(name: &str) -> Record {
        Record { epoch: 1, ..Record::new(Name::new(name).unwrap(), Uuid::new_v4()) }
    }
}
