//! The desired state: the registrations that a client wants, with the progress of each link.
//!
//! ```text
//!   Registered ──wants──▶ DesiredState ──changed──▶ Session of each link ──calls──▶ registrar
//!   Registered ◀──progress of each link── Entry ◀──────┘
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use endpoints::{Endpoint, InstanceId, Name, Stamped};
use portal::Identity;
use tokio::sync::{Notify, watch};
use transport::{Looked, Whereabouts};
use uuid::Uuid;
use wire::{
    Epoch, Proof,
    callbacks::LostCause,
    registrar::{ALSO_MAX, Register, Update},
};

use crate::{LinkError, Lost};

/// The registrations that a client wants, whichever link is up.
#[derive(Debug)]
pub(crate) struct DesiredState {
    entries: Mutex<BTreeMap<Uuid, Arc<Entry>>>,
    changed: watch::Sender<()>,
    /// Notified when a registrar has found one dead.
    found_dead: Notify,
    links: usize,
}

impl DesiredState {
    pub(crate) fn new(links: usize) -> Self {
        let (entries, found_dead) = Default::default();
        Self { entries, changed: watch::Sender::new(()), found_dead, links }
    }

    /// Adds a registration to the desired state; it replaces one of the same instance.
    pub(crate) fn put(&self, mut wanted: Register, followed: Whereabouts) -> Arc<Entry> {
        let mut whereabouts = Whereabouts::of(&wanted.endpoints).and(followed);
        whereabouts.withhold(&mut wanted.endpoints);
        let instance = InstanceId { name: wanted.name.clone(), uuid: wanted.uuid };
        let entry = Arc::new(Entry {
            name: wanted.name.clone(),
            uuid: wanted.uuid,
            identity: Identity::new(instance),
            lease: wanted.lease_ms.map(Duration::from_millis),
            waits: wanted.wait,
            wanted: Mutex::new(Wanted {
                version: FIRST_VERSION,
                state_version: FIRST_VERSION,
                whereabouts,
                register: wanted,
            }),
            progress: watch::Sender::new(vec![Progress::Absent; self.links]),
            is_left: AtomicBool::new(false),
            tokens: Mutex::new(vec![LinkToken::default(); self.links]),
            count_of_losses: AtomicU64::new(0),
            lost: watch::Sender::new(None),
            told: watch::Sender::new(None),
            also: Mutex::default(),
        });
        self.lock().insert(entry.uuid, entry.clone());
        self.changed.send_replace(());
        entry
    }

    /// Takes a registration out of the desired state, unless another has taken its place.
    pub(crate) fn take_off(&self, entry: &Arc<Entry>) {
        let mut entries = self.lock();
        if entries.get(&entry.uuid).is_some_and(|it| Arc::ptr_eq(it, entry)) {
            entries.remove(&entry.uuid);
        }
        drop(entries);
        self.changed.send_replace(());
    }

    /// Removes several registrations from the desired state together, as
    /// [`take_off`](Self::take_off) does one.
    pub(crate) fn take_all_off<'a>(&self, leaving: impl IntoIterator<Item = &'a Arc<Entry>>) {
        let mut entries = self.lock();
        for entry in leaving {
            if entries.get(&entry.uuid).is_some_and(|it| Arc::ptr_eq(it, entry)) {
                entries.remove(&entry.uuid);
            }
        }
        drop(entries);
        self.changed.send_replace(());
    }

    /// Records the loss of a registration. An intended one is final, with all registrars.
    pub(crate) fn lose(&self, entry: &Arc<Entry>, lost: Lost) {
        let cause = lost.cause;
        entry.count_of_losses.fetch_add(1, Ordering::Relaxed);
        entry.lost.send_replace(Some(lost.clone()));
        entry.told.send_replace(Some(lost));
        if cause == LostCause::Replaced {
            // The instance is there, and another's.
            entry.leave();
        }
        if cause.is_final() {
            self.take_off(entry);
        } else {
            self.found_dead.notify_one();
        }
    }

    /// Waits until a registrar has found a registration dead since the last wait.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn found_dead(&self) {
        self.found_dead.notified().await;
    }

    /// Returns the registrations that a registrar has found dead, and has not got again.
    pub(crate) fn all_found_dead(&self) -> Vec<Arc<Entry>> {
        self.lock().values().filter(|it| it.is_found_dead()).cloned().collect()
    }

    /// Changes a registration, and returns its new version.
    pub(crate) fn change(&self, entry: &Entry, change: impl FnOnce(&mut Register)) -> u64 {
        let version = {
            let mut wanted = entry.lock();
            let state = wanted.register.state;
            change(&mut wanted.register);
            wanted.version += 1;
            if wanted.register.state != state {
                wanted.state_version = wanted.version;
            }
            wanted.version
        };
        self.changed.send_replace(());
        version
    }

    /// Changes its endpoints, and the listeners to follow, as [`change`](Self::change) does.
    pub(crate) fn move_to(
        &self,
        entry: &Entry,
        endpoints: Vec<Stamped>,
        followed: Whereabouts,
    ) -> u64 {
        let version = {
            let mut wanted = entry.lock();
            let Wanted { register, whereabouts, version, .. } = &mut *wanted;
            *version += 1;
            entry.follow(whereabouts, &mut register.endpoints, &mut Looked::default());
            let now = Whereabouts::of(&endpoints).and(followed);
            *whereabouts = now.after(whereabouts, &endpoints);
            register.endpoints = endpoints;
            whereabouts.withhold(&mut register.endpoints);
            *version
        };
        self.changed.send_replace(());
        version
    }

    /// Publishes the present endpoints of this process's own listeners, if they have changed.
    pub(crate) fn follow_whereabouts(&self) {
        let entries: Vec<_> = self.lock().values().cloned().collect();
        let (mut have_changed, mut looked) = (false, Looked::default());
        for entry in entries {
            let mut wanted = entry.lock();
            let Wanted { register, whereabouts, version, .. } = &mut *wanted;
            if entry.follow(whereabouts, &mut register.endpoints, &mut looked) {
                *version += 1;
                have_changed = true;
            }
        }
        if have_changed {
            self.changed.send_replace(());
        }
    }

    /// Returns the registration of an instance, if it is wanted.
    pub(crate) fn find(&self, uuid: Uuid) -> Option<Arc<Entry>> {
        self.lock().get(&uuid).cloned()
    }

    /// Passes the desired state to `see`, while nobody can change it.
    pub(crate) fn with<T>(&self, see: impl FnOnce(&BTreeMap<Uuid, Arc<Entry>>) -> T) -> T {
        see(&self.lock())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Entry>>> {
        self.entries.lock().expect("nothing panics while it holds the lock")
    }
}

/// A registration.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) uuid: Uuid,
    pub(crate) identity: Identity,
    /// The time to live, if it is a lease.
    pub(crate) lease: Option<Duration>,
    /// Whether it waits in line for an exclusive name.
    pub(crate) waits: bool,
    wanted: Mutex<Wanted>,
    /// The progress of each link.
    progress: watch::Sender<Vec<Progress>>,
    /// The tokens of its name, each from the registrar of a link.
    tokens: Mutex<Vec<LinkToken>>,
    /// Whether it stays registered once it is out of the desired state.
    is_left: AtomicBool,
    count_of_losses: AtomicU64,
    /// Its last loss, if that has not been made good.
    lost: watch::Sender<Option<Lost>>,
    /// Its last loss, even if made good since: it is reported nevertheless.
    told: watch::Sender<Option<Lost>>,
    /// The other instances that registrars have at its endpoints.
    also: Mutex<Vec<InstanceId>>,
}

/// The token of a name from the registrar of a link.
#[derive(Clone, Copy, Debug, Default)]
struct LinkToken {
    token: Option<Token>,
    /// The registration of which the registrar has told it by a call of its own, which may overtake
    /// the answer to the registration.
    told: Option<Epoch>,
}

/// A fencing token, and the proof for the registrar that issued it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) number: u64,
    pub(crate) resume: Option<Proof>,
}

/// The wanted registration.
#[derive(Debug)]
struct Wanted {
    /// Counts the changes.
    version: u64,
    /// The version that brought the state.
    state_version: u64,
    register: Register,
    /// The endpoints that belong to this process's own listeners.
    whereabouts: Whereabouts,
}

/// The progress of a link with a registration.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// The registrar does not have it, or cannot be reached.
    Absent,
    /// The registrar is asked.
    UnderWay,
    /// It waits in line for its name, after this many others.
    InLine(u64),
    /// The registrar has it in this version.
    Here(u64),
    /// The registrar refuses this version.
    Refused(u64, Arc<LinkError>),
}

impl Entry {
    /// Returns the epoch of the latest registration with a registrar, if known.
    pub(crate) fn latest_epoch(&self, registrar: Uuid) -> Option<Epoch> {
        let keys = self.identity.keys();
        keys.borrow().iter().rfind(|it| it.registrar == registrar).map(|it| it.epoch)
    }

    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(crate) fn wanted(&self) -> (u64, Register) {
        let wanted = self.lock();
        (wanted.version, wanted.register.clone())
    }

    /// Updates the published endpoints, and tells whether they have changed; the loss of an address is
    /// reported.
    fn follow(
        &self,
        whereabouts: &mut Whereabouts,
        published: &mut Vec<Stamped>,
        looked: &mut Looked,
    ) -> bool {
        let before: Vec<_> = whereabouts.gone().cloned().collect();
        let has_changed = whereabouts.follow_beside(published, looked);
        for endpoint in whereabouts.gone().filter(|it| !before.contains(it)) {
            self.told.send_replace(Some(Lost::of_address(endpoint.clone())));
        }
        has_changed
    }

    /// Returns the changes from an earlier version to the wanted one.
    pub(crate) fn update(&self, earlier: u64) -> (u64, Update) {
        let wanted = self.lock();
        let register = wanted.register.clone();
        let update = Update {
            uuid: self.uuid,
            endpoints: Some(register.endpoints),
            metadata: Some(register.metadata),
            // A state that another program has set, and this side has yet to learn, stays.
            state: (earlier < wanted.state_version).then_some(register.state),
        };
        (wanted.version, update)
    }

    /// Keeps the registration when it is removed from the desired state.
    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    pub(crate) fn losses(&self) -> watch::Receiver<Option<Lost>> {
        let mut told = self.told.subscribe();
        if self.lost.borrow().is_some() {
            told.mark_changed();
        }
        told
    }

    /// Returns what the registration has lost for good.
    pub(crate) fn final_loss(&self) -> Option<Lost> {
        self.lost.borrow().clone().filter(Lost::is_final)
    }

    /// Tells whether a registrar has found it dead, and has not got it again.
    pub(crate) fn is_found_dead(&self) -> bool {
        self.lost.borrow().as_ref().is_some_and(|it| !it.is_final())
    }

    /// Returns how often it was lost so far.
    pub(crate) fn count_of_losses(&self) -> u64 {
        self.count_of_losses.load(Ordering::Relaxed)
    }

    /// Returns the endpoint that it has lost.
    pub(crate) fn lost_endpoint(&self) -> Option<Endpoint> {
        self.lost.borrow().as_ref()?.endpoint.clone()
    }

    /// Waits until the registration is lost for good.
    pub(crate) async fn lost_for_good(&self) -> Lost {
        let mut losses = self.lost.subscribe();
        let is_final = |it: &Option<Lost>| it.as_ref().is_some_and(Lost::is_final);
        let lost = losses.wait_for(is_final).await.expect("the entry owns the sender");
        lost.clone().expect("it was waited for")
    }

    /// Records that a registrar has the registration as it is now.
    pub(crate) fn recover(&self) {
        self.lost.send_if_modified(|lost| lost.take_if(|it| !it.is_final()).is_some());
    }

    /// Records the token by which it has its name from a registration on.
    pub(crate) fn set_token(&self, link: usize, epoch: Epoch, token: Option<Token>) {
        let known = &mut self.tokens()[link];
        if known.told != Some(epoch) {
            *known = LinkToken { token, told: None };
        }
    }

    /// Records the token by which it has its name since a change of the rules.
    pub(crate) fn tell_token(&self, link: usize, epoch: Epoch, token: Option<Token>) {
        self.tokens()[link] = LinkToken { token, told: Some(epoch) };
    }

    /// Returns the latest token of its name: that of a link's registrar, if known.
    pub(crate) fn token(&self, link: usize) -> Option<Token> {
        let tokens = self.tokens();
        let all = || tokens.iter().filter_map(|it| it.token);
        tokens[link].token.or_else(|| all().max_by_key(|it| it.number))
    }

    fn tokens(&self) -> MutexGuard<'_, Vec<LinkToken>> {
        self.tokens.lock().expect("nothing panics while it holds the lock")
    }

    /// Records the other instances that a registrar has at its places.
    pub(crate) fn add_also(&self, theirs: Vec<InstanceId>) {
        let mut also = self.also.lock().expect("nothing panics while it holds the lock");
        for instance in theirs.into_iter().take(ALSO_MAX) {
            if !also.contains(&instance) && also.len() < ALSO_MAX {
                also.push(instance);
            }
        }
    }

    pub(crate) fn also(&self) -> Vec<InstanceId> {
        self.also.lock().expect("nothing panics while it holds the lock").clone()
    }

    pub(crate) fn set_progress(&self, link: usize, progress: Progress) {
        self.progress.send_modify(|it| it[link] = progress);
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Vec<Progress>> {
        self.progress.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().expect("nothing panics while it holds the lock")
    }
}

pub(crate) const FIRST_VERSION: u64 = 1;
