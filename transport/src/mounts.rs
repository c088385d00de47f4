//! Whether a path means the same to another process: each may have its own mounts.

use std::path::Path;

use endpoints::UnixPath;
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2},
    io::Errno,
};

/// Tells whether another process finds the same folder as this one at the path of a socket. It does
/// not if either has its own mounts: in a container, or under `PrivateTmp=` of systemd.
///
/// `None` if that is not visible: the folder does not exist yet, or the process belongs to another
/// user.
pub fn shares_folder(path: &UnixPath, pid: i32) -> Option<bool> {
    let folder = path.as_path().parent()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = fstat(openat(CWD, folder, flags, Mode::empty()).ok()?).ok()?;
    let root = format!("/proc/{pid}/root");
    let root = openat(CWD, Path::new(&root), flags, Mode::empty()).ok()?;
    let relative = folder.strip_prefix("/").ok()?;
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    match openat2(&root, relative, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(theirs) => {
            let theirs = fstat(theirs).ok()?;
            Some((theirs.st_dev, theirs.st_ino) == (own.st_dev, own.st_ino))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_with_the_same_mounts_finds_the_same_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = UnixPath::new(&folder.path().join("x.sock")).unwrap();
        let pid = std::process::id().cast_signed();
        assert_eq!(shares_folder(&path, pid), Some(true));
        let nowhere = UnixPath::new(Path::new("/nowhere/x.sock")).unwrap();
        assert_eq!(shares_folder(&nowhere, pid), None);
        assert_eq!(shares_folder(&UnixPath::new(Path::new("/x.sock")).unwrap(), pid), Some(true));
    }

    #[test]
    fn a_process_with_mounts_of_its_own_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = UnixPath::new(&folder.path().join("x.sock")).unwrap();
        let mount = "mount -t tmpfs none \"$0\" && echo up && exec sleep 600";
        let mut other = Command::new("unshare")
            .args(["-m", "sh", "-c", mount])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut up = [0; 3];
        let is_up = std::io::Read::read_exact(&mut other.stdout.take().unwrap(), &mut up);
        let seen = shares_folder(&path, other.id().cast_signed());
        other.kill().unwrap();
        other.wait().unwrap();
        match is_up {
            Ok(()) => assert_eq!(seen, Some(false)),
            Err(_) => eprintln!("skipped: this user may not mount"),
        }
    }
}
