//! A child process as its parent holds it.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use rustix::process::Signal;
use thiserror::Error;
use tokio::io::unix::AsyncFd;

use super::{
    forced_end::ForcedEnd,
    held::{Ended, Held, Reaper, TRACED_EVERY},
    kernel,
    output::Drains,
};

/// A child process.
///
/// Dropped before its end was seen, it is killed with every process of its group, and waited for
/// elsewhere: there is never a zombie.
///
/// ```
/// use callsign_process::{Child, Ended, WaitError};
///
/// /// Waits for a child, and says how it has ended.
/// async fn watch(child: &Child) -> Result<(), WaitError> {
///     match child.exited().await? {
///         Ended::Code(0) => println!("{} is done", child.label()),
///         ended => println!("{} (process {}): {ended:?}", child.label(), child.pid()),
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Child {
    label: String,
    channel: Option<UnixStream>,
    forced_end: ForcedEnd,
    held: AsyncFd<Held>,
    drains: Drains,
}

/// The end of a child could not be learnt.
#[derive(Debug, Error)]
pub enum WaitError {
    /// The child does not end though it was sent SIGKILL: it is in a system call that cannot be
    /// interrupted, as of a disk or a network file system that does not answer.
    #[error("process {pid} of `{label}` does not end {waited:?} after SIGKILL ({state})")]
    Unkillable {
        /// The child's label.
        label: String,
        /// The number of the process.
        pid: i32,
        /// The time that it was waited for.
        waited: Duration,
        /// The kernel's error.
        state: String,
    },
    /// The forkserver has ended, and with it the only one that could learn how its children end.
    /// The child was killed.
    #[error("the forkserver has ended, and nobody can tell how process {pid} of `{label}` did")]
    ForkserverGone {
        /// The child's label.
        label: String,
        /// The number of the process.
        pid: i32,
    },
    /// The kernel or the runtime does not report its end.
    #[error("cannot wait for process {pid} of `{label}`")]
    Wait {
        /// The child's label.
        label: String,
        /// The number of the process.
        pid: i32,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Child {
    pub(super) fn new(
        label: String,
        held: Held,
        channel: UnixStream,
        counter: OwnedFd,
        drains: Drains,
    ) -> io::Result<Self> {
        let forced_end = ForcedEnd::new(counter, held.process());
        let held = kernel::readable(held)?;
        Ok(Self { label, channel: Some(channel), forced_end, held, drains })
    }

    /// Returns what the child is called.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the number of the process.
    pub fn pid(&self) -> i32 {
        self.held.get_ref().pid.as_raw_nonzero().get()
    }

    /// Returns this end of the channel, a stream that does not block, if it was not taken before.
    ///
    /// When it is closed, the child considers its parent gone.
    pub fn take_channel(&mut self) -> Option<UnixStream> {
        self.channel.take()
    }

    /// Returns the end of what the child has written to its standard error, at most
    /// [`TAIL_BYTES_MAX`](super::TAIL_BYTES_MAX).
    pub fn error_tail(&self) -> String {
        self.drains.tail()
    }

    /// Sends a signal to the process; to one that has ended, nothing is sent.
    ///
    /// # Errors
    ///
    /// The error of the system call: this process may not send signals to that one.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.held.get_ref().signal(signal)
    }

    /// Forces the end of the child and of all processes below it, even of those that are stuck or
    /// stopped: each that still runs after [`FORCED_END_LIMIT`](super::FORCED_END_LIMIT) is killed
    /// once its parent has gone. A child can react to it: see
    /// [`forced_to_end`](super::forced_to_end).
    pub fn force_end(&self) {
        self.forced_end.tell();
    }

    /// Sends SIGKILL to every process of the child's group: to the child, and to helpers that it
    /// started, unless they joined other groups, as children of this crate do.
    ///
    /// # Errors
    ///
    /// The error of the system call.
    pub fn kill_group(&self) -> io::Result<()> {
        self.held.get_ref().kill_group()
    }

    /// Waits until the process has ended, and returns how. The rest of its group is killed.
    ///
    /// It may be called again, and concurrently; all calls get the same result.
    ///
    /// # Errors
    ///
    /// [`WaitError::ForkserverGone`] and [`WaitError::Wait`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is lost.
    pub async fn exited(&self) -> Result<Ended, WaitError> {
        let held = self.held.get_ref();
        match &held.reaper {
            Reaper::Here => loop {
                // A process that has ended stays readable.
                self.held.readable().await.map(drop).map_err(|error| self.cannot_wait(error))?;
                if let Some(ended) = held.reap().map_err(|error| self.cannot_wait(error))? {
                    return Ok(ended);
                }
                // A tracer has to see its end first.
                tokio::time::sleep(TRACED_EVERY).await;
            },
            Reaper::Forkserver(told) => {
                let mut told = told.clone();
                if let Ok(ended) = told.wait_for(Option::is_some).await.map(|ended| *ended) {
                    let ended = ended.expect("it was waited for");
                    held.note(ended);
                    return Ok(ended);
                }
                // Its own watchdog would end it as well, after the grace.
                held.kill().map_err(|error| self.cannot_wait(error))?;
                self.held.readable().await.map(drop).map_err(|error| self.cannot_wait(error))?;
                Err(WaitError::ForkserverGone { label: self.label.clone(), pid: self.pid() })
            }
        }
    }

    /// Sends SIGKILL to the process and its group, and waits until it has ended, but for no longer
    /// than `within`.
    ///
    /// # Errors
    ///
    /// [`WaitError::Unkillable`] when it takes longer, and what [`exited`](Self::exited) returns.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the signal was sent or was not.
    pub async fn kill(&self, within: Duration) -> Result<Ended, WaitError> {
        self.held.get_ref().kill().map_err(|error| self.cannot_wait(error))?;
        match tokio::time::timeout(within, self.exited()).await {
            Ok(ended) => ended,
            Err(_) => Err(WaitError::Unkillable {
                label: self.label.clone(),
                pid: self.pid(),
                waited: within,
                state: state(self.pid()),
            }),
        }
    }

    /// Waits until all that the child has written was read, or for a bounded time when a process
    /// that it left behind holds its output open. To be called when it has
    /// [`exited`](Self::exited).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: reading continues.
    pub async fn output_read(&self) {
        self.drains.finish().await;
    }

    fn cannot_wait(&self, source: io::Error) -> WaitError {
        WaitError::Wait { label: self.label.clone(), pid: self.pid(), source }
    }
}

/// Returns the kernel's description of a process: its state, and where in the kernel it waits.
fn state(pid: i32) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let status = read("status").unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or("not seen");
    match read("wchan").as_deref() {
        Ok("" | "0") | Err(_) => state.trim().to_owned(),
        Ok(place) => format!("{}, in {place}", state.trim()),
    }
}
