//! Servers in processes of their own, beside which others are measured.

use std::{
    fs,
    io::Read,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::{
    process::{Pid, setpriority_process},
    thread::{CpuSet, sched_setaffinity},
};

/// A server in a process of its own, at a socket in a folder of its own. Both are gone when it is
/// dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    /// Where it listens.
    pub socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl ServerProcess {
    /// Starts a registrar of this binary, with these settings. Clients of an earlier one are not
    /// awaited.
    pub fn callsign(binary: &Path, settings: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("registrar.sock");
        let file = folder.path().join("callsign.toml");
        fs::write(&file, settings).unwrap();
        let mut child = Command::new(binary)
            .args(["registrar", "--settle-time", "0s"])
            .args(args)
            .arg("--config")
            .arg(file)
            .arg("--listen")
            .arg(format!("/unix{}", socket.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        place(Some(Pid::from_child(&child)), SERVERS);
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
        Self { child, socket, _folder: folder }
    }

    /// Starts a Redis that keeps nothing on a disk.
    pub fn redis() -> Self {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no"]);
        command.args(["--maxclients", "10000", "--unixsocket"]);
        Self::foreign(command, "redis.sock")
    }

    /// Starts a memcached with one thread that serves.
    pub fn memcached() -> Self {
        let mut command = Command::new("memcached");
        command.args(["-u", "root", "-t", "1", "-m", "4096", "-c", "10000", "-s"]);
        Self::foreign(command, "memcached.sock")
    }

    /// Starts a server whose last argument is its socket.
    fn foreign(mut command: Command, socket: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join(socket);
        let child = command.arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        place(Some(Pid::from_child(&child)), SERVERS);
        while UnixStream::connect(&socket).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        Self { child, socket, _folder: folder }
    }

    /// Returns the processor time of all of its threads, as the scheduler counts it.
    pub fn processor_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let times = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
        });
        times.sum()
    }

    /// Returns how much of its memory is in RAM, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Tells whether a program is there, and says its version.
pub fn is_there(program: &str) -> bool {
    let mut version = Command::new(program);
    version.arg("--version").stdout(Stdio::null()).status().is_ok_and(|it| it.success())
}

/// Puts a process, or this thread, on a processor, before all that has not been put before others.
pub fn place(process: Option<Pid>, processor: usize) {
    let mut processors = CpuSet::new();
    processors.set(processor % thread::available_parallelism().map_or(1, usize::from).max(2));
    // A machine with one processor, or a user who may not, goes without.
    _ = sched_setaffinity(process, &processors);
    _ = setpriority_process(process, PRIORITY);
}

/// The processor of the clients, and that of the servers.
pub const CLIENTS: usize = 0;
const SERVERS: usize = 1;

/// Before other programs, and equal among themselves.
const PRIORITY: i32 = -15;
