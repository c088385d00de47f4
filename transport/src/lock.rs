//! The lock beside a socket path, and its holder.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use endpoints::UnixPath;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use tokio::time::sleep;

use crate::{
    error::BindError,
    holders::Holder,
    linux::{self, Handle},
};

/// A held lock beside a socket path. Dropping it removes the file and releases the lock.
#[derive(Debug)]
pub(crate) struct Lock {
    pub(crate) folder: Arc<Handle>,
    pub(crate) socket_name: OsString,
    pub(crate) name: OsString,
    pub(crate) file: File,
    /// The process that holds it: a fork has a copy of this, but holds nothing.
    pid: u32,
}

impl Lock {
    pub(crate) async fn take(
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
                    // The lock counts whatever the file contains; a full disk still permits the
                    // file itself.
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
            // The contents are the last holder's until the present one has written its own.
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
        // Removed while it is locked, or another process might already have it.
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

/// Tells whether `name` still leads to `file`.
pub(crate) fn is_named(file: &File, folder: &Handle, name: &OsStr) -> io::Result<bool> {
    let held = rustix::fs::fstat(file)?;
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Records the holder of the lock, for people and for late starters.
fn write_holder(file: &File) -> io::Result<()> {
    let pid = std::process::id();
    let uid = rustix::process::geteuid().as_raw();
    let started = linux::process_started(pid as i32).unwrap_or(0);
    let since = humantime::format_rfc3339_seconds(SystemTime::now().max(UNIX_EPOCH));
    let text = format!("pid {pid}\nuid {uid}\nsince {since}\nstarted {started}\n");
    file.set_len(0)?;
    file.write_all_at(text.as_bytes(), 0)
}

/// Reads the holder of the lock, and whether that is certain: the process lives, and is the one
/// that wrote it.
pub(crate) fn read_holder(file: &File) -> (Option<Holder>, bool) {
    let mut text = String::new();
    // It reads no more than was ever written, whatever the file has become.
    if file.take(HOLDER_BYTES_MAX).read_to_string(&mut text).is_err() {
        return (None, false);
    }
    let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let pid = field("pid").and_then(|it| it.parse().ok());
    let Some(uid) = field("uid").and_then(|it| it.parse().ok()) else { return (None, false) };
    let since = field("since").and_then(|it| humantime::parse_rfc3339(it).ok());
    // It is written last: contents without it are incomplete.
    let started: Option<u64> = field("started").and_then(|it| it.parse().ok());
    let is_current = started.is_some() && pid.and_then(linux::process_started) == started;
    (Some(Holder { pid, uid, since }), is_current)
}

/// The number of looks for the holder of a lock before it is reported as last written. Taking a
/// lock and writing it down are microseconds apart; with [`HOLDER_PAUSE`] this bounds a late
/// starter's wait to a quarter of a second if the holder's process is invisible, in another PID
/// namespace.
const HOLDER_LOOKS: u32 = 50;

/// The pause between two such looks.
const HOLDER_PAUSE: Duration = Duration::from_millis(5);

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
