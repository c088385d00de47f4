//! How many registrations a second three nodes share, beside bare writes of the same bytes to the same etcd:
//! batched, and each by itself.

use std::{path::Path, time::Instant};

use callsign_bench::{Client, batches, registrations};
use tokio::task::JoinSet;

use crate::{
    load,
    lookups::median,
    messages::{KeyValue, RequestOp},
    raw::{Raw, apart},
    stage::{NODES, Stage},
};

/// The registrations at each node, and those under way at once.
const COUNT: usize = 6_000;
const DEPTH: usize = 64;

/// How many of the same are written each by itself.
const SINGLE: usize = 300;

/// The writes of one transaction: as many as etcd allows by default, but for a few.
const BATCH: usize = 120;

/// The bundles of one transaction, as many as a node writes.
const BUNDLES: usize = 16;

const TURNS: usize = 3;

pub(crate) async fn measure(binary: &Path) {
    let Some(stage) = Stage::set(binary, None).await else { return };
    let places = stage.etcd.endpoints();
    let mut rates = [const { Vec::new() }; 6];
    for turn in 0..TURNS {
        let (shared, bundled) = through_nodes(&stage, turn).await;
        rates[0].push(shared);
        let bytes: Vec<_> = bundled.iter().map(|it| apart(it)).collect();
        assert!(bytes.iter().all(|it| it.len() == COUNT));
        let bare = [
            (&bytes, BATCH, 1),
            (&bytes, BATCH, 8),
            (&bytes, 1, 1),
            (&bytes, 1, DEPTH),
            (&bundled, BUNDLES, 8),
        ];
        for (at, (bytes, batch, under_way)) in bare.into_iter().enumerate() {
            let bare = bare_puts(&places, bytes, batch, under_way).await;
            rates[at + 1].push(bare);
            println!(
                "rates: turn {turn}: {bare:.0}/s bare, {batch} at once, {under_way} under way"
            );
        }
    }
    let rates = rates.map(median);
    let what = [
        "registered through three nodes, and known at all",
        "bare writes of the same bytes, in transactions of 120, one under way at a time of each",
        "the same, eight under way",
        "each written by itself, one under way at a time of each",
        "the same, 64 under way",
        "the same records in the bundles in which nodes write them, 16 in a transaction, eight under way",
    ];
    for (rate, what) in rates.iter().zip(what) {
        println!("rates: {rate:.0}/s, {:.2} ×: {what}", rates[0] / rate);
    }
    println!("rates: medians of {TURNS} turns, load {}", load());
}

/// Registers at all nodes until all know, and returns the rate, and what nodes have written.
async fn through_nodes(stage: &Stage, turn: usize) -> (f64, Vec<Vec<KeyValue>>) {
    let mut clients = Vec::new();
    for (at, node) in stage.nodes.iter().enumerate() {
        let names = (0..COUNT).map(|it| format!("feed-{turn}-{at}-{it}"));
        let requests = batches(&registrations(names), DEPTH);
        clients.push((Client::greet(&node.endpoint).await, requests));
    }
    let before = stage.nodes[0].status().await.instances;
    let all = before + (NODES.len() * COUNT) as u64;
    let used =
        || stage.nodes.iter().map(|it| it.server.processor_time().as_secs_f64()).sum::<f64>();
    let (began, used_before) = (Instant::now(), used());
    let mut working = JoinSet::new();
    for (mut client, requests) in clients {
        working.spawn(async move {
            for (number, request) in requests.iter().enumerate() {
                client.exchange(request, DEPTH.min(COUNT - number * DEPTH)).await;
            }
            client
        });
    }
    let clients = working.join_all().await;
    for node in &stage.nodes {
        node.until(|_, instances| instances >= all).await;
    }
    let rate = (NODES.len() * COUNT) as f64 / began.elapsed().as_secs_f64();
    let cost = (used() - used_before) * 1e6 / (NODES.len() * COUNT) as f64;
    println!("rates: a registration takes {cost:.1} µs of all nodes' processor time together");
    let etcd = Raw::connect(&stage.etcd.endpoints()[0]).await;
    let mut bytes = Vec::new();
    for name in NODES {
        let written = etcd.all(format!("/callsign/records/{name}/").as_bytes()).await;
        bytes.push(written);
    }
    drop(clients);
    for node in &stage.nodes {
        node.until(|_, instances| instances <= before).await;
    }
    (rate, bytes)
}

/// Writes the same to etcd, as three writers, so many at once and so many under way of each.
async fn bare_puts(
    places: &[String],
    bytes: &[Vec<KeyValue>],
    batch: usize,
    under_way: usize,
) -> f64 {
    let count = if batch > 1 { COUNT } else { SINGLE * under_way.min(10) };
    let (mut writers, mut leases) = (Vec::new(), Vec::new());
    for (place, bytes) in places.iter().zip(bytes) {
        let etcd = Raw::connect(place).await;
        let lease = etcd.grant(600).await;
        leases.push((etcd.clone(), lease));
        // As long as before, and of nobody's prefix.
        let other = |it: &KeyValue| ([b"/measured", &it.key[9..]].concat(), it.value.clone());
        let all: Vec<_> = bytes.iter().take(count).map(other).collect();
        let requests: Vec<Vec<_>> = all.chunks(batch).map(<[_]>::to_vec).collect();
        // Dealt to as many as may be under way.
        let mut hands = vec![Vec::new(); under_way];
        for (at, request) in requests.into_iter().enumerate() {
            hands[at % under_way].push(request);
        }
        writers.extend(hands.into_iter().map(|hand| write(etcd.clone(), hand, lease)));
    }
    let began = Instant::now();
    let mut working = JoinSet::new();
    for writer in writers {
        working.spawn(writer);
    }
    working.join_all().await;
    let rate = (NODES.len() * count) as f64 / began.elapsed().as_secs_f64();
    for (etcd, lease) in leases {
        etcd.revoke(lease).await;
    }
    rate
}

type Written = (Vec<u8>, Vec<u8>);

async fn write(etcd: Raw, requests: Vec<Vec<Written>>, lease: i64) {
    for request in requests {
        if let [(key, value)] = &request[..] {
            etcd.put(key.clone(), value.clone(), lease).await;
            continue;
        }
        let puts = request.into_iter().map(|(key, value)| RequestOp::put(key, value, lease));
        etcd.put_all(puts.collect()).await;
    }
}
