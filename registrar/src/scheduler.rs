//! Shares the processor between owners: each runs for as long as the others, if it has as much to
//! do, however many connections it has.
//!
//! A connection runs in turns (`portal`), and a runtime runs all tasks with work one after another.
//! So an owner with a thousand connections would run a thousand times as often as one with a single
//! one. Here an owner whose connections have run for a while waits until the others have had their
//! time: its connections are not read meanwhile. An owner with a processor quota waits until it has
//! time again. An owner pays for the accepts of its connections too; who owes too much for them gets
//! no more ([`is_overdrawn`](Scheduler::is_overdrawn)).
//!
//! ```text
//!   runtime ──▶ Scheduled ──▶ has its owner time left? ──yes──▶ the connection runs
//!                                │ no                                │ is charged
//!                                ▼                                   ▼
//!                             waits  ◀────── rounds ──────  the next of the owner
//! ```
//!
//! Among the connections of one owner, those that never have much to do go first, so that they do not
//! wait for the others. With one connection there is no scheduling, and the time is measured now and
//! then.

mod lanes;

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use portal::steps_driven;
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, sleep_until},
};
use wire::Quota;

use self::lanes::{Lanes, Next, Round, RunnerId, Turn};
use crate::{Accounts, meter::Meter, registry::Account};

/// Shares the processor between owners. Clones are handles of the same.
#[derive(Clone, Debug)]
pub(crate) struct Scheduler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    accounts: Accounts,
    began: Instant,
    /// Whether anybody may have to wait.
    is_shared: AtomicBool,
    /// Counts the turns while nobody has to.
    turns: AtomicU32,
    lanes: Mutex<Lanes>,
    /// Notified when a connection waits.
    waits: Notify,
}

impl Scheduler {
    pub(crate) fn new(accounts: Accounts) -> Self {
        Self(Arc::new(Shared {
            accounts,
            began: Instant::now(),
            is_shared: AtomicBool::new(false),
            turns: AtomicU32::new(0),
            lanes: Mutex::default(),
            waits: Notify::new(),
        }))
    }

    /// Lets what serves a connection run on its owner's account.
    pub(crate) fn schedule<F: Future>(&self, account: Account, future: F) -> Scheduled<F> {
        let shared = self.0.clone();
        let mut lanes = shared.lanes();
        let runner = lanes.enter(account, shared.percent(account), shared.now());
        shared.is_shared.store(lanes.are_shared(), Ordering::Relaxed);
        drop(lanes);
        let meter = shared.accounts.meter(account);
        Scheduled { future: Box::pin(future), shared, runner, meter }
    }

    /// Charges an owner for work outside the turns of its connections.
    pub(crate) fn charge(&self, account: Account, ran: Duration) {
        let shared = &self.0;
        shared.accounts.meter(account).add(ran);
        shared.lanes().charge(account, shared.percent(account), ran, shared.now());
    }

    /// Tells whether an owner has used up its quota, and half a second's share beyond it: only
    /// connections that come faster than they can be served cost that much.
    pub(crate) fn is_overdrawn(&self, account: Account) -> bool {
        self.0.lanes().is_overdrawn(account, self.0.now())
    }

    /// Takes over other quotas.
    pub(crate) fn quotas_have_changed(&self) {
        let mut lanes = self.0.lanes();
        lanes.set_quotas(self.0.now(), |account| self.0.percent(account));
        self.0.is_shared.store(lanes.are_shared(), Ordering::Relaxed);
        drop(lanes);
        // Those that wait for time may have it earlier.
        self.0.waits.notify_one();
    }

    /// Forgets all quotas: connections that wait for time are to end.
    pub(crate) fn stop(&self) {
        self.0.lanes().set_quotas(self.0.now(), |_| None);
        self.0.waits.notify_one();
    }

    /// Runs waiting connections, round after round, for as long as it is polled.
    pub(crate) async fn run(&self) {
        loop {
            self.0.waits.notified().await;
            while let Some(next) = self.begin_round() {
                match next {
                    // All runnable tasks run, and the runtime polls I/O for others.
                    Next::Soon => yield_now().await,
                    Next::At(at) => {
                        tokio::select! {
                            () = sleep_until(self.0.began + at) => {}
                            () = self.0.waits.notified() => {}
                        }
                    }
                }
            }
        }
    }

    fn begin_round(&self) -> Option<Next> {
        let Round { wakers, next } = self.0.lanes().begin_round(self.0.now());
        wakers.into_iter().for_each(std::task::Waker::wake);
        next
    }
}

impl Shared {
    fn percent(&self, account: Account) -> Option<u32> {
        let limit = self.accounts.limit(account, Quota::Cpu);
        // A node on one thread has only one processor.
        u32::try_from(limit).ok().filter(|it| *it < 100)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().expect("nothing panics while it holds the lock")
    }
}

/// A connection's work, charged to its owner's account.
#[derive(Debug)]
pub(crate) struct Scheduled<F> {
    future: Pin<Box<F>>,
    shared: Arc<Shared>,
    runner: RunnerId,
    meter: Meter,
}

impl<F: Future> Future for Scheduled<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, shared, runner, meter } = self.get_mut();
        if !shared.is_shared.load(Ordering::Relaxed) {
            let turn = shared.turns.load(Ordering::Relaxed).wrapping_add(1);
            shared.turns.store(turn, Ordering::Relaxed);
            if turn % MEASURED != 0 {
                return future.as_mut().poll(cx);
            }
            let (began, steps) = (Instant::now(), steps_driven());
            let polled = future.as_mut().poll(cx);
            let (ran, steps) = (began.elapsed().min(TURN_MAX), steps_driven() - steps);
            meter.add(MEASURED * ran);
            // Once others come, it is known for what it has been.
            shared.lanes().has_run_alone(*runner, Turn { ran, steps });
            return polled;
        }

        let began = Instant::now();
        if !shared.lanes().has_turn(*runner, began - shared.began, cx) {
            shared.waits.notify_one();
            return Poll::Pending;
        }
        let steps = steps_driven();
        let polled = future.as_mut().poll(cx);
        let (ran, steps) = (began.elapsed().min(TURN_MAX), steps_driven() - steps);
        meter.add(ran);
        let next = shared.lanes().has_run(*runner, Turn { ran, steps });
        if let Some(next) = next {
            next.wake();
        }
        polled
    }
}

impl<F> Drop for Scheduled<F> {
    fn drop(&mut self) {
        let mut lanes = self.shared.lanes();
        lanes.leave(self.runner);
        self.shared.is_shared.store(lanes.are_shared(), Ordering::Relaxed);
    }
}

/// Of how many turns one is measured while there is one connection: to read the clock costs a
/// hundredth of a look-up.
const MEASURED: u32 = 16;

/// The longest turn that counts. Turns are measured by the host's clock, at a tenth of the cost of
/// the thread's time; a longer one was interrupted.
pub(crate) const TURN_MAX: Duration = Duration::from_millis(2);
