//! A node of a cluster, and what its watchers see.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use callsign_cluster::{ClusterSettings, EtcdAdapter};
use endpoints::{Endpoint, Name, NamePattern, Stamped};
use registrar::{
    ForeignSession, LocalClient, Node as RegistrarNode, NodeOptions, RegistryHandle,
    registry::{NameRules, Owner},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::{
    Record,
    registrar::{Change, ClusterStatus, Register, Registered},
};

use crate::etcd::Etcd;

/// The time after which a test gives up. Nothing takes so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A node of a cluster. Dropping it ends it as a crash does: without a word to etcd.
pub(crate) struct Node {
    pub(crate) registry: RegistryHandle,
    /// Where it listens, within this process.
    pub(crate) endpoint: Endpoint,
    serving: JoinSet<()>,
}

impl Node {
    pub(crate) async fn start(name: &str, endpoints: Vec<String>) -> Self {
        Self::start_with(ClusterSettings::new(name.parse().unwrap(), endpoints)).await
    }

    pub(crate) async fn start_with(settings: ClusterSettings) -> Self {
        Self::start_ruled(settings, NameRules::default()).await
    }

    pub(crate) async fn start_ruled(settings: ClusterSettings, rules: NameRules) -> Self {
        let adapter = EtcdAdapter::new(settings).unwrap();
        let settle_time = Duration::ZERO;
        let adapters = vec![Arc::new(adapter) as _];
        let options = NodeOptions { settle_time, adapters, rules, ..NodeOptions::default() };
        let endpoint = Endpoint::Memory(0);
        let node = RegistrarNode::bind(&[endpoint], options).await.unwrap();
        let (registry, endpoint) = (node.registry().clone(), node.endpoints()[0].clone());
        let mut serving = JoinSet::new();
        serving.spawn(node.serve(CancellationToken::new()));
        Self { registry, endpoint, serving }
    }

    /// Crashes.
    pub(crate) async fn crash(mut self) {
        self.serving.shutdown().await;
    }

    /// Opens a session.
    pub(crate) fn client(&self) -> LocalClient {
        LocalClient::open(self.registry.clone(), Owner::User(1000))
    }

    /// Returns the ready instances of a name.
    pub(crate) fn find(&self, name: &str) -> Vec<Record> {
        self.registry.own_session().look_up(&name.parse().unwrap()).records
    }

    pub(crate) fn cluster(&self) -> ClusterStatus {
        self.registry.cluster().unwrap()
    }

    /// Waits until the link to the cluster is as wanted. Nothing tells that, so it is asked for.
    pub(crate) async fn until(&self, is_so: impl Fn(&ClusterStatus) -> bool) {
        let looking = async {
            while !self.registry.cluster().is_some_and(|it| is_so(&it)) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT, looking).await.unwrap_or_else(|_| panic!("{:?}", self.registry.cluster()));
    }

    pub(crate) async fn until_connected(&self) {
        self.until(|it| it.error.is_none()).await;
    }

    pub(crate) fn watch(&self) -> Watcher {
        let session = self.registry.own_session();
        session.watch(1, NamePattern::any(), None).unwrap();
        Watcher { session, changes: VecDeque::new(), told: HashMap::new() }
    }
}

/// Starts the nodes `rome` and `oslo`, and watches everything at the second.
pub(crate) async fn rome_and_oslo(etcd: &Etcd) -> (Node, Node, Watcher) {
    let rome = Node::start("rome", etcd.endpoints()).await;
    let oslo = Node::start("oslo", etcd.endpoints()).await;
    let watcher = oslo.watch();
    (rome, oslo, watcher)
}

/// Registers an instance that its session keeps.
pub(crate) fn register(client: &LocalClient, name: &str, uuid: u128) -> Registered {
    client.register(registration(name, uuid)).unwrap()
}

pub(crate) fn registration(name: &str, uuid: u128) -> Register {
    let endpoints = vec![Stamped::bare("/ip4/10.0.0.7/tcp/80".parse().unwrap())];
    Register { endpoints, ..Register::new(name.parse().unwrap(), Uuid::from_u128(uuid)) }
}

pub(crate) fn home(record: &Record) -> Option<&str> {
    record.node.as_ref().map(Name::as_str)
}

/// A watch of everything at a node.
pub(crate) struct Watcher {
    session: ForeignSession,
    changes: VecDeque<Change>,
    /// What it has been told of each instance, but for what speaks against it.
    told: HashMap<Uuid, Record>,
}

impl Watcher {
    /// Returns the next change as words, such as `add feed 1 at rome`. That an instance is in doubt for
    /// as long as etcd is away says nothing: how long that is, the machine decides.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            if let Some(change) = self.changes.pop_front() {
                if self.is_doubt(&change) {
                    continue;
                }
                match brief(&change) {
                    Some(words) => return words,
                    None => continue,
                }
            }
            let changes = timeout(LIMIT, self.session.changes()).await;
            self.changes.extend(changes.expect("a change was to come"));
        }
    }
}

impl Watcher {
    /// Tells whether nothing has changed but what speaks against an instance.
    fn is_doubt(&mut self, change: &Change) -> bool {
        let (Change::Add { record, .. } | Change::Update { record, .. }) = change else {
            return false;
        };
        let record = Record { suspicion: None, ..record.clone() };
        let earlier = self.told.insert(record.uuid, record.clone());
        matches!(change, Change::Update { .. }) && earlier == Some(record)
    }
}

fn brief(change: &Change) -> Option<String> {
    let of = |record: &Record| {
        let home = home(record).map(|it| format!(" at {it}")).unwrap_or_default();
        format!("{} {}{home}", record.name, record.uuid.as_u128())
    };
    Some(match change {
        Change::Reset | Change::Synced { .. } => return None,
        Change::Add { record, .. } => format!("add {}", of(record)),
        Change::Update { record, .. } => format!("update {}", of(record)),
        Change::Remove { instance, reason, .. } => {
            format!("remove {} {}: {reason}", instance.name, instance.uuid.as_u128())
        }
    })
}
