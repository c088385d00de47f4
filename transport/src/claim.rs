//! The claim to a socket path.
//!
//! A socket file outlives the process that made it, and then blocks the next bind. It can be
//! removed safely only if nobody listens, and nobody else is about to remove or bind it. So a
//! process first takes an exclusive lock (`flock`) on `<path>.lock`, keeps it for as long as it
//! listens, and the kernel releases it when the process dies, however it dies:
//!
//! ```text
//! open <path>.lock ── flock ──┬─ held by another ── who? ──────────────────── in use
//!        ^                    └─ ours ── is it still the file of that name?
//!        └───────────── no ─────────────────┤
//!                                           └─ yes ── what is at <path>?
//!                                       nothing ─────────────────────────── bind
//!                                       a socket ── nobody has it ───────── unlink, bind
//!                                             └──── somebody has ────────── in use
//!                                       anything else ───────────────────── not a socket
//! ```
//!
//! The kernel says whether somebody holds the path; a connection is made only where the kernel
//! cannot tell.
//!
//! Nobody else wants a path whose name this process has just drawn. It needs none of this, and is
//! simply bound.
//!
//! The folder may be removed at any moment, and the lock file with it; then another process can
//! hold a lock at the same path. So the lock counts only while it is the file of that name, which
//! is checked once more after the bind, and before the path is bound again.
//!
//! Why not just unlink and bind? Two processes that start together would both see a dead file; the
//! slower would then unlink the socket that the faster has bound. Why not the lock only? Programs
//! that do not know of it have sockets too.

use std::{
    ffi::{OsStr, OsString},
    io,
    sync::Arc,
    time::Duration,
};

use endpoints::{Endpoint, SocketId, UnixAddress, UnixPath, Unreachable};
use tokio::{
    net::{UnixListener, UnixStream},
    time::sleep,
};

use crate::{
    access::{self, Access},
    dead::{clear, unlink_socket},
    error::BindError,
    here,
    holders::Holder,
    linux::{Handle, Kind},
    listening::{Listening, listening},
    lock::{Lock, is_named},
};

/// A socket path that this process holds. Dropping it removes the files that this process made, but
/// no replacements.
#[derive(Debug)]
pub(crate) struct Claim {
    /// `None` once it has been removed.
    socket: Option<SocketId>,
    folder: Arc<Handle>,
    name: OsString,
    /// The process that made it: a fork has a copy of this, but no right to the files.
    pid: u32,
    /// Held where others may want the path. It is dropped once the socket file is gone.
    lock: Option<Arc<Lock>>,
}

impl Claim {
    /// Takes a path and listens on it.
    pub(crate) async fn bind(
        path: &UnixPath,
        access: Option<Access>,
    ) -> Result<(Self, UnixListener), BindError> {
        let (mut tries_left, mut hidden_looks) = (TRIES, 0);
        loop {
            let (folder, name) = open_place(path)?;
            let lock = match Lock::take(folder.clone(), name, path).await {
                Err(BindError::InUse { holder: Some(holder) }) if is_missing(path) => {
                    hidden_looks += 1;
                    if hidden_looks > HIDDEN_LOOKS {
                        return Err(BindError::Hidden { holder });
                    }
                    sleep(HIDDEN_PAUSE).await;
                    continue;
                }
                lock => Arc::new(lock?),
            };
            if let Some(bound) = Self::bind_under(folder, lock, path, access, tries_left).await? {
                return Ok(bound);
            }
            tries_left -= 1;
        }
    }

    /// Takes the path again after this claim's socket has vanished, and listens on it: under the
    /// lock that it has, or under a new one if the lock file has vanished too.
    pub(crate) async fn bind_again(
        &self,
        path: &UnixPath,
        access: Option<Access>,
    ) -> Result<(Self, UnixListener), BindError> {
        let Some(held) = &self.lock else { return Self::bind_own(path, access) };
        let (folder, _) = open_place(path)?;
        if is_named(&held.file, &folder, &held.name).unwrap_or(false)
            && let Some(bound) = Self::bind_under(folder, held.clone(), path, access, TRIES).await?
        {
            return Ok(bound);
        }
        Self::bind(path, access).await
    }

    /// Returns the error that names the listener at a path; or that nobody listens there.
    pub(crate) async fn holder(path: &UnixPath) -> BindError {
        let endpoint = Endpoint::Unix(UnixAddress::Path(path.clone()));
        match listening(&endpoint) {
            Listening::Sockets(sockets) => BindError::InUse { holder: Holder::of(&sockets) },
            Listening::Nobody(_) => BindError::NotOurs,
            Listening::Unknown => match UnixStream::connect(path.as_path()).await {
                Ok(stream) => BindError::InUse { holder: Holder::of_peer(&stream) },
                Err(_) => BindError::NotOurs,
            },
        }
    }

    /// Takes a path that nobody else wants, and listens on it.
    pub(crate) fn bind_own(
        path: &UnixPath,
        access: Option<Access>,
    ) -> Result<(Self, UnixListener), BindError> {
        let (folder, name) = open_place(path)?;
        Self::listen(folder, name, path, None, access)
    }

    /// Listens on a path under its lock. Returns `None` when the folder or the lock file was
    /// exchanged meanwhile, so that the lock proves nothing, and there are tries left.
    async fn bind_under(
        folder: Arc<Handle>,
        lock: Arc<Lock>,
        path: &UnixPath,
        access: Option<Access>,
        tries_left: u32,
    ) -> Result<Option<(Self, UnixListener)>, BindError> {
        clear(&lock, path).await?;
        let (_, name) = path.parts();
        let bound = Self::listen(folder.clone(), name, path, Some(lock.clone()), access);
        let is_current = is_named(&lock.file, &folder, &lock.name).unwrap_or(false)
            && bound.as_ref().is_ok_and(|(claim, _)| here::look(path).ok() == claim.socket);
        match bound {
            Ok(_) if !is_current && tries_left > 0 => Ok(None),
            Ok(_) if !is_current => Err(BindError::InUse { holder: None }),
            // Another process has created a folder of that name since this one was opened.
            Err(BindError::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && tries_left > 0 =>
            {
                Ok(None)
            }
            bound => bound.map(Some),
        }
    }

    fn listen(
        folder: Arc<Handle>,
        name: &OsStr,
        path: &UnixPath,
        lock: Option<Arc<Lock>>,
        access: Option<Access>,
    ) -> Result<(Self, UnixListener), BindError> {
        let is_short = path.as_str().len() <= SUN_PATH_BYTES_MAX;
        let address = if is_short { path.as_path().to_owned() } else { folder.path().join(name) };
        let fail = |error| {
            let (folder, _) = path.parts();
            BindError::from_io(error, || format!("make a socket in `{}`", folder.display()))
        };
        let claim = |folder: Arc<Handle>| match Handle::kind_in(&folder, name).map_err(fail)? {
            Kind::Socket(socket) => {
                let (socket, pid) = (Some(socket), std::process::id());
                Ok(Self { socket, folder, name: name.to_owned(), pid, lock })
            }
            Kind::Other(found) => Err(BindError::NotASocket { found }),
        };
        let Some(access) = access else {
            let listener = UnixListener::bind(address).map_err(fail)?;
            return Ok((claim(folder)?, listener));
        };
        let socket = access.bind(&address).map_err(fail)?;
        // From here on the file is removed again if anything fails.
        let claim = claim(folder)?;
        access.grant(&claim.folder, name, path)?;
        Ok((claim, access::listen(socket).map_err(fail)?))
    }

    /// Returns the bound socket.
    pub(crate) fn socket(&self) -> Option<SocketId> {
        self.socket
    }

    /// Removes the socket file, if it is still the one that was bound.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        match self.socket.take() {
            Some(socket) if self.pid == std::process::id() => {
                unlink_socket(&self.folder, &self.name, socket)
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!(name = ?self.name, %error, "a socket file is left behind");
        }
    }
}

/// Opens the folder of a socket's path, and returns it with the socket's name in it.
fn open_place(path: &UnixPath) -> Result<(Arc<Handle>, &OsStr), BindError> {
    let (folder, name) = path.parts();
    let handle = Handle::open_folder(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BindError::NoFolder { folder: folder.to_owned() },
        io::ErrorKind::NotADirectory => {
            let above = folder.ancestors().filter(|it| it.exists());
            let path = above.filter(|it| !it.is_dir()).last().unwrap_or(folder);
            BindError::NotAFolder { path: path.to_owned() }
        }
        _ => BindError::from_io(error, || format!("open the folder `{}`", folder.display())),
    })?;
    Ok((Arc::new(handle), name))
}

fn is_missing(path: &UnixPath) -> bool {
    matches!(here::look(path), Err(Unreachable::Missing))
}

/// The attempts to bind a path whose folder or lock is exchanged meanwhile: one exchange is an
/// accident, this many are intent.
const TRIES: u32 = 5;

/// The longest path that `sun_path` holds with its closing NUL.
const SUN_PATH_BYTES_MAX: usize = 107;

/// The number of looks at whether the holder of a lock has bound its path again or released it, and
/// the pause between two looks. A holder whose socket file was removed binds it again within 1.1 s,
/// if it can.
const HIDDEN_LOOKS: u32 = 15;
const HIDDEN_PAUSE: Duration = Duration::from_millis(100);
