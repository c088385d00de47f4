//! The end of a child whose parent has ended.
//!
//! A plain thread waits in the kernel until the parent closes its end of the channel or ends as a
//! process. A runtime that no longer turns, a handler that never returns or a signal that is
//! blocked do not hold it up.

use std::{io, os::fd::OwnedFd, sync::Arc, thread, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, Signal},
};

/// The stack of the thread, which only waits.
const STACK_BYTES: usize = 64 * 1024;

/// The exit code of a process that ended because its parent had. It is seen only where the
/// process leads no group of its own.
const ABANDONED: i32 = 70;

/// What is watched.
#[derive(Debug)]
pub(super) struct Watchdog {
    channel: OwnedFd,
    parent: Option<OwnedFd>,
}

impl Watchdog {
    /// Starts the watchdog: when the parent has gone, this process may live on for `grace`, and
    /// then it is killed with every process of its group.
    ///
    /// `channel` is a duplicate of this process's end, and `parent` a descriptor of the parent
    /// where there is one to be had (in another process namespace there is none).
    pub(super) fn start(
        channel: OwnedFd,
        parent: Option<OwnedFd>,
        grace: Duration,
    ) -> io::Result<Arc<Self>> {
        let watchdog = Arc::new(Self { channel, parent });
        let watching = Arc::clone(&watchdog);
        let watch = move || {
            // Nothing but a signal to this thread can keep it from waiting.
            while !watching.poll(None) {}
            thread::sleep(grace);
            end_group()
        };
        thread::Builder::new()
            .name("callsign-watchdog".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(watch)?;
        Ok(watchdog)
    }

    /// Returns whether the parent has gone.
    pub(super) fn has_fired(&self) -> bool {
        self.poll(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    /// Waits until the other end of the channel is closed or the parent has ended, and returns
    /// whether that is so.
    fn poll(&self, timeout: Option<&Timespec>) -> bool {
        // A hang-up is always told; that there is something to read is not asked for.
        let mut polled = vec![PollFd::new(&self.channel, PollFlags::empty())];
        polled.extend(self.parent.as_ref().map(|it| PollFd::new(it, PollFlags::IN)));
        rustix::event::poll(&mut polled, timeout).is_ok_and(|ready| ready > 0)
    }
}

/// Kills this process's group and this process with it.
pub(super) fn end_group() -> ! {
    if rustix::process::getpgrp() == rustix::process::getpid() {
        // It fails only when there is nobody in the group, and this process is.
        let _ = rustix::process::kill_current_process_group(Signal::KILL);
    }
    super::kernel::exit_now(ABANDONED)
}

/// Opens the parent, if it still is `expected`. Where processes are not seen (`None`: the parent
/// is in another namespace), there is nothing to open.
pub(super) fn open_parent(expected: Pid) -> io::Result<Option<OwnedFd>> {
    let Some(parent) = rustix::process::getppid() else { return Ok(None) };
    let pidfd = rustix::process::pidfd_open(parent, rustix::process::PidfdFlags::empty())?;
    // Asked after it was opened: a parent that has ended is no longer one, and its number may
    // belong to somebody else.
    if rustix::process::getppid() == Some(expected) {
        return Ok(Some(pidfd));
    }
    Err(io::Error::from_raw_os_error(libc::ESRCH))
}
