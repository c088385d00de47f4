//! The reader of standard output.

use std::{future::pending, io, thread};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

/// Waits until standard output has no reader any more: the reader of the pipe or the socket has
/// gone, or the terminal. A file always has a reader.
///
/// A thread asks, and ends with the process: the runtime could only ask for a descriptor of its
/// own.
pub(crate) async fn reader_gone() {
    let (sender, receiver) = oneshot::channel();
    let ask = move || {
        let output = io::stdout();
        loop {
            // A broken pipe is always reported.
            let mut asked = [PollFd::new(&output, PollFlags::empty())];
            match poll(&mut asked, None) {
                Ok(_) if asked[0].revents().is_empty() => {}
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
        // The waiting task may have ended.
        let _unheard: Result<(), ()> = sender.send(());
    };
    let is_asking = thread::Builder::new().name("reader".to_owned()).spawn(ask).is_ok();
    if !is_asking || receiver.await.is_err() {
        pending().await
    }
}
