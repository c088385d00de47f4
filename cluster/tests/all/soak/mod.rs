//! Three nodes and three members of etcd, one after another of which dies or is cut off, under load.
//!
//! Nodes and clients are in this process, and members are processes. Bytes between them take a
//! millisecond in each direction, and more if `CALLSIGN_CLUSTER_DELAY_MS` says so. There are as many
//! rounds of all faults as `CALLSIGN_SOAK_ROUNDS` says, and none without: what is promised holds within
//! seconds, which a busy disk alone delays. `TMPDIR=/dev/shm` keeps etcd's data off the disk.

mod model;
mod stage;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::stage::{Fault, Stage};

/// What happens, what it is called, and whether etcd can decide meanwhile.
const FAULTS: &[(&str, Fault)] = &[
    ("a member is killed", Fault::Member),
    ("the leader is killed", Fault::Leader),
    ("a node is killed", Fault::Node),
    ("a link between a node and a member is cut", Fault::Link),
    ("the links to a member from the others are cut", Fault::Peer),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_part_may_fail_under_load() {
    let Some(rounds) = rounds() else { return };
    let Some(mut stage) = Stage::set(delay()).await else { return };
    for round in 0..rounds {
        for (name, fault) in FAULTS {
            let began = Instant::now();
            let mending = stage.inject(*fault).await;
            sleep(HURT_FOR).await;
            stage.mend(mending).await;
            sleep(CALM_FOR).await;
            eprintln!("round {round}: {name}, {:?}: {}", began.elapsed(), stage.summary());
        }
    }
    stage.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_may_be_gone_for_a_while() {
    let Some(rounds) = rounds() else { return };
    let Some(mut stage) = Stage::set(delay()).await else { return };
    stage.lose_etcd(Duration::from_secs(if rounds > 1 { 60 } else { 5 })).await;
    sleep(CALM_FOR).await;
    stage.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_at_one_node_is_soon_seen_at_another() {
    let Some(rounds) = rounds() else { return };
    let Some(stage) = Stage::set(delay()).await else { return };
    stage.measure_events(if rounds > 1 { 500 } else { 20 }).await;
    stage.check().await;
}

fn rounds() -> Option<usize> {
    let told = std::env::var("CALLSIGN_SOAK_ROUNDS").ok().and_then(|it| it.parse().ok());
    if told.is_none() {
        eprintln!("skipped: `cargo xtask soak cluster` runs it");
    }
    told
}

fn delay() -> Duration {
    let told = std::env::var("CALLSIGN_CLUSTER_DELAY_MS").ok().and_then(|it| it.parse().ok());
    Duration::from_millis(told.unwrap_or(1))
}

/// For how long a fault lasts: longer than a lease.
const HURT_FOR: Duration = Duration::from_millis(4200);

/// For how long all is well after it.
const CALM_FOR: Duration = Duration::from_millis(4500);
