//! The numbers of processes in `/proc`.
//!
//! `/proc` shows processes by the numbers of the PID namespace that it was mounted in. A process that has
//! joined an inner one and kept it (`unshare --pid` without `--mount-proc`, `nsenter --pid` without
//! `--mount`, a sandbox with the host's `/proc`) has another number there, and so has everybody else: what
//! has its own number there is a stranger.

use std::{
    fs, io,
    sync::atomic::{AtomicI32, Ordering},
};

/// How this process finds others in `/proc`.
///
/// ```
/// use transport::ProcessNumbers;
///
/// let own = std::process::id().cast_signed();
/// let numbers = ProcessNumbers::here()?;
/// let entry = numbers.entry_of(own).expect("this process is there");
/// assert_eq!(numbers.pid_of(entry), Some(own));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProcessNumbers {
    /// The PID namespaces from that of `/proc` to that of this process, but for the first.
    depth: usize,
}

impl ProcessNumbers {
    /// Looks at how `/proc` shows this process.
    ///
    /// # Errors
    ///
    /// The error of the file system. [`NotFound`](io::ErrorKind::NotFound) if it is not mounted, or
    /// shows a PID namespace that this process is not in.
    pub fn here() -> io::Result<Self> {
        let own = std::process::id().cast_signed();
        if PLAIN.load(Ordering::Relaxed) == own {
            return Ok(Self { depth: 0 });
        }
        let status = fs::read_to_string("/proc/self/status")?;
        let known = numbers(&status, "NSpid:");
        let depth = known.len().checked_sub(1).filter(|last| known[*last] == own);
        let depth = depth.ok_or(io::ErrorKind::NotFound)?;
        if depth == 0 {
            PLAIN.store(own, Ordering::Relaxed);
        }
        Ok(Self { depth })
    }

    /// Returns the number by which the kernel knows a process, of one in `/proc`. `None` if it has
    /// none: it has ended, or is outside of this process's PID namespace.
    pub fn pid_of(self, entry: i32) -> Option<i32> {
        if self.depth == 0 { Some(entry) } else { self.number(entry, "NSpid:") }
    }

    /// Returns the number of the process group of a process in `/proc`, as the kernel knows it.
    pub fn group_of(self, entry: i32) -> Option<i32> {
        self.number(entry, "NSpgid:")
    }

    /// Returns the number that a process has in `/proc`, if it can be seen there.
    pub fn entry_of(self, pid: i32) -> Option<i32> {
        if self.depth == 0 {
            return Some(pid);
        }
        if pid == std::process::id().cast_signed() {
            return fs::read_link("/proc/self").ok()?.to_str()?.parse().ok();
        }
        let entries = fs::read_dir("/proc").ok()?;
        let mut entries = entries.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        entries.find(|it| self.pid_of(*it) == Some(pid))
    }

    /// Tells whether processes have the numbers there by which the kernel knows them.
    pub fn are_plain(self) -> bool {
        self.depth == 0
    }

    fn number(self, entry: i32, key: &str) -> Option<i32> {
        let status = fs::read_to_string(format!("/proc/{entry}/status")).ok()?;
        numbers(&status, key).get(self.depth).copied()
    }
}

/// Reads a line of a process's status: its numbers, the outermost first.
fn numbers(status: &str, key: &str) -> Vec<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_ascii_whitespace().map_while(|it| it.parse().ok()).collect()
}

/// The process that has found itself in `/proc` by its own number.
static PLAIN: AtomicI32 = AtomicI32::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_the_outermost_namespace_on() {
        let status = "Name:\tNSpid:\nPid:\t812\nNSpid:\t812\t7\t1\nNSpgid:\t0\t0\t0\n";
        assert_eq!(numbers(status, "NSpid:"), [812, 7, 1]);
        assert_eq!(numbers(status, "NSpgid:"), [0, 0, 0]);
        assert_eq!(numbers("", "NSpid:"), [0; 0]);
    }
}
