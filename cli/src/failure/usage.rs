//! A command line that cannot be followed.

use std::{
    ffi::OsString,
    io::{self, Write},
};

use clap::{builder::StyledStr, error::ContextValue};
use endpoints::Plain;

use super::{Exit, Failure, error_object};
use crate::output;

/// Reports what is wrong with a command line, or prints the help that it asks for.
pub(crate) fn report_usage(error: clap::Error, args: &[OsString]) -> Exit {
    let error = plain(error);
    let is_error = error.use_stderr();
    let is_json = args.iter().take_while(|it| *it != "--").any(|it| it == "--json");
    if is_error && is_json {
        let rendered = error.render().to_string();
        let mut parts = rendered.trim_start_matches("error: ").split("\n\n").map(str::trim);
        let message = parts.next().unwrap_or_default();
        let hints = parts.filter_map(|it| it.strip_prefix("tip: ")).map(str::to_owned);
        let object = error_object(Exit::Usage, message, &[], &hints.collect::<Vec<_>>(), &[]);
        let _unsaid = std::io::stderr().write_all(object.as_bytes());
        return Exit::Usage;
    }
    let width = output::width(&io::stderr());
    let rendered = error.render().to_string();
    if is_error && !output::fits(&rendered, width) {
        // clap breaks no line of an error.
        let text = output::fitted_lines(&rendered, width);
        let _unsaid = std::io::stderr().write_all(text.as_bytes());
    } else {
        // A help or a version that cannot be printed is a failure like any other; where an error
        // cannot be told, the exit code has to do.
        if let Err(unsaid) = error.print()
            && !is_error
        {
            let failure = Failure::output(unsaid);
            if failure.exit != Exit::READER_GONE {
                let _unsaid = std::io::stderr().write_all(failure.to_text(&[], None).as_bytes());
            }
            return failure.exit;
        }
    }
    if is_error { Exit::Usage } else { Exit::Done }
}

/// Escapes what was typed: it may hold what nobody sees, or what moves the cursor.
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
