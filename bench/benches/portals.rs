//! Calls and streams through a portal against bare frames, in one run, over a Unix socket: calls
//! one at a time and 64 deep, and items of 64 KiB. Both ends run on one thread, and what is
//! measured is that thread's processor time: it never waits, and whatever else the machine does
//! does not count.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use callsign_bench::{Client, Server, batches, transports};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portal::{
    Closed, Handlers, IncomingCall, NoService, Options, Portal, Request, accept, connect,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use wire::{Frame, FrameReader, RemoteError, encode_item_head};

fn calls(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let [(_, endpoint), _] = transports(folder.path());
    let mut requests = BytesMut::new();
    for id in 0..64 {
        let call = Frame::Call { id, method: "echo", body: BODY, within_ms: None };
        call.encode(&mut requests).unwrap();
    }
    let mut answer = BytesMut::new();
    Frame::Return { id: 0, body: BODY }.encode(&mut answer).unwrap();
    let (_echo, mut client) = runtime.block_on(async {
        let echo = Server::echo(&endpoint, answer).await;
        let client = Client::connect(&echo.endpoint).await;
        (echo, client)
    });
    let (portal, _drivers) = runtime.block_on(portal());

    for depth in [1, 64] {
        let batch = batches(&requests, depth).remove(0);
        let mut group = criterion.benchmark_group(format!("call/depth-{depth}"));
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function("echo", |bencher| {
            bencher.iter_custom(|rounds| {
                let start = thread_time();
                for _ in 0..rounds {
                    runtime.block_on(client.exchange(&batch, depth));
                }
                thread_time() - start
            });
        });
        group.bench_function("portal", |bencher| {
            bencher.iter_custom(|rounds| runtime.block_on(call(&portal, depth, rounds)));
        });
        group.finish();
    }
}

/// Calls in as many tasks as `depth` says, in each one at a time.
async fn call(portal: &Portal, depth: usize, rounds: u64) -> Duration {
    let start = thread_time();
    if depth == 1 {
        for _ in 0..rounds {
            portal.call_encoded(Request::encoded("echo", BODY)).await.unwrap();
        }
    } else {
        let mut tasks = JoinSet::new();
        for _ in 0..depth {
            let portal = portal.clone();
            tasks.spawn(async move {
                for _ in 0..rounds {
                    portal.call_encoded(Request::encoded("echo", BODY)).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
    }
    thread_time() - start
}

fn streams(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("stream/64-KiB");
    group.throughput(Throughput::Bytes(ITEM_BYTES as u64));
    group.bench_function("bare", |bencher| {
        bencher.iter_custom(|items| runtime.block_on(stream_bare(items)));
    });
    let (portal, _drivers) = runtime.block_on(portal());
    group.bench_function("portal", |bencher| {
        bencher.iter_custom(|items| runtime.block_on(stream(&portal, items)));
    });
    group.finish();
}

async fn stream(portal: &Portal, items: u64) -> Duration {
    let start = thread_time();
    let mut dialogue = portal.dialogue(Request::new("flood", &items), 64).await.unwrap();
    for _ in 0..items {
        assert_eq!(dialogue.next_encoded().await.unwrap().unwrap().len(), ITEM_BYTES);
    }
    let elapsed = thread_time() - start;
    dialogue.result_encoded().await.unwrap();
    elapsed
}

/// Writes frames, and reads them again without looking at them.
async fn stream_bare(items: u64) -> Duration {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let mut frame = BytesMut::new();
    encode_item_head(&mut frame, 0, ITEM_BYTES).unwrap();
    frame.extend_from_slice(&[7; ITEM_BYTES]);
    let mut tasks = JoinSet::new();
    let start = thread_time();
    tasks.spawn(async move {
        for _ in 0..items {
            far.write_all(&frame).await.unwrap();
        }
    });
    let (mut reader, mut count) = (FrameReader::default(), 0);
    while count < items {
        near.read_buf(reader.buffer()).await.unwrap();
        while reader.next().unwrap().is_some() {
            count += 1;
        }
    }
    thread_time() - start
}

async fn portal() -> (Portal, JoinSet<Closed>) {
    let (near, far) = UnixStream::pair().unwrap();
    let (dialed, accepted) = tokio::try_join!(
        connect(near, Options::default(), NoService),
        accept(far, Options::default(), Handlers::new(handle)),
    )
    .unwrap();
    let mut drivers = JoinSet::new();
    drivers.spawn(dialed.driver);
    drivers.spawn(accepted.driver);
    (dialed.portal, drivers)
}

async fn handle(mut call: IncomingCall) -> Result<Bytes, RemoteError> {
    match call.method() {
        "echo" => Ok(call.body().clone()),
        _ => {
            let items = call.args::<u64>()?;
            call.start(&(), 0).unwrap();
            let (sender, item) = (call.sender(), Bytes::from(vec![7; ITEM_BYTES]));
            for _ in 0..items {
                sender.send_encoded(item.clone()).await.unwrap();
            }
            Ok(Bytes::from_static(b"\xc0"))
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

const BODY: &[u8] = &[7; 16];

const ITEM_BYTES: usize = 64 * 1024;

criterion_group!(benches, calls, streams);
criterion_main!(benches);
