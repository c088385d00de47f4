//! Every candidate, its rank, and its result.

use std::{fmt, time::Duration};

use endpoints::{Here, InstanceId, Locality, Look, Ranked, Stamped, Unreachable, rank};
use portal::WithCauses;
use thiserror::Error;
use transport::strangers_at;
use wire::{Epoch, Record};

use super::{Assurance, ReachError};

/// Judges every endpoint of records as seen from `here`, in the order in which they would be
/// dialed: nearest first, and within a tier in the order of the records. Those of instances that
/// are suspect come behind all others, however near: one that hangs is connected to as fast as one
/// that is well. Those that are left out come last.
///
/// ```
/// # use callsign_discovery as callsign;
/// # use endpoints::Here;
/// use callsign::explain;
///
/// let explanation = explain(&[], &Here::default(), &|_| unreachable!("there is no path"));
/// assert!(explanation.candidates.is_empty());
/// ```
pub fn explain(records: &[Record], here: &Here, look: &Look<'_>) -> Explanation {
    let (suspects, others): (Vec<_>, Vec<_>) =
        records.iter().partition(|it| it.suspicion.is_some());
    let ranked = [others, suspects].into_iter().flat_map(|records| {
        let claims = records.into_iter().flat_map(|record| {
            record.endpoints.iter().map(move |stamped| Claim { record, stamped })
        });
        rank(claims, here, look)
    });
    let mut candidates: Vec<_> = ranked.map(Candidate::new).collect();
    // A stable sort, which keeps the order of those within reach.
    candidates.sort_by_key(|it| it.verdict.is_err());
    Explanation { candidates }
}

/// An endpoint of a record.
struct Claim<'a> {
    record: &'a Record,
    stamped: &'a Stamped,
}

impl AsRef<Stamped> for Claim<'_> {
    fn as_ref(&self) -> &Stamped {
        self.stamped
    }
}

/// Every candidate, in the order of dialing, with its result. It prints one
/// a line, each indented by two spaces, with its instance if there are several.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::Explanation;
///
/// fn within_reach(explanation: &Explanation) -> usize {
///     explanation.candidates.iter().filter(|it| it.verdict.is_ok()).count()
/// }
/// assert_eq!(within_reach(&Explanation::default()), 0);
/// ```
#[derive(Debug, Default)]
pub struct Explanation {
    /// The candidates; those that are left out come last.
    pub candidates: Vec<Candidate>,
}

impl Explanation {
    /// Leaves out where another user's program has the place of one that cannot prove who it is, as
    /// the kernel shows from here.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::Explanation;
    ///
    /// assert!(Explanation::default().leave_out_strangers().candidates.is_empty());
    /// ```
    #[must_use]
    pub fn leave_out_strangers(mut self) -> Self {
        let is_judged = |it: &Candidate| it.verdict.is_ok() && !it.proves;
        let judged = self.candidates.iter().filter(|it| is_judged(it));
        let places: Vec<_> = judged.map(|it| (&it.stamped, it.user)).collect();
        let strangers = strangers_at(&places);
        let judged = self.candidates.iter_mut().filter(|it| is_judged(it));
        for (candidate, stranger) in judged.zip(strangers) {
            if let Some(user) = stranger {
                candidate.verdict = Err(Unreachable::OtherUser(user));
            }
        }
        // A stable sort, as before.
        self.candidates.sort_by_key(|it| it.verdict.is_err());
        self
    }

    /// Writes the candidates to the log, with the facts as fields.
    pub(crate) fn trace(&self) {
        if !tracing::enabled!(target: "callsign", tracing::Level::DEBUG) {
            return;
        }
        for (at, candidate) in self.candidates.iter().enumerate() {
            let Candidate { instance, epoch, stamped, proves, verdict, outcome, .. } = candidate;
            let took = match outcome {
                Outcome::NotDialed => None,
                Outcome::Connected { took, .. }
                | Outcome::Failed { took, .. }
                | Outcome::GivenUp { took } => Some(*took),
            };
            let assurance = match outcome {
                Outcome::Connected { assurance, .. } => Some(tracing::field::display(assurance)),
                _ => None,
            };
            let error = match outcome {
                Outcome::Failed { error, .. } => Some(WithCauses(error).to_string()),
                _ => None,
            };
            tracing::debug!(
                target: "callsign",
                rank = at + 1,
                name = %instance.name,
                uuid = %instance.uuid,
                epoch,
                endpoint = %stamped.endpoint,
                proves,
                locality = verdict.as_ref().ok().map(tracing::field::display),
                left_out = verdict.as_ref().err().map(tracing::field::display),
                took_us = took.map(|it| it.as_micros() as u64),
                assurance,
                error,
                "a candidate"
            );
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.candidates.first().map(|it| &it.instance);
        let are_several = self.candidates.iter().any(|it| Some(&it.instance) != first);
        for (at, candidate) in self.candidates.iter().enumerate() {
            f.write_str(if at == 0 { "  " } else { "\n  " })?;
            if are_several {
                write!(f, "{} at ", candidate.instance)?;
            }
            candidate.fmt(f)?;
        }
        Ok(())
    }
}

/// One endpoint of one instance, and the result of dialing it.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::{Candidate, Outcome};
///
/// fn was_dialed(candidate: &Candidate) -> bool {
///     !matches!(candidate.outcome, Outcome::NotDialed)
/// }
/// ```
#[derive(Debug)]
pub struct Candidate {
    /// The instance.
    pub instance: InstanceId,
    /// Its registration.
    pub epoch: Epoch,
    /// The endpoint, with its registrant's stamp.
    pub stamped: Stamped,
    /// Whether the instance proves its identity.
    pub proves: bool,
    /// Its owner, if that is a user that the registrar's kernel reports.
    pub user: Option<u32>,
    /// Its locality, or why it is left out.
    pub verdict: Result<Locality, Unreachable>,
    /// The result of dialing it.
    pub outcome: Outcome,
}

impl Candidate {
    fn new(ranked: Ranked<Claim<'_>>) -> Self {
        let Ranked { stamped: Claim { record, stamped }, verdict } = ranked;
        Self {
            instance: record.instance(),
            epoch: record.epoch,
            stamped: stamped.clone(),
            proves: record.proves,
            user: record.user(),
            verdict,
            outcome: Outcome::NotDialed,
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.stamped.endpoint;
        match &self.verdict {
            Err(why) => write!(f, "{endpoint} (left out): {why}"),
            Ok(locality) => write!(f, "{endpoint} ({locality}): {}", self.outcome),
        }
    }
}

/// The result of a candidate.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::Outcome;
///
/// fn is_spared(outcome: &Outcome) -> bool {
///     matches!(outcome, Outcome::NotDialed)
/// }
/// assert!(is_spared(&Outcome::NotDialed));
/// ```
#[derive(Debug)]
pub enum Outcome {
    /// It was not dialed.
    NotDialed,
    /// It answered, and if several were raced, before the others.
    Connected {
        /// The duration of the dial.
        took: Duration,
        /// How certain its identity is.
        assurance: Assurance,
    },
    /// It did not answer, or another program did.
    Failed {
        /// Why.
        error: ReachError,
        /// The duration of the dial.
        took: Duration,
    },
    /// Its dial was given up, because another answered first.
    GivenUp {
        /// The duration of the dial so far.
        took: Duration,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDialed => f.write_str("not dialed"),
            Self::Connected { took, assurance } => {
                write!(f, "connected in {}, {assurance}", Brief(*took))
            }
            Self::Failed { error, took } => write!(f, "{} ({})", WithCauses(error), Brief(*took)),
            Self::GivenUp { took } => write!(f, "given up after {}", Brief(*took)),
        }
    }
}

/// No candidate answered. It prints every one, with the reason.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{DialOptions, connect_nearest};
///
/// let error = connect_nearest(&[], &DialOptions::default()).await.unwrap_err();
/// assert!(error.explanation.candidates.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
pub struct NoneAnswered {
    /// Every candidate, and why.
    pub explanation: Explanation,
}

impl fmt::Display for NoneAnswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let candidates = &self.explanation.candidates;
        let Some(first) = candidates.first() else {
            return f.write_str("the actor is registered without an endpoint");
        };
        let name = &first.instance.name;
        if candidates.iter().all(|it| it.verdict.is_err()) {
            write!(f, "`{name}` is registered, and cannot be reached from here:")?;
        } else {
            write!(f, "`{name}` is registered, and does not answer:")?;
        }
        write!(f, "\n{}", self.explanation)
    }
}

/// A duration to three digits or less.
struct Brief(Duration);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        match seconds {
            1.0.. => write!(f, "{seconds:.1} s"),
            0.01.. => write!(f, "{:.0} ms", seconds * 1e3),
            0.001.. => write!(f, "{:.1} ms", seconds * 1e3),
            _ => write!(f, "{:.0} µs", seconds * 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use endpoints::ProcessId;
    use wire::Suspicion;

    use super::*;
    use crate::tests::record;

    #[test]
    fn suspects_come_behind_all_that_are_within_reach() {
        let here = Here { process: Some(ProcessId(7)), ..Here::default() };
        let stamped = |it: &&str| Stamped { endpoint: it.parse().unwrap(), stamp: here.stamp() };
        let instance = |at: &[&str], is_suspect: bool| Record {
            endpoints: at.iter().map(stamped).collect(),
            suspicion: is_suspect.then_some(Suspicion { silent: true, ..Suspicion::default() }),
            ..record("feed")
        };
        let check = |records: &[Record], expected: &[&str]| {
            let explanation = explain(records, &here, &|_| unreachable!("no path is stamped"));
            let places = explanation.candidates.iter().map(|it| it.stamped.endpoint.to_string());
            assert_eq!(places.collect::<Vec<_>>(), expected);
        };
        let (near, far, unseen) = ("/memory/1", "/ip4/10.0.0.2/tcp/2", "/unix/run/a");
        check(&[instance(&[far], false), instance(&[near], false)], &[near, far]);
        check(&[instance(&[near], true), instance(&[far], false)], &[far, near]);
        check(
            &[instance(&[unseen, near], true), instance(&[unseen, far], false)],
            &[far, near, unseen, unseen],
        );
        check(&[instance(&[far], true), instance(&[near], true)], &[near, far]);
    }
}
