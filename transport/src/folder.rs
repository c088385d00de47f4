//! The folder for the sockets of one user.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, Metadata, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Returns the folder for this user's sockets, and makes it if it is not there:
/// `<xdg_runtime_dir>/callsign` where that is set (the value of `XDG_RUNTIME_DIR`), else
/// `<temp_dir>/callsign-<uid>`. It is the user's own, and nobody else may look into it.
///
/// An empty or relative value is taken as not set, as the XDG base directory specification asks.
///
/// # Errors
///
/// [`RuntimeDirError`] when such a folder cannot be had, or is not to be trusted.
pub fn runtime_dir(
    xdg_runtime_dir: Option<&OsStr>,
    temp_dir: &Path,
) -> Result<PathBuf, RuntimeDirError> {
    private_folder(runtime_dir_path(xdg_runtime_dir, temp_dir)?)
}

/// Returns where the folder of [`runtime_dir`] is, or would be made.
///
/// # Errors
///
/// [`RuntimeDirError`] when it would be in a folder of another user.
pub fn runtime_dir_path(
    xdg_runtime_dir: Option<&OsStr>,
    temp_dir: &Path,
) -> Result<PathBuf, RuntimeDirError> {
    let uid = rustix::process::geteuid().as_raw();
    Ok(match xdg_runtime_dir.map(Path::new).filter(|path| path.is_absolute()) {
        Some(base) => {
            // Within another user's folder (`sudo -E`), one's own would be in that user's way.
            let status = fs::metadata(base).map_err(|error| unusable(base, error))?;
            check_owner(base, &status, uid)?;
            base.join("callsign")
        }
        None => temp_dir.join(format!("callsign-{uid}")),
    })
}

/// Makes a folder that is the user's own, and that nobody else may look into, unless it is there
/// already. The one above it has to exist.
///
/// # Errors
///
/// [`RuntimeDirError`] when such a folder cannot be had, or is not to be trusted.
pub fn private_folder(folder: PathBuf) -> Result<PathBuf, RuntimeDirError> {
    let mode = own_folder(&folder)?;
    if mode & 0o077 != 0 {
        return Err(RuntimeDirError::OpenToOthers { folder, mode });
    }
    Ok(folder)
}

/// Makes a folder as [`private_folder`] does, save that one of the user's own, which is there, may
/// be open to others; in which case it is closed.
///
/// # Errors
///
/// [`RuntimeDirError`] when such a folder cannot be had, or is not to be trusted.
pub fn closed_folder(folder: PathBuf) -> Result<PathBuf, RuntimeDirError> {
    if own_folder(&folder)? != 0o700 {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))
            .map_err(|error| unusable(&folder, error))?;
    }
    Ok(folder)
}

/// Makes a folder that is the user's own, unless it is there, and returns its mode.
fn own_folder(folder: &Path) -> Result<u32, RuntimeDirError> {
    let uid = rustix::process::geteuid().as_raw();
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(unusable(folder, error));
        }
        _ => {}
    }

    let status = fs::symlink_metadata(folder).map_err(|error| unusable(folder, error))?;
    if status.is_symlink() {
        return Err(RuntimeDirError::Symlink { folder: folder.to_owned() });
    }
    if !status.is_dir() {
        return Err(RuntimeDirError::NotAFolder { folder: folder.to_owned() });
    }
    check_owner(folder, &status, uid)?;
    Ok(status.mode() & 0o777)
}

/// Why there is no folder for this user's sockets.
///
/// ```
/// # use transport as callsign;
/// use callsign::RuntimeDirError;
///
/// fn explain(error: &RuntimeDirError) -> String {
///     format!("there is no folder for sockets: {error}")
/// }
/// # let _ = explain;
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum RuntimeDirError {
    #[error("`{}` is a symbolic link, and may lead anywhere: remove it", .folder.display())]
    Symlink { folder: PathBuf },
    #[error("`{}` is not a folder: remove it", .folder.display())]
    NotAFolder { folder: PathBuf },
    #[error(
        "`{}` belongs to user {owner}, and this is user {uid}: \
         remove it, or set XDG_RUNTIME_DIR to a folder of your own",
        .folder.display()
    )]
    NotOurs { folder: PathBuf, owner: u32, uid: u32 },
    #[error(
        "`{}` is open to other users (mode {mode:04o}): run `chmod 700 {}`",
        .folder.display(), .folder.display()
    )]
    OpenToOthers { folder: PathBuf, mode: u32 },
    #[error("`{}` cannot be used; set XDG_RUNTIME_DIR to a folder of your own", .folder.display())]
    Io { folder: PathBuf, source: io::Error },
}

fn unusable(folder: &Path, source: io::Error) -> RuntimeDirError {
    RuntimeDirError::Io { folder: folder.to_owned(), source }
}

fn check_owner(folder: &Path, status: &Metadata, uid: u32) -> Result<(), RuntimeDirError> {
    let owner = status.uid();
    if owner == uid {
        return Ok(());
    }
    Err(RuntimeDirError::NotOurs { folder: folder.to_owned(), owner, uid })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn is_under_xdg_runtime_dir_else_under_temp() {
        let temp = tempfile::tempdir().unwrap();
        let xdg = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let check = |value: Option<&OsStr>, expected: PathBuf| {
            for _again in 0..2 {
                assert_eq!(runtime_dir(value, temp.path()).unwrap(), expected);
                assert_eq!(fs::metadata(&expected).unwrap().mode() & 0o7777, 0o700);
            }
        };
        check(Some(xdg.path().as_os_str()), xdg.path().join("callsign"));
        let fallback = temp.path().join(format!("callsign-{uid}"));
        for unset in [None, Some(OsStr::new("")), Some(OsStr::new("run/user/7"))] {
            check(unset, fallback.clone());
        }
    }

    #[test]
    fn is_refused_when_it_is_not_to_be_trusted() {
        let check = |make: &dyn Fn(&Path), expected: &str| {
            let base = tempfile::tempdir().unwrap();
            let folder = base.path().join("callsign");
            make(&folder);
            let error = runtime_dir(Some(base.path().as_os_str()), Path::new("/")).unwrap_err();
            let said = error.to_string().replace(&*folder.to_string_lossy(), "F");
            assert_eq!(said, expected);
        };
        check(
            &|folder| symlink("/tmp", folder).unwrap(),
            "`F` is a symbolic link, and may lead anywhere: remove it",
        );
        check(
            &|folder| symlink("nowhere", folder).unwrap(),
            "`F` is a symbolic link, and may lead anywhere: remove it",
        );
        check(&|folder| fs::write(folder, "").unwrap(), "`F` is not a folder: remove it");
        check(
            &|folder| {
                fs::create_dir(folder).unwrap();
                fs::set_permissions(folder, fs::Permissions::from_mode(0o750)).unwrap();
            },
            "`F` is open to other users (mode 0750): run `chmod 700 F`",
        );
    }

    #[test]
    fn one_that_is_to_be_closed_may_have_been_open() {
        let base = tempfile::tempdir().unwrap();
        let mode = |folder: &Path| fs::metadata(folder).unwrap().mode() & 0o7777;
        for open in [0o755, 0o775, 0o700] {
            let folder = base.path().join(format!("{open:o}"));
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(open)).unwrap();
            assert_eq!(closed_folder(folder.clone()).unwrap(), folder);
            assert_eq!(mode(&folder), 0o700);
        }
        let link = base.path().join("link");
        symlink(base.path().join("755"), &link).unwrap();
        assert!(matches!(closed_folder(link), Err(RuntimeDirError::Symlink { .. })));
    }

    #[test]
    fn is_refused_when_it_is_another_users() {
        let uid = rustix::process::geteuid().as_raw();
        let base = tempfile::tempdir().unwrap();
        if uid != 0 {
            // The folder of the system's own user stands in for another user's.
            let error = runtime_dir(Some(OsStr::new("/proc")), base.path()).unwrap_err();
            assert!(matches!(error, RuntimeDirError::NotOurs { owner: 0, .. }), "{error:?}");
            return;
        }
        let folder = base.path().join("callsign");
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::chown(&folder, Some(7), None).unwrap();
        let error = runtime_dir(Some(base.path().as_os_str()), Path::new("/")).unwrap_err();
        assert_eq!(
            error.to_string().replace(&*folder.to_string_lossy(), "F"),
            "`F` belongs to user 7, and this is user 0: \
             remove it, or set XDG_RUNTIME_DIR to a folder of your own",
        );
    }

    #[test]
    fn says_what_it_cannot_use() {
        let gone = Path::new("/nowhere/at/all");
        let error = runtime_dir(Some(gone.as_os_str()), Path::new("/tmp")).unwrap_err();
        assert!(matches!(&error, RuntimeDirError::Io { folder, .. } if folder == gone), "{error}");
    }
}
