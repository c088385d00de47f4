//! The one thread that starts processes, and reaps those that nobody else waits for.
//!
//! The kernel ties a child's notice of its parent's death to the *thread* that started it. A thread
//! of a runtime's pool ends when it has been idle, so children are started by a thread that lives
//! as long as the process.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use rustix::process::{WaitId, WaitIdOptions};
use tokio::sync::{Semaphore, oneshot};

/// The most launches that wait for the thread; the others wait for these. A launch takes a few
/// milliseconds, so more would only be a longer queue.
const LAUNCHES_MAX: usize = 64;

/// The interval between looks for the end of abandoned processes. They were sent SIGKILL before, so
/// most are gone at the first look.
const ORPHANS_EVERY: Duration = Duration::from_millis(20);

type Job = Box<dyn FnOnce() + Send>;

/// The connection to the thread.
struct Spawner {
    /// It has room for every launch, and for one message to wake the thread.
    jobs: SyncSender<Job>,
    places: Arc<Semaphore>,
    orphans: Mutex<Vec<Arc<OwnedFd>>>,
    is_woken: AtomicBool,
}

static SPAWNER: OnceLock<Spawner> = OnceLock::new();

/// Runs `job` on the thread and returns its result. If the caller has gone by then, the result is
/// dropped.
///
/// # Cancel safety
///
/// Cancel safe: the job runs or does not, and its result is dropped.
pub(super) async fn run<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let spawner = spawner()?;
    let place = Arc::clone(&spawner.places).acquire_owned().await;
    let place = place.expect("the places are never closed");
    let (answer, answered) = oneshot::channel();
    let job = move || {
        answer.send(job()).ok();
        drop(place);
    };
    spawner.jobs.try_send(Box::new(job)).map_err(|_| io::Error::other("it has ended"))?;
    answered.await.map_err(|_| io::Error::other("it panicked"))
}

/// Leaves a job to the thread that nobody waits for. It is dropped if too many wait already.
pub(super) fn leave(job: impl FnOnce() + Send + 'static) {
    if let Ok(spawner) = spawner() {
        drop(spawner.jobs.try_send(Box::new(job)));
    }
}

/// Leaves a child that was sent SIGKILL to the thread, which reaps it.
pub(super) fn leave_to_reap(pidfd: Arc<OwnedFd>) {
    let Ok(spawner) = spawner() else { return };
    spawner.orphans.lock().unwrap_or_else(PoisonError::into_inner).push(pidfd);
    if !spawner.is_woken.swap(true, Ordering::AcqRel) {
        let wake = || spawner.is_woken.store(false, Ordering::Release);
        drop(spawner.jobs.try_send(Box::new(wake)));
    }
}

fn spawner() -> io::Result<&'static Spawner> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(spawner) = SPAWNER.get() {
        return Ok(spawner);
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if SPAWNER.get().is_none() {
        let (jobs, queue) = sync_channel(LAUNCHES_MAX + 1);
        thread::Builder::new().name("callsign-spawner".to_owned()).spawn(move || serve(&queue))?;
        let spawner = Spawner {
            jobs,
            places: Arc::new(Semaphore::new(LAUNCHES_MAX)),
            orphans: Mutex::default(),
            is_woken: AtomicBool::new(false),
        };
        assert!(SPAWNER.set(spawner).is_ok(), "only the holder of STARTING sets it");
    }
    Ok(SPAWNER.get().expect("it was set above"))
}

/// Does the jobs, for ever: the sender is never dropped.
fn serve(queue: &Receiver<Job>) {
    let mut has_orphans = false;
    loop {
        let job = if has_orphans {
            queue.recv_timeout(ORPHANS_EVERY)
        } else {
            queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match job {
            // A job that panics leaves its caller without an answer.
            Ok(job) => drop(panic::catch_unwind(AssertUnwindSafe(job))),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        has_orphans = SPAWNER.get().is_some_and(reap_orphans);
    }
}

/// Reaps the processes that have ended, and tells whether there are more.
fn reap_orphans(spawner: &Spawner) -> bool {
    let mut orphans = spawner.orphans.lock().unwrap_or_else(PoisonError::into_inner);
    orphans.retain(|pidfd| {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // A process that cannot be reaped is no longer ours.
        matches!(rustix::process::waitid(WaitId::PidFd((**pidfd).as_fd()), options), Ok(None))
    });
    !orphans.is_empty()
}
