//! Messages of a program to the service manager, which pass through the process that runs it.
//!
//! The manager listens to the process that it started, and has given it a watchdog. The program gets a
//! socket of this process in place of the manager's:
//!
//! ```text
//!   program ── sd_notify(3) ──▶ relay ── what concerns the service ──▶ service manager
//!                                 └── WATCHDOG=1, until the program sends its own ──▶
//! ```

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram as StdDatagram},
    },
    time::Duration,
};

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, UCred, recvmsg,
        sockopt::set_socket_passcred,
    },
    process::geteuid,
};
use tokio::{
    io::Interest,
    net::UnixDatagram,
    time::{Instant, sleep_until},
};
use transport::is_descendant;
use uuid::Uuid;

use super::{Watchdog, is_managed, send_text};

/// The socket that a program tells of itself.
#[derive(Debug)]
pub(crate) struct Relay {
    socket: UnixDatagram,
    address: String,
    /// What the manager has yet to take, the oldest first.
    pending: VecDeque<String>,
    /// When that is tried again.
    retry: Option<Instant>,
    /// Whether the program keeps the watchdog itself.
    is_kept_by_program: bool,
}

impl Relay {
    /// Opens a relay; `None` if there is no service manager, or there can be no such socket.
    pub(crate) fn open() -> Option<Self> {
        if !is_managed() {
            return None;
        }
        let opened = Self::bind();
        opened.inspect_err(|error| tracing::warn!(%error, "a program cannot be relayed")).ok()
    }

    fn bind() -> io::Result<Self> {
        // It has no file that could stay behind.
        let name = format!("callsign-notify-{}", Uuid::new_v4());
        let socket = StdDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        set_socket_passcred(&socket, true)?;
        Ok(Self {
            socket: UnixDatagram::from_std(socket)?,
            address: format!("@{name}"),
            pending: VecDeque::new(),
            retry: None,
            is_kept_by_program: false,
        })
    }

    /// Returns the value of `NOTIFY_SOCKET` for the program.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Passes messages on for as long as it is polled, and feeds the watchdog until the program does.
    pub(crate) async fn pass_on(mut self, mut watchdog: Watchdog) -> Infallible {
        loop {
            let (retry, is_kept) = (self.retry, self.is_kept_by_program);
            tokio::select! {
                () = watchdog.ping(), if !is_kept => {}
                message = self.next() => self.take(&message),
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                    self.flush();
                }
            }
        }
    }

    /// Waits for the next message of this user, of root, or of a descendant.
    async fn next(&self) -> String {
        loop {
            let received = self.socket.async_io(Interest::READABLE, || receive(&self.socket)).await;
            match received {
                Ok(Some((text, sender))) if is_program(sender) => return text,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the program's messages cannot be read any more");
                    return std::future::pending().await;
                }
            }
        }
    }

    fn take(&mut self, message: &str) {
        let (text, feeds) = passed(message);
        self.is_kept_by_program |= feeds;
        if text.is_empty() {
            return;
        }
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back(text);
        self.flush();
    }

    /// Sends what the manager takes now.
    fn flush(&mut self) {
        self.retry = None;
        while let Some(text) = self.pending.front() {
            match send_text(text, None) {
                // Its queue is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.retry = Some(Instant::now() + RETRY_AFTER);
                    return;
                }
                Err(error) => tracing::warn!(%error, "the service manager cannot be told"),
                Ok(()) => {}
            }
            self.pending.pop_front();
        }
    }
}

/// Receives a message and its sender. Descriptors that come with it are closed, so that a program that
/// waits for that (`sd_notify_barrier(3)`) goes on.
fn receive(socket: &UnixDatagram) -> io::Result<Option<(String, UCred)>> {
    let mut bytes = [0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received =
        recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?;
    let is_whole = !received.flags.contains(rustix::net::ReturnFlags::TRUNC);
    let mut sender = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmCredentials(credentials) = message {
            sender = Some(credentials);
        }
    }
    let text = str::from_utf8(&bytes[..received.bytes]).ok().filter(|_| is_whole);
    Ok(text.map(str::to_owned).zip(sender))
}

fn is_program(sender: UCred) -> bool {
    sender.uid.is_root()
        || sender.uid == geteuid()
        || is_descendant(sender.pid.as_raw_nonzero().get())
}

/// Returns the lines of a message that concern the service, and tells whether it feeds the watchdog.
/// What concerns a process or its descriptors is the manager's matter with this one.
fn passed(message: &str) -> (String, bool) {
    let (mut text, mut feeds) = (String::new(), false);
    for line in message.lines() {
        let key = line.split_once('=').map(|(key, _)| key);
        if key.is_some_and(|it| PASSED.contains(&it)) {
            feeds |= matches!(key, Some("WATCHDOG" | "WATCHDOG_USEC"));
            text += line;
            text.push('\n');
        }
    }
    (text, feeds)
}

/// What a program may say of its service. `MAINPID` and what belongs to descriptors are not among it.
const PASSED: [&str; 10] = [
    "READY",
    "RELOADING",
    "STOPPING",
    "MONOTONIC_USEC",
    "STATUS",
    "ERRNO",
    "BUSERROR",
    "WATCHDOG",
    "WATCHDOG_USEC",
    "EXTEND_TIMEOUT_USEC",
];

/// The longest message that systemd reads.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The most messages that wait for a manager that is behind: the newest tell what holds.
const PENDING_MAX: usize = 16;

/// The pause before such a manager is told again.
const RETRY_AFTER: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_the_service_is_passed_on() {
        let check = |message: &str, expected: &str, feeds: bool| {
            assert_eq!(passed(message), (expected.to_owned(), feeds), "{message}");
        };
        check("READY=1\nSTATUS=7 = seven", "READY=1\nSTATUS=7 = seven\n", false);
        check("RELOADING=1\nMONOTONIC_USEC=7\n", "RELOADING=1\nMONOTONIC_USEC=7\n", false);
        check("MAINPID=7\nWATCHDOG=1", "WATCHDOG=1\n", true);
        check("WATCHDOG_USEC=7", "WATCHDOG_USEC=7\n", true);
        check("FDSTORE=1\nFDNAME=a", "", false);
        check("BARRIER=1", "", false);
        check("READY", "", false);
        check("", "", false);
    }
}
