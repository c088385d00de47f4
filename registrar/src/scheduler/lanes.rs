//! Deficit round robin between owners. It holds no clock and wakes nobody itself.
//!
//! Of one owner's connections, those whose latest turns were all short are *calm*: they run as soon
//! as they are ready, and overtake the others, which wait in line. So do new ones, once: no more come
//! in a round than are accepted in it, and they hold a place until they have introduced themselves.

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
    /// Whether it has had no turn yet.
    is_new: bool,
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
        self.runners.insert(Runner {
            lane,
            is_new: true,
            short_turns: 0,
            waker: None,
            is_next: false,
        })
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
        let work = if self.is_sole() { Duration::ZERO } else { ran };
        self.lanes[lane].charge(work, ran);
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
        let has_quota = |it: &Lane| it.connections > 0 && it.quota.is_some();
        self.runners.len() > 1 || self.lanes.iter().any(|(_, it)| has_quota(it))
    }

    /// Tells whether no two owners have connections.
    fn is_sole(&self) -> bool {
        self.busy <= 1
    }

    /// Tells whether a connection has its turn. If not, it is woken when it has.
    pub(super) fn has_turn(&mut self, id: RunnerId, now: Duration, cx: &Context<'_>) -> bool {
        let is_sole = self.is_sole();
        let runner = &mut self.runners[id];
        if let Some(waker) = &mut runner.waker {
            waker.clone_from(cx.waker());
            return false;
        }
        let lane = &mut self.lanes[runner.lane];
        lane.refill(self.round, is_sole, now);
        // Who is next has its turn, whoever overtakes it. Who is not calm overtakes nobody.
        let has_turn = runner.is_next && lane.has_quota()
            || lane.waiting.is_empty() && lane.may_run()
            || (runner.is_calm() || runner.is_new) && lane.may_overtake(is_sole);
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
        let work = if self.is_sole() { turn.work() } else { turn.ran };
        let runner = &mut self.runners[runner];
        runner.has_run(turn);
        let at = runner.lane;
        let lane = &mut self.lanes[at];
        lane.charge(work, turn.ran);
        if lane.may_run() { self.next_of(at) } else { None }
    }

    /// Records the turn of a connection while nobody else has any.
    pub(super) fn has_run_alone(&mut self, runner: RunnerId, turn: Turn) {
        self.runners[runner].has_run(turn);
    }

    /// Begins a round: each owner may run for a while.
    pub(super) fn begin_round(&mut self, now: Duration) -> Round {
        self.round += 1;
        let is_sole = self.is_sole();
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
        if self.steps == 0 {
            return self.ran.min(STEP * TURN_STEPS as u32);
        }
        STEP * self.steps.min(u32::MAX.into()) as u32
    }
}

impl Runner {
    fn has_run(&mut self, Turn { ran, steps }: Turn) {
        self.is_new = false;
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
        self.credit = if is_sole && passed > 0 {
            QUANTUM
        } else {
            self.credit.saturating_add(passed.saturating_mul(QUANTUM)).min(QUANTUM)
        };
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
mod tests;
