//! Look-up and connection in two steps, for callers that may already have a connection to the
//! instance.

use std::{sync::Arc, time::Duration};

use endpoints::Name;
use transport::Looks;
use wire::Record;

use super::merge::MergedRecord;
use crate::{
    Candidate, Client, Connection, Explanation, LookupError, NoneAnswered,
    dial::{
        Tickets, dial, here_for,
        race::{self, Raced},
    },
    explain,
};

impl Client {
    /// Looks up the ready instances of a name, each to be [connected to](Located::connect) later;
    /// the nearest first, and none if there is no such name, and every registrar says so.
    ///
    /// Evidence against an instance from its endpoints is reported to the registrars.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for located in client.locate_actor("feed").await? {
    ///     println!("{}", located.record().instance());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn locate_actor(&self, name: &str) -> Result<Vec<Located>, LookupError> {
        let (found, tickets) = self.locate(&Name::new(name)?, false, None).await?;
        let found = found.complete()?;
        let records: Vec<_> = found.instances.iter().map(|it| it.record.clone()).collect();
        let explanation =
            explain(&records, &here_for(&records), &transport::look).leave_out_strangers();
        self.report_evidence(&found.instances, &explanation.candidates);

        let tickets = Arc::new(tickets);
        let locate = |merged| {
            let (client, tickets) = (self.clone(), tickets.clone());
            Located { client, merged, tickets, rank: usize::MAX, candidates: Vec::new() }
        };
        let mut located: Vec<_> = found.instances.into_iter().map(locate).collect();
        for (rank, candidate) in explanation.candidates.into_iter().enumerate() {
            let is_its = |it: &&mut Located| it.merged.record.uuid == candidate.instance.uuid;
            let its = located.iter_mut().find(is_its).expect("every candidate is one of a record");
            its.rank = its.rank.min(rank);
            its.candidates.push(candidate);
        }
        located.sort_by_key(|it| it.rank);
        Ok(located)
    }
}

/// An instance that was looked up, and can be connected to. It holds a challenge that its
/// registrar drew, which is for one connection and does not last for ever.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use registrar::{Node, NodeOptions};
/// # let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
/// # let registrars = node.endpoints();
/// # let mut tasks = tokio::task::JoinSet::new();
/// # tasks.spawn(node.serve(tokio_util::sync::CancellationToken::new()));
///
/// # use transport::Listener;
/// use callsign::{Client, Registration};
///
/// # let client = Client::connect(&registrars).await?;
/// let listener = Listener::bind(&"/memory/0".parse()?).await?;
/// let feed = Registration::new("feed").endpoints(listener.published());
/// let _kept = client.register(feed).await?;
/// for located in client.locate_actor("feed").await? {
///     let connection = located.connect().await?;
///     assert_eq!(&connection.endpoint, listener.bound());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nobody is connected to yet"]
pub struct Located {
    client: Client,
    merged: MergedRecord,
    tickets: Arc<Tickets>,
    /// The place of its nearest endpoint among those of all instances.
    rank: usize,
    candidates: Vec<Candidate>,
}

impl Located {
    /// Returns what the registrars know of it.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(located: &callsign::Located) {
    /// println!("{} is {}", located.record().name, located.record().state);
    /// # }
    /// ```
    pub fn record(&self) -> &Record {
        &self.merged.record
    }

    /// Connects to it, and reports what does not answer, as
    /// [`find_actor`](Client::find_actor) does.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(located: callsign::Located) -> Result<(), callsign::NoneAnswered> {
    /// let connection = located.connect().await?;
    /// println!("connected at {}", connection.endpoint);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NoneAnswered`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future drops all dials in progress.
    pub async fn connect(self) -> Result<Connection, NoneAnswered> {
        let Self { client, merged, tickets, candidates, .. } = self;
        let (explanation, records) = (Explanation { candidates }, [merged.record.clone()]);
        let (looks, options) = (Looks::default(), &client.hub().options.dial);
        let connected = dial(explanation, &records, &tickets, &looks, options).await;
        let Explanation { candidates } = match &connected {
            Ok(connection) => &connection.explanation,
            Err(none) => &none.explanation,
        };
        // Candidates that were left out are already reported.
        let reached = connected.as_ref().ok().map(|it| it.record.uuid);
        let dialed = candidates.iter().filter(|it| it.verdict.is_ok());
        let dialed = dialed.filter(|it| it.is_to_be_reported(reached));
        client.report_evidence(&[merged], dialed);
        connected
    }

    /// Returns how long it is dialed before the next instance is dialed too.
    fn head_start(&self) -> Duration {
        let options = &self.client.hub().options.dial;
        self.candidates.first().map_or(Duration::ZERO, |it| race::head_start(it, options))
    }
}

/// Connects to the first of instances that answers, by `connect`, which need not dial. Each has a
/// head start over the next, as long as [`find_actor`](Client::find_actor) gives it, and the
/// others are dropped when one is connected to.
///
/// ```
/// # use callsign_discovery as callsign;
/// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{Located, connect_first};
///
/// let feeds = client.locate_actor("feed").await?;
/// let feed = connect_first(feeds, Located::connect).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The errors of `connect`, for each instance in order.
///
/// # Cancel safety
///
/// Dropping the future drops all that `connect` has begun.
pub async fn connect_first<T: Send, E: Send, C>(
    located: Vec<Located>,
    mut connect: impl FnMut(Located) -> C,
) -> Result<T, Vec<E>>
where
    C: Future<Output = Result<T, E>> + Send,
{
    let head_starts: Vec<_> = located.iter().map(Located::head_start).collect();
    let mut located = located.into_iter();
    let begin = |_| connect(located.next().expect("there is one for each head start"));
    let Raced { winner, dials } = race::race(|at| head_starts.get(at).copied(), begin).await;
    match winner {
        Some((_, connected)) => Ok(connected),
        None => Err(dials.into_iter().filter_map(|it| it.failure).collect()),
    }
}
