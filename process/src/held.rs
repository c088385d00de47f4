//! A child process held by descriptor: its signals, its end, and its end when nobody holds it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus},
};
use tokio::sync::watch;

use super::{kernel, spawner};

/// The end of a process.
///
/// ```
/// use callsign_process::Ended;
///
/// /// Returns the exit code that a shell would give.
/// fn exit_code(ended: Ended) -> i32 {
///     match ended {
///         Ended::Code(code) => code,
///         Ended::Signal { signal, .. } => 128 + signal,
///     }
/// }
///
/// assert_eq!(exit_code(Ended::Signal { signal: 9, core_dumped: false }), 137);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The number of the signal.
        signal: i32,
        /// Whether the kernel wrote its memory to a file.
        core_dumped: bool,
    },
}

/// The number of times that the status of a process is requested that has ended but cannot be
/// reaped yet.
pub(super) const TRACED_EVERY: Duration = Duration::from_millis(10);

/// How the waiting process learns of a child's end.
#[derive(Debug)]
pub(super) enum Reaper {
    /// The child is ours.
    Here,
    /// It belongs to the forkserver, which reports: a sent value is the exit, and a closed sender
    /// means that the forkserver has gone.
    Forkserver(watch::Receiver<Option<Ended>>),
}

/// A child process. Dropped before its end was seen, it is killed with its group.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) pid: Pid,
    pidfd: Arc<OwnedFd>,
    pub(super) reaper: Reaper,
    /// Set when the process has ended and, if it is ours, was waited for.
    ended: Mutex<Option<Ended>>,
}

impl Held {
    pub(super) fn new(pid: Pid, pidfd: OwnedFd, reaper: Reaper) -> Self {
        Self { pid, pidfd: Arc::new(pidfd), reaper, ended: Mutex::default() }
    }

    /// Returns the descriptor of the process.
    pub(super) fn process(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.pidfd)
    }

    /// Sends a signal to the process. To one that has ended, nothing is sent.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends SIGKILL to every process of the group that the process leads.
    pub(super) fn kill_group(&self) -> io::Result<()> {
        kernel::kill_group(self.pidfd.as_fd(), self.pid)
    }

    /// Sends SIGKILL to the process, and to every process of its group.
    pub(super) fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)?;
        self.kill_group()
    }

    /// Reaps the process, which must be ours, if it has ended. The rest of its group is killed
    /// first, while the number is still its own.
    pub(super) fn reap(&self) -> io::Result<Option<Ended>> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_none() {
            *ended = reap(&self.pidfd, self.pid)?;
        }
        Ok(*ended)
    }

    /// Records an end that another process has seen.
    pub(super) fn note(&self, ended: Ended) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
    }
}

impl AsRawFd for Held {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

impl kernel::HoldsDescriptor for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        if self.ended.get_mut().unwrap_or_else(PoisonError::into_inner).is_some() {
            return;
        }
        // Nobody could handle an error; a process that cannot be killed has ended.
        drop(self.kill());
        if matches!(self.reaper, Reaper::Here) {
            spawner::leave_to_reap(Arc::clone(&self.pidfd));
        }
    }
}

/// Reaps a child of this process, if it has ended, and kills the rest of its group.
pub(super) fn reap(pidfd: &OwnedFd, pid: Pid) -> io::Result<Option<Ended>> {
    let wait = |options: WaitIdOptions| {
        let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options))
    };
    if wait(WaitIdOptions::NOWAIT)?.is_none() {
        return Ok(None);
    }
    kernel::kill_group(pidfd.as_fd(), pid)?;
    Ok(wait(WaitIdOptions::empty())?.map(ended))
}

fn ended(status: WaitIdStatus) -> Ended {
    match status.terminating_signal() {
        Some(signal) => Ended::Signal { signal, core_dumped: status.dumped() },
        None => Ended::Code(status.exit_status().unwrap_or_default()),
    }
}
