//! The forkserver as the process that made it sees it.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use rustix::process::Pid;
use tokio::sync::watch;

use super::{
    held::{Ended, Held, Reaper},
    launch::Theirs,
    wire::{self, Message},
};

/// The way to the forkserver.
#[derive(Debug)]
pub(super) struct Forkserver {
    socket: OwnedFd,
    listening: OnceLock<()>,
    /// `None` when the forkserver has gone.
    launches: Mutex<Option<Launches>>,
}

#[derive(Debug, Default)]
struct Launches {
    last: u64,
    starting: HashMap<u64, SyncSender<io::Result<Held>>>,
    /// Dropping a sender without having sent tells that the forkserver has gone.
    running: HashMap<u64, watch::Sender<Option<Ended>>>,
}

/// How long the forkserver may take to fork. It takes a fraction of a millisecond; one that was
/// stopped takes for ever, and would hold up all other launches.
const FORK_TIMEOUT: Duration = Duration::from_secs(5);

impl Forkserver {
    pub(super) fn new(socket: OwnedFd) -> Self {
        let launches = Mutex::new(Some(Launches::default()));
        Self { socket, listening: OnceLock::new(), launches }
    }

    /// Forks a child. To be called by the spawner thread, for it waits for the answer.
    pub(super) fn fork(&'static self, theirs: Theirs) -> io::Result<Held> {
        self.listen()?;
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

    /// Starts the thread that hears the forkserver, if there is none. The spawner thread alone
    /// gets here, so there is never a second one.
    fn listen(&'static self) -> io::Result<()> {
        if self.listening.get().is_some() {
            return Ok(());
        }
        let hear = || {
            while let Ok(Some((message, descriptors))) = wire::receive(self.socket.as_fd()) {
                self.heard(message, descriptors.into_iter().next());
            }
            *self.lock() = None;
        };
        thread::Builder::new().name("callsign-forkserver".to_owned()).spawn(hear)?;
        self.listening.get_or_init(|| ());
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
            drop(starting.send(held));
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the forkserver has ended")
}
