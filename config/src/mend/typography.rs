//! Typographic quotes and invisible blanks, as they come with what is pasted from a document.
//!
//! They are replaced before anything else is read, each by as many bytes, so that every other fault
//! keeps its place.

use std::{ops::Range, sync::Arc};

use endpoints::{Quoted, is_plain};

use super::{after_blanks, long_text_end, quoted_end};
use crate::{
    diagnostic::{Diagnostic, Place},
    source::Source,
};

/// Replaces the typographic quotes and blanks of a text by those of TOML, except in strings and
/// comments.
pub(super) fn straighten(source: &Arc<Source>) -> (Arc<Source>, Vec<Diagnostic>) {
    let bytes = source.text.clone().into_bytes();
    let mut pen = Pen { source, text: &source.text, at: 0, bytes, diagnostics: Vec::new() };
    pen.go_through();
    // Whole characters were replaced by ASCII.
    let text = String::from_utf8(pen.bytes).unwrap_or_else(|_| source.text.clone());
    (Source::shared(&source.name, &text), pen.diagnostics)
}

/// The position in a text, and its bytes as they are to be read.
struct Pen<'a> {
    source: &'a Arc<Source>,
    text: &'a str,
    at: usize,
    bytes: Vec<u8>,
    diagnostics: Vec<Diagnostic>,
}

impl Pen<'_> {
    fn go_through(&mut self) {
        if self.text.starts_with(BYTE_ORDER_MARK) {
            self.at = BYTE_ORDER_MARK.len_utf8();
        }
        // One blank of a line is reported for all.
        let mut has_blank = false;
        while let Some(next) = self.text[self.at..].chars().next() {
            match next {
                '\n' => {
                    has_blank = false;
                    self.at += 1;
                }
                '#' => self.at = self.line_end(),
                '"' | '\'' => self.string(next),
                _ if straight(next).is_some() => self.typographic_string(next),
                _ if is_odd_blank(next) => {
                    let span = self.at..self.at + next.len_utf8();
                    if !has_blank {
                        let message = format!("{} is between the words", blank_name(next));
                        self.report(span.clone(), message, "write a plain space, or none");
                    }
                    has_blank = true;
                    self.bytes[span.clone()].fill(b' ');
                    self.at = span.end;
                }
                _ => self.at += next.len_utf8(),
            }
        }
    }

    /// Goes over a string, or replaces the typographic quote that closes it.
    fn string(&mut self, quote: char) {
        let rest = &self.text[self.at..];
        let triple: String = [quote; 3].iter().collect();
        if let Some(inside) = rest.strip_prefix(&triple) {
            let length = long_text_end(inside, &triple);
            self.at = length.map_or(self.text.len(), |it| self.at + 3 + it);
            return;
        }
        let start = self.at + 1;
        let inside = &self.text[start..self.line_end()];
        let end = quoted_end(inside, quote).unwrap_or(inside.len());
        let mut before = inside[..end].char_indices();
        let closing = before.find(|(_, it)| straight(*it).is_some());
        // What a typographic quote opens within the string belongs to it.
        let Some((length, closing)) = closing.filter(|(at, it)| {
            OPENING.iter().all(|open| open != it) && ends_value(&inside[at + it.len_utf8()..])
        }) else {
            self.at = (start + end + 1).min(self.line_end().max(start));
            return;
        };
        let span = start + length..start + length + closing.len_utf8();
        let message = format!("`{closing}` does not close what `{quote}` began");
        self.report(span.clone(), message, &format!("close it with a `{quote}`"));
        self.write(span.clone(), quote, Side::Closing);
        self.at = span.end;
    }

    /// Replaces the quotes of a string in typographic ones.
    fn typographic_string(&mut self, opening: char) {
        let start = self.at;
        let inside = start + opening.len_utf8();
        let line = &self.text[inside..self.line_end()];
        let straight_quote = straight(opening).unwrap_or('"');
        let is_quote = |it: char| straight(it).is_some() || it == straight_quote;
        let end = line
            .char_indices()
            .find(|(at, it)| is_quote(*it) && ends_value(&line[at + it.len_utf8()..]));
        let opened = start..inside;
        let Some((length, closing)) = end else {
            let message = format!("`{opening}` is a typographic quote");
            self.report(opened.clone(), message, "a string is in `\"` or `'`");
            self.write(opened, straight_quote, Side::Opening);
            self.at = self.line_end();
            return;
        };
        let content = &line[..length];
        let quote = match content {
            _ if content.contains('\'') => '"',
            // It would begin an escape.
            _ if content.contains(['"', '\\']) => '\'',
            _ => straight_quote,
        };
        let closed = inside + length..inside + length + closing.len_utf8();
        let whole = start..closed.end;
        let message = format!("{} is in typographic quotes", Quoted(&self.text[whole.clone()]));
        self.report(whole.clone(), message, &format!("write {quote}{content}{quote}"));
        self.write(opened, quote, Side::Opening);
        self.write(closed, quote, Side::Closing);
        self.at = whole.end;
    }

    /// Puts a quote in the place of another; blanks outside the string make up for the difference.
    fn write(&mut self, span: Range<usize>, quote: char, side: Side) {
        let bytes = &mut self.bytes[span];
        bytes.fill(b' ');
        let at = match side {
            Side::Opening => bytes.len() - 1,
            Side::Closing => 0,
        };
        bytes[at] = quote as u8;
    }

    fn report(&mut self, span: Range<usize>, message: String, help: &str) {
        let place = Place { source: Arc::clone(self.source), span };
        self.diagnostics.push(Diagnostic::error(message, place).help(help.to_owned()));
    }

    fn line_end(&self) -> usize {
        self.text[self.at..].find('\n').map_or(self.text.len(), |it| self.at + it)
    }
}

enum Side {
    Opening,
    Closing,
}

/// Returns the quote for which a typographic one stands.
fn straight(character: char) -> Option<char> {
    match character {
        '“' | '”' | '„' | '‟' | '″' | '«' | '»' | '＂' => Some('"'),
        '‘' | '’' | '‚' | '‛' | '′' | '‹' | '›' | '＇' | '`' | '´' => Some('\''),
        _ => None,
    }
}

/// The quotes that close nothing, in English at least.
const OPENING: [char; 7] = ['“', '„', '‟', '«', '‘', '‚', '`'];

/// Tells whether a value, or a key, can be followed by this.
fn ends_value(rest: &str) -> bool {
    let blanks = rest.len() - rest.trim_start_matches(is_odd_blank).len();
    let next = rest[after_blanks(rest, blanks)..].chars().next();
    next.is_none_or(|it| "\n,;]}#=:".contains(it))
}

/// Tells whether a character is as good as a blank to a reader, and none to TOML.
fn is_odd_blank(character: char) -> bool {
    !is_plain(character) && !matches!(character, '\n' | '\r' | '\t')
}

fn blank_name(character: char) -> String {
    let name = match character {
        '\u{a0}' => "a no-break space",
        '\u{202f}' => "a narrow no-break space",
        '\u{200b}' => "a zero-width space",
        '\u{3000}' => "an ideographic space",
        BYTE_ORDER_MARK => "a byte order mark",
        _ => "an invisible character",
    };
    format!("{name} (U+{:04X})", u32::from(character))
}

const BYTE_ORDER_MARK: char = '\u{feff}';
