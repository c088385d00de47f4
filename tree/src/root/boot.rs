//! The boot of a root: it finds its registrar, or becomes it.
//!
//! ```text
//!   probe every configured place ─┬─ a registrar answers ────────────────▶ join it
//!            ▲                    ├─ something else answers, and no one ─▶ refuse
//!            │                    └─ nobody is anywhere ─▶ bind them all ─▶ be it
//!            └──────── somebody was faster ───────────────────┘
//! ```

use std::{collections::BTreeMap, future::pending, path::Path, sync::Arc, time::Duration};

use discovery::{Client, ClientOptions, Registered, Registration};
use endpoints::{Endpoint, Name};
use portal::{HandshakeError, NoService, Options, WithCauses, connect};
use registrar::{LocalClient, Node, NodeError, NodeOptions, registry::Owner};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use transport::{
    BindAllError, BindError, BindOptions, DialError, Listener, Published, dial_within,
};
use uuid::Uuid;
use wire::{
    InstanceSecret,
    supervised::{KIND_KEY, PATH_KEY, PID_KEY},
};

use super::{RootError, RootOptions};
use crate::{
    Actor, ActorPath, Kind,
    actor::{self, Core, CoreParts},
    child::{
        peers::{self, Acceptors},
        places,
    },
    process_context::ProcessContext,
    registration::{
        routes::Routes,
        uplink::{Registry, TreeRegistry, Uplink, pass_on},
    },
    settings::follow_certificate,
    sockets::sweep,
};

/// A root that is open.
pub(super) struct Opened {
    pub(super) actor: Actor,
    pub(super) services: Services,
    pub(super) is_registrar: bool,
    /// Stops the registrar, if the root is one.
    pub(super) stop: CancellationToken,
}

/// The services that run beside the root's body.
pub(super) struct Services {
    client: Client,
    registered: Registered,
    acceptors: Acceptors,
    node: JoinSet<()>,
}

impl Services {
    /// Waits until one of the services that the root needs has panicked, and returns its name.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn broken(&mut self) -> &'static str {
        tokio::select! {
            () = self.acceptors.broken() => peers::HAS_PANICKED,
            Some(Err(_)) = self.node.join_next() => "the registrar within it has panicked",
            else => pending().await,
        }
    }
}

/// The result of a probe for a registrar.
enum Probed {
    Registrar,
    Absent,
    Occupied(String),
}

impl RootOptions {
    /// Opens the root: finds its registrar or becomes it, listens, and registers.
    pub(super) async fn open(mut self) -> Result<Opened, RootError> {
        if let Some(error) = self.fault.take() {
            return Err(error.into());
        }
        let name = Name::new(&self.name)?;
        let mut registrars: Vec<Endpoint> = Vec::new();
        for registrar in self.registrars.drain(..) {
            if !registrars.contains(&registrar) {
                registrars.push(registrar);
            }
        }
        if registrars.is_empty() {
            return Err(RootError::NoRegistrar);
        }
        if let Some(tls) = &self.tls
            && let Err(fault) = follow_certificate(tls)
        {
            let of_table = self.table.iter().flat_map(|(_, places)| places);
            if registrars.iter().chain(&self.bind).chain(of_table).any(Endpoint::is_tls) {
                return Err(RootError::Certificate(fault));
            }
            tracing::warn!(target: "callsign", %fault, "no TLS until the certificate can be used");
        }

        let (registrars, node) = self.find_registrar(registrars).await?;
        let secret = InstanceSecret::new(Uuid::new_v4().into_bytes());
        let uuid = secret.uuid();
        let (listeners, bound) = self.listen(&name, uuid, &registrars, node.as_ref()).await?;
        // The registrar listens there, and proves only its own identity.
        let shared = match &node {
            Some(node) if listeners.is_empty() => node.published_of(&bound),
            _ => Published::default(),
        };
        let stop = CancellationToken::new();
        let is_registrar = node.is_some();
        let mut serving = JoinSet::new();
        let mut local_client = None;
        if let Some(node) = node {
            local_client =
                owner_at(&registrars[0]).map(|it| LocalClient::open(node.registry().clone(), it));
            serving.spawn(node.serve(stop.clone()));
        }
        let options = ClientOptions { insecure: self.insecure, ..ClientOptions::default() };
        let connected = Client::connect_with(&registrars, options).await;
        let client = connected.map_err(RootError::Connect)?;
        sweep::remove_forsaken(&bound).await;
        let path = ActorPath::root(&name);
        let mut registration = Registration::new(name.as_str())
            .secret(secret)
            .endpoints(shared)
            .metadata(PATH_KEY, path.as_str())
            .metadata(KIND_KEY, "root")
            .metadata(PID_KEY, std::process::id().to_string());
        for listener in &listeners {
            registration = registration.listener(listener);
        }
        if !listeners.is_empty() {
            registration = registration.proves();
        }
        let registered =
            client.register_patiently(registration).await.map_err(RootError::Register)?;
        let routes = Routes::new(registered.identity().clone());

        let table: BTreeMap<Name, Vec<Endpoint>> =
            self.table.iter().map(|(name, places)| (name.clone(), places.to_vec())).collect();
        let dumps = self.dumps.clone().unwrap_or_else(|| {
            let temp = Path::new("/tmp");
            transport::runtime_dir(None, temp).unwrap_or_else(|_| temp.to_owned())
        });
        let place = registrars[0].clone();
        let context = ProcessContext::new((registrars, self.insecure), table, dumps);
        context.lend(client.clone());
        let registry = local_client.map_or_else(|| Registry::Others(client.clone()), Registry::Own);
        let core = Core::new(CoreParts {
            span: actor::span(&path, uuid),
            path,
            kind: Kind::Process,
            bound,
            uplink: Uplink::Root(Arc::new(TreeRegistry::new(registry, routes.clone(), place))),
            routes,
            context: Arc::new(context),
            liveness: None,
        });
        let actor = Actor { core: Arc::new(core) };
        let mut acceptors = Acceptors::default();
        let losses = registered.losses();
        let passing_on = pass_on(losses, uuid, actor.core.routes.clone());
        acceptors.accompany(passing_on.instrument(actor.core.span.clone()));
        let exposed: Arc<[String]> = std::mem::take(&mut self.expose).into();
        for listener in listeners {
            acceptors.serve(listener, actor.clone(), exposed.clone());
        }
        let services = Services { client, registered, acceptors, node: serving };
        Ok(Opened { actor, services, is_registrar, stop })
    }

    /// Finds the registrars that answer, or becomes the one registrar.
    async fn find_registrar(
        &self,
        places: Vec<Endpoint>,
    ) -> Result<(Vec<Endpoint>, Option<Node>), RootError> {
        let mut tries_left = TRIES;
        loop {
            let (mut there, mut occupied) = (Vec::new(), Vec::new());
            for (place, probed) in probe_all(&asked(&places)).await {
                match probed {
                    Probed::Registrar => there.push(place),
                    Probed::Occupied(why) => occupied.push((place, why)),
                    Probed::Absent => {}
                }
            }
            if let Some(first) = there.first() {
                if self.ensures_registrar {
                    return Err(RootError::NotRegistrar(first.clone()));
                }
                return Ok((there, None));
            }
            if !occupied.is_empty() {
                return Err(RootError::Occupied(occupied));
            }
            let options = NodeOptions {
                declared: self.declared.clone(),
                settle_time: self.settle_time,
                insecure: self.insecure,
                ..NodeOptions::default()
            };
            match Node::bind(&places, options).await {
                Ok(node) => return Ok((asked(&node.endpoints()), Some(node))),
                // Another root was faster, and will answer in a moment.
                Err(NodeError::Bind { source: BindError::InUse { .. }, .. }) if tries_left > 0 => {
                    tries_left -= 1;
                    sleep(pause()).await;
                }
                Err(error) => return Err(RootError::Registrar(error)),
            }
        }
    }

    /// Binds the root's own endpoints. A root that is the registrar, and has no configured
    /// endpoint, is found where the registrar is; any other listens beside it.
    async fn listen(
        &self,
        name: &Name,
        uuid: Uuid,
        registrars: &[Endpoint],
        node: Option<&Node>,
    ) -> Result<(Vec<Listener>, Vec<Endpoint>), RootError> {
        let mut wanted: Vec<Endpoint> = Vec::new();
        for endpoint in self.table.get(name.as_str()).into_iter().flatten().chain(&self.bind) {
            if !wanted.contains(endpoint) {
                wanted.push(endpoint.clone());
            }
        }
        if wanted.is_empty() {
            let near = places::on_this_host(registrars).await;
            wanted = places::like(&near, name, Uuid::nil(), uuid, Kind::Process);
        }
        // The endpoints of the registrar within this root are the root's too.
        let (mut bound, own): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|it| node.is_some_and(|node| node.takes_in(it)));
        let listeners = match node {
            Some(node) => node.bind_others(&own).await,
            None => Listener::bind_all(&own, BindOptions::default()).await,
        };
        let listeners = listeners
            .map_err(|BindAllError { endpoint, source }| RootError::Bind { endpoint, source })?;
        bound.extend(listeners.iter().map(|it| it.bound().clone()));
        Ok((listeners, bound))
    }
}

/// Returns the owner of the children of a root that is itself the registrar: this root's identity
/// to a registrar at that place. `None` if that is unknown without a connection.
fn owner_at(place: &Endpoint) -> Option<Owner> {
    match place {
        Endpoint::Unix(_) => Some(Owner::User(rustix::process::geteuid().as_raw())),
        Endpoint::Memory(_) => Some(Owner::Registrar),
        Endpoint::Tcp(_) => None,
    }
}

/// Returns the addresses at which registrars with these endpoints are asked: for a wildcard, at the
/// loopback.
fn asked(places: &[Endpoint]) -> Vec<Endpoint> {
    let seen = |it: &Endpoint| {
        if it.is_bind_only() { config::seen_from_here(it) } else { Some(it.clone()) }
    };
    places.iter().filter_map(seen).collect()
}

/// Probes every place in parallel.
async fn probe_all(places: &[Endpoint]) -> Vec<(Endpoint, Probed)> {
    let mut probes = JoinSet::new();
    for (at, place) in places.iter().cloned().enumerate() {
        probes.spawn(async move {
            let probed = probe(&place).await;
            (at, place, probed)
        });
    }
    let mut probed = probes.join_all().await;
    probed.sort_by_key(|(at, ..)| *at);
    probed.into_iter().map(|(_, place, probed)| (place, probed)).collect()
}

async fn probe(place: &Endpoint) -> Probed {
    let stream = match dial_within(place, PROBE_LIMIT).await {
        Ok(stream) => stream,
        Err(DialError::NotASocket { found }) => {
            return Probed::Occupied(format!("there is {found} in its place"));
        }
        Err(DialError::NoPermission) => return Probed::Occupied("no permission to connect".into()),
        Err(_) => return Probed::Absent,
    };
    let options = Options { handshake_timeout: PROBE_LIMIT, ..Options::default() };
    match connect(stream, options, NoService).await {
        Ok(connected) if connected.portal.peer().registrar.is_some() => Probed::Registrar,
        Ok(_) => Probed::Occupied("an actor answers that is not a registrar".to_owned()),
        // It went away at this moment.
        Err(HandshakeError::Closed) => Probed::Absent,
        Err(error) => Probed::Occupied(WithCauses(&error).to_string()),
    }
}

/// Ends the services beside the root's body.
pub(super) async fn close(mut services: Services, stop: &CancellationToken) {
    if timeout(CLOSE_LIMIT, services.acceptors.close()).await.is_err() {
        tracing::warn!(target: "callsign", "a connection is still at work");
    }
    if timeout(CLOSE_LIMIT, services.registered.unregister()).await.is_err() {
        tracing::warn!(target: "callsign", "not unregistered in time");
    }
    services.client.close().await;
    stop.cancel();
    while services.node.join_next().await.is_some() {}
}

/// The wait until another root that was faster can answer: it differs between roots.
fn pause() -> Duration {
    let [random] = transport::random_bytes();
    PAUSE_MIN + Duration::from_millis(u64::from(random) / 4)
}

/// The time limit for an answer to a probe. Within a host it takes microseconds.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// The number of looks by a slower root for the faster one.
const TRIES: u32 = 20;

/// The shortest wait before it looks again.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The time for registrars to acknowledge the end of a root.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
