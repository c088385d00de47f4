//! Dialing candidates side by side, each with a head start over the next.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use transport::DialError;

use super::{Candidate, DialOptions, Outcome};
use crate::together::Together;

/// Dials candidates in their order, and returns the first that answers. The next is dialed when
/// one has failed, or has taken a while. What became of each is noted.
pub(crate) async fn first_to_answer<S, D>(
    candidates: &mut [Candidate],
    options: &DialOptions,
    dial: impl Fn(&Candidate) -> D,
) -> Option<(usize, S)>
where
    D: Future<Output = Result<S, DialError>> + Send,
    S: Send,
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
                        candidates[at].outcome = Outcome::Connected { took };
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
    D: Future<Output = Result<S, DialError>> + Send,
    S: Send,
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
                (dial.await.map(drop), began.elapsed())
            });
            next += 1;
            continue;
        }
        let Some((at, (result, took))) = dials.next().await else { return };
        candidates[at].outcome = match result {
            Ok(()) => Outcome::Connected { took },
            Err(error) => Outcome::Failed { error, took },
        };
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
