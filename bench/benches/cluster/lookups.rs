//! What a look-up costs at a node of a cluster, beside a lone one.

use std::{path::Path, time::Instant};

use callsign_bench::{Client, batches, lookups, registrations, server::ServerProcess};

use crate::{
    load,
    stage::{CALM, Node, Stage},
};

/// The names that are asked for.
const NAMES: usize = 1000;

/// The look-ups under way at once, the rounds through all names of a turn, and the turns.
const DEPTH: usize = 64;
const ROUNDS: usize = 200;
const TURNS: usize = 15;

pub(crate) async fn measure(binary: &Path) {
    let Some(stage) = Stage::set(binary, None).await else { return };
    let lone = Node::of(ServerProcess::callsign_anywhere(binary, "", CALM)).await;
    let names = |of: &'static str| (0..NAMES).map(move |it| format!("{of}-{it}"));
    let mut keeping = Vec::new();
    for (node, of) in [(&lone, "lone"), (&stage.nodes[0], "own"), (&stage.nodes[1], "other")] {
        let mut client = Client::greet(&node.endpoint).await;
        client.exchange(&registrations(names(of)), NAMES).await;
        keeping.push(client);
    }
    let there = |count: u64| move |_: &_, instances: u64| instances >= count;
    stage.nodes[0].until(there(2 * NAMES as u64)).await;

    let rome = &stage.nodes[0];
    let asked = [
        (&lone, "lone", "a lone node"),
        (rome, "own", "a node of a cluster, of its own"),
        (rome, "other", "the same, of another node"),
    ];
    let (mut costs, mut rates) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for turn in 0..=TURNS {
        for (at, (node, of, _)) in asked.iter().enumerate() {
            let requests = batches(&lookups(names(of)), DEPTH);
            let mut client = Client::greet(&node.endpoint).await;
            let (before, began) = (node.server.processor_time(), Instant::now());
            for _ in 0..ROUNDS {
                for (number, request) in requests.iter().enumerate() {
                    client.exchange(request, DEPTH.min(NAMES - number * DEPTH)).await;
                }
            }
            let (took, cost) = (began.elapsed(), node.server.processor_time() - before);
            // The first turn warms it up.
            if turn > 0 {
                costs[at].push(cost.as_secs_f64() * 1e9 / (ROUNDS * NAMES) as f64);
                rates[at].push((ROUNDS * NAMES) as f64 / took.as_secs_f64());
            }
        }
    }
    let (costs, rates) = (costs.map(median), rates.map(median));
    for (at, (_, _, what)) in asked.iter().enumerate() {
        println!(
            "lookups: {what}: {:.0} ns of processor time ({:.2} × as many in it), {:.0}/s ({:.2} ×); load {}",
            costs[at],
            costs[0] / costs[at],
            rates[at],
            rates[at] / rates[0],
            load()
        );
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
