//! The latest changes, for watchers that were away for a moment.

use std::{collections::VecDeque, sync::Arc};

use endpoints::{InstanceId, Name};
use wire::{Epoch, Gone, Revision, encode_add, encode_body, encode_update, registrar::Change};

use super::Entry;

/// A change as watchers are told it, encoded once for all of them.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) name: Name,
    pub(super) revision: Revision,
    pub(super) encoded: Box<[u8]>,
}

/// The latest changes, oldest first.
#[derive(Debug)]
pub(super) struct Log {
    changes: VecDeque<Arc<Logged>>,
    bytes: usize,
    /// Every change after this one is in the log.
    complete_after: Revision,
}

impl Log {
    pub(super) fn new(revision: Revision) -> Self {
        Self { changes: VecDeque::new(), bytes: 0, complete_after: revision }
    }

    pub(super) fn put(&mut self, entry: &Entry, is_new: bool, revision: Revision) -> Arc<Logged> {
        let encode = if is_new { encode_add } else { encode_update };
        self.push(entry.name.clone(), revision, encode(entry.encoded(), revision))
    }

    pub(super) fn removed(
        &mut self,
        instance: InstanceId,
        epoch: Epoch,
        gone: Gone,
        revision: Revision,
    ) -> Arc<Logged> {
        let name = instance.name.clone();
        let removed = Change::Remove { instance, epoch, gone, revision };
        self.push(name, revision, encode_body(&removed))
    }

    /// Returns the changes after `revision`, or `None` if some of them are no longer known.
    pub(super) fn since(&self, revision: Revision) -> Option<Vec<Arc<Logged>>> {
        let newest = self.changes.back().map_or(self.complete_after, |it| it.revision);
        if !(self.complete_after..=newest).contains(&revision) {
            return None;
        }
        let first = self.changes.partition_point(|it| it.revision <= revision);
        Some(self.changes.range(first..).cloned().collect())
    }

    fn push(&mut self, name: Name, revision: Revision, change: Vec<u8>) -> Arc<Logged> {
        let logged = Arc::new(Logged { name, revision, encoded: change.into() });
        self.bytes += logged.encoded.len();
        self.changes.push_back(logged.clone());
        while self.changes.len() > CHANGES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= oldest.encoded.len();
            self.complete_after = oldest.revision;
        }
        logged
    }
}

/// How many changes are kept: some seconds of a busy registrar, which is how long a reconnect
/// takes.
const CHANGES_MAX: usize = 4096;

/// How many bytes of changes are kept, beside those that watchers have yet to read.
const BYTES_MAX: usize = 2 * 1024 * 1024;
