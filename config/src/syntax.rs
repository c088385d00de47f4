//! From text to TOML, and what is wrong with it as TOML.

use std::{borrow::Cow, collections::HashSet, ops::Range, sync::Arc};

use endpoints::Quoted;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

use crate::{
    fault::{Fault, Place, Source, line_column},
    rewritten,
    settings::SOCKET_MODE,
};

pub(crate) type Key<'a> = Spanned<Cow<'a, str>>;
pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// As much of a text as could be read as TOML.
pub(crate) struct Syntax<'a> {
    pub(crate) root: DeTable<'a>,
    pub(crate) faults: Vec<Fault>,
    broken_lines: HashSet<usize>,
    /// The first of the lines that an open bracket has swallowed.
    swallowed_from: usize,
}

impl Syntax<'_> {
    /// Tells whether all of the text is TOML, whatever stands twice.
    pub(crate) fn is_whole(&self) -> bool {
        self.broken_lines.is_empty() && self.swallowed_from == usize::MAX
    }

    /// Tells whether a line, from 1, says something else than what can be read there.
    pub(crate) fn is_broken(&self, line: usize) -> bool {
        line >= self.swallowed_from || self.broken_lines.contains(&line)
    }
}

/// Reads a text; after an error it goes on as well as it can.
pub(crate) fn parse(source: &Arc<Source>) -> Syntax<'_> {
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    let mut syntax = Syntax {
        root: root.into_inner(),
        faults: Vec::new(),
        broken_lines: HashSet::new(),
        swallowed_from: usize::MAX,
    };

    // What follows an open bracket is misread up to the end, so nothing else is said of it.
    let is_unclosed = |it: &&Error| it.message().starts_with("unclosed array,");
    let open = errors.iter().find(is_unclosed).and_then(|_| open_list(&syntax.root, source));
    if let Some(start) = open {
        let bracket = Place { source: Arc::clone(source), span: start..start + 1 };
        syntax.swallowed_from = bracket.line_column().0;
        let fault = Fault::error("the list that begins here is not closed", bracket);
        syntax.faults.push(fault.help("close it with a `]`".to_owned()));
    }

    for error in &errors {
        let message = error.message().trim();
        let span = error.span().unwrap_or_default();
        let line = line_column(&source.text, span.start).0;
        if message == "duplicate key" {
            if line < syntax.swallowed_from {
                let seek = syntax.faults.len() < FIRSTS_SOUGHT_MAX;
                syntax.faults.push(duplicate(source, span, seek));
            }
        } else if !syntax.is_broken(line) {
            // The first error of a line breeds the others.
            syntax.broken_lines.insert(line);
            syntax.faults.push(unreadable(source, span, message));
        }
    }
    syntax
}

/// Finds the outermost list that goes on up to the end of the text.
fn open_list(table: &DeTable<'_>, source: &Source) -> Option<usize> {
    let end = source.text.trim_end().len();
    let open = |value: &Value<'_>| match value.get_ref() {
        DeValue::Table(table) => open_list(table, source),
        DeValue::Array(_) if value.span().end >= end => {
            let start = value.span().start;
            // A header in double brackets makes a list too, but no `=` stands before it.
            let before = source.text.get(..start)?;
            before.trim_end().ends_with('=').then_some(start)
        }
        _ => None,
    };
    table.iter().filter_map(|(_, value)| open(value)).min()
}

fn unreadable(source: &Arc<Source>, span: Range<usize>, message: &str) -> Fault {
    let found = source.text.get(span.clone()).unwrap_or_default().trim();
    let place = Place { source: Arc::clone(source), span };
    // The parser takes whatever it does not know for a text whose quotes have been forgotten.
    match message.starts_with("string values must be quoted") {
        true if found.is_empty() => Fault::error("a value is missing", place),
        true => {
            let message = format!("{} stands without quotes", Quoted(found));
            let written = rewritten::unquoted(key_before(&source.text, place.span.start), found);
            Fault::error(message, place).help(written.map(|it| format!("write {it}")))
        }
        false if message.starts_with("unexpected leading zero") => {
            let key = key_before(&source.text, place.span.start);
            let rest = source.text.get(place.span.start..).unwrap_or_default();
            let digits = rest.split(|it: char| !it.is_ascii_digit()).next().unwrap_or_default();
            let written = (key == SOCKET_MODE).then(|| rewritten::mode(digits)).flatten();
            let help = written.map(|it| format!("write \"{it}\""));
            Fault::error("a number begins with a zero", place).help(help)
        }
        false => Fault::error(message, place),
    }
}

/// Returns the key whose value begins at `at`, if both stand on one line.
fn key_before(text: &str, at: usize) -> &str {
    let line = text.get(..at).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
    line.split_once('=').map_or("", |(key, _)| key.trim())
}

fn duplicate(source: &Arc<Source>, span: Range<usize>, seek: bool) -> Fault {
    let place = |span| Place { source: Arc::clone(source), span };
    let name = source.text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
    let before = source.text.get(..span.start).unwrap_or_default();
    let is_header = before.trim_end().ends_with('[');

    let mut fault = if is_header {
        Fault::error(
            format!("the table {} stands twice", Quoted(&format!("[{name}]"))),
            place(span),
        )
        .help("put its lines below the first header".to_owned())
    } else {
        Fault::error(format!("{} stands twice", Quoted(name)), place(span))
            .help("keep one; an actor has all its endpoints in one list".to_owned())
    };
    if seek {
        let (root, _) = DeTable::parse_recoverable(before);
        if let Some(first) = last_of(root.get_ref(), name, is_header) {
            fault = fault.label("again here").related(place(first), "first here");
        }
    }
    fault
}

/// To find the first of two, the text is read again up to the second. Who has more duplicates
/// than this sees the rest without the first.
const FIRSTS_SOUGHT_MAX: usize = 32;

/// Finds the key that the next one repeats. A table cannot be opened again, so it is the last one
/// of that name: among the tables if the next one is a header, else among all keys.
fn last_of(table: &DeTable<'_>, name: &str, is_header: bool) -> Option<Range<usize>> {
    let found = |(key, value): (&Key<'_>, &Value<'_>)| {
        let inside = match value.get_ref() {
            DeValue::Table(table) if !is_header => last_of(table, name, is_header),
            _ => None,
        };
        inside.or_else(|| (key.get_ref() == name).then(|| key.span()))
    };
    table.iter().filter_map(found).max_by_key(|it| it.start)
}
