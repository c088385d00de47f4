//! The members, the nodes, the links between them, and the load.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use discovery::{Change, Client, Registration};
use endpoints::{NamePattern, Stamped};
use registrar::RegistryHandle;
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};
use uuid::Uuid;
use wire::registrar::Change as Told;

use super::model::Model;
use crate::{
    etcd::Etcd,
    node::{LIMIT, Node},
    relay::Relay,
};

const NODES: [&str; 3] = ["rome", "oslo", "bern"];

/// What a watcher has seen, and when.
type Seen = Vec<(Instant, Change)>;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Member,
    Leader,
    Node,
    Link,
    Peer,
}

/// How it is put right again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mending {
    Member(usize),
    Node(usize),
    Links(usize),
    Peer(usize),
}

/// All that there is.
pub(crate) struct Stage {
    etcd: Etcd,
    /// The links of each node to each member.
    links: Vec<Vec<Relay>>,
    nodes: Vec<Option<Node>>,
    model: Arc<Model>,
    /// What each watcher has seen.
    seen: Arc<Mutex<Vec<Seen>>>,
    /// The look-ups and samples at each node.
    askers: Vec<JoinSet<()>>,
    load: JoinSet<()>,
    stops: Arc<AtomicBool>,
}

impl Stage {
    pub(crate) async fn set(delay: Duration) -> Option<Self> {
        let etcd = Etcd::start_apart(3, Some(delay)).await?;
        let (mut links, mut nodes) = (Vec::new(), Vec::new());
        for (at, name) in NODES.iter().enumerate() {
            let mut own = Vec::new();
            for member in 0..3 {
                own.push(etcd.slow_relay((at + member) % 3, delay).await);
            }
            nodes.push(Some(Node::start(name, own.iter().map(Relay::endpoint).collect()).await));
            links.push(own);
        }
        let mut stage = Self {
            etcd,
            links,
            nodes,
            model: Arc::default(),
            seen: Arc::default(),
            askers: Vec::new(),
            load: JoinSet::new(),
            stops: Arc::default(),
        };
        stage.until_whole().await;
        for at in 0..NODES.len() {
            stage.keep(at).await;
            stage.askers.push(JoinSet::new());
        }
        while !stage.living().all(|it| it.find("anchor").len() == NODES.len()) {
            sleep(Duration::from_millis(5)).await;
        }
        for at in 0..NODES.len() {
            stage.ask(at).await;
        }
        Some(stage)
    }

    fn living(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// Waits until all nodes know each other.
    async fn until_whole(&self) {
        for node in self.living() {
            let knows = |it: &wire::registrar::ClusterNode| it.lives && !it.places.is_empty();
            node.until(|it| {
                it.error.is_none() && it.nodes.iter().filter(|it| knows(it)).count() == 2
            })
            .await;
        }
    }

    /// Starts clients of a node: one that registers and lets go, one that watches everything.
    async fn keep(&mut self, at: usize) {
        let endpoint = self.nodes[at].as_ref().unwrap().endpoint.to_string();
        let client = Client::connect([&endpoint[..]]).await.unwrap();
        let (model, stops) = (self.model.clone(), self.stops.clone());
        let anchor = client.register(registration("anchor")).await.unwrap();
        model.began(anchor.instance().uuid);
        self.load.spawn(async move {
            let mut kept = VecDeque::new();
            let mut due = interval(Duration::from_millis(60));
            while !stops.load(Ordering::Relaxed) {
                due.tick().await;
                match client.register_patiently(registration("short")).await {
                    Ok(registered) => {
                        model.began(registered.instance().uuid);
                        kept.push_back(registered);
                    }
                    Err(error) => model.fault(format!("not registered: {error}")),
                }
                if kept.len() > KEPT {
                    let oldest = kept.pop_front().unwrap();
                    let uuid = oldest.instance().uuid;
                    model.ends(uuid);
                    oldest.unregister().await;
                    model.ended(uuid);
                }
            }
            // All that is kept stays until the end.
            while stops.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(100)).await;
            }
            drop((anchor, kept, client));
        });
        let client = Client::connect([&endpoint[..]]).await.unwrap();
        let (seen, place) = (self.seen.clone(), {
            let mut seen = self.seen.lock().unwrap();
            seen.push(Vec::new());
            seen.len() - 1
        });
        let mut watch = client.watch("*").unwrap();
        self.load.spawn(async move {
            while let Some(change) = watch.next().await {
                seen.lock().unwrap()[place].push((Instant::now(), change));
            }
        });
    }

    /// Looks up at a node, and compares what it knows, for as long as it lives.
    async fn ask(&mut self, at: usize) {
        let node = self.nodes[at].as_ref().unwrap();
        let client = Client::connect([node.endpoint.to_string()]).await.unwrap();
        let model = self.model.clone();
        self.askers[at].spawn(async move {
            let mut due = interval(Duration::from_millis(3));
            loop {
                due.tick().await;
                match client.query_actor("anchor").await {
                    Ok(Some(_)) => model.looked_up(),
                    other => model.fault(format!("looked up at {}: {other:?}", NODES[at])),
                }
            }
        });
        let (model, registry) = (self.model.clone(), node.registry.clone());
        self.askers[at].spawn(async move {
            sleep(KNOWN_AFTER).await;
            loop {
                sleep(Duration::from_millis(200)).await;
                model.compare(NODES[at], &known(&registry), KNOWN_AFTER);
            }
        });
    }

    pub(crate) async fn inject(&mut self, fault: Fault) -> Mending {
        let drawn = Uuid::new_v4().as_u128() as usize % 3;
        match fault {
            Fault::Member => {
                self.etcd.kill(drawn).await;
                Mending::Member(drawn)
            }
            Fault::Leader => {
                let leader = self.etcd.leader().await;
                self.etcd.kill(leader).await;
                Mending::Member(leader)
            }
            Fault::Node => {
                self.askers[drawn].shutdown().await;
                self.nodes[drawn].take().unwrap().crash().await;
                Mending::Node(drawn)
            }
            Fault::Link => {
                let node = self.nodes[drawn].as_ref().unwrap();
                let used = node.cluster().endpoint;
                let link = self.links[drawn].iter_mut().find(|it| Some(it.endpoint()) == used);
                if let Some(link) = link {
                    link.sever().await;
                }
                Mending::Links(drawn)
            }
            Fault::Peer => {
                self.etcd.relays[drawn].sever().await;
                Mending::Peer(drawn)
            }
        }
    }

    pub(crate) async fn mend(&mut self, mending: Mending) {
        match mending {
            Mending::Member(member) => {
                self.etcd.run(member);
                self.etcd.answers(member).await;
            }
            Mending::Node(at) => {
                let endpoints = self.links[at].iter().map(Relay::endpoint).collect();
                self.nodes[at] = Some(Node::start(NODES[at], endpoints).await);
                self.until_whole().await;
                self.ask(at).await;
            }
            Mending::Links(at) => {
                for link in &mut self.links[at] {
                    link.sever().await;
                    link.mend().await;
                }
            }
            Mending::Peer(member) => self.etcd.relays[member].mend().await,
        }
    }

    /// Takes all of etcd away for a while.
    pub(crate) async fn lose_etcd(&mut self, time: Duration) {
        for at in 0..NODES.len() {
            // What is new is not told to others meanwhile; look-ups go on.
            self.askers[at].shutdown().await;
        }
        let anchors = self.model.living();
        for member in 0..3 {
            self.etcd.kill(member).await;
        }
        let (until, mut count) = (Instant::now() + time, 0_u64);
        while Instant::now() < until {
            for (at, node) in self.living().enumerate() {
                match node.find("anchor").len() {
                    3 => count += 1,
                    other => self.model.fault(format!("{} finds {other} anchors", NODES[at])),
                }
            }
            sleep(Duration::from_millis(1)).await;
        }
        let ages: Vec<_> = self.living().map(|it| it.cluster().age_ms).collect();
        assert!(ages.iter().all(|it| *it + 2500 > time.as_millis() as u64), "{ages:?}");
        for member in 0..3 {
            self.etcd.run(member);
        }
        for member in 0..3 {
            self.etcd.answers(member).await;
        }
        let back = Instant::now();
        let before = self.etcd.revision(0).await.unwrap();
        let calls_before = self.etcd.calls().await;
        // Two of them start, and the load goes on: so all that was there must be there, everywhere.
        let is_whole = |node: &Node| {
            let known = known(&node.registry);
            anchors.iter().all(|it| !self.model.living().contains(it) || known.contains(it))
                && node.cluster().nodes.iter().filter(|it| it.lives).count() == 2
                && node.cluster().error.is_none()
        };
        while !self.living().all(is_whole) {
            assert!(back.elapsed() < LIMIT, "whole at last");
            sleep(Duration::from_millis(10)).await;
        }
        let took = back.elapsed();
        self.model.was_away(until - time);
        let written = self.etcd.revision(0).await.unwrap() - before;
        let calls = self.etcd.calls().await - calls_before;
        eprintln!(
            "etcd was gone for {time:?}: {count} look-ups answered, ages {ages:?} ms; whole {took:?} after \
             it was back, with {written} transactions and {calls} calls (before: {calls_before})"
        );
        // What three nodes need to read all and write all takes some dozen, with the beats of seconds.
        assert!(calls_before + calls < CALLS_MAX, "no herd: {calls_before} and {calls} calls");
        for at in 0..NODES.len() {
            self.ask(at).await;
        }
    }

    /// Measures how long it takes until another node knows.
    pub(crate) async fn measure_events(&self, count: usize) {
        let [rome, oslo] = [0, 1].map(|it| self.nodes[it].as_ref().unwrap());
        let session = oslo.registry.own_session();
        session.watch(1, NamePattern::new("measured").unwrap(), None).unwrap();
        let (mut comings, mut goings) = (Vec::new(), Vec::new());
        for _ in 0..count {
            // What a killed process leaves behind is the end of its connection.
            let client = Client::connect([rome.endpoint.to_string()]).await.unwrap();
            let began = Instant::now();
            let registered = client.register(registration("measured")).await.unwrap();
            seen(&session, |it| matches!(it, Told::Add { .. })).await;
            comings.push(began.elapsed());
            let began = Instant::now();
            drop((registered, client));
            seen(&session, |it| matches!(it, Told::Remove { .. })).await;
            goings.push(began.elapsed());
        }
        for (what, mut times) in [("registered", comings), ("gone", goings)] {
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
            eprintln!(
                "{what} at one node, seen at another: p50 {:?}, p99 {:?}, of {count}",
                at(50),
                at(99)
            );
        }
    }

    pub(crate) fn summary(&self) -> String {
        self.model.summary()
    }

    /// Compares all that was seen with all that has happened.
    pub(crate) async fn check(mut self) {
        self.stops.store(true, Ordering::Relaxed);
        sleep(KNOWN_AFTER + Duration::from_secs(1)).await;
        for asker in &mut self.askers {
            asker.shutdown().await;
        }
        for (at, seen) in self.seen.lock().unwrap().iter().enumerate() {
            self.model.judge(&format!("watcher {at}"), seen);
        }
        eprintln!("{}", self.summary());
        for node in self.living() {
            let it = node.cluster();
            let theirs: Vec<_> =
                it.nodes.iter().map(|it| (it.name.to_string(), it.records)).collect();
            eprintln!(
                "{}: {} written, {} pending, {} faulty, {theirs:?}",
                it.node, it.written, it.pending, it.faulty
            );
        }
        let faults = self.model.faults();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

async fn seen(session: &registrar::ForeignSession, is_it: impl Fn(&Told) -> bool) {
    let seeing = async { while !session.changes().await.iter().any(&is_it) {} };
    timeout(LIMIT, seeing).await.unwrap();
}

fn known(registry: &RegistryHandle) -> BTreeSet<Uuid> {
    let (session, mut known, mut after) = (registry.own_session(), BTreeSet::new(), Some(0));
    while let Some(epoch) = after {
        let page = session.page(epoch);
        known.extend(page.records.iter().map(|it| it.uuid));
        after = page.next;
    }
    known
}

fn registration(name: &str) -> Registration {
    let endpoint = Stamped::bare("/ip4/10.0.0.7/tcp/80".parse().unwrap());
    Registration::new(name).endpoints([endpoint])
}

/// The instances of one client at a time.
const KEPT: usize = 100;

/// The most calls of etcd by three nodes that come back, and the clients of this test.
const CALLS_MAX: u64 = 1000;

/// After how long all nodes know: the lease, and a second.
const KNOWN_AFTER: Duration = Duration::from_secs(4);
