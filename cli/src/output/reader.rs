//! Who reads standard output.

use std::{future::pending, io, thread};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

/// Waits until nobody can read any more what is written to standard output: the reader of the pipe
/// or the socket has gone, or the terminal. A file has always a reader.
///
/// A thread asks, which goes with the process: for the runtime to ask, the descriptor would have
/// to be its own.
pub(crate) async fn reader_gone() {
    let (sender, receiver) = oneshot::channel();
    let ask = move || {
        let output = io::stdout();
        loop {
            // That it is broken is told without being asked for.
            let mut asked = [PollFd::new(&output, PollFlags::empty())];
            match poll(&mut asked, None) {
                Ok(_) if asked[0].revents().is_empty() => {}
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
        // Who waited may have ended.
        let _unheard: Result<(), ()> = sender.send(());
    };
    let is_asking = thread::Builder::new().name("reader".to_owned()).spawn(ask).is_ok();
    if !is_asking || receiver.await.is_err() {
        pending().await
    }
}
