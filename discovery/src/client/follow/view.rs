//! What readers see: a view at one moment.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::Guard;
use endpoints::{Name, NamePattern};
use tokio::time::Instant;
use wire::{Record, State};

use super::picture::ByName;
use crate::Freshness;

/// The instances of the names that are followed, at one moment: all of it is as of the same event.
/// It does not change; [`Followed::view`](crate::Followed::view) returns the next.
///
/// It may be kept, also across an `await`. A reader that keeps more than a few makes its own next
/// reads slower, by some tens of nanoseconds.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::FollowedView;
///
/// /// Returns where a feed listens, and how sure that is.
/// fn place(view: &FollowedView) -> Option<String> {
///     let feed = view.actor("feed")?;
///     let place = feed.endpoints.first()?.endpoint.to_string();
///     Some(match view.age() {
///         None => place,
///         Some(age) => format!("{place}, as of {age:?} ago ({})", view.freshness()),
///     })
/// }
/// ```
pub struct FollowedView(pub(super) Guard<Arc<Moment>>);

/// A view as it is published.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) pattern: NamePattern,
    pub(super) by_name: ByName,
    pub(super) freshness: Freshness,
    /// When it was current last, or the view began; `None` while it is.
    pub(super) since: Option<Instant>,
    pub(super) settles_at: Option<Instant>,
    pub(super) revision: u64,
}

impl FollowedView {
    /// Returns the newest ready instance of a name, as
    /// [`query_actor`](crate::Client::query_actor) would. `None` if there is none, or the name is
    /// not among those that are followed; whether that is sure, [`knows`](Self::knows) tells.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// if let Some(feed) = followed.view().actor("feed") {
    ///     println!("{} is ready", feed.instance());
    /// }
    /// # }
    /// ```
    pub fn actor(&self, name: &str) -> Option<&Arc<Record>> {
        self.ready(name).next()
    }

    /// Returns the ready instances of a name: live ones first, then declared ones, each newest
    /// first.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// println!("{} workers are ready", followed.view().ready("worker").count());
    /// # }
    /// ```
    pub fn ready(&self, name: &str) -> impl Iterator<Item = &Arc<Record>> {
        self.instances(name).iter().filter(|it| it.state == State::Ready)
    }

    /// Returns the instances of a name as [`ready`](Self::ready) does, including those that are
    /// starting or draining.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// for worker in followed.view().instances("worker") {
    ///     println!("{} is {}", worker.uuid, worker.state);
    /// }
    /// # }
    /// ```
    pub fn instances(&self, name: &str) -> &[Arc<Record>] {
        self.0.by_name.records(name)
    }

    /// Returns the names that have instances, in no order, each with its instances.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// let view = followed.view();
    /// let mut busy: Vec<_> = view.names().map(|(name, workers)| (workers.len(), name)).collect();
    /// busy.sort();
    /// # }
    /// ```
    pub fn names(&self) -> impl Iterator<Item = (&Name, &[Arc<Record>])> {
        self.0.by_name.names()
    }

    /// Returns the number of instances of all names.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// println!("{} instances", followed.view().len());
    /// # }
    /// ```
    pub fn len(&self) -> usize {
        self.0.by_name.instances()
    }

    /// Tells whether there is no instance at all.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// if followed.view().is_empty() {
    ///     println!("nobody is there");
    /// }
    /// # }
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether the view's answer about a name is as good as the registrars': the name is
    /// among those that are followed, and the view is [current](Freshness::Current).
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// let view = followed.view();
    /// if view.knows("feed") && view.actor("feed").is_none() {
    ///     println!("there is no feed");
    /// }
    /// # }
    /// ```
    pub fn knows(&self, name: &str) -> bool {
        self.0.freshness.is_current() && self.0.pattern.matches(name)
    }

    /// Returns how far the view can be relied on.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::Freshness;
    ///
    /// # fn example(followed: &callsign::Followed) {
    /// if let Freshness::Unreachable(failures) = followed.view().freshness() {
    ///     println!("no registrar answers:\n{failures}");
    /// }
    /// # }
    /// ```
    pub fn freshness(&self) -> &Freshness {
        &self.0.freshness
    }

    /// Returns the time since the view was last [current](Freshness::Current), or since it began;
    /// `None` while it is current.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// use std::time::Duration;
    ///
    /// let is_good = followed.view().age().is_none_or(|it| it < Duration::from_secs(10));
    /// # }
    /// ```
    pub fn age(&self) -> Option<Duration> {
        self.0.since.map(|it| it.elapsed())
    }

    /// Returns the time in which clients may still return to the registrars within reach, if one of
    /// them has just started.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// if let Some(left) = followed.view().settling() {
    ///     println!("others may come back within {left:?}");
    /// }
    /// # }
    /// ```
    pub fn settling(&self) -> Option<Duration> {
        let now = Instant::now();
        self.0.settles_at.filter(|it| *it > now).map(|it| it - now)
    }

    /// Returns the number of the view among those of one [`Followed`](crate::Followed), from 0.
    /// Equal numbers mean the same view.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # fn example(followed: &callsign::Followed) {
    /// let revision = followed.view().revision();
    /// let is_as_before = followed.view().revision() == revision;
    /// # }
    /// ```
    pub fn revision(&self) -> u64 {
        self.0.revision
    }
}

impl fmt::Debug for FollowedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowedView")
            .field("pattern", &self.0.pattern)
            .field("revision", &self.0.revision)
            .field("freshness", &self.0.freshness)
            .field("instances", &self.len())
            .finish_non_exhaustive()
    }
}
