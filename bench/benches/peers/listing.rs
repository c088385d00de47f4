//! A list of everything, by the command.

use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use callsign_bench::server::{ServerProcess, memory_bytes};

/// What `callsign ls` takes.
pub(crate) struct Listing {
    /// Until its first byte.
    pub(crate) first: Duration,
    /// Until its last.
    pub(crate) last: Duration,
    /// The most memory in RAM.
    pub(crate) peak_bytes: u64,
}

/// Lists all that is registered.
pub(crate) fn list(binary: &Path, server: &ServerProcess) -> Listing {
    let began = Instant::now();
    let mut child = Command::new(binary)
        .args(["ls", "--registrar"])
        .arg(format!("/unix{}", server.socket.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut rows, mut buffer) = (child.stdout.take().unwrap(), vec![0; 64 * 1024]);
    let (mut first, mut peak_bytes) = (None, 0);
    while rows.read(&mut buffer).unwrap() > 0 {
        first.get_or_insert_with(|| began.elapsed());
        peak_bytes = memory_bytes(child.id(), "VmHWM:").unwrap_or(peak_bytes);
    }
    let last = began.elapsed();
    assert!(child.wait().unwrap().success(), "the list is whole");
    Listing { first: first.unwrap(), last, peak_bytes }
}
