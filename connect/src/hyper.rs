//! The connector for hyper-util's client, and for whatever else connects by a tower service from a
//! URI.
//!
//! `http://feed/quote` reaches the actor `feed`: the client looks it up, connects to its nearest
//! instance over the transport that reaches it, a Unix socket, TCP or TLS, and demands its proof of
//! identity if it can give one. The bytes are HTTP from then on, and `Host` (in HTTP/2
//! `:authority`) is the name. A name that is no host is [escaped](crate::host). A port is refused:
//! the registrar tells it.
//!
//! hyper keeps the connection for the next requests, and makes another when that has ended. Each
//! one asks the registrars, unless the client [follows](discovery::Client::follow) the name.
//!
//! ```no_run
//! # use callsign_connect as callsign;
//! # use discovery::Client;
//! use callsign::hyper::{Connector, Reached};
//! use hyper_util::{client::legacy, rt::TokioExecutor};
//!
//! # async fn run(client: Client, body: String) -> Result<(), Box<dyn std::error::Error>> {
//! let http = legacy::Client::builder(TokioExecutor::new()).build(Connector::new(client));
//! # let http: legacy::Client<_, String> = http;
//! # let request = http::Request::get("http://feed/quote").body(body)?;
//! let response = http.request(request).await?;
//! if let Some(reached) = response.extensions().get::<Reached>() {
//!     println!("{} over {}", reached.instance, reached.endpoint);
//! }
//! # Ok(())
//! # }
//! ```

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use ::hyper::rt::{Read, ReadBufCursor, Write};
use discovery::{Assurance, Client, Connection, LookupError};
use endpoints::{Endpoint, InstanceId, Locality, Name};
use http::Uri;
use hyper_util::{
    client::legacy::connect::{self, Connected},
    rt::TokioIo,
};
use tower_service::Service;
use transport::Stream;
use wire::State;

use crate::{ReachActorError, authority::name_in, reach::reach_instance};

/// Connects to the actor that a URI names. Clones share the client.
///
/// ```
/// # use callsign_connect as callsign;
/// # use discovery::{Client, ClientOptions};
/// # use tower_service::Service;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = Client::open(["/memory/7"], ClientOptions::default())?;
/// use callsign::hyper::Connector;
///
/// let error = Connector::new(client).call("http://feed:80/".parse()?).await.unwrap_err();
/// assert!(error.to_string().contains("the registrar tells its port"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connector {
    client: Client,
    only: Option<InstanceId>,
}

impl Connector {
    /// Makes a connector that asks the registrars of a client.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_connect::*, discovery::*}; }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Client, ClientOptions, hyper::Connector};
    ///
    /// let client = Client::open(["/unix/run/callsign/registrar.sock"], ClientOptions::default())?;
    /// let connector = Connector::new(client); // it asks when it connects
    /// # drop(connector);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(client: Client) -> Self {
        Self { client, only: None }
    }

    /// Makes a connector to one instance, whichever actor the URI names.
    ///
    /// ```
    /// # use callsign_connect as callsign;
    /// # use discovery::Client;
    /// use callsign::hyper::Connector;
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let record = client.wait_for_actor("feed").await?;
    /// let connector = Connector::to_instance(client, record.instance());
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_instance(client: Client, instance: InstanceId) -> Self {
        Self { client, only: Some(instance) }
    }
}

/// The error of the future is [`ReachActorError`]; hyper has it as the source of its own.
///
/// Dropping the future drops all dials in progress.
impl Service<Uri> for Connector {
    type Response = HttpStream;
    type Error = ReachActorError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpStream, ReachActorError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ReachActorError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { client, only } = self.clone();
        Box::pin(async move {
            let connection = match &only {
                Some(instance) => reach_instance(&client, instance).await?,
                None => reach_name(&client, &name_in(&uri)?).await?,
            };
            Ok(HttpStream::from(connection))
        })
    }
}

/// Connects to the nearest ready instance of a name.
async fn reach_name(client: &Client, name: &Name) -> Result<Connection, ReachActorError> {
    match client.find_actor(name.as_str()).await? {
        Some(connection) => Ok(connection),
        None => Err(why_not(client, name).await?),
    }
}

/// Says why a name has no ready instance.
async fn why_not(client: &Client, name: &Name) -> Result<ReachActorError, LookupError> {
    let records = client.query_all(name.as_str()).await?.records;
    let mut states = BTreeMap::<State, usize>::new();
    for record in records.iter().filter(|it| it.state != State::Ready) {
        *states.entry(record.state).or_default() += 1;
    }
    let name = name.clone();
    if states.is_empty() {
        let registrars: Vec<_> = client.registrars().map(ToString::to_string).collect();
        return Ok(ReachActorError::NotRegistered { name, registrars: registrars.join(", ") });
    }
    let states: Vec<_> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    Ok(ReachActorError::NotReady { name, states: states.join(", ") })
}

/// The instance that a request has reached, and how: an extension of hyper's responses.
///
/// ```
/// # mod callsign { pub use {callsign_connect::*, discovery::*}; }
/// use callsign::hyper::Reached;
///
/// /// Says how a response came.
/// fn path<B>(response: &http::Response<B>) -> Option<String> {
///     let reached = response.extensions().get::<Reached>()?;
///     Some(format!("{} over {} ({})", reached.instance, reached.endpoint, reached.locality))
/// }
/// # let _ = path::<()>;
/// ```
#[derive(Clone, Debug)]
pub struct Reached {
    /// The instance.
    pub instance: InstanceId,
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// How far that is.
    pub locality: Locality,
    /// How certain it is that this is the right instance.
    pub assurance: Assurance,
}

/// A connection to an actor, as hyper reads and writes it.
///
/// ```
/// # mod callsign { pub use {callsign_connect::*, discovery::*}; }
/// use callsign::hyper::{Connector, HttpStream};
/// use tower_service::Service;
///
/// /// Connects to an actor, for a client of HTTP that takes a connection.
/// async fn connect(mut connector: Connector) -> Result<HttpStream, callsign::ReachActorError> {
///     connector.call("http://feed/".parse().expect("it is a URI")).await
/// }
/// # let _ = connect;
/// ```
#[derive(Debug)]
pub struct HttpStream {
    io: TokioIo<Stream>,
    reached: Reached,
}

impl HttpStream {
    /// Returns whom it reaches, and how.
    ///
    /// ```
    /// # use callsign_connect as callsign;
    /// # use tower_service::Service;
    /// use callsign::hyper::Connector;
    ///
    /// # async fn example(mut connector: Connector) -> Result<(), Box<dyn std::error::Error>> {
    /// let stream = connector.call("http://feed/".parse()?).await?;
    /// println!("{}", stream.reached().endpoint);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reached(&self) -> &Reached {
        &self.reached
    }
}

impl From<Connection> for HttpStream {
    fn from(connection: Connection) -> Self {
        let Connection { stream, record, endpoint, locality, assurance, .. } = connection;
        let reached = Reached { instance: record.instance(), endpoint, locality, assurance };
        Self { io: TokioIo::new(stream), reached }
    }
}

impl connect::Connection for HttpStream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.reached.clone())
    }
}

impl Read for HttpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl Write for HttpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
