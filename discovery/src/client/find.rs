//! From a name to a connection: looking up, dialing, and reporting what does not answer.

use endpoints::Name;
use tokio::time::Instant;
use wire::{Record, registrar::Report};

use super::{merge::MergedRecord, remembered::Answer};
use crate::{
    Candidate, Client, Connection, Explanation, FindError, LookupError, LookupOptions,
    NoneAnswered, RegistrarFailures, ResolveError,
    dial::{self, Tickets},
};

impl Client {
    /// Connects to the nearest ready instance of a name; `None` if there is none, and every
    /// registrar says so.
    ///
    /// An instance that speaks the protocol has to prove its identity before the application sends
    /// a byte; another is [marked](Connection::assurance) as unproved.
    ///
    /// Candidates that do not answer are reported to the registrars, which check for themselves.
    ///
    /// A name that is [followed](Self::follow) is connected to from memory if that has an instance,
    /// and the registrars are asked if that instance does not answer. Whether a name is missing is
    /// asked each time.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::AsyncReadExt;
    ///
    /// let mut feed = client.find_actor("feed").await?.ok_or("there is no feed")?;
    /// let mut quote = String::new();
    /// feed.read_to_string(&mut quote).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`FindError`] if the registrars cannot be reached, or no candidate answers.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future drops all dials in progress.
    pub async fn find_actor(&self, name: &str) -> Result<Option<Connection>, FindError> {
        self.find_actor_with(name, LookupOptions::default()).await
    }

    /// Connects to the nearest instance of a name as [`find_actor`](Self::find_actor) does, with
    /// options. [`Connection::age`] tells whether the look-up's answer was a remembered one; the
    /// identity is proved either way.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use callsign::LookupOptions;
    ///
    /// // Where no registrar answers, one of the last minute does.
    /// let options = LookupOptions { max_age: Some(Duration::from_secs(60)), ..Default::default() };
    /// if let Some(feed) = client.find_actor_with("feed", options).await? {
    ///     println!("{}", if feed.age.is_some() { "as of lately" } else { "as of now" });
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`FindError`] if the registrars cannot be reached and no instance is remembered, or no
    /// candidate answers.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future drops all dials in progress.
    pub async fn find_actor_with(
        &self,
        name: &str,
        options: LookupOptions,
    ) -> Result<Option<Connection>, FindError> {
        let mut failed = None;
        if let Some(Answer { found, tickets, .. }) = self.reserved(name, &options) {
            match self.connect_to(&found.instances, &tickets).await {
                Ok(connection) => return Ok(Some(connection)),
                Err(none) => failed = Some((found.instances, none)),
            }
        }
        let Answer { found, tickets, age } =
            self.answer(name, options).await.map_err(ResolveError::Lookup)?;
        if found.instances.is_empty() {
            return match age {
                None => {
                    found.complete().map(|_| None).map_err(|it| ResolveError::Lookup(it).into())
                }
                // A remembered absence says nothing about now.
                Some(_) => {
                    Err(ResolveError::Lookup(RegistrarFailures(found.unanswered).into()).into())
                }
            };
        }
        if let Some((dialed, none)) = failed
            && dialed == found.instances
        {
            return Err(none.into());
        }
        let connection = self.connect_to(&found.instances, &tickets).await?;
        Ok(Some(Connection { age, unanswered: found.unanswered, ..connection }))
    }

    /// Takes the answer about a name that is followed, if there is a good one.
    fn reserved(&self, name: &str, options: &LookupOptions) -> Option<Answer> {
        if options.all || options.owner.is_some() {
            return None;
        }
        let name = Name::new(name).ok()?;
        let answer = self.following(&name)?.take_reserved(&name)?;
        if options.max_age.is_some() {
            self.memory().keep((name, false, None), answer.clone(), Instant::now());
        }
        Some(answer)
    }

    /// Dials every endpoint of the ready instances of a name, and closes the connections: a
    /// diagnosis of each endpoint and its proof of identity. Nothing is reported.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let (_, explanation) = client.probe_actor("feed").await?;
    /// for candidate in &explanation.candidates {
    ///     println!("{}: {:?}", candidate.stamped.endpoint, candidate.outcome);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`]; a name without instances has no candidates.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future drops all dials in progress.
    pub async fn probe_actor(&self, name: &str) -> Result<(Vec<Record>, Explanation), LookupError> {
        self.probe_actor_with(name, LookupOptions::default()).await
    }

    /// Dials as [`probe_actor`](Self::probe_actor) does, with options.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::LookupOptions;
    ///
    /// let (records, explanation) = client.probe_actor_with("feed", LookupOptions::default()).await?;
    /// println!("{} instances, {} endpoints", records.len(), explanation.candidates.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`probe_actor`](Self::probe_actor).
    pub async fn probe_actor_with(
        &self,
        name: &str,
        options: LookupOptions,
    ) -> Result<(Vec<Record>, Explanation), LookupError> {
        let Answer { found, tickets, .. } = self.answer(name, options).await?;
        let found = found.complete()?;
        let records: Vec<_> = found.instances.into_iter().map(|it| it.record).collect();
        let explanation = dial::probe_with(&records, &tickets, &self.hub().options.dial).await;
        Ok((records, explanation))
    }

    /// Connects to the nearest of instances, and reports endpoints that do not answer.
    pub(crate) async fn connect_to(
        &self,
        instances: &[MergedRecord],
        tickets: &Tickets,
    ) -> Result<Connection, NoneAnswered> {
        let records: Vec<_> = instances.iter().map(|it| it.record.clone()).collect();
        let connected = dial::connect(&records, tickets, &self.hub().options.dial).await;
        let explanation = match &connected {
            Ok(connection) => &connection.explanation,
            Err(none) => &none.explanation,
        };
        let reached = connected.as_ref().ok().map(|it| it.record.uuid);
        let candidates = explanation.candidates.iter();
        self.report_evidence(instances, candidates.filter(|it| it.is_to_be_reported(reached)));
        connected
    }

    /// Reports evidence against an instance to each registrar that knows it.
    pub(crate) fn report_evidence<'a>(
        &self,
        instances: &[MergedRecord],
        candidates: impl IntoIterator<Item = &'a Candidate>,
    ) {
        for candidate in candidates {
            let Some(evidence) = candidate.evidence() else { continue };
            let uuid = candidate.instance.uuid;
            let merged = instances.iter().find(|it| it.record.uuid == uuid);
            for (link, epoch) in merged.into_iter().flat_map(|it| &it.epochs) {
                let endpoint = candidate.stamped.endpoint.clone();
                self.report_to(*link, &Report { uuid, epoch: *epoch, endpoint, evidence });
            }
        }
    }
}
