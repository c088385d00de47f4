//! The fields of a log event: whatever a peer has written stays within its field.

use std::fmt::{self, Debug};

use endpoints::Plain;
use owo_colors::OwoColorize as _;
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

/// Formats fields as usual, quotes each value that could be taken for several, and escapes in it what would begin a line, or what a terminal
/// would obey or turn around.
pub(crate) struct LogFields;

impl<'writer> FormatFields<'writer> for LogFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Visitor { writer, is_first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Visitor<'writer> {
    writer: Writer<'writer>,
    is_first: bool,
    result: fmt::Result,
}

impl Visitor<'_> {
    fn write(&mut self, field: &Field, value: &dyn Debug) -> fmt::Result {
        let value = format!("{value:?}");
        if !std::mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        if name == "message" {
            return write!(self.writer, "{}", Plain(&value));
        }
        let value = if name == "error" || is_ambiguous(&value) { quoted(&value) } else { value };
        if self.writer.has_ansi_escapes() {
            write!(self.writer, "{}{}{}", name.italic(), "=".dimmed(), Plain(&value))
        } else {
            write!(self.writer, "{name}={}", Plain(&value))
        }
    }
}

/// Tells whether a reader might take a part of a value for a field or a span of its own.
fn is_ambiguous(value: &str) -> bool {
    value.contains(['=', '"', '{', '}']) && !is_quoted(value)
}

/// Tells whether a value is one quoted text.
fn is_quoted(value: &str) -> bool {
    let Some(inner) = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')) else {
        return false;
    };
    let mut is_escaped = false;
    let ends_within = inner.chars().any(|it| {
        let ends = it == '"' && !is_escaped;
        is_escaped = it == '\\' && !is_escaped;
        ends
    });
    !ends_within && !is_escaped
}

fn quoted(value: &str) -> String {
    if is_quoted(value) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_ok() {
            self.result = self.write(field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing::{info, info_span};

    use super::*;
    use crate::log_line::LogLine;

    /// Where a log is written to.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_value_that_could_be_several_is_quoted() {
        let check = |value: &str, expected: &str| {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_writer(move || writer.clone())
                .with_ansi(false)
                .fmt_fields(LogFields)
                .event_format(LogLine)
                .finish();
            tracing::subscriber::with_default(subscriber, || info!(shown = %value, "seen"));
            let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert!(text.ends_with(&format!("seen shown={expected}\n")), "{text}");
        };
        check("user 1000", "user 1000");
        check("x by=user 0", r#""x by=user 0""#);
        check("x}, session{id", r#""x}, session{id""#);
        check(r#"a" by=user 0 b="c"#, r#""a\" by=user 0 b=\"c""#);
        check(r#""a" by=user 0 b="c""#, r#""\"a\" by=user 0 b=\"c\"""#);
        check(r#""a=\"b\"""#, r#""a=\"b\"""#);
        check(r#""a=\\" by=b""#, r#""\"a=\\\\\" by=b\"""#);
        check(r#""a=\"#, r#""\"a=\\""#);
    }

    #[test]
    fn an_error_is_quoted() {
        assert_eq!(quoted("x is y"), r#""x is y""#);
        assert_eq!(quoted(r#""x is y""#), r#""x is y""#);
    }

    #[test]
    fn what_a_peer_writes_stays_within_its_field() {
        let forged = "x\n2026-11-29T00:00:00Z  INFO registered by=user 0\r\u{1b}]0;pwned\u{7}\
                      \u{9b}2J\u{202e}\u{2028}\u{85}é";
        let shown = "x\\n2026-11-29T00:00:00Z  INFO registered by=user 0\\r\\u{1b}]0;pwned\\u{7}\
                     \\u{9b}2J\\u{202e}\\u{2028}\\u{85}é";
        for has_colors in [false, true] {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_writer(move || writer.clone())
                .with_ansi(has_colors)
                .fmt_fields(LogFields)
                .event_format(LogLine)
                .finish();
            tracing::subscriber::with_default(subscriber, || {
                let span = info_span!("session", agent = %forged, later = tracing::field::Empty);
                span.record("later", tracing::field::display(forged));
                let _within = span.enter();
                let error: Box<dyn std::error::Error> = forged.into();
                info!(shown = %forged, quoted = ?forged, text = forged, error, "{forged}");
            });
            let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.ends_with('\n'));
            let own = anstream::adapter::strip_str(&text).to_string();
            assert_eq!(own.matches(shown).count(), 7, "{own}");
            assert!(own.contains(&format!("shown=\"{shown}\" quoted=\"")), "{own}");
            let is_hidden = |it: char| it != '\n' && !endpoints::is_plain(it);
            assert!(!own.contains(is_hidden), "{own:?}");
        }
    }
}
