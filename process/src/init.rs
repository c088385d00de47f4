//! The first statement of a program: what must be done before there are threads, and the life of
//! a child.

use std::{
    convert::Infallible,
    env,
    ffi::CString,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    panic::{self, AssertUnwindSafe},
    process,
};

use rustix::process::{Pid, Signal};

use super::{
    boot::{Boot, BootFault, CHILD_VARIABLE},
    forkserver::{self, Forkserver, Live},
    kernel,
    origin::{self, Origin, origin},
    ready::{self, InitError},
    watchdog::{self, Watchdog},
};

/// The body of a child: it gets the channel to its parent, a non-blocking stream, and returns the
/// exit code.
///
/// The parent sees the end of the channel when the child shuts it down or ends; it does not see
/// that the child drops it, because the watchdog holds it as well.
pub type ChildMain = fn(UnixStream) -> i32;

/// Makes this program one that can start children, and, in a child, runs `child_main` and exits:
/// in a child it never returns. It is to be the first statement of `main`.
///
/// ```standalone_crate
/// use std::os::unix::net::UnixStream;
///
/// fn child_main(_channel: UnixStream) -> i32 {
///     println!("a child");
///     0
/// }
///
/// fn main() -> Result<(), callsign_process::InitError> {
///     callsign_process::init(child_main)?;
///     // Only the program comes here, and may start threads from now on.
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`InitError`] when the program has begun to run threads or a runtime, or was here before.
pub fn init(child_main: ChildMain) -> Result<(), InitError> {
    begin(child_main, false)
}

/// Does what [`init`] does, and before it returns forks off the forkserver: a process with a
/// single thread, from which children are forked within a fraction of a millisecond.
///
/// ```standalone_crate
/// use callsign_process::{Ended, Launch, init_with_forkserver};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     init_with_forkserver(|_channel| 7)?;
///     let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
///     runtime.block_on(async {
///         let child = Launch::fork("seven").start().await?;
///         assert_eq!(child.exited().await?, Ended::Code(7));
///         Ok(())
///     })
/// }
/// ```
///
/// # Errors
///
/// As [`init`], and when the process cannot be forked.
pub fn init_with_forkserver(child_main: ChildMain) -> Result<(), InitError> {
    begin(child_main, true)
}

/// The exit code of a child whose main function panicked, as Rust gives it to every program.
const PANICKED: i32 = 101;

/// The parts of the parent's environment that a child must not have: sockets and duties that a
/// service manager gave only to the parent. A library in the child would take descriptor 3 for a
/// listener.
const SCRUBBED: [&str; 6] = [
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// The lowest number that a descriptor of ours may get in a child, so that programs that expect
/// something at a low number do not find this.
const DESCRIPTOR_MIN: i32 = 10;

fn begin(child_main: ChildMain, with_forkserver: bool) -> Result<(), InitError> {
    let ready = origin().map_or_else(ready::look, |_| Err(InitError::Twice));
    if let Some(mark) = env::var_os(CHILD_VARIABLE) {
        let Err(fault) = ready
            .map_err(BootFault::NotReady)
            .and_then(|()| become_child(&mark.to_string_lossy(), child_main));
        fault.give_up();
    }
    ready?;
    kernel::heed_children();
    let called = env::args_os().next().unwrap_or_default();
    let forkserver = with_forkserver
        .then(|| {
            let (socket, pid) = forkserver::fork(live_forked(child_main))?;
            Forkserver::new(called.clone(), socket, pid)
        })
        .transpose()
        .map_err(InitError::Fork)?;
    origin::set(Origin { called, forkserver });
    Ok(())
}

/// Becomes the child that was started with `mark` and has the channel as its standard input.
fn become_child(mark: &str, child_main: ChildMain) -> Result<Infallible, BootFault> {
    kernel::remove_variable(CHILD_VARIABLE);
    let nonce = Boot::nonce(mark)?;
    let channel = take_channel().map_err(BootFault::Channel)?;
    let (boot, counter) = Boot::read(&channel)?;
    if boot.nonce != nonce {
        return Err(BootFault::Words);
    }
    let parent = Pid::from_raw(boot.parent).ok_or(BootFault::Words)?;
    if boot.is_forkserver {
        forkserver::become_one(parent, channel.into(), live_forked(child_main));
    }
    live(channel, counter, &boot, parent, child_main, process::exit)
}

/// Moves the channel away from descriptor 0, and leaves /dev/null there.
fn take_channel() -> io::Result<UnixStream> {
    let channel = lift(rustix::stdio::stdin())?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(channel.into())
}

/// Returns the entry point of a forked child.
fn live_forked(child_main: ChildMain) -> Live {
    Box::new(move |channel, counter, boot, parent| {
        live(channel, counter, boot, parent, child_main, kernel::exit_now)
    })
}

/// Duplicates a descriptor to a number in the range for a child's own.
fn lift(descriptor: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, DESCRIPTOR_MIN)?)
}

/// Lives as a child with the channel `channel` and the parent process `parent`: arms whatever ends
/// it with its parent, or by force when the parent raises `counter`, runs `child_main`, and leaves.
fn live(
    channel: UnixStream,
    counter: OwnedFd,
    boot: &Boot,
    parent: Pid,
    child_main: ChildMain,
    leave: fn(i32) -> !,
) -> Result<Infallible, BootFault> {
    let setup = |task| move |source| BootFault::Setup { task, source };
    let received = (channel, counter);
    let channel = UnixStream::from(lift(&received.0).map_err(setup("move the channel"))?);
    let counter = lift(&received.1).map_err(setup("move the counter"))?;
    // They must not be closed again by number if a later step fails.
    drop(received);
    let kept = [channel.as_raw_fd(), counter.as_raw_fd()];
    kernel::close_all_but(kept).map_err(setup("close what was inherited"))?;
    kernel::reset_signals();
    SCRUBBED.into_iter().for_each(kernel::remove_variable);
    // SIGCONT kills nobody: it wakes a child that was stopped, so that its watchdog can act.
    rustix::process::set_parent_process_death_signal(Some(Signal::CONT))
        .map_err(|errno| setup("ask for the parent's death")(errno.into()))?;
    rustix::thread::set_name(&CString::new(boot.label.clone()).unwrap_or_default())
        .map_err(|errno| setup("name the process")(errno.into()))?;
    let called = env::args_os().next().unwrap_or_default();
    let forkserver = boot.forkserver.then(|| Forkserver::later(called.clone()));
    origin::set(Origin { called, forkserver });

    let parent = match watchdog::open_parent(parent) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
            return Err(BootFault::Orphaned);
        }
        other => other.map_err(setup("open the parent process"))?,
    };
    let watched = lift(&channel).map_err(setup("duplicate the channel"))?;
    let watchdog = Watchdog::start(watched, parent, counter, boot.grace);
    let watchdog = watchdog.map_err(setup("start the watchdog"))?;
    channel.set_nonblocking(true).map_err(setup("make the channel one that does not block"))?;

    let code = panic::catch_unwind(AssertUnwindSafe(|| child_main(channel))).unwrap_or(PANICKED);
    // A failed write does no harm any more.
    drop(io::stdout().flush());
    if watchdog.has_fired() {
        // The parent would have killed the remaining processes of this one.
        watchdog::end_group();
    }
    leave(code)
}
