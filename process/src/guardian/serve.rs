//! The guardian's own process: one thread that waits for three things, and reacts to each.

use std::{
    env,
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::Command,
    time::Duration,
};

use endpoints::UnixPath;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, Signal, WaitStatus},
};
use tokio::time::Instant;

use super::{
    GUARDIAN, GUARDIAN_VARIABLE, GuardedCommand,
    descendants::{self, Descendants, LOOK_AGAIN},
    heir,
    order::{Message, Reply, Request},
    terminal::Footing,
};
use crate::kernel::{self, Blocked};

/// The time for a program to end after its starter was killed. The kill was meant for all; a
/// half-written file deserves a moment.
const FORSAKEN: Duration = Duration::from_secs(1);

/// The interval between looks at whether the starter's group has come into the foreground, which no
/// signal reports. A person who brings a job to the foreground does not notice.
const FOREGROUND_EVERY: Duration = Duration::from_millis(300);

/// The longest pause between two looks for killed processes that have not ended.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(1);

/// The exit code of a guardian that has nothing to guard.
const NOTHING: u8 = 70;

/// Runs the guardian whose socket has this number.
pub(super) fn run(number: &OsStr) -> u8 {
    let channel = number.to_str().and_then(|it| it.parse().ok()).map(kernel::adopt);
    let Some(Ok(mut channel)) = channel.map(|it| it.map(UnixStream::from)) else { return NOTHING };
    let began = GuardedCommand::read(&mut channel).and_then(|(command, footing)| {
        kernel::heed_children();
        let (children, blocked) = kernel::hear_children_alone()?;
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own))?;
        let name = std::ffi::CString::new(GUARDIAN).expect("it has no NUL in it");
        rustix::thread::set_name(&name)?;
        let program = start(&command, &footing, blocked)?;
        Ok((children, program, command.sockets, footing))
    });
    match began {
        Ok((children, program, sockets, footing)) => {
            let mut guardian = Guardian {
                channel: Some(channel),
                children,
                footing,
                program,
                status: None,
                has_told: false,
                kill_at: None,
                pause: LOOK_AGAIN,
            };
            guardian.tell(Reply::STARTED, program.as_raw_nonzero().get());
            guardian.serve();
            clear(sockets);
            guardian.tell_the_end();
            0
        }
        Err(error) => {
            let value = error.raw_os_error().unwrap_or(libc::EINVAL);
            let message = Message { kind: Reply::NOT_STARTED, value };
            // A starter that has gone needs no answer.
            let _is_heard = channel.write_all(&message.encode()).is_ok();
            NOTHING
        }
    }
}

fn start(command: &GuardedCommand, footing: &Footing, blocked: Blocked) -> io::Result<Pid> {
    let Some((program, arguments)) = command.words.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut starting = if command.handed.is_empty() {
        Command::new(program)
    } else {
        heir::command(program, &command.handed)
    };
    starting.args(arguments).env_remove(GUARDIAN_VARIABLE);
    for name in &command.withheld {
        starting.env_remove(name);
    }
    starting.envs(command.environment.iter().map(|(key, value)| (key, value)));
    let group = footing.group_to_join().map_or(0, |it| it.as_raw_nonzero().get());
    starting.process_group(group);
    let terminal = footing.to_start_on().map(|it| it.as_raw_fd());
    kernel::guard(&mut starting, terminal, blocked);
    // It is reaped like all others, by its number.
    let child = starting.spawn()?;
    for number in heir::descriptors(command.handed.len()) {
        drop(kernel::adopt(number)?);
    }
    // It closes descriptors that it does not need: pipes whose end others wait for, and a folder
    // that may be on a removable disk.
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    let _is_away = env::set_current_dir("/").is_ok();
    Ok(Pid::from_child(&child))
}

/// The state of a guardian.
#[derive(Debug)]
struct Guardian {
    /// `None` once the starter of the program has gone.
    channel: Option<UnixStream>,
    children: OwnedFd,
    footing: Footing,
    program: Pid,
    status: Option<WaitStatus>,
    /// Whether it has reported that the program left others behind.
    has_told: bool,
    /// The time from which on everything is killed, again and again until nothing is left.
    kill_at: Option<Instant>,
    pause: Duration,
}

impl Guardian {
    /// Continues until nothing is left that could be ended.
    fn serve(&mut self) {
        loop {
            let (is_asked, is_hung_up) = self.wait();
            if is_hung_up {
                self.footing.forget_terminal();
                self.tell(Reply::HUNG_UP, 0);
            }
            if is_asked {
                self.obey();
            }
            if !self.reap() {
                return;
            }
            if self.footing.may_change_unseen(self.program) {
                self.footing.give_foreground_to(self.program);
            }
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                self.kill_at = Some(Instant::now() + self.pause);
                self.pause = LOOK_AGAIN_MAX.min(self.pause * 2);
                let may_kill = self.kill();
                // Nobody is left to learn of those that belong to another user.
                if !may_kill && self.channel.is_none() {
                    return;
                }
            }
        }
    }

    /// Waits until there is something to do. Returns whether there is a request, and whether the
    /// terminal has gone.
    fn wait(&self) -> (bool, bool) {
        let to_kill = self.kill_at.map(|at| at.saturating_duration_since(Instant::now()));
        let may_change = self.footing.may_change_unseen(self.program);
        let timeout = to_kill.into_iter().chain(may_change.then_some(FOREGROUND_EVERY)).min();
        let timeout = timeout.map(|it| Timespec {
            tv_sec: it.as_secs().cast_signed(),
            tv_nsec: it.subsec_nanos().into(),
        });
        let mut polled = vec![PollFd::new(&self.children, PollFlags::IN)];
        let asked = self.channel.as_ref().map(|channel| {
            polled.push(PollFd::new(channel, PollFlags::IN));
            polled.len() - 1
        });
        let terminal = self.footing.terminal();
        let hung_up = terminal.as_ref().map(|terminal| {
            // A hang-up is always reported.
            polled.push(PollFd::new(terminal, PollFlags::empty()));
            polled.len() - 1
        });
        // If it fails, everything is looked at nevertheless.
        let _ready = rustix::event::poll(&mut polled, timeout.as_ref());
        let is = |index: Option<usize>| index.is_some_and(|it| !polled[it].revents().is_empty());
        (is(asked), is(hung_up))
    }

    /// Carries out a request, or notices that nobody is left to make one.
    fn obey(&mut self) {
        let Some(channel) = &mut self.channel else { return };
        let Ok(Some(Message { kind, value })) = Message::read(channel) else {
            self.channel = None;
            self.footing.take_foreground_from(self.program);
            self.signal_all(Signal::TERM);
            self.kill_by(Instant::now() + FORSAKEN);
            return;
        };
        let signal = kernel::signal_numbered(value);
        match (kind, signal) {
            (Request::TO_PROGRAM, Some(signal)) => self.signal_program(signal),
            (Request::TO_GROUP, Some(signal)) => {
                if self.footing.is_shared() {
                    self.signal_program(signal)
                } else {
                    self.signal_group(signal)
                }
            }
            (Request::TO_ALL, Some(signal)) => self.signal_all(signal),
            (Request::KILL, _) => self.kill_by(Instant::now()),
            (Request::RESUME, _) => {
                self.footing.give_foreground_to(self.program);
                self.signal_group(Signal::CONT);
            }
            _ => {}
        }
    }

    /// Reaps the children that have ended, and tells whether any are left.
    fn reap(&mut self) -> bool {
        // The number of signals does not matter: everything they can report is looked for below.
        let _is_read = rustix::io::read(&self.children, &mut [0_u8; 1024]).is_ok();
        let (mut stopped, mut ended) = (None, None);
        let are_left = descendants::reap(|pid, status| {
            if pid != self.program {
                return;
            }
            match status.stopping_signal() {
                Some(signal) => stopped = Some(signal),
                None => ended = Some(status),
            }
        });
        if let Some(status) = ended {
            self.status = Some(status);
            self.footing.take_foreground_from(self.program);
        } else if let Some(signal) = stopped.filter(|_| !self.footing.is_shared()) {
            let of_the_terminal = [Signal::TSTP, Signal::TTIN, Signal::TTOU];
            if of_the_terminal.iter().any(|it| it.as_raw() == signal) && self.footing.has_terminal()
            {
                self.tell(Reply::STOPPED, signal);
            }
        }
        if let Some(status) = self.status.filter(|_| are_left && !self.has_told) {
            self.has_told = true;
            self.tell(Reply::LEFT_BEHIND, status.as_raw());
        }
        are_left
    }

    fn tell_the_end(&mut self) {
        match self.status {
            Some(status) if !self.has_told => self.tell(Reply::ENDED, status.as_raw()),
            _ => self.tell(Reply::ALONE, 0),
        }
    }

    fn tell(&mut self, kind: u32, value: i32) {
        if let Some(channel) = &mut self.channel {
            // A starter that has gone is noticed by the end of the channel.
            let _is_heard = channel.write_all(&Message { kind, value }.encode()).is_ok();
        }
    }

    fn signal_program(&self, signal: Signal) {
        // Its number is its own until it is reaped.
        if self.status.is_none() {
            let _has_ended = rustix::process::kill_process(self.program, signal);
        }
    }

    fn signal_group(&self, signal: Signal) {
        if self.footing.is_shared() {
            return;
        }
        // The number of a group is its own while it has a member, and while its leader is not
        // reaped.
        let is_ours = self.status.is_none() || self.has_members();
        if is_ours {
            let _is_empty = rustix::process::kill_process_group(self.program, signal);
        }
    }

    /// Tells whether a descendant is in the program's group, though the program has ended.
    fn has_members(&self) -> bool {
        Descendants::of(rustix::process::getpid()).is_ok_and(|below| below.has_member(self.program))
    }

    /// Sends a signal once to each: to the group and to those that have left it. Stopped ones
    /// continue, so that they get it.
    ///
    /// All are stopped before: processes forked during the signalling get it too, and those that a
    /// program starts in order to end cleanly do not.
    fn signal_all(&self, signal: Signal) {
        let below = descendants::stop_all(rustix::process::getpid());
        for signal in [signal, Signal::CONT] {
            match (&below, self.footing.is_shared()) {
                (Ok(below), true) => drop(below.signal(signal)),
                (Ok(below), false) => {
                    self.signal_group(signal);
                    below.signal_outside(self.program, signal);
                }
                // Processes are invisible.
                (Err(_), _) => {
                    self.signal_group(signal);
                    self.signal_program(signal);
                }
            }
        }
    }

    fn kill_by(&mut self, at: Instant) {
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
        self.pause = LOOK_AGAIN;
    }

    /// Kills everything, and returns whether there was anything that may be killed.
    fn kill(&self) -> bool {
        self.signal_group(Signal::KILL);
        self.signal_program(Signal::KILL);
        match Descendants::of(rustix::process::getpid()) {
            Ok(below) => below.numbers().is_empty() || below.signal(Signal::KILL) > 0,
            // Processes are invisible, but for the program.
            Err(_) => self.status.is_none(),
        }
    }
}

/// Removes the dead sockets that the program has left.
fn clear(sockets: Vec<PathBuf>) {
    let sockets: Vec<_> = sockets.iter().filter_map(|it| UnixPath::new(it).ok()).collect();
    if sockets.is_empty() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        for path in sockets {
            // The next user removes the rest.
            let _is_left = transport::clear_dead_socket(&path).await;
        }
    });
}
