//! A foreign program and all its descendants, ended together.
//!
//! A program may start others, put them into separate sessions, and end before them. The kernel's
//! notice of a parent's death reaches none of these. So between this process and the program stands
//! a **guardian**: a process with one thread, to which the kernel gives all orphans below it
//! (`PR_SET_CHILD_SUBREAPER`), so that each is its descendant for as long as it lives. It waits for
//! the end of a socket whose other end this process holds.
//! ```text
//!   this process            the guardian                    the program
//!   ┌──────────────┐ orders ┌───────────────────┐   fork    ┌──────────────────┐
//!   │ Guarded      ├───────►│ serve             ├──────────►│ a group of its   │
//!   │              │◄───────┤   EOF → TERM, KILL│           │ own, and whatever│
//!   └──────────────┘  news  │   to all below it │◄──────────┤ comes of it      │
//!                           └───────────────────┘  orphans  └──────────────────┘
//! ```
//!
//! Whichever process is killed, the others do the rest: when this process goes, the guardian ends
//! all; when the guardian goes, the kernel kills the program, and its orphans move to this process.
//! Only if both are killed together may an orphan of the program live on.
//!
//! **The terminal.** The program leads its own group, which the guardian puts into the foreground
//! if this process was there. In a pipeline the terminal must see all members as one group, so
//! there the program stays in the group that it was started from.
//!
//! **Why not a PID namespace or a cgroup?** Both would end all with one call, and both take
//! privileges that an ordinary user does not have everywhere.
//! that an ordinary user does not have everywhere.

mod descendants;
mod heir;
mod order;
mod serve;
mod terminal;

use std::{
    env, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            net::UnixStream as StdStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::PathBuf,
    process::{self, Command, ExitStatus},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use thiserror::Error;
use tokio::{io::AsyncReadExt, net::UnixStream};

pub use self::order::GuardedCommand;
use self::{
    descendants::Descendants,
    order::{Message, Reply, Request},
    terminal::Footing,
};
use super::kernel;

/// The variable that makes a program a guardian. It has the number of the guardian's socket.
const GUARDIAN_VARIABLE: &str = "CALLSIGN_GUARDIAN";

/// The guardian's process name: it differs from the requesting program's, so that killing that by
/// name does not hit the guardian.
const GUARDIAN: &str = "guardian";

/// The lowest number that the guardian's socket gets in it, above what a program expects to have.
const DESCRIPTOR_MIN: i32 = 10;

/// The number of looks for killed processes: several seconds, for those that need a moment.
const LOOKS_MAX: usize = 500;

/// Runs the guardian, if this process was started to be one, and returns its exit code. It is to
/// be the first statement of a `main`: a guardian has one thread.
///
/// ```standalone_crate
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     if let Some(code) = callsign_process::guard_if_asked() {
///         return ExitCode::from(code);
///     }
///     // The program itself.
///     ExitCode::SUCCESS
/// }
/// ```
pub fn guard_if_asked() -> Option<u8> {
    match env::var_os(GUARDIAN_VARIABLE) {
        Some(number) => Some(serve::run(&number)),
        None => heir::run_if_asked(),
    }
}

/// A program that runs below a guardian.
///
/// ```
/// # use std::process::ExitStatus;
/// use callsign_process::{Guarded, GuardedCommand, News, StartError};
///
/// /// Runs a program, and returns how it has ended; `None` if the guardian was killed.
/// async fn run(words: &[&str]) -> Result<Option<ExitStatus>, StartError> {
///     let words = words.iter().map(Into::into).collect();
///     let mut guarded = Guarded::start(&GuardedCommand { words, ..GuardedCommand::default() })?;
///     loop {
///         match guarded.next().await {
///             News::Ended(status) | News::LeftBehind(status) => return Ok(Some(status)),
///             News::Lost => return Ok(None),
///             _ => {}
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Guarded {
    channel: UnixStream,
    guardian: process::Child,
    program: Pid,
    footing: Footing,
    /// The part of the next message that was read.
    partial: Vec<u8>,
}

/// A message from a guardian.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum News {
    /// The terminal has stopped the program, and its starter should stop too.
    Stopped(Signal),
    /// The terminal has gone.
    HungUp,
    /// The program has ended, and so has everything that it started.
    Ended(ExitStatus),
    /// The program has ended, and left others behind, which continue.
    LeftBehind(ExitStatus),
    /// All have ended that the program had left behind.
    Alone,
    /// The guardian was killed.
    Lost,
}

/// The recipients of a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whom {
    /// Only the program.
    Program,
    /// The program's process group, if it leads one.
    Group,
    /// The program and its descendants.
    All,
}

/// A program could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The guardian could not be started.
    #[error("the guardian of the program cannot be started")]
    Guardian(#[source] io::Error),
    /// The program could not be started.
    #[error("the program cannot be started")]
    Program(#[source] io::Error),
}

impl Guarded {
    /// Starts a program below a guardian. It shares this process's input and output.
    ///
    /// From now on orphans of this process's descendants become its own children.
    ///
    /// # Errors
    ///
    /// [`StartError`], which distinguishes the two.
    pub fn start(command: &GuardedCommand) -> Result<Self, StartError> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| StartError::Guardian(error.into()))?;
        let footing = Footing::here();
        let (mut channel, guardian) =
            start_guardian(command.handed.len()).map_err(StartError::Guardian)?;
        let mut starting = Starting(Some(guardian));
        command.write(&footing, &mut channel).map_err(StartError::Guardian)?;
        let program = match Message::read(&mut channel).map_err(StartError::Guardian)? {
            Some(Message { kind: Reply::STARTED, value }) => Pid::from_raw(value),
            Some(Message { kind: Reply::NOT_STARTED, value }) => {
                return Err(StartError::Program(io::Error::from_raw_os_error(value)));
            }
            _ => None,
        };
        let program =
            program.ok_or_else(|| StartError::Guardian(io::ErrorKind::UnexpectedEof.into()))?;
        let channel = channel
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(channel))
            .map_err(StartError::Guardian)?;
        let guardian = starting.0.take().expect("it is taken once");
        Ok(Self { channel, guardian, program, footing, partial: Vec::new() })
    }

    /// Returns the program's number.
    pub fn pid(&self) -> i32 {
        self.program.as_raw_nonzero().get()
    }

    /// Returns the numbers of the program, if it lives, and of its live descendants.
    ///
    /// # Errors
    ///
    /// The error of the file system if `/proc` does not show them: it is not mounted, or shows a PID
    /// namespace that this process is not in.
    pub fn alive(&self) -> io::Result<Vec<i32>> {
        // What its guardian has left is this process's.
        let guardian = Pid::from_child(&self.guardian).as_raw_nonzero().get();
        let below = Descendants::of(rustix::process::getpid())?.numbers();
        Ok(below.into_iter().filter(|it| *it != guardian).collect())
    }

    /// Tells whether the terminal interrupts the program whenever it interrupts this process: both
    /// are in one group, in the foreground.
    pub fn is_interrupted_too(&self) -> bool {
        self.footing.is_shared() && self.footing.is_in_foreground()
    }

    /// Tells whether this process has a terminal that can hang up.
    pub fn has_terminal(&self) -> bool {
        self.footing.has_terminal()
    }

    /// Waits for news.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some((bytes, rest)) = self.partial.split_first_chunk() {
                let message = Message::decode(*bytes);
                self.partial = rest.to_vec();
                if let Some(news) = news_of(message) {
                    return news;
                }
                continue;
            }
            match self.channel.read_buf(&mut self.partial).await {
                Ok(0) | Err(_) => return News::Lost,
                Ok(_) => {}
            }
        }
    }

    /// Sends a signal. Processes that have ended by then do not get it.
    pub fn signal(&self, whom: Whom, signal: Signal) {
        let kind = match whom {
            Whom::Program => Request::TO_PROGRAM,
            Whom::Group => Request::TO_GROUP,
            Whom::All => Request::TO_ALL,
        };
        self.ask(Message { kind, value: signal.as_raw() });
    }

    /// Kills the program and its descendants, until none are left.
    pub fn kill(&self) {
        self.ask(Message { kind: Request::KILL, value: 0 });
    }

    /// Stops this process as the terminal has stopped the program, and lets the program go on when
    /// this process does.
    ///
    /// # Errors
    ///
    /// The error of the system call.
    pub fn stop_too(&self, signal: Signal) -> io::Result<()> {
        // A reader in the background that has gone need not stop.
        if !self.footing.is_in_foreground() || signal == Signal::TSTP {
            rustix::process::kill_current_process_group(signal)?;
        }
        self.ask(Message { kind: Request::RESUME, value: 0 });
        Ok(())
    }

    /// Interrupts the processes of this process's group, as the terminal would have done if the
    /// program had been one of them, and returns whether it would have.
    ///
    /// # Errors
    ///
    /// The error of the system call.
    pub fn interrupt_group(&self) -> io::Result<bool> {
        let is_meant = !self.footing.is_shared() && self.footing.is_in_foreground();
        if is_meant {
            rustix::process::kill_current_process_group(Signal::INT)?;
        }
        Ok(is_meant)
    }

    /// Kills what the program has left behind when the guardian was lost, for `within` at most.
    pub async fn end_without_guardian(&mut self, within: Duration) {
        let end = tokio::time::Instant::now() + within;
        while tokio::time::Instant::now() < end {
            kill_below();
            if !descendants::reap(|_, _| {}) {
                return;
            }
            tokio::time::sleep(descendants::LOOK_AGAIN).await;
        }
    }

    fn ask(&self, message: Message) {
        // A guardian that has gone is noticed by the end of the channel, and one that is stopped
        // gets few requests: they all fit the socket.
        if let Err(error) = self.channel.try_write(&message.encode()) {
            tracing::debug!(%error, "the guardian hears nothing");
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // It has ended, or will when the channel closes; then init waits for it.
        drop(self.guardian.try_wait());
    }
}

/// A guardian whose program has not been started. It is reaped if that fails.
struct Starting(Option<process::Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        let Some(mut guardian) = self.0.take() else { return };
        drop(guardian.kill());
        drop(guardian.wait());
        // It may have been killed after it had started the program.
        for _ in 0..LOOKS_MAX {
            kill_below();
            if !descendants::reap(|_, _| {}) {
                return;
            }
            thread::sleep(descendants::LOOK_AGAIN);
        }
    }
}

/// Kills the present descendants of this process.
fn kill_below() {
    if let Ok(below) = Descendants::of(rustix::process::getpid()) {
        below.signal(Signal::KILL);
    }
}

fn news_of(message: Message) -> Option<News> {
    let status = ExitStatus::from_raw(message.value);
    match message.kind {
        Reply::STOPPED => Signal::from_named_raw(message.value).map(News::Stopped),
        Reply::HUNG_UP => Some(News::HungUp),
        Reply::ENDED => Some(News::Ended(status)),
        Reply::LEFT_BEHIND => Some(News::LeftBehind(status)),
        Reply::ALONE => Some(News::Alone),
        _ => None,
    }
}

fn start_guardian(handed: usize) -> io::Result<(StdStream, process::Child)> {
    let (own, theirs) = StdStream::pair()?;
    let theirs: OwnedFd = rustix::io::fcntl_dupfd_cloexec(&theirs, DESCRIPTOR_MIN)?;
    let number = theirs.as_raw_fd();
    let mut command = Command::new(own_program());
    command.arg0(GUARDIAN).env(GUARDIAN_VARIABLE, number.to_string());
    // Signals that end or stop this process's group are not for the guardian.
    command.process_group(0);
    kernel::hand_down(&mut command, number);
    for number in heir::descriptors(handed) {
        kernel::hand_down(&mut command, number);
    }
    Ok((own, command.spawn()?))
}

/// Returns the path of the program that runs here.
fn own_program() -> PathBuf {
    match env::current_exe() {
        // It still runs although its file was replaced or removed.
        Ok(_) => PathBuf::from("/proc/self/exe"),
        Err(_) => env::args_os().next().unwrap_or_default().into(),
    }
}
