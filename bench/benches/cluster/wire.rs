//! Hosts with nothing but relays between them: a network namespace for each, whose link ends in that of
//! this process, where the relays listen.
//!
//! ```text
//!   rome, n0 ── eth0 ──┐
//!   oslo, n1 ── eth0 ──┼── bridge: this process, and its relays
//!   bern, n2 ── eth0 ──┘
//! ```

use std::{
    env,
    fs::{self, Permissions},
    io::Read as _,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::etcd::Ground;

/// Where the relays listen.
pub(crate) const BETWEEN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// Is set in a process that has a network namespace of its own.
const APART: &str = "CALLSIGN_CLUSTER_APART";

/// Runs this program again in a network namespace of its own, if it is not, and may make one. Returns how that
/// has ended.
pub(crate) fn run_apart() -> Option<i32> {
    let can = "ip link set lo up && ip link add bridge type bridge";
    let mut trial = Command::new("unshare");
    let tried = trial.args(["--net", "sh", "-c", can]).stderr(Stdio::null()).status();
    if env::var_os(APART).is_some() || !tried.is_ok_and(|it| it.success()) {
        return None;
    }
    let mut again = Command::new("unshare");
    again.args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
    again.arg(env::current_exe().unwrap()).args(env::args_os().skip(1)).env(APART, "1");
    Some(again.status().unwrap().code().unwrap_or(1))
}

/// The hosts, and what is between them.
pub(crate) struct Wire {
    pub(crate) hosts: Vec<Host>,
}

/// A host. Its namespace is there as long as this.
pub(crate) struct Host {
    address: Ipv4Addr,
    holder: Child,
    folder: TempDir,
}

impl Wire {
    /// Makes so many hosts; `None`, and says so, where there can be none.
    pub(crate) fn lay(hosts: usize) -> Option<Self> {
        if env::var_os(APART).is_none() {
            println!("cluster: on one host: network namespaces with a bridge need root");
            return None;
        }
        run(&format!(
            "ip link delete bridge 2>/dev/null || true
            ip link add bridge type bridge
            ip address add {BETWEEN}/24 dev bridge
            ip link set bridge up"
        ));
        Some(Self { hosts: (1..=hosts).map(Host::join).collect() })
    }
}

impl Host {
    fn join(number: usize) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        holder.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
        let address = Ipv4Addr::new(10, 77, 0, number as u8);
        let pid = holder.id();
        run(&format!(
            "ip link add port{number} type veth peer name eth0 netns {pid}
            ip link set port{number} master bridge
            ip link set port{number} type bridge_slave isolated on
            ip link set port{number} up
            nsenter --net=/proc/{pid}/ns/net sh -ec '
                ip link set lo up
                ip address add {address}/24 dev eth0
                ip link set eth0 up
            '"
        ));
        Self { address, holder, folder: tempfile::tempdir().unwrap() }
    }

    /// Returns where a program runs that is started here.
    pub(crate) fn ground(&self, program: &Path) -> Ground {
        let entry = self.folder.path().join(program.file_name().unwrap());
        let net = format!("--net=/proc/{}/ns/net", self.holder.id());
        let script = format!("#!/bin/sh\nexec nsenter {net} {} \"$@\"\n", program.display());
        fs::write(&entry, script).unwrap();
        fs::set_permissions(&entry, Permissions::from_mode(0o700)).unwrap();
        Ground { address: self.address, program: entry }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

fn run(script: &str) {
    assert!(Command::new("sh").args(["-ec", script]).status().unwrap().success(), "{script}");
}
