//! What outlives a node: by which tokens names were had, and the secret by which it knows those again
//! who had them.
//!
//! Who comes back says that he had a name before, which anybody could. So each holder is given what
//! only this registrar can have made, and it is made of a secret that stands in a file which nobody
//! else may read. Without that file all are newcomers.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use thiserror::Error;
use tokio::{task::spawn_blocking, time::sleep};
use tracing::warn;
use transport::{PrivateFileError, read_private, write_private};
use wire::{ProofSecret, decode_body, encode_body};

use crate::{RegistryHandle, registry::Former};

/// The file of one node. Clones are handles of the same.
#[derive(Clone, Debug)]
pub(crate) struct TokensFile {
    path: PathBuf,
    /// Whether the file has its final contents.
    is_final: Arc<Mutex<bool>>,
}

/// The contents of the file.
#[derive(Debug, Deserialize, Serialize)]
struct FileContents {
    version: u32,
    secret: ByteArray<32>,
    latest: u64,
    tokens: Vec<u64>,
}

#[derive(Debug, Error)]
enum TokensFileError {
    #[error(transparent)]
    Unbelievable(#[from] PrivateFileError),
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] wire::WireError),
    #[error("it is of another version")]
    Version,
}

impl TokensFile {
    /// Takes the path of the file, in a folder of the user's own. Both are made when there is
    /// something to write.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, is_final: Arc::default() }
    }

    /// Returns the record of the former run. Untrustworthy contents are ignored, with a warning.
    pub(crate) fn read(&self) -> Former {
        let written = self.written().unwrap_or_else(|error| {
            let file = self.path.display();
            warn!(
                "what `{file}` says of those who had names before is not believed, so nobody \
                 comes back before others: {error}"
            );
            None
        });
        written.unwrap_or_else(|| Former {
            secret: ProofSecret::new(transport::random_bytes()),
            latest: 0,
            tokens: Vec::new(),
        })
    }

    fn written(&self) -> Result<Option<Former>, TokensFileError> {
        let Some(bytes) = read_private(&self.path, FILE_BYTES_MAX)? else { return Ok(None) };
        let FileContents { version, secret, latest, tokens } = decode_body(&bytes)?;
        if version != VERSION {
            return Err(TokensFileError::Version);
        }
        Ok(Some(Former { secret: ProofSecret::new(*secret), latest, tokens }))
    }

    /// Writes changes, for as long as it is polled.
    pub(crate) async fn keep(self, registry: RegistryHandle) {
        loop {
            registry.tokens_changed().await;
            self.write(&registry, false).await;
            sleep(WRITE_PAUSE).await;
        }
    }

    /// Writes the final contents, and nothing after that.
    pub(crate) async fn write_last(&self, registry: &RegistryHandle) {
        self.write(registry, true).await;
    }

    /// Writes the first contents immediately.
    pub(crate) fn write_first(&self, registry: &RegistryHandle) {
        self.complain(self.write_now(registry, false));
    }

    async fn write(&self, registry: &RegistryHandle, is_last: bool) {
        let (file, registry) = (self.clone(), registry.clone());
        let written = spawn_blocking(move || file.write_now(&registry, is_last)).await;
        // The task does not run at all if the runtime ends.
        self.complain(written.unwrap_or(Ok(())));
    }

    fn complain(&self, written: io::Result<()>) {
        if let Err(error) = written {
            let file = self.path.display();
            warn!("cannot write to `{file}`, so a restart takes all for newcomers: {error}");
        }
    }

    fn write_now(&self, registry: &RegistryHandle, is_last: bool) -> io::Result<()> {
        let mut is_final = self.is_final.lock().expect("nothing panics while it holds the lock");
        let now_ms = registry.now_ms();
        let former = registry.read(|it| it.former(now_ms));
        let Some(former) = former.filter(|_| !*is_final) else { return Ok(()) };
        *is_final = is_last;
        let Former { secret, latest, mut tokens } = former;
        tokens.truncate(TOKENS_MAX);
        let secret = ByteArray::new(secret.to_bytes());
        let written = FileContents { version: VERSION, secret, latest, tokens };
        write_private(&self.path, &encode_body(&written))
    }
}

/// The form of the file. A node accepts no other.
const VERSION: u32 = 1;

/// The most tokens to write: far more names than anybody has rules for.
const TOKENS_MAX: usize = 100_000;

/// The largest size of the file: nine bytes a token.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// The least time between two writings.
const WRITE_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    use super::*;

    #[test]
    fn the_file_is_trusted_if_only_this_user_can_have_written_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokensFile::new(folder.path().join("callsign/tokens"));
        let drawn = file.read();
        assert_eq!((drawn.latest, drawn.tokens), (0, Vec::new()));
        let written = |version| {
            let secret = ByteArray::new([7; 32]);
            encode_body(&FileContents { version, secret, latest: 9, tokens: vec![8, 5] })
        };
        let whole = written(VERSION);
        write_private(&file.path, &whole).unwrap();
        let read = file.read();
        assert_eq!((read.secret.to_bytes(), read.latest, read.tokens), ([7; 32], 9, vec![8, 5]));

        let is_believed = || {
            let Former { secret, latest, .. } = file.read();
            assert_eq!(latest == 9, secret.to_bytes() == [7; 32]);
            latest == 9
        };
        for torn in [&whole[..whole.len() - 1], &whole[..7], b"", b"\xc1", &written(2)] {
            fs::write(&file.path, torn).unwrap();
            assert!(!is_believed(), "{torn:?}");
        }
        fs::write(&file.path, vec![0; FILE_BYTES_MAX + 1]).unwrap();
        assert!(!is_believed());
        fs::write(&file.path, &whole).unwrap();
        assert!(is_believed());
        for mode in [0o640, 0o602] {
            fs::set_permissions(&file.path, Permissions::from_mode(mode)).unwrap();
            assert!(!is_believed(), "{mode:o}");
        }
        fs::set_permissions(&file.path, Permissions::from_mode(0o600)).unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&file.path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &file.path).unwrap();
        assert!(!is_believed(), "a link");
        // It replaces the link, and not the link's target.
        write_private(&file.path, &whole).unwrap();
        assert!(is_believed());
        assert!(fs::symlink_metadata(&file.path).unwrap().is_file());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file.path, Some(7), None).unwrap();
            assert!(!is_believed(), "another user's");
        }
    }
}
