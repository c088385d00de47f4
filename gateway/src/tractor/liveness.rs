//! The liveness monitor: watches whether registered programs live.
//!
//! They hold no connection, so somebody has to look. Over a Unix socket the kernel reports the end
//! of the process. Otherwise each endpoint is asked from time to time, and immediately when it is
//! reported not to answer.
//!
//! ```text
//!   conversation ──▶ orders ──▶ liveness ──▶ process ended? ──┐
//!                                 │                         ├──▶ registry
//!                                 └──────▶ looks ───────────┘
//! ```

mod looks;
mod remembered;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    future::pending,
    sync::Arc,
    time::Duration,
};

use endpoints::Endpoint;
use registrar::{
    RegistryHandle,
    registry::{Caller, Event},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tracing::debug;
use transport::{PeerProcess, ProcessMark};
use uuid::Uuid;
use wire::{Epoch, Lifetime, Record};

use self::{
    looks::{INTERVAL_FIRST, LOOKS_MAX, LookResult},
    remembered::Returned,
};
use super::{Uid, ledger::Ledger, message::Aid};

/// Orders for the monitor. Each connection sends its own, so their instance may have another
/// registration by then: a later one stays.
#[derive(Debug)]
pub(super) enum Order {
    /// An instance is registered, or an endpoint of it.
    Watch { uuid: Uuid, epoch: Epoch, endpoint: Option<Endpoint>, process: Process },
    /// An instance is not registered any more.
    Forget { uuid: Uuid, epoch: Epoch },
    /// An endpoint is reported not to answer. The answer names the instance found dead there, if
    /// any of those whom `by` may find.
    Doubt { endpoint: Endpoint, by: Caller, answer: oneshot::Sender<Option<Uid>> },
}

/// The process that registered an instance.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// The process, held where the kernel can report its end.
    pub(super) held: Option<PeerProcess>,
    /// The process, if known: from the kernel, or by its own claim.
    pub(super) mark: Option<ProcessMark>,
}

/// Watches the registrations of one adapter.
#[derive(Debug)]
pub(super) struct LivenessMonitor {
    registry: RegistryHandle,
    own: Arc<Aid>,
    orders: mpsc::Receiver<Order>,
    watched: HashMap<Uuid, Watched>,
    by_endpoint: HashMap<Endpoint, HashSet<Uuid>>,
    due: BTreeSet<(Instant, Uuid)>,
    ends: JoinSet<(Uuid, Epoch)>,
    /// Instances of an earlier run that wait for the cluster to decide about their names.
    returns: JoinSet<Returned>,
    looks: JoinSet<LookResult>,
    /// The silent ones. A look at one takes seconds.
    mute: HashSet<Uuid>,
    ledger: Option<Ledger>,
    /// The time of the next write to the ledger.
    write_at: Option<Instant>,
    /// The time before which nothing is written again.
    write_after: Instant,
}

/// An instance that is watched.
#[derive(Debug)]
struct Watched {
    epoch: Epoch,
    endpoints: HashSet<Endpoint>,
    /// Waits for the end of its process.
    process: Option<AbortHandle>,
    mark: Option<ProcessMark>,
    /// The time of the next look; `None` during a look.
    due: Option<Instant>,
    interval: Duration,
    /// Since when no sign of life was seen.
    silent_since: Option<Instant>,
    /// Whether its endpoints must be looked at although the process lives.
    is_doubted: bool,
    asked: Vec<Inquiry>,
}

/// Callers that reported an endpoint, and wait to hear which instance was found dead there.
type Inquiry = (Endpoint, oneshot::Sender<Option<Uid>>);

impl LivenessMonitor {
    pub(super) fn new(
        registry: RegistryHandle,
        own: Arc<Aid>,
        orders: mpsc::Receiver<Order>,
        ledger: Option<Ledger>,
    ) -> Self {
        Self {
            registry,
            own,
            orders,
            watched: HashMap::new(),
            by_endpoint: HashMap::new(),
            due: BTreeSet::new(),
            ends: JoinSet::new(),
            returns: JoinSet::new(),
            looks: JoinSet::new(),
            mute: HashSet::new(),
            ledger,
            write_at: None,
            write_after: Instant::now(),
        }
    }

    /// Watches until nobody can give orders any more.
    pub(super) async fn run(mut self) {
        loop {
            let next = self.due.first().map(|(at, _)| *at).filter(|_| self.looks.len() < LOOKS_MAX);
            let next_due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            let write_at = self.write_at;
            let writing = async {
                match write_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = writing => self.write(),
                Some(ended) = self.ends.join_next() => self.ended(ended),
                Some(returned) = self.returns.join_next() => {
                    self.returned(returned.expect("to return does not panic, and is not aborted"));
                }
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                Some(looked) = self.looks.join_next() => {
                    self.note(looked.expect("to look does not panic, and is not aborted"));
                }
                () = next_due => self.look(),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Watch { uuid, epoch, endpoint, process } => {
                self.watch(uuid, epoch, endpoint, process);
            }
            Order::Forget { uuid, epoch } => {
                if self.watched.get(&uuid).is_some_and(|it| it.epoch <= epoch) {
                    self.forget(uuid);
                }
            }
            Order::Doubt { endpoint, by, answer } => {
                // Of several that claim it, the first dead one is reported; one is usual.
                let uuids = self.by_endpoint.get(&endpoint).cloned().unwrap_or_default();
                let mut answer = Some(answer);
                for uuid in uuids {
                    let Some(watched) = self.watched.get_mut(&uuid) else { continue };
                    if self.registry.record_for(uuid, &by).is_some()
                        && let Some(answer) = answer.take()
                        && watched.asked.len() < ASKED_MAX
                    {
                        watched.asked.push((endpoint.clone(), answer));
                    }
                    self.doubt(uuid);
                }
            }
        }
    }

    fn watch(&mut self, uuid: Uuid, epoch: Epoch, endpoint: Option<Endpoint>, process: Process) {
        match self.watched.get(&uuid).map(|it| it.epoch) {
            Some(later) if later > epoch => return,
            Some(earlier) if earlier < epoch => self.forget(uuid),
            _ => {}
        }
        self.is_to_write();
        // A claim to another's endpoint implies that the other is gone.
        let mut rivals = Vec::new();
        if let Some(endpoint) = &endpoint {
            let others = self.by_endpoint.entry(endpoint.clone()).or_default();
            rivals.extend(others.iter().copied().filter(|it| *it != uuid));
            others.insert(uuid);
        }

        let first_due = Instant::now() + INTERVAL_FIRST;
        let due = &mut self.due;
        let watched = self.watched.entry(uuid).or_insert_with(|| {
            due.insert((first_due, uuid));
            Watched {
                epoch,
                endpoints: HashSet::new(),
                process: None,
                mark: None,
                due: Some(first_due),
                interval: INTERVAL_FIRST,
                silent_since: None,
                is_doubted: false,
                asked: Vec::new(),
            }
        });
        watched.endpoints.extend(endpoint);
        // The first is the actor's own. Another program of its user may add an endpoint, and end.
        watched.mark = watched.mark.or(process.mark);
        if let Some(process) = process.held.filter(|_| watched.process.is_none()) {
            watched.process = Some(self.ends.spawn(async move {
                match process.ended().await {
                    Ok(()) => (uuid, epoch),
                    // The runtime shuts down.
                    Err(_) => pending().await,
                }
            }));
        }
        rivals.into_iter().for_each(|it| self.doubt(it));
    }

    fn forget(&mut self, uuid: Uuid) {
        let Some(watched) = self.watched.remove(&uuid) else { return };
        self.mute.remove(&uuid);
        self.is_to_write();
        if let Some(due) = watched.due {
            self.due.remove(&(due, uuid));
        }
        if let Some(process) = watched.process {
            process.abort();
        }
        for endpoint in &watched.endpoints {
            unlist(&mut self.by_endpoint, endpoint, uuid);
        }
    }

    fn ended(&mut self, ended: Result<(Uuid, Epoch), JoinError>) {
        // An aborted look is no longer awaited.
        let Ok((uuid, epoch)) = ended else { return };
        debug!(%uuid, "the process has ended");
        self.registry.note(Event::ProcessEnded { uuid, epoch });
        if self.watched.get(&uuid).is_some_and(|it| it.epoch == epoch) {
            self.forget(uuid);
        }
    }
}

fn unlist(listed: &mut HashMap<Endpoint, HashSet<Uuid>>, endpoint: &Endpoint, uuid: Uuid) {
    if let Some(uuids) = listed.get_mut(endpoint) {
        uuids.remove(&uuid);
        if uuids.is_empty() {
            listed.remove(endpoint);
        }
    }
}

impl Watched {
    /// Tells whether a record describes this registration.
    fn is_about(&self, record: &Record) -> bool {
        record.epoch == self.epoch && record.lifetime == Lifetime::Foreign
    }
}

/// The most callers that wait for one look; others hear immediately that nobody was found dead.
const ASKED_MAX: usize = 64;

/// The most queued orders: the monitor never waits itself, and handles each in microseconds.
pub(super) const ORDERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::TcpListener};

    use endpoints::Stamped;
    use registrar::{
        Node, NodeOptions,
        registry::{Foreign, Grantee, NameRule, NameRules, Names, Owner},
    };

    use super::{super::ledger::LedgerEntry, *};

    async fn node() -> Node {
        Node::bind(&["/memory/0".parse().unwrap()], NodeOptions::default()).await.unwrap()
    }

    fn liveness(node: &Node) -> LivenessMonitor {
        let own = Arc::new(Aid::new("registrar".to_owned(), "u".to_owned(), Some(true)));
        let orders = mpsc::channel(ORDERS_MAX).1;
        LivenessMonitor::new(node.registry().clone(), own, orders, None)
    }

    /// It goes nevertheless, and only callers that may find the actor hear of it.
    #[tokio::test]
    async fn deaths_of_hidden_instances_are_not_revealed() {
        let node = node().await;
        let mut liveness = liveness(&node);
        let hidden = NameRule {
            pattern: "db*".parse().unwrap(),
            register: None,
            find: Some(vec![Grantee::User(7)]),
            exclusive: false,
            instances_max: None,
            place: String::new(),
        };
        node.controls().set_rules(NameRules::new(Names::SameUser, String::new(), vec![hidden]));
        for (name, owner, by, is_told) in [
            ("db-main", 9, 7, true),
            ("db-main", 9, 8, false),
            ("db", 9, 9, true),
            ("db", 7, 8, false),
            ("feed", 9, 8, true),
        ] {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let endpoint: Endpoint = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
            let stamp = transport::stamp(&endpoint);
            let uuid = Uuid::new_v4();
            let place = Some(Stamped { endpoint: endpoint.clone(), stamp });
            let name = name.parse().unwrap();
            let written = Foreign { name, uuid, endpoint: place, metadata: BTreeMap::new() };
            let epoch =
                node.registry().remember_foreign(written, Owner::User(owner)).unwrap().unwrap();
            let process = Process::default();
            liveness.obey(Order::Watch { uuid, epoch, endpoint: Some(endpoint.clone()), process });
            let (answer, mut found) = oneshot::channel();
            let caller = Caller { is_trusted: false, ..Owner::User(by).into() };
            liveness.obey(Order::Doubt { endpoint, by: caller, answer });
            liveness.look();
            let looked = liveness.looks.join_next().await.unwrap().unwrap();
            liveness.note(looked);
            assert_eq!(node.registry().record(uuid), None);
            assert_eq!(found.try_recv().ok().flatten().is_some(), is_told, "{owner} {by}");
        }
    }

    /// It seemed to be new.
    #[tokio::test]
    async fn an_actor_of_an_earlier_run_is_as_old_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("callsign/programs");
        let (uuid, since_ms) = (Uuid::from_u128(7), 1_234);
        let process = ProcessMark::of(std::process::id() as i32).unwrap();
        let instance = ("feed".parse().unwrap(), uuid, 7, since_ms);
        let (places, metadata) = Default::default();
        let line = LedgerEntry::new(instance, places, metadata, Owner::User(7), process);
        Ledger::new(file.clone()).write(line.into_iter());

        let node = node().await;
        let own = Arc::new(Aid::new("registrar".to_owned(), "u".to_owned(), Some(true)));
        let orders = mpsc::channel(ORDERS_MAX).1;
        let ledger = Some(Ledger::new(file.clone()));
        let mut liveness = LivenessMonitor::new(node.registry().clone(), own, orders, ledger);
        liveness.restore();
        assert_eq!(node.registry().record(uuid).map(|it| it.since_ms), Some(since_ms));
        // The run after this one knows it too.
        liveness.write();
        assert_eq!(Ledger::new(file).read()[0].since_ms, since_ms);
    }

    /// Two connections of one program: one removes it, and the other has registered it again.
    #[tokio::test]
    async fn an_order_that_comes_late_leaves_a_later_registration_watched() {
        let mut liveness = liveness(&node().await);
        let uuid = Uuid::from_u128(7);
        let watch = |epoch| Order::Watch {
            uuid,
            epoch,
            endpoint: "/ip4/127.0.0.1/tcp/7".parse().ok(),
            process: Process::default(),
        };
        let watched = |it: &LivenessMonitor| it.watched.get(&uuid).map(|it| it.epoch);
        liveness.obey(watch(2));
        liveness.obey(Order::Forget { uuid, epoch: 1 });
        assert_eq!(watched(&liveness), Some(2));
        liveness.obey(watch(1));
        assert_eq!(watched(&liveness), Some(2));
        liveness.obey(watch(3));
        assert_eq!(watched(&liveness), Some(3));
        liveness.obey(Order::Forget { uuid, epoch: 3 });
        assert_eq!(watched(&liveness), None);
        assert!(liveness.due.is_empty() && liveness.by_endpoint.is_empty());
    }
}
