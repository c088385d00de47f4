//! The handle that keeps an actor registered.

mod in_line;

use std::{collections::BTreeMap, fmt, sync::Arc};

use endpoints::{Doubt, InstanceId, Stamped};
use futures_util::future::join_all;
use portal::Identity;
use transport::Published;
use wire::State;

use super::registration::{check_endpoints, check_metadata, stamp_users_of_lease};
use crate::{
    Client, LinkError, Losses, Lost, RegisterError, RegistrarFailure, RegistrarFailures,
    Registration,
    link::{
        LinkState,
        desired::{Entry, FIRST_VERSION, Progress},
    },
};

/// Keeps an actor registered, for as long as it or a clone of it lives. Dropping the last takes
/// the actor out of the registry, without waiting for that.
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
/// use callsign::{Client, Registration};
///
/// let client = Client::connect(&registrars).await?;
/// let feed = Registration::new("feed").endpoint("/unix/@feed")?;
/// let kept = client.register(feed).await?;
/// let clone = kept.clone();
/// drop(kept);
/// assert!(client.query_actor("feed").await?.is_some(), "a clone keeps it");
/// clone.unregister().await;
/// assert!(client.query_actor("feed").await?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "the actor is taken out of the registry when this is dropped"]
pub struct Registered {
    client: Client,
    instance: InstanceId,
    entry: Arc<Entry>,
    _kept: Arc<EntryGuard>,
}

/// The state shared by all clones: the place in the desired state, which the last of them gives up.
struct EntryGuard {
    client: Client,
    entry: Arc<Entry>,
}

impl Registered {
    /// Adds a registration to the desired state of a client.
    pub(super) fn put(client: &Client, registration: Registration) -> Result<Self, RegisterError> {
        let (wanted, followed) = registration.into_register()?;
        let instance = InstanceId { name: wanted.name.clone(), uuid: wanted.uuid };
        let entry = client.hub().desired.put(wanted, followed);
        let kept = Arc::new(EntryGuard { client: client.clone(), entry: entry.clone() });
        let registered = Self { client: client.clone(), instance, entry, _kept: kept };
        for doubt in registered.doubts() {
            tracing::info!(actor = %registered.instance, "{doubt}");
        }
        Ok(registered)
    }

    /// Waits until one registrar has accepted it as it was registered, or has put it in line.
    pub(super) async fn accepted_first(&self) -> Result<(), RegisterError> {
        self.accepted_as(FIRST_VERSION).await
    }

    /// Tells whether it waits in line for its name.
    pub(super) fn waits_in_line(&self) -> bool {
        self.entry.waits
    }

    /// Returns which instance is registered.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(kept: &callsign::Registered) {
    /// println!("registered as {}", kept.instance());
    /// # }
    /// ```
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Returns the keys of the actor's proof of identity: see
    /// [`Identity::accept`]. It stays valid while the registrars come and go.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use {callsign_discovery::*, portal::Options as HandshakeOptions, transport::Listener};
    /// # }
    /// use callsign::{HandshakeOptions, Listener, Registered};
    ///
    /// /// Takes one caller, after the proof of who this is.
    /// # async fn example(kept: &Registered, listener: &Listener) -> Result<(), Box<dyn std::error::Error>> {
    /// let caller = listener.accept().await?;
    /// let greeted = kept.identity().accept(caller, &HandshakeOptions::default()).await?;
    /// println!("{} calls", greeted.peer.agent);
    /// # Ok(())
    /// # }
    /// ```
    pub fn identity(&self) -> &Identity {
        &self.entry.identity
    }

    /// Returns where the actor is registered to listen, as it was stamped.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(kept: &callsign::Registered) {
    /// for stamped in kept.endpoints() {
    ///     println!("at {}", stamped.endpoint);
    /// }
    /// # }
    /// ```
    pub fn endpoints(&self) -> Vec<Stamped> {
        self.entry.wanted().1.endpoints
    }

    /// Returns the reasons why callers may not reach the actor, as far as this process can tell:
    /// unknown facts about its own location, or endpoints that lead nowhere from another host.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) {
    /// for stamped in kept.endpoints() {
    ///     println!("callers come to {}", stamped.endpoint);
    /// }
    /// for doubt in kept.doubts() {
    ///     println!("warning: {doubt}");
    /// }
    /// # }
    /// ```
    pub fn doubts(&self) -> Vec<Doubt> {
        self.client.doubts(&self.endpoints())
    }

    /// Returns the other instances of the same owner that were registered at one of its endpoints
    /// at the time: its aliases, or predecessors that were not removed. An older registrar reports
    /// none.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) {
    /// for other in kept.also() {
    ///     println!("its place is registered as {other} too");
    /// }
    /// # }
    /// ```
    pub fn also(&self) -> Vec<InstanceId> {
        self.entry.also()
    }

    /// Returns the registrars that do not have the registration now, as it is now, each with its
    /// reason.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) {
    /// for failure in kept.missing() {
    ///     println!("{failure}");
    /// }
    /// # }
    /// ```
    pub fn missing(&self) -> Vec<RegistrarFailure> {
        let version = self.entry.version();
        let progress = self.entry.progress().borrow().clone();
        let links = self.client.hub().links.iter().zip(&progress);
        if let Some(lost) = self.entry.final_loss() {
            let error = Arc::new(LinkError::Lost(Box::new(lost)));
            return links.map(|(link, _)| link.failure(error.clone())).collect();
        }
        let failure = |(link, progress): (&crate::link::Link, &Progress)| {
            let state = link.state();
            // It reports none of its contents.
            if let Some(error) = state.silence() {
                return Some(link.failure(error.clone()));
            }
            let error = match (progress, state) {
                (Progress::Here(theirs), _) if *theirs == version => return None,
                (_, LinkState::Standby { .. }) => return None,
                (Progress::Refused(_, error), _) => error.clone(),
                (_, LinkState::Down(error)) => error,
                (Progress::InLine(ahead), _) => Arc::new(LinkError::InLine { ahead: *ahead }),
                (_, LinkState::Up(_) | LinkState::Dialing) => Arc::new(LinkError::NotYet),
            };
            Some(link.failure(error))
        };
        links.filter_map(failure).collect()
    }

    /// Waits until every registrar has applied the present registration, or is known not to;
    /// returns those that have not, each with its reason.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) {
    /// if kept.settled().await.is_empty() {
    ///     println!("every registrar has it as it is now");
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn settled(&self) -> Vec<RegistrarFailure> {
        let version = self.entry.version();
        let links = 0..self.client.hub().links.len();
        let answers = join_all(links.map(|index| self.accepted_by(index, version)));
        tokio::select! {
            biased;
            _ = self.entry.lost_for_good() => self.missing(),
            answers = answers => {
                answers.into_iter().filter_map(|answer| answer.err().flatten()).collect()
            }
        }
    }

    /// Waits until a registrar has applied the present registration, however long none is within
    /// reach. A registration that [waits in line](Registration::wait_in_line) is awaited until it
    /// has the name with all registrars within reach.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) -> Result<(), callsign::RegisterError> {
    /// // As after `register_patiently`, which is done before any registrar is there.
    /// kept.accepted().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegisterError::Refused`] as soon as one within reach has refused it, and none has applied
    /// it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn accepted(&self) -> Result<(), RegisterError> {
        let version = self.entry.version();
        let mut progress = self.entry.progress();
        loop {
            let (mut refusals, mut is_here, mut is_in_line) = (Vec::new(), false, false);
            for (link, progress) in
                self.client.hub().links.iter().zip(&*progress.borrow_and_update())
            {
                match progress {
                    Progress::Here(theirs) if *theirs >= version => is_here = true,
                    Progress::InLine(_) | Progress::UnderWay if self.entry.waits => {
                        is_in_line = true;
                    }
                    Progress::Refused(theirs, error) if *theirs >= version => {
                        refusals.push(link.failure(error.clone()));
                    }
                    _ => {}
                }
            }
            if let Some(lost) = self.entry.final_loss() {
                return Err(RegisterError::Lost(Box::new(lost)));
            }
            match (is_in_line, is_here) {
                (true, _) => {}
                (false, true) => return Ok(()),
                (false, false) if refusals.is_empty() => {}
                _ => return Err(RegisterError::Refused(RegistrarFailures(refusals))),
            }
            // The entry owns the sender, so that this cannot fail.
            drop(progress.changed().await);
        }
    }

    /// Changes the actor's state.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, wire::*}; }
    /// # async fn example(kept: callsign::Registered) -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::State;
    ///
    /// kept.set_state(State::Draining).await?;
    /// assert_eq!(kept.state(), State::Draining);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if no registrar has applied it yet; those that are away catch up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting, not the change.
    pub async fn set_state(&self, state: State) -> Result<(), RegisterError> {
        let version = self.client.hub().desired.change(&self.entry, |it| it.state = state);
        self.accepted_as(version).await
    }

    /// Returns the actor's state: the latest set by this program or by another authorised one, as
    /// `callsign drain` does.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(kept: &callsign::Registered) {
    /// println!("it is {}", kept.state());
    /// # }
    /// ```
    pub fn state(&self) -> State {
        self.entry.wanted().1.state
    }

    /// Waits until the actor is draining, by whichever program's request: it should finish its
    /// work.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) {
    /// kept.drained().await;
    /// // The work that it has is finished, and then it goes.
    /// kept.unregister().await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn drained(&self) {
        let mut changes = self.client.hub().desired.subscribe();
        while self.state() != State::Draining {
            changes.changed().await.expect("the client has the desired state");
        }
    }

    /// Waits until the actor has lost its entry, or an endpoint of it, by another's doing: a
    /// program has removed it, or the registrar has found nobody there. An earlier loss that has
    /// not been made good is returned immediately.
    ///
    /// An intended removal is not undone by this handle, with any registrar; [`Client::register`]
    /// does that.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) {
    /// let lost = kept.lost().await;
    /// if lost.is_final() {
    ///     println!("{lost}");
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn lost(&self) -> Lost {
        self.losses().next().await
    }

    /// Returns what the actor loses, as [`lost`](Self::lost) tells it, one after the other.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: &callsign::Registered) {
    /// let mut losses = kept.losses();
    /// while !losses.next().await.is_final() {}
    /// # }
    /// ```
    pub fn losses(&self) -> Losses {
        Losses::of(self.entry.clone())
    }

    /// Replaces the actor's endpoints. An endpoint that was bound again has another stamp. The
    /// published endpoints of listeners are followed, as at a registration.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered, listener: transport::Listener) -> Result<(), Box<dyn std::error::Error>> {
    /// kept.update_endpoints(listener.published()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`set_state`](Self::set_state).
    ///
    /// # Cancel safety
    ///
    /// As [`set_state`](Self::set_state).
    pub async fn update_endpoints(
        &self,
        endpoints: impl Into<Published>,
    ) -> Result<(), RegisterError> {
        let (stamped, followed) = endpoints.into().into_parts();
        let mut endpoints = check_endpoints(stamped)?;
        if self.entry.lease.is_some() {
            let (_, wanted) = self.entry.wanted();
            if !wanted.proves {
                stamp_users_of_lease(&mut endpoints, &wanted.endpoints);
            }
        }
        let version = self.client.hub().desired.move_to(&self.entry, endpoints, followed);
        self.accepted_as(version).await
    }

    /// Replaces the actor's metadata.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) -> Result<(), Box<dyn std::error::Error>> {
    /// kept.update_metadata([("load".to_owned(), "7".to_owned())].into()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`set_state`](Self::set_state).
    ///
    /// # Cancel safety
    ///
    /// As [`set_state`](Self::set_state).
    pub async fn update_metadata(
        &self,
        metadata: BTreeMap<String, String>,
    ) -> Result<(), RegisterError> {
        check_metadata(&metadata)?;
        let version = self.client.hub().desired.change(&self.entry, |it| it.metadata = metadata);
        self.accepted_as(version).await
    }

    /// Takes the actor out of the registry, whether or not there are clones, and waits until all
    /// registrars within reach have done so.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) {
    /// kept.unregister().await; // a drop does not wait
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting; the actor is removed nevertheless.
    pub async fn unregister(self) {
        self.client.hub().desired.take_off(&self.entry);
        let mut progress = self.entry.progress();
        let is_gone = |it: &Progress| matches!(it, Progress::Absent | Progress::Refused(..));
        let gone = progress.wait_for(|it| it.iter().all(is_gone)).await;
        drop(gone.expect("the entry owns the sender"));
    }

    /// Takes several actors out of the registry as [`unregister`](Self::unregister) does: with each
    /// registrar in one change, however many they are, up to two thousand.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Registered, Registration};
    ///
    /// let mut kept = Vec::new();
    /// for name in ["bids", "asks"] {
    ///     kept.push(client.register(Registration::new(name)).await?);
    /// }
    /// // Who watches sees both go at one time.
    /// Registered::unregister_all(kept).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As [`unregister`](Self::unregister).
    pub async fn unregister_all(leaving: Vec<Self>) {
        let Some(first) = leaving.first() else { return };
        first.client.hub().desired.take_all_off(leaving.iter().map(|it| &it.entry));
        for registered in leaving {
            // It is out of the desired state already, unless it is another client's.
            registered.unregister().await;
        }
    }

    /// Stops keeping the actor registered, and leaves it in the registry: until its lease expires,
    /// or else until the client's session ends.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let batch = callsign::Registration::new("batch").lease(Duration::from_secs(600));
    /// let instance = client.register(batch.endpoint("/unix/run/batch.sock")?).await?.leave();
    /// // Any program that knows its UUID can renew it.
    /// client.renew(instance.uuid).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn leave(self) -> InstanceId {
        self.entry.leave();
        self.instance.clone()
    }

    /// Waits until one registrar has accepted a version, or none is left that might.
    async fn accepted_as(&self, version: u64) -> Result<(), RegisterError> {
        let accepted = tokio::select! {
            biased;
            lost = self.entry.lost_for_good() => return Err(RegisterError::Lost(Box::new(lost))),
            accepted = self.client.hub().first_success(|it| self.accepted_by(it, version)) => accepted,
        };
        accepted.map_err(|failures| {
            let failures = RegistrarFailures(failures.into_iter().flatten().collect());
            if failures.have_refusal() {
                RegisterError::Refused(failures)
            } else {
                RegisterError::Unreachable(failures)
            }
        })
    }

    /// Waits until one registrar has accepted a version. A registrar that another link serves
    /// counts neither as a success nor as a failure.
    async fn accepted_by(
        &self,
        index: usize,
        version: u64,
    ) -> Result<(), Option<RegistrarFailure>> {
        let hub = self.client.hub();
        let link = &hub.links[index];
        let (mut progress, mut states) = (self.entry.progress(), link.subscribe());
        if let LinkState::Dialing = link.settled(hub.options.ask_timeout).await {
            return Err(Some(link.failure(Arc::new(LinkError::NotYet))));
        }
        loop {
            match &progress.borrow_and_update()[index] {
                Progress::Here(theirs) if *theirs >= version => return Ok(()),
                Progress::Refused(theirs, error) if *theirs >= version => {
                    return Err(Some(link.failure(error.clone())));
                }
                // It waits in line, and will have the version of that time.
                Progress::InLine(_) => return Ok(()),
                _ => {}
            }
            match &*states.borrow_and_update() {
                LinkState::Down(error) => return Err(Some(link.failure(error.clone()))),
                LinkState::Standby { .. } => return Err(None),
                LinkState::Up(_) | LinkState::Dialing => {}
            }
            // The entry and the link own the senders, so that neither of these can fail.
            tokio::select! {
                changed = progress.changed() => drop(changed),
                changed = states.changed() => drop(changed),
            }
        }
    }
}

impl fmt::Debug for Registered {
    /// Shows its instance and state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registered({}, {})", self.instance, self.state())
    }
}

impl Drop for EntryGuard {
    fn drop(&mut self) {
        self.client.hub().desired.take_off(&self.entry);
    }
}
