//! The page of figures in the documentation.

use std::{fs, path::Path, process::Command};

use crate::{chart, table::Table};

/// Writes `benchmarks.md` and its chart into a folder.
pub(crate) fn write(folder: &Path, table: &Table, missing: &[&str]) {
    fs::write(folder.join("benchmarks.svg"), chart::svg(table)).unwrap();
    let without = if missing.is_empty() {
        String::new()
    } else {
        format!("Not there, and left out: {}.\n\n", missing.join(", "))
    };
    // All of them: this process has bound itself to one.
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap();
    let processors = processors.lines().filter(|it| it.starts_with("processor")).count();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let load = load.split(' ').next().unwrap().to_owned();
    let is_busy = load.parse::<f64>().unwrap() > 1.5 * processors as f64;
    let busy = if is_busy { ", because other work kept it busy" } else { "" };
    let text = format!(
        "# Benchmarks\n\n\
         Processor time of the server for each operation, from the scheduler's own count, beside \
         other\nservers in the same run. `cargo xtask bench --peers` has written this page.\n\n\
         - Machine: {}, {processors} processors, Linux {}, load {load} at the end{busy}.\n\
         - Versions: callsign {}, {}.\n\
         - Date: {}.\n\n\
         {without}\
         All servers run in processes of their own on one processor and are asked over Unix \
         sockets, by one\nclosed loop on another processor: it writes, waits for all answers, and \
         writes again. They take turns,\nand another one begins each round; a figure is the median \
         of five rounds. What stands for an instance\nat the others is a value as long as a \
         registrar's answer about one. Redis has no sessions, no leases and\nno owners; memcached \
         has no watches either.\n\n\
         etcd and Erlang's port mapper (epmd) are asked over TCP, which costs more than a Unix \
         socket. etcd is\nasked over its HTTP gateway, which costs it more than gRPC, writes to a \
         disk, and does a twentieth of\nthe operations. At epmd, which answers with no more than a \
         port, each question takes a connection. What \
         is\ncalled bare does nothing but receive and send as many bytes: what the kernel takes.\n\n\
         {}\n\n\
         ![The same as a chart: times of Redis's cost](benchmarks.svg)\n\n\
         [performance.md](performance.md) says where the time goes.\n",
        processor(),
        said("uname", &["-r"]),
        env!("CARGO_PKG_VERSION"),
        versions(),
        said("date", &["-u", "+%-d %B %Y"]),
        table.lines().join("\n"),
    );
    fs::write(folder.join("benchmarks.md"), text).unwrap();
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|it| it.starts_with("model name"));
    line.and_then(|it| it.split_once(": ")).map_or("unknown", |it| it.1).to_owned()
}

fn versions() -> String {
    let redis = said("redis-server", &["--version"]);
    let redis = redis.split_whitespace().find_map(|it| it.strip_prefix("v=")).map(str::to_owned);
    let memcached = said("memcached", &["--version"]);
    let redis = redis.map(|it| format!("Redis {it}"));
    let etcd = said("etcd", &["--version"]);
    let etcd = etcd.lines().find_map(|it| it.strip_prefix("etcd Version: ")).map(str::to_owned);
    let etcd = etcd.map(|it| format!("etcd {it}"));
    let erlang = said("dpkg-query", &["--show", "--showformat=${Version}", "erlang-base"]);
    let erlang = Some(erlang).filter(|it| !it.is_empty()).map(|it| format!("epmd of Erlang {it}"));
    [redis, Some(memcached), etcd, erlang]
        .into_iter()
        .flatten()
        .filter(|it| !it.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns what a program prints, or nothing if it is not there.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output
        .map_or_else(|_| String::new(), |it| String::from_utf8_lossy(&it.stdout).trim().to_owned())
}
