//! Parses text as TOML, and reports its faults as TOML.

use std::{borrow::Cow, ops::Range, sync::Arc};

use endpoints::{Endpoint, Quoted};
use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

use crate::{
    diagnostic::{Diagnostic, Place},
    keys::SOCKET_MODE,
    mend::Mended,
    rewritten,
    source::Source,
    uses::Use,
};

pub(crate) type Key<'a> = Spanned<Cow<'a, str>>;
pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// Finds faults in the structure of a text, and repairs them.
pub(crate) fn mend(source: &Arc<Source>) -> Mended {
    let is_sound = |source: &Source| {
        let (_, errors) = DeTable::parse_recoverable(&source.text);
        errors.iter().all(is_duplicate)
    };
    if is_sound(source) {
        return Mended::whole(source);
    }
    let straightened = Mended::straightened(source);
    if is_sound(&straightened.source) { straightened } else { straightened.broken() }
}

/// Reads the text of `mended`, and tells it what could not be read. Returns what appears twice too.
pub(crate) fn parse<'a>(
    source: &'a Arc<Source>,
    mended: &mut Mended,
) -> (DeTable<'a>, Vec<Diagnostic>) {
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    let mut diagnostics = Vec::new();
    for error in &errors {
        let span = error.span().unwrap_or_default();
        if is_duplicate(error) {
            let seek = diagnostics.len() < FIRSTS_SOUGHT_MAX;
            diagnostics.push(duplicate(source, span, seek));
        // The first error of a word or a line causes the others.
        } else if let Some(place) = mended.misread(span.clone()) {
            let mut diagnostic = unreadable(source, span, error.message().trim());
            diagnostic.place = place;
            mended.diagnostics.push(diagnostic);
        }
    }
    (root.into_inner(), diagnostics)
}

fn is_duplicate(error: &Error) -> bool {
    error.message().trim() == "duplicate key"
}

fn unreadable(source: &Arc<Source>, span: Range<usize>, message: &str) -> Diagnostic {
    let found = source.text.get(span.clone()).unwrap_or_default().trim();
    let place = Place { source: Arc::clone(source), span };
    // To the parser, any unknown word is a string without quotes.
    // The parser takes `no` for the beginning of `nan`, and `foo` for that of `false`.
    let is_word = found.starts_with(|it: char| it.is_ascii_alphabetic());
    let is_unquoted = message.starts_with("string values must be quoted")
        || is_word && message.starts_with("invalid ");
    match is_unquoted {
        true if found.is_empty() => Diagnostic::error("a value is missing", place),
        true => {
            let message = format!("{} is not in quotes", Quoted(found));
            let at = place.span.start;
            let use_of = Use::of_table(table_before(&source.text, at));
            let written = rewritten::unquoted(key_before(&source.text, at), found, use_of);
            Diagnostic::error(message, place).help(written.map(|it| format!("write {it}")))
        }
        false if message.starts_with("unexpected leading zero") => {
            let key = key_before(&source.text, place.span.start);
            let rest = source.text.get(place.span.start..).unwrap_or_default();
            let digits = rest.split(|it: char| !it.is_ascii_digit()).next().unwrap_or_default();
            let written = (key == SOCKET_MODE).then(|| rewritten::mode(digits)).flatten();
            let help = written.map(|it| format!("write \"{it}\""));
            Diagnostic::error("a number begins with a zero", place).help(help)
        }
        false if is_of_escape(message) => {
            let slashed = with_slashes(&source.text, place.span.start);
            let help = slashed.unwrap_or_else(|| {
                r"a `\` begins an escape in double quotes, and none in single ones".to_owned()
            });
            Diagnostic::error(message, place).help(help)
        }
        false => Diagnostic::error(message, place),
    }
}

/// Tells whether the parser found what stands behind a `\` to be no escape.
fn is_of_escape(message: &str) -> bool {
    message.starts_with("missing escaped value") || message.contains("unicode value")
}

/// Suggests the endpoint that is meant by the string around `at`, if one is, with backslashes for
/// slashes.
fn with_slashes(text: &str, at: usize) -> Option<String> {
    let (before, after) = text.split_at_checked(at)?;
    let before = before.rsplit(['"', '\n']).next()?;
    let after = after.split(['"', '\n']).next()?;
    let written = format!("{before}{after}").replace(r"\\", r"\");
    written.contains('\\').then_some(())?;
    let suggestion = written.parse::<Endpoint>().err()?.suggestion()?;
    Some(format!("did you mean `{suggestion}`?"))
}

/// Returns the key whose value begins at `at`, if both stand on one line.
fn key_before(text: &str, at: usize) -> &str {
    let line = text.get(..at).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
    // In an inline table it is the last one.
    let last = line.rsplit(['{', ',']).next().filter(|it| it.contains('='));
    last.unwrap_or(line).split_once('=').map_or("", |(key, _)| key.trim())
}

/// Returns the table of the line at `at`.
pub(crate) fn table_before(text: &str, at: usize) -> &str {
    let lines = text.get(..at).unwrap_or_default().lines().rev();
    let mut headers = lines.filter_map(|it| it.trim_start().strip_prefix('[')?.split_once(']'));
    headers.next().map_or("", |(table, _)| table.trim())
}

fn duplicate(source: &Arc<Source>, span: Range<usize>, seek: bool) -> Diagnostic {
    let place = |span| Place { source: Arc::clone(source), span };
    let name = source.text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
    let before = source.text.get(..span.start).unwrap_or_default();
    let is_header = before.trim_end().ends_with('[');

    let mut diagnostic = if is_header {
        Diagnostic::error(
            format!("the table {} appears twice", Quoted(&format!("[{name}]"))),
            place(span),
        )
        .help("put its lines below the first header".to_owned())
    } else {
        Diagnostic::error(format!("{} appears twice", Quoted(name)), place(span))
            .help("keep one; an actor has all its endpoints in one list".to_owned())
    };
    if seek {
        let (root, _) = DeTable::parse_recoverable(before);
        if let Some(first) = last_of(root.get_ref(), name, is_header) {
            diagnostic = diagnostic.label("again here").related(place(first), "first here");
        }
    }
    diagnostic
}

/// To find the first of two duplicates, the text is parsed again up to the second. Beyond this
/// number, duplicates are reported without the first.
const FIRSTS_SOUGHT_MAX: usize = 32;

/// Finds the key that the next one repeats. A table cannot be reopened, so it is the last key of
/// that name: among the tables if the next one is a header, else among all keys.
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
