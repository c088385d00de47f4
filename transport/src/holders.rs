//! The processes that hold a socket.
//!
//! The kernel shows them in `/proc`, with the descriptors of other users' processes only to root. A
//! holder that cannot be seen is unknown; that never means that there is none.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ffi::{OsStr, OsString},
    fmt, fs, io,
    os::unix::ffi::OsStrExt,
    path::Path,
    time::SystemTime,
};

use endpoints::{Endpoint, UnixAddress, UnixPath};
use tokio::net::UnixStream;

use crate::{
    diag::{self, UnixSocket},
    linux::entry_started,
    listening::ListeningSocket,
    numbers::ProcessNumbers,
};

/// A process, told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Process {
    /// Its number in `/proc`.
    pid: i32,
    /// In clock ticks since boot.
    started: u64,
}

impl Process {
    /// Returns this very process.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id().cast_signed())
    }

    /// Returns the process that has a number now.
    pub fn of(pid: i32) -> Option<Self> {
        Self::seen(ProcessNumbers::here().ok()?.entry_of(pid)?)
    }

    /// Returns the process that has a number in `/proc` now.
    pub(crate) fn seen(pid: i32) -> Option<Self> {
        Some(Self { pid, started: entry_started(pid)? })
    }

    /// Returns its number, as `/proc` shows it.
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// Tells whether it is stopped, by a signal or a debugger: nobody hears of it until it goes on.
    pub fn is_stopped(self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = status.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next());
        matches!(state, Some('T' | 't')) && self.lives()
    }

    /// Returns the name of the file that it executes, without its folder, where that can be seen.
    pub fn executable(self) -> Option<OsString> {
        let path =
            fs::read_link(format!("/proc/{}/exe", self.pid)).ok().filter(|_| self.lives())?;
        let name = path.file_name()?.as_bytes();
        // The file was replaced, as at an upgrade.
        Some(OsStr::from_bytes(name.strip_suffix(b" (deleted)").unwrap_or(name)).to_owned())
    }

    /// Returns its service of a service manager, if it belongs to one.
    pub fn service(self) -> Option<String> {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).ok()?;
        service_of(&groups).filter(|_| self.lives()).map(str::to_owned)
    }

    /// Returns the nearest process that all of these are workers of: each was forked from it,
    /// directly or through others, and none of them has executed a program since, as their places in
    /// memory show. It may have no socket itself, and one worker at the moment.
    pub fn master_of(workers: &[Self]) -> Option<Self> {
        let [first, others @ ..] = workers else { return None };
        let others: Vec<_> = others.iter().map(|it| it.masters()).collect();
        first.masters().into_iter().find(|it| others.iter().all(|masters| masters.contains(it)))
    }

    /// Returns the processes that this one was forked from, the nearest first.
    fn masters(self) -> Vec<Self> {
        let image = image_of(self.pid);
        let mut masters: Vec<Self> = Vec::new();
        while image.is_some() && masters.len() < MASTERS_MAX {
            let below = masters.last().map_or(self.pid, |it| it.pid);
            let above = parent_of(below).filter(|it| image_of(*it) == image).and_then(Self::seen);
            let Some(above) = above else { break };
            masters.push(above);
        }
        masters
    }

    fn lives(self) -> bool {
        entry_started(self.pid) == Some(self.started)
    }
}

/// Finds the innermost service among the control groups of a process. A group shared by all
/// processes of a session or a user manager does not identify one.
fn service_of(groups: &str) -> Option<&str> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let is_service = |it: &&str| it.ends_with(".service") && !it.starts_with("user@");
    paths.filter_map(|path| path.rsplit('/').find(is_service)).next()
}

/// Shows the number and the name, as in `process 77 (redis-server)`.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        match name.trim_end() {
            "" => Ok(()),
            name => write!(f, " ({})", name.escape_debug()),
        }
    }
}

/// The holders of listening sockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// Each is held by one of the given processes, or by a descendant.
    Theirs,
    /// Only other processes hold at least one of them.
    Others(Option<Process>),
    /// Their holders are not visible from here.
    Unknown,
}

/// Tells whether certain processes, or their descendants, hold some sockets.
///
/// A process whose parent has ended descends from init, unless one of its ancestors takes over such
/// children (`PR_SET_CHILD_SUBREAPER`).
///
/// It reads the descriptors of those processes, and those of all others only if they do not hold
/// the sockets.
pub fn whose(sockets: &[ListeningSocket], meant: &[Process]) -> Whose {
    let mut looks_left = LOOKS;
    loop {
        let family = family_of(meant);
        let mut missing: HashSet<u64> = sockets.iter().map(|it| it.inode).collect();
        let within = held_by_any(&mut missing, family.iter().copied(), &mut |_| {});
        if missing.is_empty() {
            return Whose::Theirs;
        }
        // A socket may have gone from parent to child between two looks at the processes.
        looks_left -= 1;
        if looks_left > 0 {
            continue;
        }
        let mut other = None;
        let all = processes().unwrap_or_default();
        let outside = all.into_iter().filter(|it| !family.contains(it));
        held_by_any(&mut missing, outside, &mut |pid| other = Process::of(pid).or(other));
        // A socket without a holder may have closed meanwhile, as when workers that share a port
        // take turns.
        let gone = |it: &u64| !any_listens(&BTreeSet::from([*it]));
        let is_held = missing.len() < sockets.len();
        if other.is_none() && is_held && missing.iter().all(gone) {
            return Whose::Theirs;
        }
        return match (other, within) {
            (Some(_), _) | (None, Seen::All) => Whose::Others(other),
            (None, Seen::Part) => Whose::Unknown,
        };
    }
}

/// Tells whether a process, by its number, is this one or descends from it.
///
/// ```
/// use transport::is_descendant;
///
/// assert!(is_descendant(std::process::id().cast_signed()));
/// assert!(!is_descendant(1) || std::process::id() == 1);
/// ```
pub fn is_descendant(pid: i32) -> bool {
    let (own, other) = (Process::own(), Process::of(pid));
    own.zip(other).is_some_and(|(own, other)| family_of(&[own]).contains(&other.pid))
}

/// Returns the processes that hold any of the sockets, as far as they can be seen from here.
pub fn holders(sockets: &[ListeningSocket]) -> Vec<Process> {
    let mut found = Vec::new();
    let inodes: HashSet<u64> = sockets.iter().map(|it| it.inode).collect();
    for pid in processes().unwrap_or_default() {
        held_by_any(&mut inodes.clone(), [pid], &mut |it| found.extend(Process::of(it)));
    }
    found
}

/// Tells whether one of these sockets, by number, still listens. If the kernel does not say, it
/// does.
pub fn any_listens(inodes: &BTreeSet<u64>) -> bool {
    if inodes.is_empty() {
        return false;
    }
    let is_meant = |it: &UnixSocket| it.is_listening && inodes.contains(&it.inode);
    let tcp =
        diag::all_tcp_listeners().map(|listed| listed.iter().any(|it| inodes.contains(&it.inode)));
    let unix = diag::unix_sockets().map(|listed| listed.iter().any(is_meant));
    tcp.unwrap_or(true) || unix.unwrap_or(true)
}

/// Returns the listeners of certain processes and their descendants, as far as they are visible
/// from here.
///
/// A wildcard address stays one. A socket file is reported where it was bound: it may have been
/// moved since.
pub fn endpoints_of(meant: &[Process]) -> Vec<Endpoint> {
    let tcp = diag::all_tcp_listeners().unwrap_or_default();
    let tcp: HashMap<u64, _> = tcp.into_iter().map(|it| (it.inode, it.address)).collect();
    let unix = diag::unix_sockets().unwrap_or_default();
    let takes_streams =
        |it: &UnixSocket| it.is_listening && i32::from(it.socket_type) == libc::SOCK_STREAM;
    let unix: HashMap<u64, _> =
        unix.into_iter().filter(takes_streams).map(|it| (it.inode, it.name)).collect();
    let mut descriptors_left = DESCRIPTORS_MAX;
    let mut found = BTreeSet::new();
    for pid in family_of(meant) {
        for inode in sockets_of(pid, &mut descriptors_left).unwrap_or_default() {
            if let Some(address) = tcp.get(&inode) {
                found.insert(Endpoint::from(*address));
            }
            found.extend(unix.get(&inode).and_then(|name| endpoint_named(name, pid)));
        }
    }
    found.into_iter().collect()
}

/// Returns the endpoint of a Unix socket by the name to which a process has bound it.
fn endpoint_named(name: &[u8], pid: i32) -> Option<Endpoint> {
    let address = match name.strip_prefix(b"\0") {
        Some(name) => UnixAddress::Abstract(str::from_utf8(name).ok()?.into()),
        None => {
            let path = Path::new(OsStr::from_bytes(name.strip_suffix(b"\0").unwrap_or(name)));
            // A relative path begins in the working directory of the process.
            let base = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            UnixAddress::Path(UnixPath::new(&base.join(path)).ok()?)
        }
    };
    Some(Endpoint::Unix(address))
}

/// Whether all descriptors could be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seen {
    All,
    Part,
}

/// Removes from `wanted` the sockets that any of the processes hold, and names each holder.
fn held_by_any(
    wanted: &mut HashSet<u64>,
    pids: impl IntoIterator<Item = i32>,
    name: &mut dyn FnMut(i32),
) -> Seen {
    let mut seen = Seen::All;
    let mut descriptors_left = DESCRIPTORS_MAX;
    for pid in pids {
        if wanted.is_empty() {
            return Seen::All;
        }
        match sockets_of(pid, &mut descriptors_left) {
            Ok(held) => {
                let before = wanted.len();
                wanted.retain(|it| !held.contains(it));
                if wanted.len() < before {
                    name(pid);
                }
            }
            // A process that ends meanwhile holds nothing.
            Err(error) if is_gone(&error) => {}
            Err(_) => seen = Seen::Part,
        }
    }
    if descriptors_left > 0 { seen } else { Seen::Part }
}

pub(crate) fn sockets_of(pid: i32, left: &mut usize) -> io::Result<HashSet<u64>> {
    let mut held = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.take(*left) {
        *left -= 1;
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let number = target.as_os_str().as_bytes().strip_prefix(b"socket:[");
        let number = number.and_then(|it| it.strip_suffix(b"]"));
        held.extend(number.and_then(|it| str::from_utf8(it).ok()?.parse::<u64>().ok()));
    }
    Ok(held)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Returns the numbers of the live ones, and of all their descendants.
pub(crate) fn family_of(meant: &[Process]) -> HashSet<i32> {
    let mut children = HashMap::<i32, Vec<i32>>::new();
    for pid in processes().unwrap_or_default() {
        children.entry(parent_of(pid).unwrap_or_default()).or_default().push(pid);
    }
    let mut next: Vec<i32> = meant.iter().filter(|it| it.lives()).map(|it| it.pid).collect();
    let mut family = HashSet::new();
    while let Some(pid) = next.pop() {
        if family.insert(pid) {
            next.extend(children.get(&pid).into_iter().flatten());
        }
    }
    family
}

fn parent_of(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name is in parentheses and may contain any character, so the fields are counted
    // from the last one: the third field follows it, and the fourth is wanted.
    let (_, fields) = status.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(4 - 3)?.parse().ok()
}

/// Returns where the program of a process has its code, its stack and its arguments, where that can
/// be seen. The kernel draws the places when a program is executed, and a fork keeps them.
fn image_of(pid: i32) -> Option<[u64; 3]> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = status.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_ascii_whitespace().collect();
    let place = |number: usize| fields.get(number - 3)?.parse().ok().filter(|it| *it > 1);
    Some([place(26)?, place(28)?, place(48)?])
}

/// Returns the numbers of all visible processes.
fn processes() -> io::Result<Vec<i32>> {
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(fs::read_dir("/proc")?.filter_map(number).take(PROCESSES_MAX).collect())
}

/// The number of looks at the processes before a socket counts as another's: a process forked
/// between two looks is seen by the second.
const LOOKS: usize = 2;

/// The most processes above a worker: a master and its helpers are two or three.
const MASTERS_MAX: usize = 8;

/// The most processes to look at: as many as a large host runs.
const PROCESSES_MAX: usize = 65_536;

/// The most descriptors to look at in total: each takes about a microsecond.
pub(crate) const DESCRIPTORS_MAX: usize = 1_000_000;

/// The holder of an endpoint that another process wants to bind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// The number of its process, as that process sees it, unless it is hidden from here.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
    /// The time of its start, if known.
    pub since: Option<SystemTime>,
}

impl Holder {
    /// Returns the holder of listening sockets.
    pub(crate) fn of(sockets: &[ListeningSocket]) -> Option<Self> {
        let uid = sockets.iter().find_map(|it| it.uid)?;
        let pid = holders(sockets).first().map(|it| it.pid());
        Some(Self { pid, uid, since: None })
    }

    /// Returns the listener at the other end of `stream`.
    pub(crate) fn of_peer(stream: &UnixStream) -> Option<Self> {
        let credentials = stream.peer_cred().ok()?;
        let pid = credentials.pid().filter(|pid| *pid != 0);
        Some(Self { pid, uid: credentials.uid(), since: None })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid} of user {}", self.uid)?,
            None => write!(f, "a process of user {}", self.uid)?,
        }
        match self.since {
            Some(since) => write!(f, " since {}", humantime::format_rfc3339_seconds(since)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixListener};

    use super::*;

    #[test]
    fn a_process_listens_where_it_has_bound() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("@own.sock");
        let _by_path = UnixListener::bind(&path).unwrap();
        let by_port = TcpListener::bind("[::1]:0").unwrap();
        let found = endpoints_of(&[Process::own().unwrap()]);
        let of_path = Endpoint::Unix(UnixAddress::Path(UnixPath::new(&path).unwrap()));
        for expected in [of_path, by_port.local_addr().unwrap().into()] {
            assert!(found.contains(&expected), "{expected} is not among {found:?}");
        }
    }

    #[test]
    fn a_process_is_of_its_innermost_service() {
        let check = |groups, expected: Option<&str>| assert_eq!(service_of(groups), expected);
        check("0::/system.slice/nginx.service\n", Some("nginx.service"));
        let of_user = "0::/user.slice/user-7.slice/user@7.service/app.slice/web.service/workers\n";
        check(of_user, Some("web.service"));
        check("3:cpu:/\n1:name=systemd:/system.slice/a:b.service\n0::/\n", Some("a:b.service"));
        check("0::/user.slice/user-7.slice/user@7.service/app.slice/vte-spawn-1.scope\n", None);
        check("0::/user.slice/user-7.slice/session-2.scope\n", None);
        check("0::/\n", None);
        check("", None);
    }

    #[test]
    fn a_socket_listens_until_it_is_closed() {
        let by_port = TcpListener::bind("127.0.0.1:0").unwrap();
        let room = tempfile::tempdir().unwrap();
        let by_path = UnixListener::bind(room.path().join("a.sock")).unwrap();
        let number = |fd: std::os::fd::RawFd| {
            let target = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
            let digits: String =
                target.display().to_string().chars().filter(char::is_ascii_digit).collect();
            digits.parse::<u64>().unwrap()
        };
        let port = BTreeSet::from([number(std::os::fd::AsRawFd::as_raw_fd(&by_port))]);
        let path = BTreeSet::from([number(std::os::fd::AsRawFd::as_raw_fd(&by_path))]);
        assert!(any_listens(&port) && any_listens(&path) && !any_listens(&BTreeSet::new()));
        assert!(any_listens(&port.union(&path).copied().collect()));
        fs::remove_file(room.path().join("a.sock")).unwrap();
        assert!(any_listens(&path), "it listens, though nobody finds it");
        drop((by_port, by_path));
        assert!(!any_listens(&port) && !any_listens(&path));
    }

    #[test]
    fn a_name_of_a_socket_is_read_as_the_kernel_gives_it() {
        let pid = std::process::id().cast_signed();
        let here = std::env::current_dir().unwrap();
        let read = |name: &[u8]| endpoint_named(name, pid).map(|it| it.to_string());
        assert_eq!(read(b"\0feed").as_deref(), Some("/unix/@feed"));
        assert_eq!(read(b"/run/feed.sock\0").as_deref(), Some("/unix/run/feed.sock"));
        assert_eq!(read(b"@feed\0"), Some(format!("/unix{}", here.join("@feed").display())));
        assert_eq!(read(b"\0\xff"), None);
    }
}
