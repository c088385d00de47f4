//! A server that runs already, by what it is known again when it has restarted.
//!
//! Its processes and sockets are others then. It is told by its user, and by the service that it is
//! of, or else by the program that it executes. And whoever listens beside it, in its very place,
//! has taken that from it: only when nothing of it listens any more has it a successor.

use std::{collections::BTreeSet, ffi::OsString};

use transport::{ListeningSocket, Process, Whose, any_listens, holders, whose};

/// The server that was seen to listen somewhere first, or its latest successor.
#[derive(Clone, Debug)]
pub(super) struct Former {
    processes: Vec<Process>,
    /// All sockets by which it was seen to listen.
    sockets: BTreeSet<u64>,
    marks: Marks,
}

/// What a server has in common with its successor.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Marks {
    /// Who has made its sockets, where the kernel says.
    users: BTreeSet<Option<u32>>,
    /// What it executes, by name; nothing where that is hidden.
    executables: BTreeSet<OsString>,
    /// The services that it is of; nothing where it is of none.
    services: BTreeSet<String>,
}

impl Former {
    /// Takes note of who listens.
    pub(super) fn of(sockets: &[ListeningSocket]) -> Self {
        let processes = holders(sockets);
        let marks = Marks {
            users: sockets.iter().map(|it| it.uid).collect(),
            executables: processes.iter().filter_map(|it| it.executable()).collect(),
            services: processes.iter().filter_map(|it| it.service()).collect(),
        };
        let sockets = sockets.iter().map(|it| it.inode).collect();
        Self { processes, sockets, marks }
    }

    /// Tells whose these sockets are.
    pub(super) fn whose(&self, sockets: &[ListeningSocket]) -> Whose {
        whose(sockets, &self.processes)
    }

    /// Returns what listens at these sockets, if it is this server after a restart.
    pub(super) fn successor(&self, sockets: &[ListeningSocket]) -> Option<Self> {
        if any_listens(&self.sockets) {
            return None;
        }
        let now = Self::of(sockets);
        now.marks.are_of(&self.marks).then_some(now)
    }

    /// Takes note of further sockets of it.
    pub(super) fn extend(&mut self, sockets: &[ListeningSocket]) {
        if self.sockets.len() >= SOCKETS_MAX {
            self.sockets.clear();
        }
        self.sockets.extend(sockets.iter().map(|it| it.inode));
        // Those that it has started are known by now, whatever becomes of it.
        for process in holders(sockets) {
            if !self.processes.contains(&process) && self.processes.len() < SOCKETS_MAX {
                self.processes.push(process);
            }
        }
    }

    /// Returns one of its processes, to be named.
    pub(super) fn process(&self) -> Option<Process> {
        self.processes.first().copied()
    }
}

impl Marks {
    /// Tells whether they are those of the same server, as far as they are seen.
    fn are_of(&self, former: &Self) -> bool {
        let are_of_services = !self.services.is_empty() && !former.services.is_empty();
        let are_seen = !self.executables.is_empty() && !former.executables.is_empty();
        self.users.is_subset(&former.users)
            && match (are_of_services, are_seen) {
                (true, _) => !self.services.is_disjoint(&former.services),
                (false, true) => !self.executables.is_disjoint(&former.executables),
                (false, false) => true,
            }
    }
}

/// How many sockets and processes of a server are remembered: more than any listens with at a time.
const SOCKETS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_is_of_the_same_user_and_service_or_program() {
        let marks = |uid: u32, executables: &[&str], services: &[&str]| Marks {
            users: [Some(uid)].into(),
            executables: executables.iter().map(OsString::from).collect(),
            services: services.iter().map(|it| (*it).to_owned()).collect(),
        };
        let check = |now: Marks, former: Marks, expected: bool| {
            assert_eq!(now.are_of(&former), expected, "{now:?} after {former:?}");
        };
        check(marks(7, &["nginx"], &[]), marks(7, &["nginx"], &[]), true);
        check(marks(8, &["nginx"], &[]), marks(7, &["nginx"], &[]), false);
        check(marks(7, &["nc"], &[]), marks(7, &["nginx"], &[]), false);
        // A service is upgraded to another program, and two services may run the same.
        check(marks(7, &["b"], &["web.service"]), marks(7, &["a"], &["web.service"]), true);
        check(marks(7, &["a"], &["x.service"]), marks(7, &["a"], &["web.service"]), false);
        // What was started by hand is a service by now.
        check(marks(7, &["a"], &["web.service"]), marks(7, &["a"], &[]), true);
        check(marks(7, &["b"], &["web.service"]), marks(7, &["a"], &[]), false);
        // Of another user's processes nothing is seen.
        check(marks(7, &[], &[]), marks(7, &[], &[]), true);
        check(marks(8, &[], &[]), marks(7, &[], &[]), false);
        check(marks(7, &["nginx"], &[]), marks(7, &[], &[]), true);
    }
}
