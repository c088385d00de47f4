use std::{collections::BTreeSet, time::Duration};

use proptest::{
    prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest},
    strategy::Strategy as _,
};
use wire::ErrorKind;

use super::*;
use crate::{CalleeError, Pressure};

fn path(text: &str) -> ActorPath {
    ActorPath::try_from(text.to_owned()).unwrap()
}

fn failed() -> Exit {
    Exit::Failed(CalleeError::new(ErrorKind::Internal, "broken"))
}

fn cancelled(by: &str) -> Exit {
    let reason = CancelReason::new(path(by), "enough");
    Exit::Cancelled { reason, pressure: Pressure::Asked }
}

const WORKER: Policy =
    Policy { restart: Restart::Never, role: Role::Works, is_answered_for: false };
const SERVER: Policy = Policy { role: Role::Serves, ..WORKER };

fn with(restart: Restart) -> Policy {
    Policy { restart, ..SERVER }
}

/// A scope that gets one event after the other, and its commands.
struct Scope {
    supervision: SupervisionState,
    now: Instant,
}

impl Scope {
    fn new(strategy: Strategy, policies: &[Policy]) -> Self {
        let intensity = Intensity {
            restarts: 2,
            within: Duration::from_secs(10),
            first: Duration::from_millis(100),
            most: Duration::from_secs(1),
        };
        let mut scope = Self {
            supervision: SupervisionState::new(path("/base"), strategy, intensity),
            now: Instant::now(),
        };
        for (id, policy) in (0..).zip(policies) {
            assert_eq!(scope.tell(Event::Spawned(id, *policy)), "");
        }
        scope
    }

    /// Passes an event to the supervision, and returns its commands in short: `-1` cancels, `+1`
    /// starts again, `~1` forgets, `!` stops the body.
    fn tell(&mut self, event: Event) -> String {
        let commands = self.supervision.apply(event, self.now, u32::MAX);
        let short = commands.iter().map(|it| match it {
            Command::Cancel(id, _) => format!("-{id}"),
            Command::StartAgain(id) => format!("+{id}"),
            Command::Forget(id) => format!("~{id}"),
            Command::StopBody => "!".to_owned(),
        });
        short.collect::<Vec<_>>().join(" ")
    }

    fn end(&mut self, child: ChildId, exit: Exit) -> String {
        self.tell(Event::Ended { child, exit, was_ready: true })
    }

    fn wait(&mut self, ms: u64) -> String {
        self.now += Duration::from_millis(ms);
        self.tell(Event::Tick)
    }

    fn failures(self) -> Vec<(ChildId, Exit, u32)> {
        assert!(self.supervision.is_over(), "{:?}", self.supervision);
        self.supervision
            .into_failures()
            .into_iter()
            .map(|it| (it.child, it.exit, it.restarts))
            .collect()
    }
}

#[test]
fn one_fails_and_the_rest_are_cancelled() {
    let mut scope = Scope::new(Strategy::OneForOne, &[WORKER, SERVER, WORKER]);
    assert_eq!(scope.end(1, failed()), "~1 -0 -2 !");
    assert_eq!(scope.end(0, cancelled("/base")), "~0");
    assert_eq!(scope.end(2, failed()), "~2", "a second failure is kept too");
    assert_eq!(scope.tell(Event::BodyEnded { is_well: true }), "");
    assert_eq!(scope.failures(), [(1, failed(), 0), (2, failed(), 0)]);
}

#[test]
fn workers_are_waited_for_and_servers_are_not() {
    let mut scope = Scope::new(Strategy::OneForOne, &[WORKER, SERVER]);
    assert_eq!(scope.tell(Event::BodyEnded { is_well: true }), "");
    assert_eq!(scope.end(0, Exit::Returned), "~0 -1");
    assert_eq!(scope.end(1, cancelled("/base")), "~1");
    assert_eq!(scope.failures(), []);
}

#[test]
fn a_body_that_fails_cancels_all() {
    let mut scope = Scope::new(Strategy::OneForOne, &[WORKER, SERVER]);
    assert_eq!(scope.tell(Event::BodyEnded { is_well: false }), "-0 -1");
    assert_eq!(scope.end(0, cancelled("/base")), "~0");
    assert_eq!(scope.end(1, cancelled("/base")), "~1");
    assert_eq!(scope.failures(), []);
}

#[test]
fn a_cancellation_from_elsewhere_is_an_error() {
    let mut scope = Scope::new(Strategy::OneForOne, &[SERVER, SERVER]);
    assert_eq!(scope.end(0, cancelled("/other")), "~0 -1 !");
    assert_eq!(scope.end(1, cancelled("/base")), "~1");
    assert_eq!(scope.tell(Event::BodyEnded { is_well: false }), "");
    assert_eq!(scope.failures(), [(0, cancelled("/other"), 0)]);
}

#[test]
fn a_reason_that_was_passed_on_is_our_own() {
    let mut scope = Scope::new(Strategy::OneForOne, &[SERVER]);
    let reason = CancelReason::new(path("/above"), "enough");
    assert_eq!(scope.tell(Event::Cancelled(reason)), "-0");
    assert_eq!(scope.end(0, cancelled("/above")), "~0");
    assert_eq!(scope.tell(Event::BodyEnded { is_well: true }), "");
    assert_eq!(scope.failures(), []);
}

#[test]
fn children_spawned_too_late_are_cancelled_at_once() {
    let mut scope = Scope::new(Strategy::OneForOne, &[]);
    scope.tell(Event::Cancelled(CancelReason::new(path("/base"), "enough")));
    assert!(scope.supervision.why_closed().is_some());
    assert_eq!(scope.tell(Event::Spawned(0, WORKER)), "-0");
}

#[test]
fn a_failure_that_somebody_takes_leaves_the_rest_alone() {
    let answered = Policy { is_answered_for: true, ..WORKER };
    let mut scope = Scope::new(Strategy::OneForOne, &[answered, answered, SERVER]);
    assert_eq!(scope.end(0, failed()), "~0");
    let reason = CancelReason::new(path("/base"), "nobody waits for it any more");
    assert_eq!(scope.tell(Event::Dismissed(1, reason)), "-1");
    assert_eq!(scope.end(1, failed()), "~1");
    assert_eq!(scope.tell(Event::BodyEnded { is_well: true }), "-2");
}

#[test]
fn a_death_before_the_first_report_concerns_the_spawner() {
    let mut scope = Scope::new(Strategy::OneForAll, &[SERVER]);
    assert_eq!(scope.tell(Event::Spawned(1, with(Restart::Always))), "");
    let died = Event::Ended { child: 1, exit: failed(), was_ready: false };
    assert_eq!(scope.tell(died), "~1");
    assert_eq!(scope.wait(1_000), "");
    assert_eq!(scope.tell(Event::BodyEnded { is_well: true }), "-0");
}

#[test]
fn is_started_again_as_the_policy_says() {
    let check = |restart, exit: Exit, is_body_over: bool, expected: &str| {
        let mut scope = Scope::new(Strategy::OneForOne, &[with(restart), WORKER]);
        if is_body_over {
            scope.tell(Event::BodyEnded { is_well: true });
        }
        let ended = scope.end(0, exit.clone());
        assert_eq!(ended, if expected.is_empty() { "~0" } else { "" });
        assert_eq!(scope.wait(99), "");
        assert_eq!(scope.wait(1), expected, "{restart:?} after {exit}");
    };
    check(Restart::OnFailure, failed(), false, "+0");
    check(Restart::OnFailure, Exit::Returned, false, "");
    check(Restart::OnFailure, cancelled("/other"), false, "+0");
    check(Restart::Always, failed(), false, "+0");
    check(Restart::Always, Exit::Returned, false, "+0");
    check(Restart::Always, Exit::Returned, true, "");
    check(Restart::Always, failed(), true, "+0");
}

#[test]
fn all_are_started_again_together_once_all_have_ended() {
    let policies = [with(Restart::Always), SERVER, with(Restart::OnFailure)];
    let mut scope = Scope::new(Strategy::OneForAll, &policies);
    assert_eq!(scope.end(2, failed()), "-0 -1");
    assert_eq!(scope.wait(200), "", "the others have not ended");
    assert_eq!(scope.supervision.next_deadline(), None);
    assert_eq!(scope.end(1, cancelled("/base")), "~1");
    assert_eq!(scope.end(0, cancelled("/base")), "+0 +2");
}

#[test]
fn the_rest_is_started_again_and_the_first_are_left_alone() {
    let policies = [Restart::OnFailure; 3].map(with);
    let mut scope = Scope::new(Strategy::RestForOne, &policies);
    assert_eq!(scope.end(1, failed()), "-2");
    assert_eq!(scope.end(2, cancelled("/base")), "", "its wait is not over");
    assert_eq!(scope.wait(100), "+1 +2");
}

#[test]
fn too_many_restarts_are_a_failure() {
    let mut scope = Scope::new(Strategy::OneForOne, &[with(Restart::OnFailure), SERVER]);
    assert_eq!(scope.end(0, failed()), "");
    assert_eq!(scope.wait(100), "+0");
    assert_eq!(scope.end(0, failed()), "");
    assert_eq!(scope.wait(199), "", "the second wait is twice as long");
    assert_eq!(scope.wait(1), "+0");
    assert_eq!(scope.end(0, failed()), "~0 -1 !");
    assert_eq!(scope.end(1, cancelled("/base")), "~1");
    assert_eq!(scope.tell(Event::BodyEnded { is_well: false }), "");
    assert_eq!(scope.failures(), [(0, failed(), 2)]);
}

#[test]
fn restarts_of_long_ago_do_not_count() {
    let mut scope = Scope::new(Strategy::OneForOne, &[with(Restart::OnFailure)]);
    for _ in 0..10 {
        assert_eq!(scope.end(0, failed()), "");
        assert_eq!(scope.wait(10_000), "+0");
    }
}

#[test]
fn restarts_may_count_for_ever() {
    let mut scope = Scope::new(Strategy::OneForOne, &[with(Restart::OnFailure)]);
    scope.supervision.intensity.within = Duration::MAX;
    for _ in 0..2 {
        assert_eq!(scope.end(0, failed()), "");
        assert_eq!(scope.wait(1_000_000), "+0");
    }
    assert_eq!(scope.end(0, failed()), "~0 !");
}

#[test]
fn a_cancelled_scope_restarts_nothing() {
    let mut scope = Scope::new(Strategy::OneForOne, &[with(Restart::OnFailure)]);
    assert_eq!(scope.end(0, failed()), "");
    assert_eq!(scope.tell(Event::BodyEnded { is_well: false }), "~0");
    assert_eq!(scope.failures(), []);
}

#[test]
fn an_awaited_child_is_forgotten_after_its_final_end() {
    let answered = Policy { is_answered_for: true, ..with(Restart::Always) };
    let mut scope = Scope::new(Strategy::OneForOne, &[answered, answered]);
    assert_eq!(scope.end(0, failed()), "", "it is started again");
    assert_eq!(scope.wait(100), "+0");
    assert_eq!(scope.end(0, Exit::Returned), "~0", "it is well");
    assert_eq!(scope.end(1, failed()), "");
    let reason = CancelReason::new(path("/base"), "nobody waits for it any more");
    assert_eq!(scope.tell(Event::Dismissed(1, reason)), "~1");
}

/// A step of a scenario, with its child and event.
#[derive(Clone, Copy, Debug)]
enum Step {
    Spawn { restart: u8, works: bool, answered: bool },
    End { which: usize, how: u8, was_ready: bool },
    Dismiss { which: usize },
    Cancel,
    Body { is_well: bool },
    Wait { ms: u64 },
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8, any::<bool>(), any::<bool>())
            .prop_map(|(restart, works, answered)| Step::Spawn { restart, works, answered }),
        6 => (any::<usize>(), 0..4u8, prop::bool::weighted(0.9))
            .prop_map(|(which, how, was_ready)| Step::End { which, how, was_ready }),
        1 => any::<usize>().prop_map(|which| Step::Dismiss { which }),
        1 => Just(Step::Cancel),
        1 => any::<bool>().prop_map(|is_well| Step::Body { is_well }),
        4 => (0..5_000u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

proptest! {
    /// Invariants: no child is cancelled that does not run, or started that does; after a scope is
    /// cancelled none is started; when all have ended the scope is over, and each was forgotten
    /// once.
    #[test]
    fn every_scope_ends(
        steps in prop::collection::vec(step(), 0..60),
        strategy in 0..3u8,
        random in any::<u32>(),
    ) {
        let strategy = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]
            [usize::from(strategy)];
        let mut supervision = SupervisionState::new(path("/base"), strategy, Intensity::default());
        let mut now = Instant::now();
        // The running children, and whether each was asked to end.
        let mut running: BTreeMap<ChildId, bool> = BTreeMap::new();
        let mut forgotten: BTreeSet<ChildId> = BTreeSet::new();
        let (mut spawned, mut is_body_over) = (0, false);
        let closing = [Step::Cancel, Step::Body { is_well: true }];

        for step in steps.into_iter().chain(closing) {
            let pick = |which: usize| running.keys().nth(which % running.len().max(1)).copied();
            let event = match step {
                Step::Spawn { .. } if is_body_over => continue,
                Step::Spawn { restart, works, answered } => {
                    let policy = Policy {
                        restart: [Restart::Never, Restart::OnFailure, Restart::Always]
                            [usize::from(restart)],
                        role: if works { Role::Works } else { Role::Serves },
                        is_answered_for: answered,
                    };
                    running.insert(spawned, false);
                    spawned += 1;
                    Event::Spawned(spawned - 1, policy)
                }
                Step::End { which, how, was_ready } => {
                    let Some(id) = pick(which) else { continue };
                    running.remove(&id);
                    let exit = match how {
                        0 => Exit::Returned,
                        1 => failed(),
                        2 => cancelled("/base"),
                        _ => cancelled("/other"),
                    };
                    Event::Ended { child: id, exit, was_ready }
                }
                Step::Dismiss { which } => {
                    let Some(id) = pick(which) else { continue };
                    Event::Dismissed(id, CancelReason::new(path("/base"), "enough"))
                }
                Step::Cancel => Event::Cancelled(CancelReason::new(path("/base"), "enough")),
                Step::Body { .. } if is_body_over => continue,
                Step::Body { is_well } => {
                    is_body_over = true;
                    Event::BodyEnded { is_well }
                }
                Step::Wait { ms } => {
                    now += Duration::from_millis(ms);
                    Event::Tick
                }
            };
            let was_closed = supervision.why_closed().is_some();
            for command in supervision.apply(event, now, random) {
                match command {
                    Command::Cancel(id, _) => {
                        prop_assert_eq!(running.insert(id, true), Some(false));
                    }
                    Command::StartAgain(id) => {
                        prop_assert!(!was_closed);
                        prop_assert_eq!(running.insert(id, false), None);
                    }
                    Command::Forget(id) => {
                        prop_assert!(!running.contains_key(&id));
                        prop_assert!(forgotten.insert(id));
                    }
                    Command::StopBody => prop_assert!(!is_body_over),
                }
            }
        }

        prop_assert!(running.values().all(|is_asked| *is_asked), "all were asked to end");
        for id in running.into_keys() {
            prop_assert!(!supervision.is_over());
            let ended = Event::Ended { child: id, exit: cancelled("/base"), was_ready: true };
            prop_assert_eq!(supervision.apply(ended, now, random), [Command::Forget(id)]);
            prop_assert!(forgotten.insert(id));
        }
        prop_assert_eq!(forgotten.len(), spawned as usize);
        prop_assert!(supervision.is_over());
        prop_assert_eq!(supervision.next_deadline(), None);
    }
}
