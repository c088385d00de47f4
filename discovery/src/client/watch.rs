//! Following a name or a pattern.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, ready},
    time::Duration,
};

use endpoints::{NameError, NamePattern};
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    feed::{self, Step},
    view::View,
};
use crate::{Change, Client};

impl Client {
    /// Follows the instances of a name or a pattern, as all registrars together know them.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Change;
    ///
    /// let mut watch = client.watch("feed.*")?;
    /// while let Some(change) = watch.next().await {
    ///     if let Change::Add { record } = change {
    ///         println!("{} is there", record.name);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NameError`] if `pattern` is invalid.
    pub fn watch(&self, pattern: &str) -> Result<Watch, NameError> {
        let pattern = NamePattern::new(pattern)?;
        let links = self.hub().links.len();
        let (client, feeds, view) =
            (self.clone(), Mutex::default(), View::new(links, self.hub().options.trust));
        let mut watch = Watch { client, pattern, feeds, view, alarm: None, is_closed: false };
        for index in 0..links {
            watch.follow(index, feed::first(self.clone(), index));
        }
        Ok(watch)
    }
}

/// A watch of a pattern. It makes progress only while [`next`](Self::next) is awaited; a registrar
/// resets a watcher that falls behind, so that nothing piles up.
///
/// It holds the records of the instances, once for each registrar that has them.
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
/// use callsign::{Change, Client};
///
/// let client = Client::connect(&registrars).await?;
/// let mut watch = client.watch("feed.*")?;
/// assert!(matches!(watch.next().await, Some(Change::Reset)));
/// assert!(matches!(watch.next().await, Some(Change::Synced)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Watch {
    client: Client,
    pattern: NamePattern,
    /// The futures are `Send` but not `Sync`. A lock that is never contended makes them both.
    feeds: Mutex<FuturesUnordered<BoxFuture<'static, (usize, Step)>>>,
    view: View,
    /// Fires when the view should give up a registrar.
    alarm: Option<Pin<Box<Sleep>>>,
    is_closed: bool,
}

impl Watch {
    /// Returns the next change; `None` when the client is closed.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: &callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut watch = client.watch("feed*")?;
    /// while let Some(change) = watch.next().await {
    ///     println!("{change:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no change is lost.
    pub async fn next(&mut self) -> Option<Change> {
        poll_fn(|cx| self.poll_change(cx)).await
    }

    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        loop {
            if let Some(change) = self.view.pop() {
                return Poll::Ready(Some(change));
            }
            if !ready!(self.poll_step(cx)) {
                return Poll::Ready(None);
            }
        }
    }

    /// Takes the next event, of a registrar or of time, into the [view](Self::view); `false` when
    /// the client is closed. Not every event reports a change.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.is_closed {
            return Poll::Ready(false);
        }
        if let Poll::Ready(Some((index, step))) = self.feeds().poll_next_unpin(cx) {
            self.take(index, step);
            return Poll::Ready(true);
        }
        let Some(deadline) = self.view.next_deadline() else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        ready!(alarm.as_mut().poll(cx));
        self.view.tick(Instant::now());
        Poll::Ready(true)
    }

    /// Returns the merged state of all registrars, as of the last event taken.
    pub(super) fn view(&mut self) -> &mut View {
        &mut self.view
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn pattern(&self) -> &NamePattern {
        &self.pattern
    }

    fn feeds(&mut self) -> &mut FuturesUnordered<BoxFuture<'static, (usize, Step)>> {
        self.feeds.get_mut().expect("it is never locked")
    }

    /// Takes the next step of a feed.
    fn follow(&mut self, index: usize, step: impl Future<Output = Step> + Send + 'static) {
        self.feeds().push(async move { (index, step.await) }.boxed());
    }

    /// Records an event of a feed, and lets it continue.
    fn take(&mut self, index: usize, step: Step) {
        let client = self.client.clone();
        match step {
            Step::Up(connection) => {
                let (pattern, seen) = (self.pattern.clone(), self.view.seen(index));
                self.follow(index, feed::begin(client, index, connection, pattern, seen));
            }
            Step::Begun { connection, is_resumed, items } => {
                let moves =
                    connection.is_of_cluster && self.view.has_another(index, connection.registrar);
                let moved = moves.then(|| Instant::now() + MOVING_TIME);
                self.view.begun(index, is_resumed, connection.settles_at.or(moved));
                self.follow(index, feed::next(client, index, connection, items));
            }
            Step::Item { connection, change, items } => {
                self.view.change(index, connection.registrar, *change, Instant::now());
                self.follow(index, feed::next(client, index, connection, items));
            }
            Step::Lost { after, failure, pause } => {
                self.view.lost(index, failure, Instant::now());
                self.follow(index, feed::until_up(client, index, after, pause));
            }
            Step::Standby => {
                self.view.standby(index);
                self.follow(index, feed::until_up(client, index, 0, Duration::ZERO));
            }
            Step::Closed => self.is_closed = true,
        }
    }
}

/// Each item is what [`next`](Watch::next) returns.
impl Stream for Watch {
    type Item = Change;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.get_mut().poll_change(cx)
    }
}

/// The time for an instance to come along to another node of a cluster, that had registered so late
/// that only the former node knew it: clients move within a second.
const MOVING_TIME: Duration = Duration::from_secs(2);
