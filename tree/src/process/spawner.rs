//! The one thread that starts processes, and waits for those that nobody waits for any more.
//!
//! The kernel ties a child's notice of its parent's death to the *thread* that started it. A
//! thread of a runtime's pool ends when it has been idle, so children are started by a thread
//! that stays as long as the process does.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use rustix::process::{WaitId, WaitIdOptions};
use tokio::sync::{Semaphore, oneshot};

/// How many launches wait for the thread at once; the rest wait for these. A launch takes a few
/// milliseconds, so more would only be a longer queue.
const LAUNCHES_MAX: usize = 64;

/// How often the thread looks for the end of processes that were given up. They were sent SIGKILL
/// before, so most are gone at the first look.
const ORPHANS_EVERY: Duration = Duration::from_millis(20);

type Job = Box<dyn FnOnce() + Send>;

/// The way to the thread.
struct Spawner {
    jobs: SyncSender<Job>,
    places: Semaphore,
    orphans: Mutex<Vec<Arc<OwnedFd>>>,
}

static SPAWNER: OnceLock<Spawner> = OnceLock::new();

/// Runs `job` on the thread and returns what it returned. If the caller has gone by then, that is
/// dropped.
///
/// # Cancel safety
///
/// Cancel safe: the job runs or does not, and what it returns is dropped.
pub(super) async fn run<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let spawner = spawner()?;
    let _place = spawner.places.acquire().await.expect("the places are never closed");
    let (answer, answered) = oneshot::channel();
    let job = Box::new(move || drop(answer.send(job())));
    // A launch that was given up leaves its place before its job is done, so there may be no
    // room; the thread never ends, so there will be.
    let mut job: Job = job;
    loop {
        match spawner.jobs.try_send(job) {
            Ok(()) => break,
            Err(error) => job = into_job(error),
        }
        tokio::time::sleep(ORPHANS_EVERY).await;
    }
    answered.await.map_err(|_| io::Error::other("the job of the spawner thread panicked"))
}

fn into_job(error: std::sync::mpsc::TrySendError<Job>) -> Job {
    match error {
        std::sync::mpsc::TrySendError::Full(job)
        | std::sync::mpsc::TrySendError::Disconnected(job) => job,
    }
}

/// Leaves a child that was sent SIGKILL to the thread, which waits for it.
pub(super) fn leave_to_reap(pidfd: Arc<OwnedFd>) {
    // A process that was started was started by the thread.
    let Some(spawner) = SPAWNER.get() else { return };
    spawner.orphans.lock().unwrap_or_else(PoisonError::into_inner).push(pidfd);
    // A thread that has jobs queued is awake.
    drop(spawner.jobs.try_send(Box::new(|| ())));
}

fn spawner() -> io::Result<&'static Spawner> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(spawner) = SPAWNER.get() {
        return Ok(spawner);
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if SPAWNER.get().is_none() {
        let (jobs, queue) = sync_channel(LAUNCHES_MAX);
        thread::Builder::new().name("callsign-spawner".to_owned()).spawn(move || serve(&queue))?;
        let places = Semaphore::new(LAUNCHES_MAX);
        let spawner = Spawner { jobs, places, orphans: Mutex::default() };
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
            // A job that panics is told to its caller by the answer that does not come.
            Ok(job) => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job))),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        has_orphans = SPAWNER.get().is_some_and(reap_orphans);
    }
}

/// Waits for the processes that have ended, and returns whether there are more.
fn reap_orphans(spawner: &Spawner) -> bool {
    let mut orphans = spawner.orphans.lock().unwrap_or_else(PoisonError::into_inner);
    orphans.retain(|pidfd| {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // What cannot be waited for is not ours any more.
        matches!(rustix::process::waitid(WaitId::PidFd((**pidfd).as_fd()), options), Ok(None))
    });
    !orphans.is_empty()
}
