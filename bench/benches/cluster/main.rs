//! What it costs to share, and how soon others know: nodes of a cluster beside a lone one, and beside
//! bare writes to the same etcd.
//!
//! ```text
//!   clients ──▶ rome ──▶ n0 ┐
//!   clients ──▶ oslo ──▶ n1 ├ etcd, of three members
//!   clients ──▶ bern ──▶ n2 ┘
//! ```
//!
//! The nodes are the real binary, built with the feature `etcd`, and each is a process, as the members are.
//! It has the parts `events`, `rates`, `lookups` and `hosts`, and runs those that its arguments name, or
//! all. In `events` each node and its member are in a network namespace of their own, if this may make
//! some, and reach others through slow relays alone. `TMPDIR` says where etcd keeps its data, and `CALLSIGN_CLUSTER_DELAY_MS` how long the
//! bytes of `events` take in each direction.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

#[expect(dead_code, reason = "the tests of clusters use the rest")]
#[path = "../../../cluster/tests/all/etcd.rs"]
mod etcd;
mod events;
mod hosts;
mod lookups;
#[expect(dead_code, unused_imports, reason = "nodes use the rest, and test it")]
#[path = "../../../cluster/src/etcd/messages.rs"]
mod messages;
mod rates;
mod raw;
#[expect(dead_code, reason = "the tests of clusters use the rest")]
#[path = "../../../cluster/tests/all/relay.rs"]
mod relay;
mod stage;
mod wire;

use std::{
    env,
    process::{Command, exit},
    time::Duration,
};

use callsign_bench::{
    actors::{ACTOR, act},
    node_binary,
};

fn main() {
    // `cargo bench` passes flags that concern criterion alone.
    let args: Vec<_> = env::args().skip(1).filter(|it| it != "--bench").collect();
    if let [role, registrar] = &args[..]
        && role == ACTOR
    {
        return act(&registrar.parse().unwrap());
    }
    let Some(binary) = node_binary() else {
        println!("cluster: build the node first with `cargo build --release --features etcd`");
        return;
    };
    if let Some(ended) = wire::run_apart() {
        exit(ended);
    }
    let is_meant = |part: &str| args.is_empty() || args.iter().any(|it| it == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if !stage::can_share(&binary).await {
            return;
        }
        if is_meant("events") {
            events::measure(&binary, delay()).await;
        }
        if is_meant("rates") {
            rates::measure(&binary).await;
        }
        if is_meant("lookups") {
            lookups::measure(&binary).await;
        }
        if is_meant("hosts") {
            hosts::measure(&binary).await;
        }
    });
}

fn delay() -> Duration {
    let told = env::var("CALLSIGN_CLUSTER_DELAY_MS").ok().and_then(|it| it.parse().ok());
    Duration::from_millis(told.unwrap_or(1))
}

/// Says how busy the machine is.
fn load() -> String {
    let load = Command::new("uptime").output().map(|it| it.stdout).unwrap_or_default();
    let load = String::from_utf8_lossy(&load);
    load.split_once("load average: ").map_or("?", |it| it.1).trim().to_owned()
}
