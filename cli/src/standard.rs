//! Standard input and output, when another program has made them non-blocking.
//!
//! That concerns all programs that share a terminal or a pipe: Node.js and `ssh`, for instance, leave
//! theirs so. Those of the standard library fail then instead of waiting.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
};

use rustix::event::{PollFd, PollFlags, poll};

/// Standard input.
pub(crate) struct Input;

/// Standard output.
pub(crate) struct Output;

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        waiting(&io::stdin(), PollFlags::IN, || io::stdin().lock().read(buffer))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        waiting(&io::stdout(), PollFlags::OUT, || io::stdout().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        waiting(&io::stdout(), PollFlags::OUT, || io::stdout().lock().flush())
    }
}

fn waiting<T>(
    fd: &impl AsFd,
    flags: PollFlags,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // If it cannot be waited for, the next attempt says why.
                let _waited = poll(&mut [PollFd::new(fd, flags)], None);
            }
            done => return done,
        }
    }
}
