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
//!
//! The driver writes the answers of the functions that a worker polls in a row in one go. A function
//! of a kind that may last is not polled before the answers so far are on their way.

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, Sleep, sleep},
};

use crate::handling::{Answer, Begun, Handling};

/// Polls functions once, in its own tasks. `T` identifies a function.
#[derive(Debug)]
pub(crate) struct OffloadPool<T, Fut> {
    shared: Arc<Shared<T, Fut>>,
    tasks: JoinSet<()>,
    /// Functions that no worker can see yet.
    fresh: Vec<Queued<T, Fut>>,
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
pub(crate) type Stepped<T, Fut> = (T, Begun<Fut>);

/// A function that is to be polled. Those of a kind are expected to take about as long.
struct Queued<T, Fut> {
    known: T,
    kind: u64,
    handling: Handling<Fut>,
}

#[derive(Debug)]
struct Shared<T, Fut>(Mutex<State<T, Fut>>);

struct State<T, Fut> {
    queue: VecDeque<Queued<T, Fut>>,
    stepped: Vec<Stepped<T, Fut>>,
    /// The number of functions being polled, and the number taken so far.
    polled: usize,
    taken: u64,
    /// The number of workers that have yet to take their first function, and of those at work.
    fresh: usize,
    at_work: usize,
    /// The number of those at work that let the driver run first.
    giving_way: usize,
    idle: Idle,
    is_over: bool,
    driver: Option<Waker>,
}

/// The worker that waits for functions, if one does.
enum Idle {
    Nobody,
    Waits(Waker),
    /// It has yet to notice.
    Called,
}

impl<T, Fut> OffloadPool<T, Fut>
where
    T: Send + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared(Mutex::new(State::default())));
        Self { shared, tasks: JoinSet::new(), fresh: Vec::new(), watch: None }
    }

    /// Queues a function. A worker takes it once the pool is [polled](Self::poll).
    pub(crate) fn push(&mut self, known: T, kind: u64, handling: Handling<Fut>) {
        self.fresh.push(Queued { known, kind, handling });
    }

    /// Tells whether functions are queued or being polled that may end soon.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.shared.lock();
        state.giving_way == 0 && (state.polled > 0 || !state.queue.is_empty())
    }

    /// Moves the functions that were polled to `stepped`, which is empty, lets workers poll the others,
    /// and keeps the waker.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, stepped: &mut Vec<Stepped<T, Fut>>) {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if !state.driver.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            state.driver = Some(cx.waker().clone());
        }
        mem::swap(stepped, &mut state.stepped);
        let is_due = self.poll_watch(cx, &state);
        let has_more = !self.fresh.is_empty();
        state.queue.extend(self.fresh.drain(..));
        if (has_more || is_due) && state.wants_worker() {
            state.fresh += 1;
            if !state.call_idle() {
                while self.tasks.try_join_next().is_some() {}
                self.tasks.spawn(self.shared.clone().run());
            }
        }
        // A worker that is held up wakes nobody for what it has done before.
        if self.watch.is_none() && (has_more || state.wants_worker()) {
            self.watch = Some(Watch { sleep: Box::pin(sleep(HELD_UP)), taken: state.taken });
            self.poll_watch(cx, &state);
        }
    }

    /// Tells whether functions queue, and none has been taken for a moment.
    fn poll_watch(&mut self, cx: &mut Context<'_>, state: &State<T, Fut>) -> bool {
        let mut is_due = false;
        while let Some(watch) = &mut self.watch
            && watch.sleep.as_mut().poll(cx).is_ready()
        {
            let is_still = watch.taken == state.taken;
            is_due = is_still && !state.queue.is_empty();
            if is_still && state.queue.is_empty() {
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
        self.fresh.clear();
        self.shared.clear();
        self.shared.end();
        while ready!(self.tasks.poll_join_next(cx)).is_some() {}
        Poll::Ready(mem::take(&mut self.shared.lock().stepped))
    }
}

impl<T, Fut> Drop for OffloadPool<T, Fut> {
    fn drop(&mut self) {
        self.shared.clear();
        self.shared.end();
    }
}

impl<T, Fut> Shared<T, Fut> {
    /// Drops the functions that have not been polled yet.
    fn clear(&self) {
        // Outside the lock: the destructors of a function's values may do anything.
        let dropped = mem::take(&mut self.lock().queue);
        drop(dropped);
    }

    /// Lets the worker that waits end.
    fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.call_idle();
    }

    fn lock(&self) -> MutexGuard<'_, State<T, Fut>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

impl<T, Fut: Future<Output = Answer>> Shared<T, Fut> {
    /// Polls one function after the other while there are any. One worker waits for more then, because
    /// to begin one for each call costs as much as a short function.
    async fn run(self: Arc<Self>) {
        let mut brisk = Brisk::default();
        loop {
            self.run_all(&mut brisk).await;
            if !self.waits().await {
                return;
            }
        }
    }

    /// Polls one function after the other, until the queue is empty.
    async fn run_all(&self, brisk: &mut Brisk) {
        let mut next = self.first();
        let mut told = Instant::now();
        let mut began = told;
        for taken in 1_usize.. {
            let Some(Queued { known, kind, handling }) = next else { return };
            let stepped = (known, handling.step());
            let now = Instant::now();
            brisk.note(kind, now.saturating_duration_since(began));
            began = now;
            let is_full =
                taken.is_multiple_of(TURN) || now.saturating_duration_since(told) > GATHERED;
            let (driver, gives_way);
            (next, driver, gives_way) = self.next(stepped, |kind| is_full || !brisk.has(kind));
            driver.inspect(Waker::wake_by_ref);
            if gives_way {
                give_way().await;
                self.lock().giving_way -= 1;
                (told, began) = (Instant::now(), Instant::now());
            }
        }
    }

    /// Waits until functions are there, if no other worker does already; else it tells that this one
    /// is to end.
    async fn waits(&self) -> bool {
        let mut is_first = true;
        poll_fn(|cx| {
            let mut state = self.lock();
            match (&state.idle, mem::take(&mut is_first)) {
                _ if state.is_over => Poll::Ready(false),
                (Idle::Called, false) => {
                    state.idle = Idle::Nobody;
                    Poll::Ready(true)
                }
                (Idle::Nobody, _) | (Idle::Waits(_), false) => {
                    state.idle = Idle::Waits(cx.waker().clone());
                    Poll::Pending
                }
                (Idle::Waits(_) | Idle::Called, true) => Poll::Ready(false),
            }
        })
        .await
    }

    fn first(&self) -> Option<Queued<T, Fut>> {
        let mut state = self.lock();
        state.fresh -= 1;
        state.at_work += 1;
        state.take()
    }

    /// Hands over a function that was polled, and takes another. Returns the driver to wake, if there
    /// is no other, or `waits` says of its kind that the driver is to run before; and whether it does.
    fn next(
        &self,
        stepped: Stepped<T, Fut>,
        waits: impl FnOnce(u64) -> bool,
    ) -> (Option<Queued<T, Fut>>, Option<Waker>, bool) {
        let mut state = self.lock();
        state.polled -= 1;
        state.stepped.push(stepped);
        let next = state.take();
        let gives_way = next.as_ref().is_some_and(|it| waits(it.kind));
        state.giving_way += usize::from(gives_way);
        let driver = if gives_way || next.is_none() { state.driver.take() } else { None };
        (next, driver, gives_way)
    }
}

/// Lets the tasks run first that were woken just now.
async fn give_way() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The kinds of functions whose latest took little time.
#[derive(Default)]
struct Brisk {
    kinds: [Option<u64>; BRISK_MAX],
    /// The place of the oldest.
    at: usize,
}

impl Brisk {
    fn has(&self, kind: u64) -> bool {
        self.kinds.contains(&Some(kind))
    }

    fn note(&mut self, kind: u64, took: Duration) {
        let place = self.kinds.iter().position(|it| *it == Some(kind));
        match (place, took <= BRISK) {
            (Some(_), true) => {}
            (Some(place), false) => self.kinds[place] = None,
            (None, true) => {
                self.kinds[self.at] = Some(kind);
                self.at = (self.at + 1) % BRISK_MAX;
            }
            (None, false) => {}
        }
    }
}

impl<T, Fut> State<T, Fut> {
    /// Calls the worker that waits; tells whether there was one.
    fn call_idle(&mut self) -> bool {
        if let Idle::Waits(waker) = &self.idle {
            waker.wake_by_ref();
            self.idle = Idle::Called;
            return true;
        }
        false
    }

    /// Tells whether functions queue that no new worker will take, and another worker may start.
    fn wants_worker(&self) -> bool {
        self.queue.len() > self.fresh && self.fresh + self.at_work < workers_max()
    }

    /// Takes the next function. A worker that finds none ends.
    fn take(&mut self) -> Option<Queued<T, Fut>> {
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
            giving_way: 0,
            idle: Idle::Nobody,
            is_over: false,
            driver: None,
        }
    }
}

impl<T, Fut> std::fmt::Debug for Queued<T, Fut> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queued").field("kind", &self.kind).finish_non_exhaustive()
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

/// The longest time that functions queue behind one that holds up its worker, and that answers wait
/// behind one that never took long before. Few compute for so long.
const HELD_UP: Duration = Duration::from_millis(5);

/// The longest time that a function takes that others need not wait for: a few system calls.
const BRISK: Duration = Duration::from_micros(20);

/// The kinds of functions of which that is known.
const BRISK_MAX: usize = 8;

/// The time after which a worker lets the driver answer first: little beside the wake-ups of two
/// processes.
const GATHERED: Duration = Duration::from_micros(50);

/// The functions that a worker polls before it does so: as many as the concurrent calls of a caller
/// with a full batch.
const TURN: usize = 64;
