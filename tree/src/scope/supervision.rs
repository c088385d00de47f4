//! The state of one scope's children, and the policy: which are cancelled, which are restarted, and
//! when the scope ends.
//!
//! The state is pure: it takes events, the time and a random number, and returns commands. It knows
//! children by number, and holds no task, no clock and no connection.
//! children by number, and holds no task, no clock and no connection.
//!
//! ```text
//!             a child fails, the body fails, somebody cancels
//!   Open ───────────────────────────────────────────────────▶ Cancelling ──┐
//!    │ the body ends well                                        ▲          │ none is left
//!    ▼                         a child fails                     │          ▼
//!   Closing ─────────────────────────────────────────────────────┤        done
//!    │ nobody is left but those who serve ───────────────────────┘
//! ```

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use crate::{
    ActorPath, CancelReason, Exit, Intensity, Restart, Strategy, outcome::exit::ExitClass,
};

/// The options of a scope.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Nursery, NurseryError, NurseryOptions, Root, Strategy};
///
/// async fn serve(root: &Root) -> Result<(), NurseryError> {
///     let options = NurseryOptions { strategy: Strategy::OneForAll, ..NurseryOptions::default() };
///     root.nursery_with(options, async |_: &Nursery| Ok(())).await
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NurseryOptions {
    /// The siblings that restart with a child.
    pub strategy: Strategy,
    /// The limits and pauses of restarts.
    pub intensity: Intensity,
}

/// A child's number within its scope, in the order of spawning.
pub(crate) type ChildId = u32;

/// The policy of a scope about a child.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    pub(crate) role: Role,
    /// Whether its failure is handled elsewhere, so that the scope need not.
    pub(crate) is_answered_for: bool,
}

/// The role of a child in its scope.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// It runs a function, and a scope waits for it.
    Works,
    /// It answers calls, and ends with its scope.
    Serves,
}

/// An event in a scope.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Spawned(ChildId, Policy),
    Ended {
        child: ChildId,
        exit: Exit,
        /// Whether this run of it was ready. If no run ever was, only its spawner gets the error.
        was_ready: bool,
    },
    BodyEnded {
        is_well: bool,
    },
    /// One child is to end.
    Dismissed(ChildId, CancelReason),
    /// The scope is to end.
    Cancelled(CancelReason),
    /// Time has passed.
    Tick,
}

/// A command to the supervisor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    Cancel(ChildId, CancelReason),
    StartAgain(ChildId),
    /// It has ended for good.
    Forget(ChildId),
    /// The body is to be dropped.
    StopBody,
}

/// A child whose end is a failure of its scope.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) child: ChildId,
    pub(crate) exit: Exit,
    /// The number of earlier restarts.
    pub(crate) restarts: u32,
}

/// The state of one scope's children.
#[derive(Debug)]
pub(crate) struct SupervisionState {
    actor: ActorPath,
    strategy: Strategy,
    intensity: Intensity,
    children: BTreeMap<ChildId, Child>,
    phase: Phase,
    is_body_over: bool,
    is_body_stopped: bool,
    /// The times of recent restarts, oldest first.
    restarts: VecDeque<Instant>,
    failures: Vec<Failure>,
}

#[derive(Debug)]
struct Child {
    policy: Policy,
    state: State,
    /// Whether any run of it was ready.
    was_ready: bool,
    restarts: u32,
}

#[derive(Debug)]
enum State {
    Running,
    /// It was asked to end.
    Ending {
        asked: CancelReason,
        again_at: Option<Instant>,
    },
    /// It has ended, and will be restarted.
    Waiting {
        until: Instant,
    },
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Phase {
    Open,
    Closing,
    Cancelling(CancelReason),
}

impl SupervisionState {
    pub(crate) fn new(actor: ActorPath, strategy: Strategy, intensity: Intensity) -> Self {
        Self {
            actor,
            strategy,
            intensity,
            children: BTreeMap::new(),
            phase: Phase::Open,
            is_body_over: false,
            is_body_stopped: false,
            restarts: VecDeque::new(),
            failures: Vec::new(),
        }
    }

    /// Applies an event, and returns the commands that follow from it.
    pub(crate) fn apply(&mut self, event: Event, now: Instant, random: u32) -> Vec<Command> {
        let mut commands = Vec::new();
        match event {
            Event::Spawned(child, policy) => {
                let state = match &self.phase {
                    Phase::Cancelling(reason) => {
                        commands.push(Command::Cancel(child, reason.clone()));
                        State::Ending { asked: reason.clone(), again_at: None }
                    }
                    Phase::Open | Phase::Closing => State::Running,
                };
                let new = Child { policy, state, was_ready: false, restarts: 0 };
                self.children.insert(child, new);
            }
            Event::Ended { child: id, exit, was_ready } => {
                if let Some(child) = self.children.get_mut(&id) {
                    child.was_ready |= was_ready;
                    self.end(id, exit, now, random, &mut commands);
                }
            }
            Event::BodyEnded { is_well } => {
                self.is_body_over = true;
                if !is_well {
                    let reason = self.reason("the body of its scope failed");
                    self.cancel(&reason, &mut commands);
                } else if self.phase == Phase::Open {
                    self.phase = Phase::Closing;
                }
            }
            Event::Dismissed(id, reason) => self.dismiss(id, reason, &mut commands),
            Event::Cancelled(reason) => self.cancel(&reason, &mut commands),
            Event::Tick => {}
        }
        self.start_again(now, &mut commands);
        let has_work = self.children.values().any(|it| it.policy.role == Role::Works);
        if self.phase == Phase::Closing && !has_work {
            let reason = self.reason("its scope has ended");
            self.cancel(&reason, &mut commands);
        }
        commands
    }

    /// Returns when the next tick is due, if no event comes before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.is_settling() {
            return None;
        }
        let until = |it: &Child| match it.state {
            State::Waiting { until } => Some(until),
            _ => None,
        };
        self.children.values().filter_map(until).min()
    }

    /// Returns why no child can be spawned any more.
    pub(crate) fn why_closed(&self) -> Option<&CancelReason> {
        match &self.phase {
            Phase::Cancelling(reason) => Some(reason),
            Phase::Open | Phase::Closing => None,
        }
    }

    /// Tells whether the end of a child is a failure of its scope.
    pub(crate) fn blames(&self, id: ChildId) -> bool {
        self.failures.iter().any(|it| it.child == id)
    }

    /// Tells whether the body and all children have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.is_body_over && self.children.is_empty()
    }

    /// Returns the failures of the scope, in the order in which the children ended.
    pub(crate) fn into_failures(self) -> Vec<Failure> {
        self.failures
    }

    fn end(
        &mut self,
        id: ChildId,
        exit: Exit,
        now: Instant,
        random: u32,
        commands: &mut Vec<Command>,
    ) {
        let child = self.children.get_mut(&id).expect("only known children end");
        let (asked, again_at) = match &child.state {
            State::Ending { asked, again_at } => (Some(asked), *again_at),
            State::Running | State::Waiting { .. } => (None, None),
        };
        let class = exit.class(&self.actor, asked);
        if !child.was_ready {
            self.forget(id, commands);
            return;
        }
        if let Some(until) = again_at {
            child.restarts += 1;
            child.state = State::Waiting { until };
            return;
        }
        let is_dismissed = asked.is_some();
        let wants_restart = match (self.phase.clone(), child.policy.restart, class) {
            _ if is_dismissed => false,
            (Phase::Cancelling(_), _, _) | (_, Restart::Never, _) => false,
            (Phase::Open, Restart::Always, _) if !child.policy.is_answered_for => true,
            (_, _, class) => class == ExitClass::Failure,
        };
        if !wants_restart {
            self.give_up(id, exit, class, commands);
            return;
        }

        let is_long_ago = |at: &Instant| now.duration_since(*at) >= self.intensity.within;
        while self.restarts.front().is_some_and(is_long_ago) {
            self.restarts.pop_front();
        }
        let earlier = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        if earlier >= self.intensity.restarts {
            // A child that succeeds too often is in trouble too.
            self.give_up(id, exit, ExitClass::Failure, commands);
            return;
        }
        self.restarts.push_back(now);
        child.restarts += 1;
        let until = now + self.intensity.wait(earlier, random);
        child.state = State::Waiting { until };
        let first = match self.strategy {
            Strategy::OneForOne => return,
            Strategy::OneForAll => 0,
            Strategy::RestForOne => id,
        };
        let reason = self.reason("a sibling of it is started again");
        for (other, child) in self.children.range_mut(first..) {
            if matches!(child.state, State::Running) {
                let again_at = (child.policy.restart != Restart::Never).then_some(until);
                child.state = State::Ending { asked: reason.clone(), again_at };
                commands.push(Command::Cancel(*other, reason.clone()));
            }
        }
    }

    /// Removes a child for good.
    fn forget(&mut self, id: ChildId, commands: &mut Vec<Command>) -> Child {
        commands.push(Command::Forget(id));
        self.children.remove(&id).expect("only known children are forgotten")
    }

    /// Removes a child for good, and counts its failure as that of the scope.
    fn give_up(&mut self, id: ChildId, exit: Exit, class: ExitClass, commands: &mut Vec<Command>) {
        let child = self.forget(id, commands);
        if class != ExitClass::Failure || child.policy.is_answered_for {
            return;
        }
        self.failures.push(Failure { child: id, exit, restarts: child.restarts });
        let reason = self.reason("a sibling of it failed");
        self.cancel(&reason, commands);
        if !self.is_body_stopped && !self.is_body_over {
            self.is_body_stopped = true;
            commands.push(Command::StopBody);
        }
    }

    /// Asks one child to end.
    fn dismiss(&mut self, id: ChildId, reason: CancelReason, commands: &mut Vec<Command>) {
        match self.children.get_mut(&id).map(|it| &mut it.state) {
            Some(state @ State::Running) => {
                commands.push(Command::Cancel(id, reason.clone()));
                *state = State::Ending { asked: reason, again_at: None };
            }
            Some(State::Ending { again_at, .. }) => *again_at = None,
            Some(State::Waiting { .. }) => drop(self.forget(id, commands)),
            None => {}
        }
    }

    /// Asks all children to end. The first reason stays.
    fn cancel(&mut self, reason: &CancelReason, commands: &mut Vec<Command>) {
        if !matches!(self.phase, Phase::Cancelling(_)) {
            self.phase = Phase::Cancelling(reason.clone());
        }
        self.children.retain(|id, child| {
            match &mut child.state {
                State::Running => {
                    commands.push(Command::Cancel(*id, reason.clone()));
                    child.state = State::Ending { asked: reason.clone(), again_at: None };
                }
                State::Ending { again_at, .. } => *again_at = None,
                State::Waiting { .. } => {
                    commands.push(Command::Forget(*id));
                    return false;
                }
            }
            true
        });
    }

    /// Restarts the children that are due, together, and in the order of spawning.
    fn start_again(&mut self, now: Instant, commands: &mut Vec<Command>) {
        if self.is_settling() {
            return;
        }
        for (id, child) in &mut self.children {
            if matches!(child.state, State::Waiting { until } if until <= now) {
                child.state = State::Running;
                commands.push(Command::StartAgain(*id));
            }
        }
    }

    /// Tells whether some have to end before others can be restarted.
    fn is_settling(&self) -> bool {
        let is_settling = |it: &Child| matches!(it.state, State::Ending { again_at: Some(_), .. });
        self.children.values().any(is_settling)
    }

    fn reason(&self, why: &str) -> CancelReason {
        CancelReason::new(self.actor.clone(), why)
    }
}

#[cfg(test)]
mod interleaved;
#[cfg(test)]
mod tests;
