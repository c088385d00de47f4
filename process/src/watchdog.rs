//! The end of a child whose parent has ended.
//!
//! A plain thread waits in the kernel until the parent closes its end of the channel or ends as a
//! process. A runtime that no longer turns, a handler that never returns or a signal that is
//! blocked do not hold it up. It also hears when the end of its process is forced.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, Signal},
};
use tokio::time::Instant;

use super::forced_end;

/// The stack of the thread, which only waits.
const STACK_BYTES: usize = 64 * 1024;

/// The exit code of a process that ended because its parent had. It is visible only if the process
/// does not lead a group.
const ABANDONED: i32 = 70;

/// The time for which a process may live on once its end is forced, before it is killed if its
/// parent has gone. A parent gives a child the same time before it kills it, so that stuck
/// processes below each other end together, not one after the other.
pub const FORCED_END_LIMIT: Duration = Duration::from_secs(2);

/// The time limit for the last work of a process before it is killed: a few file system calls.
const LAST_WORK: Duration = Duration::from_millis(500);

/// The descriptors that a watchdog waits for.
#[derive(Debug)]
pub(super) struct Watchdog {
    channel: OwnedFd,
    parent: Option<OwnedFd>,
    counter: OwnedFd,
}

impl Watchdog {
    /// Starts the watchdog: when the parent has gone, this process may live on for `grace`, and is
    /// then killed with every process of its group.
    ///
    /// `channel` is a duplicate of this process's end, and `parent` a descriptor of the parent if
    /// one is available (in another process namespace there is none). The parent increments
    /// `counter` to force the end of the process.
    pub(super) fn start(
        channel: OwnedFd,
        parent: Option<OwnedFd>,
        counter: OwnedFd,
        grace: Duration,
    ) -> io::Result<Arc<Self>> {
        let watchdog = Arc::new(Self { channel, parent, counter });
        let watching = Arc::clone(&watchdog);
        let watch = move || {
            watching.watch(grace);
            do_last_work();
            end_group()
        };
        thread::Builder::new()
            .name("callsign-watchdog".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(watch)?;
        Ok(watchdog)
    }

    /// Waits until the process must be killed.
    fn watch(&self, grace: Duration) {
        let mut end: Option<Instant> = None;
        let mut forced_end: Option<Instant> = None;
        loop {
            let left = end.map(|end| {
                let end = forced_end.map_or(end, |forced| end.min(forced));
                end.saturating_duration_since(Instant::now())
            });
            if left == Some(Duration::ZERO) {
                return;
            }
            let mut polled = vec![PollFd::new(&self.counter, PollFlags::IN)];
            if end.is_none() {
                polled.extend(self.ends_of_the_parent());
            }
            if poll(&mut polled, left) && self.is_raised() {
                forced_end.get_or_insert_with(|| Instant::now() + FORCED_END_LIMIT);
                forced_end::hear();
            }
            if end.is_none() && self.has_fired() {
                end = Some(Instant::now() + grace);
            }
        }
    }

    /// Tells whether the counter was raised since the last call.
    fn is_raised(&self) -> bool {
        rustix::io::read(&self.counter, &mut [0_u8; 8]).is_ok()
    }

    /// Tells whether the parent has gone.
    pub(super) fn has_fired(&self) -> bool {
        poll(&mut self.ends_of_the_parent().collect::<Vec<_>>(), Some(Duration::ZERO))
    }

    /// Returns the descriptors that show that the other end of the channel is closed, or that the
    /// parent has ended as a process.
    fn ends_of_the_parent(&self) -> impl Iterator<Item = PollFd<'_>> {
        // A hang-up is always reported; readable data is not asked for.
        let channel = PollFd::new(&self.channel, PollFlags::empty());
        let process = self.parent.as_ref().map(|it| PollFd::new(it, PollFlags::IN));
        [channel].into_iter().chain(process)
    }
}

/// Waits for one of them, and tells whether there is one.
fn poll(polled: &mut [PollFd<'_>], timeout: Option<Duration>) -> bool {
    let timeout = timeout.map(|it| Timespec {
        tv_sec: i64::try_from(it.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: it.subsec_nanos().into(),
    });
    rustix::event::poll(polled, timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

/// Registers the last work of this process, such as removing its files, for a forced end after its
/// parent has gone. The work runs in its own thread, whatever else is stuck, for half a second at
/// most. Only the first registration counts.
pub fn at_forced_end(work: fn()) {
    let _is_first = LAST.set(work).is_ok();
}

fn do_last_work() {
    let Some(work) = LAST.get() else { return };
    let (done, is_done) = mpsc::sync_channel(1);
    let working = thread::Builder::new().name("callsign-last".to_owned()).spawn(move || {
        work();
        let _is_heard = done.send(()).is_ok();
    });
    if working.is_ok() {
        // It does not wait for a file system that does not answer.
        let _is_done = is_done.recv_timeout(LAST_WORK).is_ok();
    }
}

/// The last work of this process when it is ended by force.
static LAST: OnceLock<fn()> = OnceLock::new();

/// Kills this process's group and this process with it.
pub(super) fn end_group() -> ! {
    if super::kernel::own_group() == Some(rustix::process::getpid()) {
        // It fails only if the group is empty, and this process is in it.
        let _ = rustix::process::kill_current_process_group(Signal::KILL);
    }
    super::kernel::exit_now(ABANDONED)
}

/// Opens the parent, if it still is `expected`. If processes are invisible (`None`: the parent is
/// in another namespace), there is nothing to open.
pub(super) fn open_parent(expected: Pid) -> io::Result<Option<OwnedFd>> {
    let Some(parent) = rustix::process::getppid() else { return Ok(None) };
    let pidfd = rustix::process::pidfd_open(parent, rustix::process::PidfdFlags::empty())?;
    // Checked after it was opened: a process that has ended is no longer the parent, and its number
    // may belong to another process.
    if rustix::process::getppid() == Some(expected) {
        return Ok(Some(pidfd));
    }
    Err(io::Error::from_raw_os_error(libc::ESRCH))
}
