//! Rows as text: columns under each other, as `ps` has them, within the width of a screen.

use std::{borrow::Cow, iter, mem};

use rustix::process::geteuid;
use unicode_width::UnicodeWidthStr;

use super::row::{
    AGE, COLUMNS, Cells, ENDPOINT, INSTANCE, LIFETIME, LOCALITY, NAME, NO_LOCALITY, NONE, Row,
    STATE, Shown, USER,
};
use crate::{
    lookup::ranking::WAITING,
    output::{fitted, shortened},
};

/// Lines below a header, with columns under each other.
#[derive(Debug)]
pub(super) struct Sheet<'a> {
    header: Cells,
    rows: &'a [Row],
    /// The columns that are shown, in order.
    shown: Vec<usize>,
    /// The columns of the screen that each column's texts need as they are drawn.
    widths: [usize; COLUMNS],
    /// The most that they may take.
    rooms: [usize; COLUMNS],
    /// Of a state of several words, only the last is shown.
    has_short_states: bool,
}

impl<'a> Sheet<'a> {
    /// Draws a line for each instance. Within a width, the age is left out first, then long names
    /// give way, then other columns that tell little are left out, then endpoints are shortened,
    /// then more columns are left out, and last all names are shortened.
    pub(super) fn of_nearest(rows: &'a [Row], width: Option<u16>) -> Self {
        let mut shown: Vec<usize> = (0..COLUMNS).collect();
        if !have_several_owners(rows) {
            shown.retain(|it| *it != USER);
        }
        let mut sheet = Self::new("NEAREST", rows, shown);
        if let Some(width) = width {
            sheet.fit(usize::from(width));
        }
        sheet
    }

    /// Draws a line for each endpoint; `None` if that is too wide.
    pub(super) fn of_endpoints(rows: &'a [Row], width: Option<u16>) -> Option<Self> {
        let mut shown = vec![NAME, INSTANCE, STATE, LIFETIME, AGE, USER, LOCALITY, ENDPOINT];
        if !are_of_others(rows) {
            shown.retain(|it| *it != USER);
        }
        let sheet = Self::new("ENDPOINT", rows, shown);
        let needed = sheet.width_without(ENDPOINT) + sheet.widths[ENDPOINT];
        width.is_none_or(|it| needed <= usize::from(it)).then_some(sheet)
    }

    fn new(endpoint: &str, rows: &'a [Row], shown: Vec<usize>) -> Self {
        let header = ["NAME", "INSTANCE", "STATE", endpoint, "LOCALITY", "LIFETIME", "AGE", "USER"];
        let (header, rooms) = (Cells::of(header), [usize::MAX; COLUMNS]);
        let mut sheet =
            Self { header, rows, shown, widths: [0; COLUMNS], rooms, has_short_states: false };
        let mut widths = [0; COLUMNS];
        for cells in sheet.lines() {
            for (widest, width) in widths.iter_mut().zip(cells.widths()) {
                *widest = width.max(*widest);
            }
        }
        sheet.widths = widths;
        sheet
    }

    /// Returns the lines, in pieces of some length.
    pub(super) fn pieces(&self) -> impl Iterator<Item = String> {
        let mut lines = self.lines();
        pieces(move |piece| {
            self.draw(lines.next()?, piece);
            Some(())
        })
    }

    fn lines(&self) -> impl Iterator<Item = &Cells> {
        iter::once(&self.header).chain(self.rows.iter().flat_map(|it| it.lines()))
    }

    fn draw(&self, cells: &Cells, text: &mut String) {
        let (widths, mut gap) = (cells.widths(), 0);
        for column in &self.shown {
            let (whole, width) = (cells.get(*column), widths[*column]);
            let is_whole = width <= self.rooms[*column] && !self.is_short(*column);
            let (cell, width) = if is_whole {
                (whole.into(), width)
            } else {
                let cell = self.cell(cells, *column);
                let width = columns(&cell);
                (cell, width)
            };
            // Nothing stands behind the last one that is not empty.
            if !cell.is_empty() {
                text.extend(iter::repeat_n(' ', gap));
                text.push_str(&cell);
                gap = 0;
            }
            gap += self.widths[*column].saturating_sub(width) + GAP;
        }
        text.push('\n');
    }

    /// Tells whether only a part of a column's texts is shown.
    fn is_short(&self, column: usize) -> bool {
        column == STATE && self.has_short_states
    }

    /// Returns a cell as it is drawn.
    fn cell<'c>(&self, cells: &'c Cells, column: usize) -> Cow<'c, str> {
        let mut text = cells.get(column);
        if self.is_short(column) {
            // In `ready, suspect` the last word matters more.
            let mut words = text.rsplit(", ").filter(|it| !it.ends_with(WAITING));
            text = words.next().unwrap_or_default();
        }
        let room = self.rooms[column];
        if columns(text) <= room {
            return text.into();
        }
        // A shortened reason would be incomprehensible.
        shortened(if text.starts_with(NONE) { "none" } else { text }, room).into()
    }

    fn measure(&mut self, column: usize) {
        let width = |it: &Cells| columns(&self.cell(it, column));
        self.widths[column] = self.lines().map(width).max().unwrap_or_default();
    }

    /// Gives a column some room.
    fn give(&mut self, column: usize, room: usize) {
        self.rooms[column] = room;
        self.measure(column);
    }

    /// Returns the width of the columns that are shown besides one.
    fn width_without(&self, column: usize) -> usize {
        let others = self.shown.iter().filter(|it| **it != column);
        others.map(|it| self.widths[*it] + GAP).sum()
    }

    /// Makes the lines fit a width, if that can be.
    fn fit(&mut self, width: usize) {
        let room_for = |it: &Self, column: usize| width.saturating_sub(it.width_without(column));
        let widest = self.widths[ENDPOINT];
        let least = widest.min(ENDPOINT_MIN);
        for (columns, needed) in
            [(LEAST_TELLING, widest), (LESS_TELLING, widest), (DISPENSABLE, least)]
        {
            if columns == LESS_TELLING {
                // One long name costs no other row its address.
                let missing = (self.width_without(ENDPOINT) + widest).saturating_sub(width);
                let room = self.widths[NAME].saturating_sub(missing).max(NAME_USUAL);
                if room < self.widths[NAME] {
                    self.give(NAME, room);
                }
            }
            for column in columns {
                if room_for(self, ENDPOINT) < needed {
                    self.shown.retain(|it| it != column);
                }
            }
        }
        // What the columns that are left out did not need, the names have back.
        let left = room_for(self, ENDPOINT).saturating_sub(widest);
        if self.rooms[NAME] < usize::MAX && left > 0 {
            self.give(NAME, self.rooms[NAME] + left);
        }
        if room_for(self, ENDPOINT) < least {
            self.has_short_states = true;
            self.measure(STATE);
        }
        for (column, least) in
            [(ENDPOINT, ENDPOINT_MIN), (NAME, NAME_MIN), (STATE, STATE_MIN), (ENDPOINT, 1)]
        {
            self.rooms[column] = room_for(self, column).max(least).min(self.rooms[column]);
            if self.widths[column] > self.rooms[column] {
                self.measure(column);
            }
        }
    }
}

impl Row {
    fn lines(&self) -> impl Iterator<Item = &Cells> {
        let (first, others) = match &self.shown {
            Shown::Lines { first, others } => (Some(first), &others[..]),
            Shown::Json(_) => (None, &[][..]),
        };
        first.into_iter().chain(others)
    }
}

/// Draws an instance on a line and its endpoints below it, where a table would be too wide. Returns
/// the lines in pieces of some length.
pub(super) fn below_each_other(rows: &[Row], width: Option<u16>) -> impl Iterator<Item = String> {
    let names_owners = are_of_others(rows);
    let mut rows = rows.iter();
    pieces(move |piece| {
        let row = rows.next()?;
        for (at, cells) in row.lines().enumerate() {
            if at == 0 {
                let shown = [NAME, INSTANCE, STATE, LIFETIME, AGE].map(|it| cells.get(it));
                let owner = names_owners.then(|| cells.get(USER));
                let line = shown.into_iter().chain(owner).collect::<Vec<_>>().join("  ");
                *piece += &(fitted(&line, width, 0, 2) + "\n");
            }
            let (locality, endpoint) = (cells.get(LOCALITY), cells.get(ENDPOINT));
            let line = match locality {
                NO_LOCALITY => format!("  {endpoint}"),
                _ => format!("  {locality:<14}  {endpoint}"),
            };
            *piece += &(fitted(&line, width, 0, 4) + "\n");
        }
        Some(())
    })
}

/// Writes the rows for programs, as one array on a line. Returns them in pieces of some length.
pub(super) fn as_array(rows: &[Row]) -> impl Iterator<Item = String> {
    let mut rows = rows.iter();
    let (mut is_first, mut is_open) = (true, true);
    pieces(move |piece| {
        let separator = if mem::take(&mut is_first) { "[" } else { "," };
        match rows.next() {
            Some(row) => {
                piece.push_str(separator);
                if let Shown::Json(json) = &row.shown {
                    piece.push_str(json);
                }
            }
            None if mem::take(&mut is_open) => {
                piece.push_str(if separator == "[" { "[]\n" } else { "]\n" });
            }
            None => return None,
        }
        Some(())
    })
}

/// Gathers what is written bit by bit into pieces, until there is no more.
fn pieces(mut write: impl FnMut(&mut String) -> Option<()>) -> impl Iterator<Item = String> {
    iter::from_fn(move || {
        let mut piece = String::new();
        while piece.len() < PIECE_BYTES && write(&mut piece).is_some() {}
        (!piece.is_empty()).then_some(piece)
    })
}

/// Tells whether several owners have registered actors. Nobody has registered the declared ones.
fn have_several_owners(rows: &[Row]) -> bool {
    let registered = rows.iter().filter(|it| !it.is_declared);
    let mut owners = registered.map(|it| &it.owner);
    let first = owners.next();
    owners.any(|owner| Some(owner) != first)
}

/// Tells whether any belong to another user: if all are the user's own, the owner need not be
/// shown.
fn are_of_others(rows: &[Row]) -> bool {
    let own = wire::Owner::User(geteuid().as_raw());
    let is_other = |it: &Row| it.owner.as_ref().is_some_and(|it| *it != own);
    have_several_owners(rows) || rows.iter().any(is_other)
}

/// Returns the columns of a screen that a text takes.
fn columns(text: &str) -> usize {
    // Cells have no control characters.
    if text.is_ascii() { text.len() } else { text.width() }
}

/// The blanks between two columns.
const GAP: usize = 2;

/// How much is printed at once: few calls of the kernel, and no memory to speak of.
const PIECE_BYTES: usize = 64 * 1024;

/// The column that is dropped before a name is shortened.
const LEAST_TELLING: &[usize] = &[AGE];

/// The columns that are dropped, in this order, before an endpoint is shortened: INSTANCE
/// distinguishes several instances of a name, which `find --all` does too.
const LESS_TELLING: &[usize] = &[INSTANCE, USER];

/// The columns that are dropped, in this order, before an endpoint is shortened to next to nothing.
const DISPENSABLE: &[usize] = &[LIFETIME, LOCALITY];

/// What a longer name is shortened to before columns are dropped for it. Most are shorter; with the
/// usual columns and a port of the loopback, that fits 80.
const NAME_USUAL: usize = 16;

/// The least width of a name: enough to distinguish most.
const NAME_MIN: usize = 8;

/// The least width of a state: the shortest one in full.
const STATE_MIN: usize = 5;

/// The least width of an endpoint: enough to show its kind and its end.
const ENDPOINT_MIN: usize = 16;
