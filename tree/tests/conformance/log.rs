//! The log of this process, kept for cases that check it.

use std::{
    fmt::{Debug, Write},
    sync::{Mutex, MutexGuard},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Keeps the log from now on, from level `info` up.
pub(crate) fn keep() {
    tracing::subscriber::set_global_default(Keeper).expect("nobody else has set one");
}

/// Takes the events with a target: a text for each, with its level and its fields.
pub(crate) fn take(target: &str) -> Vec<String> {
    let (taken, rest) = entries().drain(..).partition(|it| it.target == target);
    *entries() = rest;
    taken.into_iter().map(|it: Entry| it.text).collect()
}

struct Entry {
    target: &'static str,
    text: String,
}

static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

fn entries() -> MutexGuard<'static, Vec<Entry>> {
    ENTRIES.lock().expect("nothing panics while it holds the lock")
}

struct Keeper;

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("callsign")
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        entries().push(Entry { target: event.metadata().target(), text: text.0 });
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The fields of an event, each as ` name=value`.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").expect("a string takes all that is written");
    }
}
