//! The programs that tests start and that a fresh machine may lack.

use std::{
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

/// Looks for the tools, installs the missing ones if possible, and reports which tests have to do
/// without.
pub(crate) fn provide() {
    let mut missing = missing();
    // Under systemd, such a package becomes a running service, which nobody has asked for.
    if Path::new("/run/systemd/system").exists() {
        missing.retain(|tool| ![DAEMONS, ETCD].contains(&tool.without));
    }
    if !missing.is_empty() {
        match why_not_installable() {
            None => install(&packages(&missing)),
            Some(reason) => {
                eprintln!("xtask: programs that tests start cannot be installed: {reason}");
            }
        }
    }

    let missing = self::missing();
    for tool in &missing {
        eprintln!("xtask: `{}` is missing: {}", tool.program, tool.without);
    }
    if !missing.is_empty() {
        eprintln!("xtask: on Debian: apt-get install {}", packages(&missing).join(" "));
    }
    if !can_make_namespaces() {
        eprintln!("xtask: no namespaces can be made here, which takes root and a kernel that can");
        eprintln!("xtask: tests across them (tests/locality) say that they are skipped");
    }
}

/// Installs the servers that a registrar is measured beside, where that is possible.
pub(crate) fn provide_peers() {
    let missing = PEERS.iter().filter(|(program, _)| !is_on_path(program));
    let missing = missing.map(|(_, package)| *package).collect::<Vec<_>>();
    match why_not_installable() {
        _ if missing.is_empty() => {}
        None => install(&missing),
        Some(reason) => eprintln!("xtask: {} cannot be installed: {reason}", missing.join(", ")),
    }
}

/// A program that tests start.
struct Tool {
    program: &'static str,
    /// The Debian package that holds it.
    package: &'static str,
    /// The consequence for the tests if it is missing.
    without: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool {
        program: "git",
        package: "git",
        without: "the rules of the workspace (tests/tidy) fail, for it lists the files that they read",
    },
    Tool {
        program: "python3",
        package: "python3",
        without: "tests that run a Python program as an actor say that they are skipped",
    },
    Tool {
        program: "ip",
        package: "iproute2",
        without: "tests across network namespaces say that they are skipped",
    },
    Tool {
        program: "unshare",
        package: "util-linux",
        without: "tests across network and mount namespaces say that they are skipped",
    },
    Tool {
        program: "mount",
        package: "mount",
        without: "tests across mount namespaces say that they are skipped",
    },
    Tool {
        program: "systemd-socket-activate",
        package: "systemd",
        without: "the test of an activation by systemd says that it is skipped, and units are not tried",
    },
    Tool { program: "dpkg-deb", package: "dpkg", without: "the Debian package is not built" },
    Tool { program: "strip", package: "binutils", without: "the Debian package is not built" },
    Tool {
        program: "script",
        package: "bsdutils",
        without: "the tests of an interrupt at a terminal fail",
    },
    Tool {
        program: "zsh",
        package: "zsh",
        without: "the test of its completion says that it is skipped",
    },
    Tool {
        program: "fish",
        package: "fish",
        without: "the test of its completion says that it is skipped",
    },
    Tool {
        program: "chromedriver",
        package: "chromium-driver",
        without: "the tests of the page in a browser say that they are skipped",
    },
    Tool { program: "curl", package: "curl", without: KEYS },
    Tool { program: "openssl", package: "openssl", without: KEYS },
    Tool {
        program: "dig",
        package: "bind9-dnsutils",
        without: "the tests of the DNS server say that they are skipped",
    },
    Tool { program: "kdig", package: "knot-dnsutils", without: RESOLVERS },
    Tool { program: "drill", package: "ldnsutils", without: RESOLVERS },
    Tool { program: "node", package: "nodejs", without: RESOLVERS },
    Tool {
        program: "promtool",
        package: "prometheus",
        without: "the tests of the metrics do not have Prometheus check and read them",
    },
    Tool { program: "nginx", package: "nginx", without: DAEMONS },
    Tool { program: "redis-server", package: "redis-server", without: DAEMONS },
    Tool { program: "memcached", package: "memcached", without: DAEMONS },
    Tool { program: "haproxy", package: "haproxy", without: DAEMONS },
    Tool { program: "lighttpd", package: "lighttpd", without: DAEMONS },
    Tool { program: "etcd", package: "etcd-server", without: ETCD },
    Tool {
        program: "mandoc",
        package: "mandoc",
        without: "the man pages are not linted, and a test says so",
    },
];

/// The servers to compare with, and their packages.
const PEERS: [(&str, &str); 4] = [
    ("redis-server", "redis-server"),
    ("memcached", "memcached"),
    ("etcd", "etcd-server"),
    ("epmd", "erlang-base"),
];

/// The consequence for the tests without a server that moves itself to the background.
const DAEMONS: &str = "the test of it as a daemon says that it is skipped";

/// The consequence without one of several resolvers.
const RESOLVERS: &str = "the test that asks the DNS server by it says that it is skipped";

/// The consequence without the server through which registrars share.
const ETCD: &str = "the tests of clusters say that they are skipped";

/// The consequence without a client that speaks TLS.
const KEYS: &str = "the test of keys with nginx says that it is skipped";

fn missing() -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| !is_on_path(tool.program)).collect()
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| {
        fs::metadata(folder.join(program))
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

fn can_make_namespaces() -> bool {
    let args = ["--net", "--mount", "--pid", "--fork", "true"];
    let tried = Command::new("unshare").args(args).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

fn packages(missing: &[&Tool]) -> Vec<&'static str> {
    missing.iter().map(|tool| tool.package).collect()
}

fn why_not_installable() -> Option<&'static str> {
    if !Path::new("/etc/debian_version").exists() || !is_on_path("apt-get") {
        return Some("this machine has no apt-get of Debian's");
    }
    // The kernel shows a process's own folder in /proc as owned by its effective user.
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    (!is_root).then_some("only root may, and this is another user")
}

/// Installs the packages. It reports a failure; the caller reports what is still missing.
fn install(packages: &[&str]) {
    let update = ["update", "--quiet"];
    let install: Vec<_> = ["install", "--quiet", "--yes", "--no-install-recommends"]
        .into_iter()
        .chain(packages.iter().copied())
        .collect();
    for args in [&update[..], &install] {
        eprintln!("xtask: apt-get {}", args.join(" "));
        let status = Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // In this runlevel no package starts its service.
            .env("RUNLEVEL", "1")
            .stdin(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => eprintln!("xtask: apt-get failed ({status})"),
            Err(error) => eprintln!("xtask: cannot start apt-get: {error}"),
        }
    }
}
