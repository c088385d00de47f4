//! The state of each resource, as data: its maker, its waiters, its users.
//!
//! ```text
//!   absent ──ask──▶ entering ──entered──▶ live ──the last left──▶ exiting
//!      ▲               │  ▲               │                        │  │
//!      ├─── failed ────┤  └───────────────┼── exited, and ─────────┘  │
//!      ├── abandoned ──┘                  │   somebody waits          │
//!      ├──────────────────── expelled ────┘                           │
//!      └───────────────────── exited ─────────────────────────────────┘
//! ```
//!
//! A caller that arrives while a resource is entering or exiting waits. When it has been made, all
//! waiters use it; when making it failed, all get the error. If its maker was abandoned, or the old
//! resource has exited, the first waiter makes it. A resource that is no longer usable is expelled,
//! and concerns only its users. Keys are independent of each other.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Every resource that is not absent. `W` notifies a waiter, `V` is the value.
#[derive(Debug)]
pub(super) struct Entries<K, W, V> {
    entries: HashMap<K, Entry<W, V>>,
    /// The number of tickets so far.
    tickets: u64,
}

#[derive(Debug)]
enum Entry<W, V> {
    Entering { waiters: Waiters<W> },
    Live { value: V, users: usize },
    Exiting { waiters: Waiters<W> },
}

/// The waiters, in order.
type Waiters<W> = VecDeque<(Ticket, W)>;

/// Distinguishes the waiters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ticket(u64);

/// The next step of a caller that opens a resource.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Answer<V> {
    /// Open it, and report the result.
    Enter,
    /// Use it.
    Join(V),
    /// Wait for a notification.
    Wait(Ticket),
}

impl<K, W, V> Default for Entries<K, W, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), tickets: 0 }
    }
}

impl<K: Clone + Eq + Hash, W, V: Clone> Entries<K, W, V> {
    /// A caller opens a resource. `waiter` notifies it if it has to wait.
    pub(super) fn ask(&mut self, key: &K, waiter: impl FnOnce() -> W) -> Answer<V> {
        match self.entries.get_mut(key) {
            None => {
                self.entries.insert(key.clone(), Entry::Entering { waiters: Waiters::new() });
                Answer::Enter
            }
            Some(Entry::Live { value, users }) => {
                *users += 1;
                Answer::Join(value.clone())
            }
            Some(Entry::Entering { waiters } | Entry::Exiting { waiters }) => {
                let ticket = Ticket(self.tickets);
                self.tickets += 1;
                waiters.push_back((ticket, waiter()));
                Answer::Wait(ticket)
            }
        }
    }

    /// Its maker has made the resource, and uses it. Returns the others that use it from now on.
    pub(super) fn entered(&mut self, key: &K, value: V) -> Vec<W> {
        let waiters = self.take_entering(key);
        let users = 1 + waiters.len();
        self.entries.insert(key.clone(), Entry::Live { value, users });
        waiters.into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// Its maker could not make the resource. Returns the waiters.
    pub(super) fn failed(&mut self, key: &K) -> Vec<W> {
        self.take_entering(key).into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// Its maker will not make the resource. Returns the waiter that makes it instead.
    pub(super) fn abandoned(&mut self, key: &K) -> Option<W> {
        let waiters = self.take_entering(key);
        self.promote(key, waiters)
    }

    /// A waiter stops waiting. Tells whether it was still waiting; if not, it has been notified,
    /// and has to return what it got.
    pub(super) fn forget(&mut self, key: &K, ticket: Ticket) -> bool {
        let Some(Entry::Entering { waiters } | Entry::Exiting { waiters }) =
            self.entries.get_mut(key)
        else {
            return false;
        };
        let waiting = waiters.len();
        waiters.retain(|(it, _)| *it != ticket);
        waiters.len() < waiting
    }

    /// Removes a live resource if `has_ended` says so. Returns it, and the number of its users.
    pub(super) fn expel(
        &mut self,
        key: &K,
        has_ended: impl FnOnce(&V) -> bool,
    ) -> Option<(V, usize)> {
        match self.entries.get(key) {
            Some(Entry::Live { value, .. }) if has_ended(value) => {}
            _ => return None,
        }
        match self.entries.remove(key) {
            Some(Entry::Live { value, users }) => Some((value, users)),
            _ => unreachable!("it was live a moment ago"),
        }
    }

    /// A user has left the resource. Returns the value if it was the last: it must be closed.
    pub(super) fn left(&mut self, key: &K) -> Option<V> {
        let Some(Entry::Live { value, users }) = self.entries.get_mut(key) else {
            panic!("what is used is live until the last of its users leaves")
        };
        *users -= 1;
        if *users > 0 {
            return None;
        }
        let value = value.clone();
        self.entries.insert(key.clone(), Entry::Exiting { waiters: Waiters::new() });
        Some(value)
    }

    /// The resource is closed, with or without an error. Returns the waiter that makes it again.
    pub(super) fn exited(&mut self, key: &K) -> Option<W> {
        match self.entries.remove(key) {
            Some(Entry::Exiting { waiters }) => self.promote(key, waiters),
            _ => panic!("what is being closed is exiting until it is closed"),
        }
    }

    /// Drops all waiters.
    pub(super) fn forget_all(&mut self) {
        for entry in self.entries.values_mut() {
            if let Entry::Entering { waiters } | Entry::Exiting { waiters } = entry {
                waiters.clear();
            }
        }
    }

    fn promote(&mut self, key: &K, mut waiters: Waiters<W>) -> Option<W> {
        let (_, first) = waiters.pop_front()?;
        self.entries.insert(key.clone(), Entry::Entering { waiters });
        Some(first)
    }

    fn take_entering(&mut self, key: &K) -> Waiters<W> {
        match self.entries.remove(key) {
            Some(Entry::Entering { waiters }) => waiters,
            _ => panic!("what is being made is entering until its maker tells how that went"),
        }
    }
}

#[cfg(test)]
mod tests;
