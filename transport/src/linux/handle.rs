//! Files held by descriptor, not by name.

use std::{
    ffi::OsStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use endpoints::SocketId;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags},
    io::Errno,
};

/// A file held by descriptor, not by name: it stays the same file, whatever happens to the name.
/// Symbolic links are not followed.
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl Handle {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    pub(crate) fn open_in(folder: &Self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(folder, name, flags, Mode::empty())?))
    }

    /// Opens a folder. Symbolic links to it *are* followed: many a `/var/run` is one.
    pub(crate) fn open_folder(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Returns the kind of this file.
    pub(crate) fn kind(&self) -> io::Result<Kind> {
        look(&self.0, OsStr::new(""), AtFlags::EMPTY_PATH)
    }

    /// Returns the kind of file that a path leads to, without holding it.
    pub(crate) fn kind_at(path: &Path) -> io::Result<Kind> {
        look(CWD, path.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Returns the user that this file belongs to.
    pub(crate) fn user(&self) -> io::Result<u32> {
        Ok(rustix::fs::fstat(&self.0)?.st_uid)
    }

    /// Returns the kind of file under a name in a folder, without following it.
    pub(crate) fn kind_in(folder: &Self, name: &OsStr) -> io::Result<Kind> {
        look(&folder.0, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Changes the mode of this very file.
    pub(crate) fn set_mode(&self, mode: Mode) -> io::Result<()> {
        match rustix::fs::chmod(self.path(), mode) {
            // The file is held, so `/proc` is missing. Linux does without it since 6.6.
            Err(Errno::NOENT) => super::set_mode_of(self.0.as_fd(), mode).map_err(|error| {
                let why = "/proc is not mounted here, and this kernel cannot do without";
                match error.kind() {
                    io::ErrorKind::Unsupported => io::Error::new(error.kind(), why),
                    _ => error,
                }
            }),
            changed => Ok(changed?),
        }
    }

    /// Returns a short path that leads to this very file.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns the kind of file under a name in a folder.
fn look(folder: impl AsFd, name: &OsStr, flags: AtFlags) -> io::Result<Kind> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME;
    let status = rustix::fs::statx(folder, name, flags, wanted)?;
    let file_type = FileType::from_raw_mode(status.stx_mode.into());
    if file_type != FileType::Socket {
        return Ok(Kind::Other(describe(file_type)));
    }
    let born = status.stx_btime;
    let born_ns = u64::try_from(born.tv_sec)
        .ok()
        .filter(|_| status.stx_mask & StatxFlags::BTIME.bits() != 0)
        .and_then(|seconds| seconds.checked_mul(1_000_000_000))
        .and_then(|ns| ns.checked_add(born.tv_nsec.into()));
    let dev = rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor);
    Ok(Kind::Socket(SocketId { dev, ino: status.stx_ino, born_ns }))
}

/// The kind of file that a [`Handle`] holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Socket(SocketId),
    /// Any other kind, in words.
    Other(&'static str),
}

/// Describes a file that is not a socket.
pub(crate) fn describe(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "a file of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    };

    use super::*;

    #[test]
    fn a_mode_is_changed_without_a_path_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feed.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let handle = Handle::open(&path).unwrap();
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        handle.set_mode(Mode::from_raw_mode(0o640)).unwrap();
        assert_eq!(mode(), 0o640);
        match super::super::set_mode_of(handle.as_fd(), Mode::from_raw_mode(0o604)) {
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
            Ok(()) => assert_eq!(mode(), 0o604),
        }
    }

    #[test]
    fn a_handle_leads_to_its_own_file_after_the_name_has_gone_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["feed.sock", "impostor.sock"].map(|it| folder.path().join(it));
        let (meant, impostor) =
            (UnixListener::bind(&path).unwrap(), UnixListener::bind(&other).unwrap());
        let handle = Handle::open(&path).unwrap();
        let kind = handle.kind().unwrap();
        fs::rename(&other, &path).unwrap();

        let _stream = UnixStream::connect(handle.path()).unwrap();
        meant.set_nonblocking(true).unwrap();
        impostor.set_nonblocking(true).unwrap();
        meant.accept().unwrap();
        assert_eq!(impostor.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(handle.kind().unwrap(), kind);
        assert_ne!(Handle::open(&path).unwrap().kind().unwrap(), kind);
    }
}
