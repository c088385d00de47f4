//! A watcher's knowledge, and its news.
//!
//! A registrar that was lost starts again with a snapshot. Only the changes in the meantime are
//! reported.

use std::{collections::BTreeMap, fmt, mem};

use discovery::{Change, RegistrarFailures};
use endpoints::InstanceId;
use serde::Serialize;
use wire::{Record, RemovalReason};

/// A watcher's knowledge.
#[derive(Debug, Default)]
pub(in crate::commands) struct View {
    known: BTreeMap<InstanceId, Record>,
    /// The part of an incomplete snapshot that has arrived.
    snapshot: Option<BTreeMap<InstanceId, Record>>,
    /// Whether a snapshot has been complete once.
    has_synced: bool,
    is_stale: bool,
    /// Whether some registrars are out of reach while others are not.
    is_partial: bool,
}

/// A change to report.
#[derive(Clone, Debug)]
pub(in crate::commands) enum Event {
    /// An instance is there.
    Add(Record),
    /// Something about an instance is different.
    Update(Record),
    /// An instance is gone.
    Remove { record: Record, reason: Reason },
    /// The first snapshot is complete; there may have been no registrar before.
    Synced { was_stale: bool },
    /// No registrar is within reach.
    Lost(RegistrarFailures),
    /// A registrar is within reach again, and its instances have been reported.
    Back,
    /// These registrars are out of reach, and others are not.
    Missed(RegistrarFailures),
    /// All registrars are within reach.
    AllThere,
}

/// Why an instance is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::commands) enum Reason {
    Unregistered,
    SessionEnded,
    LeaseExpired,
    FoundDead,
    ProcessEnded,
    NodeLost,
    Unknown,
    /// The only registrar that had it is out of reach.
    OutOfReach,
    /// It has not been there since the registrar was out of reach.
    Missed,
    /// The registrar was there all the time, and does not list it any more: it has ended, or a rule
    /// hides it now.
    NotListed,
}

impl View {
    /// Tells whether no snapshot has been complete yet.
    pub(in crate::commands) fn is_empty_handed(&self) -> bool {
        !self.has_synced
    }

    /// Tells whether no instance is known.
    pub(in crate::commands) fn has_nothing(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns the instances that are known, in order.
    pub(in crate::commands) fn known(&self) -> &BTreeMap<InstanceId, Record> {
        &self.known
    }

    /// Records a change, and returns what is new about it.
    pub(in crate::commands) fn apply(&mut self, change: Change) -> Vec<Event> {
        match change {
            Change::Reset => {
                self.snapshot = Some(BTreeMap::new());
                Vec::new()
            }
            Change::Add { record } | Change::Update { record } => self.put(record),
            Change::Remove { instance, reason } => self.remove(&instance, reason),
            Change::Synced => self.synced(),
            Change::Stale { failures } => {
                let was_stale = mem::replace(&mut self.is_stale, true);
                if was_stale { Vec::new() } else { vec![Event::Lost(failures)] }
            }
            Change::Partial { failures } => {
                self.is_partial = !failures.0.is_empty();
                vec![if self.is_partial { Event::Missed(failures) } else { Event::AllThere }]
            }
            _ => Vec::new(),
        }
    }

    fn put(&mut self, record: Record) -> Vec<Event> {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.insert(record.instance(), record);
            return Vec::new();
        }
        match self.known.insert(record.instance(), record.clone()) {
            None => vec![Event::Add(record)],
            Some(before) if before == record => Vec::new(),
            Some(_) => vec![Event::Update(record)],
        }
    }

    fn remove(&mut self, instance: &InstanceId, reason: Option<RemovalReason>) -> Vec<Event> {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.remove(instance);
            return Vec::new();
        }
        let removed = self.known.remove(instance);
        removed.map(|record| Event::Remove { record, reason: reason.into() }).into_iter().collect()
    }

    /// Compares a complete snapshot with the earlier knowledge.
    fn synced(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(snapshot) = self.snapshot.take() {
            let before = mem::replace(&mut self.known, snapshot);
            for (instance, record) in &before {
                if !self.known.contains_key(instance) {
                    let record = record.clone();
                    let was_away = self.is_stale || self.is_partial;
                    let reason = if was_away { Reason::Missed } else { Reason::NotListed };
                    events.push(Event::Remove { record, reason });
                }
            }
            for (instance, record) in &self.known {
                match before.get(instance) {
                    None => events.push(Event::Add(record.clone())),
                    Some(before) if before == record => {}
                    Some(_) => events.push(Event::Update(record.clone())),
                }
            }
        }
        let was_stale = mem::replace(&mut self.is_stale, false);
        if !mem::replace(&mut self.has_synced, true) {
            events.push(Event::Synced { was_stale });
        } else if was_stale {
            events.push(Event::Back);
        }
        events
    }
}

impl From<Option<RemovalReason>> for Reason {
    fn from(reason: Option<RemovalReason>) -> Self {
        match reason {
            Some(RemovalReason::Unregistered) => Self::Unregistered,
            Some(RemovalReason::SessionEnded) => Self::SessionEnded,
            Some(RemovalReason::LeaseExpired) => Self::LeaseExpired,
            Some(RemovalReason::FoundDead) => Self::FoundDead,
            Some(RemovalReason::ProcessEnded) => Self::ProcessEnded,
            Some(RemovalReason::NodeLost) => Self::NodeLost,
            Some(RemovalReason::Missed) => Self::Missed,
            Some(RemovalReason::Unknown) => Self::Unknown,
            None => Self::OutOfReach,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unregistered => RemovalReason::Unregistered.fmt(f),
            Self::SessionEnded => RemovalReason::SessionEnded.fmt(f),
            Self::LeaseExpired => RemovalReason::LeaseExpired.fmt(f),
            Self::FoundDead => RemovalReason::FoundDead.fmt(f),
            Self::ProcessEnded => RemovalReason::ProcessEnded.fmt(f),
            Self::NodeLost => RemovalReason::NodeLost.fmt(f),
            Self::Unknown => RemovalReason::Unknown.fmt(f),
            Self::OutOfReach => f.pad("its registrar is out of reach"),
            Self::Missed => RemovalReason::Missed.fmt(f),
            Self::NotListed => f.pad("no longer listed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use discovery::{LinkError, RegistrarFailure};
    use endpoints::Endpoint;

    use super::*;
    use crate::lookup::ranking::sample::record;

    /// Reads a change: `+feed` and `~feed` are records, `-feed` is a removed one, and words in
    /// capitals concern all of them. A digit after a record makes it another.
    fn change(text: &str) -> Change {
        let read = |text: &str| {
            let name = text.trim_end_matches(char::is_numeric);
            let mut record = record(name, 1, &[]);
            record.epoch = text[name.len()..].parse().unwrap_or(0);
            record
        };
        match text.split_at(1) {
            ("+", name) => Change::Add { record: read(name) },
            ("~", name) => Change::Update { record: read(name) },
            ("-", name) => Change::Remove {
                instance: read(name).instance(),
                reason: Some(RemovalReason::Unregistered),
            },
            _ if text == "RESET" => Change::Reset,
            _ if text == "SYNCED" => Change::Synced,
            _ if text == "PARTIAL" => {
                Change::Partial { failures: RegistrarFailures(vec![failure()]) }
            }
            _ if text == "WHOLE" => Change::Partial { failures: RegistrarFailures::default() },
            _ => Change::Stale { failures: RegistrarFailures::default() },
        }
    }

    fn failure() -> RegistrarFailure {
        RegistrarFailure { registrar: Endpoint::Memory(7), error: Arc::new(LinkError::NotYet) }
    }

    fn told(event: &Event) -> String {
        match event {
            Event::Add(record) => format!("+{}", record.name),
            Event::Update(record) => format!("~{}{}", record.name, record.epoch),
            Event::Remove { record, reason } => format!("-{} ({reason})", record.name),
            Event::Synced { was_stale: false } => "synced".to_owned(),
            Event::Synced { was_stale: true } => "there".to_owned(),
            Event::Lost(_) => "lost".to_owned(),
            Event::Back => "back".to_owned(),
            Event::Missed(_) => "missed".to_owned(),
            Event::AllThere => "all-there".to_owned(),
        }
    }

    #[test]
    fn only_what_is_news_is_told() {
        let check = |changes: &str, expected: &str| {
            let mut view = View::default();
            let events = changes.split(' ').flat_map(|it| view.apply(change(it)));
            let events: Vec<_> = events.map(|it| told(&it)).collect();
            assert_eq!(events.join(" "), expected, "{changes}");
        };
        check("RESET SYNCED", "synced");
        check("RESET +feed +risk SYNCED", "+feed +risk synced");
        check(
            "RESET +feed SYNCED +risk ~feed1 -risk",
            "+feed synced +risk ~feed1 -risk (unregistered)",
        );
        check("RESET SYNCED -feed", "synced");
        // One of several is away, from the beginning or later.
        check("RESET +feed PARTIAL SYNCED WHOLE", "missed +feed synced all-there");
        check("RESET +feed SYNCED PARTIAL +risk WHOLE", "+feed synced missed +risk all-there");
        // A repeated snapshot reports the changes since the last.
        check("RESET +a +b SYNCED RESET +a +b SYNCED", "+a +b synced");
        check(
            "RESET +a +b SYNCED RESET +b1 +c SYNCED",
            "+a +b synced -a (no longer listed) ~b1 +c",
        );
        check(
            "RESET +a SYNCED STALE RESET SYNCED",
            "+a synced lost -a (not back since the registrar was away) back",
        );
        check(
            "RESET +a SYNCED PARTIAL RESET SYNCED",
            "+a synced missed -a (not back since the registrar was away)",
        );
        check(
            "RESET +a SYNCED PARTIAL WHOLE RESET SYNCED",
            "+a synced missed all-there -a (no longer listed)",
        );
        check("RESET SYNCED RESET +a -a +b ~b1 SYNCED", "synced +b");
        // The loss of the registrar is reported once, and its return once everything is known
        // again.
        check("RESET +a SYNCED STALE STALE RESET +a SYNCED", "+a synced lost back");
        check("RESET +a SYNCED STALE +b SYNCED", "+a synced lost +b back");
        check("RESET STALE RESET +a SYNCED", "lost +a there");
    }
}
