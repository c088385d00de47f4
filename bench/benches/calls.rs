//! What calls of exported functions, and their items, cost beside bare frames: one call at a time,
//! 64 deep, and items of 64 KiB. The caller is an actor; the callee is another one, a task of the
//! same process or a process of its own, that was found by its name and is reached over its Unix
//! socket. The bare frames are answered where the callee is, over a Unix socket as well, and both
//! are measured in turns.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use callsign_bench::{Client, Server, batches};
use endpoints::{Endpoint, Locality};
use rustix::time::{ClockId, clock_gettime};
use serde_bytes::ByteBuf;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Builder,
    task::JoinSet,
    time::sleep,
};
use transport::Listener;
use tree::{Actor, AnyError, Context, Ended, Kind, Never, Portal, Root, Stream};
use wire::{Frame, encode_item_head};

/// How often what is measured is measured, in turns.
const ROUNDS: usize = 100;

/// How many calls of a round are made one at a time.
const CALLS: usize = 200;

/// How many calls of a round are made 64 deep.
const DEEP_CALLS: usize = 64 * 100;

/// How many items are sent in a round.
const ITEMS: usize = 400;

const ITEM_BYTES: usize = 64 * 1024;

fn main() {
    tree::init();
    let folder = tempfile::tempdir().unwrap();
    let registrar = format!("/unix{}/registrar.sock", folder.path().display());
    // As a program's that is a tree.
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let options = Root::options().registrar(&registrar).dumps(folder.path());
    runtime.block_on(options.run(async |root| measure(root, folder.path()).await)).unwrap();
}

async fn measure(root: Root, folder: &Path) -> Result<(), AnyError> {
    for kind in [Kind::Task, Kind::Process].into_iter().filter(|it| is_asked(&it.to_string())) {
        root.nursery(async |n| {
            let places =
                ["echo", "flood"].map(|it| format!("/unix{}/{it}-{kind}.sock", folder.display()));
            let expose = [double::EXPORT, flood::EXPORT];
            n.spawn(callee(kind)).kind(kind).expose(&expose).await?;
            let [echo, flood] = places.clone();
            n.spawn("frames").kind(kind).start(answer_frames(echo, flood)).await?;
            n.spawn("caller").task().run(compare(kind, places)).await?;
            n.cancel();
            Ok(())
        })
        .await?;
    }
    Ok(())
}

fn callee(kind: Kind) -> String {
    format!("callee-{kind}")
}

/// Calls an actor, and one that answers frames and does nothing else.
#[tree::export(crate = tree)]
async fn compare(kind: Kind, places: [String; 2]) {
    let actor = Actor::current().unwrap();
    let callee = actor.wait_for_actor(&callee(kind)).await.unwrap();
    assert_eq!(callee.reached().unwrap().locality, Locality::UnixSocket);
    let [echo, flood] = places.map(|it| it.parse::<Endpoint>().unwrap());
    let mut client = connect(&echo).await;
    let mut requests = BytesMut::new();
    for id in 0..64 {
        Frame::Call { id, method: METHOD, body: BODY, within_ms: None }
            .encode(&mut requests)
            .unwrap();
    }

    let single = batches(&requests, 1).remove(0);
    let [mut bare, mut called] = [Vec::new(), Vec::new()];
    let [mut bare_work, mut called_work] = [Duration::ZERO; 2];
    for _ in 0..rounds("single") {
        let before = process_time();
        for _ in 0..CALLS {
            let start = Instant::now();
            client.exchange(&single, 1).await;
            bare.push(start.elapsed());
        }
        let between = process_time();
        for _ in 0..CALLS {
            let start = Instant::now();
            assert_eq!(callee.call(double(21)).await.unwrap(), 42);
            called.push(start.elapsed());
        }
        bare_work += between - before;
        called_work += process_time() - between;
    }
    let [bare, called] = [bare, called].map(median);
    println!(
        "{kind}, one at a time: a call {called:.1?}, bare frames {bare:.1?} ({:.2}x)",
        ratio(called, bare)
    );
    if kind == Kind::Task {
        let [bare, called] =
            [bare_work, called_work].map(|it| it / (rounds("single") * CALLS) as u32);
        println!(
            "{kind}, one at a time: a call takes {called:.1?} of a processor, bare frames {bare:.1?} \
             ({:.2}x)",
            ratio(called, bare)
        );
    }

    let [mut bare, mut called] = [Vec::new(), Vec::new()];
    let [mut bare_work, mut called_work] = [Duration::ZERO; 2];
    for _ in 0..rounds("deep") {
        let (before, start) = (process_time(), Instant::now());
        for _ in 0..DEEP_CALLS / 64 {
            client.exchange(&requests, 64).await;
        }
        bare.push(start.elapsed());
        let (between, start) = (process_time(), Instant::now());
        call_deep(&callee).await;
        called.push(start.elapsed());
        bare_work += between - before;
        called_work += process_time() - between;
    }
    let [bare, called] = [bare, called].map(median);
    let rate = |it: Duration| DEEP_CALLS as f64 / it.as_secs_f64() / 1e6;
    println!("{kind}, 64 deep: {:.2} M calls/s, bare frames {:.2} M/s", rate(called), rate(bare));
    if kind == Kind::Task {
        let rate = |it: Duration| rate(it / rounds("deep") as u32);
        println!(
            "{kind}, 64 deep: {:.2} M calls in a second of a processor, bare frames {:.2} M",
            rate(called_work),
            rate(bare_work)
        );
    }

    let mut source = connect(&flood).await;
    let [mut bare, mut items] = [Vec::new(), Vec::new()];
    for _ in 0..rounds("items") {
        let start = Instant::now();
        source.exchange(&single, ITEMS).await;
        bare.push(start.elapsed());
        let start = Instant::now();
        take_items(&callee).await;
        items.push(start.elapsed());
    }
    let [bare, items] = [bare, items].map(median);
    let rate = |it: Duration| (ITEMS * ITEM_BYTES) as f64 / f64::from(1 << 30) / it.as_secs_f64();
    println!(
        "{kind}, items of 64 KiB: {:.2} GiB/s, bare frames {:.2} GiB/s",
        rate(items),
        rate(bare)
    );
}

/// Tells whether a part is to be measured: all are, unless arguments name some.
fn is_asked(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|it| !it.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|it| it == part)
}

/// Returns how often a part is measured: once, if it is not asked for.
fn rounds(part: &str) -> usize {
    if is_asked(part) { ROUNDS } else { 1 }
}

/// Calls in 64 tasks, in each one at a time.
async fn call_deep(actor: &Portal) {
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let actor = actor.clone();
        tasks.spawn(async move {
            for _ in 0..DEEP_CALLS / 64 {
                assert_eq!(actor.call(double(21)).await.unwrap(), 42);
            }
        });
    }
    tasks.join_all().await;
}

async fn take_items(actor: &Portal) {
    let taking = async |(), mut stream: Stream<ByteBuf, Never>| {
        while let Some(item) = stream.recv().await.unwrap() {
            assert_eq!(item.len(), ITEM_BYTES);
        }
    };
    actor.context(flood(ITEMS as u64), taking).await.unwrap();
}

#[tree::export(crate = tree)]
async fn double(number: u64) -> u64 {
    2 * number
}

#[tree::export(crate = tree)]
async fn flood(context: &mut Context<(), Never, ByteBuf>, items: u64) -> Result<(), Ended> {
    let stream = context.started(()).await?;
    let item = ByteBuf::from(vec![7; ITEM_BYTES]);
    for _ in 0..items {
        stream.send(item.clone()).await?;
    }
    Ok(())
}

/// Answers every frame at one place with one as long as an answer of the callee, and at the other
/// with as many items as that sends.
#[tree::export(crate = tree)]
async fn answer_frames(echo: String, flood: String) {
    let mut answer = BytesMut::new();
    Frame::Return { id: 0, body: b"\x2a" }.encode(&mut answer).unwrap();
    let _echo = Server::echo(&echo.parse().unwrap(), answer).await;
    let mut item = BytesMut::new();
    encode_item_head(&mut item, 0, ITEM_BYTES).unwrap();
    item.extend_from_slice(&[7; ITEM_BYTES]);
    let listener = Listener::bind(&flood.parse().unwrap()).await.unwrap();
    loop {
        let mut stream = listener.accept().await.unwrap();
        while stream.read(&mut [0; 1024]).await.unwrap() > 0 {
            for _ in 0..ITEMS {
                stream.write_all(&item).await.unwrap();
            }
        }
    }
}

/// Connects as soon as somebody listens.
async fn connect(endpoint: &Endpoint) -> Client {
    while transport::dial(endpoint).await.is_err() {
        sleep(Duration::from_millis(1)).await;
    }
    Client::connect(endpoint).await
}

/// As the calls of the actor are.
const METHOD: &str = "export.calls::double";

/// As long as a fingerprint and a number.
const BODY: &[u8] = &[7; 12];

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

/// Returns for how long this process has kept processors busy.
fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
