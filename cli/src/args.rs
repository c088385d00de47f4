//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, builder::Styles};

use crate::{
    commands,
    failure::{Exit, report_usage},
};

/// Reads the command line of this process. What is wrong with it, and help that was asked for, is
/// printed here.
pub(crate) fn parse() -> Result<Cli, Exit> {
    let args: Vec<_> = std::env::args_os().collect();
    Cli::try_parse_from(&args).map_err(|error| report_usage(&error, &args))
}

/// Returns the description of the command line, for documents.
pub(crate) fn described() -> clap::Command {
    Cli::command()
}

/// Finds actors by name and connects to them over the nearest transport that provably reaches
/// them.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, styles = STYLES, max_term_width = 100)]
#[command(propagate_version = true, infer_long_args = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Ask this registrar; may be given several times [env: CALLSIGN_REGISTRAR]
    #[arg(long, global = true, value_name = "MULTIADDR")]
    pub(crate) registrar: Vec<String>,
    /// Read settings from this file [env: CALLSIGN_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print in colour: auto (on a terminal, unless NO_COLOR is set), always, never
    #[arg(long, global = true, value_name = "WHEN")]
    #[arg(default_value = "auto", hide_default_value = true, hide_possible_values = true)]
    pub(crate) color: Color,
    /// Say more on standard error; twice for still more [env: CALLSIGN_LOG]
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// When to print in colour.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// The commands, by name.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(commands::check::Args),
    Completions(commands::completions::Args),
    Connect(commands::connect::Args),
    Demo(commands::demo::Args),
    Find(commands::find::Args),
    Ls(commands::ls::Args),
    Man(commands::man::Args),
    Register(commands::register::Args),
    Registrar(commands::registrar::Args),
    Renew(commands::renew::Args),
    Resolve(commands::resolve::Args),
    Schema(commands::schema::Args),
    Status(commands::status::Args),
    Unregister(commands::unregister::Args),
    Wait(commands::wait::Args),
    Watch(commands::watch::Args),
}

/// What this program is called.
pub(crate) const PROGRAM: &str = "callsign";

const STYLES: Styles = Styles::styled();

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 not found or timed out, 2 usage or configuration error,
3 registrar unreachable.

See it work: callsign demo";
