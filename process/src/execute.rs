//! Re-execution of this program.

use std::{
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
};

use rustix::process::{Pid, PidfdFlags};

use super::{
    boot::{Boot, CHILD_VARIABLE},
    held::{Held, Reaper},
};

/// The child's ends.
pub(super) struct Theirs {
    pub(super) channel: OwnedFd,
    pub(super) output: OwnedFd,
    pub(super) error: OwnedFd,
}

/// Executes this program as a child.
pub(super) fn execute(called: &OsStr, boot: &Boot, theirs: Theirs) -> io::Result<Held> {
    let (output, error) = (Stdio::from(theirs.output), Stdio::from(theirs.error));
    let (pid, pidfd) = begin_anew(called, boot, theirs.channel, output, error)?;
    Ok(Held::new(pid, pidfd, Reaper::Here))
}

/// Executes this program again. No hook runs between fork and exec, so the standard library can use
/// `posix_spawn`, which copies no page tables.
pub(super) fn begin_anew(
    called: &OsStr,
    boot: &Boot,
    channel: OwnedFd,
    output: Stdio,
    error: Stdio,
) -> io::Result<(Pid, OwnedFd)> {
    let mut command = Command::new("/proc/self/exe");
    // The label is for people who read a list of processes; a child does not read its arguments.
    command.arg0(called).arg(boot.label.replace('\0', ""));
    command.env(CHILD_VARIABLE, boot.mark());
    command.process_group(0);
    command.stdin(Stdio::from(channel)).stdout(output).stderr(error);
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    // It is this process's child and was not reaped, so the number is its own.
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok((pid, pidfd)),
        Err(errno) => {
            child.kill()?;
            child.wait()?;
            Err(errno.into())
        }
    }
}
