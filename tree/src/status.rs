//! The phase of each child, for finding out why a tree takes so long.

use std::{
    collections::BTreeMap,
    fmt,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{ActorPath, Kind, Pressure};

/// The phase of an actor.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Phase, Pressure};
///
/// assert_eq!(Phase::Running.to_string(), "runs");
/// assert!(Phase::Ending(Pressure::Asked).to_string().starts_with("was asked to end"));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Its parent starts it.
    Launching,
    /// It has yet to report its endpoints.
    Booting,
    /// Its parent registers it.
    Registering,
    /// It serves, or runs its function.
    Running,
    /// It was asked to end.
    Ending(Pressure),
    /// It was asked to end, and waits for the ends of its functions and its own children.
    AwaitingChildren,
    /// It has ended its work, but its task, thread or process has yet to end.
    Reaping,
    /// It did not end, and is abandoned.
    Stuck,
    /// A phase that this version does not know.
    #[serde(other)]
    Other,
}

impl Phase {
    /// Describes the phase of an actor of a kind: each kind is ended in its own way.
    pub(crate) fn said_of(self, kind: Kind) -> String {
        let said = match (self, kind) {
            (Self::Ending(Pressure::Terminated), Kind::Process | Kind::Forkserver) => {
                "got SIGTERM, and has not ended"
            }
            (Self::Ending(Pressure::Killed), Kind::Process | Kind::Forkserver) => {
                "got SIGKILL, and is still there"
            }
            (Self::Ending(Pressure::Killed), Kind::Task) => "was aborted, and has not yielded",
            (Self::Ending(Pressure::Killed), Kind::Thread) => {
                "has not ended, and cannot be stopped by force"
            }
            _ => return self.to_string(),
        };
        said.to_owned()
    }
}

/// Uses the same words for every kind.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Launching => "is being started",
            Self::Booting => "has yet to say where it listens",
            Self::Registering => "is being registered",
            Self::Running => "runs",
            Self::Ending(Pressure::Asked) => "was asked to end, and has not answered",
            Self::Ending(Pressure::Terminated) => "was asked again to end, and has not ended",
            Self::Ending(Pressure::Killed) => "was to be ended by force, and is still there",
            Self::AwaitingChildren => "waits for its functions and children to end",
            Self::Reaping => "has done its work, and is about to be gone",
            Self::Stuck => "did not end, and is given up",
            Self::Other => "is at something else",
        })
    }
}

/// A child, and its phase.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Actor, Phase};
///
/// /// Names the children that hold up the end of an actor.
/// fn stragglers(actor: &Actor) -> Vec<String> {
///     let ending = actor.children().into_iter().filter(|it| matches!(it.phase, Phase::Ending(_)));
///     ending.map(|it| format!("{} {}", it.actor, it.phase)).collect()
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChildState {
    /// The actor.
    pub actor: ActorPath,
    /// Its kind.
    pub kind: Kind,
    /// Its process, once there is one.
    pub pid: Option<u32>,
    /// Its phase.
    pub phase: Phase,
    /// When it entered the phase.
    pub since: Instant,
}

/// The phases of the children of an actor.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusTable {
    rows: Arc<Mutex<BTreeMap<Key, StatusRow>>>,
    next: Arc<AtomicU64>,
}

/// An actor by its path, and by a number: siblings may share a name.
type Key = (ActorPath, u64);

#[derive(Clone, Copy, Debug)]
struct StatusRow {
    kind: Kind,
    pid: Option<u32>,
    phase: Phase,
    since: Instant,
}

impl StatusTable {
    /// Adds a child to the table, until the entry is dropped.
    pub(crate) fn add(&self, actor: ActorPath, kind: Kind) -> StatusEntry {
        let row = StatusRow { kind, pid: None, phase: Phase::Launching, since: Instant::now() };
        let key = (actor, self.next.fetch_add(1, Ordering::Relaxed));
        self.lock().insert(key.clone(), row);
        StatusEntry { statuses: self.clone(), key }
    }

    /// Returns the state of each child, by path.
    pub(crate) fn states(&self) -> Vec<ChildState> {
        let state = |((actor, _), row): (&Key, &StatusRow)| {
            let StatusRow { kind, pid, phase, since } = *row;
            ChildState { actor: actor.clone(), kind, pid, phase, since }
        };
        self.lock().iter().map(state).collect()
    }

    /// Lists the phase of each actor, one a line.
    pub(crate) fn dump(&self, now: Instant) -> String {
        let mut text = String::new();
        for ChildState { actor, kind, pid, phase, since } in self.states() {
            let pid = pid.map(|it| format!(", process {it}")).unwrap_or_default();
            let took = now.duration_since(since).as_secs_f32();
            let phase = phase.said_of(kind);
            writeln!(text, "{actor} ({kind}{pid}) {phase}, for {took:.1} s")
                .expect("a string takes all that is written");
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, StatusRow>> {
        self.rows.lock().expect("nothing panics while it holds the lock")
    }
}

/// One child's entry in a status table.
#[derive(Debug)]
pub(crate) struct StatusEntry {
    statuses: StatusTable,
    key: Key,
}

impl StatusEntry {
    pub(crate) fn enter(&self, phase: Phase) {
        let mut rows = self.statuses.lock();
        let Some(row) = rows.get_mut(&self.key) else { return };
        (row.phase, row.since) = (phase, Instant::now());
        let kind = row.kind;
        drop(rows);
        tracing::debug!(target: "callsign", "{}", phase.said_of(kind));
    }

    /// Returns the phase of the child.
    pub(crate) fn phase(&self) -> Phase {
        self.statuses.lock().get(&self.key).map_or(Phase::Reaping, |row| row.phase)
    }

    pub(crate) fn set_pid(&self, pid: u32) {
        if let Some(row) = self.statuses.lock().get_mut(&self.key) {
            row.pid = Some(pid);
        }
    }
}

impl Drop for StatusEntry {
    fn drop(&mut self) {
        self.statuses.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use endpoints::Name;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tells_what_each_actor_waits_for() {
        let statuses = StatusTable::default();
        let root = ActorPath::root(&Name::new("base").unwrap());
        let feed = statuses.add(root.child(&Name::new("feed").unwrap()), Kind::Process);
        let desk = statuses.add(root.child(&Name::new("desk").unwrap()), Kind::Task);
        feed.set_pid(7);
        feed.enter(Phase::Ending(Pressure::Terminated));
        let later = Instant::now() + Duration::from_millis(1500);
        assert_eq!(
            statuses.dump(later),
            "/base/desk (task) is being started, for 1.5 s\n\
             /base/feed (process, process 7) got SIGTERM, and has not ended, for 1.5 s\n"
        );
        drop(desk);
        assert_eq!(statuses.dump(later).lines().count(), 1);
    }

    #[test]
    fn each_kind_is_said_to_be_ended_as_it_is() {
        let check = |pressure, kinds: &[Kind], expected: &str| {
            for kind in kinds {
                assert_eq!(Phase::Ending(pressure).said_of(*kind), expected, "{kind}");
            }
        };
        let (processes, within) = ([Kind::Process, Kind::Forkserver], [Kind::Task, Kind::Thread]);
        check(Pressure::Asked, &Kind::ALL, "was asked to end, and has not answered");
        check(Pressure::Terminated, &processes, "got SIGTERM, and has not ended");
        check(Pressure::Terminated, &within, "was asked again to end, and has not ended");
        check(Pressure::Killed, &processes, "got SIGKILL, and is still there");
        check(Pressure::Killed, &[Kind::Task], "was aborted, and has not yielded");
        let stuck = "has not ended, and cannot be stopped by force";
        check(Pressure::Killed, &[Kind::Thread], stuck);
    }
}
