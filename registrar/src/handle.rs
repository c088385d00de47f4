//! The handle of the registry: one lock, and the sessions to wake.

mod acts;
mod adapters;
mod attendance;
mod charges;
mod clock;
mod cut_off;
mod decided;
mod declared;
mod deferred;
mod own;
mod remote;
mod rules;

use std::{
    future::pending,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use endpoints::{Endpoint, InstanceId, Name};
use portal::Portal;
use tokio::{
    sync::{Notify, mpsc},
    task::yield_now,
    time::{Instant, sleep},
};
use tracing::{debug, info};
use uuid::Uuid;
use wire::{
    CallId, Challenge, Epoch, Owed, ProofKey, ProofSecret, Record, RemoteError, Suspicion, Wanted,
    encode_located,
    registrar::{ClusterStatus, Page, Query},
};

use self::{
    attendance::{ATTENDANCE_INTERVAL, Attendance},
    clock::Clock,
    cut_off::CutOff,
    declared::Declared,
};
use crate::{
    accounts::Accounts,
    jobs::{Check, Job, Why},
    latencies::Latencies,
    lookout::Lookout,
    registry::{
        Caller, Claimant, Contested, Event, HomeNode, Limits, Outcome, Registry, RegistryError,
        SessionId, Suspected,
    },
    scheduler::Scheduler,
    session_handle::SessionHandle,
    shares::{Share, Shares},
};

/// A handle of a registry. Clones are handles of the same one.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::registrar::{Node, NodeOptions};
///
/// let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
/// let status = node.registry().status();
/// assert_eq!((status.instances, status.sessions), (0, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RegistryHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    registrar: Uuid,
    /// The secret from which the keys of all registrations derive.
    secret: ProofSecret,
    agent: String,
    clock: Clock,
    /// The time for clients to return.
    settle_time: Duration,
    attendance: Attendance,
    state: Mutex<RegistryState>,
    /// Rung when the next lease may end earlier than was thought.
    deadlines: Notify,
    /// Rung when there is something to be done in parts.
    deferred: Notify,
    /// Rung when the socket files of all declared actors are to be looked at.
    declared_looks: Notify,
    /// Rung when the rules of names change.
    rules: Notify,
    /// Rung when the holder of an exclusive name changes.
    tokens: Notify,
    /// Rung when a cluster is to decide about names.
    name_requests: Notify,
    /// Whether anybody does the jobs.
    is_attended: AtomicBool,
    jobs: mpsc::Sender<(Job, Share)>,
    lookout: Lookout,
    /// What lets owners wait for what they have cost, at a node.
    scheduler: OnceLock<Scheduler>,
    accounts: Accounts,
    shares: Shares,
    endpoints: Mutex<Vec<Endpoint>>,
    /// How it shares with others, and when that was so.
    cluster: Mutex<Option<(ClusterStatus, u64)>>,
    /// What its nodes have in common; 0 if that is not known.
    cluster_number: AtomicU64,
    cut_off: CutOff,
    /// How long look-ups, and registrations, take.
    looked_up: Latencies,
    registered: Latencies,
}

/// The registry, and the sessions to wake.
#[derive(Debug)]
struct RegistryState {
    registry: Registry,
    /// Looked up for each of those that a change concerns.
    sessions: foldhash::HashMap<SessionId, Arc<SessionHandle>>,
    declared: Declared,
}

/// The challenge for an instance, and the proof that it owes.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) wanted: Wanted,
    pub(crate) owed: Owed,
}

impl RegistryHandle {
    /// Makes an empty registry with its handle, and the queue of its jobs.
    pub(crate) fn new(
        agent: String,
        limits: Limits,
        accounts: Accounts,
        settle_time: Duration,
    ) -> (Self, mpsc::Receiver<(Job, Share)>) {
        let clock = Clock::start();
        let registrar = Uuid::new_v4();
        let (jobs, to_run) = mpsc::channel(JOBS_WAITING_MAX);
        let mut registry = Registry::new(registrar, limits, accounts.clone(), clock.start_ms);
        registry.settle_until(clock.start_ms + settle_time.as_millis() as u64);
        let sessions = foldhash::HashMap::default();
        let state = RegistryState { registry, sessions, declared: Declared::default() };
        let shared = Shared {
            registrar,
            secret: ProofSecret::new(transport::random_bytes()),
            agent,
            clock,
            settle_time,
            attendance: Attendance::default(),
            state: Mutex::new(state),
            deadlines: Notify::new(),
            deferred: Notify::new(),
            declared_looks: Notify::new(),
            rules: Notify::new(),
            tokens: Notify::new(),
            name_requests: Notify::new(),
            is_attended: AtomicBool::new(false),
            jobs,
            lookout: Lookout::default(),
            scheduler: OnceLock::new(),
            shares: Shares::new(accounts.clone()),
            accounts,
            endpoints: Mutex::default(),
            cluster: Mutex::default(),
            cluster_number: AtomicU64::default(),
            cut_off: CutOff::default(),
            looked_up: Latencies::default(),
            registered: Latencies::default(),
        };
        (Self(Arc::new(shared)), to_run)
    }

    /// Makes an empty registry that no node serves: sessions are opened by hand, leases do not end,
    /// and contested endpoints are not looked into; and nobody has a quota. It is for programs that
    /// measure a registry.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert_eq!(registry.status().instances, 0);
    /// ```
    pub fn unattended(limits: Limits) -> Self {
        Self::new(String::new(), limits, Accounts::unlimited(), Duration::ZERO).0
    }

    /// Returns which registrar this is.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # use callsign::{RegistryHandle, registry::Limits};
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert_eq!(registry.registrar(), registry.status().registrar);
    /// ```
    pub fn registrar(&self) -> Uuid {
        self.0.registrar
    }

    /// Returns for how long those may still come back that a former registrar knew; `None` once
    /// all should be. Until then, that a name is not there is no knowledge.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use callsign::registrar::{Node, NodeOptions};
    ///
    /// let settle_time = Duration::from_secs(60);
    /// let options = NodeOptions { settle_time, ..NodeOptions::default() };
    /// let node = Node::bind(&["/memory/0".parse()?], options).await?;
    /// assert!(node.registry().settling().is_some_and(|left| left <= settle_time));
    /// # Ok(())
    /// # }
    /// ```
    pub fn settling(&self) -> Option<Duration> {
        let uptime = Duration::from_millis(self.0.clock.uptime_ms());
        self.0.settle_time.checked_sub(uptime).filter(|it| !it.is_zero())
    }

    /// Records that the node stops: from here on, the end of a session does not remove its entries.
    pub(crate) fn stop(&self) {
        self.note(Event::Stopping);
    }

    /// Records that the registrar itself ends a session: its entries stay for as long as its peer
    /// may take to return.
    pub(crate) fn dismiss(&self, session: SessionId) {
        let back_by_ms = self.now_ms() + self.0.settle_time.as_millis() as u64;
        self.note(Event::SessionDismissed { session, back_by_ms });
    }

    /// Tells whether the node was stopped so long recently that its peers have given it up: they
    /// ended their sessions because of that, and will be back.
    pub(crate) fn was_away(&self) -> bool {
        let uptime_ms = self.0.clock.uptime_ms();
        if let Some(for_ms) = self.0.attendance.note(uptime_ms, self.0.settle_time) {
            info!(target: "callsign", for_ms, "this process was stopped");
            self.note(Event::Paused { for_ms });
        }
        self.0.attendance.has_some_to_come(uptime_ms)
    }

    pub(crate) fn agent(&self) -> &str {
        &self.0.agent
    }

    /// Returns the time by the registrar's clock, in milliseconds since 1970.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// assert!(RegistryHandle::unattended(Limits::default()).now_ms() > 0);
    /// ```
    pub fn now_ms(&self) -> u64 {
        self.0.clock.now_ms()
    }

    pub(crate) fn open_session(&self, handle: Arc<SessionHandle>, caller: &Caller) -> SessionId {
        let mut state = self.state();
        let session = state.registry.open_session(caller.owner.account());
        state.registry.introduce(session, caller.clone());
        state.sessions.insert(session, handle);
        session
    }

    pub(crate) fn close_session(&self, session: SessionId) {
        let now_ms = self.now_ms();
        let mut state = self.state();
        state.sessions.remove(&session);
        let next_deadline_ms = state.registry.next_deadline_ms();
        let ended = state.registry.apply(Event::SessionEnded(session), now_ms);
        if state.registry.next_deadline_ms() != next_deadline_ms {
            self.0.deadlines.notify_one();
        }
        self.deliver(&mut state, ended.expect("a session may always end"));
        self.after(state);
        if self.0.accounts.take_has_freed_much_for_now(now_ms) {
            transport::release_memory();
        }
    }

    /// Sees to what a change has left to be done.
    fn after(&self, mut state: MutexGuard<'_, RegistryState>) {
        if state.registry.take_tokens_changed() {
            self.0.tokens.notify_one();
        }
        if state.registry.has_deferred() {
            self.0.deferred.notify_one();
            // Without anybody to do jobs, nobody is kept waiting either.
            while !self.0.is_attended.load(Ordering::Relaxed) && state.registry.has_deferred() {
                let outcome = state.registry.do_deferred();
                self.deliver(&mut state, outcome);
            }
        }
        if state.registry.take_has_shrunk() {
            drop(state);
            transport::release_memory();
        }
    }

    /// Waits until a name was taken or let go that one has at a time.
    pub(crate) async fn tokens_changed(&self) {
        self.0.tokens.notified().await;
    }

    /// Reads the registry.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Registry) -> T) -> T {
        read(&self.state().registry)
    }

    /// Makes a change that is no news to others: a wait, a watch, a watcher's progress.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        change(&mut self.state().registry)
    }

    /// Changes the registry, and notifies the sessions concerned.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Registry, u64) -> Result<(T, Outcome), RegistryError>,
    ) -> Result<T, RemoteError> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let next_deadline_ms = state.registry.next_deadline_ms();
        let (result, outcome) = change(&mut state.registry, now_ms)?;
        if state.registry.next_deadline_ms() != next_deadline_ms {
            self.0.deadlines.notify_one();
        }
        self.deliver(&mut state, outcome);
        self.after(state);
        Ok(result)
    }

    /// Applies an event that is nobody's call.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{RegistryHandle, Limits};
    /// use callsign::registrar::Event;
    ///
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// // What the clock does at a node: leases that have run out end.
    /// registry.note(Event::Tick);
    /// ```
    pub fn note(&self, event: Event) {
        let applied = self
            .change(|registry, now_ms| registry.apply(event, now_ms).map(|outcome| ((), outcome)));
        if let Err(error) = applied {
            debug!(%error, "an event came too late");
        }
    }

    /// Lets the peer of a session be called.
    pub(crate) fn introduce(&self, session: SessionId, portal: Portal) {
        if let Some(handle) = self.state().sessions.get(&session) {
            handle.introduce(portal);
        }
    }

    /// Returns the registrant's session handle, if that is there and gives signs of life.
    pub(crate) fn registrant(&self, uuid: Uuid) -> Option<Arc<SessionHandle>> {
        let state = self.state();
        let is_silent = state.registry.record(uuid)?.suspicion.is_some_and(|it| it.silent);
        let session = state.registry.registrant(uuid).filter(|_| !is_silent)?;
        state.sessions.get(&session).cloned()
    }

    /// Appends the answer to a call of a session that waited for a name, and returns which, if
    /// there is such a call and an instance.
    pub(crate) fn answer_wait(
        &self,
        session: SessionId,
        name: &Name,
        by: &Caller,
        bytes: &mut BytesMut,
    ) -> Option<CallId> {
        let now_ms = self.now_ms();
        self.with(|registry| registry.answer_wait(session, name, by, now_ms, bytes))
    }

    /// Returns the handle of a session.
    pub(crate) fn handle(&self, session: SessionId) -> Option<Arc<SessionHandle>> {
        self.state().sessions.get(&session).cloned()
    }

    /// Appends the answer to a query, and returns its steps besides writing.
    pub(crate) fn answer(
        &self,
        query: &Query<'_>,
        by: &Caller,
        now_ms: u64,
        bytes: &mut BytesMut,
    ) -> usize {
        let (state, looked) = self.look_at_declared(query.name);
        looked + state.registry.answer(query, by, now_ms, bytes)
    }

    /// Returns the records that answer a query.
    pub(crate) fn records(&self, query: &Query<'_>, by: &Caller) -> Vec<Record> {
        let (state, _looked) = self.look_at_declared(query.name);
        state.registry.records(query, by)
    }

    /// Returns the answer to a query.
    pub(crate) fn answer_to(&self, query: &Query<'_>, by: &Caller) -> Page {
        let now_ms = self.now_ms();
        let (state, _looked) = self.look_at_declared(query.name);
        let records = state.registry.records(query, by);
        Page { revision: state.registry.revision(), now_ms, next: None, records }
    }

    /// Appends the answer to a query before a dial, with a challenge for each instance. Returns its
    /// steps besides writing.
    pub(crate) fn locate(&self, query: &Query<'_>, by: &Caller, bytes: &mut BytesMut) -> usize {
        let (nonce, now_ms) = (Uuid::new_v4(), self.now_ms());
        let (state, mut taken) = self.look_at_declared(query.name);
        encode_located(bytes, self.0.registrar, nonce, |bytes| {
            let prove = |instance: &InstanceId, epoch, has_tls, home: Option<&HomeNode>| {
                let registrar = home.map_or(self.0.registrar, |it| it.registrar);
                let secret = home.map_or(&self.0.secret, |it| &it.secret);
                let challenge = Challenge { registrar, epoch, nonce };
                let key = ProofKey::derive(secret, instance.uuid, epoch);
                key.owed(instance, &challenge, has_tls)
            };
            let (owed, steps) = state.registry.locate(query, by, now_ms, bytes, prove);
            taken += steps;
            owed
        });
        taken
    }

    /// Returns with what an instance proves that a registration is its own.
    pub(crate) fn proof_key(&self, uuid: Uuid, epoch: Epoch) -> ProofKey {
        ProofKey::derive(&self.0.secret, uuid, epoch)
    }

    /// Tells whether an instance proves its identity, or would if it had a key.
    pub(crate) fn proves(&self, uuid: Uuid) -> bool {
        self.read(|registry| registry.record(uuid)).is_some_and(|it| it.proves)
    }

    /// Returns what an instance is to be asked by the registrar itself, if it proves who it is.
    pub(crate) fn ticket(&self, uuid: Uuid) -> Option<Ticket> {
        let can_prove = |registry: &Registry| registry.has_key(uuid).then(|| registry.record(uuid));
        let record = self.read(can_prove).flatten()?;
        let (instance, epoch) = (record.instance(), record.epoch);
        let challenge = Challenge { registrar: self.0.registrar, epoch, nonce: Uuid::new_v4() };
        let owed = self.proof_key(uuid, epoch).owed(&instance, &challenge, true);
        Some(Ticket { wanted: Wanted { instance, challenge: Some(challenge) }, owed })
    }

    /// Ends expired leases, and records the passing of time, for as long as it is polled.
    pub(crate) async fn keep_time(&self) {
        let (mut is_due, mut metered_at) = (false, Instant::now());
        loop {
            if metered_at.elapsed() >= ATTENDANCE_INTERVAL {
                self.0.accounts.read_meters(metered_at.elapsed());
                metered_at = Instant::now();
            }
            if self.0.accounts.take_has_shrunk() {
                let mut state = self.state();
                state.registry.forget_the_gone();
                state.sessions.shrink_to_fit();
                let shrinks_on = state.registry.has_deferred();
                self.after(state);
                if !shrinks_on {
                    transport::release_memory();
                }
            }
            // Leases that expired while this process was stopped are not due yet.
            let _away = self.was_away();
            if mem::take(&mut is_due) {
                self.note(Event::Tick);
                yield_now().await;
            }
            let next_ms = self.read(Registry::next_deadline_ms);
            let next_end = async {
                match next_ms {
                    Some(it) => {
                        sleep(Duration::from_millis(it.saturating_sub(self.now_ms()))).await
                    }
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.0.deadlines.notified() => {}
                () = next_end => is_due = true,
                () = sleep(ATTENDANCE_INTERVAL) => {}
            }
        }
    }

    /// Notifies the sessions concerned by a change, and serves lines whose turn may have come.
    fn deliver(&self, state: &mut RegistryState, outcome: Outcome) {
        self.tell(state, outcome);
        if state.registry.has_lines_to_serve() {
            self.serve_lines(state);
        }
        if state.registry.has_name_requests() {
            self.0.name_requests.notify_one();
        }
    }

    fn serve_lines(&self, state: &mut RegistryState) {
        let next_deadline_ms = state.registry.next_deadline_ms();
        let served = state.registry.serve_lines(self.now_ms());
        if state.registry.next_deadline_ms() != next_deadline_ms {
            self.0.deadlines.notify_one();
        }
        self.tell(state, served);
    }

    fn tell(&self, state: &RegistryState, outcome: Outcome) {
        if outcome.is_empty() {
            return;
        }
        for granted in outcome.granted {
            self.grant(state, granted);
        }
        for Claimant { uuid, epoch, stamped } in outcome.evicted {
            let endpoint = stamped.endpoint;
            state.registry.totals().note_eviction();
            info!(target: "callsign", %uuid, epoch, %endpoint, "an endpoint is evicted");
        }
        for Suspected { uuid, epoch, suspicion } in outcome.suspected {
            match suspicion {
                Some(Suspicion { reports, since_ms, silent, .. }) => {
                    state.registry.totals().note_suspicion();
                    info!(
                        target: "callsign", %uuid, epoch, reports, silent, since_ms,
                        "an instance is suspect"
                    );
                }
                None => info!(target: "callsign", %uuid, epoch, "an instance is cleared"),
            }
        }
        for (session, (owner, losses)) in outcome.lost {
            // Except for user 0, nobody removes another's instance.
            self.send(Job::TellLost(session, losses), owner);
        }
        self.tell_tokens(state, outcome.tokens);
        for woken in outcome.woken {
            if let Some(handle) = state.sessions.get(&woken.session) {
                handle.tell_present(woken.name);
            }
        }
        for session in outcome.asked {
            if let Some(handle) = state.sessions.get(&session) {
                handle.ask_for_sign();
            }
        }
        for session in outcome.notified {
            if let Some(handle) = state.sessions.get(&session) {
                handle.notify();
            }
        }
        for (claimant, by) in outcome.renewed {
            let check = Check { claimant, why: Why::Renewed, by };
            if !self.send(Job::LookInto(check), by) {
                debug!("too much to look into; the renewed instance stays suspect");
            }
        }
        let mut refused = None;
        for contested in outcome.contested {
            let Contested { uuid, endpoint, by, .. } = &contested;
            let by = *by;
            info!(target: "callsign", %endpoint, older = %uuid, "a newer instance claims the same endpoint");
            // Whoever has too much under way has so for all that it claims at once.
            if refused != Some(by) && !self.send(Job::Contested(contested), by) {
                debug!("too much to look into; both claims stand");
                refused = Some(by);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, RegistryState> {
        self.0.state.lock().expect("nothing panics while it holds the lock")
    }
}

/// The registrar's own name: the registrars of other systems have the same.
const OWN_NAME: &str = "registrar";

/// The most queued jobs. An endpoint without a place in the queue is reported again, or stays.
const JOBS_WAITING_MAX: usize = 1024;
