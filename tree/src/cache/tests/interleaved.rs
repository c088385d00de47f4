//! The cache under many schedules: shuttle chooses the next task at each point of waiting.
//!
//! The lock is never held while waiting, so everything under it is one step, and only the order of
//! steps matters. A task that waits in vain is a deadlock, which shuttle reports. Everything here
//! is real except the reaper's tasks, which need a runtime.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    task::Poll,
};

use shuttle::{
    future::{block_on, spawn, yield_now},
    rand::{Rng, thread_rng},
};

use super::{
    super::{shared::Closing, *},
    Stuck,
};

/// So many that each case below happens thousands of times, in less than a second.
const SCHEDULES: usize = 2000;

/// A resource that takes its time to close, and may be ended before.
struct Slow {
    /// Whether a resource of its key is open and not stale.
    is_open: Arc<AtomicBool>,
    has_ended: AtomicBool,
}

impl Slow {
    async fn make(is_open: Arc<AtomicBool>) -> Result<Self, Stuck> {
        pause().await;
        if thread_rng().gen_bool(0.2) {
            return Err(Stuck);
        }
        let was_open = is_open.swap(true, SeqCst);
        assert!(!was_open, "two are open at once");
        Ok(Self { is_open, has_ended: AtomicBool::new(false) })
    }

    /// Ends by itself.
    fn end(&self) {
        if !self.has_ended.swap(true, SeqCst) {
            self.is_open.store(false, SeqCst);
        }
    }
}

impl Resource for Slow {
    type Error = Stuck;

    fn has_ended(&self) -> bool {
        self.has_ended.load(SeqCst)
    }

    async fn close(self) -> Result<(), Stuck> {
        pause().await;
        self.end();
        if thread_rng().gen_bool(0.2) { Err(Stuck) } else { Ok(()) }
    }
}

#[test]
fn no_order_of_steps_loses_anybody() {
    shuttle::check_random(|| block_on(run()), SCHEDULES);
}

async fn run() {
    let shared = Arc::new(Shared::default());
    let cache = Cache { tie: Arc::new(Tie(Arc::clone(&shared))) };
    let reaper = spawn(async move {
        while let Some(closing) = shared.next_closing().await {
            for it in closing {
                pause().await;
                close(&shared, it).await;
            }
        }
    });
    let is_open: [Arc<AtomicBool>; 2] = Default::default();
    let users: Vec<_> = (0..4).map(|_| spawn(user(cache.clone(), is_open.clone()))).collect();
    drop(cache);
    for user in users {
        user.await.unwrap();
    }
    reaper.await.unwrap();
    assert!(is_open.iter().all(|it| !it.load(SeqCst)));
}

/// Opens one key or the other, twice, and leaves in any way.
async fn user(cache: Cache<usize, Slow>, is_open: [Arc<AtomicBool>; 2]) {
    for _ in 0..2 {
        let key = thread_rng().gen_range(0..2);
        let make = async || Slow::make(Arc::clone(&is_open[key])).await;
        let open = cache.open(key, make);
        let opened =
            if thread_rng().gen_bool(0.3) { for_a_while(open).await } else { Some(open.await) };
        let Some(Ok(guard)) = opened else { continue };
        pause().await;
        if thread_rng().gen_bool(0.2) {
            guard.end();
            pause().await;
        }
        if thread_rng().gen_bool(0.5) {
            drop(guard);
        } else if thread_rng().gen_bool(0.5) {
            _ = for_a_while(guard.release()).await.is_some();
        } else {
            _ = guard.release().await.is_ok();
        }
    }
}

async fn close(shared: &Shared<usize, Slow>, closing: Closing<usize, Slow>) {
    let Closing { key, value, has_ended, report } = closing;
    let result = value.close().await.map_err(CloseError::Failed);
    if !has_ended {
        shared.exited(&key);
    }
    if let Some(report) = report {
        // A user that no longer waits for it does not get it.
        _ = report.send(result).is_ok();
    }
}

/// Yields to others, or not.
async fn pause() {
    for _ in 0..thread_rng().gen_range(0..3) {
        yield_now().await;
    }
}

/// Polls a future a few times, and then drops it.
async fn for_a_while<F: Future>(future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..thread_rng().gen_range(0..4) {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx)));
        if let Poll::Ready(output) = polled.await {
            return Some(output);
        }
        yield_now().await;
    }
    None
}
