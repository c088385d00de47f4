//! Recognition of a running server after a restart.
//!
//! Its processes and sockets differ then. It is recognised by its user, and by its service, or else
//! by the program that it executes. A server with these properties that listens beside it, at its
//! very place, is its successor already, as in an upgrade that hands a shared port over: whoever
//! is reached is a legitimate one. Any other program there has taken the place from it. Workers
//! that share a port are parts of one server, if they have a master in common that forked them.

use std::{collections::BTreeSet, ffi::OsString, slice};

use transport::{ListeningSocket, Process, Whose, any_listens, holders, whose};

/// The server that was seen to listen somewhere first, or its latest successor.
#[derive(Clone, Debug)]
pub(super) struct Former {
    processes: Vec<Process>,
    /// All sockets by which it was seen to listen.
    sockets: BTreeSet<u64>,
    marks: Marks,
}

/// The properties that a server shares with its successor.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Marks {
    /// The user that made its sockets, if the kernel says.
    users: BTreeSet<Option<u32>>,
    /// The name of its executable; `None` if that is hidden.
    executables: BTreeSet<OsString>,
    /// Its services; empty if it has none.
    services: BTreeSet<String>,
}

impl Former {
    /// Records the listener.
    pub(super) fn of(sockets: &[ListeningSocket]) -> Self {
        let mut processes = holders(sockets);
        let marks = Marks {
            users: sockets.iter().map(|it| it.uid).collect(),
            executables: processes.iter().filter_map(|it| it.executable()).collect(),
            services: processes.iter().filter_map(|it| it.service()).collect(),
        };
        // Workers that each bind the place come and go below a master that has no socket itself.
        processes.extend(Process::master_of(&processes));
        let sockets = sockets.iter().map(|it| it.inode).collect();
        Self { processes, sockets, marks }
    }

    /// Tells whose these sockets are.
    pub(super) fn whose(&self, sockets: &[ListeningSocket]) -> Whose {
        whose(sockets, &self.processes)
    }

    /// Tells whether these sockets belong to this server or, by their properties, to another part
    /// of it.
    pub(super) fn includes(&self, sockets: &[ListeningSocket]) -> bool {
        self.whose(sockets) == Whose::Theirs || Self::of(sockets).marks.are_of(&self.marks)
    }

    /// Returns the listeners at these sockets, if they are this server after a restart.
    pub(super) fn successor(&self, sockets: &[ListeningSocket]) -> Option<Self> {
        if any_listens(&self.sockets) {
            return None;
        }
        let now = Self::of(sockets);
        now.marks.are_of(&self.marks).then_some(now)
    }

    /// Tells whether all of these sockets that are not in `own` belong to servers that would be its
    /// successors, and listen beside it.
    pub(super) fn has_beside(&self, sockets: &[ListeningSocket], own: &BTreeSet<u64>) -> bool {
        let is_own = |it: &ListeningSocket| own.contains(&it.inode);
        let is_successor =
            |it: &ListeningSocket| Self::of(slice::from_ref(it)).marks.are_of(&self.marks);
        sockets.iter().any(is_own) && sockets.iter().filter(|it| !is_own(it)).all(is_successor)
    }

    /// Records further sockets of the server.
    pub(super) fn extend(&mut self, sockets: &[ListeningSocket]) {
        if self.sockets.len() >= SOCKETS_MAX {
            self.sockets.clear();
        }
        self.sockets.extend(sockets.iter().map(|it| it.inode));
        // Its children are recorded by now, whatever happens to it, and its master may not have been
        // known by the workers that were seen before.
        let mut seen = holders(sockets);
        seen.extend(Process::master_of(&seen));
        for process in seen {
            if !self.processes.contains(&process) && self.processes.len() < SOCKETS_MAX {
                self.processes.push(process);
            }
        }
    }

    /// Returns one of its processes, for a message.
    pub(super) fn process(&self) -> Option<Process> {
        self.processes.first().copied()
    }
}

impl Marks {
    /// Tells whether they belong to the same server, as far as they are visible.
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

/// The most sockets and processes of a server to remember: more than any listens with at a time.
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
        // A service is upgraded to another program, and two services may run the same program.
        check(marks(7, &["b"], &["web.service"]), marks(7, &["a"], &["web.service"]), true);
        check(marks(7, &["a"], &["x.service"]), marks(7, &["a"], &["web.service"]), false);
        // A server that was started by hand has become a service.
        check(marks(7, &["a"], &["web.service"]), marks(7, &["a"], &[]), true);
        check(marks(7, &["b"], &["web.service"]), marks(7, &["a"], &[]), false);
        // The processes of another user are invisible.
        check(marks(7, &[], &[]), marks(7, &[], &[]), true);
        check(marks(8, &[], &[]), marks(7, &[], &[]), false);
        check(marks(7, &["nginx"], &[]), marks(7, &[], &[]), true);
    }
}
