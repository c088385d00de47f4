//! All that only Linux has: files held by descriptor, births of inodes, cookies of network
//! namespaces, descriptors of processes, and death with one's parent.

#![expect(
    unsafe_code,
    reason = "three socket options and a hook of `Command` have no safe form; each says why it is sound"
)]

use std::{
    ffi::OsStr,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use endpoints::SocketId;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags},
    process::{Pid, PidfdFlags, Resource, Rlimit, Signal},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Lets the program that `command` starts die with the process that starts it: when the parent
/// is gone, however it went, the child gets SIGTERM.
///
/// The kernel ties this to the *thread* that starts the program: when that thread ends, the
/// signal is sent, though the process lives on. Start it from a thread that stays. The hook also
/// makes starting slower in a process that uses much memory, because the whole process is forked.
pub fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let hook = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // A parent that died before the line above sends no signal any more.
        match rustix::process::getppid() {
            Some(now) if now == parent => Ok(()),
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    };
    // SAFETY: between fork and exec only async-signal-safe work is sound. The hook makes two
    // system calls and makes an error from a number; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

/// Raises the number of descriptors that this process may have open to the most that it may ask
/// for, and returns it.
///
/// Programs started later inherit the limit.
///
/// # Errors
///
/// The error of the system call.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Tells whether this process calls users by the numbers that the whole host knows them by. In a
/// user namespace of its own they are others, and prove nothing elsewhere (user_namespaces(7)).
pub fn user_ids_are_global() -> bool {
    static ARE_GLOBAL: OnceLock<bool> = OnceLock::new();
    *ARE_GLOBAL.get_or_init(|| {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
    })
}

/// Returns the supplementary groups that the process at the other end of a Unix socket was in when
/// it connected (Linux 4.13).
pub(crate) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<libc::gid_t>> {
    let mut groups: Vec<libc::gid_t> = vec![0; GROUPS_USUAL];
    loop {
        let size = size_of::<libc::gid_t>();
        let mut bytes = (groups.len() * size) as libc::socklen_t;
        // SAFETY: the buffer is as long as `bytes` says, and both live beyond the call.
        let answer = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let needed = bytes as usize / size;
        if answer == 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // It says how long it is.
        if error.raw_os_error() != Some(libc::ERANGE) || needed <= groups.len() {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}

/// Gives memory that was freed back to the system, where the allocator keeps it otherwise. It
/// takes some milliseconds, so it is for the moment after a great deal was freed.
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time and from any thread, and touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets every block of memory of 128 KiB and more go back to the system as soon as it is freed.
///
/// By default the GNU allocator begins to keep such blocks when it has seen one, so that a server
/// to which somebody sent a long frame once stays as large as that. It concerns the whole process,
/// and is for its owner to decide.
pub fn return_large_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number of the allocator, and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

/// What is large: what the allocator itself takes for it in the beginning, and rare enough that to
/// ask the system each time costs nothing.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 128 * 1024;

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
    /// Takes the process that made the other end: the one that connected, or the one that
    /// listened. `pid` is its number as the kernel noted it then.
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

    /// Takes a process that was written down, if it still runs.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] when it has ended; else the error of the system call.
    pub fn find(mark: ProcessMark) -> io::Result<Self> {
        let number = Pid::from_raw(mark.pid).ok_or(io::ErrorKind::InvalidInput)?;
        let descriptor = rustix::process::pidfd_open(number, PidfdFlags::empty())
            .map_err(|_| io::ErrorKind::NotFound)?;
        // What is held now is what was meant, or else has its number.
        if !mark.is_current() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self(await_readable(descriptor)?))
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    ///
    /// The error of the runtime, when it is shutting down.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is consumed.
    pub async fn ended(&self) -> io::Result<()> {
        // A process that has ended stays so: the readiness is not to be cleared.
        self.0.readable().await.map(drop)
    }
}

/// Lets a descriptor be waited for until it can be read.
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

/// Takes the process at the other end of a Unix socket by its number.
///
/// The number may have gone to another process since the kernel noted it. So it has to be the same
/// process before and after it is taken hold of, and the connection still open: what made that has
/// not closed it. One case is left, and does little harm: a process that gave its connection to
/// another, died, and whose number was given anew, all before this looks.
fn hold_by_number(socket: BorrowedFd<'_>, pid: Option<i32>) -> io::Result<OwnedFd> {
    // It has none that could be seen from here, if it is outside of this PID namespace.
    let pid = pid.ok_or(io::ErrorKind::Unsupported)?;
    let number = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let started = process_started(pid);
    let descriptor = rustix::process::pidfd_open(number, PidfdFlags::empty())?;
    if started.is_none() || process_started(pid) != started || is_hung_up(socket)? {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(descriptor)
}

/// Tells whether the other end of a connection is closed altogether.
fn is_hung_up(socket: BorrowedFd<'_>) -> io::Result<bool> {
    // A hang-up is told whether it is asked for or not.
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    rustix::event::poll(&mut polled, Some(&Timespec::default()))?;
    Ok(polled[0].revents().contains(PollFlags::HUP))
}

/// A file held by what it is, not by its name: whatever is done to the name later, this is still
/// the same file. Symbolic links are not followed.
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl Handle {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    pub(crate) fn open_in(folder: &Self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(folder, name, flags, Mode::empty())?))
    }

    /// Opens a folder. Symbolic links to it *are* followed: many a `/var/run` is one.
    pub(crate) fn open_folder(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Returns what kind of file this is.
    pub(crate) fn kind(&self) -> io::Result<Kind> {
        self.look(OsStr::new(""), AtFlags::EMPTY_PATH)
    }

    /// Returns what kind of file stands in a folder under a name, itself and not what it leads to.
    pub(crate) fn kind_in(folder: &Self, name: &OsStr) -> io::Result<Kind> {
        folder.look(name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn look(&self, name: &OsStr, flags: AtFlags) -> io::Result<Kind> {
        let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME;
        let status = rustix::fs::statx(&self.0, name, flags, wanted)?;
        let file_type = FileType::from_raw_mode(status.stx_mode.into());
        if file_type != FileType::Socket {
            return Ok(Kind::Other(describe(file_type)));
        }
        let born = status.stx_btime;
        let born_ns = u64::try_from(born.tv_sec)
            .ok()
            .filter(|_| status.stx_mask & StatxFlags::BTIME.bits() != 0)
            .and_then(|seconds| seconds.checked_mul(1_000_000_000))
            .and_then(|ns| ns.checked_add(born.tv_nsec.into()));
        let dev = rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor);
        Ok(Kind::Socket(SocketId { dev, ino: status.stx_ino, born_ns }))
    }

    /// Returns a short path that leads to this very file.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What kind of file a [`Handle`] holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Socket(SocketId),
    /// Anything else, in words.
    Other(&'static str),
}

/// Says in words what is not a socket.
pub(crate) fn describe(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "a file of an unknown kind",
    }
}

/// Returns the identity that the kernel drew when it booted.
pub(crate) fn boot_id() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

/// Returns the cookie of the network namespace that `socket` belongs to.
pub(crate) fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(u64::from_ne_bytes(socket_option(socket, libc::SO_NETNS_COOKIE)?))
}

/// Returns the number of the mount that this process's root is on, and that of the folder; `None`
/// where the kernel has no such numbers, before Linux 5.8.
///
/// No other mount ever has the number. Before Linux 6.8 it is one that no other has at the same
/// time, which tells the roots of living processes apart as well.
pub(crate) fn root() -> io::Result<Option<(u64, u64)>> {
    // The name is newer than the crate that has the others.
    let unique_mount = StatxFlags::from_bits_retain(libc::STATX_MNT_ID_UNIQUE);
    let any_mount = unique_mount | StatxFlags::MNT_ID;
    let status = rustix::fs::statx(CWD, "/", AtFlags::empty(), any_mount | StatxFlags::INO)?;
    let found = StatxFlags::from_bits_retain(status.stx_mask);
    let has_both = found.intersects(any_mount) && found.contains(StatxFlags::INO);
    Ok(has_both.then_some((status.stx_mnt_id, status.stx_ino)))
}

/// Returns when a process was started, in clock ticks since boot, or `None` if there is no such
/// process to be seen. With its number it tells one process from a later one of the same number.
pub(crate) fn process_started(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold any character, so the fields are
    // counted from the last one: what follows it is the third field, and wanted is the 22nd.
    let (_, fields) = status.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// Reads an option of `N` bytes from the socket itself (`SOL_SOCKET`).
fn socket_option<const N: usize>(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
) -> io::Result<[u8; N]> {
    let mut value = [0; N];
    let mut length = N as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, which has as many, and both
    // outlive the call.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    if length as usize != N {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(value)
}

/// How many groups a user is in at the most, as a rule: more are asked for again.
const GROUPS_USUAL: usize = 32;

#[cfg(test)]
mod tests {
    use std::{
        env,
        os::unix::net::{UnixListener, UnixStream},
        process::Stdio,
    };

    use super::*;

    #[test]
    fn where_the_kernel_hands_out_no_descriptor_a_peer_is_held_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feed.sock");
        let listener = UnixListener::bind(&path).unwrap();
        // The child is this very program, run again as its one test below.
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "linux::tests::child_that_dials"])
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
        // It is dead, and keeps its number until it is waited for.
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
    fn a_handle_leads_to_its_own_file_after_the_name_has_gone_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["feed.sock", "impostor.sock"].map(|it| folder.path().join(it));
        let (meant, impostor) =
            (UnixListener::bind(&path).unwrap(), UnixListener::bind(&other).unwrap());
        let handle = Handle::open(&path).unwrap();
        let kind = handle.kind().unwrap();
        fs::rename(&other, &path).unwrap();

        let _stream = UnixStream::connect(handle.path()).unwrap();
        meant.set_nonblocking(true).unwrap();
        impostor.set_nonblocking(true).unwrap();
        meant.accept().unwrap();
        assert_eq!(impostor.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(handle.kind().unwrap(), kind);
        assert_ne!(Handle::open(&path).unwrap().kind().unwrap(), kind);
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = std::process::id() as i32;
        assert!(process_started(own).is_some());
        assert_eq!(process_started(own), process_started(own));
        assert_eq!(process_started(i32::MAX), None);
    }

    #[test]
    fn the_descriptor_limit_goes_to_the_hard_one() {
        let raised = raise_descriptor_limit().unwrap();
        let limit = rustix::process::getrlimit(Resource::Nofile);
        assert_eq!(limit.current.unwrap_or(u64::MAX), raised);
        assert_eq!(limit.current, limit.maximum);
    }
}
