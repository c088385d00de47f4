//! Look-ups and registrations of one client alone.

use std::time::{Duration, Instant};

use callsign_bench::{Client, Quantiles, batches, lookups, registrations};

use crate::{floods::runtime, node::Node};

/// Measures look-ups and registrations of one client alone, of as many calls as are many.
pub(crate) fn print(node: &Node) {
    let runtime = runtime();
    runtime.block_on(async {
        let mut client = Client::greet(&node.endpoint).await;
        client.exchange(&registrations((0..1000).map(|it| format!("feed-{it}"))), 1000).await;
        let asked = lookups((0..64_000).map(|it| format!("feed-{}", it % 1000)));
        let deep = batches(&asked, 64);
        let (mut best, mut one) = (Duration::MAX, Vec::new());
        for _ in 0..30 {
            let start = Instant::now();
            for batch in &deep {
                client.exchange(batch, 64).await;
            }
            best = best.min(start.elapsed());
        }
        for single in batches(&asked, 1).iter().take(20_000) {
            let start = Instant::now();
            client.exchange(single, 1).await;
            one.push(start.elapsed());
        }
        let mut put = Duration::MAX;
        for _ in 0..30 {
            let frames = batches(&registrations((0..6400).map(|it| format!("put-{it}"))), 64);
            let mut client = Client::greet(&node.endpoint).await;
            let start = Instant::now();
            for batch in &frames {
                client.exchange(batch, 64).await;
            }
            put = put.min(start.elapsed());
        }
        println!(
            "look-ups 64 deep: {:.3} M/s; one at a time: {}; registrations 64 deep: {:.1} k/s",
            64_000.0 / best.as_secs_f64() / 1e6,
            Quantiles::of(one),
            6400.0 / put.as_secs_f64() / 1e3,
        );
    });
}
