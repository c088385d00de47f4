//! A cache with its reaper, in paused time.

mod interleaved;

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::*;

/// The history of one key. It is a fault for two of its resources to be open together.
#[derive(Debug, Default)]
struct Seen {
    made: AtomicUsize,
    open: AtomicUsize,
}

impl Seen {
    fn made(&self) -> usize {
        self.made.load(SeqCst)
    }

    fn open(&self) -> usize {
        self.open.load(SeqCst)
    }
}

/// A resource that records its history.
#[derive(Debug)]
struct Probe {
    seen: Arc<Seen>,
    closing: Close,
}

#[derive(Clone, Copy, Debug)]
enum Close {
    Well,
    Slowly,
    Badly,
    InPanic,
}

#[derive(Debug, Error, PartialEq)]
#[error("stuck")]
struct Stuck;

impl Probe {
    fn new(seen: &Arc<Seen>, closing: Close) -> Self {
        seen.made.fetch_add(1, SeqCst);
        assert_eq!(seen.open.fetch_add(1, SeqCst), 0, "two are open at once");
        Self { seen: Arc::clone(seen), closing }
    }
}

impl Resource for Probe {
    type Error = Stuck;

    async fn close(self) -> Result<(), Stuck> {
        assert_eq!(self.seen.open(), 1);
        if let Close::Slowly = self.closing {
            sleep(CLOSING).await;
        }
        self.seen.open.fetch_sub(1, SeqCst);
        match self.closing {
            Close::Well | Close::Slowly => Ok(()),
            Close::Badly => Err(Stuck),
            Close::InPanic => panic!("stuck for good"),
        }
    }
}

const CLOSING: Duration = Duration::from_secs(1);

/// A cache with a task that closes unused resources.
struct Run {
    cache: Cache<u32, Probe>,
    seen: Arc<Seen>,
    reaper: JoinSet<()>,
}

impl Run {
    fn new() -> Self {
        let (cache, reaper) = Cache::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(reaper.run());
        Self { cache, seen: Arc::default(), reaper: tasks }
    }

    async fn open(&self, key: u32, closing: Close) -> Guard<u32, Probe> {
        self.cache.open(key, async || Ok(Probe::new(&self.seen, closing))).await.unwrap()
    }

    /// Waits until the reaper has ended by itself, for everything is closed and gone.
    async fn end(mut self) {
        drop(self.cache);
        soon(self.reaper.join_next()).await.unwrap().unwrap();
        assert_eq!(self.seen.open(), 0);
    }
}

/// Waits for a future. When all tasks are idle, time advances immediately.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.expect("it waits for nothing")
}

/// Polls a future for once.
fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn is_entered_once_for_a_hundred_openers() {
    let run = Run::new();
    let mut openers = JoinSet::new();
    for _ in 0..100 {
        let (cache, seen) = (run.cache.clone(), Arc::clone(&run.seen));
        openers.spawn(async move {
            let make = async || {
                sleep(Duration::from_millis(10)).await;
                Ok(Probe::new(&seen, Close::Slowly))
            };
            let guard = cache.open(1, make).await.unwrap();
            sleep(Duration::from_millis(10)).await;
            let start = Instant::now();
            guard.release().await.unwrap();
            start.elapsed() >= CLOSING
        });
    }
    let waited = soon(openers.join_all()).await;
    assert_eq!(waited.into_iter().filter(|it| *it).count(), 1, "the last waits until it is closed");
    assert_eq!(run.seen.made(), 1);
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_during_the_exit_opens_it_anew() {
    let run = Run::new();
    let guard = run.open(1, Close::Slowly).await;
    let start = Instant::now();
    let again = async {
        sleep(CLOSING / 2).await;
        assert_eq!(run.seen.open(), 1, "it is being closed");
        let again = run.open(1, Close::Well).await;
        assert!(start.elapsed() >= CLOSING);
        again
    };
    let (released, again) = tokio::join!(guard.release(), soon(again));
    released.unwrap();
    assert_eq!(run.seen.made(), 2);
    again.release().await.unwrap();
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_maker_hands_over() {
    let run = Run::new();
    let never = timeout(Duration::from_secs(1), run.cache.open(1, std::future::pending));
    let (never, guard) = tokio::join!(never, soon(run.open(1, Close::Well)));
    assert!(never.is_err());
    assert_eq!(run.seen.made(), 1);
    guard.release().await.unwrap();
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_maker_fails_for_all_who_wait() {
    let run = Run::new();
    let fails = || {
        run.cache.open(1, async || {
            sleep(Duration::from_secs(1)).await;
            Err(Stuck)
        })
    };
    let (first, second) = tokio::join!(fails(), fails());
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert!(matches!(error, OpenError::Make(it) if *it == Stuck));
    }
    run.open(1, Close::Well).await.release().await.unwrap();
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_closers_error_goes_to_the_last_user() {
    let run = Run::new();
    for (closing, expected) in [(Close::Badly, "failed"), (Close::InPanic, "panicked")] {
        let first = run.open(1, closing).await;
        let last = run.open(1, closing).await;
        first.release().await.unwrap();
        let error = last.release().await.unwrap_err();
        assert_eq!(error.to_string(), format!("closing the resource {expected}"));
    }
    assert_eq!(run.seen.made(), 2, "it can be opened again");
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_share_is_closed_too() {
    let run = Run::new();
    drop(run.open(1, Close::Slowly).await);
    run.open(1, Close::Badly).await.release().await.unwrap_err();
    // The future of a release is dropped before it has begun, and while it waits.
    drop(run.open(1, Close::Slowly).await.release());
    {
        let mut release = pin!(run.open(1, Close::Slowly).await.release());
        assert!(poll(release.as_mut()).is_pending());
    }
    drop(run.open(1, Close::Slowly).await);
    assert_eq!(run.seen.made(), 5);
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_independent() {
    let run = Run::new();
    let other = Arc::new(Seen::default());
    let used = run.open(1, Close::Well).await;
    let slow = run.cache.open(2, async || Ok(Probe::new(&other, Close::Slowly))).await.unwrap();
    // While one is used and another exits, a third is made, used and closed immediately.
    let third = Arc::new(Seen::default());
    let quick = async {
        let start = Instant::now();
        let make = async || Ok(Probe::new(&third, Close::Well));
        run.cache.open(3, make).await.unwrap().release().await.unwrap();
        assert_eq!((third.open(), start.elapsed()), (0, Duration::ZERO));
        assert_eq!(other.open(), 1, "the second still exits");
    };
    let (released, ()) = tokio::join!(slow.release(), quick);
    released.unwrap();
    assert_eq!((other.open(), run.seen.open()), (0, 1), "the first is used all the time");
    used.release().await.unwrap();
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_share_of_who_has_gone_is_given_back() {
    let run = Run::new();
    let (open, opened) = tokio::sync::oneshot::channel();
    let make = async || {
        opened.await.unwrap();
        Ok(Probe::new(&run.seen, Close::Well))
    };
    let mut maker = Box::pin(run.cache.open(1, make));
    let mut gone = Box::pin(run.open(1, Close::Well));
    assert!(poll(maker.as_mut()).is_pending());
    assert!(poll(gone.as_mut()).is_pending());
    open.send(()).unwrap();
    maker.await.unwrap().release().await.unwrap();
    assert_eq!(run.seen.open(), 1, "it is granted to who waited, who never looks");
    drop(gone);
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_to_make_it_is_passed_on_by_who_has_gone() {
    let run = Run::new();
    let never = || Box::pin(run.cache.open(1, std::future::pending));
    let mut maker = never();
    let mut gone = never();
    let mut next = Box::pin(run.open(1, Close::Well));
    assert!(poll(maker.as_mut()).is_pending());
    assert!(poll(gone.as_mut()).is_pending());
    assert!(poll(next.as_mut()).is_pending());
    drop(maker);
    drop(gone);
    soon(next).await.release().await.unwrap();
    run.end().await;
}

/// A resource that ends on request.
#[derive(Debug)]
struct Mortal {
    number: u32,
    is_over: AtomicBool,
    closed: Arc<Mutex<Vec<u32>>>,
}

impl Resource for Mortal {
    type Error = Stuck;

    fn has_ended(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    async fn close(self) -> Result<(), Stuck> {
        sleep(CLOSING).await;
        self.closed.lock().unwrap().push(self.number);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_resource_is_opened_anew_beside_its_users() {
    let (cache, reaper) = Cache::new();
    let mut closing = JoinSet::new();
    closing.spawn(reaper.run());
    let closed = Arc::new(Mutex::new(Vec::new()));
    let open = async |number| {
        let (is_over, closed) = (AtomicBool::new(false), closed.clone());
        cache.open("k", async || Ok(Mortal { number, is_over, closed })).await.unwrap()
    };
    let first = open(1).await;
    let second = open(2).await;
    assert_eq!((first.number, second.number), (1, 1));
    first.is_over.store(true, SeqCst);
    // It does not wait for the users of the first.
    let third = open(3).await;
    assert_eq!((third.number, open(4).await.number), (3, 3));
    first.release().await.unwrap();
    third.release().await.unwrap();
    assert_eq!(*closed.lock().unwrap(), [3], "somebody has the first still");
    let fifth = open(5).await;
    second.release().await.unwrap();
    assert_eq!(*closed.lock().unwrap(), [3, 1]);
    assert_eq!(open(6).await.number, 5, "the end of the first is not the end of another");
    fifth.release().await.unwrap();
    assert_eq!(*closed.lock().unwrap(), [3, 1, 5]);
    drop(cache);
    soon(closing.join_next()).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_closer_that_is_gone() {
    let mut run = Run::new();
    let guard = run.open(1, Close::Slowly).await;
    let other = run.cache.open(2, async || Ok(Probe::new(&Arc::default(), Close::Slowly)));
    let other = other.await.unwrap();
    let late_seen = Arc::new(Seen::default());
    let (open, opened) = tokio::sync::oneshot::channel();
    let late = run.cache.open(3, async || {
        opened.await.unwrap();
        Ok(Probe::new(&late_seen, Close::Well))
    });
    let never = run.cache.open(1, async || panic!("nobody would close it"));
    let end = async {
        sleep(CLOSING / 2).await;
        run.reaper.shutdown().await;
        soon(other.release()).await.unwrap_err();
        open.send(()).unwrap();
    };
    let (released, never, late, ()) =
        tokio::join!(soon(guard.release()), soon(never), soon(late), end);
    assert!(matches!(released, Err(CloseError::Over)));
    assert!(matches!(never, Err(OpenError::Over)));
    assert!(matches!(late, Err(OpenError::Over)));
    assert_eq!((late_seen.made(), late_seen.open()), (1, 0), "its maker closes it");
    let never = run.cache.open(4, async || panic!("nobody would close it")).await;
    assert!(matches!(never, Err(OpenError::Over)));
}
