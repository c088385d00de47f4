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
/// [`RuntimeDirError`] when it would be in a folder of another user, which the variable names that
/// `sudo -E` or `su` has kept.
pub fn runtime_dir_path(
    xdg_runtime_dir: Option<&OsStr>,
    temp_dir: &Path,
) -> Result<PathBuf, RuntimeDirError> {
    let uid = rustix::process::geteuid().as_raw();
    if let Some(base) = xdg_runtime_dir.map(Path::new).filter(|path| path.is_absolute()) {
        const VARIABLE: &str = "XDG_RUNTIME_DIR";
        let status = fs::metadata(base).map_err(|source| RuntimeDirError::Unusable {
            variable: VARIABLE,
            folder: base.to_owned(),
            source,
        })?;
        // A folder within another user's would be in that user's way.
        if status.uid() != uid {
            return Err(of_another(VARIABLE, base, &status, uid));
        }
        return Ok(base.join("callsign"));
    }
    // A shared folder is the system's, or protects its contents by the sticky bit. In any other,
    // its owner could replace ours.
    if let Ok(status) = fs::metadata(temp_dir)
        && ![uid, 0].contains(&status.uid())
        && status.mode() & STICKY == 0
    {
        return Err(of_another("TMPDIR", temp_dir, &status, uid));
    }
    Ok(temp_dir.join(format!("callsign-{uid}")))
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

/// Makes a folder of the user's own, unless it exists, and returns its mode.
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

/// The reason why there is no folder for this user's sockets. The remedy in the message is safe,
/// also for root: nothing is removed.
///
/// ```
/// # use transport as callsign;
/// use callsign::RuntimeDirError;
///
/// fn explain(error: &RuntimeDirError) -> String {
///     format!("there is no folder for sockets: {error}")
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum RuntimeDirError {
    #[error(
        "{variable} is `{}`, which belongs to user {owner}, and this is user {uid}: unset it, or \
         set it to a folder of your own (it was kept by sudo or su)",
        .folder.display()
    )]
    OfAnother { variable: &'static str, folder: PathBuf, owner: u32, uid: u32 },
    #[error(
        "{variable} is `{}`, which cannot be used: unset it, or set it to a folder of your own",
        .folder.display()
    )]
    Unusable { variable: &'static str, folder: PathBuf, source: io::Error },
    #[error(
        "`{}` is a symbolic link, and may lead anywhere: \
         set XDG_RUNTIME_DIR to a folder of your own",
        .folder.display()
    )]
    Symlink { folder: PathBuf },
    #[error("`{}` is not a folder: set XDG_RUNTIME_DIR to a folder of your own", .folder.display())]
    NotAFolder { folder: PathBuf },
    #[error(
        "`{}` belongs to user {owner}, and this is user {uid}: \
         set XDG_RUNTIME_DIR to a folder of your own",
        .folder.display()
    )]
    NotOurs { folder: PathBuf, owner: u32, uid: u32 },
    #[error("`{}` is open to other users (mode {mode:04o}): give it mode 0700", .folder.display())]
    OpenToOthers { folder: PathBuf, mode: u32 },
    #[error("`{}` cannot be used; set XDG_RUNTIME_DIR to a folder of your own", .folder.display())]
    Io { folder: PathBuf, source: io::Error },
    /// No fault of the folder's: it may be there later.
    #[error("`{}` cannot be made or used now", .folder.display())]
    Accident { folder: PathBuf, source: io::Error },
}

/// The mode of a folder in which only its owner, that of a file, and root may remove the file.
const STICKY: u32 = 0o1000;

fn of_another(
    variable: &'static str,
    folder: &Path,
    status: &Metadata,
    uid: u32,
) -> RuntimeDirError {
    RuntimeDirError::OfAnother { variable, folder: folder.to_owned(), owner: status.uid(), uid }
}

fn unusable(folder: &Path, source: io::Error) -> RuntimeDirError {
    let folder = folder.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::ReadOnlyFilesystem => RuntimeDirError::Accident { folder, source },
        _ => RuntimeDirError::Io { folder, source },
    }
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
            "`F` is a symbolic link, and may lead anywhere: \
             set XDG_RUNTIME_DIR to a folder of your own",
        );
        check(
            &|folder| symlink("nowhere", folder).unwrap(),
            "`F` is a symbolic link, and may lead anywhere: \
             set XDG_RUNTIME_DIR to a folder of your own",
        );
        check(
            &|folder| fs::write(folder, "").unwrap(),
            "`F` is not a folder: set XDG_RUNTIME_DIR to a folder of your own",
        );
        check(
            &|folder| {
                fs::create_dir(folder).unwrap();
                fs::set_permissions(folder, fs::Permissions::from_mode(0o750)).unwrap();
            },
            "`F` is open to other users (mode 0750): give it mode 0700",
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
            // The folder belongs to another user, such as the system's.
            let error = runtime_dir(Some(OsStr::new("/proc")), base.path()).unwrap_err();
            assert!(matches!(error, RuntimeDirError::OfAnother { owner: 0, .. }), "{error:?}");
            return;
        }
        let folder = base.path().join("callsign");
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::chown(&folder, Some(7), None).unwrap();
        let error = runtime_dir(Some(base.path().as_os_str()), Path::new("/")).unwrap_err();
        assert_eq!(
            error.to_string().replace(&*folder.to_string_lossy(), "F"),
            "`F` belongs to user 7, and this is user 0: \
             set XDG_RUNTIME_DIR to a folder of your own",
        );
    }

    /// The message about a variable kept by `sudo -E` or `su` advises to unset it, and not to
    /// remove what it names.
    #[test]
    fn is_not_within_another_users() {
        let uid = rustix::process::geteuid().as_raw();
        if uid != 0 {
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let said = |xdg: Option<&OsStr>, temp: &Path| {
            let error = runtime_dir_path(xdg, temp).unwrap_err();
            error.to_string().replace(&*base.path().to_string_lossy(), "F")
        };
        let advice = "which belongs to user 7, and this is user 0: unset it, or set it to a \
                      folder of your own (it was kept by sudo or su)";
        std::os::unix::fs::chown(base.path(), Some(7), None).unwrap();
        let xdg = said(Some(base.path().as_os_str()), Path::new("/tmp"));
        assert_eq!(xdg, format!("XDG_RUNTIME_DIR is `F`, {advice}"));
        assert_eq!(said(None, base.path()), format!("TMPDIR is `F`, {advice}"));
        // The owner of a shared folder does not matter.
        fs::set_permissions(base.path(), Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(runtime_dir_path(None, base.path()).unwrap(), base.path().join("callsign-0"));
    }

    #[test]
    fn says_what_it_cannot_use() {
        let gone = Path::new("/nowhere/at/all");
        let error = runtime_dir(Some(gone.as_os_str()), Path::new("/tmp")).unwrap_err();
        let RuntimeDirError::Unusable { folder, .. } = &error else { panic!("{error:?}") };
        assert_eq!(folder, gone);
        assert!(error.to_string().contains("unset it"), "{error}");
    }
}
