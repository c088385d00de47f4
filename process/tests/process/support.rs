//! Shared by the tests: a child that plays a role, and bounds on every wait.

use std::{future::Future, os::fd::OwnedFd, pin::Pin, time::Duration};

use callsign_process::{Child, Kind, Launch, Signal};
use libtest_mimic::Trial;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

/// No test takes longer, however slow the machine.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(240);

pub(crate) type Body = fn(Kind) -> Pin<Box<dyn Future<Output = ()>>>;

/// Makes two tests of each body: one for each kind of child.
pub(crate) fn of_each_kind(bodies: &[(&str, Body)]) -> Vec<Trial> {
    let kinds = [("exec", Kind::Exec), ("fork", Kind::Fork)];
    let trial = |name: String, body: Body, kind| {
        Trial::test(name, move || {
            block_on(body(kind));
            Ok(())
        })
    };
    bodies
        .iter()
        .flat_map(|(name, body)| {
            kinds.map(|(of, kind)| trial(format!("{of}::{name}"), *body, kind))
        })
        .collect()
}

/// Runs to the end in a separate runtime, or fails.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(TEST_TIMEOUT, future).await }).expect("in time")
}

/// A child that plays a role, and this end of its channel.
pub(crate) struct Played {
    pub(crate) child: Child,
    pub(crate) channel: BufReader<UnixStream>,
}

impl Played {
    /// Starts a child of a kind.
    pub(crate) async fn start(kind: Kind, role: &str) -> Self {
        Self::launch(Launch { kind, ..Launch::exec("player") }, role).await
    }

    pub(crate) async fn launch(launch: Launch, role: &str) -> Self {
        let mut child = launch.start().await.unwrap();
        let channel = child.take_channel().expect("nobody has taken it");
        let channel = BufReader::new(UnixStream::from_std(channel).unwrap());
        let mut played = Self { child, channel };
        played.says(role).await;
        played
    }

    /// Sends a line to the child.
    pub(crate) async fn says(&mut self, line: &str) {
        self.channel.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Returns the next line of the child over the channel; nothing at its end.
    pub(crate) async fn hears(&mut self) -> String {
        let mut line = String::new();
        // A child killed with unread input resets the channel; there are no more lines then.
        drop(self.channel.read_line(&mut line).await);
        line.trim_end().to_owned()
    }

    /// Returns the number of a process, as the child sends it.
    pub(crate) async fn hears_pid(&mut self) -> Stranger {
        Stranger::open(self.hears().await.parse().expect("a number"))
    }
}

/// A process that is not this one's child.
pub(crate) struct Stranger {
    pidfd: OwnedFd,
}

impl Stranger {
    pub(crate) fn open(pid: i32) -> Self {
        let pid = Pid::from_raw(pid).expect("a number of a process");
        Self { pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap() }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::pidfd_send_signal(&self.pidfd, signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(self) {
        let wait = move || {
            let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
            let timeout = Timespec { tv_sec: TEST_TIMEOUT.as_secs() as i64, tv_nsec: 0 };
            rustix::event::poll(&mut polled, Some(&timeout)).unwrap()
        };
        assert_eq!(tokio::task::spawn_blocking(wait).await.unwrap(), 1, "the process lives on");
    }
}
