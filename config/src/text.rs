//! Text that knows its place.

use std::{ops::Range, sync::Arc};

use toml::de::DeInteger;

use crate::{diagnostic::Place, source::Source};

/// A piece of text, and its place.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) value: String,
    /// The whole piece, with its quotes if it has them.
    pub(crate) place: Place,
    /// The position of `value`'s first byte in the source, unless escapes were undone.
    start: Option<usize>,
}

impl Text {
    /// Takes a TOML string or key whose literal is at `span`.
    pub(crate) fn toml(source: &Arc<Source>, span: Range<usize>, value: &str) -> Self {
        let literal = source.text.get(span.clone()).unwrap_or_default();
        let inside = literal
            .strip_prefix(['"', '\''])
            .and_then(|it| it.strip_suffix(['"', '\'']))
            .filter(|it| *it == value);
        let start = match inside {
            Some(_) => Some(span.start + 1),
            None => (literal == value).then_some(span.start),
        };
        Self { value: value.to_owned(), place: Place { source: Arc::clone(source), span }, start }
    }

    /// Takes bytes of the source as they are.
    pub(crate) fn plain(source: &Arc<Source>, span: Range<usize>) -> Self {
        Self {
            value: source.text.get(span.clone()).unwrap_or_default().to_owned(),
            start: Some(span.start),
            place: Place { source: Arc::clone(source), span },
        }
    }

    /// Tells whether it is in quotes.
    pub(crate) fn is_quoted(&self) -> bool {
        self.place.span.len() > self.value.len()
    }

    /// Returns the place of some bytes of the value, or of the whole if escapes hide them.
    pub(crate) fn part(&self, span: Range<usize>) -> Place {
        let span = match self.start {
            Some(start) => start + span.start..start + span.end,
            None => self.place.span.clone(),
        };
        Place { source: Arc::clone(&self.place.source), span }
    }

    /// Returns a part of the value as a text.
    pub(crate) fn cut(&self, span: Range<usize>) -> Self {
        Self {
            value: self.value[span.clone()].to_owned(),
            start: self.start.map(|it| it + span.start),
            place: self.part(span),
        }
    }

    /// Returns the place of the whole value, without its quotes.
    pub(crate) fn inside(&self) -> Place {
        self.part(0..self.value.len())
    }
}

/// A whole number, and its place.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    /// The number; `None` if it exceeds 64 bits, or is not a number.
    pub(crate) value: Option<i64>,
    /// As it is written.
    pub(crate) text: Text,
}

impl Number {
    /// Takes a TOML integer at `span`.
    pub(crate) fn toml(source: &Arc<Source>, span: Range<usize>, number: &DeInteger<'_>) -> Self {
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
        Self { value, text: Text::plain(source, span) }
    }

    /// Reads a number that is written as plain text.
    pub(crate) fn plain(text: Text) -> Self {
        Self { value: text.value.trim().parse().ok(), text }
    }

    /// Tells whether this is a whole number, however large.
    pub(crate) fn is_integer(&self) -> bool {
        let text = self.text.value.trim();
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        self.value.is_some()
            || !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit() || it == b'_')
    }
}
