//! Look-ups by name against a bare framed echo, in one run: over a Unix socket, over TCP and over
//! TLS, one at a time and 64 deep. Both ends run on one thread, so that no wake-up across processors
//! hides the work.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]

use std::hint::black_box;

use callsign_bench::{Client, Server, batches, certify, lookups, registrations, transports};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};

const NAMES: usize = 1000;

fn lookup(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    certify(folder.path());
    let all = || {
        let tls = "/ip4/127.0.0.1/tcp/0/tls".parse().unwrap();
        transports(folder.path()).into_iter().chain([("tls", tls)])
    };
    for (transport, endpoint) in all() {
        let names = || (0..NAMES).map(|it| format!("feed-{it}"));
        let (registrar, mut client) = runtime.block_on(async {
            let (registrar, _) = Server::registrar(&endpoint).await;
            let mut client = Client::greet(&registrar.endpoint).await;
            client.exchange(&registrations(names()), NAMES).await;
            (registrar, client)
        });
        let requests = lookups(names());
        let answer = runtime.block_on(client.ask(&batches(&requests, 1)[0]));
        let echo_endpoint = all().find(|it| it.0 == transport);
        let (echo, mut echo_client) = runtime.block_on(async {
            let echo = Server::echo(&echo_endpoint.unwrap().1, answer).await;
            let client = Client::connect(&echo.endpoint).await;
            (echo, client)
        });

        for depth in [1, 64] {
            let batches = batches(&requests, depth);
            let mut group = criterion.benchmark_group(format!("{transport}/depth-{depth}"));
            group.throughput(Throughput::Elements(depth as u64));
            for (what, client) in [("echo", &mut echo_client), ("lookup", &mut client)] {
                let mut at = 0;
                group.bench_function(what, |bencher| {
                    bencher.iter(|| {
                        at = (at + 1) % (NAMES / depth);
                        run(&runtime, client.exchange(&batches[at], depth));
                    });
                });
            }
            group.finish();
        }
        assert!(registrar.is_running() && echo.is_running());
        drop(runtime.enter());
    }
}

fn run(runtime: &Runtime, exchange: impl Future<Output = ()>) {
    runtime.block_on(black_box(exchange));
}

criterion_group!(benches, lookup);
criterion_main!(benches);
