//! Owners and connections that compete for turns.

use super::*;

const TURN: Duration = Duration::from_micros(100);

fn timed(ran: Duration) -> Turn {
    Turn { ran, steps: 1 + (ran.as_nanos() as u64 * TURN_STEPS as u64) / TURN.as_nanos() as u64 }
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
    for _ in 0..50 {
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
    for round in 0..1000 {
        let ready_at = now;
        for other in &others {
            if lanes.has_turn(*other, now, &cx) {
                now += turn;
                drop(lanes.has_run(*other, timed(turn)));
            }
        }
        assert!(lanes.has_turn(calm, now, &cx));
        // New ones have their first turn at once.
        if round > 0 {
            longest = longest.max(now - ready_at);
        }
        now += turn / 20;
        drop(lanes.has_run(calm, timed(turn / 20)));
        drop(lanes.begin_round(now));
    }
    longest
}

#[test]
fn a_calm_connection_waits_for_a_round_however_many_others_are_ready() {
    assert_eq!(calm_beside(500, TURN, 8), TURN);
    assert_eq!(calm_beside(500, TURN, 7), TURN);
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
    let mut runner = Runner { lane: 0, is_new: true, short_turns: 1, waker: None, is_next: false };
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
