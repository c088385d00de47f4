//! Whether the programs that registered live.
//!
//! They hold no connection, so somebody has to look. Over a Unix socket the kernel tells when the
//! process ends. Otherwise each of its endpoints is asked from time to time, as it is at once when
//! somebody says that it does not answer.
//!
//! ```text
//!   conversation ──▶ orders ──▶ keeper ──▶ process ended? ──┐
//!                                 │                         ├──▶ registry
//!                                 └──────▶ looks ───────────┘
//! ```

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    future::pending,
    mem,
    os::unix::fs::MetadataExt,
    sync::Arc,
    time::Duration,
};

use endpoints::{Endpoint, Stamped};
use registrar::{
    Clerk,
    registry::{Claimant, Event, Foreign, Owner},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info};
use transport::{PeerProcess, ProcessMark, here_for};
use uuid::Uuid;
use wire::{Epoch, Kept, Record};

use super::{
    Uid,
    ledger::{Ledger, Line},
    look::{Sight, look_at},
    message::Aid,
};

/// What the keeper is told. Connections tell it each for itself, so what an order is about may
/// have another registration by then: a later one stays.
#[derive(Debug)]
pub(super) enum Order {
    /// An instance is registered, or an endpoint of it.
    Watch { uuid: Uuid, epoch: Epoch, endpoint: Option<Endpoint>, process: Process },
    /// An instance is not registered any more.
    Forget { uuid: Uuid, epoch: Epoch },
    /// An endpoint is said not to answer. The answer says who was found dead there, if anybody.
    Doubt { endpoint: Endpoint, answer: oneshot::Sender<Option<Uid>> },
}

/// The process that registered an instance.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// It is held, where the kernel can tell when it ends.
    pub(super) held: Option<PeerProcess>,
    /// Which it is, where that is known: by the kernel's word, or by its own.
    pub(super) mark: Option<ProcessMark>,
}

/// Watches what is registered through one door.
#[derive(Debug)]
pub(super) struct Keeper {
    clerk: Clerk,
    own: Arc<Aid>,
    orders: mpsc::Receiver<Order>,
    watched: HashMap<Uuid, Watched>,
    by_endpoint: HashMap<Endpoint, HashSet<Uuid>>,
    due: BTreeSet<(Instant, Uuid)>,
    ends: JoinSet<(Uuid, Epoch)>,
    looks: JoinSet<Looked>,
    /// Those that say nothing. A look at one takes seconds.
    mute: HashSet<Uuid>,
    ledger: Option<Ledger>,
    /// When what has changed is written down.
    write_at: Option<Instant>,
    /// Before when nothing is written again.
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
    /// When it is looked at next; `None` while that is done.
    due: Option<Instant>,
    interval: Duration,
    /// Since when nothing was seen of it that lives.
    silent_since: Option<Instant>,
    /// Whether its endpoints are to be looked at though the process lives.
    is_doubted: bool,
    asked: Vec<Asked>,
}

/// What a look at an instance has found.
#[derive(Debug)]
struct Looked {
    uuid: Uuid,
    epoch: Epoch,
    uid: Uid,
    sights: Vec<(Stamped, Sight)>,
    was_doubted: bool,
    asked: Vec<Asked>,
}

/// Who said that an endpoint does not answer, and waits to hear who was found dead there.
type Asked = (Endpoint, oneshot::Sender<Option<Uid>>);

impl Keeper {
    pub(super) fn new(
        clerk: Clerk,
        own: Arc<Aid>,
        orders: mpsc::Receiver<Order>,
        ledger: Option<Ledger>,
    ) -> Self {
        Self {
            clerk,
            own,
            orders,
            watched: HashMap::new(),
            by_endpoint: HashMap::new(),
            due: BTreeSet::new(),
            ends: JoinSet::new(),
            looks: JoinSet::new(),
            mute: HashSet::new(),
            ledger,
            write_at: None,
            write_after: Instant::now(),
        }
    }

    /// Registers what an earlier run of the node has written down. Each is looked at at once.
    pub(super) fn restore(&mut self) {
        for line in self.ledger.as_ref().map(Ledger::read).unwrap_or_default() {
            let (uuid, owner, mark) = (line.uuid, line.owner(), line.process());
            // What a program said of itself over TCP is a reason to believe it once, and no more;
            // that it is a process of the same user, the kernel tells.
            let is_of_owner = || match owner {
                Owner::User(user) => user_of(mark) == Some(user),
                _ => false,
            };
            let is_told_by_kernel = line.endpoints.is_empty() || is_of_owner();
            let Line { name, endpoints, metadata, .. } = line;
            let mut endpoints: Vec<_> = endpoints.into_iter().map(Some).collect();
            if endpoints.is_empty() {
                endpoints.push(None);
            }
            for endpoint in endpoints {
                let held = if is_told_by_kernel { PeerProcess::find(mark).ok() } else { None };
                let at = endpoint.as_ref().map(|it: &Stamped| it.endpoint.clone());
                let (name, metadata) = (name.clone(), metadata.clone());
                let foreign = Foreign { name, uuid, endpoint, metadata };
                match self.clerk.register_foreign(foreign, owner) {
                    Ok(Some(epoch)) => {
                        self.watch(uuid, epoch, at, Process { held, mark: Some(mark) });
                    }
                    Ok(None) => {}
                    Err(error) => debug!(%uuid, %error, "not registered again"),
                }
            }
            self.clerk.settle(uuid, owner);
            self.doubt(uuid);
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
            Order::Doubt { endpoint, answer } => {
                // Of several that claim it, the first that is dead is told; one is usual.
                let uuids = self.by_endpoint.get(&endpoint).cloned().unwrap_or_default();
                let mut answer = Some(answer);
                for uuid in uuids {
                    let Some(watched) = self.watched.get_mut(&uuid) else { continue };
                    if let Some(answer) = answer.take()
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
        // Who claims what another claimed says that the other is gone.
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
        // One that was aborted is not waited for any more.
        let Ok((uuid, epoch)) = ended else { return };
        debug!(%uuid, "the process has ended");
        self.clerk.note(Event::ProcessEnded { uuid, epoch });
        if self.watched.get(&uuid).is_some_and(|it| it.epoch == epoch) {
            self.forget(uuid);
        }
    }

    /// Has an instance looked at, at once or after the look that is under way.
    fn doubt(&mut self, uuid: Uuid) {
        let Some(watched) = self.watched.get_mut(&uuid) else { return };
        watched.is_doubted = true;
        if watched.due.is_some() {
            self.schedule(uuid, Instant::now());
        }
    }

    /// Sets when an instance is looked at next.
    fn schedule(&mut self, uuid: Uuid, at: Instant) {
        let Some(watched) = self.watched.get_mut(&uuid) else { return };
        if let Some(due) = watched.due.replace(at) {
            self.due.remove(&(due, uuid));
        }
        self.due.insert((at, uuid));
    }

    /// Looks at the instance that is due next.
    fn look(&mut self) {
        let Some((_, uuid)) = self.due.pop_first() else { return };
        let watched = self.watched.get_mut(&uuid).expect("what is due is watched");
        watched.due = None;
        let Some(record) = self.clerk.record(uuid).filter(|it| watched.is_about(it)) else {
            return self.forget(uuid);
        };
        // Endpoints may have been taken out meanwhile, here or elsewhere.
        let by_endpoint = &mut self.by_endpoint;
        watched.endpoints.retain(|endpoint| {
            let is_there = record.endpoints.iter().any(|it| it.endpoint == *endpoint);
            if !is_there {
                unlist(by_endpoint, endpoint, uuid);
            }
            is_there
        });
        // The kernel tells of the end of its process, and a look whether that answers.
        let was_doubted = mem::take(&mut watched.is_doubted);
        let asked = mem::take(&mut watched.asked);
        let (uid, own, epoch) = (Uid::from(&record), self.own.clone(), watched.epoch);
        self.looks.spawn(async move {
            let mut sights = Vec::with_capacity(record.endpoints.len());
            let looking = async {
                for stamped in record.endpoints {
                    let sight = look_at(&stamped, &uid, &own).await;
                    sights.push((stamped, sight));
                }
            };
            // What is not seen by then is seen next time.
            drop(timeout(LOOK_TIMEOUT, looking).await);
            Looked { uuid, epoch, uid, sights, was_doubted, asked }
        });
    }

    /// Takes note of what a look has found.
    fn note(&mut self, looked: Looked) {
        let Looked { uuid, epoch, uid, sights, was_doubted, asked } = looked;
        let Some(watched) = self.watched.get_mut(&uuid).filter(|it| it.epoch == epoch) else {
            return;
        };
        let is_seen = |sight| sights.iter().any(|(_, it)| *it == sight);
        let is_alive = is_seen(Sight::Alive);
        let silent_since = match is_alive || is_seen(Sight::Mute) {
            true => None,
            false => Some(*watched.silent_since.get_or_insert_with(Instant::now)),
        };
        watched.silent_since = silent_since;
        // Where the kernel tells of its end, it need not be seen.
        let is_given_up =
            watched.process.is_none() && silent_since.is_some_and(|it| it.elapsed() >= SILENCE_MAX);
        let kernel = here_for([]).kernel;
        let is_local = |it: &Stamped| it.stamp.kernel.is_some() && it.stamp.kernel == kernel;
        match !is_alive && is_seen(Sight::Mute) {
            true => self.mute.insert(uuid),
            false => self.mute.remove(&uuid),
        };
        let is_prompt = is_alive || self.mute.len() <= MUTE_PROMPT_MAX;
        let is_near = is_prompt && sights.iter().any(|(stamped, _)| is_local(stamped));
        let interval_max = if is_near { INTERVAL_MAX_LOCAL } else { INTERVAL_MAX_BEYOND };
        let is_suspect = self.clerk.record(uuid).is_some_and(|it| it.suspicion.is_some());

        let is_vouched_for = watched.process.is_some() && !was_doubted;

        let mut dead = Vec::new();
        for (stamped, sight) in sights {
            let endpoint = stamped.endpoint.clone();
            let claimant = Claimant { uuid, epoch, stamped };
            let event = match sight {
                // The kernel says that it lives, and nobody else that it does not answer.
                Sight::Dead if is_vouched_for && is_suspect => continue,
                Sight::Dead if is_vouched_for => Event::Suspect(claimant),
                Sight::Dead => Event::FoundDead(claimant),
                Sight::Unclear if is_given_up => Event::FoundDead(claimant),
                Sight::Alive if is_suspect => Event::FoundAlive(claimant),
                // One that is seen alive somewhere need not be seen everywhere.
                Sight::Mute | Sight::Unclear if !is_alive && !is_suspect => {
                    Event::Suspect(claimant)
                }
                Sight::Alive | Sight::Mute | Sight::Unclear => continue,
            };
            if matches!(event, Event::FoundDead(_)) {
                info!(actor = %uid, %endpoint, "found dead");
                dead.push(endpoint);
            }
            self.clerk.note(event);
        }

        if !dead.is_empty() {
            self.is_to_write();
        }
        for (endpoint, answer) in asked {
            let found = dead.contains(&endpoint).then(|| uid.clone());
            // Who asked may have gone.
            drop(answer.send(found));
        }
        let Some(watched) = self.watched.get_mut(&uuid) else { return };
        if !self.clerk.record(uuid).is_some_and(|it| watched.is_about(&it)) {
            return self.forget(uuid);
        }
        watched.interval = (watched.interval * 2).min(interval_max);
        let wait = if watched.is_doubted { Duration::ZERO } else { watched.interval };
        self.schedule(uuid, Instant::now() + wait);
    }
}

/// What is written down for the next run.
impl Keeper {
    fn is_to_write(&mut self) {
        if self.ledger.is_some() && self.write_at.is_none() {
            self.write_at = Some(self.write_after.max(Instant::now()));
        }
    }

    fn write(&mut self) {
        self.write_at = None;
        let Some(ledger) = &self.ledger else { return };
        let begun = Instant::now();
        ledger.write(self.watched.iter().filter_map(|(uuid, watched)| {
            let mark = watched.mark?;
            let record = self.clerk.record(*uuid).filter(|it| watched.is_about(it))?;
            let owner = self.clerk.owner(*uuid)?;
            Line::new((record.name, *uuid), record.endpoints, record.metadata, owner, mark)
        }));
        // A crowd that comes at once is written a few times, not each time anew.
        self.write_after = begun + WRITE_PAUSE_MIN + 10 * begun.elapsed();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.write_at.is_some() {
            self.write();
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
    /// Tells whether this is what a record is about: it is the same registration.
    fn is_about(&self, record: &Record) -> bool {
        record.epoch == self.epoch && record.kept == Kept::Foreign
    }
}

/// After how long an instance is looked at first. The time doubles with every look.
const INTERVAL_FIRST: Duration = Duration::from_secs(1);

/// The longest time between two looks within this host, where a look costs some 0.2 ms: an actor
/// that is killed is gone within that and the time of a look.
const INTERVAL_MAX_LOCAL: Duration = Duration::from_secs(3);

/// The longest time between two looks beyond this host, or at one that says nothing: such a look
/// takes seconds, and nobody is to keep others from being looked at by being mute.
const INTERVAL_MAX_BEYOND: Duration = Duration::from_secs(30);

/// How many mute ones of this host are looked at as often as others, so that one that a debugger
/// lets go again is soon cleared. Of more, each waits as long as one beyond.
const MUTE_PROMPT_MAX: usize = 16;

/// The least time between two writings.
const WRITE_PAUSE_MIN: Duration = Duration::from_millis(20);

/// For how long nothing of an instance may be seen before it is given up: longer than a switch or
/// a host takes to start again, and nobody else vouches for it.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a look at all endpoints of an instance may take. One that does not answer takes up to
/// two seconds, and two are usual.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// How many looks are under way at once, each at the cost of a connection.
const LOOKS_MAX: usize = 64;

/// How many may wait for one look; others hear at once that nobody was found dead.
const ASKED_MAX: usize = 64;

/// How many orders may wait: the keeper never waits itself, and takes each in microseconds.
pub(super) const ORDERS_MAX: usize = 256;

/// Returns the user of a process.
fn user_of(mark: ProcessMark) -> Option<u32> {
    Some(std::fs::metadata(format!("/proc/{}", mark.pid)).ok()?.uid())
}

#[cfg(test)]
mod tests {
    use registrar::{Node, NodeOptions};

    use super::*;

    /// Two connections of one program: one takes it out, and the other has registered it anew.
    #[tokio::test]
    async fn an_order_that_comes_late_leaves_a_later_registration_watched() {
        let node = Node::bind(&["/memory/0".parse().unwrap()], NodeOptions::default()).await;
        let own = Aid {
            name: "registrar".to_owned(),
            uuid: "u".to_owned(),
            pid: None,
            is_registrar: Some(true),
            is_probe: false,
        };
        let (_orders, inbox) = mpsc::channel(ORDERS_MAX);
        let mut keeper = Keeper::new(node.unwrap().clerk().clone(), Arc::new(own), inbox, None);
        let uuid = Uuid::from_u128(7);
        let watch = |epoch| Order::Watch {
            uuid,
            epoch,
            endpoint: "/ip4/127.0.0.1/tcp/7".parse().ok(),
            process: Process::default(),
        };
        let watched = |it: &Keeper| it.watched.get(&uuid).map(|it| it.epoch);
        keeper.obey(watch(2));
        keeper.obey(Order::Forget { uuid, epoch: 1 });
        assert_eq!(watched(&keeper), Some(2));
        keeper.obey(watch(1));
        assert_eq!(watched(&keeper), Some(2));
        keeper.obey(watch(3));
        assert_eq!(watched(&keeper), Some(3));
        keeper.obey(Order::Forget { uuid, epoch: 3 });
        assert_eq!(watched(&keeper), None);
        assert!(keeper.due.is_empty() && keeper.by_endpoint.is_empty());
    }
}
