//! The end of a child whose parent has ended.
//!
//! A plain thread waits in the kernel until the parent closes its end of the channel or ends as a
//! process. A runtime that no longer turns, a handler that never returns or a signal that is
//! blocked do not hold it up.

use std::{io, os::fd::OwnedFd, thread, time::Duration};

use rustix::{
    event::{PollFd, PollFlags},
    process::{Pid, Signal},
};

/// The stack of the thread, which only waits.
const STACK_BYTES: usize = 64 * 1024;

/// The exit code of a process that ended because its parent had. It is seen only where the
/// process leads no group of its own.
const ABANDONED: i32 = 70;

/// Starts the watchdog: when the parent has gone, this process may live on for `grace`, and then
/// it is killed with every process of its group.
///
/// `channel` is a duplicate of this process's end, and `parent` a descriptor of the parent where
/// there is one to be had (in another process namespace there is none).
pub(super) fn start(channel: OwnedFd, parent: Option<OwnedFd>, grace: Duration) -> io::Result<()> {
    let watch = move || {
        wait_for_end(&channel, parent.as_ref());
        thread::sleep(grace);
        end_group()
    };
    thread::Builder::new()
        .name("callsign-watchdog".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(watch)
        .map(drop)
}

/// Returns when the other end of `channel` is closed or `parent` has ended.
fn wait_for_end(channel: &OwnedFd, parent: Option<&OwnedFd>) {
    // A hang-up is always told; that there is something to read is not asked for.
    let mut polled = vec![PollFd::new(channel, PollFlags::empty())];
    polled.extend(parent.map(|parent| PollFd::new(parent, PollFlags::IN)));
    // Nothing but a signal to this thread can be the error here.
    while rustix::event::poll(&mut polled, None).is_err() {}
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
