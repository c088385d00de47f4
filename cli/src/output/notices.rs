//! Notes and warnings on standard error, besides the result.

use std::{error::Error, fmt::Display, pin::pin, time::Duration};

use anyhow::anyhow;
use discovery::{Client, RegistrarFailure};
use endpoints::{Name, PlainLines};
use owo_colors::OwoColorize;
use portal::WithCauses;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    context::Context,
    failure::{Exit, Failure, paragraph, who_is_silent},
    output::{self, brief},
};

/// Says something that the user may want to know.
pub(crate) fn note(context: &Context, text: impl Display) {
    let width = output::width(&std::io::stderr());
    let plain = || output::fitted_lines(&PlainLines(&text.to_string()).to_string(), width) + "\n";
    say(context, &if context.json { object("note", &text) } else { plain() });
}

/// Says something that is probably not as the user wants it.
pub(crate) fn warn(context: &Context, text: impl Display) {
    let width = output::width(&std::io::stderr());
    let plain = || paragraph("warning:".yellow().bold(), 9, &text.to_string(), width);
    say(context, &if context.json { object("warning", &text) } else { plain() });
}

/// Says which registrars did not answer, though another did.
pub(crate) fn warn_unanswered(context: &Context, unanswered: &[RegistrarFailure]) {
    if !unanswered.is_empty() {
        warn(context, who_is_silent(unanswered));
    }
}

/// Notes that there is nothing to show; programs see that.
///
/// # Errors
///
/// A failure if a registrar did not answer, which may know of something.
pub(crate) fn nothing_is_there(
    context: &Context,
    nothing: &str,
    unanswered: &[RegistrarFailure],
) -> Result<Exit, Failure> {
    if !unanswered.is_empty() {
        return Err(Failure::not_found(anyhow!("{nothing}")).unless_known_to(unanswered));
    }
    if !context.json {
        note(context, nothing);
    }
    Ok(Exit::Done)
}

/// Waits for the answer to a look-up, and explains the delay if the registrars have just started.
pub(crate) async fn patiently<T>(
    context: &Context,
    client: &Client,
    name: &Name,
    answer: impl Future<Output = T>,
) -> T {
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(UNSAID_MAX, &mut answer).await {
        return answer;
    }
    let Some(left) = client.settling() else { return answer.await };
    // One that is known takes its time for another reason.
    let known = async { client.list(name.as_str()).await.is_ok_and(|it| !it.records.is_empty()) };
    let is_known = tokio::select! {
        biased;
        answer = &mut answer => return answer,
        is_known = known => is_known,
    };
    if !is_known {
        let left = brief(left);
        note(
            context,
            format_args!(
                "the registrar has just started, and does not know `{name}`; it may come back \
                 within {left}"
            ),
        );
    }
    answer.await
}

/// Notes that a list may be incomplete: the registrars that answered have just started, and settle
/// for so long.
pub(crate) fn note_settling(context: &Context, left: Duration) {
    let left = brief(left);
    let text = format_args!("the registrar has just started; others may come back within {left}");
    note(context, text);
}

/// Notes that a list may be incomplete: a registrar has heard nothing of its cluster for so long.
pub(crate) fn note_cut_off(context: &Context, unheard: Duration) {
    let unheard = brief(unheard);
    let text = format_args!(
        "the registrar is cut off from its cluster for {unheard}; actors of others may be missing"
    );
    note(context, text);
}

/// Tells whether the registrars were configured.
pub(crate) fn names_registrars(context: &Context) -> bool {
    let Context { global, environment, .. } = context;
    !global.registrar.is_empty() || environment.registrars().is_some()
}

/// Writes an error and what caused it on one line.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    WithCauses(error).to_string()
}

fn object(kind: &str, text: &impl Display) -> String {
    format!("{}\n", json!({ kind: { "message": text.to_string() } }))
}

fn say(context: &Context, text: &str) {
    context.console.say(text);
}

/// The time after which a user wonders about a missing answer.
pub(crate) const UNSAID_MAX: Duration = Duration::from_millis(300);
