//! The ledger: a record of registered programs that outlives the node, because tractor programs
//! register only once.
//!
//! ```text
//! {"version":1,"kernel":…}
//! {"name":"feed","uuid":…,"endpoints":[…],"metadata":{…},"owner":{"user":1000},"pid":7,…}
//! …
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use endpoints::{KernelId, Name, Stamped};
use registrar::registry::{Account, Owner};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::warn;
use transport::{
    PrivateFileError, ProcessMark, here_for, read_private, remove_private, write_private,
};
use uuid::Uuid;
use wire::Epoch;

/// The file of one node.
#[derive(Debug)]
pub(super) struct Ledger {
    file: PathBuf,
    /// Whether it has been reported that nothing can be written.
    is_failing: AtomicBool,
}

/// A registered program, as it is written down.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub(super) struct LedgerEntry {
    pub(super) name: Name,
    pub(super) uuid: Uuid,
    pub(super) endpoints: Vec<Stamped>,
    pub(super) metadata: BTreeMap<String, String>,
    owner: Registrant,
    pid: i32,
    started: u64,
    /// Its registration: the later has the higher one.
    #[serde(default)]
    epoch: Epoch,
    /// When it was registered, in milliseconds since 1970; 0 if that is unknown.
    #[serde(default)]
    pub(super) since_ms: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Registrant {
    User(u32),
    Host(IpAddr),
}

#[derive(Debug, Deserialize, Serialize)]
struct Title {
    version: u32,
    /// Process numbers and start times are meaningless under another kernel.
    kernel: Option<KernelId>,
}

impl LedgerEntry {
    /// Records a program; `None` for one in the node's own process, which ends with it, and for one
    /// with an unknown user: only its connection identifies it, which ends as well.
    pub(super) fn new(
        (name, uuid, epoch, since_ms): (Name, Uuid, Epoch, u64),
        endpoints: Vec<Stamped>,
        metadata: BTreeMap<String, String>,
        owner: Owner,
        process: ProcessMark,
    ) -> Option<Self> {
        let owner = match owner {
            Owner::User(user) => Registrant::User(user),
            Owner::Host(address) => Registrant::Host(address),
            // It cannot be recognised after a restart.
            _ => return None,
        };
        let ProcessMark { pid, started } = process;
        Some(Self { name, uuid, endpoints, metadata, owner, pid, started, epoch, since_ms })
    }

    /// Returns the owner of the registration.
    pub(super) fn owner(&self) -> Owner {
        match self.owner {
            Registrant::User(user) => Owner::User(user),
            Registrant::Host(address) => Owner::Host(address),
        }
    }

    /// Returns its process.
    pub(super) fn process(&self) -> ProcessMark {
        ProcessMark { pid: self.pid, started: self.started }
    }
}

impl Ledger {
    /// Takes the path of the file, in a folder of the user's own. The folder is made when there is
    /// something to write.
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, is_failing: AtomicBool::new(false) }
    }

    /// Reads the records of an earlier run about programs that still run, the earliest first: of several
    /// with one name the newest stays that. Untrustworthy ones are left out, with a warning.
    pub(super) fn read(&self) -> Vec<LedgerEntry> {
        match read(&self.file) {
            Ok(mut lines) => {
                lines.retain(|it| it.process().is_current());
                lines.sort_by_key(|it| it.epoch);
                lines
            }
            Err(error) => {
                let file = self.file.display();
                warn!("what `{file}` says of tractor programs is not trusted: {error}");
                Vec::new()
            }
        }
    }

    /// Replaces the file by the present registrations. The first of several failures is reported,
    /// and the end of them.
    pub(super) fn write(&self, lines: impl Iterator<Item = LedgerEntry>) {
        let file = self.file.display();
        match write(&self.file, lines) {
            Ok(false) => {}
            Ok(true) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    warn!("`{file}` is written again");
                }
            }
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    warn!(
                        "cannot write to `{file}`, so a restart forgets tractor programs: {error}"
                    );
                }
            }
        }
    }
}

#[derive(Debug, Error)]
enum LedgerError {
    #[error("it is not text")]
    NotText,
    #[error("line {line} cannot be read: {source}")]
    Line { line: usize, source: serde_json::Error },
    #[error("it has another version")]
    Version,
    #[error(transparent)]
    Unbelievable(#[from] PrivateFileError),
}

fn read(path: &Path) -> Result<Vec<LedgerEntry>, LedgerError> {
    let Some(bytes) = read_private(path, FILE_BYTES_MAX)? else { return Ok(Vec::new()) };
    let text = String::from_utf8(bytes).map_err(|_| LedgerError::NotText)?;

    fn parse<'a, T: Deserialize<'a>>(line: usize, text: &'a str) -> Result<T, LedgerError> {
        serde_json::from_str(text).map_err(|source| LedgerError::Line { line, source })
    }
    let mut lines = text.lines();
    let title: Title = parse(1, lines.next().unwrap_or_default())?;
    if title.version != VERSION {
        return Err(LedgerError::Version);
    }
    if title.kernel.is_none() || title.kernel != here_for([]).kernel {
        // This host has been restarted since.
        return Ok(Vec::new());
    }
    lines.enumerate().map(|(at, line)| parse(at + 2, line)).collect()
}

/// Writes the file, or removes it if there are no lines. Tells whether it is there.
fn write(path: &Path, lines: impl Iterator<Item = LedgerEntry>) -> io::Result<bool> {
    let title = Title { version: VERSION, kernel: here_for([]).kernel };
    let mut text = serde_json::to_string(&title)? + "\n";
    let title_bytes = text.len();
    text += &share_room(lines, FILE_BYTES_MAX - text.len())?;
    if text.len() == title_bytes {
        return remove_private(path).map(|()| false);
    }
    write_private(path, text.as_bytes()).map(|()| true)
}

/// Writes lines into the given room. Owners with more lines than others lose some, the longest
/// first: no owner's lines displace another's.
fn share_room(
    lines: impl Iterator<Item = LedgerEntry>,
    mut room: usize,
) -> Result<String, serde_json::Error> {
    #[derive(Default)]
    struct OfOwner {
        lines: Vec<String>,
        bytes: usize,
        left_out: usize,
    }
    let mut of_owners: HashMap<Account, OfOwner> = HashMap::new();
    for line in lines {
        let of_owner = of_owners.entry(line.owner().account()).or_default();
        let line = serde_json::to_string(&line)? + "\n";
        if of_owner.bytes + line.len() > room {
            of_owner.left_out += 1;
            continue;
        }
        of_owner.bytes += line.len();
        of_owner.lines.push(line);
    }
    let mut of_owners: Vec<_> = of_owners.into_iter().collect();
    of_owners.sort_unstable_by_key(|(owner, it)| (it.bytes, *owner));
    let mut text = String::new();
    let mut owners = of_owners.len();
    for (owner, OfOwner { mut lines, mut left_out, .. }) in of_owners {
        // Room that a small owner does not need goes to the others.
        let mut share = room / owners;
        owners -= 1;
        lines.sort_unstable_by_key(String::len);
        for line in lines {
            match share.checked_sub(line.len()) {
                Some(rest) => share = rest,
                None => {
                    left_out += 1;
                    continue;
                }
            }
            room -= line.len();
            text += &line;
        }
        if left_out > 0 {
            warn!(
                "{left_out} tractor programs of {owner} have no room in {FILE_BYTES_MAX} bytes; \
                 a restart forgets them"
            );
        }
    }
    Ok(text)
}

/// The form of the file. A node believes no other.
const VERSION: u32 = 1;

/// The largest size of the file: some hundred bytes for each of a registry's foreign instances.
const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    use super::*;

    fn line(name: &str, process: ProcessMark) -> LedgerEntry {
        let endpoint = "/ip4/127.0.0.1/tcp/7".parse().unwrap();
        let instance = (Name::new(name).unwrap(), Uuid::from_u128(7), 7, 1);
        let endpoints = vec![Stamped { stamp: transport::stamp(&endpoint), endpoint }];
        LedgerEntry::new(instance, endpoints, BTreeMap::new(), Owner::User(7), process).unwrap()
    }

    fn own() -> ProcessMark {
        ProcessMark::of(std::process::id() as i32).unwrap()
    }

    #[test]
    fn entries_are_read_back_while_their_processes_live() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callsign/programs");
        let ledger = Ledger::new(path.clone());
        assert_eq!(ledger.read(), []);
        let earlier = ProcessMark { started: own().started - 1, ..own() };
        let nobody = ProcessMark { pid: i32::MAX, ..own() };
        let lines = [line("feed", own()), line("earlier", earlier), line("nobody", nobody)];
        ledger.write(lines.clone().into_iter());
        assert_eq!(ledger.read(), lines[..1]);
        assert_eq!(ledger.read()[0].owner(), Owner::User(7));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        // A draft that was left behind does no harm.
        fs::write(path.with_extension("new"), "half").unwrap();
        ledger.write(lines[..1].iter().cloned());
        assert_eq!(ledger.read().len(), 1);
        // A file that cannot replace the present one is removed: the earlier contents stay.
        let other = Ledger::new(path.with_file_name("folder"));
        fs::create_dir(&other.file).unwrap();
        other.write(lines[..1].iter().cloned());
        assert!(!other.file.with_extension("new").exists());
        fs::remove_dir(&other.file).unwrap();
        ledger.write(std::iter::empty());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0, "nothing stays");
    }

    /// They were read in any order, so that another one was the newest after each restart.
    #[test]
    fn the_newest_of_a_name_stays_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path().join("callsign/programs"));
        let of = |epoch: Epoch, bytes: usize| {
            let instance = (Name::new("feed").unwrap(), Uuid::from_u128(epoch.into()), epoch, 1);
            let metadata = BTreeMap::from([("at".to_owned(), "x".repeat(bytes))]);
            LedgerEntry::new(instance, Vec::new(), metadata, Owner::User(7), own()).unwrap()
        };
        ledger.write([of(3, 1), of(1, 9), of(2, 5)].into_iter());
        let read: Vec<_> = ledger.read().iter().map(|it| it.epoch).collect();
        assert_eq!(read, [1, 2, 3]);
    }

    #[test]
    fn one_owners_programs_do_not_push_out_anothers() {
        let of = |user, name: &str, bytes: usize| {
            let name = (Name::new(name).unwrap(), Uuid::from_u128(7), 7, 1);
            let metadata = BTreeMap::from([("uuid".to_owned(), "u".repeat(bytes))]);
            LedgerEntry::new(name, Vec::new(), metadata, Owner::User(user), own()).unwrap()
        };
        let written = |lines: &[LedgerEntry], room| {
            let text = share_room(lines.iter().cloned(), room).unwrap();
            assert!(text.len() <= room);
            let names: Vec<_> = text
                .lines()
                .map(|it| serde_json::from_str::<LedgerEntry>(it).unwrap().name.to_string())
                .collect();
            names
        };
        let mut lines = vec![of(7, "small", 1)];
        lines.extend((0..100).map(|it| of(7, &format!("big-{it}"), 2000)));
        let alone = written(&lines, 50_000);
        assert_eq!(alone[0], "small");
        assert!((20..25).contains(&alone.len()), "one alone has all of it: {alone:?}");
        lines.extend((0..4).map(|it| of(8, &format!("mine-{it}"), 2000)));
        lines.push(of(9, "feed", 1));
        let shared = written(&lines, 50_000);
        assert_eq!(shared[..5], ["feed", "mine-0", "mine-1", "mine-2", "mine-3"]);
        assert_eq!(shared[5], "small");
        assert!(shared.len() > 20, "and what others do not need: {shared:?}");
        // One owner has at most half if another has as much.
        lines.extend((0..100).map(|it| of(8, &format!("mine-{it}"), 2000)));
        let halves = written(&lines, 50_000);
        let mine = halves.iter().filter(|it| it.starts_with("mine")).count();
        assert!((9..13).contains(&mine), "{halves:?}");
    }

    #[test]
    fn implausible_entries_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callsign/programs");
        let ledger = Ledger::new(path.clone());
        ledger.write([line("feed", own())].into_iter());
        let whole = fs::read_to_string(&path).unwrap();
        let check = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            ledger.read().len()
        };
        assert_eq!(check(&whole, 0o600), 1);
        assert_eq!(check(&whole, 0o644), 0, "others may read it");
        assert_eq!(check(&whole, 0o620), 0, "others may write it");
        assert_eq!(check(&whole[..whole.len() - 9], 0o600), 0, "torn");
        assert_eq!(check("", 0o600), 0);
        assert_eq!(check("\0\u{fffd}", 0o600), 0);
        assert_eq!(check(&whole.replace("\"version\":1", "\"version\":2"), 0o600), 0);
        let (_, programs) = whole.split_once('\n').unwrap();
        let other = format!("{{\"version\":1,\"kernel\":null}}\n{programs}");
        assert_eq!(check(&other, 0o600), 0, "of no kernel that is known");
        assert_eq!(check(&" ".repeat(FILE_BYTES_MAX + 1), 0o600), 0);

        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(ledger.read(), [], "a link");
        if rustix::process::geteuid().is_root() {
            fs::remove_file(&path).unwrap();
            assert_eq!(check(&whole, 0o600), 1);
            std::os::unix::fs::chown(&path, Some(7), None).unwrap();
            assert_eq!(ledger.read(), [], "another user's");
        }
    }
}
