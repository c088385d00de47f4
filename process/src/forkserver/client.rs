//! The forkserver as the process that made it sees it.

use std::{
    collections::HashMap,
    ffi::OsString,
    io,
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use rustix::{
    net::RecvFlags,
    process::{Pid, PidfdFlags, Signal},
};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use super::wire::{self, Message};
use crate::{
    boot::Boot,
    execute::{self, Theirs},
    forced_end,
    held::{Ended, Held, Reaper},
    spawner,
};

/// The channel to the forkserver, which is restarted after it has ended, and begun when it is first
/// needed where there is none.
#[derive(Debug)]
pub(crate) struct Forkserver {
    /// The command line of this program, for re-execution.
    called: OsString,
    /// `None` before there is one.
    connection: Mutex<Option<Arc<Connection>>>,
}

/// The connection to one process that is the forkserver.
#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    process: Arc<OwnedFd>,
    begun: Instant,
    is_heard: Mutex<bool>,
    /// `None` when the forkserver has gone.
    launches: Mutex<Option<Launches>>,
}

#[derive(Debug, Default)]
struct Launches {
    last: u64,
    starting: HashMap<u64, SyncSender<io::Result<Held>>>,
    /// A sender dropped without a value tells that the forkserver has gone.
    running: HashMap<u64, watch::Sender<Option<Ended>>>,
}

/// The time limit for a fork. It takes a fraction of a millisecond; a stopped forkserver takes for
/// ever, and would hold up all other launches.
const FORK_TIMEOUT: Duration = Duration::from_secs(5);

/// The age at which a forkserver that ends is restarted immediately. One that ends sooner may do so
/// for ever; it is restarted when it is needed.
const LIFE_MIN: Duration = Duration::from_secs(1);

impl Forkserver {
    /// Takes the socket to the forkserver, a child of this process.
    pub(crate) fn new(called: OsString, socket: OwnedFd, pid: Pid) -> io::Result<Self> {
        // It is this process's child and was not reaped, so the number is its own.
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let connection = Mutex::new(Some(Arc::new(Connection::new(socket, process))));
        Ok(Self { called, connection })
    }

    /// Makes one that is begun for the first child. Most children have none, and to fork one off at
    /// once would double what their own start costs.
    pub(crate) fn later(called: OsString) -> Self {
        Self { called, connection: Mutex::new(None) }
    }

    /// Makes sure that the end of the forkserver is noticed.
    pub(crate) fn attend(&'static self) {
        if let Some(connection) = self.connection()
            && let Err(error) = connection.listen(self)
        {
            tracing::debug!(target: "callsign", %error, "nobody hears the forkserver");
        }
    }

    /// Forks a child. Must be called by the spawner thread, because it waits for the answer.
    pub(crate) fn fork(&'static self, theirs: Theirs) -> io::Result<Held> {
        let connection = match self.connection() {
            Some(connection) => connection,
            None => self.begin_anew(None)?,
        };
        connection.listen(self)?;
        match connection.fork(&theirs) {
            // If it ends before the child has begun, the next one starts the child.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && is_unread(&theirs) => {
                let next = self.begin_anew(Some(&connection))?;
                next.listen(self)?;
                next.fork(&theirs)
            }
            forked => forked,
        }
    }

    /// Starts the forkserver, if there was none, or this one has not been replaced yet. Must be called
    /// by the spawner thread, whose end the kernel reports to the forkserver.
    fn begin_anew(&self, gone: Option<&Arc<Connection>>) -> io::Result<Arc<Connection>> {
        if let Some(connection) = self.connection()
            && !gone.is_some_and(|gone| Arc::ptr_eq(&connection, gone))
        {
            return Ok(connection);
        }
        let (socket, theirs) = wire::pair()?;
        let boot = Boot {
            nonce: Uuid::new_v4(),
            parent: Pid::as_raw(Some(rustix::process::getpid())),
            grace: Duration::ZERO,
            forkserver: false,
            is_forkserver: true,
            label: "callsign-fork".to_owned(),
        };
        // It needs no counter, which every child is sent.
        wire::send_bytes(socket.as_fd(), &boot.to_bytes(), &[forced_end::counter()?.as_fd()])?;
        let (output, error) = (Stdio::inherit(), Stdio::inherit());
        let (_, process) = execute::begin_anew(&self.called, &boot, theirs, output, error)?;
        if gone.is_some() {
            tracing::warn!(target: "callsign", "the forkserver has ended, and is begun anew");
        }
        let connection = Arc::new(Connection::new(socket, process));
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::clone(&connection));
        Ok(connection)
    }

    fn connection(&self) -> Option<Arc<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Restarts a forkserver that has gone, as soon as the spawner thread has time.
    fn replace(&'static self, gone: Arc<Connection>) {
        let begin = move || {
            if let Err(error) = self.begin_anew(Some(&gone)).and_then(|it| it.listen(self)) {
                tracing::warn!(target: "callsign", %error, "the forkserver is not begun anew");
            }
        };
        spawner::leave(begin);
    }
}

impl Connection {
    fn new(socket: OwnedFd, process: OwnedFd) -> Self {
        Self {
            socket,
            process: Arc::new(process),
            begun: Instant::now(),
            is_heard: Mutex::new(false),
            launches: Mutex::new(Some(Launches::default())),
        }
    }

    fn fork(&self, theirs: &Theirs) -> io::Result<Held> {
        let (answer, answered) = sync_channel(1);
        let launch = {
            let mut launches = self.lock();
            let launches = launches.as_mut().ok_or_else(gone)?;
            launches.last += 1;
            launches.starting.insert(launches.last, answer);
            launches.last
        };
        let Theirs { channel, output, error } = theirs;
        let descriptors = [channel.as_fd(), output.as_fd(), error.as_fd()];
        // A forkserver that has gone ends the wait below.
        wire::send(self.socket.as_fd(), Message::Fork { launch }, &descriptors)
            .map_err(|_| gone())?;
        match answered.recv_timeout(FORK_TIMEOUT) {
            Ok(held) => held,
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
            Err(RecvTimeoutError::Timeout) => {
                // A child that comes later is dropped, and so killed.
                if let Some(launches) = &mut *self.lock() {
                    launches.starting.remove(&launch);
                }
                Err(io::Error::new(io::ErrorKind::TimedOut, "the forkserver does not answer"))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Launches>> {
        self.launches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread that reads from the forkserver, if there is none.
    fn listen(self: &Arc<Self>, forkserver: &'static Forkserver) -> io::Result<()> {
        let mut is_heard = self.is_heard.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_heard {
            return Ok(());
        }
        let connection = Arc::clone(self);
        let hear = move || {
            while let Ok(Some((message, descriptors))) = wire::receive(connection.socket.as_fd()) {
                connection.heard(message, descriptors.into_iter().next());
            }
            *connection.lock() = None;
            // A forkserver that has closed its socket without ending is of no use either.
            let _ = rustix::process::pidfd_send_signal(&connection.process, Signal::KILL);
            spawner::leave_to_reap(Arc::clone(&connection.process));
            if connection.begun.elapsed() >= LIFE_MIN {
                forkserver.replace(connection);
            }
        };
        thread::Builder::new().name("callsign-forkserver".to_owned()).spawn(hear)?;
        *is_heard = true;
        Ok(())
    }

    fn heard(&self, message: Message, descriptor: Option<OwnedFd>) {
        let mut launches = self.lock();
        let Some(launches) = launches.as_mut() else { return };
        let (launch, held) = match message {
            Message::Fork { .. } => return,
            Message::Ended { launch, ended } => {
                if let Some(running) = launches.running.remove(&launch) {
                    running.send_replace(Some(ended));
                }
                return;
            }
            Message::NotForked { launch, errno } => {
                (launch, Err(io::Error::from_raw_os_error(errno)))
            }
            Message::Forked { launch, pid } => match (Pid::from_raw(pid), descriptor) {
                (Some(pid), Some(pidfd)) => {
                    let (ended, told) = watch::channel(None);
                    launches.running.insert(launch, ended);
                    (launch, Ok(Held::new(pid, pidfd, Reaper::Forkserver(told))))
                }
                // There was no room for the descriptor here. The child ends with its channel.
                _ => (launch, Err(io::Error::from_raw_os_error(libc::EMFILE))),
            },
        };
        if let Some(starting) = launches.starting.remove(&launch) {
            // A child that nobody waits for is dropped, and so killed.
            starting.send(held).ok();
        }
    }
}

/// Tells whether no child has started yet.
fn is_unread(theirs: &Theirs) -> bool {
    let mut bytes = [0; 1];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    rustix::net::recv(&theirs.channel, &mut bytes, flags).is_ok_and(|(read, _)| read > 0)
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the forkserver has ended")
}
