//! What is to be kept registered, and how far each link is with it.
//!
//! ```text
//!   Registered ──wants──▶ Board ──changed──▶ Session of each link ──calls──▶ registrar
//!   Registered ◀──progress of each link── Entry ◀──────┘
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use endpoints::{InstanceId, Name};
use portal::Identity;
use tokio::sync::watch;
use uuid::Uuid;
use wire::registrar::{Register, Update};

use crate::LinkError;

/// What is to be kept registered, whichever link is up.
#[derive(Debug)]
pub(crate) struct Board {
    entries: Mutex<BTreeMap<Uuid, Arc<Entry>>>,
    changed: watch::Sender<()>,
    links: usize,
}

impl Board {
    pub(crate) fn new(links: usize) -> Self {
        Self { entries: Mutex::default(), changed: watch::Sender::new(()), links }
    }

    /// Puts a registration on the board; it takes the place of one of the same instance.
    pub(crate) fn put(&self, wanted: Register) -> Arc<Entry> {
        let instance = InstanceId { name: wanted.name.clone(), uuid: wanted.uuid };
        let entry = Arc::new(Entry {
            name: wanted.name.clone(),
            uuid: wanted.uuid,
            identity: Identity::new(instance),
            lease: wanted.lease_ms.map(Duration::from_millis),
            wanted: Mutex::new((FIRST_VERSION, wanted)),
            progress: watch::Sender::new(vec![Progress::Absent; self.links]),
            is_left: AtomicBool::new(false),
        });
        self.lock().insert(entry.uuid, entry.clone());
        self.changed.send_replace(());
        entry
    }

    /// Takes a registration off the board, unless another has taken its place.
    pub(crate) fn take_off(&self, entry: &Arc<Entry>) {
        let mut entries = self.lock();
        if entries.get(&entry.uuid).is_some_and(|it| Arc::ptr_eq(it, entry)) {
            entries.remove(&entry.uuid);
        }
        drop(entries);
        self.changed.send_replace(());
    }

    /// Changes what is wanted, and returns the version that it has now.
    pub(crate) fn change(&self, entry: &Entry, change: impl FnOnce(&mut Register)) -> u64 {
        let version = {
            let (version, wanted) = &mut *entry.lock();
            change(wanted);
            *version += 1;
            *version
        };
        self.changed.send_replace(());
        version
    }

    /// Returns the registration of an instance, if it is wanted.
    pub(crate) fn find(&self, uuid: Uuid) -> Option<Arc<Entry>> {
        self.lock().get(&uuid).cloned()
    }

    /// Lets `see` go through the board, while nobody can change it.
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

/// One registration.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) uuid: Uuid,
    pub(crate) identity: Identity,
    /// For how long a renewal lasts, if it is kept by a lease.
    pub(crate) lease: Option<Duration>,
    /// What is wanted, and its version.
    wanted: Mutex<(u64, Register)>,
    /// How far each link is.
    progress: watch::Sender<Vec<Progress>>,
    /// Whether it is to stay when it is off the board.
    is_left: AtomicBool,
}

/// How far a link is with a registration.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// The registrar does not have it, or cannot be reached.
    Absent,
    /// The registrar is asked.
    UnderWay,
    /// The registrar has it in this version.
    Here(u64),
    /// The registrar refuses this version.
    Refused(u64, Arc<LinkError>),
}

impl Entry {
    pub(crate) fn version(&self) -> u64 {
        self.lock().0
    }

    pub(crate) fn wanted(&self) -> (u64, Register) {
        self.lock().clone()
    }

    /// Returns what changes an earlier version to the wanted one.
    pub(crate) fn update(&self) -> (u64, Update) {
        let (version, wanted) = self.wanted();
        let update = Update {
            uuid: self.uuid,
            endpoints: Some(wanted.endpoints),
            metadata: Some(wanted.metadata),
            state: Some(wanted.state),
        };
        (version, update)
    }

    /// Lets the registration stay when it is taken off the board.
    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    pub(crate) fn set_progress(&self, link: usize, progress: Progress) {
        self.progress.send_modify(|it| it[link] = progress);
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Vec<Progress>> {
        self.progress.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Register)> {
        self.wanted.lock().expect("nothing panics while it holds the lock")
    }
}

pub(crate) const FIRST_VERSION: u64 = 1;
