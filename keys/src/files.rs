//! Files of keys: read only if nobody else can, and written whole, never over others.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use crate::error::AuthorityError;

/// The mode of a folder with keys.
pub(crate) const FOLDER_MODE: u32 = 0o700;

/// The mode of a key.
pub(crate) const KEY_MODE: u32 = 0o600;

/// The mode of a certificate, which is no secret.
pub(crate) const CERTIFICATE_MODE: u32 = 0o644;

/// The most bytes of a file: a hundred times that of a long chain.
pub(crate) const BYTES_MAX: u64 = 1024 * 1024;

/// Checks that a folder is this user's, and open to nobody else.
pub(crate) fn check_folder(path: &Path) -> Result<(), AuthorityError> {
    let status = fs::metadata(path).map_err(|error| AuthorityError::io(path, error))?;
    if !status.is_dir() {
        return Err(AuthorityError::NotAFolder { path: path.to_owned() });
    }
    check_access(path, &status, FOLDER_MODE)
}

/// Reads a text that this user alone may have written; a secret one nobody else may read.
pub(crate) fn read_own(path: &Path, is_secret: bool) -> Result<String, AuthorityError> {
    // A pipe would be waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            AuthorityError::NotAFile { path: path.to_owned() }
        }
        _ => AuthorityError::io(path, error),
    })?;
    let status = file.metadata().map_err(|error| AuthorityError::io(path, error))?;
    if !status.is_file() {
        return Err(AuthorityError::NotAFile { path: path.to_owned() });
    }
    if is_secret {
        check_access(path, &status, KEY_MODE)?;
    }
    match read_all(file) {
        Ok(Some(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Ok(None) => Err(AuthorityError::TooLarge { path: path.to_owned() }),
        Err(source) => Err(AuthorityError::Io { path: path.to_owned(), source }),
    }
}

/// Reads a file to its end; `None` if it is too large.
pub(crate) fn read_all(file: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= BYTES_MAX).then_some(bytes))
}

fn check_access(path: &Path, status: &fs::Metadata, wanted: u32) -> Result<(), AuthorityError> {
    let (owner, user) = (status.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        return Err(AuthorityError::NotOurs { path: path.to_owned(), owner, user });
    }
    let mode = status.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(AuthorityError::OpenToOthers { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

/// A file that is written, and has no name yet.
pub(crate) struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// Writes the contents of a file to be, beside its place.
    pub(crate) fn write(path: PathBuf, mode: u32, text: &str) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let permissions = Permissions::from_mode(mode);
        let mut file = tempfile::Builder::new().prefix(".draft-").tempfile_in(folder)?;
        file.as_file().set_permissions(permissions)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(Self { file, path })
    }

    /// Gives it its name, unless another file has it.
    pub(crate) fn publish(self) -> io::Result<PathBuf> {
        self.file.persist_noclobber(&self.path).map_err(|it| it.error)?;
        Ok(self.path)
    }
}
