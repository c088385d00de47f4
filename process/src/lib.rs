//! Processes of the operating system: starting, signalling and reaping them, and reading their
//! output.
//!
//! Nothing here knows of actors. A child is this same program executed again; it learns its task
//! over its **channel**, a Unix socket whose other end its parent holds. It inherits nothing else:
//! the channel comes as descriptor 0 and is moved away, descriptors 1 and 2 are pipes that the
//! parent reads, and all others are closed.
//!
//! - [`init`] is the first statement of a program's `main`. In a child it never returns.
//! - [`Launch`] describes a child's start, and starts it.
//! - [`Child`] is a child as its parent holds it: its channel, its signals, its end.
//!
//! ```text
//!   the program                                        a child of `Kind::Exec`
//!   ┌───────────────────────────────┐   channel (0)    ┌──────────────────────────┐
//!   │ Child ◄──────────────────────────────────────────► child_main(channel)      │
//!   │   ▲  pidfd: exited, signal    │   pipes (1, 2)   │                          │
//!   │   └─ Drains ◄──────────────────────────────────── │ watchdog thread:         │
//!   │ ┌───────────────────────────┐ │  posix_spawn     │   channel closed, or     │
//!   │ │ thread callsign-spawner   ├──────────────────► │   parent ended → grace   │
//!   │ └─────────────┬─────────────┘ │                  │   → SIGKILL to the group │
//!   │ ┌─────────────┴─────────────┐ │                  └──────────────────────────┘
//!   │ │ thread callsign-forkserver│ │
//!   │ └─────────────┬─────────────┘ │
//!   └───────────────┼───────────────┘
//!      channel and  │  ▲ pidfd of each child,
//!      pipes to give▼  │ how each has ended
//!   ┌───────────────────────────────┐      fork        a child of `Kind::Fork`
//!   │ the forkserver: one thread,   ├────────────────► as above; its channel and pipes
//!   │ forked in `init`              │                  lead to the program all the same
//!   └───────────────────────────────┘
//! ```
//!
//! **No child outlives its parent.** In every child a thread waits in the kernel for the end of the
//! channel and of the parent process; then the child may live on for its grace, and is killed with
//! its group. A stopped child cannot run that thread: it asks the kernel for SIGCONT when its
//! parent dies. Each child does the same for its own children, so a tree falls from the top. A
//! child of the forkserver falls with the forkserver too, since nobody else can reap it. The
//! forkserver itself is then restarted, by executing the program once more. So is that of a child
//! begun, when the child first needs it.
//!
//! **A forced end** does not go step by step: the watchdogs of a tree pass the request on, and a
//! stuck process falls with its parent, whatever its grace ([`Child::force_end`]).
//!
//! **Why not `tokio::process`?** It starts children from whichever thread calls it, and the
//! kernel's notice of a parent's death follows that thread; an error after the start leaves the
//! child running; and it waits for a signal shared with the whole process.
//!
//! | module | its one idea |
//! |---|---|
//! | `init` | the first statement of a program; the life of a child |
//! | `ready`, `origin` | whether a process can be forked; facts recorded before it has threads |
//! | `boot` | a parent's first message to a child |
//! | `watchdog` | the end of a child whose parent has ended |
//! | `forced_end` | the request to end now, which gets past processes that are stuck |
//! | `launch`, `execute` | the launch of a child; re-execution of this program |
//! | `spawner` | the one thread that starts processes |
//! | `child` | a child as its parent holds it |
//! | `held` | a process held by descriptor: its signals and its end |
//! | `output` | a child's output, always read |
//! | `forkserver` | the process that children are forked from |
//! | `guardian` | a foreign program and all its descendants, ended together |
//! | `kernel` | the calls that have no safe form |
//!
//! ```standalone_crate
//! use std::{io::Write, os::unix::net::UnixStream};
//!
//! use callsign_process::{Ended, Launch};
//! use tokio::io::AsyncReadExt;
//!
//! fn greet(mut channel: UnixStream) -> i32 {
//!     i32::from(channel.write_all(b"hello").is_err())
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     callsign_process::init(greet)?;
//!     let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//!     runtime.block_on(async {
//!         let mut child = Launch::exec("greeter").start().await?;
//!         let channel = child.take_channel().expect("nobody has taken it");
//!         let mut channel = tokio::net::UnixStream::from_std(channel)?;
//!         assert_eq!(child.exited().await?, Ended::Code(0));
//!
//!         let mut heard = String::new();
//!         channel.read_to_string(&mut heard).await?;
//!         assert_eq!(heard, "hello");
//!         Ok(())
//!     })
//! }
//! ```

mod boot;
mod child;
mod execute;
mod forced_end;
mod forkserver;
mod guardian;
mod held;
mod init;
mod kernel;
mod launch;
mod origin;
mod output;
mod ready;
mod spawner;
mod watchdog;

pub use self::{
    boot::CHILD_VARIABLE,
    child::{Child, WaitError},
    forced_end::{force_children_to_end, forced_to_end},
    guardian::{Guarded, GuardedCommand, News, StartError, Whom, guard_if_asked},
    held::Ended,
    init::{ChildMain, init, init_with_forkserver},
    kernel::{exit_now, signal_numbered, threads},
    launch::{GRACE, Kind, Launch, LaunchError},
    output::{LINE_BYTES_MAX, Line, Output, StdStream, TAIL_BYTES_MAX},
    ready::InitError,
    watchdog::{FORCED_END_LIMIT, at_forced_end},
};
pub use rustix::process::Signal;

/// Sees to it that the end of this process's forkserver, if it has one, is noticed from now on.
pub fn attend_forkserver() {
    if let Some(forkserver) = origin::origin().and_then(|it| it.forkserver.as_ref()) {
        forkserver.attend();
    }
}
