//! The relation of a program to the terminal that it was started from.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{FileType, Mode, OFlags},
    process::Pid,
    termios::{tcgetpgrp, tcsetpgrp},
};

use crate::kernel::own_group;

/// The intended relation of a program to the terminal, as seen by its starter.
#[derive(Debug)]
pub(super) struct Footing {
    terminal: Option<OwnedFd>,
    stand: Stand,
    /// The group of the starter. It has no number in a PID namespace that it began outside of, and
    /// then no terminal reports it either.
    group: Option<Pid>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stand {
    /// Its own group, in the background or without a terminal.
    Background = 0,
    /// Its own group, which gets the foreground.
    Foreground = 1,
    /// In the group of its starter, which is in the foreground: a part of a pipeline.
    Shared = 2,
}

impl Footing {
    /// The number of its encoded bytes.
    pub(super) const BYTES: usize = 5;

    /// Determines the relation for a program that this process starts.
    pub(super) fn here() -> Self {
        let (terminal, group) = (open_terminal(), own_group());
        let stand = match group.is_some() && foreground(&terminal) == group {
            true if is_pipe(rustix::stdio::stdin()) || is_pipe(rustix::stdio::stdout()) => {
                Stand::Shared
            }
            true => Stand::Foreground,
            false => Stand::Background,
        };
        Self { terminal, stand, group }
    }

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = Pid::as_raw(self.group).to_le_bytes();
        [self.stand as u8, a, b, c, d]
    }

    pub(super) fn decode([stand, a, b, c, d]: [u8; Self::BYTES]) -> Self {
        let stand = match stand {
            1 => Stand::Foreground,
            2 => Stand::Shared,
            _ => Stand::Background,
        };
        let group = Pid::from_raw(i32::from_le_bytes([a, b, c, d]));
        // A guardian is in the session of its starter, and so has the same terminal.
        Self { terminal: open_terminal(), stand, group }
    }

    pub(super) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    pub(super) fn is_shared(&self) -> bool {
        self.stand == Stand::Shared
    }

    /// Returns the group that the program has to join, which may be its own.
    pub(super) fn group_to_join(&self) -> Option<Pid> {
        self.group.filter(|_| self.is_shared())
    }

    /// Returns the terminal whose foreground the program gets as it starts.
    pub(super) fn to_start_on(&self) -> Option<BorrowedFd<'_>> {
        let terminal = self.terminal.as_ref()?;
        (self.stand == Stand::Foreground).then_some(terminal.as_fd())
    }

    /// Returns the terminal, to learn of its end.
    pub(super) fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// Forgets the terminal, which has gone.
    pub(super) fn forget_terminal(&mut self) {
        self.terminal = None;
    }

    /// Tells whether the group of the starter is in the foreground.
    pub(super) fn is_in_foreground(&self) -> bool {
        self.group.is_some() && foreground(&self.terminal) == self.group
    }

    pub(super) fn has_given_foreground_to(&self, group: Pid) -> bool {
        foreground(&self.terminal) == Some(group)
    }

    /// Tells whether the program might come into the foreground without a notice.
    pub(super) fn may_change_unseen(&self, program: Pid) -> bool {
        self.has_terminal() && !self.is_shared() && !self.has_given_foreground_to(program)
    }

    /// Gives the foreground to `group`, if the starter's group has it. For a process that blocks
    /// SIGTTOU.
    pub(super) fn give_foreground_to(&self, group: Pid) {
        if let Some(own) = self.group {
            self.pass_foreground(own, group);
        }
    }

    /// Takes the foreground back from `group`, if that has it.
    pub(super) fn take_foreground_from(&self, group: Pid) {
        if let Some(own) = self.group {
            self.pass_foreground(group, own);
        }
    }

    fn pass_foreground(&self, from: Pid, to: Pid) {
        let Some(terminal) = &self.terminal else { return };
        if !self.is_shared() && foreground(&self.terminal) == Some(from) {
            // A terminal that has gone, or a group that has, needs no foreground.
            let _is_passed = tcsetpgrp(terminal, to).is_ok();
        }
    }
}

fn open_terminal() -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open("/dev/tty", flags, Mode::empty()).ok()
}

fn foreground(terminal: &Option<OwnedFd>) -> Option<Pid> {
    tcgetpgrp(terminal.as_ref()?).ok()
}

fn is_pipe(descriptor: BorrowedFd<'_>) -> bool {
    let status = rustix::fs::fstat(descriptor);
    status.is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Fifo)
}
