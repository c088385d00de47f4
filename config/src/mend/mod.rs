//! Repairs the broken structure of a text, so that the rest of it can be read.
//!
//! To a parser, everything after an open bracket is part of it. The author meant something else, as
//! the lines show: each begins with a header or with `key =`. So this module goes through text that
//! is not TOML line by line, inserts missing characters, removes superfluous ones, and reports each
//! fault at its place. Then the text is parsed like any other, and [`Mended::restore`] maps its
//! faults back to the original.
//!
//! Why not a parser that recovers by itself? That of `toml` does, within a line, and handles wrong
//! escapes, numbers and words without quotes. Beyond a line it has to guess, and assumes that the
//! file is correct.

mod line;
mod typography;
mod value;

use std::{collections::HashMap, ops::Range, sync::Arc};

use crate::{
    diagnostic::{Diagnostic, Place},
    source::Source,
};

/// A text with a correct structure, and the faults of the original.
pub(crate) struct Mended {
    /// The text to parse.
    pub(crate) source: Arc<Source>,
    /// The faults, with their places in the original.
    pub(crate) diagnostics: Vec<Diagnostic>,
    original: Arc<Source>,
    edits: Vec<Applied>,
    /// The texts, numbers and words of the original, in their order; none if nothing is broken.
    tokens: Vec<Range<usize>>,
    /// Parts of the original that probably have another meaning.
    doubtful: Spans,
}

impl Mended {
    /// Wraps a text without faults.
    pub(crate) fn whole(original: &Arc<Source>) -> Self {
        Self {
            source: Arc::clone(original),
            diagnostics: Vec::new(),
            original: Arc::clone(original),
            edits: Vec::new(),
            tokens: Vec::new(),
            doubtful: Spans::default(),
        }
    }

    /// Replaces the typographic quotes and blanks of a text, which may then be sound.
    pub(crate) fn straightened(original: &Arc<Source>) -> Self {
        let (source, diagnostics) = typography::straighten(original);
        Self { source, diagnostics, ..Self::whole(original) }
    }

    /// Repairs what is still broken.
    pub(crate) fn broken(self) -> Self {
        let Self { source: plain, diagnostics: found, original, .. } = self;
        let mut scan = Scan::new(&original, &plain.text);
        scan.lines();
        let Scan { mut edits, diagnostics, tokens, doubtful, .. } = scan;
        edits.sort_by_key(|it| it.span.start);
        let diagnostics = found.into_iter().chain(diagnostics).collect();
        let plain = &plain.text;
        let mut text = String::with_capacity(plain.len());
        let mut applied = Vec::with_capacity(edits.len());
        let mut copied = 0;
        for edit in edits {
            text.push_str(plain.get(copied..edit.span.start).unwrap_or_default());
            let start = text.len();
            text.push_str(&edit.text);
            copied = copied.max(edit.span.end);
            applied.push(Applied { span: start..text.len(), original: edit.span });
        }
        text.push_str(plain.get(copied..).unwrap_or_default());
        let source = Source::shared(&original.name, &text);
        Self { source, diagnostics, original, edits: applied, tokens, doubtful }
    }

    /// Records that something was misread at a place of the mended text. Returns its place in the
    /// original, unless a fault is known there.
    pub(crate) fn misread(&mut self, span: Range<usize>) -> Option<Place> {
        let span = self.restored(span);
        if self.doubtful.touch(&span) {
            return None;
        }
        let at = self.tokens.partition_point(|it| it.end < span.start);
        let token = self.tokens.get(at).filter(|it| it.start <= span.end);
        self.doubtful.add(token.cloned().unwrap_or_else(|| self.line_of(span.start)));
        Some(Place { source: Arc::clone(&self.original), span })
    }

    /// Moves diagnostics of the mended text to their places in the original, and drops those about
    /// parts that do not mean what they say.
    pub(crate) fn restore(&self, diagnostics: &mut Vec<Diagnostic>) {
        if !Arc::ptr_eq(&self.source, &self.original) {
            for diagnostic in diagnostics.iter_mut() {
                self.move_back(&mut diagnostic.place);
                diagnostic.related.iter_mut().for_each(|it| self.move_back(&mut it.place));
            }
        }
        diagnostics.retain(|it| !self.doubtful.touch(&it.place.span));
    }

    fn move_back(&self, place: &mut Place) {
        place.span = self.restored(place.span.clone());
        place.source = Arc::clone(&self.original);
    }

    fn restored(&self, span: Range<usize>) -> Range<usize> {
        let at = |at: usize| {
            let next = self.edits.partition_point(|it| it.span.start < at);
            match next.checked_sub(1).and_then(|it| self.edits.get(it)) {
                Some(edit) if at < edit.span.end => edit.original.start,
                Some(edit) => edit.original.end + (at - edit.span.end),
                None => at,
            }
        };
        let start = at(span.start);
        whole_characters(&self.original.text, start..at(span.end).max(start))
    }

    fn line_of(&self, at: usize) -> Range<usize> {
        let text = &self.original.text;
        let start = text.get(..at).and_then(|it| it.rfind('\n')).map_or(0, |it| it + 1);
        let end = text.get(at..).and_then(|it| it.find('\n')).map_or(text.len(), |it| at + it);
        start..end
    }
}

/// Sorted, disjoint spans.
#[derive(Default)]
struct Spans(Vec<Range<usize>>);

impl Spans {
    fn add(&mut self, span: Range<usize>) {
        let first = self.0.partition_point(|it| it.end < span.start);
        let end = self.0.partition_point(|it| it.start <= span.end).max(first);
        let touched = self.0.get(first..end).unwrap_or_default();
        let start = touched.first().map_or(span.start, |it| it.start.min(span.start));
        let stop = touched.last().map_or(span.end, |it| it.end.max(span.end));
        self.0.splice(first..end, std::iter::once(start..stop));
    }

    fn touch(&self, span: &Range<usize>) -> bool {
        let at = self.0.partition_point(|it| it.end < span.start);
        self.0.get(at).is_some_and(|it| it.start <= span.end)
    }
}

/// A replaced part of the original.
struct Edit {
    span: Range<usize>,
    text: String,
}

struct Applied {
    span: Range<usize>,
    original: Range<usize>,
}

/// The position in a text, and the findings so far.
struct Scan<'a> {
    source: &'a Arc<Source>,
    text: &'a str,
    at: usize,
    edits: Vec<Edit>,
    diagnostics: Vec<Diagnostic>,
    tokens: Vec<Range<usize>>,
    doubtful: Spans,
    /// The starts of lines that have a fault, and whether nothing else on them can be believed.
    lines_at_fault: HashMap<usize, bool>,
}

impl<'a> Scan<'a> {
    /// Goes through `text`, which has each byte where `source` has it.
    fn new(source: &'a Arc<Source>, text: &'a str) -> Self {
        Self {
            source,
            text,
            // Editors of another system write a mark there, which the parser skips.
            at: if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 },
            edits: Vec::new(),
            diagnostics: Vec::new(),
            tokens: Vec::new(),
            doubtful: Spans::default(),
            lines_at_fault: HashMap::new(),
        }
    }

    /// Returns the rest of the text.
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Tells whether the rest of this line is empty.
    fn is_line_end(&self) -> bool {
        matches!(self.peek(), None | Some('\n' | '#'))
    }

    fn skip_blanks(&mut self) {
        self.at = after_blanks(self.text, self.at);
    }

    fn skip_line(&mut self) {
        self.at = self.line_end();
    }

    /// Returns where this line ends, before its line feed.
    fn line_end(&self) -> usize {
        self.rest().find('\n').map_or(self.text.len(), |it| self.at + it)
    }

    /// Reports a fault with a certain correction, so that all else can be trusted.
    fn diagnostic(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let line = self.line_start(span.start);
        let is_garbled = self.lines_at_fault.entry(line).or_insert(false);
        if !*is_garbled {
            let span = whole_characters(&self.source.text, span);
            let place = Place { source: Arc::clone(self.source), span };
            self.diagnostics.push(Diagnostic::error(message, place).help(Some(help.into())));
        }
    }

    /// Reports a fault that causes others: later faults on its line are not reported, nor is this
    /// one after another such fault.
    fn garbled(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let line = self.line_start(span.start);
        self.doubtful.add(span.start..self.line_end().max(span.end));
        if !self.lines_at_fault.contains_key(&line) {
            self.diagnostic(span, message, help);
        }
        self.lines_at_fault.insert(line, true);
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |it| it + 1)
    }

    fn replace(&mut self, span: Range<usize>, text: impl Into<String>) {
        self.edits.push(Edit { span, text: text.into() });
    }

    fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at..at, text);
    }

    fn remove(&mut self, span: Range<usize>) {
        self.replace(span, "");
    }
}

/// Widens a span to whole characters: a character of the original may have become several.
fn whole_characters(text: &str, span: Range<usize>) -> Range<usize> {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let start = (0..=span.start).rev().find(is_boundary).unwrap_or(0);
    let end = (span.end..text.len()).find(is_boundary).unwrap_or(text.len());
    start..end.max(start)
}

fn after_blanks(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.len() - rest.trim_start_matches(BLANKS).len()
}

/// TOML's blanks, and the half of another system's line end. Everything else is text, even if it
/// looks like a blank.
const BLANKS: [char; 3] = [' ', '\t', '\r'];

/// Returns the end of the key that begins at `at`, with all parts of a dotted one.
fn key_end(text: &str, at: usize) -> Option<usize> {
    let mut end = simple_key_end(text, at)?;
    loop {
        let dot = after_blanks(text, end);
        if text.as_bytes().get(dot) != Some(&b'.') {
            return Some(end);
        }
        end = simple_key_end(text, after_blanks(text, dot + 1))?;
    }
}

fn simple_key_end(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    if let Some(quote) = rest.chars().next().filter(|it| matches!(it, '"' | '\'')) {
        let inside = rest.get(1..)?;
        return quoted_end(inside, quote).map(|it| at + 1 + it + 1);
    }
    let bare = rest.trim_start_matches(is_bare);
    (bare.len() < rest.len()).then(|| at + rest.len() - bare.len())
}

fn is_bare(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

/// Returns the position of the closing quote after an opening one, if it is on the same line.
fn quoted_end(inside: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, character) in inside.char_indices() {
        match character {
            '\n' => return None,
            _ if is_escaped => is_escaped = false,
            '\\' if quote == '"' => is_escaped = true,
            _ if character == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// Returns the end of a string between triple quotes, after the closing ones.
fn long_text_end(inside: &str, triple: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(rest) = inside.get(at..) {
        if rest.starts_with(triple) {
            // Up to two more quotes belong to the text.
            let quotes = rest.len() - rest.trim_start_matches(&triple[..1]).len();
            return Some(at + quotes.min(5));
        }
        let next = rest.chars().next()?;
        at += next.len_utf8();
        if next == '\\' && triple.starts_with('"') {
            at += inside.get(at..)?.chars().next()?.len_utf8();
        }
    }
    None
}

/// Tells whether a `key =` begins at `at`.
fn begins_entry(text: &str, at: usize) -> bool {
    key_end(text, at).is_some_and(|end| text.as_bytes().get(after_blanks(text, end)) == Some(&b'='))
}

/// Tells whether the line that begins at `at` is the header of a table, closed or not, and cannot
/// be a part of a list.
fn begins_header(text: &str, at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    let line = rest.split(['\n', '#']).next().unwrap_or_default().trim();
    let Some(inside) = line.strip_prefix("[[").or_else(|| line.strip_prefix('[')) else {
        return false;
    };
    let inside = inside.trim_end_matches(']').trim();
    let is_word = inside.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_');
    is_word
        && !matches!(inside, "true" | "false" | "inf" | "nan")
        && key_end(inside, 0) == Some(inside.len())
}
