//! The launch of a child.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rustix::process::Pid;
use thiserror::Error;
use uuid::Uuid;

use super::{
    boot::Boot,
    child::Child,
    execute::{Theirs, execute},
    forced_end,
    forkserver::wire,
    origin::origin,
    output::{Drains, Output, StdStream},
    spawner,
};

/// A child to be started.
///
/// ```
/// use std::time::Duration;
///
/// use callsign_process::{GRACE, Kind, Launch};
///
/// let patient = Launch { grace: Duration::from_secs(30), ..Launch::exec("indexer") };
/// assert_eq!((patient.kind, patient.label.as_str()), (Kind::Exec, "indexer"));
/// assert!(patient.grace > GRACE);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a launch does nothing until it is started"]
pub struct Launch {
    /// The child's name in lists of processes and in the log.
    pub label: String,
    /// The way to start it.
    pub kind: Kind,
    /// The time for which it may outlive its parent, before it is killed with its group.
    pub grace: Duration,
    /// Whether it gets its own forkserver, to start children of [`Kind::Fork`].
    pub with_forkserver: bool,
    /// The destination of its output.
    pub output: Output,
}

/// A way to start a child.
///
/// ```
/// use callsign_process::{Kind, Launch};
///
/// /// Returns the launch of a worker, forked where this program has set a forkserver aside.
/// fn worker(has_forkserver: bool) -> Launch {
///     let kind = if has_forkserver { Kind::Fork } else { Kind::Exec };
///     Launch { kind, ..Launch::exec("worker") }
/// }
///
/// assert_eq!(worker(true).kind, Kind::Fork);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// This very program is executed again. The child has its own memory, and shares nothing.
    Exec,
    /// The forkserver is forked: faster, and the child starts with the program's memory as it was
    /// in the call of [`init_with_forkserver`](super::init_with_forkserver), or, if the forkserver
    /// had to be restarted, in that call after the restart. That of a child is started when it is
    /// first needed, by executing the program.
    Fork,
}

/// The default time for which a child may outlive its parent.
pub const GRACE: Duration = Duration::from_secs(2);

/// A child could not be started.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// [`init`](super::init) was not called.
    #[error(
        "call `callsign::init()` first in `main`, or put `#[callsign::main]` on it: child processes \
         re-run this program"
    )]
    NotInitialised,
    /// There is no forkserver to fork the child from.
    #[error(
        "cannot fork `{label}`: this process has no forkserver, and has threads by now; a fork \
         takes one thread along and the locks of all, so what another thread holds would be held \
         for ever: ask for the forkserver where there is one thread, with \
         `process::init_with_forkserver` as the first statement of `main`, or for a child with \
         `Launch::with_forkserver`"
    )]
    NoForkserver {
        /// The child's label.
        label: String,
    },
    /// The channel or the pipes could not be made.
    #[error("cannot make the channel and the pipes of `{label}`")]
    Channel {
        /// The child's label.
        label: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The thread that starts processes fails to do so.
    #[error("the thread that starts processes cannot start `{label}`")]
    Spawner {
        /// The child's label.
        label: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The process could not be started.
    #[error("cannot start a process for `{label}`")]
    Start {
        /// The child's label.
        label: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The process was started but cannot be watched; it was killed again.
    #[error("cannot watch the process of `{label}`, and killed it")]
    Watch {
        /// The child's label.
        label: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Launch {
    /// Returns the launch of a child that is this program executed again.
    pub fn exec(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            kind: Kind::Exec,
            grace: GRACE,
            with_forkserver: false,
            output: Output::default(),
        }
    }

    /// Returns the launch of a child that is forked from the forkserver.
    pub fn fork(label: impl Into<String>) -> Self {
        Self { kind: Kind::Fork, ..Self::exec(label) }
    }

    /// Starts the child.
    ///
    /// # Errors
    ///
    /// [`LaunchError`]; no process is left then.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a child whose start is abandoned is killed.
    pub async fn start(self) -> Result<Child, LaunchError> {
        let origin = origin().ok_or(LaunchError::NotInitialised)?;
        let Self { label, kind, grace, with_forkserver, output } = self;
        if let Some(forkserver) = &origin.forkserver {
            forkserver.attend();
        }
        let forkserver = match (kind, &origin.forkserver) {
            (Kind::Exec, _) => None,
            (Kind::Fork, Some(forkserver)) => Some(forkserver),
            (Kind::Fork, None) => return Err(LaunchError::NoForkserver { label }),
        };
        let ends =
            Ends::new().map_err(|source| LaunchError::Channel { label: label.clone(), source })?;
        let boot = Boot {
            nonce: Uuid::new_v4(),
            parent: Pid::as_raw(Some(rustix::process::getpid())),
            grace,
            forkserver: with_forkserver,
            is_forkserver: false,
            label: label.clone(),
        };
        let Ends { channel, counter, pipes, theirs } = ends;
        wire::send_bytes(channel.as_fd(), &boot.to_bytes(), &[counter.as_fd()])
            .map_err(|source| LaunchError::Channel { label: label.clone(), source })?;

        let job = move || match forkserver {
            None => execute(&origin.called, &boot, theirs),
            Some(forkserver) => forkserver.fork(theirs),
        };
        let held = spawner::run(job)
            .await
            .map_err(|source| LaunchError::Spawner { label: label.clone(), source })?
            .map_err(|source| LaunchError::Start { label: label.clone(), source })?;

        let drains = Drains::start(&label, &output, pipes);
        drains
            .and_then(|drains| Child::new(label.clone(), held, channel, counter, drains))
            .map_err(|source| LaunchError::Watch { label, source })
    }
}

/// The ends of the connections between a parent and a child.
struct Ends {
    channel: UnixStream,
    /// Shared with the child.
    counter: OwnedFd,
    pipes: [(StdStream, OwnedFd); 2],
    theirs: Theirs,
}

impl Ends {
    fn new() -> io::Result<Self> {
        let (channel, theirs) = UnixStream::pair()?;
        channel.set_nonblocking(true)?;
        let [(output, to_output), (error, to_error)] = [io::pipe()?, io::pipe()?];
        Ok(Self {
            channel,
            counter: forced_end::counter()?,
            pipes: [(StdStream::Output, output.into()), (StdStream::Error, error.into())],
            theirs: Theirs {
                channel: theirs.into(),
                output: to_output.into(),
                error: to_error.into(),
            },
        })
    }
}
