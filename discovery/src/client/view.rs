//! The view of a watch: the merged state of all registrars.
//!
//! It is pure: events come in with the time, and changes come out.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use endpoints::Endpoint;
use tokio::time::Instant;
use uuid::Uuid;
use wire::{
    Epoch, Record, RemovalReason,
    registrar::{self, Seen},
};

use super::merge::newest_first;
use crate::{Change, Freshness, LinkError, RegistrarFailure, RegistrarFailures, Trust};

/// The merged state of all registrars.
#[derive(Debug)]
pub(crate) struct View {
    feeds: Vec<Feed>,
    instances: BTreeMap<Uuid, Instance>,
    /// The number of reported instances of former registrars.
    former: usize,
    /// What registrars have removed of late, with its last epoch. A node of a cluster that dies tells its
    /// own watchers first: to the others, they are there until its lease ends.
    ended: VecDeque<(Uuid, Epoch, Instant)>,
    /// The changes to report: at most a few for each instance.
    untold: VecDeque<Change>,
    /// The overall state as last reported.
    told: Told,
    /// The registrars last reported as out of reach, while others were not.
    missed: Vec<Endpoint>,
    /// The registrars that are missed although another answers.
    trust: Trust,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Reset,
    Synced,
    Stale,
}

/// The part of one registrar.
#[derive(Debug)]
struct Feed {
    state: FeedState,
    /// Its position.
    seen: Option<Seen>,
    /// Its registrar, once its snapshot has been complete.
    registrar: Option<Uuid>,
    /// The time until which its registrar settles, if it has just started.
    settles_at: Option<Instant>,
}

#[derive(Debug)]
enum FeedState {
    /// Its state is not known yet.
    Unknown,
    /// Another feed covers its registrar.
    Standby,
    /// Its snapshot is arriving.
    Syncing,
    /// Everything that its registrar has is known.
    Current,
    /// Its registrar is away. Its instances count as live until then.
    Lost { failure: RegistrarFailure, until: Instant },
    /// Its registrar has been away for long. Its instances count as live only if nobody knows
    /// better.
    Away { failure: RegistrarFailure },
}

/// An instance, as the feeds that have it know it.
#[derive(Debug)]
struct Instance {
    /// The newest first.
    reported: Vec<FeedRecord>,
    /// Why another registrar has removed it, and when.
    gone: Option<(RemovalReason, Instant)>,
}

/// A feed's knowledge of an instance.
#[derive(Debug)]
struct FeedRecord {
    feed: usize,
    record: Record,
    /// Whether it comes from a former registrar, and the present one has not heard of the instance
    /// yet.
    is_former: bool,
}

impl View {
    pub(crate) fn new(feeds: usize, trust: Trust) -> Self {
        let feed =
            || Feed { state: FeedState::Unknown, seen: None, registrar: None, settles_at: None };
        Self {
            feeds: std::iter::repeat_with(feed).take(feeds).collect(),
            instances: BTreeMap::new(),
            former: 0,
            ended: VecDeque::new(),
            untold: VecDeque::from([Change::Reset]),
            told: Told::Reset,
            missed: Vec::new(),
            trust,
        }
    }

    /// Returns the next change to report.
    pub(crate) fn pop(&mut self) -> Option<Change> {
        self.untold.pop_front()
    }

    /// Returns the position of a feed, if it can resume from there.
    pub(crate) fn seen(&self, feed: usize) -> Option<Seen> {
        self.feeds[feed].seen
    }

    /// Tells whether what a feed knows comes from another registrar than that.
    pub(crate) fn has_another(&self, feed: usize, registrar: Uuid) -> bool {
        self.feeds[feed].registrar.is_some_and(|it| it != registrar)
    }

    /// A feed begins; either where it left off, or with a reset. Its registrar settles until
    /// `settles_at`.
    pub(crate) fn begun(&mut self, feed: usize, is_resumed: bool, settles_at: Option<Instant>) {
        self.feeds[feed].settles_at = settles_at;
        if is_resumed {
            self.feeds[feed].state = FeedState::Current;
        } else {
            self.feeds[feed].state = FeedState::Syncing;
            self.feeds[feed].seen = None;
        }
        self.conclude();
    }

    /// Another feed has the registrar of this one.
    pub(crate) fn standby(&mut self, feed: usize) {
        self.feeds[feed].state = FeedState::Standby;
        self.conclude();
    }

    /// A feed is lost.
    pub(crate) fn lost(&mut self, feed: usize, failure: RegistrarFailure, now: Instant) {
        let silence = match *failure.error {
            LinkError::Silent(silence) => silence,
            _ => Duration::ZERO,
        };
        self.feeds[feed].state = match self.feeds[feed].state {
            FeedState::Lost { until, .. } => FeedState::Lost { failure, until },
            FeedState::Away { .. } => FeedState::Away { failure },
            _ if self.feeds[feed].registrar.is_none() => FeedState::Away { failure },
            _ => FeedState::Lost { failure, until: now + GRACE },
        };
        // What others have told since it was last heard, it may not have got to.
        let is_news = |at: Instant| now.duration_since(at) <= silence + TELLING_TIME;
        let held = self.instances.iter().filter(|(_, it)| it.is_told_by(feed));
        let gone = held.filter_map(|(uuid, it)| Some((*uuid, it.gone.filter(|it| is_news(it.1))?)));
        for (uuid, (reason, _)) in gone.collect::<Vec<_>>() {
            if !self.may_be_known(uuid, None) {
                self.remove(uuid, reason);
            }
        }
        self.conclude();
    }

    /// Returns how far the reported changes can be relied on.
    pub(crate) fn freshness(&self) -> Freshness {
        let is = |wanted: fn(&FeedState) -> bool| self.feeds.iter().any(|it| wanted(&it.state));
        let failures = |counts: fn(&FeedState) -> bool| {
            let failed = self.feeds.iter().filter_map(|it| Some((it, it.failure()?)));
            let missed =
                failed.filter(|(it, failure)| counts(&it.state) || self.trust.misses(failure));
            RegistrarFailures(missed.map(|(_, failure)| failure.clone()).collect())
        };
        if is(|it| matches!(it, FeedState::Unknown | FeedState::Syncing)) {
            return Freshness::Syncing;
        }
        let is_current = |it: &&Feed| matches!(it.state, FeedState::Current);
        if !self.feeds.iter().any(|it| is_current(&it)) {
            let failures = failures(|_| true);
            // One of those on standby is about to take over.
            let is_taken_over = failures.0.is_empty();
            return if is_taken_over {
                Freshness::Syncing
            } else {
                Freshness::Unreachable(failures)
            };
        }
        // The instances of one that was lost a moment ago still count as live.
        let missed = failures(|it| matches!(it, FeedState::Lost { .. }));
        if !missed.0.is_empty() {
            Freshness::Partial(missed)
        } else if self.feeds.iter().filter(is_current).any(|it| it.settles_at.is_some()) {
            Freshness::Young
        } else {
            Freshness::Current
        }
    }

    /// Returns the time until which a registrar within reach settles.
    pub(crate) fn settles_at(&self) -> Option<Instant> {
        let current = self.feeds.iter().filter(|it| matches!(it.state, FeedState::Current));
        current.filter_map(|it| it.settles_at).max()
    }

    /// Returns when [`tick`](Self::tick) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let until = |it: &Feed| match &it.state {
            FeedState::Lost { until, .. } => Some(*until),
            _ => None,
        };
        let lost = self.feeds.iter().filter_map(until);
        lost.chain(self.feeds.iter().filter_map(|it| it.settles_at)).min()
    }

    /// Gives up feeds that have been lost for long, and instances that have not returned to a
    /// registrar in time.
    pub(crate) fn tick(&mut self, now: Instant) {
        for at in 0..self.feeds.len() {
            let feed = &mut self.feeds[at];
            if let FeedState::Lost { failure, until } = &feed.state
                && *until <= now
            {
                feed.state = FeedState::Away { failure: failure.clone() };
            }
            if feed.settles_at.is_some_and(|it| it <= now) {
                feed.settles_at = None;
                self.drop_former(at);
            }
        }
        self.conclude();
    }

    /// A feed reports a change.
    pub(crate) fn change(
        &mut self,
        feed: usize,
        registrar: Uuid,
        change: registrar::Change,
        now: Instant,
    ) {
        let revision = match change {
            registrar::Change::Reset => {
                self.reset(feed, registrar);
                return;
            }
            registrar::Change::Synced { revision } => {
                self.synced(feed, Seen { registrar, revision });
                return;
            }
            registrar::Change::Add { record, revision }
            | registrar::Change::Update { record, revision } => {
                self.put(feed, record);
                revision
            }
            registrar::Change::Remove { instance, epoch, reason, revision } => {
                if is_witnessed(reason) && reason != RemovalReason::NodeLost {
                    self.end(instance.uuid, epoch, now);
                }
                self.take(feed, instance.uuid, reason, now);
                revision
            }
        };
        // In the middle of a snapshot there is no position to resume from. Several changes may
        // share a revision, and this need not be the last of them; reading one twice does no harm.
        if matches!(self.feeds[feed].state, FeedState::Current) {
            self.feeds[feed].seen = Some(Seen { registrar, revision: revision.saturating_sub(1) });
        }
    }

    /// Forgets the instances of a feed, unless another registrar has started in its place, to which
    /// all of them may still return.
    fn reset(&mut self, feed: usize, registrar: Uuid) {
        let Feed { state, seen, registrar: former, settles_at } = &mut self.feeds[feed];
        *state = FeedState::Syncing;
        *seen = None;
        let is_another = former.is_some_and(|it| it != registrar);
        if is_another && settles_at.is_some() {
            let reported = self.instances.values_mut().flat_map(|it| &mut it.reported);
            for reported in reported.filter(|it| it.feed == feed && !it.is_former) {
                reported.is_former = true;
                self.former += 1;
            }
            return;
        }
        if !self.instances.values().any(|it| it.is_told_by(feed)) {
            return;
        }
        self.instances.retain(|_, instance| {
            self.former -= instance.forget(feed);
            !instance.reported.is_empty()
        });
        // Unreported changes are part of the new report.
        self.untold.clear();
        self.untold.push_back(Change::Reset);
        self.told = Told::Reset;
        let add = |it: &Instance| Change::Add { record: it.newest().clone() };
        self.untold.extend(self.instances.values().map(add));
    }

    /// Everything that the registrar of a feed has is known.
    fn synced(&mut self, feed: usize, seen: Seen) {
        for other in &mut self.feeds {
            // An earlier feed's knowledge of this registrar, from before it was lost, is out of
            // date now.
            if other.registrar == Some(seen.registrar) && other.failure().is_some() {
                other.state = FeedState::Standby;
            }
        }
        self.feeds[feed].state = FeedState::Current;
        self.feeds[feed].registrar = Some(seen.registrar);
        self.feeds[feed].seen = Some(seen);
        if self.feeds[feed].settles_at.is_none() {
            self.drop_former(feed);
        }
        self.conclude();
    }

    /// Remembers for a while that a registration has ended.
    fn end(&mut self, uuid: Uuid, epoch: Epoch, now: Instant) {
        let is_old = |it: &(Uuid, Epoch, Instant)| now.duration_since(it.2) > ENDED_FOR;
        while self.ended.len() >= ENDED_MAX || self.ended.front().is_some_and(is_old) {
            self.ended.pop_front();
        }
        self.ended.push_back((uuid, epoch, now));
    }

    fn put(&mut self, feed: usize, record: Record) {
        let uuid = record.uuid;
        let is_it = |it: &(Uuid, Epoch, Instant)| it.0 == uuid && record.epoch <= it.1;
        if record.node.is_some() && self.ended.iter().any(is_it) {
            return;
        }
        let Some(instance) = self.instances.get_mut(&uuid) else {
            self.untold.push_back(Change::Add { record: record.clone() });
            let reported = FeedRecord { feed, record, is_former: false };
            self.instances.insert(uuid, Instance { reported: vec![reported], gone: None });
            return;
        };
        let (teller, before) = (instance.reported[0].feed, instance.newest().clone());
        let former = instance.forget(feed);
        instance.gone = None;
        instance.reported.push(FeedRecord { feed, record, is_former: false });
        instance.reported.sort_by_key(|it| newest_first(&it.record));
        let after = instance.newest();
        let is_news = if former > 0 {
            // The same registration, seen from another node of a cluster, is known.
            let placeless = |it: &Record| Record { node: None, ..it.clone() };
            placeless(after) != placeless(&before)
        } else if instance.reported[0].feed == teller {
            *after != before
        } else {
            !is_same(after, &before)
        };
        if is_news {
            self.untold.push_back(Change::Update { record: after.clone() });
        }
        self.former -= former;
        if former > 0 && self.former == 0 {
            self.conclude();
        }
    }

    /// A feed's registrar has removed an instance.
    fn take(&mut self, feed: usize, uuid: Uuid, reason: RemovalReason, now: Instant) {
        if let Some(instance) = self.instances.get_mut(&uuid)
            && instance.is_told_by(feed)
            && is_witnessed(reason)
        {
            instance.gone = Some((reason, now));
            // One that has not told it before it was lost would tell it now.
            if !self.may_be_known(uuid, Some(feed)) {
                self.remove(uuid, reason);
                return;
            }
        }
        self.forget(feed, uuid, Some(reason));
    }

    /// Forgets what a feed knows of an instance. If no other knows it, it is gone for the reason that
    /// one of them has told.
    fn forget(&mut self, feed: usize, uuid: Uuid, reason: Option<RemovalReason>) {
        let Some(instance) = self.instances.get_mut(&uuid) else { return };
        let before = instance.newest().clone();
        self.former -= instance.forget(feed);
        match instance.reported.first() {
            None => {
                let told = instance.gone.map(|it| it.0);
                self.instances.remove(&uuid);
                let reason = reason.filter(|it| is_witnessed(*it)).or(told).or(reason);
                self.untold.push_back(Change::Remove { instance: before.instance(), reason });
            }
            Some(FeedRecord { record: after, .. }) if !is_same(after, &before) => {
                self.untold.push_back(Change::Update { record: after.clone() });
            }
            Some(_) => {}
        }
    }

    /// Removes an instance of which only those lost know nothing else. They do not tell it once more
    /// if they resume, so they begin anew.
    fn remove(&mut self, uuid: Uuid, reason: RemovalReason) {
        let Some(instance) = self.instances.remove(&uuid) else { return };
        for reported in &instance.reported {
            self.former -= usize::from(reported.is_former);
            if self.feeds[reported.feed].failure().is_some() {
                self.feeds[reported.feed].seen = None;
            }
        }
        let instance = instance.newest().instance();
        self.untold.push_back(Change::Remove { instance, reason: Some(reason) });
    }

    /// Tells whether a registrar within reach may have an instance, other than one that has just
    /// removed it.
    fn may_be_known(&self, uuid: Uuid, removed_by: Option<usize>) -> bool {
        let reported = self.instances.get(&uuid).into_iter().flat_map(|it| &it.reported);
        let mut others = reported.filter(|it| Some(it.feed) != removed_by);
        others
            .any(|it| matches!(self.feeds[it.feed].state, FeedState::Current | FeedState::Syncing))
    }

    /// Reports the overall state, if it has changed.
    fn conclude(&mut self) {
        let is = |wanted: fn(&FeedState) -> bool| self.feeds.iter().any(|it| wanted(&it.state));
        let is_pending = is(|it| matches!(it, FeedState::Unknown | FeedState::Syncing));
        let is_current = is(|it| matches!(it, FeedState::Current));
        if is_current && !is_pending {
            let current = self.feeds.iter().filter(|it| matches!(it.state, FeedState::Current));
            let is_settled = current.into_iter().any(|it| it.settles_at.is_none());
            if is_settled {
                self.drop_those_away();
            }
            let is_synced = self.told == Told::Synced;
            if is_synced || is_settled || !self.has_unconfirmed() {
                self.tell_of_the_missed();
                self.told = Told::Synced;
                self.untold.extend((!is_synced).then_some(Change::Synced));
            }
        } else if !is_current && !is_pending && self.told != Told::Stale {
            let failures = self.feeds.iter().filter_map(Feed::failure).cloned().collect::<Vec<_>>();
            // One of those on standby is about to take over.
            if !failures.is_empty() {
                self.missed.clear();
                self.told = Told::Stale;
                self.untold.push_back(Change::Stale { failures: RegistrarFailures(failures) });
            }
        }
    }

    /// Reports the registrars that are out of reach while others are not, if these have changed.
    fn tell_of_the_missed(&mut self) {
        let failures = self.feeds.iter().filter_map(Feed::failure);
        let failures: Vec<_> = failures.filter(|it| self.trust.misses(it)).cloned().collect();
        let missed: Vec<_> = failures.iter().map(|it| it.registrar.clone()).collect();
        if missed != self.missed {
            self.missed = missed;
            self.untold.push_back(Change::Partial { failures: RegistrarFailures(failures) });
        }
    }

    /// Removes instances known only to feeds that have been away for long.
    fn drop_those_away(&mut self) {
        for feed in 0..self.feeds.len() {
            if !matches!(self.feeds[feed].state, FeedState::Away { .. } | FeedState::Standby) {
                continue;
            }
            // Without it, there is no position to resume from.
            self.feeds[feed].seen = None;
            let held = self.instances.iter().filter(|(_, it)| it.is_told_by(feed));
            for uuid in held.map(|(uuid, _)| *uuid).collect::<Vec<_>>() {
                self.forget(feed, uuid, None);
            }
        }
    }

    /// Removes a feed's instances of a former registrar.
    fn drop_former(&mut self, feed: usize) {
        if self.former == 0 || !matches!(self.feeds[feed].state, FeedState::Current) {
            return;
        }
        let is_former = |it: &FeedRecord| it.feed == feed && it.is_former;
        let held = self.instances.iter().filter(|(_, it)| it.reported.iter().any(is_former));
        for uuid in held.map(|(uuid, _)| *uuid).collect::<Vec<_>>() {
            self.forget(feed, uuid, Some(RemovalReason::Missed));
        }
    }

    /// Tells whether there are instances that no registrar within reach knows, or not yet.
    fn has_unconfirmed(&self) -> bool {
        let is_confirmed = |it: &FeedRecord| {
            !it.is_former
                && matches!(self.feeds[it.feed].state, FeedState::Current | FeedState::Syncing)
        };
        !self.instances.values().all(|it| it.reported.iter().any(is_confirmed))
    }
}

impl Feed {
    fn failure(&self) -> Option<&RegistrarFailure> {
        match &self.state {
            FeedState::Lost { failure, .. } | FeedState::Away { failure } => Some(failure),
            _ => None,
        }
    }
}

impl Instance {
    fn newest(&self) -> &Record {
        &self.reported.first().expect("an instance is known by a record").record
    }

    fn is_told_by(&self, feed: usize) -> bool {
        self.reported.iter().any(|it| it.feed == feed)
    }

    /// Forgets a feed's knowledge of it, and returns how much of that came from a former registrar.
    fn forget(&mut self, feed: usize) -> usize {
        let before = self.reported.iter().filter(|it| it.is_former).count();
        self.reported.retain(|it| it.feed != feed);
        before - self.reported.iter().filter(|it| it.is_former).count()
    }
}

/// Tells whether a registrar saw an instance go, rather than that it did not come back.
fn is_witnessed(reason: RemovalReason) -> bool {
    !matches!(reason, RemovalReason::Missed | RemovalReason::Unknown)
}

/// Tells whether two records of an instance say the same, whichever registrar has them.
pub(super) fn is_same(one: &Record, other: &Record) -> bool {
    let Record {
        name, uuid, endpoints, metadata, state, lifetime, suspicion, proves, waiting, ..
    } = one;
    (name, uuid, endpoints, metadata, state, lifetime, suspicion, proves, waiting)
        == (
            &other.name,
            &other.uuid,
            &other.endpoints,
            &other.metadata,
            &other.state,
            &other.lifetime,
            &other.suspicion,
            &other.proves,
            &other.waiting,
        )
}

/// The time for which an absent registrar's instances are kept while others are present: it may be
/// restarting, and its clients with it.
const GRACE: Duration = Duration::from_secs(5);

/// The time in which every registrar has told of what it has heard: it takes milliseconds.
const TELLING_TIME: Duration = Duration::from_secs(1);

/// For how long a removal is remembered: as long as etcd may take to hear of one while it elects.
const ENDED_FOR: Duration = Duration::from_secs(5);

/// The most removals to remember: those of a moment.
const ENDED_MAX: usize = 256;
