//! The forkserver: a process with a single thread that is forked again and again.
//!
//! It was forked when the program had one thread and has never had more, so its children find
//! every lock free. It waits for a request or for the end of a child, and ends when the process
//! that made it does.

use std::{
    convert::Infallible,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    panic::{self, AssertUnwindSafe},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags},
    process::{Pid, PidfdFlags, Signal},
};

use super::wire::{self, Message};
use crate::{
    boot::{Boot, BootFault},
    held::{self, TRACED_EVERY},
    kernel,
};

/// The entry point of a forked child: it gets its channel, the counter that forces its end, its
/// parent's message and the process that forked it. It returns only an error.
pub(crate) type Live =
    Box<dyn Fn(UnixStream, OwnedFd, &Boot, Pid) -> Result<Infallible, BootFault>>;

/// Forks the forkserver off, and returns this process's end of the socket to it, and its number.
/// Must be called while there is one thread.
pub(crate) fn fork(live: Live) -> io::Result<(OwnedFd, Pid)> {
    let (socket, theirs) = wire::pair()?;
    let parent = rustix::process::getpid();
    if let Some(pid) = kernel::fork()? {
        return Ok((socket, pid));
    }
    drop(socket);
    become_one(parent, theirs, live)
}

/// Makes this process, which must have one thread, the forkserver of `parent`: it never returns to
/// the program's `main`. Its end is the end of the socket, which the maker sees.
pub(crate) fn become_one(parent: Pid, socket: OwnedFd, live: Live) -> ! {
    let serve = || Server::begin(parent, socket, live).and_then(Server::serve);
    let served = panic::catch_unwind(AssertUnwindSafe(serve));
    kernel::exit_now(i32::from(!matches!(served, Ok(Ok(())))))
}

struct Server {
    socket: OwnedFd,
    live: Live,
    own: Pid,
    children: Vec<Forked>,
}

struct Forked {
    launch: u64,
    pid: Pid,
    pidfd: OwnedFd,
}

impl Server {
    /// Makes this new process the forkserver of `parent`.
    fn begin(parent: Pid, socket: OwnedFd, live: Live) -> io::Result<Self> {
        kernel::close_all_but([socket.as_raw_fd()])?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        // A terminal's Ctrl-C is for its maker, which ends the children first.
        rustix::process::setpgid(None, None)?;
        // It has nothing to tidy up. A maker that ended before this closed the socket.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid().is_some_and(|now| now != parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        rustix::thread::set_name(c"callsign-fork")?;
        Ok(Self { socket, live, own: rustix::process::getpid(), children: Vec::new() })
    }

    /// Serves until the maker has gone.
    fn serve(mut self) -> io::Result<()> {
        loop {
            let (asked, ended) = self.poll()?;
            for at in ended.into_iter().rev() {
                self.reap(at)?;
            }
            if !asked {
                continue;
            }
            match wire::receive(self.socket.as_fd())? {
                None => return Ok(()),
                Some((Message::Fork { launch }, descriptors)) => self.fork(launch, descriptors)?,
                Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// Waits, and returns whether there is a request or the maker's end, and which children have
    /// ended.
    fn poll(&self) -> io::Result<(bool, Vec<usize>)> {
        let mut polled = vec![PollFd::new(&self.socket, PollFlags::IN)];
        polled.extend(self.children.iter().map(|it| PollFd::new(&it.pidfd, PollFlags::IN)));
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
        let is_ready = |it: &PollFd<'_>| !it.revents().is_empty();
        let ended = (0..self.children.len()).filter(|at| is_ready(&polled[at + 1])).collect();
        Ok((is_ready(&polled[0]), ended))
    }

    fn reap(&mut self, at: usize) -> io::Result<()> {
        let child = &self.children[at];
        let Some(ended) = held::reap(&child.pidfd, child.pid)? else {
            // A tracer has to see its end first. No event reports when it has.
            thread::sleep(TRACED_EVERY);
            return Ok(());
        };
        let launch = self.children.swap_remove(at).launch;
        wire::send(self.socket.as_fd(), Message::Ended { launch, ended }, &[])
    }

    fn fork(&mut self, launch: u64, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let refuse =
            |errno| wire::send(self.socket.as_fd(), Message::NotForked { launch, errno }, &[]);
        // Descriptors that did not arrive had no room here.
        let Ok([channel, output, error]) = <[OwnedFd; 3]>::try_from(descriptors) else {
            return refuse(libc::EMFILE);
        };
        let pid = match kernel::fork() {
            Ok(Some(pid)) => pid,
            Ok(None) => self.become_child(channel, &output, &error),
            Err(error) => return refuse(error.raw_os_error().unwrap_or(libc::EAGAIN)),
        };
        // It is this process's child and was not reaped, so the number is its own. It leads its
        // group from here on, however far it is itself; its end is seen below.
        let _ = rustix::process::setpgid(Some(pid), Some(pid));
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => {
                let forked = Message::Forked { launch, pid: pid.as_raw_nonzero().get() };
                wire::send(self.socket.as_fd(), forked, &[pidfd.as_fd()])?;
                self.children.push(Forked { launch, pid, pidfd });
                Ok(())
            }
            Err(errno) => {
                rustix::process::kill_process(pid, Signal::KILL)?;
                rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
                refuse(errno.raw_os_error())
            }
        }
    }

    /// Continues as a child.
    fn become_child(&self, channel: OwnedFd, output: &OwnedFd, error: &OwnedFd) -> ! {
        let Err(fault) = self.try_become_child(channel, output, error);
        fault.give_up()
    }

    fn try_become_child(
        &self,
        channel: OwnedFd,
        output: &OwnedFd,
        error: &OwnedFd,
    ) -> Result<Infallible, BootFault> {
        let setup =
            |task| move |errno: rustix::io::Errno| BootFault::Setup { task, source: errno.into() };
        rustix::stdio::dup2_stderr(error).map_err(setup("take standard error"))?;
        rustix::stdio::dup2_stdout(output).map_err(setup("take standard output"))?;
        rustix::process::setpgid(None, None).map_err(setup("lead a group of its own"))?;
        let channel = UnixStream::from(channel);
        let (boot, counter) = Boot::read(&channel)?;
        (self.live)(channel, counter, &boot, self.own)
    }
}
