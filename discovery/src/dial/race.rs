//! Dialing candidates side by side, each with a head start over the next.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Assurance, Candidate, DialOptions, Outcome, ReachError, Reached};
use crate::together::Together;

/// Dials candidates in their order, and returns the first that answers. The next is dialed when
/// one has failed, or has taken a while. What became of each is noted.
pub(crate) async fn first_to_answer<S, D>(
    candidates: &mut [Candidate],
    options: &DialOptions,
    dial: impl Fn(&Candidate) -> D,
) -> Option<(usize, S)>
where
    D: Future<Output = Result<S, ReachError>> + Send,
    S: Answer,
{
    let mut dials = Together::default();
    let mut began: Vec<Instant> = Vec::new();
    let mut due = Instant::now();
    loop {
        let now = Instant::now();
        let next = candidates.get(began.len()).filter(|it| it.verdict.is_ok());
        let is_full = dials.len() >= DIALS_MAX;
        if let Some(next) = next
            && now >= due
            && !is_full
        {
            dials.push(began.len(), dial(next));
            began.push(now);
            due = now + head_start(next, options);
            continue;
        }
        let may_start = next.is_some() && !is_full;
        if dials.is_empty() && !may_start {
            return None;
        }
        tokio::select! {
            biased;
            Some((at, result)) = dials.next() => {
                let took = began[at].elapsed();
                match result {
                    Ok(connection) => {
                        let assurance = connection.assurance();
                        candidates[at].outcome = Outcome::Connected { took, assurance };
                        for at in dials.keys() {
                            candidates[at].outcome = Outcome::GivenUp { took: began[at].elapsed() };
                        }
                        return Some((at, connection));
                    }
                    Err(error) => {
                        candidates[at].outcome = Outcome::Failed { error, took };
                        due = Instant::now();
                    }
                }
            }
            () = sleep_until(due), if may_start => {}
        }
    }
}

/// Dials all candidates within reach, some at a time, and notes what became of each.
pub(crate) async fn probe_all<S, D>(candidates: &mut [Candidate], dial: impl Fn(&Candidate) -> D)
where
    D: Future<Output = Result<S, ReachError>> + Send,
    S: Answer,
{
    let mut dials = Together::default();
    let mut next = 0;
    loop {
        let within_reach = candidates.get(next).filter(|it| it.verdict.is_ok());
        if let Some(candidate) = within_reach
            && dials.len() < DIALS_MAX
        {
            let dial = dial(candidate);
            dials.push(next, async move {
                let began = Instant::now();
                (dial.await.map(|it| it.assurance()), began.elapsed())
            });
            next += 1;
            continue;
        }
        let Some((at, (result, took))) = dials.next().await else { return };
        candidates[at].outcome = match result {
            Ok(assurance) => Outcome::Connected { took, assurance },
            Err(error) => Outcome::Failed { error, took },
        };
    }
}

/// What a race ends with.
pub(crate) trait Answer: Send {
    /// Tells how sure it is who answers.
    fn assurance(&self) -> Assurance;
}

impl Answer for Reached {
    fn assurance(&self) -> Assurance {
        self.assurance
    }
}

fn head_start(candidate: &Candidate, options: &DialOptions) -> Duration {
    match &candidate.verdict {
        Ok(locality) if locality.is_within_host() => options.stagger_within_host,
        _ => options.stagger_beyond,
    }
}

/// How many dials are under way at once: what is not reached among so many will hardly be
/// reached by dialing more, and each takes a descriptor.
const DIALS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use endpoints::{Endpoint, Locality, Stamped, Unreachable};
    use tokio::time::sleep;
    use transport::DialError;

    use super::*;
    use crate::tests::record;

    /// How a dial goes: after how many milliseconds it ends, and whether well.
    #[derive(Clone, Copy)]
    enum Dial {
        Answers(u64),
        Refuses(u64),
        Hangs,
    }
    use Dial::{Answers, Hangs, Refuses};

    impl Answer for () {
        fn assurance(&self) -> Assurance {
            Assurance::Proved
        }
    }

    fn candidates(verdicts: &[Result<Locality, Unreachable>]) -> Vec<Candidate> {
        let candidate = |(at, verdict): (usize, &Result<Locality, Unreachable>)| Candidate {
            instance: record("feed").instance(),
            epoch: 1,
            stamped: Stamped::bare(Endpoint::Memory(at as u64)),
            proves: false,
            user: None,
            verdict: verdict.clone(),
            outcome: Outcome::NotDialed,
        };
        verdicts.iter().enumerate().map(candidate).collect()
    }

    fn place(candidate: &Candidate) -> usize {
        match candidate.stamped.endpoint {
            Endpoint::Memory(at) => at as usize,
            _ => panic!("a test has these alone"),
        }
    }

    async fn dial(how: Dial) -> Result<(), ReachError> {
        match how {
            Answers(ms) => {
                sleep(Duration::from_millis(ms)).await;
                Ok(())
            }
            Refuses(ms) => {
                sleep(Duration::from_millis(ms)).await;
                Err(DialError::Refused.into())
            }
            Hangs => std::future::pending().await,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_candidate_has_a_head_start_over_the_next() {
        let near = Ok(Locality::UnixSocket);
        let far = Ok(Locality::Remote);
        let out = Err(Unreachable::OtherHost);
        let options = DialOptions::default();
        // What answers when, and what becomes of each.
        let check = async |dials: &[(&Result<Locality, Unreachable>, Dial)],
                           winner: Option<usize>,
                           after_ms: u64,
                           expected: &[&str]| {
            let verdicts: Vec<_> = dials.iter().map(|(verdict, _)| (*verdict).clone()).collect();
            let mut candidates = candidates(&verdicts);
            let began = Instant::now();
            let won = first_to_answer(&mut candidates, &options, |it| dial(dials[place(it)].1));
            let won = won.await;
            assert_eq!(won.map(|(at, ())| at), winner);
            assert_eq!(began.elapsed(), Duration::from_millis(after_ms), "{expected:?}");
            let outcomes: Vec<_> = candidates.iter().map(|it| it.outcome.to_string()).collect();
            assert_eq!(outcomes, expected);
        };

        check(&[], None, 0, &[]).await;
        check(&[(&out, Hangs)], None, 0, &["not dialed"]).await;
        check(
            &[(&near, Answers(3)), (&far, Hangs)],
            Some(0),
            3,
            &["connected in 3.0 ms, proved", "not dialed"],
        )
        .await;
        // A failure lets the next begin at once.
        let refused = "connection refused: nobody listens there";
        check(
            &[(&near, Refuses(2)), (&near, Refuses(1)), (&far, Answers(30)), (&out, Hangs)],
            Some(2),
            33,
            &[
                &format!("{refused} (2.0 ms)"),
                &format!("{refused} (1.0 ms)"),
                "connected in 30 ms, proved",
                "not dialed",
            ],
        )
        .await;
        // A slow one within the host has 10 ms, beyond it 250 ms.
        check(
            &[(&near, Hangs), (&far, Hangs), (&far, Answers(40)), (&far, Hangs)],
            Some(2),
            300,
            &[
                "given up after 300 ms",
                "given up after 290 ms",
                "connected in 40 ms, proved",
                "not dialed",
            ],
        )
        .await;
        // One that answers late may still be the first.
        check(
            &[(&near, Answers(15)), (&far, Answers(20))],
            Some(0),
            15,
            &["connected in 15 ms, proved", "given up after 5.0 ms"],
        )
        .await;
        check(
            &[(&near, Refuses(20)), (&far, Refuses(20))],
            None,
            30,
            &[&format!("{refused} (20 ms)"), &format!("{refused} (20 ms)")],
        )
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_dialed_at_once_and_no_more() {
        let mut candidates = candidates(&vec![Ok(Locality::UnixSocket); DIALS_MAX + 1]);
        let options = DialOptions::default();
        let hang = |_: &Candidate| dial(Hangs);
        let race = first_to_answer(&mut candidates, &options, hang);
        assert!(tokio::time::timeout(Duration::from_secs(60), race).await.is_err());

        let last = DIALS_MAX;
        let race = first_to_answer(&mut candidates, &options, |it| {
            dial(if place(it) == last { Answers(1) } else { Refuses(5000) })
        });
        assert_eq!(race.await.map(|(at, ())| at), Some(last));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_dials_them_all() {
        let verdicts =
            [Ok(Locality::UnixSocket), Ok(Locality::Remote), Err(Unreachable::OtherHost)];
        let mut candidates = candidates(&verdicts);
        let dials = [Refuses(1), Answers(7), Hangs];
        probe_all(&mut candidates, |it| dial(dials[place(it)])).await;
        let outcomes: Vec<_> = candidates.iter().map(|it| it.outcome.to_string()).collect();
        let refused = "connection refused: nobody listens there (1.0 ms)";
        assert_eq!(outcomes, [refused, "connected in 7.0 ms, proved", "not dialed"]);
    }
}
