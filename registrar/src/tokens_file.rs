//! What outlives a node: by which tokens names were had, and the secret by which it knows those again
//! who had them.
//!
//! Who comes back says that he had a name before, which anybody could. So each holder is given what
//! only this registrar can have made, and it is made of a secret that stands in a file which nobody
//! else may read. Without that file all are newcomers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tracing::warn;
use transport::{PrivateFileError, beside, read_private, write_private};
use wire::{ProofSecret, decode_body, encode_body};

use crate::{
    RegistryHandle,
    meter::thread_time,
    registry::{Account, Former, TokenChanges},
};

/// The file of one node. Clones are handles of the same.
#[derive(Clone, Debug)]
pub(crate) struct TokensFile {
    path: PathBuf,
    /// What is to be written yet, in order.
    changes: Arc<Mutex<Vec<TokenChanges>>>,
    written: Arc<Mutex<KnownTokens>>,
    /// Whether it has been reported that nothing can be written.
    is_failing: Arc<AtomicBool>,
}

/// Nothing is written once this is dropped, which waits for the write that goes on: whoever runs in
/// this node's place from then on has the file for itself.
#[derive(Debug)]
pub(crate) struct OpenFile(TokensFile);

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.0.contents().is_final = true;
    }
}

/// The tokens by which names are had, as far as they were written or are about to be.
#[derive(Debug, Default)]
struct KnownTokens {
    /// The tokens of the run before by which somebody may still come back.
    former: BTreeSet<u64>,
    held: BTreeMap<u64, Account>,
    /// Whether the file is not to change any more.
    is_final: bool,
}

/// The work of a write.
#[derive(Debug, Default)]
struct WriteCost {
    /// The processor time.
    ran: Duration,
    /// Who has changed how much.
    by: HashMap<Account, u32>,
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
        Self { path, changes: Arc::default(), written: Arc::default(), is_failing: Arc::default() }
    }

    /// Returns the record of the former run. Untrustworthy contents are ignored, with a warning.
    pub(crate) fn read(&self) -> Former {
        let written = self.written().unwrap_or_else(|error| {
            let file = self.path.display();
            warn!(
                "cannot use `{file}`: after this restart, holders of exclusive names do not get \
                 them back first: {error}"
            );
            None
        });
        let former = written.unwrap_or_else(|| Former {
            secret: ProofSecret::new(transport::random_bytes()),
            latest: 0,
            tokens: Vec::new(),
        });
        self.contents().former = former.tokens.iter().copied().collect();
        former
    }

    fn written(&self) -> Result<Option<Former>, TokensFileError> {
        let Some(bytes) = read_private(&self.path, FILE_BYTES_MAX)? else { return Ok(None) };
        let FileContents { version, secret, latest, tokens } = decode_body(&bytes)?;
        if version != VERSION {
            return Err(TokensFileError::Version);
        }
        Ok(Some(Former { secret: ProofSecret::new(*secret), latest, tokens }))
    }

    /// Writes changes, for as long as it is polled: one write at a time, of all changes until then.
    pub(crate) async fn keep(self, registry: RegistryHandle) {
        loop {
            registry.tokens_changed().await;
            let began = Instant::now();
            self.write(&registry, false).await;
            sleep(WRITE_PAUSE.max(10 * began.elapsed())).await;
        }
    }

    /// Writes the final contents, and nothing after that.
    pub(crate) async fn write_last(&self, registry: &RegistryHandle) {
        self.write(registry, true).await;
    }

    /// Returns what ends the writing when it is dropped.
    pub(crate) fn open(&self) -> OpenFile {
        OpenFile(self.clone())
    }

    /// Writes the first contents immediately.
    pub(crate) fn write_first(&self, registry: &RegistryHandle) {
        self.take_changes(registry);
        self.noted(self.write_now(false));
    }

    async fn write(&self, registry: &RegistryHandle, is_last: bool) {
        self.take_changes(registry);
        let file = self.clone();
        let written = match beside("tokens", move || file.write_now(is_last)).await {
            Ok(written) => written,
            // All sessions wait for this disk for once, rather than that nothing is written.
            Err(_) => self.write_now(is_last),
        };
        if let Some(WriteCost { ran, by }) = self.noted(written) {
            let all = by.values().sum::<u32>().max(1);
            for (account, count) in by {
                registry.charge(account, ran * count / all);
            }
        }
    }

    /// Takes what has changed, which is little. The tokens of all are known here.
    fn take_changes(&self, registry: &RegistryHandle) {
        let now_ms = registry.now_ms();
        let changes = registry.with(|it| it.take_token_changes(now_ms));
        self.changes().extend(changes);
    }

    /// Reports the first of several failures, and the end of them.
    fn noted(&self, written: io::Result<Option<WriteCost>>) -> Option<WriteCost> {
        let file = self.path.display();
        match written {
            Ok(None) => None,
            Ok(Some(cost)) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    warn!("`{file}` is written again");
                }
                Some(cost)
            }
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    warn!(
                        "cannot write to `{file}`: after a restart, holders of exclusive names do not \
                         get them back first: {error}"
                    );
                }
                None
            }
        }
    }

    /// Writes what has changed; `None` if nothing has.
    fn write_now(&self, is_last: bool) -> io::Result<Option<WriteCost>> {
        let began = thread_time();
        let mut contents = self.contents();
        let changes = std::mem::take(&mut *self.changes());
        let Some((secret, latest)) = changes.last().map(|it| (it.secret.clone(), it.latest)) else {
            return Ok(None);
        };
        if contents.is_final {
            return Ok(None);
        }
        contents.is_final = is_last;
        let mut by = HashMap::new();
        for change in changes {
            change.changed.values().for_each(|it| *by.entry(it.account).or_default() += 1);
            contents.apply(change);
        }
        let secret = ByteArray::new(secret.to_bytes());
        let tokens = contents.tokens(TOKENS_MAX);
        let written = FileContents { version: VERSION, secret, latest, tokens };
        write_private(&self.path, &encode_body(&written))?;
        Ok(Some(WriteCost { ran: thread_time().saturating_sub(began), by }))
    }

    fn contents(&self) -> MutexGuard<'_, KnownTokens> {
        self.written.lock().expect("nothing panics while it holds the lock")
    }

    fn changes(&self) -> MutexGuard<'_, Vec<TokenChanges>> {
        self.changes.lock().expect("nothing panics while it holds the lock")
    }
}

impl KnownTokens {
    fn apply(&mut self, TokenChanges { changed, spent, is_settling, .. }: TokenChanges) {
        for (token, change) in changed {
            if change.is_held {
                self.held.insert(token, change.account);
            } else {
                self.held.remove(&token);
            }
        }
        for token in spent {
            self.former.remove(&token);
        }
        if !is_settling {
            self.former.clear();
        }
    }

    /// Returns at most so many tokens. If there are more, each owner has its share, and those with
    /// fewer have all of theirs; so have the holders of the run before together.
    fn tokens(&self, max: usize) -> Vec<u64> {
        let all = self.held.iter().map(|(token, account)| (*token, Some(*account)));
        let all = all.chain(self.former.iter().map(|token| (*token, None)));
        if self.held.len() + self.former.len() <= max {
            return all.map(|(token, _)| token).collect();
        }
        let mut counts = HashMap::<_, usize>::new();
        all.clone().for_each(|(_, owner)| *counts.entry(owner).or_default() += 1);
        let share = share_of(counts.into_values().collect(), max);
        let mut taken = HashMap::<_, usize>::new();
        let has_room = |(_, owner): &(u64, Option<Account>)| {
            let taken = taken.entry(*owner).or_default();
            *taken += 1;
            *taken <= share
        };
        all.filter(has_room).map(|(token, _)| token).collect()
    }
}

/// Returns how much each may have at most of what all want so much of.
fn share_of(mut wanted: Vec<usize>, max: usize) -> usize {
    wanted.sort_unstable();
    let (mut left, mut share) = (max, max);
    let mut sharing = wanted.len();
    for wanted in wanted {
        share = left / sharing;
        if wanted > share {
            break;
        }
        left -= wanted;
        sharing -= 1;
    }
    share
}

/// The form of the file. A node accepts no other.
const VERSION: u32 = 1;

/// The most tokens to write, of which each owner has a share: far more names than anybody has rules
/// for.
const TOKENS_MAX: usize = 100_000;

/// The largest size of the file: nine bytes a token.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// The least time between two writings; it is ten times as long as a write takes, if that is more.
const WRITE_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    use uuid::Uuid;
    use wire::registrar::Register;

    use super::*;
    use crate::{
        LocalClient,
        registry::{Grantee, Limits, NameRule, NameRules, Names, Owner, TokenChange},
    };

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

    #[test]
    fn each_owner_has_its_share_of_the_tokens() {
        let check = |wanted: &[usize], expected| assert_eq!(share_of(wanted.into(), 100), expected);
        check(&[101], 100);
        check(&[200, 60], 50);
        check(&[20, 90], 80);
        check(&[500, 1, 500], 49);
        check(&[200; 3], 33);
        let held = (0..400).map(|token| (token, Account::User(token as u32 % 2)));
        let mut contents = KnownTokens { held: held.collect(), ..KnownTokens::default() };
        contents.held.extend((400..410).map(|token| (token, Account::User(7))));
        contents.former.extend(500..505);
        let tokens = contents.tokens(100);
        assert_eq!(tokens.len(), 99);
        let of_many = tokens.iter().filter(|it| **it < 400).count();
        assert!(
            (400..410).chain(500..505).all(|it| tokens.contains(&it)),
            "those of few are there"
        );
        assert_eq!(of_many, 2 * 42);
        assert_eq!(contents.tokens(415).len(), 415);
    }

    #[test]
    fn the_file_follows_the_changes_one_write_for_all_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokensFile::new(folder.path().join("callsign/tokens"));
        let path = file.path.clone();
        drop(file.read());
        file.contents().former.extend([1, 2]);
        let change = |changed: &[(u64, bool)], spent: &[u64], latest, is_settling| {
            let account = Account::User(7);
            let changed = changed
                .iter()
                .map(|(it, is_held)| (*it, TokenChange { account, is_held: *is_held }));
            TokenChanges {
                secret: ProofSecret::new([7; 32]),
                latest,
                changed: changed.collect(),
                spent: spent.into(),
                is_settling,
            }
        };
        let written = || {
            let Former { latest, tokens, .. } = TokensFile::new(path.clone()).read();
            (latest, tokens)
        };
        file.changes().push(change(&[(8, true)], &[], 8, true));
        file.changes().push(change(&[(8, false), (9, true)], &[1], 9, true));
        let WriteCost { by, .. } = file.write_now(false).unwrap().unwrap();
        assert_eq!(by, HashMap::from([(Account::User(7), 3)]));
        assert_eq!(written(), (9, vec![9, 2]));
        assert!(file.write_now(false).unwrap().is_none(), "there is nothing to write");
        file.changes().push(change(&[(10, true)], &[], 10, false));
        file.write_now(true).unwrap().unwrap();
        assert_eq!(written(), (10, vec![9, 10]));
        file.changes().push(change(&[(11, true)], &[], 11, false));
        assert!(file.write_now(false).unwrap().is_none());
        assert_eq!(written(), (10, vec![9, 10]), "it was the last");
    }

    #[test]
    fn nothing_is_written_for_a_node_that_was_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokensFile::new(folder.path().join("callsign/tokens"));
        let open = file.open();
        let change = || {
            let secret = ProofSecret::new([7; 32]);
            TokenChanges {
                secret,
                latest: 1,
                changed: [].into(),
                spent: [].into(),
                is_settling: true,
            }
        };
        file.changes().push(change());
        assert!(file.write_now(false).unwrap().is_some());
        file.changes().push(change());
        drop(open);
        assert!(file.write_now(false).unwrap().is_none());
    }

    /// Of however many tokens there are, those of a change alone are taken from the registry.
    #[test]
    fn what_is_taken_from_the_registry_is_what_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokensFile::new(folder.path().join("callsign/tokens"));
        let registry = RegistryHandle::unattended(Limits::default());
        let take = || registry.with(|it| it.take_token_changes(registry.now_ms()));
        registry.with(|it| it.resume(file.read()));
        assert!(take().is_none(), "no name is of one instance at a time");
        let rule = NameRule {
            pattern: "leader*".parse().unwrap(),
            register: Some(vec![Grantee::Any]),
            find: None,
            exclusive: true,
            instances_max: None,
            place: String::new(),
        };
        registry.set_rules(NameRules::new(Names::Open, String::new(), vec![rule]));
        let owner = LocalClient::open(registry.clone(), Owner::User(7));
        let lead = |number: u128| {
            let name = format!("leader-{number}").parse().unwrap();
            owner.register(Register::new(name, Uuid::from_u128(number))).unwrap();
        };
        (1..=300).for_each(lead);
        file.write_first(&registry);
        assert_eq!(file.contents().held.len(), 300);
        owner.unregister_all(vec![Uuid::from_u128(7)]).unwrap();
        lead(301);
        let changed: Vec<_> = take().unwrap().changed.into_values().collect();
        let account = Account::User(7);
        let change = |is_held| TokenChange { account, is_held };
        assert_eq!(changed, [change(false), change(true)]);
        lead(301);
        assert!(take().unwrap().changed.is_empty(), "it has its name already");
    }
}
