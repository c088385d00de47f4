//! The rows of a list: what is kept of each record. A list may be long, and its records are not kept.

use std::{
    array,
    collections::BTreeSet,
    fmt::{Display, Write as _},
    mem,
    sync::{Mutex, PoisonError},
};

use endpoints::{Here, Name, Plain, Ranked, Stamped};
use unicode_width::UnicodeWidthStr as _;
use wire::{Lifetime, Owner, Record, State};

use super::selection::{Filter, SortKey, SortValue, owner_of};
use crate::lookup::ranking::{Seen, age_in_words, in_short, remark_on, short_uuid, state_in_words};

/// What is shown of each record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum View {
    /// Its nearest endpoint, on a line.
    Nearest,
    /// All of its endpoints, a line each.
    Endpoints,
    /// All of it, for programs.
    Json,
}

/// What is kept of a record that is shown.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) sort: SortValue,
    pub(super) owner: Option<Owner>,
    pub(super) is_declared: bool,
    pub(super) shown: Shown,
}

/// A record as it is shown.
#[derive(Debug)]
pub(super) enum Shown {
    Lines { first: Cells, others: Box<[Cells]> },
    Json(Box<str>),
}

/// What is kept of a record, whether it is shown or not.
#[derive(Debug)]
pub(super) enum Kept {
    Row(Row),
    /// It is starting, so whether it listens yet is asked of the kernel, of all together.
    Starting(Box<Record>, u64),
    LeftOut(Why),
}

/// Why a record is not shown. The first that holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    Draining,
    /// Another node of the cluster keeps it.
    Elsewhere,
    Filtered,
}

/// Makes rows of records.
pub(super) struct Sieve {
    pub(super) view: View,
    pub(super) sort: SortKey,
    pub(super) shows_draining: bool,
    /// The node of the cluster that is asked for, and the registrar's own.
    pub(super) node: Option<(String, Option<Name>)>,
    pub(super) filters: Vec<Filter>,
    here: Here,
    /// The keys of the metadata of what is on that node, if a filter is about such.
    metadata: Mutex<BTreeSet<String>>,
}

impl Sieve {
    pub(super) fn new(view: View, sort: SortKey, filters: Vec<Filter>) -> Self {
        let shows_draining = filters.iter().any(Filter::asks_for_draining);
        let (here, metadata) = (transport::here(), Mutex::default());
        Self { view, sort, shows_draining, node: None, filters, here, metadata }
    }

    /// Makes a row of a record, if that can be done and it is shown.
    pub(super) fn take(&self, record: Record, now_ms: u64) -> Kept {
        if record.state == State::Draining && !self.shows_draining {
            return Kept::LeftOut(Why::Draining);
        }
        if let Some((node, own)) = &self.node
            && record.node.as_ref().or(own.as_ref()).map(Name::as_str) != Some(node)
        {
            return Kept::LeftOut(Why::Elsewhere);
        }
        if self.filters.iter().any(Filter::is_of_metadata) {
            let mut known = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
            for key in record.metadata.keys() {
                if !known.contains(key) {
                    known.insert(key.clone());
                }
            }
        }
        if record.state == State::Starting {
            return Kept::Starting(Box::new(record), now_ms);
        }
        self.row(&Seen::new(&record, &self.here, &transport::look), now_ms)
    }

    /// Makes the other rows, of those that are starting.
    pub(super) fn take_starting(&self, all: &mut [Kept]) {
        let (mut places, mut records) = (Vec::new(), Vec::new());
        for (at, kept) in all.iter_mut().enumerate() {
            if let Kept::Starting(..) = kept
                && let Kept::Starting(record, now_ms) =
                    mem::replace(kept, Kept::LeftOut(Why::Filtered))
            {
                places.push((at, now_ms));
                records.push(*record);
            }
        }
        for (seen, (at, now_ms)) in Seen::all_from_here(&records).iter().zip(places) {
            all[at] = self.row(seen, now_ms);
        }
    }

    /// Says which key of a filter no record has, if there is such a filter.
    pub(super) fn unknown_key(&self) -> Option<String> {
        let known = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        self.filters.iter().find_map(|it| it.unknown_key(&known))
    }

    /// Makes a row, if it passes the filters.
    pub(super) fn row(&self, seen: &Seen<'_>, now_ms: u64) -> Kept {
        if !self.filters.iter().all(|it| it.takes(seen)) {
            return Kept::LeftOut(Why::Filtered);
        }
        let shown = match self.view {
            View::Nearest => Shown::Lines { first: nearest(seen, now_ms), others: Box::default() },
            View::Endpoints => {
                let mut lines = every_endpoint(seen, now_ms);
                let first = lines.remove(0);
                Shown::Lines { first, others: lines.into() }
            }
            View::Json => {
                let json = serde_json::to_string(&seen.to_json(Some(now_ms)));
                Shown::Json(json.expect("its keys are texts").into())
            }
        };
        let (record, sort) = (seen.record, self.sort.value_of(seen));
        let is_declared = record.lifetime == Lifetime::Declared;
        let owner = record.owner.clone();
        Kept::Row(Row { sort, owner, is_declared, shown })
    }
}

/// Writes a record's line, with its nearest endpoint or the reason why there is none.
fn nearest(seen: &Seen<'_>, now_ms: u64) -> Cells {
    let Some((endpoint, locality)) = seen.nearest() else {
        return line(seen, now_ms, format_args!("{NONE}{}", seen.why_none()), NO_LOCALITY);
    };
    let locality = format_args!("{locality}{}", remark_on(seen.candidates[0].stamped, seen.record));
    match seen.candidates.len() {
        1 => line(seen, now_ms, endpoint, locality),
        count => line(seen, now_ms, format_args!("{endpoint} +{}", count - 1), locality),
    }
}

/// Writes a line for each endpoint, or one if there is none.
fn every_endpoint(seen: &Seen<'_>, now_ms: u64) -> Vec<Cells> {
    if seen.candidates.is_empty() {
        return vec![line(seen, now_ms, "none", NO_LOCALITY)];
    }
    let line =
        |it: &Ranked<&Stamped>| line(seen, now_ms, &it.stamped.endpoint, verdict_on(it, seen));
    seen.candidates.iter().map(line).collect()
}

/// Says how near an endpoint is, or why it is left out.
fn verdict_on(Ranked { stamped, verdict }: &Ranked<&Stamped>, seen: &Seen<'_>) -> String {
    let verdict = match verdict {
        Ok(locality) => locality.as_str(),
        Err(reason) => in_short(reason),
    };
    format!("{verdict}{}", remark_on(stamped, seen.record))
}

fn line(seen: &Seen<'_>, now_ms: u64, endpoint: impl Display, locality: impl Display) -> Cells {
    let Record { name, uuid, lifetime, node, .. } = seen.record;
    let mut line = Line { text: String::with_capacity(LINE_BYTES), ..Line::default() };
    line.push(NAME, name);
    line.push(INSTANCE, short_uuid(uuid));
    line.push(STATE, state_in_words(seen.record));
    line.push(ENDPOINT, endpoint);
    line.push(LOCALITY, locality);
    match node {
        Some(node) => line.push(LIFETIME, format_args!("{lifetime} at {node}")),
        None => line.push(LIFETIME, lifetime),
    }
    line.push(AGE, age_in_words(seen.record, now_ms).as_deref().unwrap_or("-"));
    line.push(USER, owner_of(seen.record));
    line.done()
}

/// The cells of a line, in one piece of memory. They are plain.
#[derive(Debug)]
pub(super) struct Cells {
    text: Box<str>,
    ends: [u32; COLUMNS],
}

impl Cells {
    /// Puts texts into columns.
    pub(super) fn of(texts: [&str; COLUMNS]) -> Self {
        let mut line = Line::default();
        for (column, text) in texts.iter().enumerate() {
            line.push(column, text);
        }
        line.done()
    }

    /// Returns the text of a column.
    pub(super) fn get(&self, column: usize) -> &str {
        &self.text[self.start(column)..self.ends[column] as usize]
    }

    /// Returns how many columns of a screen each text takes.
    pub(super) fn widths(&self) -> [usize; COLUMNS] {
        // Nearly all are ASCII, and a list may have a hundred thousand lines.
        let is_ascii = self.text.is_ascii();
        let width = |column| {
            let bytes = self.ends[column] as usize - self.start(column);
            if is_ascii { bytes } else { self.get(column).width() }
        };
        array::from_fn(width)
    }

    fn start(&self, column: usize) -> usize {
        column.checked_sub(1).map_or(0, |it| self.ends[it] as usize)
    }
}

/// The cells of a line that is written.
#[derive(Default)]
struct Line {
    text: String,
    ends: [u32; COLUMNS],
}

impl Line {
    /// Writes the next column.
    fn push(&mut self, column: usize, text: impl Display) {
        let start = self.text.len();
        _ = write!(self.text, "{text}");
        let is_plain = |it: u8| it == b' ' || it.is_ascii_graphic();
        if !self.text.bytes().skip(start).all(is_plain) {
            let plain = Plain(&self.text[start..]).to_string();
            self.text.replace_range(start.., &plain);
        }
        self.ends[column] = u32::try_from(self.text.len()).expect("names and places are short");
    }

    fn done(self) -> Cells {
        Cells { text: self.text.into(), ends: self.ends }
    }
}

/// What most lines take at the most: growing to that by doubling takes longer than writing it.
const LINE_BYTES: usize = 128;

pub(super) const NAME: usize = 0;
pub(super) const INSTANCE: usize = 1;
pub(super) const STATE: usize = 2;
pub(super) const ENDPOINT: usize = 3;
pub(super) const LOCALITY: usize = 4;
pub(super) const LIFETIME: usize = 5;
pub(super) const AGE: usize = 6;
pub(super) const USER: usize = 7;
pub(super) const COLUMNS: usize = 8;

/// The prefix of the reason why an instance has no endpoint within reach.
pub(super) const NONE: &str = "none: ";

/// The locality of an instance without endpoints.
pub(super) const NO_LOCALITY: &str = "-";
