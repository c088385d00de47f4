//! Deficit round robin between owners. It holds no clock and wakes nobody itself.
//!
//! Of one owner's connections, those whose latest turns were all short are *calm*: they run as soon
//! as they are ready, and overtake the others, which wait in line.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    task::{Context, Waker},
    time::Duration,
};

use portal::TURN_STEPS;
use slab::Slab;

use crate::registry::Account;

/// The running and the waiting connections, and the time of each owner in this round.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Slab<Lane>,
    by_account: HashMap<Account, LaneId>,
    /// The number of lanes with connections.
    busy: usize,
    runners: Slab<Runner>,
    /// The lanes with waiting connections.
    crowded: Vec<LaneId>,
    /// The lanes without connections, kept until their quotas are full again: who comes back has no
    /// new one.
    idle: Vec<LaneId>,
    round: u64,
}

/// The connections of one owner.
#[derive(Debug)]
struct Lane {
    account: Account,
    connections: usize,
    /// For how long they may still run in this round, in nanoseconds. Below zero they have run for
    /// longer, and it takes them some rounds to make up for that.
    credit: i64,
    /// In which round that was.
    round: u64,
    waiting: VecDeque<RunnerId>,
    /// Whether it is among the lanes with waiting connections.
    is_crowded: bool,
    /// Whether it is among the lanes without connections.
    is_idle: bool,
    quota: Option<Bucket>,
}

/// The time that an owner with a quota may have: it fills up as time passes.
#[derive(Debug)]
struct Bucket {
    percent: u32,
    /// The running time, in nanoseconds. Below zero it is a debt.
    left: i64,
    /// When that was, since the beginning.
    at: Duration,
}

/// A connection.
#[derive(Debug)]
struct Runner {
    lane: LaneId,
    /// The number of short turns since its last long one, up to [`CALM`].
    short_turns: u8,
    /// Set while it waits.
    waker: Option<Waker>,
    /// Whether it has waited, and has its turn.
    is_next: bool,
}

type LaneId = usize;
pub(super) type RunnerId = usize;

/// What a connection has done in its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// By the host's clock, which goes on while other programs run.
    pub(super) ran: Duration,
    /// The steps of its driver; none if another protocol is spoken, or hands are shaken.
    pub(super) steps: u64,
}

/// The next action of a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// The connections to run.
    pub(super) wakers: Vec<Waker>,
    /// The time of the next round, if anybody waits.
    pub(super) next: Option<Next>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// After all runnable ones have run.
    Soon,
    /// The time at which an owner that has used up its quota may run again, since the beginning.
    At(Duration),
}

impl Lanes {
    /// Takes in a connection of an owner that may have so much of a processor, in percent.
    pub(super) fn enter(
        &mut self,
        account: Account,
        percent: Option<u32>,
        now: Duration,
    ) -> RunnerId {
        let lane = self.lane_of(account, percent, now);
        let connections = &mut self.lanes[lane].connections;
        self.busy += usize::from(*connections == 0);
        *connections += 1;
        self.runners.insert(Runner { lane, short_turns: 1, waker: None, is_next: false })
    }

    pub(super) fn leave(&mut self, runner: RunnerId) {
        let Runner { lane: at, waker, .. } = self.runners.remove(runner);
        let lane = &mut self.lanes[at];
        lane.connections -= 1;
        self.busy -= usize::from(lane.connections == 0);
        if waker.is_some() {
            lane.waiting.retain(|it| *it != runner);
        }
        if lane.connections == 0 && !mem::replace(&mut lane.is_idle, true) {
            self.idle.push(at);
        }
    }

    /// Charges an owner for work outside the turns of its connections.
    pub(super) fn charge(
        &mut self,
        account: Account,
        percent: Option<u32>,
        ran: Duration,
        now: Duration,
    ) {
        let lane = self.lane_of(account, percent, now);
        self.lanes[lane].charge(ran, ran);
    }

    /// Tells whether an owner owes so much that no more of its connections are served.
    pub(super) fn is_overdrawn(&mut self, account: Account, now: Duration) -> bool {
        let Some(at) = self.by_account.get(&account) else { return false };
        self.lanes[*at].quota.as_mut().is_some_and(|it| it.is_overdrawn(now))
    }

    fn lane_of(&mut self, account: Account, percent: Option<u32>, now: Duration) -> LaneId {
        self.forget_idle(now);
        let Self { lanes, by_account, idle, round, .. } = self;
        *by_account.entry(account).or_insert_with(|| {
            let lane = lanes.insert(Lane {
                account,
                connections: 0,
                credit: QUANTUM,
                round: *round,
                waiting: VecDeque::new(),
                is_crowded: false,
                is_idle: true,
                quota: percent.map(|it| Bucket::full(it, now)),
            });
            idle.push(lane);
            lane
        })
    }

    /// Forgets owners without connections whose quotas are full again. There are few others: while one
    /// of them runs on one processor, the earlier ones' quotas fill.
    fn forget_idle(&mut self, now: Duration) {
        let Self { lanes, by_account, crowded, idle, .. } = self;
        idle.retain(|at| {
            let lane = &mut lanes[*at];
            lane.is_idle = lane.connections == 0;
            if lane.is_idle && lane.quota.as_mut().is_none_or(|it| it.is_full(now)) {
                by_account.remove(&lane.account);
                crowded.retain(|it| it != at);
                lanes.remove(*at);
                return false;
            }
            lane.is_idle
        });
    }

    /// Takes over how much of a processor each may have.
    pub(super) fn set_quotas(&mut self, now: Duration, percent: impl Fn(Account) -> Option<u32>) {
        for (_, lane) in &mut self.lanes {
            let known = lane.quota.as_ref().map(|it| it.percent);
            let percent = percent(lane.account);
            if known != percent {
                lane.quota = percent.map(|it| Bucket::full(it, now));
            }
        }
    }

    /// Tells whether anybody may have to wait for its turn.
    pub(super) fn are_shared(&self) -> bool {
        let mut busy = self.lanes.iter().filter(|(_, it)| it.connections > 0);
        busy.any(|(_, it)| it.quota.is_some()) || self.runners.len() > 1
    }

    /// Tells whether a connection has its turn. If not, it is woken when it has.
    pub(super) fn has_turn(&mut self, id: RunnerId, now: Duration, cx: &Context<'_>) -> bool {
        let runner = &mut self.runners[id];
        if let Some(waker) = &mut runner.waker {
            waker.clone_from(cx.waker());
            return false;
        }
        let lane = &mut self.lanes[runner.lane];
        let is_sole = self.busy == 1;
        lane.refill(self.round, is_sole, now);
        // Who is next has its turn, whoever overtakes it. Who is not calm overtakes nobody.
        let has_turn = runner.is_next && lane.has_quota()
            || lane.waiting.is_empty() && lane.may_run()
            || runner.is_calm() && lane.may_overtake(is_sole);
        if has_turn {
            runner.is_next = false;
            return true;
        }
        runner.waker = Some(cx.waker().clone());
        if !mem::replace(&mut lane.is_crowded, true) {
            self.crowded.push(runner.lane);
        }
        if mem::take(&mut runner.is_next) {
            lane.waiting.push_front(id)
        } else {
            lane.waiting.push_back(id)
        }
        false
    }

    /// Records the turn of a connection. Returns the next of its owner's to run.
    pub(super) fn has_run(&mut self, runner: RunnerId, turn: Turn) -> Option<Waker> {
        let runner = &mut self.runners[runner];
        runner.has_run(turn);
        let at = runner.lane;
        let lane = &mut self.lanes[at];
        lane.charge(if self.busy == 1 { turn.work() } else { turn.ran }, turn.ran);
        if lane.may_run() { self.next_of(at) } else { None }
    }

    /// Begins a round: each owner may run for a while.
    pub(super) fn begin_round(&mut self, now: Duration) -> Round {
        self.round += 1;
        let is_sole = self.busy == 1;
        let mut round = Round::default();
        for at in self.crowded.clone() {
            let lane = &mut self.lanes[at];
            lane.refill(self.round, is_sole, now);
            let next = match &lane.quota {
                Some(quota) if quota.left <= 0 => Next::At(quota.full_at()),
                _ => Next::Soon,
            };
            if lane.may_run() {
                round.wakers.extend(self.next_of(at));
            }
            round.next = match (round.next, next) {
                (Some(Next::At(one)), Next::At(other)) => Some(Next::At(one.min(other))),
                (None, Next::At(one)) => Some(Next::At(one)),
                _ => Some(Next::Soon),
            };
        }
        let Self { crowded, lanes, .. } = self;
        crowded.retain(|it| {
            let lane = &mut lanes[*it];
            lane.is_crowded = !lane.waiting.is_empty();
            lane.is_crowded
        });
        if self.crowded.is_empty() {
            round.next = None;
        }
        round
    }

    fn next_of(&mut self, lane: LaneId) -> Option<Waker> {
        let next = self.lanes[lane].waiting.pop_front()?;
        let runner = &mut self.runners[next];
        runner.is_next = true;
        runner.waker.take()
    }
}

impl Turn {
    /// Returns how long it took on a machine that does nothing else, as far as that is known.
    fn work(self) -> Duration {
        if self.steps > 0 { STEP * self.steps.min(u32::MAX.into()) as u32 } else { self.ran }
    }
}

impl Runner {
    fn has_run(&mut self, Turn { ran, steps }: Turn) {
        let is_short = if steps > 0 { steps <= SHORT_STEPS } else { ran <= SHORT_TURN };
        self.short_turns = match is_short {
            true => (self.short_turns + 1).min(CALM),
            false if steps > 0 => 0,
            // It may have been interrupted.
            false => self.short_turns.saturating_sub(1),
        };
    }

    fn is_calm(&self) -> bool {
        self.short_turns >= CALM
    }
}

impl Lane {
    /// Lets it run for a while in each round. If it is the only one, it owes nobody anything.
    fn refill(&mut self, round: u64, is_sole: bool, now: Duration) {
        let passed = (round - self.round).min(i64::MAX as u64) as i64;
        self.credit = self.credit.saturating_add(passed.saturating_mul(QUANTUM)).min(QUANTUM);
        if is_sole && passed > 0 {
            self.credit = SOLE_QUANTUM;
        }
        self.round = round;
        if let Some(quota) = &mut self.quota {
            quota.refill(now);
        }
    }

    /// Charges work to the round, and the time that it took to the quota.
    fn charge(&mut self, work: Duration, ran: Duration) {
        let [work, ran] = [work, ran].map(|it| it.as_nanos() as i64);
        self.credit = (self.credit - work).max(-CREDIT_DEBT_MAX);
        if let Some(quota) = &mut self.quota {
            quota.left = (quota.left - ran).max(-quota.share_of(DEBT_NS));
        }
    }

    fn may_run(&self) -> bool {
        self.credit > 0 && self.has_quota()
    }

    /// Tells whether a calm connection may run before those that wait, on credit if others wait
    /// for this owner.
    fn may_overtake(&self, is_sole: bool) -> bool {
        (is_sole || self.credit > -OVERTAKING_DEBT_MAX) && self.has_quota()
    }

    fn has_quota(&self) -> bool {
        self.quota.as_ref().is_none_or(|it| it.left > 0)
    }
}

impl Bucket {
    fn full(percent: u32, now: Duration) -> Self {
        let empty = Self { percent, left: 0, at: now };
        Self { left: empty.share_of(BURST_NS), ..empty }
    }

    /// Returns how much of a time the owner may run.
    fn share_of(&self, time_ns: i64) -> i64 {
        time_ns.min(i64::MAX / 100) * i64::from(self.percent) / 100
    }

    fn refill(&mut self, now: Duration) {
        let passed_ns = now.saturating_sub(self.at).as_nanos().min(i64::MAX as u128) as i64;
        let left = self.left.saturating_add(self.share_of(passed_ns));
        self.left = left.min(self.share_of(BURST_NS));
        self.at = now;
    }

    fn is_full(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.left == self.share_of(BURST_NS)
    }

    /// Half of the most that it may owe.
    fn is_overdrawn(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.left < -self.share_of(DEBT_NS / 2)
    }

    /// Returns when there is time again for some turns.
    fn full_at(&self) -> Duration {
        let missing = (QUANTUM - self.left).max(0) as u64;
        self.at + Duration::from_nanos(missing * 100 / u64::from(self.percent.max(1)))
    }
}

/// For how long the connections of one owner run in a round, in nanoseconds: less than a turn, so
/// that an owner with one connection, which has one turn in a round, has as much as the others.
const QUANTUM: i64 = 50_000;

/// For how long the connections of the only owner run in a round: the calm ones wait for no more
/// than that, and the work of a round is some fifty times that of beginning it.
const SOLE_QUANTUM: i64 = 250_000;

/// The time of a step.
const STEP: Duration = Duration::from_nanos(25);

/// The longest turn of a calm connection, a quarter of a whole one, where its steps are counted and
/// where they are not. A look-up takes a fifth of it.
const SHORT_STEPS: u64 = TURN_STEPS as u64 / 4;
const SHORT_TURN: Duration = Duration::from_micros(50);

/// The number of short turns after which a connection is calm.
const CALM: u8 = 8;

/// What an owner's calm connections may run ahead of its share, in nanoseconds.
const OVERTAKING_DEBT_MAX: i64 = 10 * QUANTUM;

/// The time whose share an owner may use in one burst.
const BURST_NS: i64 = 100_000_000;

/// The time whose share an owner may owe: it never waits for longer.
const DEBT_NS: i64 = 1_000_000_000;

/// What an owner may owe to the rounds, in nanoseconds: with a hundred others it waits for a second.
const CREDIT_DEBT_MAX: i64 = 100 * QUANTUM;

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_micros(100);

    fn timed(ran: Duration) -> Turn {
        Turn {
            ran,
            steps: 1 + (ran.as_nanos() as u64 * TURN_STEPS as u64) / TURN.as_nanos() as u64,
        }
    }

    /// Owners whose connections always have something to do, on one thread.
    struct Play {
        lanes: Lanes,
        now: Duration,
        /// Each with its owner and how long its turns are.
        runners: Vec<(RunnerId, usize, Duration)>,
        ran: Vec<Duration>,
    }

    impl Play {
        fn new(owners: &[(usize, Duration, Option<u32>)]) -> Self {
            let (mut lanes, now, mut runners) = (Lanes::default(), Duration::ZERO, Vec::new());
            for (owner, (connections, turn, percent)) in owners.iter().enumerate() {
                for _ in 0..*connections {
                    let account = Account::User(owner as u32);
                    runners.push((lanes.enter(account, *percent, now), owner, *turn));
                }
            }
            Self { lanes, now, runners, ran: vec![Duration::ZERO; owners.len()] }
        }

        /// Lets all runnable owners run, round after round, for so long.
        fn run(&mut self, until: Duration) {
            let cx = Context::from_waker(Waker::noop());
            while self.now < until {
                for (runner, owner, turn) in &self.runners {
                    if self.lanes.has_turn(*runner, self.now, &cx) {
                        self.now += *turn;
                        self.ran[*owner] += *turn;
                        drop(self.lanes.has_run(*runner, timed(*turn)));
                    }
                }
                match self.lanes.begin_round(self.now).next {
                    Some(Next::At(at)) => self.now = self.now.max(at),
                    Some(Next::Soon) | None => {}
                }
            }
        }

        fn leave(mut self) {
            self.runners.drain(..).for_each(|(it, ..)| self.lanes.leave(it));
            // Whoever owes something has paid by then.
            self.lanes.forget_idle(self.now + Duration::from_secs(2));
            assert!(self.lanes.lanes.is_empty() && self.lanes.by_account.is_empty());
            assert!(self.lanes.runners.is_empty() && self.lanes.crowded.is_empty());
        }
    }

    #[track_caller]
    fn check(owners: &[(usize, Duration, Option<u32>)], percent: &[u128]) {
        let mut play = Play::new(owners);
        play.run(Duration::from_secs(2));
        for (ran, expected) in play.ran.iter().zip(percent) {
            let had = 100 * ran.as_nanos() / play.now.as_nanos();
            assert!(had.abs_diff(*expected) <= 2, "{expected}: {:?} of {:?}", play.ran, play.now);
        }
        play.leave();
    }

    #[test]
    fn owners_have_the_same_whatever_they_do() {
        check(&[(1, TURN, None), (300, TURN, None)], &[50, 50]);
        check(&[(1, TURN, None), (50, TURN, None), (7, TURN, None)], &[33, 33, 33]);
        // Short turns, and some that are far too long.
        let (short, long) = (TURN / 50, 20 * TURN);
        check(&[(100, short, None), (3, long, None)], &[50, 50]);
        check(&[(40, TURN, None)], &[100]);
    }

    #[test]
    fn whoever_has_a_quota_has_no_more_than_that() {
        check(&[(3, TURN, Some(10))], &[10]);
        check(&[(1, TURN, Some(1)), (100, TURN, Some(20))], &[1, 20]);
        check(&[(1, TURN, Some(10)), (9, TURN, None)], &[10, 90]);
        check(&[(1, TURN, Some(90)), (9, TURN, None)], &[50, 50]);
    }

    #[test]
    fn those_of_one_owner_run_in_turns() {
        let mut play = Play::new(&[(5, TURN, None), (1, TURN, None)]);
        let cx = Context::from_waker(Waker::noop());
        let mut ran = Vec::new();
        for _ in 0..100 {
            // The last asks first.
            for (runner, ..) in play.runners.iter().rev() {
                if play.lanes.has_turn(*runner, play.now, &cx) {
                    ran.push(*runner);
                    drop(play.lanes.has_run(*runner, timed(2 * TURN)));
                }
            }
            drop(play.lanes.begin_round(play.now));
        }
        ran.retain(|it| *it != 5);
        assert_eq!(ran[..7], [4, 3, 2, 1, 0, 4, 3]);
        play.leave();
    }

    /// Runs what is ready round by round, for as long as they are: in each round those that were
    /// woken, and a calm one at its end. Returns how long that waited at most.
    fn calm_beside(others: usize, turn: Duration, owner: u32) -> Duration {
        let (mut lanes, mut now) = (Lanes::default(), Duration::ZERO);
        let cx = Context::from_waker(Waker::noop());
        let calm = lanes.enter(Account::User(7), None, now);
        for _ in 0..CALM {
            assert!(lanes.has_turn(calm, now, &cx));
            drop(lanes.has_run(calm, timed(turn / 20)));
            drop(lanes.begin_round(now));
        }
        let enter = |_| lanes.enter(Account::User(owner), None, now);
        let others: Vec<_> = (0..others).map(enter).collect();
        let mut longest = Duration::ZERO;
        for _ in 0..1000 {
            let ready_at = now;
            for other in &others {
                if lanes.has_turn(*other, now, &cx) {
                    now += turn;
                    drop(lanes.has_run(*other, timed(turn)));
                }
            }
            assert!(lanes.has_turn(calm, now, &cx));
            longest = longest.max(now - ready_at);
            now += turn / 20;
            drop(lanes.has_run(calm, timed(turn / 20)));
            drop(lanes.begin_round(now));
        }
        longest
    }

    #[test]
    fn a_calm_connection_waits_for_a_round_however_many_others_are_ready() {
        assert_eq!(calm_beside(500, TURN, 8), TURN);
        assert!(calm_beside(500, TURN, 7) <= 3 * TURN);
    }

    #[test]
    fn calm_ones_that_are_always_ready_leave_the_others_their_turns() {
        let short = TURN / 5;
        check(&[(50, short, None), (50, TURN, None)], &[50, 50]);
        let (mut lanes, mut now) = (Lanes::default(), Duration::ZERO);
        let cx = Context::from_waker(Waker::noop());
        let runners: Vec<_> = (0..20).map(|_| lanes.enter(Account::User(7), None, now)).collect();
        let mut ran = [0; 20];
        for _ in 0..1000 {
            for (at, runner) in runners.iter().enumerate() {
                if lanes.has_turn(*runner, now, &cx) {
                    let turn = if at < 10 { short } else { TURN };
                    (ran[at], now) = (ran[at] + 1, now + turn);
                    drop(lanes.has_run(*runner, timed(turn)));
                }
            }
            drop(lanes.begin_round(now));
        }
        // As newcomers they waited for each other.
        assert!(ran[..10].iter().all(|it| *it >= 900), "{ran:?}");
        assert!(ran[10..].iter().all(|it| *it >= 90), "{ran:?}");
    }

    #[test]
    fn a_calm_connection_stays_calm_when_it_is_interrupted() {
        let mut runner = Runner { lane: 0, short_turns: 1, waker: None, is_next: false };
        let mut run = |count, ran, steps| {
            (0..count).for_each(|_| runner.has_run(Turn { ran, steps }));
            runner.is_calm()
        };
        assert!(!run(6, 20 * TURN, SHORT_STEPS) && run(1, 20 * TURN, SHORT_STEPS));
        assert!(run(20, 20 * TURN, SHORT_STEPS));
        assert!(!run(1, SHORT_TURN, SHORT_STEPS + 1));
        assert!(!run(7, SHORT_TURN, 0) && run(1, SHORT_TURN, 0));
        assert!(!run(1, 20 * TURN, 0) && run(1, SHORT_TURN, 0));
    }

    #[test]
    fn who_comes_and_goes_gets_no_new_quota_and_waits_for_a_second_at_most() {
        let (mut lanes, mut now) = (Lanes::default(), Duration::ZERO);
        let (cx, account) = (&Context::from_waker(Waker::noop()), Account::User(7));
        let percent = Some(5);
        let serve = |lanes: &mut Lanes, now| {
            let runner = lanes.enter(account, percent, now);
            let has_turn = lanes.has_turn(runner, now, cx);
            if has_turn {
                lanes.has_run(runner, timed(TURN));
            }
            lanes.leave(runner);
            lanes.round += 1;
            has_turn
        };
        // One connection after the other, each with one turn.
        let mut ran = Duration::ZERO;
        for _ in 0..10_000 {
            ran += u32::from(serve(&mut lanes, now)) * TURN;
            now += TURN;
        }
        assert!(ran <= now / 20 + Duration::from_millis(6), "{ran:?} of {now:?}");
        assert!(!lanes.are_shared() && !lanes.is_overdrawn(account, now), "it waited for time");
        // Far too many, and none is served.
        for _ in 0..10_000 {
            lanes.charge(account, percent, TURN, now);
            now += TURN;
        }
        assert!(lanes.is_overdrawn(account, now) && !serve(&mut lanes, now));
        now += Duration::from_millis(600);
        assert!(!lanes.is_overdrawn(account, now) && !serve(&mut lanes, now));
        now += Duration::from_millis(500);
        assert!(serve(&mut lanes, now));
    }

    #[test]
    fn those_who_have_gone_are_forgotten_when_they_have_paid() {
        let (mut lanes, mut now) = (Lanes::default(), Duration::ZERO);
        for user in 0..10_000 {
            lanes.charge(Account::User(user), Some(user % 100), TURN, now);
            now += TURN;
            // At most a hundred such costs are not paid yet, by an owner with one percent.
            assert!(lanes.idle.len() <= 100, "{}", lanes.idle.len());
        }
        let runner = lanes.enter(Account::User(0), None, now + Duration::from_secs(1));
        assert_eq!(lanes.lanes.len(), 1);
        lanes.leave(runner);
    }

    #[test]
    fn charges_to_the_rounds_are_bounded() {
        let mut lanes = Lanes::default();
        let (cx, account) = (&Context::from_waker(Waker::noop()), Account::User(7));
        let runner = lanes.enter(account, None, Duration::ZERO);
        lanes.enter(Account::User(8), None, Duration::ZERO);
        (0..10_000).for_each(|_| lanes.charge(account, None, TURN, Duration::ZERO));
        let mut rounds = 0;
        while !lanes.has_turn(runner, Duration::ZERO, cx) {
            drop(lanes.begin_round(Duration::ZERO));
            rounds += 1;
        }
        assert_eq!(rounds, 101);
    }

    #[test]
    fn another_quota_holds_from_then_on() {
        let mut play = Play::new(&[(1, TURN, Some(10))]);
        play.run(Duration::from_secs(1));
        let before = play.ran[0];
        play.lanes.set_quotas(play.now, |_| None);
        assert!(!play.lanes.are_shared());
        play.run(play.now + Duration::from_secs(1));
        assert!(play.ran[0] - before >= Duration::from_millis(990), "{:?}", play.ran);
        play.leave();
    }
}
