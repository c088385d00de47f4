//! The functions of the children.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tree::{Actor, Kind, NurseryError};

use crate::cases::contacts::{connections, find_at_once};

#[derive(Clone, Debug, Deserialize, Eq, Error, PartialEq, Serialize)]
pub(crate) enum Refusal {
    #[error("no quote for {0}")]
    NoQuote(String),
}

#[tree::export(crate = tree)]
pub(crate) async fn double(number: u64) -> u64 {
    2 * number
}

#[tree::export(crate = tree)]
pub(crate) async fn quote(symbol: String) -> Result<f64, Refusal> {
    if symbol == "EURUSD" { Ok(1.0842) } else { Err(Refusal::NoQuote(symbol)) }
}

/// Waits until somebody has removed the actor from the registry, and returns the notice that it
/// gets.
#[tree::export(crate = tree)]
pub(crate) async fn be_taken_out() -> String {
    Actor::current().unwrap().lost().await.to_string()
}

/// Records its instance, and fails until there were `enough`.
#[tree::export(crate = tree)]
pub(crate) async fn insist(path: String, enough: usize) -> Result<usize, Refusal> {
    let instance = Actor::current().unwrap().instance().uuid;
    let mut instances = std::fs::read_to_string(&path).unwrap_or_default();
    instances.push_str(&format!("{instance}\n"));
    std::fs::write(&path, &instances).unwrap();
    match instances.lines().count() {
        count if count < enough => Err(Refusal::NoQuote(format!("run {count}"))),
        count => Ok(count),
    }
}

/// Returns without having begun.
#[tree::export(crate = tree)]
pub(crate) async fn shy(_context: &mut tree::Context<(), (), ()>) {}

#[tree::export(crate = tree)]
pub(crate) async fn panic_with(message: String) {
    panic!("{message}");
}

#[tree::export(crate = tree)]
pub(crate) async fn wait_for_ever() {
    std::future::pending().await
}

/// Holds a dialogue for ever, and writes a file when it is ended.
#[tree::export(crate = tree)]
pub(crate) async fn listen(
    context: &mut tree::Context<(), u64, u64>,
    flag: String,
) -> Result<(), tree::Ended> {
    let _flag = WrittenAtTheEnd(flag);
    let mut stream = context.started(()).await?;
    while stream.recv().await?.is_some() {}
    std::future::pending().await
}

struct WrittenAtTheEnd(String);

impl Drop for WrittenAtTheEnd {
    fn drop(&mut self) {
        std::fs::write(&self.0, "").unwrap();
    }
}

#[tree::export(crate = tree)]
pub(crate) async fn who_am_i() -> String {
    Actor::current().map_or_else(String::new, |it| it.path().to_string())
}

/// Opens a scope with `breadth` children, and so on `depth` deep; the leaves fail.
#[tree::export(crate = tree)]
pub(crate) async fn grow(kind: Kind, depth: u32, breadth: u32) -> Result<(), NurseryError> {
    let actor = Actor::current().unwrap();
    actor
        .nursery(async |nursery| {
            for at in 0..breadth {
                let child = nursery.spawn(format!("n{at}")).kind(kind);
                if depth == 1 {
                    child.start(quote(format!("leaf-{at}"))).await?;
                } else {
                    child.start(grow(kind, depth - 1, breadth)).await?;
                }
            }
            Ok(())
        })
        .await
}

/// Ends the process at once, with text on its standard error that nobody has flushed.
#[tree::export(crate = tree)]
pub(crate) async fn exit_with(code: i32, words: usize) {
    use std::io::Write as _;
    print!("{}", "o".repeat(words));
    std::io::stderr().write_all(&vec![b'e'; words]).unwrap();
    std::io::stderr().write_all(b"\nthe end").unwrap();
    std::process::exit(code)
}

/// Sends a signal to the actor's own process.
#[tree::export(crate = tree)]
pub(crate) async fn raise(signal: i32) {
    let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
    loop {
        rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
        // The standard library steps aside at the first fault that it cannot explain.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        if signal != rustix::process::Signal::SEGV {
            std::future::pending::<()>().await;
        }
    }
}

/// Never yields, and reacts to nothing.
#[tree::export(crate = tree)]
pub(crate) async fn block(flag: String) {
    std::fs::write(&flag, "").unwrap();
    while std::path::Path::new(&flag).exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Answers as `quote` does, and leaves a task that does not yield any more once the actor is asked
/// to end.
#[tree::export(crate = tree)]
pub(crate) async fn quote_and_block(symbol: String, flag: String) -> Result<f64, Refusal> {
    let actor = Actor::current().unwrap();
    std::fs::write(&flag, "").unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        actor.cancelled().await;
        while std::path::Path::new(&flag).exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    });
    tasks.detach_all();
    if symbol == "EURUSD" { Ok(1.0842) } else { Err(Refusal::NoQuote(symbol)) }
}

/// Sends the sum so far for each number that arrives, and returns how many did.
#[tree::export(crate = tree)]
pub(crate) async fn sums(
    context: &mut tree::Context<String, u64, u64>,
    greeting: String,
) -> Result<u64, tree::Ended> {
    let mut stream = context.started(greeting).await?;
    let (mut sum, mut count) = (0, 0);
    while let Some(number) = stream.recv().await? {
        (sum, count) = (sum + number, count + 1);
        stream.send(sum).await?;
    }
    Ok(count)
}

/// Asks another actor of the tree, found by its name.
#[tree::export(crate = tree)]
pub(crate) async fn ask(name: String, number: u64) -> Result<u64, Refusal> {
    let actor = Actor::current().unwrap();
    let found = actor.wait_for_actor(&name).await.map_err(|it| Refusal::NoQuote(it.to_string()))?;
    let answer = found.call(double(number)).await;
    answer.map_err(|it| Refusal::NoQuote(it.to_string()))
}

/// Opens a scope with `breadth` children, and so on `depth` deep; all wait.
#[tree::export(crate = tree)]
pub(crate) async fn grow_idle(kind: Kind, depth: u32, breadth: u32) -> Result<(), NurseryError> {
    let actor = Actor::current().unwrap();
    let grace = std::time::Duration::from_millis(500);
    actor
        .nursery(async |nursery| {
            for at in 0..breadth {
                let name = match depth {
                    1 => format!("leaf-{}-{at}", actor.path().name()),
                    _ => format!("n{at}"),
                };
                let child = nursery.spawn(name).kind(kind).grace(grace);
                if depth == 1 {
                    child.start(wait_for_ever()).await?;
                } else {
                    child.start(grow_idle(kind, depth - 1, breadth)).await?;
                }
            }
            Ok(())
        })
        .await
}

/// Returns the descriptors of the process, without those that its runtime has opened since.
#[tree::export(crate = tree)]
pub(crate) async fn inherited() -> Vec<String> {
    let output = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The way in which leaves fail.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Failure {
    Error,
    Panic,
}

/// Opens a scope with `breadth` children, and so on `depth` deep; the leaves fail together.
#[tree::export(crate = tree)]
pub(crate) async fn grow_failing(
    kind: Kind,
    depth: u32,
    breadth: u32,
    failure: Failure,
    folder: String,
) -> Result<(), NurseryError> {
    let actor = Actor::current().unwrap();
    actor
        .nursery(async |nursery| {
            for at in 0..breadth {
                let child = nursery.spawn(format!("n{at}")).kind(kind);
                if depth == 1 {
                    child.start(fail_together(failure, folder.clone())).await?;
                } else {
                    let below = grow_failing(kind, depth - 1, breadth, failure, folder.clone());
                    child.start(below).await?;
                }
            }
            Ok(())
        })
        .await
}

/// Reports that it is there, waits for permission, and fails; and records that, before anybody
/// knows.
#[tree::export(crate = tree)]
pub(crate) async fn fail_together(failure: Failure, folder: String) -> Result<(), Refusal> {
    let folder = std::path::Path::new(&folder);
    let path = Actor::current().unwrap().path().to_string();
    std::fs::write(folder.join(format!("up{}", path.replace('/', "+"))), "").unwrap();
    while !folder.join("go").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    // From here on it does not wait, so it fails.
    std::fs::write(folder.join(format!("failed{}", path.replace('/', "+"))), "").unwrap();
    let refusal = Refusal::NoQuote(path);
    assert!(failure != Failure::Panic, "{refusal}");
    Err(refusal)
}

/// Starts a program that does not know of actors, and returns its process.
#[tree::export(crate = tree)]
pub(crate) async fn start_helper() -> u32 {
    std::process::Command::new("sleep").arg("60").spawn().unwrap().id()
}

/// Spawns a child, and reports its own process and the child's, before both wait.
#[tree::export(crate = tree)]
pub(crate) async fn with_child(kind: Kind, folder: String) -> Result<(), NurseryError> {
    let actor = Actor::current().unwrap();
    actor
        .nursery(async |nursery| {
            let child = nursery.spawn("below").kind(kind).expose(&[who_am_i::EXPORT]).await?;
            child.call(who_am_i()).await?;
            let pids: Vec<_> = actor.children().iter().filter_map(|it| it.pid).collect();
            let said = format!("{} {}", std::process::id(), pids[0]);
            std::fs::write(std::path::Path::new(&folder).join("pids"), said)?;
            std::future::pending::<()>().await;
            Ok(())
        })
        .await
}

/// Asks another actor of the tree, first in a thread below, which ends, and then by itself.
#[tree::export(crate = tree)]
pub(crate) async fn ask_twice(name: String) -> Result<u64, NurseryError> {
    let actor = Actor::current().unwrap();
    let first = actor
        .nursery(async |n| Ok(n.spawn("below").thread().run(ask(name.clone(), 1)).await?))
        .await?;
    let found = actor.wait_for_actor(&name).await.unwrap();
    Ok(first + found.call(double(2)).await.unwrap())
}

/// Spawns a child that never yields, and waits.
#[tree::export(crate = tree)]
pub(crate) async fn block_below(
    kind: Kind,
    grace: std::time::Duration,
    flag: String,
) -> Result<(), NurseryError> {
    let actor = Actor::current().unwrap();
    actor
        .nursery(async |nursery| {
            nursery.spawn("below").kind(kind).grace(grace).start(block(flag)).await?;
            std::future::pending::<()>().await;
            Ok(())
        })
        .await
}

/// Writes lines to both outputs, and then much text without a newline.
#[tree::export(crate = tree)]
pub(crate) async fn chat(bytes_without_end: usize) {
    use std::io::Write as _;
    println!("one\ntwo");
    eprintln!("three");
    print!("{}", "x".repeat(bytes_without_end));
    std::io::stdout().flush().unwrap();
}

/// Gives a thread that never yields little time to end.
#[tree::export(crate = tree)]
pub(crate) async fn with_stuck_thread(flag: String) -> Result<(), NurseryError> {
    let actor = Actor::current().unwrap();
    let grace = std::time::Duration::from_millis(200);
    actor
        .nursery(async |nursery| {
            nursery.spawn("stuck").thread().grace(grace).start(block(flag.clone())).await?;
            while !std::path::Path::new(&flag).exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            nursery.cancel();
            Ok(())
        })
        .await
}

/// Finds another actor many times at once, and once more in a thread below, and returns the number
/// of connections to it meanwhile.
#[tree::export(crate = tree)]
pub(crate) async fn ask_at_once(
    name: String,
    times: usize,
    socket: String,
) -> Result<usize, NurseryError> {
    let actor = Actor::current().unwrap();
    let found = find_at_once(&actor, &name, times).await.unwrap();
    for portal in &found {
        assert_eq!(portal.call(double(2)).await.unwrap(), 4);
    }
    if times < 2 {
        return Ok(connections(&socket));
    }
    let below = ask_at_once(name, 1, socket);
    actor.nursery(async |n| Ok(n.spawn("below").thread().run(below).await?)).await
}

/// Spawns a child that blocks every thread of its runtime, and does so as well.
#[tree::export(crate = tree)]
pub(crate) async fn hold_up_both(
    below: Kind,
    grace: std::time::Duration,
    flag: String,
) -> Result<(), NurseryError> {
    let actor = Actor::current().unwrap();
    actor
        .nursery(async |nursery| {
            let flag_below = format!("{flag}-below");
            let child = nursery.spawn("below").kind(below).grace(grace);
            child.start(hold_up(flag_below.clone())).await?;
            while !std::path::Path::new(&flag_below).exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            hold_up_all(&flag).await;
            Ok(())
        })
        .await
}

/// Blocks every thread of the actor's runtime, for ever.
#[tree::export(crate = tree)]
pub(crate) async fn hold_up(flag: String) {
    hold_up_all(&flag).await;
}

async fn hold_up_all(flag: &str) {
    let threads = tokio::runtime::Handle::current().metrics().num_workers();
    let held = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..threads {
        let (held, flag) = (held.clone(), flag.to_owned());
        tasks.spawn(async move {
            if held.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == threads {
                std::fs::write(flag, "").unwrap();
            }
            std::thread::sleep(std::time::Duration::from_secs(3600));
        });
    }
    tasks.join_all().await;
}
