//! Removal of the socket files of killed actors.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use endpoints::{Endpoint, UnixAddress, UnixPath};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::child::places;

/// Returns the socket among endpoints that has a file.
pub(crate) fn file(endpoint: &Endpoint) -> Option<&UnixPath> {
    match endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => Some(path),
        _ => None,
    }
}

/// Returns the drawn sockets beside those of `endpoints` that children of `parents` have bound. An
/// actor killed with its parent may not have been registered.
pub(crate) fn drawn_below<'a>(
    parents: impl Iterator<Item = Uuid>,
    endpoints: impl Iterator<Item = &'a Endpoint>,
) -> BTreeSet<UnixPath> {
    let marks: BTreeSet<_> = parents.map(places::mark).collect();
    let mut found = BTreeSet::new();
    for folder in folders(endpoints) {
        let is_below = |_: &Path, parent: &str| marks.contains(parent);
        found.extend(drawn(&folder, is_below));
    }
    found
}

/// Removes dead sockets, and returns those that are still there.
pub(crate) async fn remove_dead(sockets: BTreeSet<UnixPath>) -> BTreeSet<UnixPath> {
    let mut left = BTreeSet::new();
    for socket in sockets {
        match transport::remove_dead_socket(&socket).await {
            Ok(()) if is_there(&socket) => drop(left.insert(socket)),
            Ok(()) => {}
            Err(error) => {
                let path = socket.as_str();
                tracing::warn!(target: "callsign", %error, path, "a socket is left behind");
            }
        }
    }
    left
}

/// Removes sockets of actors that are about to end, once they have. One that takes longer has a
/// watchdog that removes them.
pub(crate) async fn remove_when_dead(mut sockets: BTreeSet<UnixPath>) {
    let (begun, mut pause) = (Instant::now(), LOOK_MIN);
    while begun.elapsed() < ORPHAN_WAIT {
        sleep(pause).await;
        pause = (2 * pause).min(LOOK_MAX);
        sockets = remove_dead(sockets).await;
        if sockets.is_empty() {
            return;
        }
    }
}

/// Removes what trees that were killed with their roots have left behind in the folders of
/// `endpoints`: dead sockets at places that were drawn, if they are this user's and have been there
/// for a while. A socket that was bound a moment ago may not be listened on yet.
pub(crate) async fn remove_forsaken(endpoints: &[Endpoint]) {
    let mut found = BTreeSet::new();
    for folder in folders(endpoints.iter()) {
        found.extend(drawn(&folder, |file, _| is_old(file)));
    }
    if found.is_empty() {
        return;
    }
    // It lists every socket of this network namespace, as it was bound, so that live ones are not
    // even dialed. Any other may belong to another namespace, and stays.
    let bound = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let bound: BTreeSet<_> = bound.lines().filter_map(|line| line.split(' ').next_back()).collect();
    let is_forsaken = |it: &UnixPath| !bound.contains(it.as_str());
    let forsaken: BTreeSet<_> = found.into_iter().filter(is_forsaken).take(FORSAKEN_MAX).collect();
    let looked_at = forsaken.len();
    let left = remove_dead(forsaken).await;
    let removed = looked_at - left.len();
    if removed > 0 {
        tracing::info!(target: "callsign", removed, "sockets of trees that were killed are removed");
    }
}

fn folders<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> BTreeSet<PathBuf> {
    endpoints.filter_map(|it| Some(file(it)?.as_path().parent()?.to_owned())).collect()
}

/// Returns the drawn sockets in a folder; `is_wanted` gets the file and the mark of the parent.
fn drawn(folder: &Path, is_wanted: impl Fn(&Path, &str) -> bool) -> BTreeSet<UnixPath> {
    let mut found = BTreeSet::new();
    // A folder that is gone contains nothing.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(ENTRIES_MAX) {
        let name = entry.file_name();
        let Some((socket, parent)) = name.to_str().and_then(places::read) else { continue };
        if is_wanted(&entry.path(), parent) {
            found.extend(UnixPath::new(&folder.join(socket)));
        }
    }
    found
}

fn is_there(socket: &UnixPath) -> bool {
    fs::symlink_metadata(socket.as_path()).is_ok()
}

/// Tells whether a socket or a lock is this user's, and was made some time ago.
fn is_old(file: &Path) -> bool {
    let Ok(status) = fs::symlink_metadata(file) else { return false };
    let is_ours = status.uid() == rustix::process::geteuid().as_raw();
    let kind = status.file_type();
    let age = status.modified().ok().and_then(|it| SystemTime::now().duration_since(it).ok());
    is_ours && (kind.is_socket() || kind.is_file()) && age.is_some_and(|age| age >= OLD)
}

/// The wait for an orphaned actor whose socket is to be removed. One that was killed with its
/// parent disappears in milliseconds.
const ORPHAN_WAIT: Duration = Duration::from_secs(2);

/// The first pause between two looks at it.
const LOOK_MIN: Duration = Duration::from_millis(2);

/// The longest pause between two looks at it.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// The age at which a socket counts as forsaken. Binding and listening are microseconds apart, and
/// a child that takes longer than 10 s to listen is killed.
const OLD: Duration = Duration::from_secs(60);

/// The most entries of a folder to read: those of the largest tree.
const ENTRIES_MAX: usize = 131_072;

/// The most forsaken sockets that a starting root removes: it takes some milliseconds. The next
/// root removes more.
const FORSAKEN_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A root must not remove a socket that is in use or about to be, nor one that is not an
    /// actor's.
    #[tokio::test]
    async fn only_what_is_forsaken_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let names = ["dead-00000000-00000001.sock", "fresh-00000000-00000002.sock", "other.sock"];
        names.iter().for_each(|it| drop(UnixListener::bind(at(it)).unwrap()));
        let _alive = UnixListener::bind(at("alive-00000000-00000003.sock")).unwrap();
        fs::write(at("lock-00000000-00000004.sock.lock"), "").unwrap();
        fs::write(at("file-00000000-00000005.sock"), "").unwrap();
        for entry in fs::read_dir(folder.path()).unwrap().flatten() {
            if !entry.file_name().to_string_lossy().starts_with("fresh") {
                age(&entry.path());
            }
        }
        let own = format!("/unix{}", at("base.sock").display()).parse().unwrap();
        remove_forsaken(&[own]).await;
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "alive-00000000-00000003.sock",
                "file-00000000-00000005.sock",
                "fresh-00000000-00000002.sock",
                "other.sock",
            ]
        );
    }

    fn age(path: &Path) {
        let at = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: at, last_modification: at };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
    }
}
