//! The task that owns the children of one scope. It decides nothing: the supervision state does.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex},
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::{Id, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    child_spec::ChildSpec,
    supervision::{ChildId, Command, Event, NurseryOptions, Policy, SupervisionState},
};
use crate::{
    CancelReason, ChildError, Exit, Panic, Portal, SpawnError,
    actor::Core,
    outcome::cancel::Cancel,
    parent::runner::{ChildRunner, Done, StartedRun},
};

/// The requests of a scope's body to its supervisor.
pub(crate) struct Asks {
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) dismissed: Arc<Dismissed>,
    /// Tells whether the body ended well.
    pub(crate) body_end: oneshot::Receiver<bool>,
    pub(crate) cancel: Cancel,
    /// Makes the body stop at its next wait.
    pub(crate) stop_body: CancellationToken,
}

/// A child that the body asks for.
pub(crate) struct Order {
    pub(crate) child: ChildId,
    pub(crate) spec: Arc<ChildSpec>,
    pub(crate) policy: Policy,
    /// The runner of the first run of the child.
    pub(crate) runner: Box<ChildRunner>,
    /// That run, if the body has begun it.
    pub(crate) begun: Option<StartedRun>,
    /// Notified when the child is ready, or will never be.
    pub(crate) ready: oneshot::Sender<Result<Portal, SpawnError>>,
    /// Gets the child's exit, if somebody waits for that.
    pub(crate) answer: Option<oneshot::Sender<Done>>,
}

/// Children whose callers have given up waiting. There are never more than children.
#[derive(Debug, Default)]
pub(crate) struct Dismissed {
    children: Mutex<Vec<ChildId>>,
    is_told: Notify,
}

impl Dismissed {
    pub(crate) fn push(&self, child: ChildId) {
        self.children.lock().expect("nothing panics while it holds the lock").push(child);
        self.is_told.notify_one();
    }

    async fn take(&self) -> Vec<ChildId> {
        self.is_told.notified().await;
        let mut children = self.children.lock().expect("nothing panics while it holds the lock");
        std::mem::take(&mut *children)
    }
}

/// The task that owns the children of one scope.
pub(crate) struct Supervisor {
    actor: Arc<Core>,
    /// The place in the source where the scope was opened.
    opened: String,
    supervision: SupervisionState,
    children: BTreeMap<ChildId, Child>,
    runners: JoinSet<Run>,
    by_task: HashMap<Id, ChildId>,
    stop_body: CancellationToken,
    /// The children that failed.
    blamed: BTreeMap<ChildId, Arc<ChildSpec>>,
}

struct Child {
    spec: Arc<ChildSpec>,
    /// Asks the present run of the child to end.
    cancel: Cancel,
    /// The exit of the child's last run.
    done: Option<Done>,
    answer: Option<oneshot::Sender<Done>>,
}

/// A run of a child that has ended.
struct Run {
    done: Done,
    was_ready: bool,
}

impl Supervisor {
    pub(crate) fn new(actor: Arc<Core>, options: NurseryOptions, opened: String) -> Self {
        let supervision =
            SupervisionState::new(actor.path.clone(), options.strategy, options.intensity);
        Self {
            actor,
            opened,
            supervision,
            children: BTreeMap::new(),
            runners: JoinSet::new(),
            by_task: HashMap::new(),
            stop_body: CancellationToken::new(),
            blamed: BTreeMap::new(),
        }
    }

    /// Serves the body until it and all children have ended, and returns the failures.
    pub(crate) async fn run(mut self, asks: Asks, settled: oneshot::Sender<Vec<ChildError>>) {
        let Asks { mut orders, dismissed, mut body_end, cancel, stop_body } = asks;
        self.stop_body = stop_body;
        let (mut is_body_over, mut is_cancelled) = (false, false);
        let actor_cancel = self.actor.cancel.clone();
        while !self.supervision.is_over() {
            let deadline = self.supervision.next_deadline();
            let alarm = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let cancelled = async {
                tokio::select! {
                    reason = cancel.asked() => reason,
                    reason = actor_cancel.asked() => reason,
                }
            };
            tokio::select! {
                biased;
                reason = cancelled, if !is_cancelled => {
                    is_cancelled = true;
                    self.apply(Event::Cancelled(reason));
                }
                end = &mut body_end, if !is_body_over => {
                    is_body_over = true;
                    self.follow_all(&mut orders);
                    // A dropped body sends nothing, and its guard has cancelled the scope.
                    self.apply(Event::BodyEnded { is_well: end.unwrap_or(true) });
                }
                Some(ended) = self.runners.join_next_with_id() => {
                    let (id, run) = match ended {
                        Ok((id, run)) => (id, run),
                        Err(error) => (error.id(), Run::lost(&error)),
                    };
                    let child = self.by_task.remove(&id).expect("every runner has its child");
                    self.end(child, run);
                }
                Some(order) = orders.recv() => self.follow(order),
                children = dismissed.take() => {
                    self.follow_all(&mut orders);
                    self.dismiss(children);
                }
                () = alarm => self.apply(Event::Tick),
            }
        }
        let mut blamed = self.blamed;
        let errors = self.supervision.into_failures().into_iter().map(|failure| {
            let spec = blamed.remove(&failure.child).expect("a failed child has ended");
            ChildError {
                actor: spec.path.clone(),
                kind: spec.kind,
                exit: failure.exit,
                restarts: failure.restarts,
            }
        });
        if let Err(children) = settled.send(errors.collect()) {
            self.actor.leave_behind(&self.opened, children);
        }
    }

    /// Carries out the orders that the body has placed so far: a child of one of them may be there
    /// already, and must not be forgotten.
    fn follow_all(&mut self, orders: &mut mpsc::Receiver<Order>) {
        while let Ok(order) = orders.try_recv() {
            self.follow(order);
        }
    }

    fn follow(&mut self, order: Order) {
        let Order { child, spec, policy, runner, begun, ready, answer } = order;
        // A child that has begun must be known, if only to be ended.
        if begun.is_none() {
            if ready.is_closed() {
                // The order was abandoned by its author.
                return;
            }
            if let Some(reason) = self.supervision.why_closed() {
                ready.send(Err(SpawnError::Closed(reason.clone()))).ok();
                return;
            }
        }
        let cancel = runner.cancel.clone();
        self.children.insert(child, Child { spec, cancel, done: None, answer });
        self.start(child, *runner, begun, Some(ready));
        self.apply(Event::Spawned(child, policy));
    }

    fn dismiss(&mut self, children: Vec<ChildId>) {
        for child in children {
            let why = "nobody waits for it any more";
            let reason = CancelReason::new(self.actor.path.clone(), why);
            self.apply(Event::Dismissed(child, reason));
        }
    }

    /// Starts a run of a child.
    fn start(
        &mut self,
        id: ChildId,
        runner: ChildRunner,
        begun: Option<StartedRun>,
        ready: Option<oneshot::Sender<Result<Portal, SpawnError>>>,
    ) {
        let child = self.children.get_mut(&id).expect("only what was spawned is started");
        child.cancel = runner.cancel.clone();
        let span = runner.span.clone();
        let running = async move {
            let mut was_ready = false;
            let told = async |outcome: Result<Portal, SpawnError>| {
                was_ready = outcome.is_ok();
                if let Some(ready) = ready {
                    ready.send(outcome).ok();
                }
            };
            let done = runner.run(begun, told).await;
            tracing::debug!(target: "callsign", "{}", done.exit);
            Run { done, was_ready }
        };
        let task = self.runners.spawn(running.instrument(span));
        self.by_task.insert(task.id(), id);
    }

    fn end(&mut self, id: ChildId, run: Run) {
        let Run { done, was_ready } = run;
        let child = self.children.get_mut(&id).expect("only what was spawned ends");
        let exit = done.exit.clone();
        child.done = Some(done);
        self.apply(Event::Ended { child: id, exit, was_ready });
    }

    /// Forgets a child that has ended for good, and notifies those that wait for that.
    fn forget(&mut self, id: ChildId) {
        let child = self.children.remove(&id).expect("only what was spawned is forgotten");
        if let (Some(answer), Some(done)) = (child.answer, child.done) {
            // Nobody may wait for it any more.
            answer.send(done).ok();
        }
        if self.supervision.blames(id) {
            self.blamed.insert(id, child.spec);
        }
    }

    /// Applies an event, and carries out the commands.
    fn apply(&mut self, event: Event) {
        for command in self.supervision.apply(event, Instant::now(), random()) {
            match command {
                Command::Cancel(child, reason) => {
                    let child = self.children.get(&child).expect("only what runs is cancelled");
                    child.cancel.ask(reason);
                }
                Command::StartAgain(child) => {
                    let spec = self.children[&child].spec.clone();
                    let runner = ChildRunner::new(self.actor.clone(), spec);
                    runner.span.in_scope(|| tracing::info!(target: "callsign", "restarts"));
                    self.start(child, runner, None, None);
                }
                Command::Forget(child) => self.forget(child),
                Command::StopBody => self.stop_body.cancel(),
            }
        }
    }
}

impl Run {
    /// Returns the end of a child whose runner panicked, which is a bug of this library.
    fn lost(error: &tokio::task::JoinError) -> Self {
        let panic = Panic { message: error.to_string(), place: None, backtrace: None };
        // Its spawner may not know, so the scope has to.
        Self { done: Done { exit: Exit::Panicked(panic), value: None }, was_ready: true }
    }
}

/// A random number, good enough for spreading restarts.
fn random() -> u32 {
    // Every `RandomState` has its own keys.
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
