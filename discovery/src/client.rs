//! The handle, and the tasks it owns.

mod environment;
mod feed;
mod find;
pub(crate) mod follow;
pub(crate) mod listing;
pub(crate) mod located;
pub(crate) mod lookup;
pub(crate) mod losses;
mod merge;
pub(crate) mod names;
pub(crate) mod refused;
mod register;
pub(crate) mod registered;
pub(crate) mod registration;
mod remembered;
pub(crate) mod requests;
mod view;
mod wait;
pub(crate) mod watch;

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use endpoints::{Doubt, Endpoint, Stamped, UnixAddress};
use tokio::{task::JoinSet, time::Instant};
use transport::{Listening, here, holders, listening, shares_folder};

use self::remembered::Memory;
use crate::{
    ClientOptions, ConnectError, IntoEndpoint, RegistrarFailure, RegistrarFailures,
    link::{
        Hub, Link, LinkState, connector::Connector, returns::bring_back,
        whereabouts::follow_whereabouts,
    },
};

/// A handle to the registrars. Clones are handles to the same links. The links end when the last
/// clone is dropped, and with it every [`Registered`](crate::Registered) and
/// [`Watch`](crate::Watch), which hold one.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use registrar::{Node, NodeOptions};
/// # let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
/// # let registrars = node.endpoints();
/// # let mut tasks = tokio::task::JoinSet::new();
/// # tasks.spawn(node.serve(tokio_util::sync::CancellationToken::new()));
///
/// use callsign::{Client, Registration};
///
/// let client = Client::connect(&registrars).await?;
/// let _kept = client.register(Registration::new("feed").endpoint("/unix/@feed")?).await?;
/// let feed = client.query_actor("feed").await?.expect("it has just registered");
/// assert_eq!(feed.name.as_str(), "feed");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    hub: Arc<Hub>,
    /// The last good answers.
    memory: Mutex<Memory>,
    /// What follows names. Those that have ended are removed when the next begins.
    follows: Mutex<Vec<Weak<follow::Inner>>>,
    /// A connector for each link, and the task that keeps stamps up to date. They end when this is
    /// dropped.
    keepers: Mutex<JoinSet<()>>,
}

impl Client {
    /// Connects to registrars, and waits until one of them answers.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = callsign::Client::connect(["/unix/run/callsign/registrar.sock"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if none answers, or a registrar's address is not an endpoint.
    ///
    /// # Panics
    ///
    /// As [`open`](Self::open).
    pub async fn connect<R: IntoEndpoint>(
        registrars: impl IntoIterator<Item = R>,
    ) -> Result<Self, ConnectError> {
        Self::connect_with(registrars, ClientOptions::default()).await
    }

    /// Connects as [`connect`](Self::connect) does, with options.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Client, ClientOptions};
    ///
    /// let options = ClientOptions { agent: "pricer/2".to_owned(), ..ClientOptions::default() };
    /// let client = Client::connect_with(["/ip4/10.0.0.7/tcp/1616"], options).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// As [`open`](Self::open).
    pub async fn connect_with<R: IntoEndpoint>(
        registrars: impl IntoIterator<Item = R>,
        options: ClientOptions,
    ) -> Result<Self, ConnectError> {
        let client = Self::open(registrars, options)?;
        client.connected().await.map_err(ConnectError::Unreachable)?;
        Ok(client)
    }

    /// Begins to connect, and does not wait: for a program that may start before its registrar.
    /// [`register_patiently`](Self::register_patiently), [`watch`](Self::watch) and
    /// [`wait_for_actor`](Self::wait_for_actor) work without one too; a look-up fails then.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Client, ClientOptions};
    ///
    /// let client = Client::open(["/unix/run/callsign/registrar.sock"], ClientOptions::default())?;
    /// // It need not be there yet.
    /// let feed = client.wait_for_actor("feed").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if there is no registrar, or its address is not an endpoint.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that drives I/O and time.
    pub fn open<R: IntoEndpoint>(
        registrars: impl IntoIterator<Item = R>,
        options: ClientOptions,
    ) -> Result<Self, ConnectError> {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for registrar in registrars {
            let endpoint = registrar.into_endpoint()?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        if endpoints.is_empty() {
            return Err(ConnectError::NoRegistrar);
        }
        let hub = Arc::new(Hub::new(endpoints, options));
        let mut keepers = JoinSet::new();
        for index in 0..hub.links.len() {
            keepers.spawn(Connector { hub: hub.clone(), index }.run());
        }
        keepers.spawn(follow_whereabouts(hub.clone()));
        keepers.spawn(bring_back(hub.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                hub,
                memory: Mutex::default(),
                follows: Mutex::default(),
                keepers: Mutex::new(keepers),
            }),
        })
    }

    /// Waits until a registrar answers, or all have been tried in vain.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) {
    /// if let Err(failures) = client.connected().await {
    ///     println!("no registrar answers:\n{failures}");
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegistrarFailures`] lists each registrar with its reason.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn connected(&self) -> Result<(), RegistrarFailures> {
        let hub = self.hub();
        let attempt = async |index: usize| {
            let link = &hub.links[index];
            match link.first_settled().await {
                LinkState::Down(error) => Err(Some(link.failure(error))),
                LinkState::Up(_) => Ok(()),
                LinkState::Standby { .. } | LinkState::Dialing => Err(None),
            }
        };
        let connected: Result<(), Vec<Option<RegistrarFailure>>> = hub.first_success(attempt).await;
        connected.map_err(|failures| RegistrarFailures(failures.into_iter().flatten().collect()))
    }

    /// Returns the time in which clients may still return to the registrars within reach, if one of
    /// them has just started.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) {
    /// match client.settling() {
    ///     Some(left) => println!("a missing actor may return within {left:?}"),
    ///     None => println!("a missing actor is not registered"),
    /// }
    /// # }
    /// ```
    pub fn settling(&self) -> Option<Duration> {
        let connections = self.hub().links.iter().filter_map(Link::connection);
        let settles_at = connections.filter_map(|it| it.settles_at()).max();
        settles_at.map(|it| it.duration_since(Instant::now()))
    }

    /// Returns where the registrars are looked for, in the order given.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Client, ClientOptions};
    ///
    /// let client = Client::open(["/memory/7", "/memory/8"], ClientOptions::default())?;
    /// let places: Vec<_> = client.registrars().map(ToString::to_string).collect();
    /// assert_eq!(places, ["/memory/7", "/memory/8"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn registrars(&self) -> impl Iterator<Item = &Endpoint> {
        self.hub().links.iter().map(|link| &link.registrar)
    }

    /// Returns why callers may not reach an actor of this process that listens there, as far as
    /// this process can tell.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client, listener: transport::Listener) {
    /// for doubt in client.doubts(&listener.published()) {
    ///     println!("warning: {doubt}");
    /// }
    /// # }
    /// ```
    pub fn doubts(&self, endpoints: &[Stamped]) -> Vec<Doubt> {
        let mut doubts = endpoints::doubts(endpoints, self.registrars(), &here());
        let seen = self.hub().links.iter().filter_map(|link| {
            let pid = link.connection()?.pid.or_else(|| listening_process(&link.registrar))?;
            let hidden = endpoints.iter().find(|it| match &it.endpoint {
                Endpoint::Unix(UnixAddress::Path(path)) => shares_folder(path, pid) == Some(false),
                _ => false,
            })?;
            let (endpoint, registrar) = (hidden.endpoint.clone(), link.registrar.clone());
            Some(Doubt::OtherMounts { endpoint, registrar })
        });
        doubts.extend(seen);
        doubts
    }

    /// Says goodbye to all registrars, and waits until the links have ended. All registrations of
    /// this client that live by its session end with it, for all clones.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) {
    /// // The registrars know that it is gone before the program ends.
    /// client.close().await;
    /// # }
    /// ```
    pub async fn close(self) {
        self.hub().closing.cancel();
        let mut keepers = {
            let mut keepers = self.inner.keepers.lock().expect("nothing panics while it holds it");
            mem::take(&mut *keepers)
        };
        while keepers.join_next().await.is_some() {}
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    fn follows(&self) -> MutexGuard<'_, Vec<Weak<follow::Inner>>> {
        self.inner.follows.lock().expect("nothing panics while it holds the lock")
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.inner.memory.lock().expect("nothing panics while it holds the lock")
    }
}

/// Returns a process that listens at a TCP port of this network namespace, if it is visible: to
/// root, and to the user of that process.
fn listening_process(endpoint: &Endpoint) -> Option<i32> {
    match (endpoint, listening(endpoint)) {
        (Endpoint::Tcp(_), Listening::Sockets(sockets)) => {
            holders(&sockets).first().map(|it| it.pid())
        }
        _ => None,
    }
}
