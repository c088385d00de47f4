//! How far each resource is, as data: who makes it, who waits, who uses it.
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
//! Whoever asks while a resource is entering or exiting waits. When it has been made, all who wait
//! use it; when making it failed, all are told. When its maker was abandoned, or the old one has
//! exited, the first who waits is to make it. One that is of no use any more is expelled, and is the
//! business of those who use it. Keys know nothing of each other.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Every resource that is not absent. `W` is how somebody who waits is told, `V` the value.
#[derive(Debug)]
pub(super) struct Entries<K, W, V> {
    entries: HashMap<K, Entry<W, V>>,
    /// How many tickets there have been.
    tickets: u64,
}

#[derive(Debug)]
enum Entry<W, V> {
    Entering { waiters: Waiters<W> },
    Live { value: V, users: usize },
    Exiting { waiters: Waiters<W> },
}

/// Those who wait, the first in front.
type Waiters<W> = VecDeque<(Ticket, W)>;

/// Tells apart those who wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ticket(u64);

/// The next step of a user who asks for a resource.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Answer<V> {
    /// Make it, and say how that went.
    Enter,
    /// Use it.
    Join(V),
    /// Wait to be told what.
    Wait(Ticket),
}

impl<K, W, V> Default for Entries<K, W, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), tickets: 0 }
    }
}

impl<K: Clone + Eq + Hash, W, V: Clone> Entries<K, W, V> {
    /// Somebody asks for a resource. `waiter` tells how to reach them, should they have to wait.
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

    /// Its maker has made the resource, and uses it. Returns those who do too from now on.
    pub(super) fn entered(&mut self, key: &K, value: V) -> Vec<W> {
        let waiters = self.take_entering(key);
        let users = 1 + waiters.len();
        self.entries.insert(key.clone(), Entry::Live { value, users });
        waiters.into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// Its maker could not make the resource. Returns those who waited for it.
    pub(super) fn failed(&mut self, key: &K) -> Vec<W> {
        self.take_entering(key).into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// Its maker will not make the resource. Returns who is to make it instead.
    pub(super) fn abandoned(&mut self, key: &K) -> Option<W> {
        let waiters = self.take_entering(key);
        self.promote(key, waiters)
    }

    /// Somebody waits no more. Tells whether they still did; if not, they have been told what to
    /// do, and have to take it back.
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

    /// Takes a live resource out if `is_stale` says so of it. Returns it, and how many use it.
    pub(super) fn expel(
        &mut self,
        key: &K,
        is_stale: impl FnOnce(&V) -> bool,
    ) -> Option<(V, usize)> {
        match self.entries.get(key) {
            Some(Entry::Live { value, .. }) if is_stale(value) => {}
            _ => return None,
        }
        match self.entries.remove(key) {
            Some(Entry::Live { value, users }) => Some((value, users)),
            _ => unreachable!("it was live a moment ago"),
        }
    }

    /// One of its users has left the resource. Returns the value when it was the last: it is to
    /// be closed.
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

    /// The resource is closed, well or not. Returns who is to make it anew.
    pub(super) fn exited(&mut self, key: &K) -> Option<W> {
        match self.entries.remove(key) {
            Some(Entry::Exiting { waiters }) => self.promote(key, waiters),
            _ => panic!("what is being closed is exiting until it is closed"),
        }
    }

    /// Gives up all who wait.
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
