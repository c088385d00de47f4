//! gRPC channels to actors.
//!
//! A channel connects when it is first used, and anew after its connection has ended: to the
//! instance that is nearest then. A call in progress fails with its connection, and one that finds
//! no instance fails as `Unavailable`; [wait](discovery::Client::wait_for_actor) for the name and
//! call again.
//!
//! The `:authority` of every call is the actor's name, as an [escaped](crate::host) host. Other
//! clients derive it from the address instead: grpcio over `unix:/run/feed.sock` sends the
//! percent-encoded path, which servers in Rust refuse as a protocol error before the application
//! sees it. There, set the channel option `grpc.default_authority` to the actor's name.

use discovery::Client;
use endpoints::{Name, NameError};
use tonic::transport::{Channel, Endpoint};

use crate::{hyper::Connector, uri};

/// Makes a channel to the nearest ready instance of a name. It is connected when it is used.
///
/// ```
/// # use callsign_connect as callsign;
/// # use discovery::{Client, ClientOptions};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = Client::open(["/memory/7"], ClientOptions::default())?;
/// let channel = callsign::tonic::channel(&client, "market:feed")?;
/// # drop(channel);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`NameError`] if `name` is invalid.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn channel(client: &Client, name: &str) -> Result<Channel, NameError> {
    Ok(endpoint(name)?.connect_with_connector_lazy(Connector::new(client.clone())))
}

/// Returns tonic's description of an actor, to set options before it is
/// [connected](Endpoint::connect_with_connector_lazy) by a [`Connector`].
///
/// ```
/// # use callsign_connect as callsign;
/// # use discovery::Client;
/// use std::time::Duration;
///
/// use callsign::{hyper::Connector, tonic};
///
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = tonic::endpoint("feed")?.timeout(Duration::from_secs(5));
/// let channel = endpoint.connect_with_connector(Connector::new(client)).await?;
/// # drop(channel);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`NameError`] if `name` is invalid.
pub fn endpoint(name: &str) -> Result<Endpoint, NameError> {
    Ok(Endpoint::from(uri(&Name::new(name)?)))
}
