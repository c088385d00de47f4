//! A command line that cannot be followed.

use std::{
    ffi::OsString,
    io::{self, Write},
};

use anstream::ColorChoice;
use clap::{builder::StyledStr, error::ContextValue};
use endpoints::Plain;

use super::{Exit, Failure, error_object};
use crate::output;

/// Reports the faults of a command line, or prints the requested help.
pub(crate) fn report_usage(error: clap::Error, args: &[OsString]) -> Exit {
    let error = plain(error);
    let own = || args.iter().take_while(|it| *it != "--");
    let rendered = error.render();
    if !error.use_stderr() {
        let color = color_asked_for(own());
        let print = || {
            transport::stdout_closed().map_or(Ok(()), Err)?;
            write!(output::colored(io::stdout(), color), "{}", rendered.ansi())?;
            io::stdout().flush()
        };
        // A help or a version that cannot be printed is a failure like any other.
        let Err(unsaid) = print() else { return Exit::Done };
        let failure = Failure::output(unsaid);
        if failure.exit != Exit::READER_GONE {
            say(&failure.to_text(&[], output::width(&io::stderr())), color);
        }
        return failure.exit;
    }
    let text = rendered.to_string();
    if own().any(|it| it == "--json") {
        let message = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
        let tips = text.lines().filter_map(|it| it.trim_start().strip_prefix("tip: "));
        let tips: Vec<_> = tips.map(str::to_owned).collect();
        say(&error_object(Exit::Usage, message, &[], &tips, &[]), ColorChoice::Never);
        return Exit::Usage;
    }
    let width = output::width(&io::stderr());
    if output::fits(&text, width) {
        say(&rendered.ansi().to_string(), color_asked_for(own()));
    } else {
        // clap does not wrap its errors.
        say(&output::fitted_lines(&text, width), ColorChoice::Never);
    }
    Exit::Usage
}

/// Writes to standard error. If that is impossible, the exit code has to do.
fn say(text: &str, color: ColorChoice) {
    let _unsaid = output::colored(io::stderr(), color).write_all(text.as_bytes());
}

/// Returns the colour setting of an invalid command line.
fn color_asked_for<'a>(words: impl Iterator<Item = &'a OsString>) -> ColorChoice {
    let words: Vec<_> = words.filter_map(|it| it.to_str()).collect();
    let behind = words.windows(2).filter(|it| it[0] == "--color").map(|it| it[1]);
    let joined = words.iter().filter_map(|it| it.strip_prefix("--color="));
    match behind.chain(joined).last() {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

/// Escapes typed text: it may contain invisible characters, or ones that move the cursor.
fn plain(mut error: clap::Error) -> clap::Error {
    let typed: Vec<_> = error
        .context()
        .flat_map(|(_, value)| match value {
            ContextValue::String(text) => std::slice::from_ref(text),
            ContextValue::Strings(texts) => texts,
            _ => &[],
        })
        .map(|it| (it.clone(), Plain(it).to_string()))
        .filter(|(typed, plain)| typed != plain)
        .collect();
    if typed.is_empty() {
        return error;
    }
    let escaped = |text: &str| {
        let replaced = |text: String, (typed, plain): &(String, String)| text.replace(typed, plain);
        typed.iter().fold(text.to_owned(), replaced)
    };
    let styled = |text: &StyledStr| StyledStr::from(escaped(&text.ansi().to_string()));
    let context: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| {
            let value = match value {
                ContextValue::String(text) => ContextValue::String(escaped(text)),
                ContextValue::Strings(texts) => {
                    ContextValue::Strings(texts.iter().map(|it| escaped(it)).collect())
                }
                ContextValue::StyledStr(text) => ContextValue::StyledStr(styled(text)),
                ContextValue::StyledStrs(texts) => {
                    ContextValue::StyledStrs(texts.iter().map(styled).collect())
                }
                _ => return None,
            };
            Some((kind, value))
        })
        .collect();
    for (kind, value) in context {
        error.insert(kind, value);
    }
    error
}
