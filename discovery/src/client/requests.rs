//! Requests to registrars about an instance, or about themselves.

use std::time::Duration;

use endpoints::{Endpoint, Stamped};
use futures_util::future::join_all;
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;
use wire::{
    ErrorKind, State, Whoami, encode_body,
    registrar::{self, Changed, Owners, Renew, Report, Status, Unregister, Update},
};

use crate::{
    Client, LinkError, RegistrarFailure, RegistrarFailures,
    link::{LinkState, Reply},
};

impl Client {
    /// Removes an instance from the registry, whoever registered it.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for record in client.query_all("feed").await?.records {
    ///     client.unregister(record.uuid).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError`] if one of the registrars that have it did not do so.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, any of the registrars may have done so.
    pub async fn unregister(&self, uuid: Uuid) -> Result<(), RequestError> {
        self.request(registrar::UNREGISTER, &encode_body(&Unregister { uuid })).await
    }

    /// Renews the lease of an instance, whoever registered it.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let job = client.query_actor("nightly").await?.ok_or("it is not there")?;
    /// if let Some(ttl_ms) = job.lifetime.ttl_ms() {
    ///     client.renew(job.uuid).await?;
    ///     println!("good for another {ttl_ms} ms");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError`] if one of the registrars that have it did not do so.
    ///
    /// # Cancel safety
    ///
    /// As [`unregister`](Self::unregister).
    pub async fn renew(&self, uuid: Uuid) -> Result<(), RequestError> {
        self.request(registrar::RENEW, &encode_body(&Renew { uuid })).await
    }

    /// Drains an instance, whoever registered it: it finishes its work, and only look-ups for all
    /// states find it. Its program is notified, and keeps that state.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let old = client.query_actor("worker").await?.ok_or("there is none")?;
    /// client.drain(old.uuid).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError`] if one of the registrars that have it did not do so.
    ///
    /// # Cancel safety
    ///
    /// As [`unregister`](Self::unregister).
    pub async fn drain(&self, uuid: Uuid) -> Result<(), RequestError> {
        self.set_state(uuid, State::Draining).await
    }

    /// Changes the state of an instance, whoever registered it. Its program is notified, and keeps
    /// that state.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, wire::*}; }
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::State;
    ///
    /// // It was drained by mistake.
    /// for record in client.query_all("worker").await?.records {
    ///     client.set_state(record.uuid, State::Ready).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError`] if one of the registrars that have it did not do so.
    ///
    /// # Cancel safety
    ///
    /// As [`unregister`](Self::unregister).
    pub async fn set_state(&self, uuid: Uuid, state: State) -> Result<(), RequestError> {
        // A registrar does not report a client's own changes to it.
        let desired = &self.hub().desired;
        let own = desired.find(uuid);
        if let Some(own) = &own {
            desired.change(own, |it| it.state = state);
        }
        let update = Update { uuid, endpoints: None, metadata: None, state: Some(state) };
        match self.request(registrar::UPDATE, &encode_body(&update)).await {
            // The others learn of this client's own registrations when they answer again.
            Err(RequestError::Partly(failures)) if own.is_some() && !failures.have_refusal() => {
                Ok(())
            }
            done => done,
        }
    }

    /// Changes the endpoints of an instance, whoever registered it: those of a lease, whose registrant
    /// does not follow them.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, endpoints::*, transport::*}; }
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let job = client.query_actor("nightly").await?.ok_or("it is not there")?;
    /// let place = "/ip4/127.0.0.1/tcp/7000".parse()?;
    /// let endpoints = vec![callsign::Stamped { stamp: callsign::stamp(&place), endpoint: place }];
    /// client.set_endpoints(job.uuid, endpoints).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError`] if one of the registrars that have it did not do so.
    ///
    /// # Cancel safety
    ///
    /// As [`unregister`](Self::unregister).
    pub async fn set_endpoints(
        &self,
        uuid: Uuid,
        endpoints: Vec<Stamped>,
    ) -> Result<(), RequestError> {
        let update = Update { uuid, endpoints: Some(endpoints), metadata: None, state: None };
        self.request(registrar::UPDATE, &encode_body(&update)).await
    }

    /// Reports to the registrars within reach that an endpoint did not answer, and does not wait.
    /// It is evidence, which they examine; it deletes nothing.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # use wire::{Record, registrar::{Evidence, Report}};
    /// use callsign::Client;
    ///
    /// /// Says that the first endpoint of an instance refused.
    /// fn refused(client: &Client, record: &Record) {
    ///     let Some(first) = record.endpoints.first() else { return };
    ///     let (uuid, epoch, endpoint) = (record.uuid, record.epoch, first.endpoint.clone());
    ///     client.report(&Report { uuid, epoch, endpoint, evidence: Evidence::Refused });
    /// }
    /// ```
    pub fn report(&self, report: &Report) {
        for index in 0..self.hub().links.len() {
            self.report_to(index, report);
        }
    }

    /// Asks all registrars how they are, in the order given.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) {
    /// use callsign::Standing;
    ///
    /// for registrar in client.status().await {
    ///     if let Standing::Up { status, .. } = registrar.standing {
    ///         println!("{}: {} instances", registrar.endpoint, status.instances);
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn status(&self) -> Vec<Registrar> {
        let is_up = |it: &Standing| matches!(it, Standing::Up { .. });
        let ask = |index| self.standing(index);
        let standings = self.with_patience(ask, is_up, Standing::Down).await;
        let endpoints = self.registrars().cloned();
        let registrar = |(endpoint, standing)| Registrar { endpoint, standing };
        endpoints.zip(standings).map(registrar).collect()
    }

    /// Returns for how long a registrar has heard nothing of its cluster, if one is cut off from it:
    /// actors of other nodes may be missing in its lists. Only those of a cluster are asked.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) {
    /// if let Some(unheard) = client.cut_off().await {
    ///     println!("what has come in the last {unheard:?} may be missing");
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn cut_off(&self) -> Option<Duration> {
        let links = &self.hub().links;
        let is_of_cluster = |it: &usize| links[*it].connection().is_some_and(|it| it.is_shared());
        let asked = (0..links.len()).filter(is_of_cluster).map(|index| self.standing(index));
        let cluster = |it| match it {
            Standing::Up { status, .. } => status.cluster,
            Standing::SameAs(_) | Standing::Down(_) => None,
        };
        let clusters = join_all(asked).await.into_iter().filter_map(cluster);
        let cut_off = clusters.filter(|it| it.error.is_some());
        cut_off.map(|it| Duration::from_millis(it.age_ms)).max()
    }

    /// Asks all registrars what each owner uses of them, and how much it may, in the order given.
    /// There is nothing of one that another address leads to as well.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) {
    /// for (registrar, answer) in client.registrars().zip(client.owners().await) {
    ///     if let Some(Ok(owners)) = answer {
    ///         println!("{registrar}: {} owners", owners.total);
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn owners(&self) -> Vec<Option<Result<Owners, RegistrarFailure>>> {
        let body = encode_body(&());
        let answers = self.gather(|index| self.hub().ask(index, registrar::OWNERS, &body)).await;
        let owners = |Reply { value, .. }: Reply<Owners>| value;
        answers.into_iter().map(|answer| answer.map(|it| it.map(owners))).collect()
    }

    /// Asks all registrars, in the given order, for this process's identity and rights. One that is
    /// found at several addresses answers once.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) {
    /// for (registrar, answer) in client.whoami().await {
    ///     match answer {
    ///         Ok(whoami) => println!("{registrar} sees {whoami:?}"),
    ///         Err(failure) => println!("{failure}"),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn whoami(&self) -> Vec<(Endpoint, Result<Whoami, RegistrarFailure>)> {
        let body = encode_body(&());
        let answers = self.gather(|index| self.hub().ask(index, registrar::WHOAMI, &body)).await;
        let answer =
            |(endpoint, answer): (&Endpoint, Option<Result<Reply<Whoami>, RegistrarFailure>>)| {
                Some((endpoint.clone(), answer?.map(|said| said.value)))
            };
        self.registrars().zip(answers).filter_map(answer).collect()
    }

    /// Reports to one registrar, if it is within reach.
    pub(crate) fn report_to(&self, index: usize, report: &Report) {
        if let Some(connection) = self.hub().links[index].connection()
            && let Err(error) =
                connection.portal.send(portal::Request::new(registrar::REPORT, report))
        {
            tracing::debug!(target: "callsign", %error, "evidence is not reported");
        }
    }

    async fn standing(&self, index: usize) -> Standing {
        let asked = Instant::now();
        match self.hub().ask::<Status>(index, registrar::STATUS, &encode_body(&())).await {
            Some(Ok(Reply { value, .. })) => {
                Standing::Up { status: Box::new(value), took: asked.elapsed() }
            }
            Some(Err(failure)) => Standing::Down(failure),
            None => {
                let links = &self.hub().links;
                let holder = match links[index].state() {
                    LinkState::Standby { holder } => holder,
                    // It has come up by itself since.
                    _ => index,
                };
                Standing::SameAs(links[holder].registrar.clone())
            }
        }
    }

    async fn request(&self, method: &str, body: &[u8]) -> Result<(), RequestError> {
        let (mut failures, mut is_done, mut is_answered) = (Vec::new(), false, false);
        let is_answer = |it: &Option<Result<_, RegistrarFailure>>| match it {
            Some(Ok(_)) => true,
            Some(Err(failure)) => {
                matches!(*failure.error, LinkError::Refused(_) | LinkError::QuotaExceeded { .. })
            }
            None => false,
        };
        let ask = |index| self.hub().ask::<Changed>(index, method, body);
        for answer in self.with_patience(ask, is_answer, |late| Some(Err(late))).await {
            match answer {
                Some(Ok(_)) => is_done = true,
                Some(Err(failure)) => match &*failure.error {
                    LinkError::Refused(error) if error.kind == ErrorKind::NotFound => {
                        is_answered = true;
                    }
                    _ => failures.push(failure),
                },
                None => {}
            }
        }
        if is_done || is_answered {
            failures.retain(|it| self.hub().options.trust.misses(it));
        }
        let failures = RegistrarFailures(failures);
        match () {
            () if is_done && failures.0.is_empty() => Ok(()),
            () if is_done => Err(RequestError::Partly(failures)),
            () if failures.have_refusal() => Err(RequestError::Refused(failures)),
            () if is_answered && failures.0.is_empty() => Err(RequestError::NotFound),
            () if is_answered => Err(RequestError::Incomplete(failures)),
            () => Err(RequestError::Unreachable(failures)),
        }
    }
}

/// A registrar, and how it is.
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
/// use callsign::{Client, Standing};
///
/// let client = Client::connect(&registrars).await?;
/// let status = client.status().await;
/// assert_eq!(status[0].endpoint, registrars[0]);
/// assert!(!matches!(status[0].standing, Standing::Down(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Registrar {
    /// Its configured address.
    pub endpoint: Endpoint,
    /// Its status.
    pub standing: Standing,
}

/// The status of a registrar.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::Standing;
///
/// fn is_up(standing: &Standing) -> bool {
///     !matches!(standing, Standing::Down(_))
/// }
/// ```
#[derive(Clone, Debug)]
pub enum Standing {
    /// It answers.
    Up {
        /// Its own report.
        status: Box<Status>,
        /// The time until its answer.
        took: Duration,
    },
    /// It serves another address too, and is used over that.
    SameAs(Endpoint),
    /// It does not answer.
    Down(RegistrarFailure),
}

/// The reason why not every registrar carried out a request.
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
/// use callsign::{Client, RequestError};
///
/// let client = Client::connect(&registrars).await?;
/// let error = client.unregister(uuid::Uuid::nil()).await.unwrap_err();
/// assert!(matches!(error, RequestError::NotFound));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No registrar has such an instance, and all have said so.
    #[error("no registrar has such an instance")]
    NotFound,
    /// A registrar did it, and these did not: their callers see no change.
    #[error("not every registrar carried it out:\n{0}")]
    Partly(RegistrarFailures),
    /// The registrars that answered have no such instance, and these did not answer: they may have
    /// it.
    #[error("it may be known to a registrar that did not answer:\n{0}")]
    Incomplete(RegistrarFailures),
    /// A registrar refused, and none did it.
    #[error("no registrar carried it out:\n{0}")]
    Refused(RegistrarFailures),
    /// No registrar can be reached.
    #[error("{brief}:\n{0}", brief = .0.in_brief())]
    Unreachable(RegistrarFailures),
}
