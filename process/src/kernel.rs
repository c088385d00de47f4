//! The calls to the kernel and to the C library that have no safe form.

#![expect(
    unsafe_code,
    reason = "fork, descriptors given by number and signal dispositions have no safe form; each \
              says why it is sound"
)]

use std::{
    env, fs, io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
    ptr,
};

use rustix::process::{Pid, Signal};
use tokio::io::{Interest, unix::AsyncFd};

/// Returns how many threads this process has.
///
/// # Errors
///
/// That of reading `/proc`, which may not be mounted.
pub fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// Takes a variable out of this process's environment. To be called while there is one thread.
pub(super) fn remove_variable(name: &str) {
    // SAFETY: nobody reads or writes the environment meanwhile: the callers have counted the
    // threads of this process, and there is only this one.
    unsafe { env::remove_var(name) };
}

/// Forks. To be called while there is one thread; the new process gets `None`.
///
/// With more threads the child would have one of them and the locks of all, held for ever.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the callers have counted the threads of this process, and there is only this one,
    // so the child finds every lock and the allocator as one thread left them.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Closes every descriptor above 2 except `kept`, whoever opened it.
///
/// Must be the first step of a new process that continues with nothing but `kept`.
pub(super) fn close_all_but<const COUNT: usize>(mut kept: [RawFd; COUNT]) -> io::Result<()> {
    kept.sort_unstable();
    let mut first: libc::c_uint = 3;
    for kept in kept {
        let kept = libc::c_uint::try_from(kept).map_err(io::Error::other)?;
        if first < kept {
            close_range(first, kept - 1)?;
        }
        first = first.max(kept + 1);
    }
    close_range(first, libc::c_uint::MAX)
}

/// As [`close_all_but`], between two numbers.
fn close_range(first: libc::c_uint, last: libc::c_uint) -> io::Result<()> {
    // SAFETY: the callers are at the start of a process and use none of these descriptors any
    // more: what this crate has open there is kept or is never touched again.
    match unsafe { libc::close_range(first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes this process reap its children: its starter may have left it ignoring SIGCHLD, and then
/// the kernel would drop their exits.
pub(super) fn heed_children() {
    // SAFETY: the default disposition runs no code.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Unblocks all signals and resets their handlers, except those that Rust's runtime sets in every
/// program: it ignores SIGPIPE, and reports a stack overflow.
pub(super) fn reset_signals() {
    let of_the_runtime = [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS];
    for signal in (1..=libc::SIGRTMAX()).filter(|it| !of_the_runtime.contains(it)) {
        // SAFETY: the default disposition runs no code; what cannot be set is refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero set is a valid value to be overwritten by `sigemptyset`, and it lives
    // through both calls.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Sends SIGKILL to every process of the group that the process of `pidfd` leads or has led.
///
/// An empty group is no error. `pid` is the number of that process; it is used if the kernel
/// (before 6.9) cannot take the group by descriptor, and may by then belong to another unless the
/// process is yet to be reaped.
pub(super) fn kill_group(pidfd: BorrowedFd<'_>, pid: Pid) -> io::Result<()> {
    /// From `linux/pidfd.h`.
    const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;
    // SAFETY: the kernel reads four arguments, none of which points to memory.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::SIGKILL,
            ptr::null::<libc::siginfo_t>(),
            PIDFD_SIGNAL_PROCESS_GROUP,
        )
    };
    if sent == 0 {
        return Ok(());
    }
    let result = match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EINVAL) => {
            // The process holds its number, so its number names its group.
            rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::CONT)
                .and_then(|()| {
                    rustix::process::kill_process_group(pid, rustix::process::Signal::KILL)
                })
                .map_err(io::Error::from)
        }
        error => Err(error),
    };
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// Registers a descriptor with the runtime, to learn when it is readable.
pub(super) fn readable<T: AsRawFd + HoldsDescriptor>(held: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: a `Held` value refers to the same open descriptor for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(held, Interest::READABLE) }?)
}

/// A type that holds one open descriptor for as long as it lives, and returns its number.
pub(super) trait HoldsDescriptor {}

impl HoldsDescriptor for OwnedFd {}

/// The signals that a thread had blocked.
#[derive(Clone, Copy)]
pub(super) struct Blocked(libc::sigset_t);

/// Blocks every signal for this thread, which must be the only one, and returns a descriptor that
/// is readable when a child has stopped or ended, and the signals that were blocked before.
pub(super) fn hear_children_alone() -> io::Result<(OwnedFd, Blocked)> {
    // SAFETY: the sets are valid values to be overwritten, and live through the calls.
    let (descriptor, before) = unsafe {
        let (mut set, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, &raw mut before);
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        (libc::signalfd(-1, &raw const set, flags), before)
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this descriptor for the caller, and nobody else knows it.
    Ok((unsafe { OwnedFd::from_raw_fd(descriptor) }, Blocked(before)))
}

/// Takes a descriptor that this process was started with, by its number. Must be called while there
/// is one thread, and once for each number.
pub(super) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the call reads three numbers, and refuses one that is not open.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is open, and nothing of this process has opened it: the caller says that it was
    // handed down.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets the program that `command` starts have a descriptor of this process under its number.
pub(super) fn hand_down(command: &mut Command, descriptor: RawFd) {
    let hook = move || {
        // SAFETY: the call reads three numbers; it concerns the new process's own table.
        match unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: between fork and exec only async-signal-safe work is sound. The hook makes a system
    // call and an error from a number; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

/// Makes the kernel kill the program that `command` starts once the thread that starts it has
/// ended, puts its process group in the foreground of a terminal, and gives it back the signals
/// that this thread has blocked. Must be called by a thread that blocks all signals.
pub(super) fn guard(command: &mut Command, terminal: Option<RawFd>, blocked: Blocked) {
    let parent = rustix::process::getpid();
    let hook = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that died before the line above sends no signal any more.
        if rustix::process::getppid() != Some(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // SAFETY: the calls are async-signal-safe, and the set outlives them. The group of this
        // process was set before; it may take the foreground because it still blocks SIGTTOU.
        // Without a terminal there is no foreground, and the program still runs.
        unsafe {
            if let Some(terminal) = terminal {
                libc::tcsetpgrp(terminal, libc::getpgrp());
            }
            libc::sigprocmask(libc::SIG_SETMASK, &raw const blocked.0, ptr::null_mut());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe work is sound. The hook makes system
    // calls, and errors from numbers; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

/// Returns the process group of this process. It cannot be named if the process has joined a PID
/// namespace that its group began outside of, as `unshare --pid` and `podman exec` make it do: the
/// kernel says 0 then, which rustix does not expect.
pub(super) fn own_group() -> Option<Pid> {
    // SAFETY: the call takes nothing, and cannot fail.
    Pid::from_raw(unsafe { libc::getpgrp() })
}

/// Returns the signal with a number, including those without a name: `RTMIN+3`.
pub fn signal_numbered(number: i32) -> Option<Signal> {
    if (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number) {
        // SAFETY: there is a signal of that number, and libc does not reserve it.
        return Some(unsafe { Signal::from_raw_unchecked(number) });
    }
    Signal::from_named_raw(number)
}

/// Ends this process without running anything more of it.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: it ends the process and touches none of its memory.
    unsafe { libc::_exit(code) }
}
