//! What should be known everywhere, and what was seen instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use discovery::Change;
use tokio::time::Instant;
use uuid::Uuid;

/// When an instance was there, for certain.
#[derive(Clone, Copy, Debug)]
struct Life {
    began: Instant,
    /// When it was about to end.
    ends: Option<Instant>,
    ended: Option<Instant>,
}

/// What has happened.
#[derive(Debug, Default)]
pub(crate) struct Model {
    lives: Mutex<BTreeMap<Uuid, Life>>,
    faults: Mutex<Vec<String>>,
    look_ups: Mutex<u64>,
    /// When etcd was away, so that nothing was shared.
    away: Mutex<Option<(Instant, Instant)>>,
}

impl Model {
    pub(crate) fn began(&self, uuid: Uuid) {
        let life = Life { began: Instant::now(), ends: None, ended: None };
        self.lives.lock().unwrap().insert(uuid, life);
    }

    pub(crate) fn ends(&self, uuid: Uuid) {
        self.change(uuid, |it| it.ends = Some(Instant::now()));
    }

    pub(crate) fn ended(&self, uuid: Uuid) {
        self.change(uuid, |it| it.ended = Some(Instant::now()));
    }

    fn change(&self, uuid: Uuid, change: impl FnOnce(&mut Life)) {
        change(self.lives.lock().unwrap().get_mut(&uuid).unwrap());
    }

    pub(crate) fn looked_up(&self) {
        *self.look_ups.lock().unwrap() += 1;
    }

    pub(crate) fn fault(&self, what: String) {
        eprintln!("FAULT {what}");
        self.faults.lock().unwrap().push(what);
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    pub(crate) fn was_away(&self, since: Instant) {
        *self.away.lock().unwrap() = Some((since, Instant::now()));
    }

    pub(crate) fn summary(&self) -> String {
        let (lives, faults) = (self.lives.lock().unwrap().len(), self.faults.lock().unwrap().len());
        format!("{lives} registered, {} looked up, {faults} faults", self.look_ups.lock().unwrap())
    }

    /// Compares what a node knows with what it should know after so long.
    pub(crate) fn compare(&self, node: &str, known: &BTreeSet<Uuid>, after: Duration) {
        let now = Instant::now();
        let is_past = |it: Instant| now.duration_since(it) > after;
        let lives = self.lives.lock().unwrap().clone();
        for (uuid, life) in lives {
            if is_past(life.began) && life.ends.is_none() && !known.contains(&uuid) {
                self.fault(format!("{node} misses {uuid}, there for {:?}", now - life.began));
            }
            if life.ended.is_some_and(is_past) && known.contains(&uuid) {
                self.fault(format!("{node} still finds {uuid}"));
            }
        }
    }

    /// Compares all that a watcher has seen with what has happened.
    pub(crate) fn judge(&self, watcher: &str, seen: &[(Instant, Change)]) {
        let lives = self.lives.lock().unwrap().clone();
        let mut there = BTreeMap::new();
        let (mut added, mut removed) = (BTreeMap::new(), BTreeMap::new());
        let mut gone = BTreeMap::new();
        let away = *self.away.lock().unwrap();
        for (number, (at, change)) in seen.iter().enumerate() {
            match change {
                Change::Reset if number > 0 => self.fault(format!("{watcher} begins anew")),
                Change::Add { record } => {
                    *added.entry(record.uuid).or_insert(0) += 1;
                    if let Some((gone_at, reason)) = gone.get(&record.uuid) {
                        let (uuid, gap) = (record.uuid, *at - *gone_at);
                        self.fault(format!(
                            "{watcher} sees {uuid} return: {reason:?} {gap:?} before"
                        ));
                    }
                    if there.insert(record.uuid, record.clone()).is_some() {
                        self.fault(format!("{watcher} sees {} added again", record.uuid));
                    }
                }
                Change::Update { record } => match there.insert(record.uuid, record.clone()) {
                    None => self.fault(format!("{watcher} sees {} updated first", record.uuid)),
                    Some(before) if before == *record => {
                        self.fault(format!("{watcher} sees {} repeated", record.uuid));
                    }
                    Some(_) => {}
                },
                Change::Remove { instance, reason } => {
                    gone.insert(instance.uuid, (*at, *reason));
                    *removed.entry(instance.uuid).or_insert(0) += 1;
                    if there.remove(&instance.uuid).is_none() {
                        self.fault(format!("{watcher} sees {} removed again", instance.uuid));
                    }
                }
                _ => {}
            }
        }
        for (uuid, life) in &lives {
            let count = |of: &BTreeMap<Uuid, i32>| of.get(uuid).copied().unwrap_or(0);
            let ends = i32::from(life.ends.is_some());
            let lasted = life.ends.unwrap_or_else(Instant::now) - life.began;
            let is_unshared = |(since, until): (Instant, Instant)| {
                let soon = until + Duration::from_secs(4);
                life.ends.is_some_and(|it| it > since && life.began < until && it < soon)
            };
            let may_be_missed = lasted < Duration::from_secs(4) || away.is_some_and(is_unshared);
            let is_brief = may_be_missed && count(&added) == 0;
            if !is_brief && (count(&added), count(&removed)) != (1, ends) {
                let (added, removed) = (count(&added), count(&removed));
                self.fault(format!("{watcher} saw {uuid} come {added} times, and go {removed}; it lasted {lasted:?} and began {:?} ago", life.began.elapsed()));
            }
        }
    }

    /// Returns what is there.
    pub(crate) fn living(&self) -> Vec<Uuid> {
        let lives = self.lives.lock().unwrap();
        lives.iter().filter(|(_, it)| it.ends.is_none()).map(|(uuid, _)| *uuid).collect()
    }
}
