//! Forced ends: the request that a process end now, which gets past processes that are stuck.
//!
//! A child that is stuck passes nothing on to its own children. Its watchdog does. Besides the
//! channel, every child shares a kernel counter (an `eventfd`) with its parent, and the child's
//! watchdog waits for the parent to increment it:
//!
//! ```text
//!   a parent                        its child, stuck       a child of that, stuck
//!   Child::force_end ──(counter)──▶ watchdog ──(counter)──▶ watchdog
//!                                   └─ forced_to_end()      └─ forced_to_end()
//! ```
//!
//! So every process below hears of it within a moment, and no process has to know the number of one
//! that is not its own child.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use rustix::{event::EventfdFlags, process::Signal};
use tokio::sync::watch;

/// Forces the end of every child process, and of all processes below them: each that still runs
/// after [`FORCED_END_LIMIT`](super::FORCED_END_LIMIT) is killed once its parent has gone.
pub fn force_children_to_end() {
    children().values().for_each(ChildCounter::tell);
}

/// Waits until the end of this process is forced. That never happens to a process that was not
/// started as a child.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn forced_to_end() {
    // The sender is never dropped.
    drop(IS_FORCED.subscribe().wait_for(|it| *it).await);
}

/// Records that the end of this process is forced, and forces that of its children.
pub(super) fn hear() {
    IS_FORCED.send_replace(true);
    force_children_to_end();
}

/// Makes the counter that a parent raises, and its child's watchdog waits for.
pub(super) fn counter() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Forces the end of one child; the child is listed until this is dropped.
#[derive(Debug)]
pub(super) struct ForcedEnd(RawFd);

/// The counter of one child.
#[derive(Debug)]
struct ChildCounter {
    counter: OwnedFd,
    process: Arc<OwnedFd>,
}

impl ForcedEnd {
    /// Lists a child. If the end of this process is forced already, so is that of the child.
    pub(super) fn new(counter: OwnedFd, process: Arc<OwnedFd>) -> Self {
        let key = counter.as_raw_fd();
        let told = ChildCounter { counter, process };
        let mut children = children();
        // It was set before the children were notified, so that none is left out.
        if *IS_FORCED.borrow() {
            told.tell();
        }
        children.insert(key, told);
        Self(key)
    }

    /// Forces the end of the child.
    pub(super) fn tell(&self) {
        children().get(&self.0).expect("it is there until this is dropped").tell();
    }
}

impl Drop for ForcedEnd {
    fn drop(&mut self) {
        children().remove(&self.0);
    }
}

impl ChildCounter {
    fn tell(&self) {
        // A counter that is full was raised before; a process that has ended needs no request.
        let _raised = rustix::io::write(&self.counter, &1_u64.to_ne_bytes());
        // A stopped process does not react.
        let _continued = rustix::process::pidfd_send_signal(&self.process, Signal::CONT);
    }
}

fn children() -> MutexGuard<'static, BTreeMap<RawFd, ChildCounter>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The children of this process, by the numbers of their counters here.
static CHILDREN: Mutex<BTreeMap<RawFd, ChildCounter>> = Mutex::new(BTreeMap::new());

/// Whether the end of this process is forced.
static IS_FORCED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));
