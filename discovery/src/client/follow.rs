//! Names that are followed: a view of them in memory, which a watch keeps up to date.

mod keeper;
mod picture;
mod view;

use std::sync::{Arc, Weak};

use endpoints::{Name, NameError, NamePattern};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use wire::Record;

use self::keeper::{Shared, keep};
pub use self::view::FollowedView;
use super::remembered::Answer;
use crate::{Client, Freshness, LookupError};

impl Client {
    /// Follows a name or a pattern: a view of all its instances is kept in memory, and reading it
    /// takes some tens of nanoseconds and no lock. Reading never waits;
    /// [`synced`](Followed::synced) waits for the first answer.
    ///
    /// As long as the view is [current](Freshness::Current), [`find_actor`](Self::find_actor)
    /// connects to a name that is followed without asking a registrar first. For the second and
    /// later connections to a name, the registrars' challenges are obtained in advance; the actor
    /// has to prove its identity as always.
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
    /// use callsign::{Client, Registration};
    ///
    /// let client = Client::connect(&registrars).await?;
    /// let feeds = client.follow("feed.*")?;
    /// let synced = feeds.synced().await?;
    /// assert!(synced.actor("feed.eu").is_none());
    ///
    /// let _kept = client.register(Registration::new("feed.eu").endpoint("/unix/@feed")?).await?;
    /// while feeds.view().actor("feed.eu").is_none() {
    ///     feeds.changed(feeds.view().revision()).await;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NameError`] if `pattern` is invalid.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn follow(&self, pattern: &str) -> Result<Followed, NameError> {
        let watch = self.watch(pattern)?;
        let shared = Arc::new(Shared::new(watch.pattern().clone(), Instant::now()));
        let (wanted, names) = mpsc::channel(WANTED_MAX);
        let (client, pattern) = (self.clone(), watch.pattern().clone());
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(watch, shared.clone(), names));
        let inner = Arc::new(Inner { client, pattern, shared, wanted, _keeper: keeper });
        let mut follows = self.follows();
        follows.retain(|it| it.strong_count() > 0);
        follows.push(Arc::downgrade(&inner));
        Ok(Followed { inner })
    }

    /// Returns what follows a name, if something does.
    pub(super) fn following(&self, name: &Name) -> Option<Followed> {
        let follows = self.follows();
        let mut living = follows.iter().filter_map(Weak::upgrade);
        let inner = living.find(|it| it.pattern.matches(name.as_str()))?;
        Some(Followed { inner })
    }
}

/// Keeps the view of a name or a pattern. Clones are handles to the same view; with the last one
/// the registrars stop to report.
///
/// It holds a clone of its client, and the records of the instances twice: as the registrars report
/// them, and as readers see them. A change costs time in proportion to the instances of its name,
/// and to a 256th of all names; what arrives together is published together.
///
/// ```
/// # use callsign_discovery as callsign;
/// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let feed = client.follow("feed")?;
/// feed.synced().await?;
/// // On every request, from any thread:
/// match feed.view().actor("feed") {
///     Some(record) => println!("{}", record.instance()),
///     None => println!("there is no feed"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "the view is kept only while a handle lives"]
pub struct Followed {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    client: Client,
    pattern: NamePattern,
    shared: Arc<Shared>,
    /// Takes names to ask for in advance.
    wanted: mpsc::Sender<Name>,
    /// Ends with this.
    _keeper: JoinSet<()>,
}

impl Followed {
    /// Returns the view as of the last event that has arrived. It takes some tens of nanoseconds,
    /// and waits for nothing.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// let view = followed.view();
    /// println!("{} instances, {}", view.len(), view.freshness());
    /// # }
    /// ```
    pub fn view(&self) -> FollowedView {
        FollowedView(self.inner.shared.moment())
    }

    /// Returns the name or the pattern that is followed.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(client: &callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// assert!(client.follow("feed.*")?.pattern().matches("feed.eu"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn pattern(&self) -> &NamePattern {
        &self.inner.pattern
    }

    /// Waits until the registrars within reach have told all that they know, and returns the view:
    /// [current](Freshness::Current), [young](Freshness::Young) or [partial](Freshness::Partial).
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(followed: &callsign::Followed) -> Result<(), Box<dyn std::error::Error>> {
    /// let view = followed.synced().await?;
    /// assert!(view.is_empty(), "nobody has such a name");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError::Unreachable`] if no registrar can be reached, or the client is closed. The view goes
    /// on by itself when one can be reached again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn synced(&self) -> Result<FollowedView, LookupError> {
        let mut revisions = self.inner.shared.revisions();
        loop {
            revisions.mark_unchanged();
            let view = self.view();
            match view.freshness() {
                Freshness::Current | Freshness::Young | Freshness::Partial(_) => return Ok(view),
                Freshness::Unreachable(failures) => return Err(failures.clone().into()),
                Freshness::Closed => return Err(self.inner.client.closed().into()),
                Freshness::Syncing => {}
            }
            revisions.changed().await.expect("this holds the sender");
        }
    }

    /// Waits until there is another view than number `revision`, and returns it. Those in between
    /// are passed over. When the client is closed, it returns the last one at once.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(followed: &callsign::Followed) {
    /// let mut view = followed.view();
    /// while !matches!(view.freshness(), callsign::Freshness::Closed) {
    ///     println!("{} instances", view.len());
    ///     view = followed.changed(view.revision()).await;
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn changed(&self, revision: u64) -> FollowedView {
        let mut revisions = self.inner.shared.revisions();
        loop {
            revisions.mark_unchanged();
            let view = self.view();
            if view.revision() != revision || matches!(view.freshness(), Freshness::Closed) {
                return view;
            }
            revisions.changed().await.expect("this holds the sender");
        }
    }

    /// Returns the newest ready instance of a name: from memory if the view
    /// [knows](FollowedView::knows) it, and otherwise by asking the registrars, as
    /// [`Client::query_actor`] does.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(followed: &callsign::Followed) -> Result<(), Box<dyn std::error::Error>> {
    /// match followed.query_actor("feed").await? {
    ///     Some(feed) => println!("{} is ready", feed.instance()),
    ///     None => println!("there is no feed"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`] if the view does not know, and asking fails.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_actor(&self, name: &str) -> Result<Option<Arc<Record>>, LookupError> {
        {
            let view = self.view();
            if view.knows(name) {
                return Ok(view.actor(name).cloned());
            }
        }
        Ok(self.inner.client.query_actor(name).await?.map(Arc::new))
    }

    /// Returns the ready instances of a name, live ones first, then declared ones, each newest
    /// first: from memory or by asking, as [`query_actor`](Self::query_actor) does.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(followed: &callsign::Followed) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{} workers are ready", followed.query_ready("worker").await?.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`query_actor`](Self::query_actor).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query_ready(&self, name: &str) -> Result<Vec<Arc<Record>>, LookupError> {
        {
            let view = self.view();
            if view.knows(name) {
                return Ok(view.ready(name).cloned().collect());
            }
        }
        let found = self.inner.client.query_ready(name).await?.complete()?;
        Ok(found.records.into_iter().map(Arc::new).collect())
    }

    /// Takes the answer about a name that was asked for in advance, if it is still good, and has
    /// the next one asked for.
    pub(super) fn take_reserved(&self, name: &Name) -> Option<Answer> {
        let view = self.view();
        if !view.knows(name.as_str()) || view.actor(name.as_str()).is_none() {
            return None;
        }
        let answer = self.inner.shared.take_reserved(name);
        // If too many names are asked for already, this one is asked for when it is needed.
        drop(self.inner.wanted.try_send(name.clone()));
        answer
    }
}

/// The most names that wait to be asked for in advance.
const WANTED_MAX: usize = 64;
