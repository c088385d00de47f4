//! The page of figures in the documentation.

use std::{fs, path::Path, process::Command, thread};

use crate::{chart, table::Table};

/// Writes `benchmarks.md` and its chart into a folder.
pub(crate) fn write(folder: &Path, table: &Table, missing: &[&str]) {
    fs::write(folder.join("benchmarks.svg"), chart::svg(table)).unwrap();
    let without = if missing.is_empty() {
        String::new()
    } else {
        format!("Not there, and left out: {}.\n\n", missing.join(", "))
    };
    let text = format!(
        "# Benchmarks\n\n\
         Processor time of the server for each operation, from the scheduler's own count, beside \
         other\nservers in the same run. `cargo xtask bench --peers` has written this page.\n\n\
         - Machine: {}, {} processors, Linux {}, load {} at the end.\n\
         - Versions: callsign {}, {}.\n\
         - Date: {}.\n\n\
         {without}\
         All servers run in processes of their own on one processor and are asked over Unix \
         sockets, by one\nclosed loop on another processor: it writes, waits for all answers, and \
         writes again. They take turns,\nand another one begins each round; a figure is the median \
         of five rounds. What stands for an instance\nat the others is a value as long as a \
         registrar's answer about one. Redis has no sessions, no leases and\nno owners; memcached \
         has no watches either.\n\n\
         {}\n\n\
         ![The same as a chart: times of Redis's cost](benchmarks.svg)\n\n\
         [performance.md](performance.md) says where the time goes.\n",
        processor(),
        thread::available_parallelism().map_or(1, usize::from),
        said("uname", &["-r"]),
        fs::read_to_string("/proc/loadavg").unwrap().split(' ').next().unwrap(),
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
    [redis, Some(memcached)]
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
