//! A word that gets past whoever is stuck: that a process is to end in a hurry.
//!
//! A child that is stuck passes nothing on to its own children. Its watchdog does. Beside the
//! channel, every child shares with its parent a counter of the kernel's (an `eventfd`), and the
//! watchdog of the child waits for it to be raised:
//!
//! ```text
//!   a parent                     its child, stuck             a child of that, stuck
//!   Child::hurry ──(counter)──▶ watchdog ──(counter)──▶ watchdog
//!                                  └─ hurried()                └─ hurried()
//! ```
//!
//! So all that is below hears it within a moment, and nobody has to know the number of a process
//! that is not its own child.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use rustix::{event::EventfdFlags, process::Signal};
use tokio::sync::watch;

/// Tells every child process of this process, and all that is below them, to end in a hurry: each
/// that is still there in [`HURRY`](super::HURRY) is killed once its parent has gone.
///
/// ```
/// /// Is called when somebody presses Ctrl-C again.
/// fn interrupted_again() {
///     callsign_process::hurry_children();
/// }
/// # let _ = interrupted_again;
/// ```
pub fn hurry_children() {
    children().values().for_each(Told::tell);
}

/// Waits until this process has been told to end in a hurry. A process that nobody started as a
/// child never is.
///
/// ```
/// /// Saves what there is, unless there is no time for it.
/// async fn end(save: impl Future<Output = ()>) {
///     tokio::select! {
///         () = save => {}
///         () = callsign_process::hurried() => println!("not saved"),
///     }
/// }
/// # let _ = end(std::future::ready(()));
/// ```
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn hurried() {
    // The sender is never dropped.
    drop(IS_HURRIED.subscribe().wait_for(|it| *it).await);
}

/// Takes note that this process is to end in a hurry, and tells its children.
pub(super) fn hear() {
    IS_HURRIED.send_replace(true);
    hurry_children();
}

/// Makes the counter that a parent raises, and its child's watchdog waits for.
pub(super) fn counter() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// A child that can be told, for as long as this is there.
#[derive(Debug)]
pub(super) struct Hurry(RawFd);

/// How one child is told.
#[derive(Debug)]
struct Told {
    counter: OwnedFd,
    process: Arc<OwnedFd>,
}

impl Hurry {
    /// Lets a child be told. If this process is in a hurry already, it is told at once.
    pub(super) fn new(counter: OwnedFd, process: Arc<OwnedFd>) -> Self {
        let key = counter.as_raw_fd();
        let told = Told { counter, process };
        let mut children = children();
        // It was set before the children were told, so that none is left out.
        if *IS_HURRIED.borrow() {
            told.tell();
        }
        children.insert(key, told);
        Self(key)
    }

    /// Tells the child.
    pub(super) fn tell(&self) {
        children().get(&self.0).expect("it is there until this is dropped").tell();
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        children().remove(&self.0);
    }
}

impl Told {
    fn tell(&self) {
        // A counter that is full was raised before; a process that has ended needs no word.
        let _raised = rustix::io::write(&self.counter, &1_u64.to_ne_bytes());
        // One that was stopped hears nothing.
        let _continued = rustix::process::pidfd_send_signal(&self.process, Signal::CONT);
    }
}

fn children() -> MutexGuard<'static, BTreeMap<RawFd, Told>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The children of this process, by the numbers of their counters here.
static CHILDREN: Mutex<BTreeMap<RawFd, Told>> = Mutex::new(BTreeMap::new());

/// Whether this process is to end in a hurry.
static IS_HURRIED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));
