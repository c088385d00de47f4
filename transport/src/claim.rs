//! Who may have a socket path.
//!
//! A socket file outlives the process that made it, and then keeps the next one from binding.
//! To remove it safely one must know that nobody listens, and that nobody else is about to
//! remove or bind it as well. So whoever binds a path first takes an exclusive lock (`flock`) on
//! `<path>.lock`, keeps it for as long as it listens, and lets the kernel give it back when the
//! process dies, however it dies:
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
//! Whether somebody has it is asked of the kernel; only where that does not tell, by connecting.
//!
//! A path whose name this process has just drawn is wanted by nobody else, and takes none of this:
//! it is bound, and that is all.
//!
//! The folder may be taken away at any moment, and the lock file with it; then another has a lock
//! of its own at the same path. So the lock proves something only while it is the file of that
//! name: it is looked at once more when the socket stands, and before the path is bound again.
//!
//! Why not just unlink and bind? Two that start at once would both see a dead file; the slower
//! would then unlink the socket that the faster has bound. Why not the lock alone? Programs that
//! know nothing of it have sockets too.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use endpoints::{Endpoint, SocketId, UnixAddress, UnixPath, Unreachable};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use tokio::{
    net::{UnixListener, UnixStream},
    time::sleep,
};

use crate::{
    access::{self, Access},
    here,
    holders::holders,
    linux::{self, Handle, Kind},
    listen::BindError,
    listening::{Listening, ListeningSocket, Silence, listening, listening_at_file},
};

/// A socket path that this process has. Dropping it removes the files that this process made,
/// and nothing that has come in their place.
#[derive(Debug)]
pub(crate) struct Claim {
    /// `None` once it has been removed.
    socket: Option<SocketId>,
    folder: Arc<Handle>,
    name: OsString,
    /// The process that made it: a fork has a copy of this, and no right to what it stands for.
    pid: u32,
    /// Held where others may want the path. It is dropped when the socket file is gone.
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

    /// Takes the path anew from which this claim's socket has vanished, and listens on it: under
    /// the lock that it has, or under another where that has vanished as well.
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

    /// Tells who listens at a path, as an error; or that nobody does.
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
        let (_, name) = parts(path);
        let bound = Self::listen(folder.clone(), name, path, Some(lock.clone()), access);
        let is_current = is_named(&lock.file, &folder, &lock.name).unwrap_or(false)
            && bound.as_ref().is_ok_and(|(claim, _)| here::look(path).ok() == claim.socket);
        match bound {
            Ok(_) if !is_current && tries_left > 0 => Ok(None),
            Ok(_) if !is_current => Err(BindError::InUse { holder: None }),
            // Another has made a folder of that name since it was opened here.
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
            let (folder, _) = parts(path);
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

    /// Returns which socket was bound.
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

/// Opens the folder of a socket's path, and returns it with the name that the socket has in it.
fn open_place(path: &UnixPath) -> Result<(Arc<Handle>, &OsStr), BindError> {
    let (folder, name) = parts(path);
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

fn parts(path: &UnixPath) -> (&Path, &OsStr) {
    let path = path.as_path();
    path.parent()
        .zip(path.file_name())
        .expect("the path of a socket is absolute and has a last part")
}

/// Removes what a dead process has left behind at a path: its socket file, and the lock beside it.
/// What somebody listens on is left alone, and so is what is no socket.
///
/// # Errors
///
/// [`BindError`], when it cannot be told whose the file is, or it cannot be removed.
pub async fn remove_dead_socket(path: &UnixPath) -> Result<(), BindError> {
    let (folder, name) = parts(path);
    let Ok(folder) = Handle::open_folder(folder) else { return Ok(()) };
    let mut lock_name = name.to_owned();
    lock_name.push(".lock");
    let is_there = |name: &OsStr| Handle::open_in(&folder, name).is_ok();
    if !is_there(name) && !is_there(&lock_name) {
        return Ok(());
    }
    let lock = match Lock::take(Arc::new(folder), name, path).await {
        Err(BindError::InUse { .. }) => return Ok(()),
        lock => lock?,
    };
    match clear(&lock, path).await {
        Err(BindError::InUse { .. } | BindError::NotASocket { .. }) => Ok(()),
        cleared => cleared,
    }
}

/// Removes a dead socket of this user that a foreign program has left at a path, and returns
/// whether there was one. What somebody listens on is left alone, and so is what is no socket, or
/// another user's.
///
/// # Errors
///
/// [`BindError`], when it cannot be told whether somebody listens, or it cannot be removed.
pub async fn clear_dead_socket(path: &UnixPath) -> Result<bool, BindError> {
    let (folder, name) = parts(path);
    let Ok(folder) = Handle::open_folder(folder) else { return Ok(false) };
    let fail = |error| BindError::from_io(error, || format!("look at `{}`", path.as_str()));
    let before = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        status => status.map_err(|error| fail(error.into()))?,
    };
    let is_socket = FileType::from_raw_mode(before.st_mode) == FileType::Socket;
    if !is_socket || before.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    let folder = Arc::new(folder);
    let lock = match Lock::take(Arc::clone(&folder), name, path).await {
        Err(BindError::InUse { .. }) => return Ok(false),
        lock => lock?,
    };
    match clear(&lock, path).await {
        Err(BindError::InUse { .. } | BindError::NotASocket { .. }) => return Ok(false),
        cleared => cleared?,
    }
    // It may be another's by now, who was faster.
    match rustix::fs::statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(after) => Ok(after.st_ino != before.st_ino),
        Err(_) => Ok(true),
    }
}

/// Removes the files of a socket that this process listens on, and will until it ends: whoever has
/// the listener is stuck. What has come in their place is left alone.
///
/// # Errors
///
/// The error of the system call.
pub fn remove_own_socket(path: &UnixPath, socket: SocketId) -> io::Result<()> {
    let (folder, name) = path
        .as_path()
        .parent()
        .zip(path.as_path().file_name())
        .expect("the path of a socket is absolute and has a last part");
    let folder = Handle::open_folder(folder)?;
    unlink_socket(&folder, name, socket)?;

    let mut lock_name = name.to_owned();
    lock_name.push(".lock");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = match rustix::fs::openat(&folder, &lock_name, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        lock => File::from(lock?),
    };
    // This process holds it, so that nobody else can take it meanwhile.
    let (holder, is_current) = read_holder(&lock);
    let is_own = is_current && holder.and_then(|it| it.pid) == Some(std::process::id() as i32);
    if is_own && is_named(&lock, &folder, &lock_name)? {
        rustix::fs::unlinkat(&folder, &lock_name, AtFlags::empty())?;
    }
    Ok(())
}

/// Who has an endpoint that somebody else wants to bind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// The number of its process, as that process sees it, unless it is hidden from here.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
    /// Since when, where it is known.
    pub since: Option<SystemTime>,
}

impl Holder {
    /// Returns whose the sockets are that listen somewhere.
    pub(crate) fn of(sockets: &[ListeningSocket]) -> Option<Self> {
        let uid = sockets.iter().find_map(|it| it.uid)?;
        let pid = holders(sockets).first().map(|it| it.pid());
        Some(Self { pid, uid, since: None })
    }

    /// Returns who listens at the other end of `stream`.
    fn of_peer(stream: &UnixStream) -> Option<Self> {
        let credentials = stream.peer_cred().ok()?;
        let pid = credentials.pid().filter(|pid| *pid != 0);
        Some(Self { pid, uid: credentials.uid(), since: None })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid} of user {}", self.uid)?,
            None => write!(f, "a process of user {}", self.uid)?,
        }
        match self.since {
            Some(since) => write!(f, " since {}", humantime::format_rfc3339_seconds(since)),
            None => Ok(()),
        }
    }
}

/// The lock beside a socket path, held. Dropping it removes the file and gives the lock back.
#[derive(Debug)]
struct Lock {
    folder: Arc<Handle>,
    socket_name: OsString,
    name: OsString,
    file: File,
    /// The process that holds it: a fork has a copy of this, but holds nothing.
    pid: u32,
}

impl Lock {
    async fn take(
        folder: Arc<Handle>,
        socket_name: &OsStr,
        path: &UnixPath,
    ) -> Result<Self, BindError> {
        let mut name = socket_name.to_owned();
        name.push(".lock");
        let fail = |error| BindError::from_io(error, || format!("lock `{}.lock`", path.as_str()));

        let mut looks_left = HOLDER_LOOKS;
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // A user who could open the file could lock it, and keep the owner from coming back.
            let mode = Mode::RUSR | Mode::WUSR;
            let file = rustix::fs::openat(&*folder, &name, flags, mode);
            let file = File::from(file.map_err(|error| fail(error.into()))?);
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_named(&file, &folder, &name).map_err(fail)? => {
                    // It is a lock whatever is written in it; a full disk takes the file alone.
                    if let Err(error) = write_holder(&file) {
                        let path = path.as_str();
                        tracing::warn!(%error, path, "the lock file does not say who holds it");
                    }
                    let socket_name = socket_name.to_owned();
                    return Ok(Self { folder, socket_name, name, file, pid: std::process::id() });
                }
                // Its last holder removed it after it was opened here, and before it was locked.
                Ok(()) => continue,
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(fail(error.into())),
            }
            // What is written is the last holder's until the present one has written its own.
            let (holder, is_current) = read_holder(&file);
            if is_current || looks_left == 0 {
                return Err(BindError::InUse { holder });
            }
            looks_left -= 1;
            sleep(HOLDER_PAUSE).await;
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            return;
        }
        // Removed while it is locked, or else another might already have it.
        let removed = is_named(&self.file, &self.folder, &self.name).and_then(|is_ours| {
            if is_ours {
                rustix::fs::unlinkat(&*self.folder, &self.name, AtFlags::empty())?;
            }
            Ok(())
        });
        if let Err(error) = removed {
            tracing::warn!(name = ?self.name, %error, "a lock file is left behind");
        }
    }
}

/// Makes room at the path: removes a socket that nobody listens on, and nothing else.
async fn clear(lock: &Lock, path: &UnixPath) -> Result<(), BindError> {
    let fail = |error| BindError::from_io(error, || format!("look at `{}`", path.as_str()));

    let file = match Handle::open_in(&lock.folder, &lock.socket_name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(fail)?,
    };
    let socket = match file.kind().map_err(fail)? {
        Kind::Socket(socket) => socket,
        Kind::Other(found) => return Err(BindError::NotASocket { found }),
    };
    let is_dead = match listening_at_file(&file, path).unwrap_or(Listening::Unknown) {
        Listening::Nobody(Silence::NotListening) => true,
        // It is about to listen, or of a type that is not connected to: it lives all the same.
        Listening::Nobody(_) => return Err(BindError::InUse { holder: None }),
        Listening::Sockets(sockets) => {
            return Err(BindError::InUse { holder: Holder::of(&sockets) });
        }
        Listening::Unknown => is_refused(&file, path).await?,
    };
    match is_dead {
        true => unlink_socket(&lock.folder, &lock.socket_name, socket).map_err(|error| {
            BindError::from_io(error, || format!("remove the dead socket `{}`", path.as_str()))
        }),
        false => Err(BindError::InUse { holder: None }),
    }
}

/// Tells by a connection whether nobody listens at a file, where the kernel does not say it.
async fn is_refused(file: &Handle, path: &UnixPath) -> Result<bool, BindError> {
    let stream = match UnixStream::connect(file.path()).await {
        // The file is held, so it is `/proc` that is missing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            UnixStream::connect(path.as_path()).await
        }
        stream => stream,
    };
    match stream {
        Ok(stream) => Err(BindError::InUse { holder: Holder::of_peer(&stream) }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        // Its queue is full, or it is a socket of another type: it lives all the same.
        Err(error)
            if error.kind() == io::ErrorKind::WouldBlock
                || error.raw_os_error() == Some(libc::EPROTOTYPE) =>
        {
            Ok(false)
        }
        Err(error) => Err(BindError::from_io(error, || format!("look at `{}`", path.as_str()))),
    }
}

/// Removes the socket of that name, if it is still `expected`.
fn unlink_socket(folder: &Handle, name: &OsStr, expected: SocketId) -> io::Result<()> {
    match Handle::kind_in(folder, name) {
        Ok(kind) if kind != Kind::Socket(expected) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        kind => {
            kind?;
            Ok(rustix::fs::unlinkat(folder, name, AtFlags::empty())?)
        }
    }
}

/// Tells whether `name` still leads to `file`.
fn is_named(file: &File, folder: &Handle, name: &OsStr) -> io::Result<bool> {
    let held = rustix::fs::fstat(file)?;
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes down who holds the lock, for people and for those who come too late.
fn write_holder(file: &File) -> io::Result<()> {
    let pid = std::process::id();
    let uid = rustix::process::geteuid().as_raw();
    let started = linux::process_started(pid as i32).unwrap_or(0);
    let since = humantime::format_rfc3339_seconds(SystemTime::now().max(UNIX_EPOCH));
    let text = format!("pid {pid}\nuid {uid}\nsince {since}\nstarted {started}\n");
    file.set_len(0)?;
    file.write_all_at(text.as_bytes(), 0)
}

/// Reads who holds the lock, and whether that is sure: the process lives, and is the same one
/// that wrote it.
fn read_holder(file: &File) -> (Option<Holder>, bool) {
    let mut text = String::new();
    // No more is read than was ever written, whatever the file has become.
    if file.take(HOLDER_BYTES_MAX).read_to_string(&mut text).is_err() {
        return (None, false);
    }
    let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let pid = field("pid").and_then(|it| it.parse().ok());
    let Some(uid) = field("uid").and_then(|it| it.parse().ok()) else { return (None, false) };
    let since = field("since").and_then(|it| humantime::parse_rfc3339(it).ok());
    // It is written last: a text without it is not whole.
    let started: Option<u64> = field("started").and_then(|it| it.parse().ok());
    let is_current = started.is_some() && pid.and_then(linux::process_started) == started;
    (Some(Holder { pid, uid, since }), is_current)
}

/// How often a path is bound anew because its folder or its lock was exchanged meanwhile: once is
/// an accident, and so many are somebody's intent.
const TRIES: u32 = 5;

/// The longest path that `sun_path` holds beside its closing NUL.
const SUN_PATH_BYTES_MAX: usize = 107;

/// How often the holder of a lock is looked for before it is reported as it was last written.
/// Between taking a lock and writing it down lie microseconds; together with [`HOLDER_PAUSE`]
/// this bounds at a quarter of a second what a late starter waits where the holder's process is
/// not to be seen, in another PID namespace.
const HOLDER_LOOKS: u32 = 50;

/// The pause between two such looks.
const HOLDER_PAUSE: Duration = Duration::from_millis(5);

/// How often it is looked whether the holder of a lock has bound its path, or given it back, and
/// the pause between two looks. Whose socket file was removed has bound it again by then, within 1.1 s, if it can.
const HIDDEN_LOOKS: u32 = 15;
const HIDDEN_PAUSE: Duration = Duration::from_millis(100);

/// The most that is read of a lock file: four short lines.
const HOLDER_BYTES_MAX: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_as_written_and_believed_only_while_it_lives() {
        let own = std::process::id();
        let started = linux::process_started(own as i32).unwrap();
        let check = |text: &str, expected: Option<&str>, is_current: bool| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(text.as_bytes(), 0).unwrap();
            let (holder, current) = read_holder(&file);
            assert_eq!(holder.map(|it| it.to_string()).as_deref(), expected, "{text:?}");
            assert_eq!(current, is_current, "{text:?}");
        };
        let since = "since 2026-11-22T22:59:03Z";
        let whole = format!("process {own} of user 7 since 2026-11-22T22:59:03Z");
        check(&format!("pid {own}\nuid 7\n{since}\nstarted {started}\n"), Some(&whole), true);
        check(&format!("pid {own}\nuid 7\n{since}\nstarted 1\n"), Some(&whole), false);
        check(&format!("pid {own}\nuid 7\n{since}\n"), Some(&whole), false);
        check("pid 2147483647\nuid 7\nstarted 1\n", Some("process 2147483647 of user 7"), false);
        check("uid 7\n", Some("a process of user 7"), false);
        check("", None, false);
        check("\u{fffd} nonsense", None, false);
    }
}
