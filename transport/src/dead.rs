//! Removes the files of sockets without a listener, and of this process's own sockets.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    sync::Arc,
};

use endpoints::{SocketId, UnixPath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use tokio::net::UnixStream;

use crate::{
    error::BindError,
    holders::Holder,
    linux::{Handle, Kind},
    listening::{Listening, Silence, listening_at_file},
    lock::{Lock, is_named, read_holder},
};

/// Removes the files of a dead process at a path: its socket file, and the lock beside it. Live
/// sockets and other files stay.
///
/// # Errors
///
/// [`BindError`] if the owner of the file is unknown, or it cannot be removed.
pub async fn remove_dead_socket(path: &UnixPath) -> Result<(), BindError> {
    let (folder, name) = path.parts();
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

/// Removes a dead socket that a foreign program has left at a path, and returns where it was: at the
/// target of a symbolic link of that name. Live sockets and other files stay, and so does another
/// user's socket, unless it is in a folder of this user, or this is root and the folder is that user's
/// too: a program that has dropped its privileges leaves such a one.
///
/// # Errors
///
/// [`BindError`] if it is unknown whether anybody listens, or the file cannot be removed.
pub async fn clear_dead_socket(path: &UnixPath) -> Result<Option<UnixPath>, BindError> {
    let real = linked_to(path);
    let path = real.as_ref().unwrap_or(path);
    let (folder, name) = path.parts();
    let Ok(folder) = Handle::open_folder(folder) else { return Ok(None) };
    let fail = |error| BindError::from_io(error, || format!("look at `{}`", path.as_str()));
    let before = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        status => status.map_err(|error| fail(error.into()))?,
    };
    let is_socket = FileType::from_raw_mode(before.st_mode) == FileType::Socket;
    let user = rustix::process::geteuid();
    let may_remove = before.st_uid == user.as_raw() || {
        let folder = rustix::fs::fstat(&folder).map_err(|error| fail(error.into()))?;
        folder.st_uid == user.as_raw() || user.is_root() && folder.st_uid == before.st_uid
    };
    if !is_socket || !may_remove {
        return Ok(None);
    }
    let folder = Arc::new(folder);
    let lock = match Lock::take(Arc::clone(&folder), name, path).await {
        Err(BindError::InUse { .. }) => return Ok(None),
        lock => lock?,
    };
    match clear(&lock, path).await {
        Err(BindError::InUse { .. } | BindError::NotASocket { .. }) => return Ok(None),
        cleared => cleared?,
    }
    // By now it may belong to another process, which was faster.
    let is_gone = rustix::fs::statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(true, |after| after.st_ino != before.st_ino);
    Ok(is_gone.then(|| path.clone()))
}

/// Removes a symbolic link of this user that leads nowhere from a path. Nobody can bind at the name
/// of a link, wherever it leads.
///
/// # Errors
///
/// The error of the system call.
pub fn remove_dangling_link(path: &UnixPath) -> io::Result<bool> {
    let path = path.as_path();
    let link = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        link => link?,
    };
    if !is_own_link(&link) || fs::exists(path)? {
        return Ok(false);
    }
    fs::remove_file(path).map(|()| true)
}

/// Returns the target of a path that is a symbolic link of this user.
fn linked_to(path: &UnixPath) -> Option<UnixPath> {
    let is_link = fs::symlink_metadata(path.as_path()).is_ok_and(|it| is_own_link(&it));
    UnixPath::new(&fs::canonicalize(path.as_path()).ok().filter(|_| is_link)?).ok()
}

/// Tells whether it is a link that this user has made: another's may lead anywhere.
fn is_own_link(link: &fs::Metadata) -> bool {
    link.is_symlink() && link.uid() == rustix::process::geteuid().as_raw()
}

/// Removes the files of a socket at which this process listens, and will until it ends, because the
/// task that holds the listener is stuck. Replacements stay.
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

/// Makes room at the path: removes a socket that nobody listens on, and nothing else.
pub(crate) async fn clear(lock: &Lock, path: &UnixPath) -> Result<(), BindError> {
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
        // It is about to listen, or of a type without connections: it lives nevertheless.
        Listening::Nobody(_) => return Err(BindError::InUse { holder: None }),
        Listening::Sockets(sockets) => {
            return Err(BindError::InUse { holder: Holder::of(&sockets) });
        }
        Listening::Unknown => is_refused(&file, path).await?,
    };
    if is_dead {
        unlink_socket(&lock.folder, &lock.socket_name, socket).map_err(|error| {
            BindError::from_io(error, || format!("remove the dead socket `{}`", path.as_str()))
        })
    } else {
        Err(BindError::InUse { holder: None })
    }
}

/// Tells by a connection whether nobody listens at a file, if the kernel does not say.
async fn is_refused(file: &Handle, path: &UnixPath) -> Result<bool, BindError> {
    let stream = match UnixStream::connect(file.path()).await {
        // The file is held, so `/proc` is missing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            UnixStream::connect(path.as_path()).await
        }
        stream => stream,
    };
    match stream {
        Ok(stream) => Err(BindError::InUse { holder: Holder::of_peer(&stream) }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        // Its queue is full, or it is a socket of another type: it lives nevertheless.
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
pub(crate) fn unlink_socket(folder: &Handle, name: &OsStr, expected: SocketId) -> io::Result<()> {
    match Handle::kind_in(folder, name) {
        Ok(kind) if kind != Kind::Socket(expected) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        kind => {
            kind?;
            Ok(rustix::fs::unlinkat(folder, name, AtFlags::empty())?)
        }
    }
}
