//! The descendants of a process: finding, signalling, and reaping them.

use std::{collections::HashMap, fs, io, mem, thread, time::Duration};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus},
};
use tokio::time::Instant;
use transport::ProcessNumbers;

/// The pause before killed descendants are looked for again. A killed process is gone within a
/// millisecond, and its own children are found by the next look.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The descendants of a process at one moment.
#[derive(Debug)]
pub(super) struct Descendants(Vec<Descendant>);

/// A process as `/proc` shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Descendant {
    /// Its number and its process group's, as the kernel takes them.
    pid: i32,
    group: i32,
    /// Its number and its parent's in `/proc`.
    entry: i32,
    parent: i32,
    /// The time of its start, which distinguishes it from a later process of the same number.
    started: u64,
    is_zombie: bool,
    is_stopped: bool,
    /// Whether it waits in the kernel for something that no signal interrupts.
    is_blocked: bool,
}

/// The number of looks in a row that show a descendant blocked after which it is not waited for, and
/// the pause between two: a process stops as soon as it leaves the kernel. One that waits there for a
/// disk, or for the child of a `vfork(2)`, forks nothing.
const BLOCKED_MAX: usize = 50;
const STOP_PAUSE: Duration = Duration::from_millis(1);

/// The time for others to stop. On a busy machine a process may wait for its turn for long, and then
/// complete a fork that it has begun.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Stops all descendants of a process, and returns them: none of them forks another.
pub(super) fn stop_all(ancestor: Pid) -> io::Result<Descendants> {
    let (mut stopping, began) = (Stopping::default(), Instant::now());
    loop {
        let below = Descendants::of(ancestor)?;
        let is_done = stopping.go_on(&below, |it| it.signal(Signal::STOP));
        if is_done || began.elapsed() >= STOP_LIMIT {
            return Ok(below);
        }
        thread::sleep(STOP_PAUSE);
    }
}

/// What is known of descendants that are to stop.
#[derive(Debug, Default)]
struct Stopping {
    told: HashMap<(i32, u64), Told>,
    /// Whether the last look showed nothing that moves. The numbers of a look are read before the
    /// states: one that has stopped in between may have forked before, and only the next look shows it.
    was_still: bool,
}

/// What is known of a descendant that has been told to stop.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// Whether this process may stop it: another user's is not waited for.
    may_stop: bool,
    /// The number of the last looks that showed it blocked.
    blocked: usize,
}

impl Stopping {
    /// Stops those of a look that move, and tells whether that was the last look which is needed.
    fn go_on(&mut self, below: &Descendants, stop: impl Fn(&Descendant) -> bool) -> bool {
        let mut is_still = true;
        for seen in below.0.iter().filter(|it| !it.is_zombie && !it.is_stopped) {
            let new = || Told { may_stop: stop(seen), blocked: 0 };
            let told = self.told.entry((seen.pid, seen.started)).or_insert_with(new);
            told.blocked = if seen.is_blocked { told.blocked + 1 } else { 0 };
            is_still &= !told.may_stop || told.blocked > BLOCKED_MAX;
        }
        mem::replace(&mut self.was_still, is_still) && is_still
    }
}

impl Descendants {
    /// Looks for the descendants of a process, the nearest first.
    ///
    /// # Errors
    ///
    /// The error of the file system, also if `/proc` does not show this process: those that it shows
    /// are then others' by the same numbers.
    pub(super) fn of(ancestor: Pid) -> io::Result<Self> {
        let numbers = ProcessNumbers::here()?;
        let root = numbers.entry_of(ancestor.as_raw_nonzero().get());
        let root = root.ok_or(io::ErrorKind::NotFound)?;
        let mut children: HashMap<i32, Vec<Descendant>> = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(entry) = name.to_str().and_then(|it| it.parse().ok()) else { continue };
            if let Some(seen) = Descendant::look(entry) {
                children.entry(seen.parent).or_default().push(seen);
            }
        }
        let mut below = Vec::new();
        let mut ancestors = vec![root];
        while let Some(ancestor) = ancestors.pop() {
            for seen in children.remove(&ancestor).unwrap_or_default() {
                ancestors.push(seen.entry);
                below.extend(seen.numbered(numbers));
            }
        }
        Ok(Self(below))
    }

    /// Returns the numbers of the live ones.
    pub(super) fn numbers(&self) -> Vec<i32> {
        self.0.iter().filter(|it| !it.is_zombie).map(|it| it.pid).collect()
    }

    /// Tells whether one of them is in a process group.
    pub(super) fn has_member(&self, group: Pid) -> bool {
        self.0.iter().any(|it| it.group == group.as_raw_nonzero().get())
    }

    /// Sends a signal to each, and returns how many may be signalled by this process.
    pub(super) fn signal(&self, signal: Signal) -> usize {
        self.0.iter().filter(|it| !it.is_zombie && it.signal(signal)).count()
    }

    /// As [`signal`](Self::signal), to those outside of a process group.
    pub(super) fn signal_outside(&self, group: Pid, signal: Signal) {
        let group = group.as_raw_nonzero().get();
        for seen in self.0.iter().filter(|it| !it.is_zombie && it.group != group) {
            seen.signal(signal);
        }
    }
}

impl Descendant {
    fn look(entry: i32) -> Option<Self> {
        Self::read(entry, &fs::read_to_string(format!("/proc/{entry}/stat")).ok()?)
    }

    /// Gives it the numbers that the kernel takes; `None` if it has ended meanwhile.
    fn numbered(mut self, numbers: ProcessNumbers) -> Option<Self> {
        if !numbers.are_plain() {
            (self.pid, self.group) = (numbers.pid_of(self.entry)?, numbers.group_of(self.entry)?);
        }
        Some(self)
    }

    /// Reads a line of `/proc/<pid>/stat`.
    fn read(entry: i32, status: &str) -> Option<Self> {
        // The program's name is in parentheses and may contain any character, so the fields are
        // counted from the last one: the third field follows it.
        let (_, fields) = status.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            pid: entry,
            group: field(5)?.parse().ok()?,
            entry,
            parent: field(4)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
            is_zombie: matches!(field(3)?, "Z" | "X"),
            is_stopped: matches!(field(3)?, "T" | "t"),
            is_blocked: field(3)? == "D",
        })
    }

    /// Sends it a signal, and tells whether this process may.
    fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        let Ok(held) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return true };
        // Checked after it was opened: the number may by now belong to another.
        if Self::look(self.entry).is_none_or(|now| now.started != self.started) {
            return true;
        }
        rustix::process::pidfd_send_signal(&held, signal) != Err(Errno::PERM)
    }
}

/// Reaps the children that have stopped or ended, reports each, and tells whether there are others.
pub(super) fn reap(mut tell: impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(Some((pid, status))) => tell(pid, status),
            Ok(None) => return true,
            Err(Errno::INTR) => {}
            // There is none.
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let rest = "1 2 3 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let check = |status: &str, expected: Option<(i32, i32, u64, bool)>| {
            let seen = Descendant::read(7, status);
            let seen = seen.map(|it| (it.parent, it.group, it.started, it.is_zombie));
            assert_eq!(seen, expected, "{status}");
        };
        check(&format!("7 (cat) S {rest}"), Some((1, 2, 4242, false)));
        check(&format!("7 (a) Z 9 9 b) R {rest}"), Some((1, 2, 4242, false)));
        check(&format!("7 (x) Z {rest}"), Some((1, 2, 4242, true)));
        check("7 (cat) S 1 2", None);
        check("", None);
    }

    /// Looks at processes by their numbers and states, as `/proc` gives them.
    fn look(processes: &[(i32, char)]) -> Descendants {
        let read = |(pid, state): &(i32, char)| {
            let rest = "1 2 3 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
            Descendant::read(*pid, &format!("{pid} (cat) {state} {rest}")).unwrap()
        };
        Descendants(processes.iter().map(read).collect())
    }

    #[test]
    fn what_is_forked_during_a_look_is_stopped_too() {
        let told = RefCell::new(vec![]);
        let stop = |it: &Descendant| {
            told.borrow_mut().push(it.pid);
            true
        };
        let mut stopping = Stopping::default();
        assert!(!stopping.go_on(&look(&[(7, 'S'), (5, 'Z')]), stop));
        // It has forked after the numbers were read, and stopped before its state was.
        assert!(!stopping.go_on(&look(&[(7, 'T'), (5, 'Z')]), stop));
        assert!(!stopping.go_on(&look(&[(7, 'T'), (8, 'R')]), stop));
        assert!(!stopping.go_on(&look(&[(7, 'T'), (8, 'T')]), stop));
        assert!(stopping.go_on(&look(&[(7, 'T'), (8, 'T')]), stop));
        assert_eq!(told.into_inner(), [7, 8]);
    }

    #[test]
    fn what_stays_blocked_and_what_is_anothers_is_not_waited_for() {
        let mut stopping = Stopping::default();
        let mut looks = |state| (1..200).find(|_| stopping.go_on(&look(&[(7, state)]), |_| true));
        assert_eq!(looks('D'), Some(BLOCKED_MAX + 2));
        // It has left the kernel for a moment, and may have forked.
        assert_eq!(looks('R'), None);
        assert_eq!(looks('D'), Some(BLOCKED_MAX + 2));

        let mut stopping = Stopping::default();
        let mut go_on = || stopping.go_on(&look(&[(7, 'R')]), |_| false);
        assert!([go_on(), go_on()] == [false, true]);
    }
}
