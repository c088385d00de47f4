//! `callsign check`.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use config::{Diagnostic, Diagnostics, RefusedEndpoint, Settings, Severity};
use owo_colors::OwoColorize;
use serde_json::json;

use super::registrar::{cluster, group, quotas, rules};
use crate::{
    context::{Context, tls},
    failure::{Exit, Failure, paragraph, without_number},
    output::{
        diagnostics::{self, DiagnosticJson, counted},
        notices::warn,
    },
    standard::Input,
    users::{NEED_TIMEOUT, asked},
};

/// Check settings files, and show all of their faults
///
/// Nothing is started and nothing is changed. It exits with 0 if a registrar would accept the files,
/// warnings or not, and with 2 if it would refuse one.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign check examples/*.toml
  callsign check --json settings.toml
  generate-settings | callsign check -")]
pub(crate) struct Args {
    /// The files to check; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Returns the faults of users and groups that are not on this machine.
fn unknown(settings: &Settings) -> Vec<Diagnostic> {
    let (group, rules, quotas) = (group(&settings.registrar), rules(settings), quotas(settings));
    let all = [group.err(), rules.err(), quotas.err()].into_iter().flatten();
    all.flat_map(|it| it.0).collect()
}

/// Returns the faults for which a registrar would not share with its cluster.
fn alone(settings: &Settings, context: &Context) -> Vec<Diagnostic> {
    let adapter = cluster::adapter(settings.cluster.as_ref(), context);
    adapter.err().map(|it| it.0).unwrap_or_default()
}

/// Returns the faults of endpoints at which a registrar does not listen unless it is told that it may.
fn refused(settings: &Settings, context: &Context) -> Vec<Diagnostic> {
    let is_insecure = match context.is_insecure(settings) {
        Ok(is_insecure) => is_insecure,
        Err(Diagnostics(faults)) => return faults,
    };
    let refused = settings.registrar.refused.iter();
    let is_allowed = |it: &&RefusedEndpoint| is_insecure && !it.endpoint.is_tls();
    refused.filter(|it| !is_allowed(it)).map(RefusedEndpoint::fault).collect()
}

const UNASKED: &str = "the system's directory of users and groups (NSS) does not answer: whether \
                       those of the settings are there is not checked";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let mut tally = Tally::default();
    let mut all = Vec::new();
    for file in &args.files {
        let name = file.display().to_string();
        match read(file) {
            Ok(text) => {
                let diagnostics = config::check(&text, &name, |settings| {
                    let refused = refused(&settings, context);
                    let alone = alone(&settings, context);
                    // The file may be correct, and a registrar here would refuse it.
                    let listening = &settings.registrar.listen;
                    let check = |it| tls::check(it, listening, &context.environment);
                    let tls = settings.tls.as_ref().map(check);
                    let unknown = asked(NEED_TIMEOUT, move || unknown(&settings));
                    if unknown.is_none() {
                        warn(context, UNASKED);
                    }
                    [unknown.unwrap_or_default(), tls.unwrap_or_default(), alone, refused].concat()
                });
                let diagnostics = diagnostics.0;
                tally.add(&diagnostics);
                if context.json {
                    all.extend(diagnostics.iter().map(|it| json!(DiagnosticJson::from(it))));
                } else {
                    for drawn in diagnostics::draw_all(&diagnostics, context.width()) {
                        context.print_line(drawn)?;
                    }
                }
            }
            Err(error) => {
                tally.files += 1;
                tally.errors += 1;
                let error = error.to_string();
                let error = without_number(&error);
                let message = format!("cannot read it: {error}");
                if context.json {
                    all.push(json!({ "file": name, "severity": "error", "message": message }));
                } else {
                    let headline = format!("cannot read `{name}`: {error}");
                    let width = context.width();
                    context.print_line(paragraph("error:".red().bold(), 7, &headline, width))?;
                }
            }
        }
    }
    if context.json {
        context.print_json(&all)?;
    } else {
        context.print_line(tally.summary())?;
    }
    Ok(if tally.errors > 0 { Exit::Usage } else { Exit::Done })
}

fn read(file: &Path) -> io::Result<String> {
    if file != Path::new("-") {
        return config::read_once(file);
    }
    let mut text = String::new();
    Input.read_to_string(&mut text)?;
    Ok(text)
}

/// The number of faults.
#[derive(Debug, Default)]
struct Tally {
    files: usize,
    errors: usize,
    warnings: usize,
}

impl Tally {
    fn add(&mut self, diagnostics: &[Diagnostic]) {
        let errors = diagnostics.iter().filter(|it| it.severity == Severity::Error).count();
        self.files += 1;
        self.errors += errors;
        self.warnings += diagnostics.len() - errors;
    }

    /// Says it in a line.
    fn summary(&self) -> String {
        let files = counted(self.files, "file");
        let errors = counted(self.errors, "error");
        let warnings = counted(self.warnings, "warning");
        match (self.errors, self.warnings) {
            (0, 0) => format!("{files} checked, nothing wrong"),
            (_, 0) => format!("{files} checked: {errors}"),
            (0, _) => format!("{files} checked: {warnings}"),
            _ => format!("{files} checked: {errors}, {warnings}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts() {
        let check = |files, errors, warnings, expected: &str| {
            assert_eq!(Tally { files, errors, warnings }.summary(), expected);
        };
        check(1, 0, 0, "1 file checked, nothing wrong");
        check(2, 0, 1, "2 files checked: 1 warning");
        check(2, 1, 0, "2 files checked: 1 error");
        check(1, 12, 2, "1 file checked: 12 errors, 2 warnings");
    }
}
