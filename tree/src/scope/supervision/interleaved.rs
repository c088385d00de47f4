//! The supervision as a scope shares it: children that end, a body that spawns and ends, and a
//! canceller, each in its own thread, in many of the possible orders.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shuttle::{
    rand::{Rng, thread_rng},
    sync::{Condvar, Mutex},
    thread,
};
use tokio::time::Instant;
use wire::ErrorKind;

use super::{ChildId, Command, Event, Policy, Role, SupervisionState};
use crate::{ActorPath, CalleeError, CancelReason, Exit, Intensity, Pressure, Restart, Strategy};

/// A scope, and its running children.
struct Scope {
    supervision: SupervisionState,
    now: Instant,
    /// The running children, and whether each was asked to end.
    running: BTreeMap<ChildId, bool>,
    ends: u32,
    starts: u32,
    is_body_stopped: bool,
}

#[derive(Clone)]
struct Shared(Arc<(Mutex<Scope>, Condvar)>);

impl Shared {
    fn tell(&self, event: Event) {
        let (scope, changed) = &*self.0;
        let mut started = Vec::new();
        {
            let mut scope = scope.lock().unwrap();
            match &event {
                Event::Spawned(id, _) => {
                    scope.starts += 1;
                    assert_eq!(scope.running.insert(*id, false), None);
                }
                Event::Ended { child, .. } => {
                    scope.ends += 1;
                    assert!(scope.running.remove(child).is_some(), "it ends once");
                }
                _ => {}
            }
            let now = scope.now;
            for command in scope.supervision.apply(event, now, 0) {
                match command {
                    Command::Cancel(id, _) => {
                        assert_eq!(scope.running.insert(id, true), Some(false));
                    }
                    Command::StartAgain(id) => {
                        scope.starts += 1;
                        assert_eq!(scope.running.insert(id, false), None);
                        started.push(id);
                    }
                    Command::Forget(id) => assert_eq!(scope.running.get(&id), None),
                    Command::StopBody => scope.is_body_stopped = true,
                }
            }
        }
        changed.notify_all();
        started.into_iter().for_each(|id| self.live(id));
    }

    /// Runs a child in its own thread: it ends by itself, or, if it only serves, when it is asked
    /// to.
    fn live(&self, id: ChildId) {
        let shared = self.clone();
        thread::spawn(move || {
            let whims = if id == SERVER { 4 } else { 2 };
            let exit = match thread_rng().gen_range(0..whims) {
                0 => Exit::Returned,
                1 => Exit::Failed(CalleeError::new(ErrorKind::Failed, "broken")),
                _ => shared.wait_to_be_asked(id),
            };
            shared.tell(Event::Ended { child: id, exit, was_ready: true });
        });
    }

    fn wait_to_be_asked(&self, id: ChildId) -> Exit {
        let (scope, changed) = &*self.0;
        let mut scope = scope.lock().unwrap();
        while !scope.running[&id] {
            scope = changed.wait(scope).unwrap();
        }
        let reason = CancelReason::new(scope.supervision.actor.clone(), "it was asked");
        Exit::Cancelled { reason, pressure: Pressure::Asked }
    }
}

#[test]
fn every_scope_comes_to_its_end() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        shuttle::check_random(move || play(strategy), ROUNDS);
    }
}

fn play(strategy: Strategy) {
    let actor = ActorPath::try_from("/base".to_owned()).unwrap();
    let intensity = Intensity {
        restarts: 2,
        within: Duration::from_secs(1),
        first: Duration::ZERO,
        most: Duration::ZERO,
    };
    let scope = Scope {
        supervision: SupervisionState::new(actor.clone(), strategy, intensity),
        now: Instant::now(),
        running: BTreeMap::new(),
        ends: 0,
        starts: 0,
        is_body_stopped: false,
    };
    let shared = Shared(Arc::new((Mutex::new(scope), Condvar::new())));

    let body = shared.clone();
    thread::spawn(move || {
        let policies = [
            (Restart::Never, Role::Works),
            (Restart::OnFailure, Role::Serves),
            (Restart::OnFailure, Role::Works),
        ];
        for (id, (restart, role)) in (0..).zip(policies) {
            body.tell(Event::Spawned(id, Policy { restart, role, is_answered_for: false }));
            body.live(id);
        }
        body.tell(Event::BodyEnded { is_well: thread_rng().gen_bool(0.5) });
    });
    if thread_rng().gen_bool(0.5) {
        let canceller = shared.clone();
        thread::spawn(move || {
            canceller.tell(Event::Cancelled(CancelReason::new(actor, "enough")));
        });
    }

    let (scope, changed) = &*shared.0;
    let mut scope = scope.lock().unwrap();
    while !scope.supervision.is_over() {
        scope = changed.wait(scope).unwrap();
    }
    assert!(scope.running.is_empty(), "no child outlives its scope");
    assert_eq!(scope.starts, scope.ends, "every run has one end");
    let is_in_trouble = !scope.supervision.failures.is_empty();
    assert!(is_in_trouble || !scope.is_body_stopped, "a body is stopped for a reason");
}

/// The child that only serves.
const SERVER: ChildId = 1;

/// The number of orders to try for each strategy: some seconds of them.
const ROUNDS: usize = 2_000;
