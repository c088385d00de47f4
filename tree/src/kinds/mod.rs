//! What actors run in: four kinds behind one trait.
//!
//! Whatever a child runs in, its parent has a channel to it, and a [`Vessel`] with which to see it
//! end, and to end it.

pub(crate) mod process;
mod task;
mod thread;

use std::{future::Future, io, pin::Pin, sync::Arc, time::Duration};

use transport::Stream;

use crate::{Exit, Kind, Panic, home::Home, process::Launch};

/// What a child runs in, as its parent sees it.
pub(crate) trait Vessel: Send {
    /// Waits until it is gone. Asked again after that, it says the same at once.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    fn gone(&mut self) -> Pin<Box<dyn Future<Output = Remains> + Send + '_>>;

    /// Asks it to end in the way of its kind. Tells whether there is such a way.
    fn terminate(&mut self) -> bool;

    /// Ends it by force. Tells whether there is such a way.
    fn kill(&mut self) -> bool;

    /// Returns the process that it runs in.
    fn pid(&self) -> u32;

    /// Returns the end of what it wrote to its standard error.
    fn last_words(&self) -> String {
        String::new()
    }
}

/// A child that was launched.
pub(crate) struct Launched {
    pub(crate) vessel: Box<dyn Vessel>,
    /// The parent's end of the channel.
    pub(crate) channel: Stream,
}

/// What is left of a vessel that is gone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Remains {
    /// A task or a thread that returned.
    Nothing,
    /// A task or a thread that panicked.
    Panic(Panic),
    /// A process that exited.
    Code(i32),
    /// A process that was killed.
    Signal(i32),
    /// A process that is gone, and nobody can tell how.
    Unknown(String),
}

impl Remains {
    /// Returns how an actor ended that has not said so itself.
    pub(crate) fn into_exit(self, last_words: String) -> Exit {
        match self {
            Self::Nothing => {
                Exit::Unreachable { why: "it is gone, and has not said why".to_owned() }
            }
            Self::Panic(panic) => Exit::Panicked(panic),
            Self::Code(code) => Exit::Exited { code, last_words },
            Self::Signal(signal) => Exit::Signalled { signal, last_words },
            Self::Unknown(why) => Exit::Unreachable { why },
        }
    }
}

/// Launches a child. It waits at the other end of its channel to be told what it is.
///
/// A process may outlive its parent for `grace`.
pub(crate) async fn launch(
    kind: Kind,
    home: &Arc<Home>,
    name: &str,
    grace: Duration,
) -> io::Result<Launched> {
    match kind {
        Kind::Task => Ok(task::launch(home.clone())),
        Kind::Thread => thread::launch(home.clone(), name),
        Kind::Process => process::launch(Launch { grace, ..Launch::exec(name) }).await,
        // What is forked can fork in its turn.
        Kind::Forkserver => {
            process::launch(Launch { grace, with_forkserver: true, ..Launch::fork(name) }).await
        }
    }
}
