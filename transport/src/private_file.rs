//! Files in which a program writes down what its next run is to believe.

use std::{
    error::Error as _,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::fs::OFlags;
use thiserror::Error;

use crate::private_folder;

/// Why a file is not believed.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum PrivateFileError {
    #[error("it is not a regular file that only this user can access")]
    NotOurs,
    #[error("it is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a file that nobody but this process's user can have written or read; `None` if there is
/// none.
///
/// # Errors
///
/// [`PrivateFileError`]: a link is none, nor is a pipe, or what others may look into.
pub fn read_private(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, PrivateFileError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let status = file.metadata()?;
    let is_own = status.uid() == rustix::process::geteuid().as_raw();
    if !is_own || !status.is_file() || status.mode() & 0o077 != 0 {
        return Err(PrivateFileError::NotOurs);
    }
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(PrivateFileError::TooLarge { bytes_max });
    }
    Ok(Some(bytes))
}

/// Writes a file of this process's user alone, in the place of the one that is there: who reads it
/// meanwhile reads one or the other. Its folder is made if it is missing, as that of
/// [`private_folder`].
///
/// # Errors
///
/// That of the system; what was there stays then.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        private_folder(folder.to_owned()).map_err(|error| match error.source() {
            Some(source) => io::Error::other(format!("{error}: {source}")),
            None => io::Error::other(error),
        })?;
    }
    // A process that was killed while it wrote may have left its own.
    let draft = path.with_extension("new");
    remove_private(&draft)?;
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        File::set_permissions(&file, Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        fs::rename(&draft, path)
    })();
    if written.is_err() {
        // On a full disk it is in the way of later files.
        drop(fs::remove_file(&draft));
    }
    written
}

/// Removes a file, if it is there.
///
/// # Errors
///
/// That of the system.
pub fn remove_private(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
