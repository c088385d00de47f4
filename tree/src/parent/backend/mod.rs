//! The spawn backends: four ways to run an actor, behind one trait.
//!
//! Each gives the parent a [`ChildLink`] to the child, and a [`RunningChild`] with which to see it end,
//! and to end it.

pub(crate) mod process;
mod task;
mod thread;

use std::{future::Future, io, pin::Pin, time::Duration};

use ::process::Launch;

use super::link::{ChildLink, LocalLink, ProcessLink};
use crate::{
    Exit, Kind, Panic, child::LocalChild, messages::SpawnSpec,
    registration::parent_service::ParentService,
};

/// A child that runs, as its parent sees it.
pub(crate) trait RunningChild: Send {
    /// Waits until it is gone. Later calls return immediately.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    fn gone(&mut self) -> Pin<Box<dyn Future<Output = RawExit> + Send + '_>>;

    /// Asks it to end in the way of its kind. Tells whether there is such a way.
    fn terminate(&mut self) -> bool;

    /// Ends it by force. Tells whether there is such a way.
    fn kill(&mut self) -> bool;

    /// Forces the end of everything below it, even if it is stuck itself; does nothing if its
    /// backend cannot.
    fn force_end(&self) {}

    /// Returns the process that it runs in.
    fn pid(&self) -> u32;

    /// Returns the end of its standard error.
    fn last_words(&self) -> String {
        String::new()
    }
}

/// A child that was launched.
pub(crate) struct Launched {
    pub(crate) running: Box<dyn RunningChild>,
    pub(crate) link: Box<dyn ChildLink>,
}

/// The end of a child, as its backend sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RawExit {
    /// A task or a thread that returned.
    Nothing,
    /// A task or a thread that panicked.
    Panic(Panic),
    /// A process that exited.
    Code(i32),
    /// A process that was killed.
    Signal(i32),
    /// A process that is gone in an unknown way.
    Unknown(String),
}

impl RawExit {
    /// Returns the exit of an actor that has not reported its own.
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

/// Launches a child that is a process. It learns its specification from `spec`, and may outlive its
/// parent for `grace`.
pub(crate) async fn launch_process(
    spec: SpawnSpec,
    service: ParentService,
    grace: Duration,
) -> io::Result<Launched> {
    let name = spec.path.name();
    let launch = match spec.kind {
        // A forked child can fork in its turn.
        Kind::Forkserver => Launch { grace, with_forkserver: true, ..Launch::fork(name) },
        _ => Launch { grace, ..Launch::exec(name) },
    };
    let (running, channel) = process::launch(launch).await?;
    Ok(Launched { running, link: Box::new(ProcessLink::new(channel, spec, service)) })
}

/// Launches a child within this process.
pub(crate) fn launch_local(child: LocalChild) -> io::Result<Launched> {
    let (running, near) = match child.spec.kind {
        Kind::Thread => thread::launch(child)?,
        _ => task::launch(child),
    };
    Ok(Launched { running, link: Box::new(LocalLink::new(near)) })
}
