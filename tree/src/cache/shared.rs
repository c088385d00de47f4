//! The state shared by the users of a cache and its reaper: the entries, and the resources to
//! close.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use super::{
    CloseError, Key, Resource,
    entries::{Answer, Entries, Ticket},
};

pub(super) struct Shared<K: Key, V: Resource> {
    state: Mutex<State<K, V>>,
    /// Wakes the reaper.
    changed: Notify,
}

struct State<K: Key, V: Resource> {
    entries: Entries<K, oneshot::Sender<Grant<V>>, Arc<V>>,
    /// Used resources that were expelled because new users cannot use them.
    ended: Vec<Ended<V>>,
    /// Unused resources. Besides ended ones, at most one of each key.
    closing: Vec<Closing<K, V>>,
    /// Whether nobody can open anything any more.
    is_unused: bool,
    /// Whether nobody closes anything any more.
    is_over: bool,
}

struct Ended<V> {
    value: Arc<V>,
    users: usize,
}

/// The answer to a user who waited.
pub(super) enum Grant<V: Resource> {
    /// Make it.
    Enter,
    /// Use it.
    Join(Arc<V>),
    /// It could not be made.
    Failed(Arc<V::Error>),
}

/// A resource to be closed.
pub(super) struct Closing<K: Key, V: Resource> {
    pub(super) key: K,
    pub(super) value: V,
    /// Whether its key is free already, for it was expelled.
    pub(super) has_ended: bool,
    /// The recipient of the result, if the last of its users waits for it.
    pub(super) report: Option<Report<V>>,
}

pub(super) type Report<V> = oneshot::Sender<Result<(), CloseError<<V as Resource>::Error>>>;

/// The next step of a user who opens a resource.
pub(super) enum Opening<V: Resource> {
    Enter,
    Join(Arc<V>),
    Wait(Ticket, oneshot::Receiver<Grant<V>>),
}

impl<K: Key, V: Resource> Shared<K, V> {
    /// Asks for a resource; `None` when nobody would close it.
    pub(super) fn ask(&self, key: &K) -> Option<Opening<V>> {
        let mut state = self.lock();
        if state.is_over {
            return None;
        }
        if let Some((value, users)) = state.entries.expel(key, |it| it.has_ended()) {
            state.ended.push(Ended { value, users });
        }
        let mut receiver = None;
        let answer = state.entries.ask(key, || {
            let (sender, waiting) = oneshot::channel();
            receiver = Some(waiting);
            sender
        });
        Some(match answer {
            Answer::Enter => Opening::Enter,
            Answer::Join(value) => Opening::Join(value),
            Answer::Wait(ticket) => {
                Opening::Wait(ticket, receiver.expect("whoever waits has said how to be told"))
            }
        })
    }

    /// Shares the made resource; returns it if nobody would close it.
    pub(super) fn entered(&self, key: &K, value: V) -> Result<Arc<V>, V> {
        let mut state = self.lock();
        if state.is_over {
            state.entries.failed(key);
            return Err(value);
        }
        let value = Arc::new(value);
        for waiter in state.entries.entered(key, Arc::clone(&value)) {
            tell(waiter, Grant::Join(Arc::clone(&value)));
        }
        Ok(value)
    }

    /// Reports to the waiters that the resource cannot be made.
    pub(super) fn failed(&self, key: &K, error: &Arc<V::Error>) {
        let mut state = self.lock();
        for waiter in state.entries.failed(key) {
            tell(waiter, Grant::Failed(Arc::clone(error)));
        }
    }

    /// Passes an abandoned resource on to the next opener.
    pub(super) fn abandoned(&self, key: &K) {
        let mut state = self.lock();
        if let Some(waiter) = state.entries.abandoned(key) {
            tell(waiter, Grant::Enter);
        }
    }

    /// Stops waiting. Tells whether nothing had been granted until then.
    pub(super) fn forget(&self, key: &K, ticket: Ticket) -> bool {
        self.lock().entries.forget(key, ticket)
    }

    /// Leaves a resource. The last user to leave has it closed, and gets the result if it asked for
    /// it with `report`. Tells whether it was the last.
    pub(super) fn left(&self, key: &K, value: Arc<V>, report: Option<Report<V>>) -> bool {
        let mut state = self.lock();
        let place = state.ended.iter().position(|it| Arc::ptr_eq(&it.value, &value));
        // Whether it is ended or live, it is held there too, so that nothing is dropped here.
        drop(value);
        let unused = match place {
            Some(place) => state.leave_spent(place),
            None => state.entries.left(key),
        };
        let Some(value) = unused else { return false };
        if state.is_over {
            // It is dropped without the lock. A caller that waits for the report notices the
            // sender's end.
            drop(state);
            return true;
        }
        let value = Arc::into_inner(value).expect("every user gives its guard up before it leaves");
        let has_ended = place.is_some();
        state.closing.push(Closing { key: key.clone(), value, has_ended, report });
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Waits for resources to close; `None` when there can be no more.
    pub(super) async fn next_closing(&self) -> Option<Vec<Closing<K, V>>> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if !state.closing.is_empty() {
                    return Some(mem::take(&mut state.closing));
                }
                if state.is_unused {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// A resource is closed: the next caller may open it again.
    pub(super) fn exited(&self, key: &K) {
        let mut state = self.lock();
        if let Some(waiter) = state.entries.exited(key) {
            tell(waiter, Grant::Enter);
        }
    }

    /// Nothing is closed any more. Waiters notice the end of their senders.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.entries.forget_all();
        // Unclosed resources are dropped without the lock.
        let _dropped = mem::take(&mut state.closing);
        drop(state);
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        // Keys are compared under the lock. A comparison that panics leaves the entries as they
        // were.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key, V: Resource> State<K, V> {
    /// Leaves an expelled resource. Returns it if nobody else uses it.
    fn leave_spent(&mut self, place: usize) -> Option<Arc<V>> {
        let ended = &mut self.ended[place];
        ended.users -= 1;
        (ended.users == 0).then(|| self.ended.swap_remove(place).value)
    }
}

/// Notifies a waiter. It is there: it removes itself under the lock before it leaves.
fn tell<V: Resource>(waiter: oneshot::Sender<Grant<V>>, grant: Grant<V>) {
    let told = waiter.send(grant);
    debug_assert!(told.is_ok(), "somebody who waited has gone without a word");
}

impl<K: Key, V: Resource> Default for Shared<K, V> {
    fn default() -> Self {
        let state = State {
            entries: Entries::default(),
            ended: Vec::new(),
            closing: Vec::new(),
            is_unused: false,
            is_over: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }
}

/// Held by every handle, guard and opener. When the last of them goes, the reaper ends.
pub(super) struct Tie<K: Key, V: Resource>(pub(super) Arc<Shared<K, V>>);

impl<K: Key, V: Resource> Drop for Tie<K, V> {
    fn drop(&mut self) {
        self.0.lock().is_unused = true;
        self.0.changed.notify_one();
    }
}
