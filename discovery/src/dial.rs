//! From records to a connection: ranking, explaining and racing candidates.
//!
//! The stamp of an endpoint decides whether it is dialed, and when. Dials run in parallel, and the
//! first that answers wins.

mod connection;
mod explanation;
pub(crate) mod race;
mod reach;

use std::collections::HashMap;

use endpoints::{Here, Name, UnixPath, Unreachable};
use thiserror::Error;
use transport::Looks;
use uuid::Uuid;
use wire::{Epoch, Record, registrar::Evidence};

pub(crate) use self::reach::Ticket;
use self::reach::{Reached, Target};
pub use self::{
    connection::Connection,
    explanation::{Candidate, Explanation, NoneAnswered, Outcome, explain},
    reach::{Assurance, ReachError},
};
use crate::{DialOptions, Resolve, ResolveError};

/// Connects to the nearest instance of a name that a source knows; `None` if it knows none.
/// Failures are not reported to registrars: see [`Client::find_actor`](crate::Client::find_actor).
///
/// # Errors
///
/// [`FindError`] if the source fails, or no candidate answers.
///
/// # Cancel safety
///
/// Cancel safe, if the source is.
pub async fn find(
    source: &impl Resolve,
    name: &Name,
    options: &DialOptions,
) -> Result<Option<Connection>, FindError> {
    let records = source.resolve(name).await?;
    if records.is_empty() {
        return Ok(None);
    }
    Ok(Some(connect_nearest(&records, options).await?))
}

/// Dials the endpoints of records, nearest first and within a tier in the order of the records, and
/// returns the first connection to the right instance. The next dial begins when one fails, or has
/// taken [a while](DialOptions); the others are dropped when one succeeds.
///
/// An instance that speaks the protocol is asked for its identity before anything else is sent.
/// Records alone bring no challenge, so its claim is accepted ([`Assurance::Claimed`]);
/// [`Client::find_actor`](crate::Client::find_actor) demands a proof.
///
/// # Errors
///
/// [`NoneAnswered`] if every dial failed, or nothing is within reach.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future drops all dials in progress.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use registrar::{Node, NodeOptions};
/// # let options = NodeOptions { settle_time: std::time::Duration::ZERO, ..Default::default() };
/// # let node = Node::bind(&["/memory/0".parse()?], options).await?;
/// # let registrars = node.endpoints();
/// # let mut tasks = tokio::task::JoinSet::new();
/// # tasks.spawn(node.serve(tokio_util::sync::CancellationToken::new()));
///
/// # use transport::Listener;
/// use callsign::{Client, DialOptions, Registration, connect_nearest};
///
/// # let client = Client::connect(&registrars).await?;
/// let listener = Listener::bind(&"/memory/0".parse()?).await?;
/// let feed = Registration::new("feed").endpoints(listener.published());
/// let _kept = client.register(feed).await?;
/// let records = client.query_all("feed").await?.records;
/// let connection = connect_nearest(&records, &DialOptions::default()).await?;
/// assert_eq!(&connection.endpoint, listener.bound());
/// # Ok(())
/// # }
/// ```
pub async fn connect_nearest(
    records: &[Record],
    options: &DialOptions,
) -> Result<Connection, NoneAnswered> {
    connect(records, &Tickets::default(), options).await
}

pub(crate) async fn connect(
    records: &[Record],
    tickets: &Tickets,
    options: &DialOptions,
) -> Result<Connection, NoneAnswered> {
    let looks = Looks::default();
    let look = |path: &UnixPath| looks.look(path);
    let explanation = explain(records, &here_for(records), &look).leave_out_strangers();
    dial(explanation, records, tickets, &looks, options).await
}

/// Dials the candidates of an explanation, which are those of `records`.
pub(crate) async fn dial(
    mut explanation: Explanation,
    records: &[Record],
    tickets: &Tickets,
    looks: &Looks,
    options: &DialOptions,
) -> Result<Connection, NoneAnswered> {
    let reach = |candidate: &Candidate| {
        let seen = looks.take(&candidate.stamped.endpoint);
        target(candidate, tickets).reach(seen, options.clone())
    };
    let winner = race::first_to_answer(&mut explanation.candidates, options, reach).await;
    explanation.trace();
    let Some((at, reached)) = winner else { return Err(NoneAnswered { explanation }) };

    let winner = &explanation.candidates[at];
    let is_it = |it: &&Record| it.uuid == winner.instance.uuid && it.epoch == winner.epoch;
    let record = records.iter().find(is_it).expect("every candidate is one of a record").clone();
    let endpoint = winner.stamped.endpoint.clone();
    let locality = *winner.verdict.as_ref().expect("only what is within reach is dialed");
    let Reached { stream, peer, assurance } = reached;
    let (age, unanswered) = (None, Vec::new());
    Ok(Connection {
        stream,
        peer,
        record,
        endpoint,
        locality,
        assurance,
        explanation,
        age,
        unanswered,
    })
}

/// Dials every candidate within reach, some at a time, and closes the connections: a diagnosis of
/// each.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future drops all dials in progress.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{DialOptions, probe};
///
/// let explanation = probe(&[], &DialOptions::default()).await;
/// assert!(explanation.candidates.is_empty());
/// # Ok(())
/// # }
/// ```
pub async fn probe(records: &[Record], options: &DialOptions) -> Explanation {
    probe_with(records, &Tickets::default(), options).await
}

pub(crate) async fn probe_with(
    records: &[Record],
    tickets: &Tickets,
    options: &DialOptions,
) -> Explanation {
    let mut explanation =
        explain(records, &here_for(records), &transport::look).leave_out_strangers();
    let reach = |candidate: &Candidate| target(candidate, tickets).reach(None, options.clone());
    race::probe_all(&mut explanation.candidates, reach).await;
    explanation
}

pub(crate) fn here_for(records: &[Record]) -> Here {
    let endpoints = records.iter().flat_map(|it| &it.endpoints).map(|it| &it.endpoint);
    transport::here_for(endpoints)
}

fn target(candidate: &Candidate, tickets: &Tickets) -> Target {
    Target {
        instance: candidate.instance.clone(),
        stamped: candidate.stamped.clone(),
        proves: candidate.proves,
        user: candidate.user,
        ticket: tickets.get(&(candidate.instance.uuid, candidate.epoch)).copied(),
    }
}

/// The responses that the registrations owe to a registrar's challenges.
pub(crate) type Tickets = HashMap<(Uuid, Epoch), Ticket>;

impl Candidate {
    /// Returns what this candidate tells against its instance, if it does: for a registrar to
    /// examine.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::Explanation;
    ///
    /// /// Returns the endpoints that a registrar should look into.
    /// fn doubtful(explanation: &Explanation) -> Vec<String> {
    ///     let doubtful = explanation.candidates.iter().filter(|it| it.evidence().is_some());
    ///     doubtful.map(|it| it.stamped.endpoint.to_string()).collect()
    /// }
    /// ```
    pub fn evidence(&self) -> Option<Evidence> {
        match (&self.verdict, &self.outcome) {
            (Err(Unreachable::Missing), _) => Some(Evidence::Missing),
            (Err(Unreachable::NotASocket), _) => Some(Evidence::NotASocket),
            (Err(Unreachable::OtherSocket | Unreachable::OtherUser(_)), _) => {
                Some(Evidence::OtherIdentity)
            }
            (_, Outcome::Failed { error, .. }) => error.evidence(),
            _ => None,
        }
    }

    /// Tells whether it is to be reported when this instance was reached. That one of its endpoints
    /// does not answer says nothing against an instance that answers at another; that somebody
    /// else has the place does.
    pub(crate) fn is_to_be_reported(&self, reached: Option<Uuid>) -> bool {
        let silent =
            [Evidence::Refused, Evidence::TimedOut, Evidence::NoPermission, Evidence::Other];
        Some(self.instance.uuid) != reached
            || self.evidence().is_none_or(|it| !silent.contains(&it))
    }
}

/// Why an actor that is there could not be connected to, or could not be looked for.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::FindError;
///
/// fn is_out_of_reach(error: &FindError) -> bool {
///     matches!(error, FindError::NoneAnswered(_))
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FindError {
    /// Whether there is such an actor is unknown.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// There is such an actor, but it does not answer.
    #[error(transparent)]
    NoneAnswered(#[from] NoneAnswered),
}
