//! Servers in processes of their own, beside which others are measured.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
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
    /// Where it listens, unless it has a port.
    pub socket: PathBuf,
    /// Its port of the loopback, if it does not listen at a socket.
    pub port: Option<u16>,
    _folder: tempfile::TempDir,
}

impl ServerProcess {
    /// Starts a registrar of this binary, with these settings. Clients of an earlier one are not
    /// awaited.
    pub fn callsign(binary: &Path, settings: &str, args: &[&str]) -> Self {
        let it = Self::callsign_anywhere(binary, settings, args);
        place(Some(Pid::from_child(&it.child)), SERVERS);
        it
    }

    /// Does the same, and leaves it to the kernel where it runs.
    pub fn callsign_anywhere(binary: &Path, settings: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join(SOCKET);
        let mut child = Self::command(binary, folder.path(), settings).args(args).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
        Self { child, socket, port: None, _folder: folder }
    }

    /// Returns what starts a registrar in a folder.
    pub fn command(binary: &Path, folder: &Path, settings: &str) -> Command {
        let file = folder.join("callsign.toml");
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(binary);
        command.args(["registrar", "--settle-time", "0s", "--config"]).arg(file).arg("--listen");
        command.arg(format!("/unix{}", folder.join(SOCKET).display())).stdout(Stdio::piped());
        command
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

    /// Starts an etcd of one member, which answers at a port, and keeps its data in its folder.
    pub fn etcd() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [port, peers] = free_ports();
        let [url, peers] = [port, peers].map(|it| format!("http://127.0.0.1:{it}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.args(["--log-level", "error", "--quota-backend-bytes", "8000000000"]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        let it = Self::at_port(command, port, folder);
        // It answers nothing before it has elected itself.
        while !is_healthy(port) {
            thread::sleep(Duration::from_millis(10));
        }
        it
    }

    /// Starts Erlang's port mapper at a port.
    pub fn epmd() -> Self {
        let [port, _] = free_ports();
        let mut command = Command::new("epmd");
        command.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
        Self::at_port(command, port, tempfile::tempdir().unwrap())
    }

    /// Starts this program again, as a server: with an argument, and its socket.
    pub fn again(argument: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(argument);
        Self::foreign(command, "again.sock")
    }

    /// Starts a dnsmasq that answers from records of its own, and asks nobody.
    pub fn dnsmasq(records: impl Iterator<Item = String>) -> Self {
        let [port, _] = free_ports();
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
        ]);
        command.args([
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            "--user=root",
            "--pid-file",
        ]);
        command.arg(format!("--port={port}")).args(records);
        Self::at_port(command, port, tempfile::tempdir().unwrap())
    }

    /// Starts this program in another role, which listens at a port.
    pub fn own(args: &[&str], port: u16) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(args);
        Self::at_port(command, port, tempfile::tempdir().unwrap())
    }

    fn at_port(mut command: Command, port: u16, folder: tempfile::TempDir) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        place(Some(Pid::from_child(&child)), SERVERS);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        Self { child, socket: PathBuf::new(), port: Some(port), _folder: folder }
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
        Self { child, socket, port: None, _folder: folder }
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
        memory_bytes(self.child.id(), "VmRSS:").unwrap()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Returns what the kernel says of a process's memory under a key, in bytes, while it runs.
pub fn memory_bytes(process: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|it| it.starts_with(key))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Finds ports that nobody has at the moment.
pub fn free_ports() -> [u16; 2] {
    let held = [0; 2].map(|it| TcpListener::bind((Ipv4Addr::LOCALHOST, it)).unwrap());
    held.map(|it| it.local_addr().unwrap().port())
}

fn is_healthy(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains("true")
}

/// Tells whether a program is there, and says its version.
pub fn is_there(program: &str) -> bool {
    let mut version = Command::new(program);
    version.arg("--version").stdout(Stdio::null()).status().is_ok_and(|it| it.success())
}

/// Tells whether there is a program that does not say its version.
pub fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|it| it.join(program).is_file())
}

/// Puts a process, or this thread, on a processor, before all that has not been put before others.
pub fn place(process: Option<Pid>, processor: usize) {
    let mut processors = CpuSet::new();
    processors.set(processor % thread::available_parallelism().map_or(1, usize::from).max(2));
    // A machine with one processor, or a user who may not, goes without.
    _ = sched_setaffinity(process, &processors);
    _ = setpriority_process(process, PRIORITY);
}

/// The socket of a registrar in its folder.
const SOCKET: &str = "registrar.sock";

/// The processor of the clients, and that of the servers.
pub const CLIENTS: usize = 0;
const SERVERS: usize = 1;

/// Before other programs, and equal among themselves.
const PRIORITY: i32 = -15;
