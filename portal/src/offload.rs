//! A pool of workers for functions that may compute for long before they first wait.
//!
//! Such a function must not hold up the driver, and a task for each is expensive: most have ended
//! once they were polled. So offloaded functions queue, and a few *workers*, which are tasks, poll
//! each of them once. A function that waits then gets its own task.
//!
//! ```text
//!   driver ──▶ queue ──▶ worker ──▶ ended: its answer ───────▶ driver
//!                        worker ──▶ waits: to a task of its own ─▶
//! ```
//!
//! The pool adds a worker when functions arrive while all workers are busy, and when functions
//! have queued for a moment behind one that holds up its worker. It has at most as many workers as
//! the runtime. So a long computation delays no function that could have run without it.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::{JoinSet, yield_now},
    time::{Instant, Sleep, sleep},
};

use crate::handling::{Answer, Begun, Handling};

/// Polls functions once, in its own tasks. `T` identifies a function.
#[derive(Debug)]
pub(crate) struct OffloadPool<T, Fut> {
    shared: Arc<Shared<T, Fut>>,
    tasks: JoinSet<()>,
    has_more: bool,
    watch: Option<Watch>,
}

/// Checks now and then that the workers make progress.
#[derive(Debug)]
struct Watch {
    sleep: Pin<Box<Sleep>>,
    /// The number of functions that had been taken when it began.
    taken: u64,
}

/// A function that was polled, and its outcome.
type Stepped<T, Fut> = (T, Begun<Fut>);

#[derive(Debug)]
struct Shared<T, Fut>(Mutex<State<T, Fut>>);

struct State<T, Fut> {
    queue: VecDeque<(T, Handling<Fut>)>,
    stepped: Vec<Stepped<T, Fut>>,
    /// The number of functions being polled, and the number taken so far.
    polled: usize,
    taken: u64,
    /// The number of workers that have yet to take their first function, and of those at work.
    fresh: usize,
    at_work: usize,
    driver: Option<Waker>,
}

impl<T, Fut> OffloadPool<T, Fut>
where
    T: Send + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared(Mutex::new(State::default())));
        Self { shared, tasks: JoinSet::new(), has_more: false, watch: None }
    }

    /// Queues a function. A worker takes it once the pool is [polled](Self::poll).
    pub(crate) fn push(&mut self, known: T, handling: Handling<Fut>) {
        self.has_more = true;
        self.shared.lock().queue.push_back((known, handling));
    }

    /// Tells whether functions are queued or being polled.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.shared.lock();
        state.polled > 0 || !state.queue.is_empty()
    }

    /// Returns the functions that were polled, starts workers for the others, and keeps the waker.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Vec<Stepped<T, Fut>> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if !state.driver.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            state.driver = Some(cx.waker().clone());
        }
        let stepped = mem::take(&mut state.stepped);
        let is_due = self.poll_watch(cx, &state);
        if (mem::take(&mut self.has_more) || is_due) && state.wants_worker() {
            state.fresh += 1;
            while self.tasks.try_join_next().is_some() {}
            self.tasks.spawn(self.shared.clone().run());
        }
        if self.watch.is_none() && state.wants_worker() {
            self.watch = Some(Watch { sleep: Box::pin(sleep(HELD_UP)), taken: state.taken });
            self.poll_watch(cx, &state);
        }
        stepped
    }

    /// Tells whether functions queue, and none has been taken for a moment.
    fn poll_watch(&mut self, cx: &mut Context<'_>, state: &State<T, Fut>) -> bool {
        let mut is_due = false;
        while let Some(watch) = &mut self.watch
            && watch.sleep.as_mut().poll(cx).is_ready()
        {
            is_due = watch.taken == state.taken && !state.queue.is_empty();
            if state.queue.is_empty() {
                self.watch = None;
            } else {
                watch.taken = state.taken;
                watch.sleep.as_mut().reset(Instant::now() + HELD_UP);
            }
        }
        is_due
    }

    /// Drops the functions that have not been polled yet, and waits for the others.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Stepped<T, Fut>>> {
        self.shared.clear();
        while ready!(self.tasks.poll_join_next(cx)).is_some() {}
        Poll::Ready(mem::take(&mut self.shared.lock().stepped))
    }
}

impl<T, Fut> Drop for OffloadPool<T, Fut> {
    fn drop(&mut self) {
        self.shared.clear();
    }
}

impl<T, Fut> Shared<T, Fut> {
    /// Drops the functions that have not been polled yet.
    fn clear(&self) {
        // Outside the lock: the destructors of a function's values may do anything.
        let dropped = mem::take(&mut self.lock().queue);
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, State<T, Fut>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

impl<T, Fut: Future<Output = Answer>> Shared<T, Fut> {
    /// Polls one function after the other, until the queue is empty.
    async fn run(self: Arc<Self>) {
        let mut next = self.first();
        for taken in 1_usize.. {
            let Some((known, handling)) = next else { return };
            let driver;
            (next, driver) = self.next((known, handling.step()));
            driver.inspect(Waker::wake_by_ref);
            if taken.is_multiple_of(TURN) {
                yield_now().await;
            }
        }
    }

    fn first(&self) -> Option<(T, Handling<Fut>)> {
        let mut state = self.lock();
        state.fresh -= 1;
        state.at_work += 1;
        state.take()
    }

    /// Hands over a function that was polled, and takes another; returns the driver to wake.
    fn next(&self, stepped: Stepped<T, Fut>) -> (Option<(T, Handling<Fut>)>, Option<Waker>) {
        let mut state = self.lock();
        state.polled -= 1;
        state.stepped.push(stepped);
        (state.take(), state.driver.take())
    }
}

impl<T, Fut> State<T, Fut> {
    /// Tells whether functions queue that no new worker will take, and another worker may start.
    fn wants_worker(&self) -> bool {
        self.queue.len() > self.fresh && self.fresh + self.at_work < workers_max()
    }

    /// Takes the next function. A worker that finds none ends.
    fn take(&mut self) -> Option<(T, Handling<Fut>)> {
        let next = self.queue.pop_front();
        match next {
            Some(_) => {
                self.polled += 1;
                self.taken += 1;
            }
            None => self.at_work -= 1,
        }
        next
    }
}

impl<T, Fut> Default for State<T, Fut> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            stepped: Vec::new(),
            polled: 0,
            taken: 0,
            fresh: 0,
            at_work: 0,
            driver: None,
        }
    }
}

impl<T, Fut> std::fmt::Debug for State<T, Fut> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { queue, polled, at_work, .. } = self;
        f.debug_struct("State")
            .field("queue", &queue.len())
            .field("polled", polled)
            .field("at_work", at_work)
            .finish_non_exhaustive()
    }
}

/// Returns the number of tasks that the runtime can run in parallel.
fn workers_max() -> usize {
    Handle::current().metrics().num_workers()
}

/// The longest time that functions queue behind one that holds up its worker. Few compute for so
/// long.
const HELD_UP: Duration = Duration::from_millis(5);

/// The functions that a worker polls before it yields: as many as the concurrent calls of a caller
/// with a full batch.
const TURN: usize = 64;
