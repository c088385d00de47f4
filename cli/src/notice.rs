//! What is said on standard error beside the output.

use std::{error::Error, fmt::Display};

use config::REGISTRARS_VARIABLE;
use discovery::{Fault, Faults};
use endpoints::PlainLines;
use owo_colors::OwoColorize;
use portal::WithCauses;
use serde_json::json;

use crate::context::Context;

/// Says something that the user may want to know.
pub(crate) fn note(context: &Context, text: impl Display) {
    say(context, &if context.json { object("note", &text) } else { plain_lines(&text) });
}

/// Says something that is probably not as the user wants it.
pub(crate) fn warn(context: &Context, text: impl Display) {
    let plain = || format!("{} {}", "warning:".yellow().bold(), plain_lines(&text));
    say(context, &if context.json { object("warning", &text) } else { plain() });
}

/// Says which registrars did not answer, though another did. Of the usual ones, one is enough:
/// nobody has said that the others exist.
pub(crate) fn warn_unanswered(context: &Context, unanswered: &[Fault]) {
    if !names_registrars(context) {
        return;
    }
    let silent = match unanswered.len() {
        0 => return,
        1 => "a registrar".to_owned(),
        count => format!("{count} registrars"),
    };
    let faults = Faults(unanswered.to_vec());
    warn(context, format_args!("{silent} did not answer, and may know more:\n{faults}"));
}

/// Tells whether somebody said which registrars to ask.
pub(crate) fn names_registrars(context: &Context) -> bool {
    let Context { global, environment, .. } = context;
    !global.registrar.is_empty() || environment.text(REGISTRARS_VARIABLE).is_some()
}

/// Writes an error and what caused it on one line.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    WithCauses(error).to_string()
}

fn plain_lines(text: &impl Display) -> String {
    format!("{}\n", PlainLines(&text.to_string()))
}

fn object(kind: &str, text: &impl Display) -> String {
    format!("{}\n", json!({ kind: { "message": text.to_string() } }))
}

fn say(context: &Context, text: &str) {
    context.console.say(text);
}
