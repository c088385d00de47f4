//! A registrar that can be reached.

mod others;
mod own;
mod reception;
mod refusals;

use std::{panic::resume_unwind, pin::Pin, sync::Arc, time::Duration};

use endpoints::Endpoint;
use portal::{Closed, Connected, Driver, OnSilence, Options, Portal, WithCauses, accept};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, error, info, warn};
use transport::{
    BindAllError, BindOptions, Changes, Listener, Peer, PeerProcess, Published, Stream, Whereabouts,
};
use wire::Hello;

use self::{
    own::Own,
    reception::{Reception, serve_listener},
    refusals::Refusals,
};
use crate::{
    Accounts, Controls, NodeError, NodeOptions, ProtocolAdapter, RegistryHandle, Session,
    jobs::Job,
    registry::{Caller, SessionId},
    shares::Share,
    tokens_file::TokensFile,
    verify::run_jobs,
};

/// A registrar that can be reached.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::registrar::{Node, NodeOptions};
///
/// let node = Node::bind(&["/ip4/127.0.0.1/tcp/0".parse()?], NodeOptions::default()).await?;
/// let endpoint = &node.endpoints()[0];
/// println!("a registrar listens at {endpoint}");
/// assert!(node.takes_in(endpoint));
/// assert_eq!(node.registry().status().endpoints, node.endpoints());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Node {
    registry: RegistryHandle,
    controls: Controls,
    adapters: Vec<Arc<dyn ProtocolAdapter>>,
    listeners: Vec<Arc<Listener>>,
    /// The listeners of adapters.
    doors: Vec<(Arc<Listener>, Arc<dyn ProtocolAdapter>)>,
    /// When they may be found elsewhere.
    changes: Changes,
    jobs: mpsc::Receiver<(Job, Share)>,
    tokens_file: Option<TokensFile>,
}

impl Node {
    /// Binds every endpoint, each once however often it is given.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::registrar::{Node, NodeOptions};
    ///
    /// let node = Node::bind(&["/ip4/127.0.0.1/tcp/0".parse()?], NodeOptions::default()).await?;
    /// println!("listening at {}", node.endpoints()[0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NodeError`]; nothing stays bound then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing bound.
    pub async fn bind(endpoints: &[Endpoint], options: NodeOptions) -> Result<Self, NodeError> {
        Self::bind_beside(Vec::new(), endpoints, options).await
    }

    /// Takes existing listeners, such as those from a service manager, and binds every other
    /// endpoint that they do not cover.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use transport::Listener;
    /// use callsign::registrar::{Node, NodeOptions};
    ///
    /// let handed = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
    /// let endpoint = handed.bound().clone();
    /// let wanted = [endpoint.clone(), "/memory/0".parse()?];
    /// let node = Node::bind_beside(vec![handed], &wanted, NodeOptions::default()).await?;
    /// assert_eq!(node.endpoints()[0], endpoint, "it is there, and is not bound again");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_beside(
        mut listeners: Vec<Listener>,
        endpoints: &[Endpoint],
        options: NodeOptions,
    ) -> Result<Self, NodeError> {
        let given = listeners.iter().map(Listener::bound);
        let mut exposed = given.chain(endpoints).filter(|it| it.is_exposed());
        if let Some(endpoint) = exposed.next().filter(|_| !options.insecure) {
            return Err(NodeError::Insecure { endpoint: endpoint.clone() });
        }
        let is_taken_in = |it: &&Endpoint| listeners.iter().any(|given| given.takes_in(it));
        let missing: Vec<_> = endpoints.iter().filter(|it| !is_taken_in(it)).cloned().collect();
        let bind_options = BindOptions { access: options.access, is_watched: true };
        let bound = Listener::bind_all_beside(&listeners, &missing, bind_options).await;
        listeners.extend(
            bound.map_err(|BindAllError { endpoint, source }| NodeError::Bind {
                endpoint,
                source,
            })?,
        );
        if listeners.is_empty() {
            return Err(NodeError::NoEndpoint);
        }
        // Subscribed before the endpoints are entered, so that no change is missed.
        let changes = Changes::of(&listeners);
        let user = rustix::process::geteuid().as_raw();
        let accounts = Accounts::new(options.quotas.clone(), options.sessions_max, user);
        let (registry, jobs) = RegistryHandle::new(
            options.agent.clone(),
            options.limits,
            accounts,
            options.settle_time,
        );
        // Nobody else has it: the endpoints by which it is called are bound.
        let tokens_file = options.tokens_file.clone().map(TokensFile::new);
        if let Some(file) = &tokens_file {
            registry.with(|it| it.resume(file.read()));
        }
        registry.set_endpoints(listeners.iter().map(|it| it.bound().clone()).collect());
        let mut published = listeners.iter().flat_map(Listener::published).collect();
        Whereabouts::of_listeners(&listeners).withhold(&mut published);
        registry.enter_own(published);
        registry.set_rules(options.rules.clone());
        if let Some(file) = &tokens_file {
            file.write_first(&registry);
        }
        registry.declare(&options.declared);
        let listeners: Vec<_> = listeners.into_iter().map(Arc::new).collect();
        let of_adapter = |adapter: &Arc<dyn ProtocolAdapter>| {
            let listeners = adapter.take_listeners();
            listeners.into_iter().map(|it| (Arc::new(it), adapter.clone())).collect::<Vec<_>>()
        };
        let doors: Vec<_> = options.adapters.iter().flat_map(of_adapter).collect();
        let all = listeners.iter().chain(doors.iter().map(|(it, _)| it));
        let controls = Controls::new(registry.clone(), all, &options);
        let adapters = options.adapters;
        Ok(Self { registry, controls, adapters, listeners, doors, changes, jobs, tokens_file })
    }

    /// Returns where the node listens, with the real ports in place of port 0.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// fn show(node: &callsign::registrar::Node) {
    ///     node.endpoints().iter().for_each(|it| println!("listening on {it}"));
    /// }
    /// ```
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.listeners.iter().map(|it| it.bound().clone()).collect()
    }

    /// Returns where others find those of these endpoints at which it listens.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use callsign::{Node, NodeOptions};
    /// let wanted = ["/ip4/127.0.0.1/tcp/0".parse()?, "/memory/0".parse()?];
    /// let node = Node::bind(&wanted, NodeOptions::default()).await?;
    /// let port = &node.endpoints()[..1];
    /// assert_eq!(node.published_of(port)[0].endpoint, port[0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn published_of(&self, endpoints: &[Endpoint]) -> Published {
        let is_meant = |it: &&Arc<Listener>| endpoints.iter().any(|wanted| it.takes_in(wanted));
        self.listeners.iter().filter(is_meant).map(|it| it.published()).collect()
    }

    /// Tells whether a dial of an endpoint reaches it.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// fn is_of_system(node: &callsign::registrar::Node) -> bool {
    ///     "/unix/run/callsign/registrar.sock".parse().is_ok_and(|it| node.takes_in(&it))
    /// }
    /// ```
    pub fn takes_in(&self, endpoint: &Endpoint) -> bool {
        self.listeners.iter().any(|it| it.takes_in(endpoint))
    }

    /// Binds endpoints for others in this process, beside its own: a `::` takes IPv6 only if the
    /// node has an IPv4 address of its port.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use callsign::{Node, NodeOptions};
    /// # let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
    /// let listeners = node.bind_others(&["/ip4/127.0.0.1/tcp/0".parse()?]).await?;
    /// println!("an actor of this process listens at {}", listeners[0].bound());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Listener::bind_all`].
    ///
    /// # Cancel safety
    ///
    /// As [`Listener::bind_all`].
    pub async fn bind_others(&self, endpoints: &[Endpoint]) -> Result<Vec<Listener>, BindAllError> {
        Listener::bind_all_beside(&self.listeners, endpoints, BindOptions::default()).await
    }

    /// Returns the handle of the registry.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// fn is_busy(node: &callsign::registrar::Node) -> bool {
    ///     node.registry().status().sessions > 1000
    /// }
    /// ```
    pub fn registry(&self) -> &RegistryHandle {
        &self.registry
    }

    /// Returns what changes the node while it serves.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// fn forget_rules(node: &callsign::registrar::Node) {
    ///     node.controls().set_rules(Default::default());
    /// }
    /// ```
    pub fn controls(&self) -> &Controls {
        &self.controls
    }

    /// Serves until `stop` is cancelled: then it accepts no new connection, removes its socket
    /// files, notifies every session, and cuts those that do not end in time. Their entries are not
    /// reported as gone: only the registrar is.
    ///
    /// A vanished socket file is bound again. If another program has taken the path by then, the
    /// node gives it up, and tells the clients that came by it, so that they dial again and land
    /// where all others do. When it has given up all of its endpoints, it ends by itself.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use callsign::{Node, NodeOptions};
    /// use tokio_util::sync::CancellationToken;
    ///
    /// let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
    /// let stop = CancellationToken::new();
    /// let mut tasks = tokio::task::JoinSet::new();
    /// tasks.spawn(node.serve(stop.clone()));
    ///
    /// stop.cancel();
    /// tasks.join_all().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If a task panics without which the node would exist but serve nobody.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the node immediately, without a goodbye.
    pub async fn serve(self, stop: CancellationToken) {
        let Self { registry, controls, adapters, listeners, doors, changes, jobs, tokens_file } =
            self;
        // The sessions hear of it when the registry knows, so that none ends before.
        let ending = CancellationToken::new();
        let context = Context {
            registry: registry.clone(),
            controls: controls.clone(),
            refusals: Refusals::default(),
            node_stop: ending.clone(),
            stop: ending.clone(),
        };
        let own = Arc::new(Own {
            registry: registry.clone(),
            listeners: listeners.iter().map(Arc::downgrade).collect(),
            whereabouts: Whereabouts::of_listeners(listeners.iter().map(|it| &**it)).into(),
        });
        let _open = tokens_file.as_ref().map(TokensFile::open);
        let mut helpers = JoinSet::new();
        // The instances that an adapter already knows are entered before any query.
        for adapter in &adapters {
            helpers.spawn(adapter.run(registry.clone()));
        }
        let mut acceptors = JoinSet::new();
        for listener in listeners {
            let served = adapters.iter().filter(|it| it.serves(listener.bound()));
            let served: Arc<[_]> = served.cloned().collect();
            let context = Context { stop: ending.child_token(), ..context.clone() };
            acceptors.spawn(serve_listener(
                listener,
                Reception::Shared(served),
                own.clone(),
                context,
            ));
        }
        // The node can be reached by its own listeners alone.
        let mut doormen = JoinSet::new();
        for (listener, adapter) in doors {
            let context = Context { stop: ending.child_token(), ..context.clone() };
            doormen.spawn(serve_listener(listener, Reception::Sole(adapter), own.clone(), context));
        }
        helpers.spawn(async move { own.follow(changes).await });
        helpers.spawn(run_jobs(registry.clone(), jobs));
        let time_keeper = registry.clone();
        helpers.spawn(async move { time_keeper.keep_time().await });
        let (housekeeper, scheduler) = (registry.clone(), controls.scheduler().clone());
        helpers.spawn(async move {
            housekeeper.do_deferred(|account, ran| scheduler.charge(account, ran)).await;
        });
        let watchman = registry.clone();
        helpers.spawn(async move { watchman.warn_of_shared_names().await });
        let observer = registry.clone();
        helpers.spawn(async move { observer.keep_looking_at_declared().await });
        let scheduler = controls.scheduler().clone();
        helpers.spawn(async move { scheduler.run().await });
        if let Some(file) = tokens_file.clone() {
            helpers.spawn(file.keep(registry.clone()));
        }

        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                ended = acceptors.join_next() => match ended {
                    Some(ended) => pass_on_panic(ended),
                    None => return error!("nobody can reach the registrar any more, so it ends"),
                },
                Some(ended) = helpers.join_next() => pass_on_panic(ended),
                Some(ended) = doormen.join_next() => pass_on_panic(ended),
            }
        }
        info!("the registrar is stopping");
        registry.stop();
        controls.scheduler().stop();
        // As long as nobody else can have begun in its place.
        if let Some(file) = tokens_file {
            file.write_last(&registry).await;
        }
        ending.cancel();
        let drain_timeout = controls.now().drain_timeout;
        let drained = async {
            while acceptors.join_next().await.is_some() {}
            while doormen.join_next().await.is_some() {}
        };
        if timeout(drain_timeout, drained).await.is_err() {
            warn!("some sessions did not end within {drain_timeout:?}; they are cut off");
        }
        helpers.shutdown().await;
    }
}

/// Goes on panicking where a task has.
fn pass_on_panic(ended: Result<(), JoinError>) {
    if let Err(Ok(panic)) = ended.map_err(JoinError::try_into_panic) {
        resume_unwind(panic);
    }
}

/// The state that every connection needs.
#[derive(Clone)]
struct Context {
    registry: RegistryHandle,
    controls: Controls,
    refusals: Refusals,
    /// Stops the node.
    node_stop: CancellationToken,
    /// Stops what came by one of its endpoints.
    stop: CancellationToken,
}

impl Context {
    /// Says why a session is ended from here.
    fn reason(&self) -> &'static str {
        if self.node_stop.is_cancelled() {
            "the registrar is stopping"
        } else {
            "somebody else listens where this registrar did: dial again"
        }
    }
}

/// Adds the number of the session to its span.
fn record(session: SessionId) {
    Span::current().record("id", session);
}

/// A connection whose peer has shaken hands: little, because thousands of them have nothing to do.
struct Established {
    context: Context,
    session: SessionId,
    process: Option<PeerProcess>,
    portal: Portal,
    driver: Pin<Box<Driver<Stream, Session>>>,
}

impl Established {
    /// Shakes hands with a peer; `None` if that does not succeed, which is told.
    async fn with(stream: Stream, caller: Caller, context: Context) -> Option<Box<Self>> {
        let peer = *stream.peer();
        let Context { registry, controls, stop, .. } = &context;
        let tuning = controls.now();
        let on_silence = match peer {
            // The kernel reports a death: a silent peer may be stopped for a while.
            Peer::Unix { .. } => Some(OnSilence::Tell),
            Peer::Tcp(_) => Some(OnSilence::GiveUp),
            // It is this process itself.
            Peer::Memory => None,
        };
        let hello = Hello {
            agent: registry.agent().to_owned(),
            registrar: Some(registry.registrar()),
            settling_ms: registry.settling().map(|it| it.as_millis().max(1) as u64),
            cluster: registry.others(),
            cluster_number: registry.cluster_number(),
            ..Hello::default()
        };
        let portal_options = Options {
            hello,
            handshake_timeout: tuning.handshake_timeout,
            heartbeat: on_silence.map(|_| tuning.heartbeat),
            on_silence: on_silence.unwrap_or_default(),
            frame_bytes_max: FRAME_BYTES_MAX,
            frame_timeout: Some(FRAME_TIMEOUT),
        };
        let own = Session::open(registry.clone(), caller).of_peer(peer);
        let own = if on_silence.is_some() { own.answerable() } else { own };
        let session = own.id();
        record(session);
        let process = stream.peer_process().ok();
        let connected = tokio::select! {
            () = stop.cancelled() => return None,
            connected = accept(stream, portal_options, own) => connected,
        };
        match connected {
            Ok(Connected { portal, driver }) => {
                registry.introduce(session, portal.clone());
                let driver = Box::pin(driver);
                Some(Box::new(Self { context, session, process, portal, driver }))
            }
            Err(error) => {
                context.refusals.tell(&peer, &error);
                None
            }
        }
    }

    /// Talks with the peer until either side has enough. A future has room for what is moved into it twice,
    /// so that it is moved in a box.
    async fn serve(mut self: Box<Self>) {
        let cut = Cut(&self.context.registry);
        let closed = tokio::select! {
            closed = self.driver.as_mut() => closed,
            () = ended(self.process.as_ref()) => {
                match timeout(LAST_WORDS, self.driver.as_mut()).await {
                    Ok(closed) => closed,
                    Err(_) => {
                        info!("the process ended, and left its connection to another");
                        return cut.disarm();
                    }
                }
            }
            () = self.context.stop.cancelled() => {
                if !self.context.node_stop.is_cancelled() {
                    self.context.registry.dismiss(self.session);
                }
                self.portal.close(self.context.reason());
                self.driver.as_mut().await
            }
        };
        cut.disarm();
        let registry = &self.context.registry;
        if matches!(closed, Closed::Dismissed(_)) {
            registry.dismiss(self.session);
        }
        let is_to_return = match closed {
            Closed::ForNow(_) => true,
            Closed::Goodbye(_) => false,
            _ => registry.was_away(),
        };
        if is_to_return && !has_ended(self.process.as_ref()).await {
            registry.dismiss(self.session);
        }
        match &closed {
            Closed::ByPeer | Closed::Here | Closed::Goodbye(_) | Closed::ForNow(_) => {
                debug!("{closed}");
            }
            broken => info!(error = %WithCauses(broken), "a session broke"),
        }
    }
}

/// Stands for a session that is under way. The end of one comes from its connection; if it is
/// dropped instead, the node is, or all of the runtime, and what the sessions keep is not gone.
struct Cut<'a>(&'a RegistryHandle);

impl Cut<'_> {
    /// Records that the session has ended by itself.
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// Tells whether a process is seen to have ended, just after the end of its connection.
async fn has_ended(process: Option<&PeerProcess>) -> bool {
    timeout(LAST_WORDS, ended(process)).await.is_ok()
}

/// Waits until a process has ended; for ever, if none is visible.
async fn ended(process: Option<&PeerProcess>) {
    match process {
        Some(process) if process.ended().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

/// The longest frame that a client may send: twice as much as the largest registration takes, and
/// the longest list of instances to remove.
const FRAME_BYTES_MAX: usize = 128 * 1024;

/// The time limit for the arrival of a client's frame: that of the longest at a hundred kilobits a
/// second.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for reading a connection to its end after the end of its process: everything the
/// process wrote is there already, and so is the end, unless a child of it has the connection too.
const LAST_WORDS: Duration = Duration::from_millis(100);
