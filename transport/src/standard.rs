//! Whether this process was started with a standard output.

#![expect(unsafe_code, reason = "only before `main` can it be seen, and only the kernel tells")]

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

/// Returns why standard output cannot be written to, if this process was started without one, as by
/// `>&-` in a shell.
///
/// The standard library opens `/dev/null` in its place before `main`, and takes all that is written
/// for printed. So this is looked at before.
///
/// ```
/// assert!(transport::stdout_closed().is_none(), "somebody reads what the tests print");
/// ```
pub fn stdout_closed() -> Option<io::Error> {
    let is_closed = IS_CLOSED.load(Ordering::Relaxed);
    is_closed.then(|| io::Error::from_raw_os_error(libc::EBADF))
}

static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// The C library calls the functions of this section once, in the only thread, before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: it takes no pointer, and reads one number of the kernel's.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    IS_CLOSED.store(flags == -1, Ordering::Relaxed);
}
