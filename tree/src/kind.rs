//! The kinds of actors: task, thread, process, forkserver.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The way an actor runs. All kinds behave alike; they differ in their cost, and in what can be
/// stopped by force.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::Kind;
///
/// let processes: Vec<_> = Kind::ALL.into_iter().filter(|it| it.is_process()).collect();
/// assert_eq!(processes, [Kind::Process, Kind::Forkserver]);
/// assert_eq!(Kind::Thread.to_string(), "thread");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A task of its parent's runtime. A task that never yields cannot be stopped.
    Task,
    /// A thread with its own runtime. It cannot be stopped by force; its process can.
    Thread,
    /// A process: this program, executed again.
    #[default]
    Process,
    /// A process: forked from a helper that was set aside before this program had any thread.
    Forkserver,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Task, Self::Thread, Self::Process, Self::Forkserver];

    /// Tells whether an actor of this kind has its own process.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Kind;
    ///
    /// assert!(Kind::Forkserver.is_process());
    /// assert!(!Kind::Thread.is_process());
    /// ```
    pub fn is_process(self) -> bool {
        matches!(self, Self::Process | Self::Forkserver)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Task => "task",
            Self::Thread => "thread",
            Self::Process => "process",
            Self::Forkserver => "forkserver",
        })
    }
}
