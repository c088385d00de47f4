//! Access to a socket file: its mode and its group.
//!
//! A socket gets the process's umask, which belongs to the whole process and to its starter. Where
//! access matters, the socket is therefore created for its owner only, then given its group, and
//! only then the requested mode. Nobody can connect before that, because it starts to listen last.

use std::{ffi::OsStr, io, path::Path};

use endpoints::{SocketId, UnixPath};
use nix::unistd::Group;
use rustix::{
    fs::{AtFlags, Gid, Mode, chownat, fchmod, fstat},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::getegid,
};
use std::os::fd::OwnedFd;
use tokio::net::UnixListener;

use crate::{
    error::BindError,
    linux::{Handle, Kind},
};

/// The access to a socket file, independent of the umask. Abstract sockets and ports have neither
/// mode nor group.
///
/// ```
/// # use transport as callsign;
/// use callsign::Access;
///
/// // The group of the process may connect too.
/// let access = Access { mode: 0o660, group: None };
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Access {
    /// The mode of the file, as for `chmod`: write permission allows to connect.
    pub mode: u32,
    /// The group of the file, by number; by default that of the process.
    pub group: Option<u32>,
}

/// Returns the number of a group, given by name or number; `None` if there is no such group, or it
/// cannot be looked up.
pub fn group_id(name: &str) -> Option<u32> {
    match Group::from_name(name) {
        Ok(Some(group)) => Some(group.gid.as_raw()),
        // The number with all bits set means "unchanged".
        _ => name.parse().ok().filter(|it| *it != u32::MAX),
    }
}

impl Access {
    /// Creates a socket file at `address` for its owner only, which does not listen yet.
    pub(crate) fn bind(self, address: &Path) -> io::Result<OwnedFd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // The file gets the mode of the socket, less the umask.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(address)?)?;
        Ok(socket)
    }

    /// Gives the socket file of that name its group and its mode.
    pub(crate) fn grant(
        self,
        folder: &Handle,
        name: &OsStr,
        path: &UnixPath,
    ) -> Result<(), BindError> {
        if let Some(group) = self.group {
            let group_id = Some(Gid::from_raw(group));
            chownat(folder, name, None, group_id, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| {
                if error == rustix::io::Errno::PERM {
                    return BindError::NotInGroup { group };
                }
                let what = || format!("give `{}` to group {group}", path.as_str());
                BindError::from_io(error.into(), what)
            })?;
        }
        // Before Linux 6.6 the mode of a name can be changed only by following it. A descriptor
        // holds the file, so that a replacement is not affected.
        let fail =
            |error| BindError::from_io(error, || format!("change the mode of `{}`", path.as_str()));
        let file = Handle::open_in(folder, name).map_err(fail)?;
        file.set_mode(Mode::from_raw_mode(self.mode)).map_err(fail)
    }

    /// Gives the socket file at a path another group and mode than `before`, if it is that socket.
    /// At no moment does it admit anybody that neither of the two admits.
    pub(crate) fn change(
        self,
        before: Option<Self>,
        path: &UnixPath,
        socket: SocketId,
    ) -> Result<(), BindError> {
        let what = || format!("change who may connect to `{}`", path.as_str());
        let fail = |error| BindError::from_io(error, what);
        let file = Handle::open(path.as_path()).map_err(fail)?;
        let is_it = matches!(file.kind().map_err(fail)?, Kind::Socket(id) if id.is_same(&socket));
        if !is_it {
            // It is bound again, and gets its access then.
            return Ok(());
        }
        let status = fstat(&file).map_err(|error| fail(error.into()))?;
        let mode = status.st_mode & 0o777;
        let set_mode = |mode| file.set_mode(Mode::from_raw_mode(mode)).map_err(fail);
        let group = self.group.unwrap_or_else(|| getegid().as_raw());
        if before.is_none_or(|it| it.group != self.group) && status.st_gid != group {
            set_mode(mode & self.mode)?;
            let changed = chownat(&file, "", None, Some(Gid::from_raw(group)), AtFlags::EMPTY_PATH);
            if let Err(error) = changed {
                set_mode(mode)?;
                return Err(match error {
                    Errno::PERM => BindError::NotInGroup { group },
                    _ => fail(error.into()),
                });
            }
        }
        set_mode(self.mode)
    }
}

/// Listens on a socket that was bound.
pub(crate) fn listen(bound: OwnedFd) -> io::Result<UnixListener> {
    rustix::net::listen(&bound, BACKLOG)?;
    UnixListener::from_std(bound.into())
}

/// The backlog: as many as the kernel allows, which is what the standard library asks for.
const BACKLOG: i32 = -1;
