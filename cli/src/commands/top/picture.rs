//! The picture of the screen, of whatever size.

use endpoints::Plain;
use ratatui_core::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};
use unicode_width::UnicodeWidthStr;
use wire::{
    Record, State,
    supervised::{KIND_KEY, PID_KEY},
};

use super::board::{Board, Page, Row, Standing};
use crate::{
    commands::ls::selection::{SortKey, owner_of},
    lookup::ranking::{age_in_words, short_uuid, state_in_words},
    output::{fitted_lines, record::portrait, shortened},
};

/// Draws the board.
pub(super) fn draw(board: &mut Board, now_ms: u64, has_colors: bool, area: Rect, to: &mut Buffer) {
    let mut pen = Pen { to, area, has_colors };
    let height = usize::from(area.height);
    let has_head = height >= 2;
    let has_keys = height >= 5;
    let has_news = height >= 8 && board.page != Page::Help;
    let body = usize::from(has_head)..height - usize::from(has_keys) - usize::from(has_news);
    if has_head {
        let (text, style) = head(board, &pen);
        pen.line(0, &text, style);
    }
    match board.page {
        Page::Help => {
            board.room = body.len();
            for (at, line) in HELP.iter().take(body.len()).enumerate() {
                pen.line(body.start + at, line, Style::new());
            }
        }
        Page::Details => details(board, now_ms, &mut pen, body),
        Page::List | Page::Filter => list(board, now_ms, &mut pen, body),
    }
    if has_news {
        let news = Plain(&board.news).to_string();
        pen.line(height - 2, &news, Style::new().add_modifier(Modifier::DIM));
    }
    if has_keys {
        let keys = match board.page {
            Page::Filter => format!("filter: {}█  (Enter keeps, Esc clears)", board.filter),
            Page::Details => "Esc list  ↑↓ scroll  q quit".to_owned(),
            Page::Help => "any key: back  q quit".to_owned(),
            Page::List => {
                "q quit  / filter  s sort  r reverse  t tree  Enter details  ? help".to_owned()
            }
        };
        pen.line(height - 1, &keys, Style::new().add_modifier(Modifier::BOLD));
    }
}

/// Writes the first line: how many there are, or what is wrong.
fn head(board: &mut Board, pen: &Pen<'_>) -> (String, Style) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let reason = |failures: &discovery::RegistrarFailures| {
        let text = failures.to_string();
        let first = text.lines().next().unwrap_or_default().trim();
        if first.is_empty() { String::new() } else { format!(": {}", Plain(first)) }
    };
    match board.standing() {
        Standing::Connecting => return ("connecting to the registrar …".to_owned(), bold),
        Standing::Lost(_) if board.is_young => {
            let text = "the registrar has just started, and others may come back";
            return (text.to_owned(), pen.colored(bold, Color::Yellow));
        }
        Standing::Lost(failures) if board.count() == 0 => {
            let text = format!("no registrar answers{}", reason(failures));
            return (text, pen.colored(bold, Color::Red));
        }
        Standing::Lost(failures) => {
            let text = format!("NO REGISTRAR ANSWERS, as it was{}", reason(failures));
            return (text, pen.colored(bold, Color::Red));
        }
        Standing::Partial(failures) => {
            let text = format!("a registrar does not answer{}", reason(failures));
            return (text, pen.colored(bold, Color::Yellow));
        }
        Standing::Current => {}
    }
    let (mut suspect, mut starting, mut draining) = (0, 0, 0);
    for record in board.records() {
        suspect += usize::from(record.suspicion.is_some());
        starting += usize::from(record.state == State::Starting);
        draining += usize::from(record.state == State::Draining);
    }
    let count = board.count();
    let shown = board.rows().len();
    let mut text = match count {
        1 => "1 instance".to_owned(),
        count => format!("{count} instances"),
    };
    if shown != count {
        text = format!("{shown} of {text}");
    }
    for (count, what) in [(suspect, "suspect"), (starting, "starting"), (draining, "draining")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    if board.is_tree {
        text += "; trees";
    } else {
        let reversed = if board.is_reversed { ", reversed" } else { "" };
        text += &format!("; by {}{reversed}", named(board.sort));
    }
    if !board.filter.is_empty() {
        text += &format!("; filter: {}", board.filter);
    }
    (text, bold)
}

fn list(board: &mut Board, now_ms: u64, pen: &mut Pen<'_>, body: std::ops::Range<usize>) {
    let has_header = body.len() >= 3;
    let top = body.start + usize::from(has_header);
    board.room = body.end.saturating_sub(top).max(1);
    let count = board.rows().len();
    let at = board.chosen().map_or(0, |(at, _)| at);
    let last_first = count.saturating_sub(board.room);
    let first = board.first.clamp((at + 1).saturating_sub(board.room), at).min(last_first);
    board.first = first;
    let is_tree = board.is_tree;
    let shown: Vec<_> = board.rows()[first..].iter().take(body.end.saturating_sub(top)).collect();
    let name_width = |row: &&Row| row.branch.width() + row.instance.name.as_str().width();
    let longest = shown.iter().map(name_width).max().unwrap_or(0);
    let width = usize::from(pen.area.width).saturating_sub(MARK_COLUMNS);
    let mut columns = columns(width, is_tree, longest);
    let mut lines = Vec::new();
    // The rows borrow the board, which is asked about their records.
    let shown: Vec<_> = shown.iter().map(|it| (it.instance.clone(), it.branch.clone())).collect();
    widen_state(&mut columns, |column| {
        let cells = shown.iter().filter_map(|(instance, branch)| {
            Some(cell(column, board.record(instance)?, branch, board, now_ms).width())
        });
        cells.max().unwrap_or(0)
    });
    for (at, (instance, branch)) in (first..).zip(&shown) {
        let is_chosen = board.chosen().is_some_and(|(chosen, _)| chosen == at);
        let Some(record) = board.record(instance) else { continue };
        let cells = columns
            .iter()
            .map(|(column, width)| (cell(*column, record, branch, board, now_ms), *width));
        let mark = if is_chosen { "> " } else { "  " };
        let mut style = pen.of_record(record);
        if is_chosen {
            style = style.add_modifier(Modifier::REVERSED);
        }
        lines.push((joined(mark, cells), style));
    }
    if has_header {
        let header = columns.iter().map(|(column, width)| (column.title().to_owned(), *width));
        let style = Style::new().add_modifier(Modifier::UNDERLINED);
        pen.line(body.start, &joined("  ", header), style);
    }
    let is_empty = lines.is_empty();
    for (at, (line, style)) in lines.into_iter().enumerate() {
        pen.line(top + at, &line, style);
    }
    if is_empty && top < body.end && !board.is_empty_handed() {
        let nothing = match () {
            () if board.count() == 0 => "nothing is registered",
            () if !board.filter.is_empty() => "nothing passes the filter",
            () => "no tree of actors is registered; t shows the list",
        };
        pen.line(top, &format!("  {nothing}"), Style::new());
    }
}

fn details(board: &mut Board, now_ms: u64, pen: &mut Pen<'_>, body: std::ops::Range<usize>) {
    board.room = body.len().max(1);
    let Some((_, instance)) = board.chosen() else { return };
    let width = Some(pen.area.width.max(1));
    let text = match board.record(instance) {
        None => format!("{instance}\nis gone\n"),
        Some(record) => match board.seen(record) {
            Some(seen) => portrait(&seen, now_ms, width),
            None => format!("{instance}\nis looked at …\n"),
        },
    };
    let lines: Vec<_> = fitted_lines(&text, width).lines().map(str::to_owned).collect();
    board.scrolled = board.scrolled.min(lines.len().saturating_sub(board.room));
    let shown = lines.iter().skip(board.scrolled).take(body.len());
    for (at, line) in shown.enumerate() {
        pen.line(body.start + at, line, Style::new());
    }
}

/// The place to draw to.
struct Pen<'a> {
    to: &'a mut Buffer,
    area: Rect,
    has_colors: bool,
}

impl Pen<'_> {
    /// Writes a line over the whole width; what does not fit is left out.
    fn line(&mut self, at: usize, text: &str, style: Style) {
        let Ok(row) = u16::try_from(at) else { return };
        if row >= self.area.height || self.area.width == 0 {
            return;
        }
        let (x, y) = (self.area.x, self.area.y + row);
        self.to.set_stringn(x, y, text, usize::from(self.area.width), style);
        self.to.set_style(Rect::new(x, y, self.area.width, 1), style);
    }

    fn colored(&self, style: Style, color: Color) -> Style {
        if self.has_colors { style.fg(color) } else { style }
    }

    fn of_record(&self, record: &Record) -> Style {
        match record.state {
            _ if record.suspicion.is_some() => self.colored(Style::new(), Color::Yellow),
            State::Ready => Style::new(),
            State::Starting => self.colored(Style::new(), Color::Cyan),
            _ => Style::new().add_modifier(Modifier::DIM),
        }
    }
}

/// A column of the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Column {
    Name,
    Instance,
    Kind,
    Pid,
    State,
    Nearest,
    Locality,
    Lifetime,
    Age,
    User,
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Instance => "INSTANCE",
            Self::Kind => "KIND",
            Self::Pid => "PID",
            Self::State => "STATE",
            Self::Nearest => "NEAREST",
            Self::Locality => "LOCALITY",
            Self::Lifetime => "LIFETIME",
            Self::Age => "AGE",
            Self::User => "USER",
        }
    }

    /// Returns its width, if that does not depend on its contents.
    fn width(self) -> Option<usize> {
        match self {
            Self::Name | Self::Nearest => None,
            Self::Instance | Self::Lifetime => Some(8),
            Self::Kind | Self::User => Some(10),
            Self::Pid => Some(7),
            Self::State => Some(14),
            Self::Locality => Some(11),
            Self::Age => Some(4),
        }
    }
}

/// Chooses the columns that fit a width, each with its own.
fn columns(width: usize, is_tree: bool, longest_name: usize) -> Vec<(Column, usize)> {
    let mut shown = if is_tree { OF_TREES.to_vec() } else { OF_LIST.to_vec() };
    let name = longest_name.clamp(NAME_MIN, NAME_MAX);
    let others = |shown: &[Column]| {
        shown.iter().filter_map(|it| it.width()).sum::<usize>() + 2 * (shown.len() - 1)
    };
    for dispensable in DISPENSABLE {
        let nearest = if shown.contains(&Column::Nearest) { NEAREST_GOOD } else { 0 };
        if others(&shown) + name + nearest > width {
            shown.retain(|it| it != dispensable);
        }
    }
    let room = width.saturating_sub(others(&shown));
    let has_nearest = shown.contains(&Column::Nearest);
    let name =
        if has_nearest { longest_name.max(4).min(room.saturating_sub(NEAREST_MIN)) } else { room };
    let width = |it: Column| match it {
        Column::Name => name,
        Column::Nearest => room - name,
        it => it.width().unwrap_or(0),
    };
    shown.iter().map(|it| (*it, width(*it))).collect()
}

/// Gives the states what the column that fills the width has to spare. `longest` returns the width of
/// a column's longest cell.
fn widen_state(columns: &mut [(Column, usize)], longest: impl Fn(Column) -> usize) {
    let at = |column| columns.iter().position(|(it, _)| *it == column);
    let filling = at(Column::Nearest).or_else(|| at(Column::Name));
    let (Some(state), Some(filling)) = (at(Column::State), filling) else { return };
    let needed = longest(columns[filling].0).max(NEAREST_MIN);
    let spare = columns[filling].1.saturating_sub(needed);
    let taken = longest(Column::State).saturating_sub(columns[state].1).min(spare);
    columns[state].1 += taken;
    columns[filling].1 -= taken;
}

fn cell(column: Column, record: &Record, branch: &str, board: &Board, now_ms: u64) -> String {
    let metadata = |key| record.metadata.get(key).map_or("-", String::as_str).to_owned();
    let text = match column {
        Column::Name => return format!("{branch}{}", Plain(record.name.as_str())),
        Column::Instance => short_uuid(&record.uuid),
        Column::Kind => metadata(KIND_KEY),
        Column::Pid => metadata(PID_KEY),
        Column::State => state_in_words(record),
        Column::Nearest => match board.seen(record) {
            None => "…".to_owned(),
            Some(seen) => match (seen.nearest(), seen.candidates.len()) {
                (None, _) => format!("none: {}", seen.why_none()),
                (Some((endpoint, _)), 1) => endpoint.to_string(),
                (Some((endpoint, _)), count) => format!("{endpoint} +{}", count - 1),
            },
        },
        Column::Locality => {
            let seen = board.seen(record);
            let nearest = seen.as_ref().and_then(|it| it.nearest());
            nearest.map_or("-", |(_, locality)| locality.as_str()).to_owned()
        }
        Column::Lifetime => record.lifetime.to_string(),
        Column::Age => age_in_words(record, now_ms).unwrap_or_else(|| "-".to_owned()),
        Column::User => owner_of(record),
    };
    Plain(&text).to_string()
}

/// Writes cells beside each other, each within its width.
fn joined(mark: &str, cells: impl Iterator<Item = (String, usize)>) -> String {
    let mut line = mark.to_owned();
    for (at, (text, width)) in cells.enumerate() {
        let text = shortened(&text, width);
        let gap = if at == 0 { "" } else { "  " };
        let padding = width.saturating_sub(text.width());
        line += &format!("{gap}{text}{:padding$}", "");
    }
    line
}

fn named(sort: SortKey) -> &'static str {
    match sort {
        SortKey::Name => "name",
        SortKey::Age => "age",
        SortKey::State => "state",
        SortKey::Locality => "locality",
        SortKey::Lifetime => "lifetime",
        SortKey::User => "user",
    }
}

const OF_LIST: &[Column] = &[
    Column::Name,
    Column::Instance,
    Column::State,
    Column::Nearest,
    Column::Locality,
    Column::Lifetime,
    Column::Age,
    Column::User,
];

const OF_TREES: &[Column] =
    &[Column::Name, Column::Kind, Column::Pid, Column::State, Column::Age, Column::Nearest];

/// The columns that are dropped, in this order, where the width is not enough.
const DISPENSABLE: &[Column] = &[
    Column::User,
    Column::Lifetime,
    Column::Instance,
    Column::Age,
    Column::Locality,
    Column::Pid,
    Column::Kind,
    Column::Nearest,
    Column::State,
];

/// The columns of the mark before the chosen line: it is seen without colours too.
const MARK_COLUMNS: usize = 2;

/// The least width of a name, and the one that is not worth another column.
const NAME_MIN: usize = 8;
const NAME_MAX: usize = 20;

/// The least width of an endpoint: enough to show its kind and its end.
const NEAREST_MIN: usize = 16;

/// The width of an endpoint that is not worth another column: most addresses in full.
const NEAREST_GOOD: usize = 24;

const HELP: &[&str] = &[
    "↑ ↓ j k         choose an instance",
    "PgUp PgDn       a screen further; Home g, End G: to the ends",
    "Enter           its details; Esc: back",
    "/               filter by words: of its name, state, owner,",
    "                endpoints, metadata; Esc clears the filter",
    "s S             sort by name, age, state, locality, lifetime, user",
    "r               reverse the order",
    "t               trees of supervised actors, or the list",
    "Ctrl-L          draw everything anew",
    "Ctrl-Z          to the shell; `fg` comes back",
    "q Ctrl-C        quit",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::top::{
        board::tests::{board, sample},
        keys::Key,
    };

    fn drawn(board: &mut Board, width: u16, height: u16, has_colors: bool) -> (String, Buffer) {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        draw(board, 4000, has_colors, area, &mut buffer);
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let text = (0..height).map(|y| row(y).trim_end().to_owned() + "\n").collect();
        (text, buffer)
    }

    #[test]
    fn a_screen_shows_who_is_there() {
        let mut board = board(sample());
        board.press(Key::Down);
        assert_eq!(
            drawn(&mut board, 80, 9, true).0,
            "\
5 instances, 1 suspect; by name
  NAME         STATE           NEAREST                         LOCALITY     AGE
  clock        ready, suspect  none: no such socket            -            3s
> feed         ready           /ip4/10.0.0.9/tcp/7             same subnet  3s
  feed         ready           /unix/run/feed.sock +1          unix socket  3s
  market       ready           /unix/run/market                unix socket  3s
  market.desk  ready           /unix/run/desk                  unix socket  1s

q quit  / filter  s sort  r reverse  t tree  Enter details  ? help
"
        );
        board.press(Key::Char('t'));
        assert_eq!(
            drawn(&mut board, 80, 5, true).0,
            "\
2 of 5 instances, 1 suspect; trees
  NAME            KIND        PID      STATE           NEAREST
  market          root        -        ready           /unix/run/market
> └─ market.desk  -           -        ready           /unix/run/desk
q quit  / filter  s sort  r reverse  t tree  Enter details  ? help
"
        );
        assert_eq!(
            drawn(&mut board, 26, 4, true).0,
            "\
2 of 5 instances, 1 suspec
  NAME
  market
> └─ market.desk
"
        );
    }

    #[test]
    fn a_state_takes_what_others_can_spare() {
        let mut records = sample();
        records[0].state = State::Starting;
        let suspect = records.iter().find_map(|it| it.suspicion);
        records[0].suspicion = suspect;
        let state = state_in_words(&records[0]);
        assert!(state.width() > 14, "{state}");
        let mut board = board(records);
        for width in [60, 80, 120] {
            let text = drawn(&mut board, width, 9, true).0;
            assert!(text.contains(&format!("{state}  ")), "{text}");
        }
        let mut columns = [(Column::Name, 8), (Column::State, 14), (Column::Nearest, 30)];
        let longest = |column| if column == Column::State { 40 } else { 25 };
        widen_state(&mut columns, longest);
        assert_eq!(columns.map(|(_, width)| width), [8, 19, 25]);
    }

    #[test]
    fn details_scroll() {
        let mut board = board(sample());
        board.press(Key::Char('/'));
        for key in "sock".chars() {
            board.press(Key::Char(key));
        }
        board.press(Key::Enter);
        drawn(&mut board, 60, 24, true);
        board.press(Key::Enter);
        let whole = drawn(&mut board, 60, 24, true).0;
        assert!(whole.contains("\n  instance  feed[33333333-3333"), "{whole}");
        assert!(whole.contains("\n  also at   /ip4/10.0.0.9/tcp/7 (same subnet)"), "{whole}");
        for _ in 0..100 {
            board.press(Key::PageDown);
        }
        let end = drawn(&mut board, 60, 6, true).0;
        assert!(end.contains("also at") && !end.contains("instance  feed"), "{end}");
    }

    #[test]
    fn nothing_but_attributes_without_colours() {
        let mut board = board(sample());
        let is_colored = |board: &mut Board, has_colors| {
            let (_, buffer) = drawn(board, 80, 24, has_colors);
            buffer.content.iter().any(|it| it.fg != Color::Reset || it.bg != Color::Reset)
        };
        assert!(is_colored(&mut board, true));
        assert!(!is_colored(&mut board, false));
    }

    #[test]
    fn no_screen_is_too_small() {
        let mut records = sample();
        records[0].metadata.insert("note".to_owned(), "wide 文字 \u{1b}[2J\n".repeat(9));
        let mut board = board(records);
        for keys in ["", "t", "r", "↵", "?"] {
            for key in keys.chars() {
                board.press(if key == '↵' { Key::Enter } else { Key::Char(key) });
            }
            for width in 0..90 {
                for height in 0..12 {
                    let (text, _) = drawn(&mut board, width, height, true);
                    assert!(!text.contains('\u{1b}'), "{text}");
                }
            }
        }
    }
}
