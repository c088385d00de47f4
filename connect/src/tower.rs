//! The instances of a name as they come and go, to balance load over them.
//!
//! [`Instances`] is a stream of changes, and with that a `tower::discover::Discover`: wrapped in a
//! load measure, it is what `tower::balance::p2c::Balance` takes. An instance that ends, drains or
//! hangs is taken out as soon as a registrar reports it, which a death over a Unix socket is in a
//! fraction of a millisecond.
//!
//! ```no_run
//! # use callsign_connect as callsign;
//! use std::convert::Infallible;
//!
//! use callsign::tower::{Instance, Instances};
//! # use discovery::Client;
//! # use ::tower::{discover::Discover, service_fn};
//!
//! # fn example(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
//! let instances = Instances::new(client, "feed", |instance: Instance| {
//!     service_fn(move |question: String| {
//!         let instance = instance.clone();
//!         async move { instance.connect().await.map(|stream| (question, stream)) }
//!     })
//! })?;
//! # fn is_discover(_: impl Discover<Error = Infallible>) {}
//! # is_discover(instances);
//! # Ok(())
//! # }
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::tower::discover::Change;
use discovery::{Client, Connection, Followed, Freshness, explain};
use endpoints::{Name, NameError};
use futures_util::Stream;
use uuid::Uuid;
use wire::Record;

use crate::{ReachActorError, reach::reach_instance};

/// The ready instances of a name that can be reached from here, as changes: a
/// `tower::discover::Discover`. `make` makes the service of each.
///
/// Suspect instances are left out as long as there are others. While no registrar can be reached,
/// the last known instances stay. It ends when the client is closed.
///
/// ```
/// # mod callsign { pub use {callsign_connect::*, discovery::*}; }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use callsign::{Client, ClientOptions};
/// use callsign::tower::{Instance, Instances};
/// use futures_util::StreamExt;
///
/// # let client = Client::open(["/memory/7"], ClientOptions::default())?;
/// // The service of an instance is its name here.
/// let make = |instance: Instance| instance.record().instance().to_string();
/// let mut instances = Instances::new(&client, "feed", make)?;
/// # client.close().await;
/// while let Some(change) = instances.next().await {
///     println!("{}", if change.is_ok() { "another came or went" } else { "never" });
/// }
/// # Ok(())
/// # }
/// ```
pub struct Instances<S, F> {
    client: Client,
    name: Name,
    followed: Followed,
    make: F,
    present: BTreeMap<Uuid, Arc<Record>>,
    /// At most two for each instance of a view: one that goes, and one that comes.
    changes: VecDeque<Change<Uuid, S>>,
    /// Ends when there is another view than the one last seen.
    changed: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S, F: FnMut(Instance) -> S> Instances<S, F> {
    /// Follows the instances of a name.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_connect::*, discovery::*}; }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use callsign::{Client, ClientOptions};
    /// use callsign::tower::{Instance, Instances};
    ///
    /// # let client = Client::open(["/memory/7"], ClientOptions::default())?;
    /// let none = Instances::new(&client, "no/name", |instance: Instance| instance);
    /// assert!(none.is_err(), "a name has no `/`");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NameError`] if `name` is invalid.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(client: &Client, name: &str, make: F) -> Result<Self, NameError> {
        let name = Name::new(name)?;
        let followed = client.follow(name.as_str())?;
        let (client, present) = (client.clone(), BTreeMap::new());
        Ok(Self { client, name, followed, make, present, changes: VecDeque::new(), changed: None })
    }

    /// Notes the changes up to the present view, and returns whether there is one after it.
    fn take_view(&mut self) -> bool {
        let view = self.followed.view();
        let is_last = matches!(view.freshness(), Freshness::Closed);
        // Until everything is told, what is missing may yet come.
        if !matches!(view.freshness(), Freshness::Syncing) {
            self.turn_to(usable(view.ready(self.name.as_str())));
        }
        let (followed, revision) = (self.followed.clone(), view.revision());
        self.changed = Some(Box::pin(async move { drop(followed.changed(revision).await) }));
        !is_last
    }

    fn turn_to(&mut self, usable: BTreeMap<Uuid, Arc<Record>>) {
        let gone = self.present.keys().filter(|it| !usable.contains_key(it));
        self.changes.extend(gone.map(|it| Change::Remove(*it)));
        for (uuid, record) in &usable {
            if !self.present.contains_key(uuid) {
                let (client, record) = (self.client.clone(), record.clone());
                let service = (self.make)(Instance { client, record });
                self.changes.push_back(Change::Insert(*uuid, service));
            }
        }
        self.present = usable;
    }
}

impl<S, F: FnMut(Instance) -> S + Unpin> Stream for Instances<S, F>
where
    Self: Unpin,
{
    type Item = Result<Change<Uuid, S>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(change) = this.changes.pop_front() {
                return Poll::Ready(Some(Ok(change)));
            }
            if let Some(changed) = &mut this.changed {
                ready!(changed.as_mut().poll(cx));
            }
            if !this.take_view() && this.changes.is_empty() {
                return Poll::Ready(None);
            }
        }
    }
}

impl<S, F> fmt::Debug for Instances<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instances")
            .field("name", &self.name)
            .field("present", &self.present.keys())
            .finish_non_exhaustive()
    }
}

/// Returns the instances within reach; suspect ones only if there are no others.
fn usable<'a>(ready: impl Iterator<Item = &'a Arc<Record>>) -> BTreeMap<Uuid, Arc<Record>> {
    let is_in_reach = |it: &&Arc<Record>| {
        let records = [Record::clone(it)];
        let explanation = explain(&records, &transport::here(), &transport::look);
        explanation.candidates.iter().any(|it| it.verdict.is_ok())
    };
    let reached: Vec<_> = ready.filter(is_in_reach).collect();
    let are_all_suspect = reached.iter().all(|it| it.suspicion.is_some());
    let usable = reached.into_iter().filter(|it| are_all_suspect || it.suspicion.is_none());
    usable.map(|it| (it.uuid, it.clone())).collect()
}

/// An instance to make a service for.
///
/// ```
/// # mod callsign { pub use {callsign_connect::*, discovery::*}; }
/// use callsign::tower::Instance;
///
/// /// Makes the service of an instance: here, what a balancer prints of it.
/// fn service(instance: Instance) -> String {
///     instance.record().instance().to_string()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Instance {
    client: Client,
    record: Arc<Record>,
}

impl Instance {
    /// Returns what the registrars know of it, as of when it came.
    ///
    /// ```
    /// # use callsign_connect as callsign;
    /// # fn example(instance: &callsign::tower::Instance) {
    /// println!("{:?}", instance.record().metadata.get("pair"));
    /// # }
    /// ```
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Connects to it, at its present endpoints, and has it prove its identity if it can.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_connect::*, discovery::*}; }
    /// use callsign::{ReachActorError, tower::Instance};
    /// use tokio::io::AsyncWriteExt;
    ///
    /// /// Sends a line to an instance.
    /// async fn tell(instance: &Instance, line: &str) -> Result<(), Box<dyn std::error::Error>> {
    ///     let mut stream = instance.connect().await?;
    ///     stream.write_all(line.as_bytes()).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReachActorError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future drops all dials in progress.
    pub async fn connect(&self) -> Result<Connection, ReachActorError> {
        reach_instance(&self.client, &self.record.instance()).await
    }

    /// Returns a connector to this instance.
    ///
    /// ```
    /// # use callsign_connect as callsign;
    /// # use discovery::Client;
    /// use callsign::tower::{Instance, Instances};
    ///
    /// # fn example(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    /// // A gRPC channel to each instance.
    /// let endpoint = callsign::tonic::endpoint("feed")?;
    /// let channels = Instances::new(client, "feed", move |instance: Instance| {
    ///     endpoint.connect_with_connector_lazy(instance.connector())
    /// })?;
    /// # drop(channels);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "hyper")]
    pub fn connector(&self) -> crate::hyper::Connector {
        crate::hyper::Connector::to_instance(self.client.clone(), self.record.instance())
    }
}
