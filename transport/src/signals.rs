//! Ending a process by a signal that it has handled.

#![expect(unsafe_code, reason = "the disposition of a signal is the kernel's")]

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Ends this process by a signal, as if it had no handler. It returns where that is impossible: the
/// first process of a namespace does not die of its own signals. No core is dumped: the fault is
/// another process's, if there is one.
pub fn end_by_signal(number: u8) {
    let number = i32::from(number);
    // It costs a file at most.
    _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // SAFETY: it takes no pointer, and the default disposition runs no code of this process.
    unsafe { libc::signal(number, libc::SIG_DFL) };
    // SAFETY: a process may always send itself a signal.
    unsafe { libc::raise(number) };
}
