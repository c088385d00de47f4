//! Registrars that tests find, lose and find again.

use std::{
    future::{Future, poll_fn},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use callsign_discovery::{BackoffOptions, Client, ClientOptions, Registration};
use endpoints::{Endpoint, Stamped, UnixAddress};
use registrar::{Node, NodeOptions, RegistryHandle, registry::NameRules};
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use transport::Listener;
use wire::registrar::Status;

/// Polls until a condition holds for which there is no event.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    soon(async {
        while !is_so() {
            // Paused time advances only when all tasks sleep.
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A registrar that runs until it is stopped or dropped.
pub(crate) struct Running {
    pub(crate) endpoint: Endpoint,
    pub(crate) registry: RegistryHandle,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    serving: Serving,
}

/// The future that serves. It is dropped with [`Running`], and not with its task, which the runtime
/// drops at some time later: the folder of its test may be gone by then.
type Serving = Arc<Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>>;

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.serving.lock().unwrap().take());
    }
}

impl Running {
    /// Starts a registrar at endpoints.
    pub(crate) async fn at(endpoints: &[Endpoint]) -> Self {
        Self::settling(endpoints, Duration::ZERO).await
    }

    /// Starts a registrar at endpoints, to which the clients of its predecessor may take that long
    /// to return.
    pub(crate) async fn settling(endpoints: &[Endpoint], settle_time: Duration) -> Self {
        Self::ruled(endpoints, settle_time, NameRules::default()).await
    }

    /// Starts a registrar at endpoints, with rules of names.
    pub(crate) async fn ruled(
        endpoints: &[Endpoint],
        settle_time: Duration,
        rules: NameRules,
    ) -> Self {
        let drain_timeout = Duration::from_millis(100);
        // Each run at a socket file takes over the former run's knowledge of names.
        let tokens_file = match &endpoints[0] {
            Endpoint::Unix(UnixAddress::Path(path)) => {
                Some(path.as_path().with_extension("state").join("tokens"))
            }
            _ => None,
        };
        // Some of them are on a network of their test's own.
        let options = NodeOptions {
            settle_time,
            drain_timeout,
            rules,
            tokens_file,
            insecure: true,
            ..Default::default()
        };
        let node = Node::bind(endpoints, options).await.unwrap();
        let (registry, stop) = (node.registry().clone(), CancellationToken::new());
        let endpoint = node.endpoints()[0].clone();
        let mut tasks = JoinSet::new();
        let serving: Serving = Arc::new(Mutex::new(Some(Box::pin(node.serve(stop.clone())))));
        let served = serving.clone();
        tasks.spawn(poll_fn(move |context| match &mut *served.lock().unwrap() {
            Some(serving) => serving.as_mut().poll(context),
            None => Poll::Ready(()),
        }));
        Self { endpoint, registry, stop, tasks, serving }
    }

    /// Starts a registrar in memory.
    pub(crate) async fn start() -> Self {
        Self::at(&[Endpoint::Memory(0)]).await
    }

    /// Stops it, and waits until its endpoints are free.
    pub(crate) async fn stop(mut self) -> Endpoint {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.endpoint.clone()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Waits until its status is as expected.
    pub(crate) async fn until(&self, wanted: impl Fn(&Status) -> bool) {
        until(|| wanted(&self.registry.status())).await;
    }
}

/// A route to a registrar that can be cut.
pub(crate) struct Way {
    pub(crate) endpoint: Endpoint,
    to: Endpoint,
    carriers: JoinSet<()>,
}

impl Way {
    pub(crate) async fn to(registrar: &Endpoint) -> Self {
        let listener = Listener::bind(&Endpoint::Memory(0)).await.unwrap();
        let endpoint = listener.bound().clone();
        let mut carriers = JoinSet::new();
        carriers.spawn(carry(listener, registrar.clone()));
        Self { endpoint, to: registrar.clone(), carriers }
    }

    /// Ends every connection over this route, and lets none through.
    pub(crate) async fn cut(&mut self) {
        self.carriers.shutdown().await;
    }

    pub(crate) async fn mend(&mut self) {
        let listener = Listener::bind(&self.endpoint).await.unwrap();
        self.carriers.spawn(carry(listener, self.to.clone()));
    }
}

async fn carry(listener: Listener, to: Endpoint) {
    let mut connections = JoinSet::new();
    while let Ok(mut near) = listener.accept().await {
        let to = to.clone();
        connections.spawn(async move {
            let mut far = transport::dial(&to).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
        });
    }
}

/// A folder for sockets, and their endpoints.
pub(crate) struct Sockets(TempDir);

impl Sockets {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn endpoint(&self, name: &str) -> Endpoint {
        Endpoint::from_unix_path(&self.path(name)).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Options for tests: absent registrars are dialed often, and present ones are waited for, however
/// busy the machine is.
pub(crate) fn options() -> ClientOptions {
    let backoff =
        BackoffOptions { first: Duration::from_millis(1), most: Duration::from_millis(5) };
    let (ask_timeout, handshake_timeout) = (LIMIT, LIMIT);
    ClientOptions { backoff, ask_timeout, handshake_timeout, ..ClientOptions::default() }
}

/// Connects with the options for tests.
pub(crate) async fn connect<'a>(registrars: impl IntoIterator<Item = &'a Endpoint>) -> Client {
    soon(Client::connect_with(registrars, options())).await.unwrap()
}

/// Two registrars, and a client of both.
pub(crate) async fn two_registrars(sockets: &Sockets) -> ([Endpoint; 2], [Running; 2], Client) {
    let places = ["one.sock", "other.sock"].map(|it| sockets.endpoint(it));
    let running = [Running::at(&places[..1]).await, Running::at(&places[1..]).await];
    let client = connect(&places).await;
    (places, running, client)
}

/// An actor that listens in memory.
pub(crate) async fn actor(name: &str) -> (Listener, Registration) {
    let listener = Listener::bind(&Endpoint::Memory(0)).await.unwrap();
    let registration = Registration::new(name).endpoints(listener.published());
    (listener, registration)
}

/// A registration of an actor that listens nowhere.
pub(crate) fn nowhere(name: &str, number: u64) -> Registration {
    Registration::new(name).endpoints([Stamped::bare(Endpoint::Memory(number))])
}

/// Longer than anything that a test waits for.
const LIMIT: Duration = Duration::from_secs(240);

/// Waits for an event that is due soon.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LIMIT, what).await.expect("it hangs")
}
