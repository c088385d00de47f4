//! Dialing candidates side by side, each with a head start over the next.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

use super::{Assurance, Candidate, Outcome, ReachError, Reached};
use crate::DialOptions;

/// Dials candidates in order, and returns the first that answers. The next is dialed once one has
/// failed, or has taken a while. The result of each is recorded.
pub(crate) async fn first_to_answer<S, D>(
    candidates: &mut [Candidate],
    options: &DialOptions,
    dial: impl Fn(&Candidate) -> D,
) -> Option<(usize, S)>
where
    D: Future<Output = Result<S, ReachError>> + Send,
    S: Answer,
{
    let may_begin = |at: usize| {
        let candidate = candidates.get(at).filter(|it| it.verdict.is_ok())?;
        Some(head_start(candidate, options))
    };
    let Raced { winner, dials } = race(may_begin, |at| dial(&candidates[at])).await;
    for (at, Dialed { took, failure }) in dials.into_iter().enumerate() {
        candidates[at].outcome = match (failure, &winner) {
            (Some(error), _) => Outcome::Failed { error, took },
            (None, Some((first, answer))) if *first == at => {
                Outcome::Connected { took, assurance: answer.assurance() }
            }
            (None, _) => Outcome::GivenUp { took },
        };
    }
    winner
}

/// The result of a race.
pub(crate) struct Raced<S, E> {
    /// The index of the first to answer, and its value.
    pub(crate) winner: Option<(usize, S)>,
    /// The dials that were started.
    pub(crate) dials: Vec<Dialed<E>>,
}

/// The result of one dial of a race.
pub(crate) struct Dialed<E> {
    pub(crate) took: Duration,
    /// `None` if it was the first to answer, or was given up because another was.
    pub(crate) failure: Option<E>,
}

/// Dials in parallel until the first answers. The next begins when one has failed, or has had its
/// head start, which `may_begin` returns; `None` is after the last.
pub(crate) async fn race<S: Send, E: Send, D>(
    may_begin: impl Fn(usize) -> Option<Duration>,
    mut dial: impl FnMut(usize) -> D,
) -> Raced<S, E>
where
    D: Future<Output = Result<S, E>> + Send,
{
    let mut dials = FuturesUnordered::new();
    let mut begun: Vec<(Instant, Option<Dialed<E>>)> = Vec::new();
    let mut due = Instant::now();
    let winner = loop {
        let now = Instant::now();
        let next = may_begin(begun.len());
        let is_full = dials.len() >= DIALS_MAX;
        if let Some(head_start) = next
            && now >= due
            && !is_full
        {
            let at = begun.len();
            dials.push(dial(at).map(move |result| (at, result)));
            begun.push((now, None));
            due = now + head_start;
            continue;
        }
        let may_start = next.is_some() && !is_full;
        if dials.is_empty() && !may_start {
            break None;
        }
        tokio::select! {
            biased;
            Some((at, result)) = dials.next() => match result {
                Ok(answer) => break Some((at, answer)),
                Err(error) => {
                    let (began, dialed) = &mut begun[at];
                    *dialed = Some(Dialed { took: began.elapsed(), failure: Some(error) });
                    due = Instant::now();
                }
            },
            () = sleep_until(due), if may_start => {}
        }
    };
    let ended = |(began, dialed): (Instant, Option<Dialed<E>>)| {
        dialed.unwrap_or_else(|| Dialed { took: began.elapsed(), failure: None })
    };
    Raced { winner, dials: begun.into_iter().map(ended).collect() }
}

/// Dials all candidates within reach, some at a time, and records the result of each.
pub(crate) async fn probe_all<S, D>(candidates: &mut [Candidate], dial: impl Fn(&Candidate) -> D)
where
    D: Future<Output = Result<S, ReachError>> + Send,
    S: Answer,
{
    let mut dials = FuturesUnordered::new();
    let mut next = 0;
    loop {
        let within_reach = candidates.get(next).filter(|it| it.verdict.is_ok());
        if let Some(candidate) = within_reach
            && dials.len() < DIALS_MAX
        {
            let (at, began, dial) = (next, Instant::now(), dial(candidate));
            dials.push(
                dial.map(move |result| (at, result.map(|it| it.assurance()), began.elapsed())),
            );
            next += 1;
            continue;
        }
        let Some((at, result, took)) = dials.next().await else { return };
        candidates[at].outcome = match result {
            Ok(assurance) => Outcome::Connected { took, assurance },
            Err(error) => Outcome::Failed { error, took },
        };
    }
}

/// The end of a race.
pub(crate) trait Answer: Send {
    /// Returns how certain the peer's identity is.
    fn assurance(&self) -> Assurance;
}

impl Answer for Reached {
    fn assurance(&self) -> Assurance {
        self.assurance
    }
}

/// Returns how long a candidate is dialed before the next is too.
pub(crate) fn head_start(candidate: &Candidate, options: &DialOptions) -> Duration {
    match &candidate.verdict {
        Ok(locality) if locality.is_within_host() => options.stagger_within_host,
        _ => options.stagger_beyond,
    }
}

/// The most concurrent dials: an instance that is not reached by so many will hardly be reached by
/// more, and each takes a descriptor.
const DIALS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use endpoints::{Endpoint, Locality, Stamped, Unreachable};
    use tokio::time::sleep;
    use transport::DialError;

    use super::*;
    use crate::tests::record;

    /// A simulated dial: the milliseconds after which it ends, and its success.
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
        // The winner and its time, and the result of each.
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
        // A failure lets the next begin immediately.
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
        // A late answer may still be the first.
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
    async fn the_number_of_parallel_dials_is_bounded() {
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
