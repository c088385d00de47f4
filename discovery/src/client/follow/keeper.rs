//! The task that keeps a followed view: it takes the events of a watch, and publishes a view after
//! each lot of them.
//!
//! ```text
//!   registrars ──events──▶ Watch ──▶ keeper ──publishes──▶ Moment ◀── readers
//!                                      ▲
//!                        find_actor ───┘ names to ask for in advance
//! ```

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::{Poll, ready},
};

use arc_swap::ArcSwap;
use endpoints::{Name, NamePattern};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{picture::Picture, view::Moment};
use crate::{
    Client, Freshness, LookupError,
    client::{
        merge::MergedRecords,
        remembered::{Answer, Memory},
        view::is_same,
        watch::Watch,
    },
    dial::Tickets,
};

/// The part of a followed view that its keeper and its readers share.
#[derive(Debug)]
pub(super) struct Shared {
    moment: ArcSwap<Moment>,
    /// The revision of the moment, for those that wait for the next.
    revision: watch::Sender<u64>,
    /// Answers for [`Client::find_actor`], each good for one connection.
    reserve: Mutex<Memory>,
}

impl Shared {
    pub(super) fn new(pattern: NamePattern, now: Instant) -> Self {
        let moment = Moment {
            pattern,
            by_name: Picture::new().by_name().clone(),
            freshness: Freshness::Syncing,
            since: Some(now),
            settles_at: None,
            revision: 0,
        };
        Self {
            moment: ArcSwap::from_pointee(moment),
            revision: watch::Sender::new(0),
            reserve: Mutex::default(),
        }
    }

    pub(super) fn moment(&self) -> arc_swap::Guard<Arc<Moment>> {
        self.moment.load()
    }

    pub(super) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Takes the answer that was asked for in advance, if it says the same about the name as the
    /// view does now.
    pub(super) fn take_reserved(&self, name: &Name) -> Option<Answer> {
        let answer = self.reserve().take(&(name.clone(), false, None))?;
        is_as_seen(&self.moment.load(), name, &answer.found).then_some(answer)
    }

    fn publish(&self, moment: Moment) {
        let revision = moment.revision;
        if !moment.freshness.is_current() {
            self.reserve().clear();
        }
        self.moment.store(Arc::new(moment));
        self.revision.send_replace(revision);
    }

    fn reserve(&self) -> MutexGuard<'_, Memory> {
        self.reserve.lock().expect("nothing panics while it holds the lock")
    }
}

/// Tells whether a view knows the same ready instances of a name as an answer does.
fn is_as_seen(moment: &Moment, name: &Name, found: &MergedRecords) -> bool {
    let seen = moment.by_name.records(name.as_str());
    let ready = || seen.iter().filter(|it| it.state == wire::State::Ready);
    moment.freshness.is_current()
        && ready().count() == found.instances.len()
        && ready().all(|seen| {
            let merged = found.instances.iter().find(|it| it.record.uuid == seen.uuid);
            merged.is_some_and(|it| {
                is_same(&it.record, seen) && it.epochs.iter().any(|(_, epoch)| *epoch == seen.epoch)
            })
        })
}

/// Keeps a view until the client is closed.
pub(super) async fn keep(mut watch: Watch, shared: Arc<Shared>, mut wanted: mpsc::Receiver<Name>) {
    let client = watch.client().clone();
    let mut publisher = Publisher { shared, picture: Picture::new() };
    let mut asked = FuturesUnordered::new();
    loop {
        tokio::select! {
            is_open = publisher.follow(&mut watch) => {
                if !is_open {
                    return;
                }
            }
            Some(name) = wanted.recv(), if asked.len() < ASKED_MAX => {
                asked.push(ask(&client, name.clone()).map(|answer| (name, answer)));
            }
            Some((name, answer)) = asked.next() => {
                // It is asked for again when there is need.
                if let Ok(answer) = answer {
                    publisher.shared.reserve().keep((name, false, None), answer, Instant::now());
                }
            }
        }
    }
}

async fn ask(client: &Client, name: Name) -> Result<Answer, LookupError> {
    let (found, tickets): (_, Tickets) = client.locate_once(&name).await?;
    Ok(Answer { found, tickets, age: None })
}

/// The one writer of a followed view. When it is dropped, for whatever reason, the view says that
/// nobody keeps it any more.
#[derive(Debug)]
struct Publisher {
    shared: Arc<Shared>,
    picture: Picture,
}

impl Publisher {
    /// Takes all events that have arrived, at least one and at most as many as may wait to be seen,
    /// and publishes the view; `false` when the client is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it waits only before the first event.
    async fn follow(&mut self, watch: &mut Watch) -> bool {
        let is_syncing = matches!(self.shared.moment.load().freshness, Freshness::Syncing);
        let events_max = if is_syncing {
            // A large snapshot would be copied for each of its parts.
            EVENTS_MAX.max(self.picture.by_name().instances() / 8)
        } else {
            EVENTS_MAX
        };
        let mut has_changed = false;
        let is_open = poll_fn(|cx| {
            let mut is_open = ready!(watch.poll_step(cx));
            for _ in 1..events_max {
                has_changed |= self.picture.take(watch);
                match watch.poll_step(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => is_open = false,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(is_open)
        })
        .await;
        has_changed |= self.picture.take(watch);
        let view = watch.view();
        let (freshness, settles_at) = (view.freshness(), view.settles_at());
        let was_current = self.shared.moment.load().freshness.is_current();
        if is_open && (has_changed || !was_current || !freshness.is_current()) {
            self.publish(freshness, settles_at);
        }
        is_open
    }

    fn publish(&self, freshness: Freshness, settles_at: Option<Instant>) {
        let former = self.shared.moment.load();
        let since = match freshness {
            Freshness::Current => None,
            _ => Some(former.since.unwrap_or_else(Instant::now)),
        };
        self.shared.publish(Moment {
            pattern: former.pattern.clone(),
            by_name: self.picture.by_name().clone(),
            freshness,
            since,
            settles_at,
            revision: former.revision + 1,
        });
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.publish(Freshness::Closed, None);
    }
}

impl Picture {
    /// Records the changes that a watch reports, and tells whether there are any.
    fn take(&mut self, watch: &mut Watch) -> bool {
        let mut has_changed = false;
        while let Some(change) = watch.view().pop() {
            self.apply(change);
            has_changed = true;
        }
        has_changed
    }
}

/// The most events before the view is published again: as many as are in transit to a watch.
const EVENTS_MAX: usize = 128;

/// The most names that are asked for in advance at a time.
const ASKED_MAX: usize = 16;
