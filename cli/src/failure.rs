//! Failures of commands: the message, the remedies, and the exit code.

mod causes;
mod exit;
mod hint;
mod others;
mod parts;
mod report;
pub(crate) mod tips;
mod typography;
mod usage;

use std::{fmt, io};

use config::{Diagnostic, Diagnostics};
use endpoints::PlainLines;
use owo_colors::OwoColorize;
use serde_json::json;

pub(crate) use self::{exit::Exit, hint::Hint, usage::report_usage};
use crate::output::{
    self,
    diagnostics::{self, DiagnosticJson},
};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The end of the program.
    pub(crate) exit: Exit,
    /// The error, with its causes.
    pub(crate) error: anyhow::Error,
    /// Remedies, each in one line.
    pub(crate) hints: Vec<Hint>,
    /// The registrars that did not answer, if none did.
    pub(crate) unanswered: Option<Vec<discovery::RegistrarFailure>>,
}

impl Failure {
    /// The command line or the settings are wrong, or cannot be followed here.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into(), hints: Vec::new(), unanswered: None }
    }

    /// The requested actor is not there, or did not come in time.
    pub(crate) fn not_found(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::NotFound, ..Self::usage(error) }
    }

    /// No registrar answers.
    pub(crate) fn unreachable(
        error: impl Into<anyhow::Error>,
        unanswered: &[discovery::RegistrarFailure],
    ) -> Self {
        let unanswered = Some(unanswered.to_vec());
        Self { exit: Exit::Unreachable, unanswered, ..Self::usage(error) }
    }

    /// The system or a registrar does not allow it, or has reached a bound.
    pub(crate) fn denied(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Denied, ..Self::usage(error) }
    }

    /// The system failed, or an accident happened: the same command may succeed later.
    pub(crate) fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Failed, ..Self::usage(error) }
    }

    /// The system refuses: because this user may not, because the command line or the settings
    /// ask for something that does not exist, or because of an accident.
    pub(crate) fn system(error: io::Error) -> Self {
        Self { exit: Exit::of_io(&error), ..Self::usage(error) }
    }

    /// Standard output cannot be written. If its reader has gone, the program ends as others do
    /// then.
    pub(crate) fn output(error: io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::BrokenPipe => Exit::READER_GONE,
            _ => Exit::Output,
        };
        Self { exit, ..Self::usage(error).context("cannot write to standard output") }
    }

    /// Adds a remedy.
    pub(crate) fn hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a helpful command, and its purpose.
    pub(crate) fn hint_command<'a>(
        self,
        does: &str,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let words = words.into_iter().map(str::to_owned).collect();
        self.hint(Hint::Command { does: does.to_owned(), words })
    }

    /// Reports by the exit code that not all registrars are known to have it. Unchanged if all have
    /// answered.
    pub(crate) fn open(self, unanswered: &[discovery::RegistrarFailure]) -> Self {
        Self { exit: self.exit.of_unanswered(unanswered), ..self }
    }

    /// Names the registrars that did not answer, and may know more. Unchanged if all have answered.
    pub(crate) fn unless_known_to(self, unanswered: &[discovery::RegistrarFailure]) -> Self {
        if unanswered.is_empty() {
            return self;
        }
        let silent = who_is_silent(unanswered);
        let stop = if self.error.to_string().contains('\n') { "\n" } else { "; " };
        let error = anyhow::anyhow!("{}{stop}{silent}", self.error);
        Self { error, ..self }.open(unanswered)
    }

    /// Adds the attempted operation.
    pub(crate) fn context(mut self, context: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.error = self.error.context(context);
        self
    }

    /// Writes it for people.
    fn to_text(&self, hints: &[String], width: Option<u16>) -> String {
        let mut text = String::new();
        if let Some(Diagnostics(diagnostics)) = self.error.downcast_ref() {
            let drawn = diagnostics::draw_all(diagnostics, width);
            text += &drawn.collect::<Vec<_>>().join("\n");
        } else {
            let mut above = self.error.to_string();
            text += &paragraph("error:".red().bold(), 7, &above, width);
            for cause in self.error.chain().skip(1).map(ToString::to_string) {
                // Some errors tell their cause already.
                if !above.contains(&cause) {
                    let words = without_number(&cause);
                    text += &paragraph("  because:".dimmed(), 11, words, width);
                }
                above = cause;
            }
        }
        for hint in hints {
            text += &paragraph("hint:".cyan().bold(), 6, hint, width);
        }
        text
    }

    /// Writes it for programs.
    fn to_json(&self, hints: &[String]) -> String {
        let causes: Vec<_> = self.error.chain().skip(1).map(ToString::to_string).collect();
        let diagnostics =
            self.error.downcast_ref().map_or(&[][..], |Diagnostics(diagnostics)| diagnostics);
        let message = match diagnostics {
            [] => self.error.to_string(),
            [diagnostic] => diagnostic.message.clone(),
            _ => format!("{} things are wrong with the settings", diagnostics.len()),
        };
        error_object(self.exit, &message, &causes, hints, diagnostics)
    }
}

/// Says which registrars did not answer, and what that means.
pub(crate) fn who_is_silent(unanswered: &[discovery::RegistrarFailure]) -> String {
    let silent = match unanswered.len() {
        1 => "a registrar".to_owned(),
        count => format!("{count} registrars"),
    };
    let failures = discovery::RegistrarFailures(unanswered.to_vec());
    format!("{silent} did not answer, and may know more:\n{failures}")
}

/// Writes a text after its title, and broken lines below itself. It may contain untrusted text.
pub(crate) fn paragraph(
    title: impl fmt::Display,
    indent: usize,
    text: &str,
    width: Option<u16>,
) -> String {
    let text = PlainLines(text).to_string();
    let text = match text.split_once('\n') {
        None => output::fitted(&text, width, indent, indent),
        // A text with its own lines is already laid out.
        Some((first, rest)) => {
            let first = output::fitted(first, width, indent, indent);
            format!("{first}\n{}", output::fitted_lines(rest, width))
        }
    };
    format!("{title} {text}\n")
}

/// Removes the number at the end of a system error, which repeats the words.
pub(crate) fn without_number(text: &str) -> &str {
    text.rsplit_once(" (os error ").map_or(text, |(words, _)| words)
}

fn error_object(
    exit: Exit,
    message: &str,
    causes: &[String],
    hints: &[String],
    diagnostics: &[Diagnostic],
) -> String {
    let mut error = json!({
        "kind": exit.kind(),
        "message": message,
        "causes": causes,
        "hints": hints,
    });
    if !diagnostics.is_empty() {
        error["diagnostics"] =
            diagnostics.iter().map(|it| json!(DiagnosticJson::from(it))).collect();
    }
    format!("{}\n", json!({ "error": error }))
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::context::Context;

    #[test]
    fn a_failure_says_why_and_what_to_do() {
        let check = |failure: Failure, expected: &str| {
            let hints: Vec<_> = failure
                .hints
                .iter()
                .map(|it| it.line(&Context::new(Default::default(), Default::default())))
                .collect();
            let text = failure.to_text(&hints, Some(80));
            assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
        };
        check(Failure::not_found(anyhow!("no `web`")), "error: no `web`\n");
        let missing = std::io::Error::from_raw_os_error(2);
        check(
            Failure::usage(missing).context("cannot read `a`").hint("make it"),
            "error: cannot read `a`\n  because: No such file or directory\nhint: make it\n",
        );
        let error = "a:7".parse::<endpoints::Endpoint>().expect_err("it begins with no slash");
        check(
            Diagnostics(vec![diagnostics::of_argument("ENDPOINT", &error)]).into(),
            "\
error: no `/` at the beginning of `a:7`
 --> ENDPOINT:1:1
  |
1 | a:7
  | ^^^
  |
  = help: did you mean `/dns/a/tcp/7`?
",
        );
    }

    #[test]
    fn programs_read_a_failure() {
        let failure = Failure::usage(anyhow!("why")).context("what");
        assert_eq!(
            failure.to_json(&["do".to_owned()]),
            r#"{"error":{"causes":["why"],"hints":["do"],"kind":"usage","message":"what"}}"#
                .to_owned()
                + "\n"
        );
    }
}
