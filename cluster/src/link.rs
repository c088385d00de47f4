//! One connection to etcd after another.
//!
//! ```text
//!   registry ──changes──▶ Outbox ──transactions──▶ etcd
//!   registry ◀──actions── View   ◀──────watch───── etcd
//! ```
//!
//! Whatever goes wrong ends the connection, and the next one begins with another member. If the lease
//! still lives, the watch goes on after the last revision that was seen; if not, or if etcd has
//! forgotten that revision, everything is read anew and compared with what is known. What this node has
//! in etcd is always read and compared, because nobody knows which of the last transactions were made.

mod claims;
mod doubts;
mod keeper;
mod members;
mod snapshot;

use std::{convert::Infallible, future::pending, pin::Pin, time::Duration};

use endpoints::Name;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use portal::WithCauses;
use registrar::{
    ForeignSession, RegistryHandle,
    registry::{RegistryError, Stride},
};
use serde_bytes::ByteArray;
use thiserror::Error;
use tokio::{
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};
use tonic::transport::ClientTlsConfig;
use tracing::{info, warn};
use uuid::Uuid;
use wire::{
    RemovalReason,
    registrar::{ClusterNode, ClusterStatus},
};

use self::{
    keeper::Keeper,
    members::Members,
    snapshot::{Snapshot, cut},
};

use crate::{
    ClusterSettings,
    etcd::{
        Client, Compare, EtcdError, Event, EventKind, KeyValue, RequestOp, TxnRequest,
        WatchResponse,
    },
    keys::{Keys, NodeValue, Place},
    names::{self, Decided, Names},
    outbox::{Batch, Outbox},
    view::{Action, Placed, View},
};

/// A node's link to its cluster.
pub(crate) struct Link {
    settings: ClusterSettings,
    members: Members,
    registry: RegistryHandle,
    keys: Keys,
    view: View,
    keeper: Keeper,
    /// Up to which revision the view is complete, if it goes on from there.
    revision: Option<i64>,
    slot: Option<u64>,
    beat: u64,
    /// When etcd was heard last: the view is as old as that.
    heard_at: Instant,
    /// Whether the view is too old to be taken for the present.
    is_in_doubt: bool,
    /// The last fault in the log since it was connected.
    warned: Option<String>,
    status: ClusterStatus,
}

/// Why a connection has ended.
#[derive(Debug, Error)]
enum LinkError {
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    #[error("etcd has forgotten what has happened since")]
    Compacted,
    #[error("the watch has ended{0}")]
    WatchEnded(String),
    #[error("nothing has come back from etcd for {0:?}")]
    Silent(Duration),
    #[error("the lease has ended, or another connection has taken its place")]
    LeaseEnded,
    #[error("another registrar is the node `{0}`, too; each needs a `node` of its own")]
    NameTaken(Name),
    #[error("there are {} nodes already, and no cluster has more", Stride::NODES - 1)]
    TooManyNodes,
    #[error("a change is longer than {CHANGE_EVENTS_MAX} events, or {CHANGE_BYTES_MAX} bytes")]
    TooLong,
}

/// A transaction under way: whether its conditions held, and of which instances it is.
type Writing = Pin<Box<dyn Future<Output = Result<(bool, Vec<Uuid>), EtcdError>> + Send>>;

/// Questions to etcd who has exclusive names.
type Deciding = Pin<Box<dyn Future<Output = Result<Vec<Decided>, EtcdError>> + Send>>;

/// A comparison of the names that are given away with those that instances have.
type Reviewing = Pin<Box<dyn Future<Output = Result<(), LinkError>> + Send>>;

impl Link {
    pub(crate) fn new(
        settings: ClusterSettings,
        tls: Option<ClientTlsConfig>,
        registry: RegistryHandle,
    ) -> Self {
        let own = settings.node.clone();
        let keys = Keys::new(&settings.prefix, own.clone());
        let view = View::new(keys.clone(), own.clone(), settings.lease);
        let status = ClusterStatus {
            node: own,
            engine: "etcd".to_owned(),
            endpoint: None,
            error: Some("not connected yet".to_owned()),
            age_ms: 0,
            lag_ms: None,
            lease_ms: settings.lease.as_millis() as u64,
            pending: 0,
            written: 0,
            faulty: 0,
            nodes: Vec::new(),
        };
        let (revision, slot, beat) = (None, None, 0);
        let members = Members::new(&settings, tls.as_ref());
        let keeper = Keeper::new(members.clone(), settings.lease);
        let heard_at = Instant::now();
        let link = Self {
            settings,
            members,
            registry,
            keys,
            view,
            keeper,
            revision,
            slot,
            beat,
            heard_at,
            is_in_doubt: false,
            warned: None,
            status,
        };
        link.registry.set_cluster(link.status.clone());
        link.registry.let_decide(Err("not connected to etcd yet".to_owned()));
        link
    }

    /// Keeps a connection to etcd, for as long as it is polled.
    pub(crate) async fn run(self) {
        let (keeper, registry) = (self.keeper.clone(), self.registry.clone());
        let guard = names::guard(keeper.kept_until(), registry);
        tokio::join!(self.keep_connected(), guard, keeper.run());
    }

    async fn keep_connected(mut self) {
        let (mut failures, mut first) = (0, 0);
        loop {
            let began = Instant::now();
            let (member, error) = match self.members.reach(first, self.keys.own_node()).await {
                Ok((member, client)) => {
                    let Err(error) = self.connect(member, client).await;
                    (member, error)
                }
                Err((member, error)) => (member, error.into()),
            };
            first = (member + 1) % self.members.count();
            if matches!(error, LinkError::Compacted | LinkError::TooLong) {
                self.revision = None;
            }
            let error = WithCauses(&error).to_string();
            self.registry.let_decide(Err(error.clone()));
            let endpoint = self.members.endpoint(member);
            // An etcd that is away for long is said once.
            if self.warned.replace(error.clone()).as_ref() != Some(&error) {
                warn!(target: "callsign", endpoint, error, "not connected to etcd");
            }
            self.status.error = Some(format!("{endpoint}: {error}"));
            self.status.endpoint = None;
            self.status.lag_ms = None;
            self.tell();
            self.doubt().await;
            if began.elapsed() > self.settings.lease {
                failures = 0;
            }
            sleep(pause(failures, fastrand::f64())).await;
            failures += 1;
        }
    }

    /// Shares through a member, until something goes wrong.
    async fn connect(&mut self, member: usize, client: Client) -> Result<Infallible, LinkError> {
        let lease = self.lease(member, &client).await?;
        self.claim_name(&client, lease).await?;
        let slot = self.claim_slot(&client, lease).await?;
        let own_records = async {
            let mut own = Vec::new();
            let mut pages = Snapshot::new(&client, self.keys.own_records(), 0);
            while let Some(page) = pages.next().await? {
                let kept = page.into_iter().filter(|it| it.lease == lease);
                let read = |it: KeyValue| Some((self.keys.own_place_of(&it.key)?, it.value));
                own.extend(kept.filter_map(read));
            }
            Ok(own)
        };
        let (own, names) = tokio::try_join!(own_records, self.names(&client, lease))?;
        let outbox = Outbox::new(self.keys.clone(), own);
        if self.revision.is_none() {
            self.revision = Some(self.read_everything(&client, lease).await?);
        }
        // From the last revision that is known, which is seen twice: etcd gives what is after a
        // revision that it has compacted without the removals in the first one, and says nothing.
        let from = self.revision.expect("everything has been read, now or before");
        let watching = client.watch(self.keys.prefix(), from).await?;
        let now = Instant::now();
        self.view.resume(now);
        self.heard_at = now;
        let endpoint = self.members.endpoint(member);
        info!(target: "callsign", endpoint, lease, "connected to etcd");
        self.status.endpoint = Some(endpoint.to_owned());
        self.status.error = None;
        self.warned = None;
        self.tell();
        let session = self.registry.own_session();
        session.watch_own(WATCH).expect("the registrar may always watch");
        self.share(Open { client, lease, slot, outbox, session, watching, names }).await
    }

    async fn share(&mut self, mut open: Open) -> Result<Infallible, LinkError> {
        let mut writing = FuturesUnordered::<Writing>::new();
        let keeper = self.keeper.clone();
        let mut ended = Box::pin(keeper.ended(open.lease));
        let mut deciding: Option<Deciding> = None;
        let mut reviewing: Option<Reviewing> = None;
        let mut review_at = Instant::now() + REVIEW_INTERVAL;
        self.registry.let_decide(Ok(()));
        let mut parts = Vec::new();
        let (mut beat_at, mut is_beat_due, mut was_whole) = (Instant::now(), true, false);
        let mut beaten_at = Instant::now();
        loop {
            // When it says that all of its records are there, nothing else may be under way: the others
            // drop what is not.
            let writes_max = if was_whole { WRITES_MAX } else { 1 };
            while writing.len() < writes_max && (is_beat_due || !open.outbox.is_empty()) {
                let Batch { mut operations, uuids } = open.outbox.batch(&self.registry, open.lease);
                if is_beat_due {
                    was_whole |= open.outbox.is_whole();
                    self.beat += 1;
                    beaten_at = Instant::now();
                    let value = self.value(was_whole).encode();
                    operations.push(RequestOp::put(self.keys.own_node(), value, open.lease));
                    is_beat_due = false;
                } else if operations.is_empty() {
                    // What is left waits for what is under way.
                    break;
                }
                // What an earlier connection has sent may arrive at etcd late, by another member: that
                // is void once this one has claimed the slot; and all is, once another has the name.
                let compare = vec![
                    Compare::modified(self.keys.slot(open.slot.0), open.slot.1),
                    Compare::lease(self.keys.own_node(), open.lease),
                ];
                let client = open.client.clone();
                writing.push(Box::pin(async move {
                    let txn = TxnRequest { compare, success: operations };
                    Ok((client.txn(txn).await?.0, uuids))
                }));
            }
            tokio::select! {
                response = open.watching.message() => {
                    let response = response.map_err(|status| {
                        EtcdError::Call { call: "watch", status }
                    })?;
                    let Some(response) = response else {
                        return Err(LinkError::WatchEnded(String::new()));
                    };
                    if self.take(response, &mut parts, (open.lease, open.names.base)).await? {
                        let lag_ms = Some(beaten_at.elapsed().as_millis() as u64);
                        if std::mem::replace(&mut self.status.lag_ms, lag_ms).is_none() {
                            self.tell();
                        }
                    }
                }
                Some(written) = writing.next() => {
                    let (succeeded, uuids) = written?;
                    if !succeeded {
                        return Err(LinkError::LeaseEnded);
                    }
                    open.outbox.written(&uuids);
                    is_beat_due |= !was_whole && open.outbox.is_whole();
                }
                () = &mut ended => return Err(LinkError::LeaseEnded),
                requests = self.registry.name_requests(), if deciding.is_none() => {
                    deciding = Some(Box::pin(open.names.clone().decide(requests)));
                }
                decided = finished(&mut deciding) => {
                    deciding = None;
                    for (name, uuid, decision) in decided? {
                        self.registry.decide(&name, uuid, decision);
                    }
                }
                reviewed = finished(&mut reviewing) => {
                    reviewing = None;
                    review_at = Instant::now() + REVIEW_INTERVAL;
                    reviewed?;
                }
                () = sleep_until(review_at), if reviewing.is_none() => {
                    let (names, registry) = (open.names.clone(), self.registry.clone());
                    reviewing = Some(Box::pin(claims::review(names, registry)));
                }
                changes = open.session.changes() => {
                    for change in changes {
                        if let Some((uuid, reason)) = open.outbox.note(change, &self.registry)
                            && let Some(action) = self.view.again(uuid, reason)
                        {
                            self.act(vec![action]).await;
                        }
                    }
                    is_beat_due |= !was_whole && open.outbox.is_whole();
                }
                () = sleep_until(beat_at) => {
                    let now = Instant::now();
                    beat_at = now + self.interval();
                    is_beat_due = true;
                    let silence = now.saturating_duration_since(self.heard_at);
                    if silence > self.settings.lease {
                        return Err(LinkError::Silent(silence));
                    }
                    if silence <= self.interval() * 2 {
                        let actions = self.view.tick(now);
                        self.act(actions).await;
                    }
                    let (pending, written) = open.outbox.counts();
                    (self.status.pending, self.status.written) = (pending as u64, written as u64);
                    self.tell();
                }
            }
        }
    }

    /// Takes a response of the watch. Tells whether this node's own beat has come back.
    async fn take(
        &mut self,
        response: WatchResponse,
        parts: &mut Vec<Event>,
        (lease, base): (i64, u64),
    ) -> Result<bool, LinkError> {
        let WatchResponse { canceled, compact_revision, cancel_reason, fragment, events, .. } =
            response;
        if compact_revision > 0 {
            return Err(LinkError::Compacted);
        }
        if canceled {
            return Err(LinkError::WatchEnded(format!(": {cancel_reason}")));
        }
        parts.extend(events.into_iter().map(|mut it| {
            it.kv.iter_mut().for_each(cut);
            it
        }));
        if fragment {
            let bytes = |it: &Event| it.kv.as_ref().map_or(0, |it| it.key.len() + it.value.len());
            let are_too_long = parts.iter().map(bytes).sum::<usize>() > CHANGE_BYTES_MAX;
            return if are_too_long || parts.len() > CHANGE_EVENTS_MAX {
                Err(LinkError::TooLong)
            } else {
                Ok(false)
            };
        }
        let known = self.revision.unwrap_or_default();
        let placed = |event: Event| {
            let is_gone = event.kind == EventKind::Delete as i32;
            let kv = event.kv.filter(|it| it.mod_revision > known)?;
            Some(Placed { place: self.keys.place(&kv.key), kv, is_gone })
        };
        let mut changes: Vec<_> = std::mem::take(parts).into_iter().filter_map(placed).collect();
        let now = Instant::now();
        let mut is_heard = false;
        let is_own = |it: &Place| matches!(it, Place::Node(name) if *name == self.settings.node);
        for Placed { kv, .. } in changes.iter().filter(|it| is_own(&it.place)) {
            // An earlier one may come in a watch that goes on from before.
            if kv.lease == lease {
                is_heard = true;
                // Nobody was heard meanwhile: the others may be about to come back, too.
                if now.saturating_duration_since(self.heard_at) > self.interval() * 3 / 2 {
                    self.view.resume(now);
                }
                self.heard_at = now;
            }
        }
        let is_same = |one: &Placed, other: &Placed| one.kv.mod_revision == other.kv.mod_revision;
        for together in changes.chunk_by_mut(is_same) {
            let actions = self.view.apply(together, now);
            self.act(actions).await;
        }
        for Placed { place, kv, is_gone } in &changes {
            let Place::ExclusiveName(name) = place else { continue };
            if *is_gone {
                self.registry.name_freed(name);
            } else if kv.lease != lease {
                self.registry.name_taken(name, base + kv.mod_revision as u64);
            }
        }
        if is_heard {
            self.trust().await;
        }
        self.revision = self.revision.max(changes.last().map(|it| it.kv.mod_revision));
        Ok(is_heard)
    }

    /// Makes changes to the registry, and lets others run in between.
    async fn act(&mut self, actions: Vec<Action>) {
        for (count, action) in actions.into_iter().enumerate() {
            if count % TURN == TURN - 1 {
                yield_now().await;
            }
            match action {
                Action::Know(home) => {
                    let name = home.name.clone();
                    if !self.registry.know_node(home) {
                        let what = || name.to_string();
                        self.view.faults.note_with("there have been too many nodes", what);
                    }
                }
                Action::Enter(remote) => {
                    let (uuid, node) = (remote.record.uuid, remote.record.node.clone());
                    match self.registry.enter_remote(remote) {
                        Ok(()) | Err(RegistryError::KeptHere { .. }) => {}
                        Err(error) => {
                            let what = || format!("{uuid}: {error}");
                            self.view.faults.note_with(why_refused(&error), what);
                            if let Some(node) = node {
                                self.registry.remove_remote(&node, &[uuid], RemovalReason::Unknown);
                            }
                        }
                    }
                }
                Action::Remove { node, uuids, reason } => {
                    self.registry.remove_remote(&node, &uuids, reason);
                }
            }
        }
    }

    /// Says how the link is.
    fn tell(&mut self) {
        let now = Instant::now();
        let millis = |it: Duration| it.as_millis() as u64;
        self.status.age_ms = millis(now.saturating_duration_since(self.heard_at));
        self.view.faults.tell(now);
        self.status.faulty = self.view.faults.count();
        let node = |it: crate::view::NodeStatus| ClusterNode {
            name: it.name,
            registrar: it.registrar,
            endpoints: it.places.iter().map(|it| it.endpoint.clone()).collect(),
            places: it.places,
            records: it.records as u64,
            heard_ms: millis(it.heard_ago),
            lives: it.is_shown,
        };
        self.status.nodes = self.view.statuses(now).map(node).collect();
        self.registry.set_cluster(self.status.clone());
    }

    /// Returns what this node says of itself.
    fn value(&self, whole: bool) -> NodeValue {
        let own = self.registry.record(self.registry.registrar());
        NodeValue {
            registrar: self.registry.registrar(),
            secret: ByteArray::new(self.registry.proof_secret().to_bytes()),
            own,
            slot: self.slot.unwrap_or_default(),
            beat: self.beat,
            whole,
        }
    }

    /// Returns how often this node gives a sign of life: two may be lost before its lease ends.
    fn interval(&self) -> Duration {
        self.settings.lease / 3
    }
}

/// A connection that everything has been read over.
struct Open {
    client: Client,
    lease: i64,
    /// The slot of this node, and the revision at which this connection has claimed it.
    slot: (u64, i64),
    outbox: Outbox,
    session: ForeignSession,
    watching: crate::etcd::Watching,
    names: Names,
}

/// Waits for work that may not have begun.
async fn finished<F: Future + Unpin>(work: &mut Option<F>) -> F::Output {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

/// Returns of which kind the refusal of a record is.
fn why_refused(error: &RegistryError) -> &'static str {
    match error {
        RegistryError::Faulty { why, .. } => why,
        RegistryError::TooMany { .. } => "there is no room for more",
        _ => "no registrar accepts it",
    }
}

/// Returns how long to wait before the next attempt: somewhere up to a bound that doubles, so that a
/// cluster does not come back all at once.
fn pause(failures: u32, drawn: f64) -> Duration {
    let bound = (PAUSE_MIN * 2_u32.saturating_pow(failures.min(8))).min(PAUSE_MAX);
    PAUSE_MIN / 2 + bound.mul_f64(drawn)
}

/// The number of the watch of this node's own registry.
const WATCH: u64 = 1;

/// The most transactions under way at once. What is registered meanwhile waits for one of them, so that
/// a slow etcd gets larger ones, and not more. One at a time let every sixth registration wait for
/// another at 17 a second; of four, some are left over even across a continent.
const WRITES_MAX: usize = 4;

/// How often the names that etcd has of this node are compared with those of its instances: what is
/// let go is given back at once, and this is for what went wrong.
const REVIEW_INTERVAL: Duration = Duration::from_secs(30);

/// The shortest bound of a pause, and the longest: within that, a node is back after etcd is.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(800);

/// The changes of the registry before others run: each takes some microseconds.
const TURN: usize = 64;

/// The most events of one response in parts: the end of a lease with as many records.
const CHANGE_EVENTS_MAX: usize = 2_000_000;

/// The most bytes of one response in parts: what etcd has kept for a watch that was behind.
const CHANGE_BYTES_MAX: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_differ() {
        for (failures, drawn, expected_ms) in [
            (0, 0.0, 25),
            (0, 1.0, 75),
            (1, 1.0, 125),
            (3, 0.5, 225),
            (30, 1.0, 825),
            (30, 0.0, 25),
        ] {
            assert_eq!(pause(failures, drawn), Duration::from_millis(expected_ms));
        }
    }
}
