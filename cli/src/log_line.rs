//! A line of the log: what happened comes first, and the spans in which it did come last.

use std::fmt::{self, Write as _};

use anstream::adapter::strip_str;
use owo_colors::{AnsiColors, OwoColorize as _};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// Formats events with their spans last.
pub(crate) struct LogLine;

impl LogLine {
    /// Returns the level and the rest of a line without colours.
    pub(crate) fn read(line: &str) -> (String, &str) {
        let (_, line) = line.split_once(' ').unwrap_or(("", line));
        let (level, rest) = line.trim_start().split_once(' ').unwrap_or(("info", line));
        (level.to_lowercase(), rest)
    }
}

impl<S, N> FormatEvent<S, N> for LogLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let has_colors = writer.has_ansi_escapes();
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let level = *event.metadata().level();
        if has_colors {
            write!(writer, "{} {:>5} ", time.dimmed(), level.as_str().color(color(level)))?;
        } else {
            write!(writer, "{time} {level:>5} ")?;
        }
        context.format_fields(writer.by_ref(), event)?;
        for (at, span) in context.event_scope().into_iter().flatten().enumerate() {
            let mut text = format!("{}{}", if at == 0 { " in " } else { ", " }, span.name());
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                write!(text, "{{{}}}", strip_str(fields))?;
            }
            if has_colors {
                write!(writer, "{}", text.dimmed())?;
            } else {
                writer.write_str(&text)?;
            }
        }
        writeln!(writer)
    }
}

fn color(level: Level) -> AnsiColors {
    match level {
        Level::ERROR => AnsiColors::Red,
        Level::WARN => AnsiColors::Yellow,
        Level::INFO => AnsiColors::Green,
        Level::DEBUG => AnsiColors::Blue,
        Level::TRACE => AnsiColors::Magenta,
    }
}
