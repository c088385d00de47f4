//! Processes held so that no later one can be taken for them.

use std::{
    fs, io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::socket_option;
use crate::ProcessNumbers;

/// The process at the other end of a Unix socket, held so that no later process can be taken
/// for it.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{Listener, dial};
///
/// let folder = tempfile::tempdir()?;
/// let endpoint = format!("/unix{}/feed.sock", folder.path().display()).parse()?;
/// let listener = Listener::bind(&endpoint).await?;
/// let caller = dial(&endpoint).await?;
/// // Of a peer over TCP there is no process to be had.
/// let _process = caller.peer_process()?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PeerProcess(AsyncFd<OwnedFd>);

impl PeerProcess {
    /// Takes the process that made the other end: the one that connected, or the one that listened.
    /// `pid` is its number as the kernel recorded it then.
    pub(crate) fn of(socket: BorrowedFd<'_>, pid: Option<i32>) -> io::Result<Self> {
        let descriptor = match socket_option(socket, libc::SO_PEERPIDFD).map(RawFd::from_ne_bytes) {
            // SAFETY: the option made this descriptor for the caller, and nobody else knows it.
            Ok(raw) => unsafe { OwnedFd::from_raw_fd(raw) },
            // The kernel is older than that option.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                hold_by_number(socket, pid)?
            }
            Err(error) => return Err(error),
        };
        Ok(Self(await_readable(descriptor)?))
    }

    /// Opens a process by its recorded mark, if it still runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use transport::{PeerProcess, ProcessMark};
    ///
    /// let own = ProcessMark::of(std::process::id() as i32).ok_or("it runs")?;
    /// assert!(PeerProcess::find(own).is_ok());
    /// // Another process of that number is not meant.
    /// assert!(PeerProcess::find(ProcessMark { started: own.started + 1, ..own }).is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if it has ended; otherwise the error of the system call.
    pub fn find(mark: ProcessMark) -> io::Result<Self> {
        let number = Pid::from_raw(mark.pid).ok_or(io::ErrorKind::InvalidInput)?;
        let descriptor = rustix::process::pidfd_open(number, PidfdFlags::empty())
            .map_err(|_| io::ErrorKind::NotFound)?;
        // The process now held is either the recorded one or has its number.
        if !mark.is_current() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self(await_readable(descriptor)?))
    }

    /// Waits until the process has ended.
    ///
    /// ```
    /// # use transport as callsign;
    /// # async fn example(stream: callsign::Stream) -> Result<(), Box<dyn std::error::Error>> {
    /// let process = stream.peer_process()?;
    /// process.ended().await?;
    /// println!("the peer has ended");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the runtime, when it is shutting down.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is consumed.
    pub async fn ended(&self) -> io::Result<()> {
        // A process that has ended stays so: its readiness must not be cleared.
        self.0.readable().await.map(drop)
    }
}

/// Registers a descriptor, to wait until it is readable.
pub(crate) fn await_readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

/// A process as it can be written down: by its number and when it started, so that a later process
/// of the same number is not taken for it. It holds for as long as the kernel runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProcessMark {
    /// Its number, as this process sees it.
    pub pid: i32,
    /// When it started, in the kernel's ticks.
    pub started: u64,
}

impl ProcessMark {
    /// Writes down a process that runs.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: process_started(pid)? })
    }

    /// Tells whether it still runs.
    pub fn is_current(self) -> bool {
        process_started(self.pid) == Some(self.started)
    }
}

/// Opens the process at the other end of a Unix socket by its number.
///
/// The number may have passed to another process since the kernel noted it. So it must be the same
/// process before and after opening, and the connection still open: its maker has not closed it.
/// One harmless case remains: a process that passed its connection on, died, and whose number was
/// reused, all before this look.
fn hold_by_number(socket: BorrowedFd<'_>, pid: Option<i32>) -> io::Result<OwnedFd> {
    // A process outside this PID namespace has no visible number.
    let pid = pid.ok_or(io::ErrorKind::Unsupported)?;
    let number = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let started = process_started(pid);
    let descriptor = rustix::process::pidfd_open(number, PidfdFlags::empty())?;
    if started.is_none() || process_started(pid) != started || is_hung_up(socket)? {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(descriptor)
}

/// Tells whether the other end of a connection is closed in both directions.
fn is_hung_up(socket: BorrowedFd<'_>) -> io::Result<bool> {
    // A hang-up is always reported.
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    rustix::event::poll(&mut polled, Some(&Timespec::default()))?;
    Ok(polled[0].revents().contains(PollFlags::HUP))
}

/// Returns the start time of a process, in clock ticks since boot, or `None` if no such process is
/// visible. Together with its number it distinguishes a process from a later one of the same
/// number.
pub(crate) fn process_started(pid: i32) -> Option<u64> {
    entry_started(ProcessNumbers::here().ok()?.entry_of(pid)?)
}

/// As [`process_started`], of a process that has a number in `/proc`.
pub(crate) fn entry_started(entry: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{entry}/stat")).ok()?;
    // The program's name is in parentheses and may contain any character, so the fields are counted
    // from the last one: the third field follows it, and the 22nd is wanted.
    let (_, fields) = status.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        os::{
            fd::AsFd,
            unix::net::{UnixListener, UnixStream},
        },
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn without_a_descriptor_a_peer_is_held_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feed.sock");
        let listener = UnixListener::bind(&path).unwrap();
        // The child is this program itself, which runs only the test below.
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "linux::process::tests::child_that_dials"])
            .env("CALLSIGN_TEST_DIAL", &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        let peer = rustix::net::sockopt::socket_peercred(&stream).unwrap();
        let pid = peer.pid.as_raw_nonzero().get();
        assert_eq!(pid, child.id() as i32);

        let process = hold_by_number(stream.as_fd(), Some(pid)).unwrap();
        assert!(!has_ended(&process, 0), "it lives");
        child.kill().unwrap();
        assert!(has_ended(&process, 20));
        // It is dead, and keeps its number until it is reaped.
        let error = hold_by_number(stream.as_fd(), Some(pid)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        child.wait().unwrap();
    }

    #[test]
    fn child_that_dials() {
        let Some(path) = env::var_os("CALLSIGN_TEST_DIAL") else { return };
        let _stream = UnixStream::connect(path).unwrap();
        // It ends with the parent, which holds the other end.
        io::stdin().read_line(&mut String::new()).unwrap();
    }

    #[test]
    fn a_number_is_not_believed_once_the_connection_is_closed() {
        let own = std::process::id() as i32;
        let (near, far) = UnixStream::pair().unwrap();
        assert!(!has_ended(&hold_by_number(near.as_fd(), Some(own)).unwrap(), 0));
        far.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(hold_by_number(near.as_fd(), Some(own)).is_ok(), "it listens still");
        drop(far);
        let error = |pid| hold_by_number(near.as_fd(), pid).unwrap_err().kind();
        assert_eq!(error(Some(own)), io::ErrorKind::NotFound);
        assert_eq!(error(None), io::ErrorKind::Unsupported);
    }

    fn has_ended(process: &OwnedFd, limit_seconds: i64) -> bool {
        let limit = Timespec { tv_sec: limit_seconds, tv_nsec: 0 };
        let mut polled = [PollFd::new(process, PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&limit)).unwrap() == 1
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = std::process::id() as i32;
        assert!(process_started(own).is_some());
        assert_eq!(process_started(own), process_started(own));
        assert_eq!(process_started(i32::MAX), None);
    }
}
