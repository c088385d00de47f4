//! The latest changes, for all watchers: each reads from its position, at its own pace.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use endpoints::{InstanceId, Name};
use wire::{Epoch, RemovalReason, Revision, encode_add, encode_remove, encode_update};

use super::{Entry, visibility::Visibility};

/// A change as watchers get it, encoded once for all of them.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) name: Name,
    /// The epoch under which watchers know the instance, if they do.
    pub(super) known: Epoch,
    /// Its epoch from here on.
    pub(super) now: Epoch,
    pub(super) encoded: Bytes,
    /// The number of the session's end that it is a part of, if that is reported in several parts.
    pub(super) end: Option<u64>,
    /// The callers that may see it, if not all.
    pub(super) visibility: Option<Visibility>,
    /// Whether it is of an instance of another node.
    pub(super) is_remote: bool,
    revision: Revision,
}

/// The change that the removal of an entry is a part of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removal {
    pub(super) reason: RemovalReason,
    pub(super) revision: Revision,
    /// As in [`Logged`].
    pub(super) end: Option<u64>,
    /// Whether it goes into the log. Nobody has a use for the removal of so many that the log would
    /// forget the first of them, if nobody watches.
    pub(super) is_logged: bool,
}

/// The entry that a change concerns.
#[derive(Debug)]
pub(super) struct Removed {
    pub(super) instance: InstanceId,
    pub(super) epoch: Epoch,
    /// As in [`Logged`].
    pub(super) visibility: Option<Visibility>,
    /// As in [`Logged`].
    pub(super) is_remote: bool,
}

/// The position of a change in the complete log.
pub(super) type Position = u64;

/// The latest changes, oldest first.
#[derive(Debug)]
pub(super) struct Log {
    changes: VecDeque<Logged>,
    /// Where the next is written: many changes share one piece of memory.
    memory: BytesMut,
    /// The position of the oldest of them.
    first: Position,
    bytes: usize,
    /// Every change after this one is in the log, in order.
    complete_after: Revision,
    newest: Revision,
    /// How many changes there were since somebody watched.
    unwatched: usize,
}

impl Log {
    pub(super) fn new(revision: Revision) -> Self {
        Self {
            changes: VecDeque::new(),
            memory: BytesMut::new(),
            first: 0,
            bytes: 0,
            complete_after: revision,
            newest: revision,
            unwatched: 0,
        }
    }

    /// Takes note of a change, and tells whether it is to be written. Nobody can go on with it who
    /// watched before so many changes that the log would have forgotten the first of them.
    pub(super) fn is_wanted(&mut self, revision: Revision, is_watched: bool) -> bool {
        self.unwatched = if is_watched { 0 } else { self.unwatched + 1 };
        if self.unwatched <= CHANGES_MAX {
            return true;
        }
        if !self.changes.is_empty() {
            self.forget();
        }
        self.begin_after(revision);
        false
    }

    /// Takes note of a watch that begins: whoever asks now may ask again.
    pub(super) fn note_watch(&mut self) {
        self.unwatched = 0;
    }

    /// Records that an entry is new, or changed if it was `known` by an epoch.
    pub(super) fn put(
        &mut self,
        entry: &Entry,
        known: Option<Epoch>,
        (visibility, is_remote): (Option<Visibility>, bool),
        revision: Revision,
    ) {
        let encode = if known.is_none() { encode_add } else { encode_update };
        let now = entry.epoch;
        encode(self.memory(), entry.folded(), revision);
        let encoded = self.written();
        self.push(Logged {
            name: entry.name.clone(),
            known: known.unwrap_or(now),
            now,
            encoded,
            end: None,
            visibility,
            is_remote,
            revision,
        });
    }

    pub(super) fn removed(
        &mut self,
        Removed { instance, epoch, visibility, is_remote }: Removed,
        Removal { reason, revision, end, .. }: Removal,
    ) {
        encode_remove(self.memory(), &instance, epoch, reason, revision);
        let encoded = self.written();
        let name = instance.name;
        let (known, now) = (epoch, epoch);
        self.push(Logged { name, known, now, encoded, end, visibility, is_remote, revision });
    }

    /// Records that changes up to this one are out of order, so that nobody resumes from one.
    pub(super) fn begin_after(&mut self, revision: Revision) {
        self.complete_after = self.complete_after.max(revision);
        self.newest = self.newest.max(revision);
    }

    /// Returns where the changes after `revision` begin, or `None` if some of them are no longer
    /// known.
    pub(super) fn since(&self, revision: Revision) -> Option<Position> {
        if !(self.complete_after..=self.newest).contains(&revision) {
            return None;
        }
        let passed = self.changes.partition_point(|it| it.revision <= revision);
        Some(self.first + passed as u64)
    }

    /// Returns where the next change will stand.
    pub(super) fn end(&self) -> Position {
        self.first + self.changes.len() as u64
    }

    /// Goes through the changes from a position on; `None` if the first of them is no longer known.
    pub(super) fn from(&self, position: Position) -> Option<impl Iterator<Item = &Logged>> {
        let passed = usize::try_from(position.checked_sub(self.first)?).ok()?;
        Some(self.changes.iter().skip(passed))
    }

    /// Returns the latest change.
    pub(super) fn latest(&self) -> Option<&Logged> {
        self.changes.back()
    }

    /// Forgets all changes: a watcher that has yet to read one starts again.
    pub(super) fn forget(&mut self) {
        self.first = self.end();
        self.changes = VecDeque::new();
        self.memory = BytesMut::new();
        self.bytes = 0;
        self.complete_after = self.newest;
    }

    /// Returns where to write a change.
    fn memory(&mut self) -> &mut BytesMut {
        if self.memory.capacity() < CHANGE_BYTES {
            self.memory = BytesMut::with_capacity(MEMORY_BYTES);
        }
        &mut self.memory
    }

    /// Returns the change that was written.
    fn written(&mut self) -> Bytes {
        self.memory.split().freeze()
    }

    fn push(&mut self, logged: Logged) {
        self.bytes += logged.encoded.len();
        self.newest = self.newest.max(logged.revision);
        self.changes.push_back(logged);
        while self.changes.len() > CHANGES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.first += 1;
            self.bytes -= oldest.encoded.len();
            self.complete_after = self.complete_after.max(oldest.revision);
        }
    }
}

/// The changes to keep: some seconds of a busy registrar, which is how long a reconnect takes. A
/// watcher that is further behind starts again.
pub(super) const CHANGES_MAX: usize = 4096;

/// The bytes of a usual change, and of the memory that many share.
const CHANGE_BYTES: usize = 1024;
const MEMORY_BYTES: usize = 64 * 1024;

/// The bytes of changes to keep, for all watchers together.
const BYTES_MAX: usize = 2 * 1024 * 1024;
