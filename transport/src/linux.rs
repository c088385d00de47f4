//! All that only Linux has: files held by descriptor, births of inodes, cookies of network
//! namespaces, descriptors of processes, and death with one's parent.

#![expect(
    unsafe_code,
    reason = "three socket options and a hook of `Command` have no safe form; each says why it is sound"
)]

mod addresses;
mod handle;
mod process;

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::process::CommandExt,
    },
    process::Command,
    sync::OnceLock,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, StatxFlags},
    process::{Resource, Rlimit, Signal},
};

pub use self::{
    addresses::is_loopback_up,
    process::{PeerProcess, ProcessMark},
};
pub(crate) use self::{
    addresses::{has_device, unfit_addresses},
    handle::{Handle, Kind, describe},
    process::{await_readable, entry_started, process_started},
};

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

/// Changes the mode of a file that is held only by its place (`O_PATH`), as Linux can since 6.6. An
/// older one reports that this is unsupported, and so do sandboxes that do not know the call.
pub(crate) fn set_mode_of(file: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
    /// fchmodat2, which has the same number everywhere.
    const FCHMODAT2: libc::c_long = 452;
    // SAFETY: the call reads a string that ends with NUL and outlives it, and numbers; where the
    // kernel has no such call it does nothing.
    let done = unsafe {
        let (file, mode) = (file.as_raw_fd(), mode.as_raw_mode());
        libc::syscall(FCHMODAT2, file, c"".as_ptr(), mode, libc::AT_EMPTY_PATH)
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
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

/// Tells whether this process sees users by the host's own numbers. In a separate user namespace
/// the numbers differ, and prove nothing elsewhere (user_namespaces(7)).
pub fn user_ids_are_global() -> bool {
    static ARE_GLOBAL: OnceLock<bool> = OnceLock::new();
    *ARE_GLOBAL.get_or_init(|| {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
    })
}

/// Tells whether this user may register what another user listens with: callers take root's listener
/// for anybody's, as root listens for others at boot, and root may register everybody's.
///
/// ```
/// # use transport as callsign;
/// assert!(callsign::may_speak_for(0), "root listens for others");
/// ```
pub fn may_speak_for(user: u32) -> bool {
    let own = rustix::process::geteuid();
    user == own.as_raw() || user == ROOT || own.is_root() || !user_ids_are_global()
}

/// The user whom nobody can keep from anything.
pub(crate) const ROOT: u32 = 0;

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
        // The kernel returns the required length.
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
    // SAFETY: it may be called at any time and from any thread, and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes the allocator do its work promptly, instead of much of it later in one go.
///
/// Every block of at least 128 KiB returns to the system as soon as it is freed. By default the GNU
/// allocator begins to keep such blocks after the first one, so that a server that once received a
/// long frame stays as large. Freed blocks are also coalesced with free neighbours immediately. By
/// default small blocks wait for that until a large one is freed, which then takes ten milliseconds
/// if some hundred thousand wait.
///
/// It concerns the whole process, and is its owner's decision.
pub fn free_at_once() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets numbers of the allocator, and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

/// The threshold of a large block: the allocator's own initial one. Such blocks are rare enough
/// that asking the system each time costs nothing.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 128 * 1024;

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

/// The progress of data written to a TCP connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flow {
    /// The bytes that the peer's kernel has acknowledged since the beginning. Its program need not
    /// have read them.
    pub acknowledged: u64,
    /// The bytes that are not acknowledged, sent or not.
    pub outstanding: u64,
    /// Whether some of them were sent, and are neither acknowledged nor lost for certain. It does
    /// not count what a peer has no room for.
    pub is_in_flight: bool,
}

/// Reads the progress of data written to a TCP socket.
pub(crate) fn tcp_flow(socket: BorrowedFd<'_>) -> io::Result<Flow> {
    let mut info = [0_u8; TCP_INFO_BYTES];
    let mut length = TCP_INFO_BYTES as libc::socklen_t;
    let mut outstanding: libc::c_int = 0;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which has as many, and both
    // outlive the call.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // A kernel before 4.1 does not count acknowledged bytes.
    if (length as usize) < TCP_INFO_BYTES {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: of a TCP socket the kernel writes one `int` (`SIOCOUTQ`), which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut outstanding) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let (_, from) = info.split_at(UNACKED_AT);
    let segments = from.first_chunk().map_or(0, |it| u32::from_ne_bytes(*it));
    let (_, from) = info.split_at(BYTES_ACKED_AT);
    let acknowledged = from.first_chunk().map_or(0, |it| u64::from_ne_bytes(*it));
    let outstanding = outstanding.try_into().unwrap_or(0);
    Ok(Flow { acknowledged, outstanding, is_in_flight: segments > 0 })
}

/// The offsets of `tcpi_unacked` and `tcpi_bytes_acked` in the kernel's `struct tcp_info`, and the
/// length to read. `libc` lacks the latter field.
const UNACKED_AT: usize = 24;
const BYTES_ACKED_AT: usize = 120;
const TCP_INFO_BYTES: usize = BYTES_ACKED_AT + 8;

/// The usual number of groups of a user, at most: for more, the call is repeated.
const GROUPS_USUAL: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_limit_goes_to_the_hard_one() {
        let raised = raise_descriptor_limit().unwrap();
        let limit = rustix::process::getrlimit(Resource::Nofile);
        assert_eq!(limit.current.unwrap_or(u64::MAX), raised);
        assert_eq!(limit.current, limit.maximum);
    }
}
