//! The command line.

use std::{io, path::PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser};
use clap_complete::CompleteEnv;

use crate::{
    commands::Command,
    complete,
    failure::{Exit, report_usage, tips},
    global::{Global, PROGRAM},
    output::{STYLES, fitted, width},
};

/// Reads the command line of this process. Its faults, and requested help, are printed here.
pub(crate) fn parse() -> Result<Cli, Exit> {
    let args: Vec<_> = std::env::args_os().collect();
    // A shell that completes a line asks by a variable, and gets its answer here.
    let shell = std::env::var_os(complete::SHELL_VARIABLE).map(PathBuf::from);
    let is_bash = shell.is_some_and(|it| it.file_stem().is_some_and(|it| it == "bash"));
    let factory = || complete::with_names(described(), is_bash);
    let folder = std::env::current_dir().ok();
    match CompleteEnv::with_factory(factory)
        .var(complete::SHELL_VARIABLE)
        .try_complete(&args, folder.as_deref())
    {
        Ok(false) => {}
        Ok(true) => return Err(Exit::Done),
        Err(error) => return Err(report_usage(error, &args)),
    }
    let columns = columns();
    tips::read(&|| described_within(columns), &args)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches))
        .map_err(|error| report_usage(error, &args))
}

/// Returns the width for a help: that of the terminal, even if a pager shows it; else that of
/// COLUMNS.
fn columns() -> usize {
    let said = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|it| *it > 0);
    let columns = width(&io::stdout()).or_else(said).or_else(|| width(&io::stderr()));
    columns.map_or(COLUMNS_MAX, usize::from).min(COLUMNS_MAX)
}

/// Returns the description of the command line, for a help of that width.
fn described_within(columns: usize) -> clap::Command {
    let command = Cli::command().term_width(columns);
    let template = template(&command, columns);
    let mut command = command.help_template(template);
    // clap breaks the description of an argument, but never a usage.
    if columns < COLUMNS_MAX {
        command.build();
        command = with_fitted_usages(command, u16::try_from(columns).ok());
    }
    command
}

/// Breaks the usages of its commands, and of theirs.
fn with_fitted_usages(command: clap::Command, width: Option<u16>) -> clap::Command {
    let names: Vec<_> = command.get_subcommands().map(|it| it.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |mut it| {
            let usage = it.render_usage().to_string();
            let usage = usage.trim_start_matches("Usage: ");
            let usage = fitted(usage, width, "Usage: ".len(), "Usage: ".len());
            with_fitted_usages(it, width).override_usage(usage)
        })
    })
}

/// Returns the description of the command line.
pub(crate) fn described() -> clap::Command {
    described_within(COLUMNS_MAX)
}

/// Writes the help of the program: its commands in groups, in the order in which they are met.
fn template(command: &clap::Command, columns: usize) -> String {
    let header = STYLES.get_header();
    let literal = STYLES.get_literal();
    let width = u16::try_from(columns).ok();
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (title, names) in GROUPS {
        text += &format!("\n{header}{title}:{header:#}\n");
        for name in *names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            // The command `help` is added later, and needs no description.
            let about =
                about.map_or_else(|| "Show the help of a command".into(), |it| it.to_string());
            let about = fitted(&about, width, COMMANDS_COLUMN, COMMANDS_COLUMN);
            text += &format!("  {literal}{name:<11}{literal:#}  {about}\n");
        }
    }
    text + &format!("\n{header}Options:{header:#}\n{{options}}{{after-help}}")
}

/// Finds actors by name and connects to them over the nearest transport that provably reaches
/// them.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, styles = STYLES)]
#[command(propagate_version = true, infer_long_args = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The columns that every help fits, at most.
const COLUMNS_MAX: usize = 80;

/// The column of the commands' descriptions in the help.
const COMMANDS_COLUMN: usize = 15;

/// The commands as they are shown in the help.
const GROUPS: &[(&str, &[&str])] = &[
    ("The registrar", &["registrar", "status", "whoami", "check", "keys"]),
    ("Actors", &["register", "renew", "drain", "unregister"]),
    ("Finding them", &["ls", "tree", "find", "wait", "watch", "top", "resolve", "connect"]),
    ("Learning more", &["demo", "help", "man", "completions", "schema"]),
];

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 not found or timed out, 2 usage or settings error,
3 registrar unreachable, 4 denied, 5 in use, 6 output cannot be written,
7 the system failed.
`register … -- COMMAND` ends with the command's own code, or with 125 to 127.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        described().debug_assert();
    }

    #[test]
    fn the_help_shows_every_command_on_a_line() {
        let mut command = described();
        command.build();
        let shown: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).collect();
        for subcommand in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            assert!(shown.contains(&&subcommand.get_name()), "{}", subcommand.get_name());
        }
        for line in command.render_help().to_string().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
