//! The flags that every command takes.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::typed;

/// The name of this program.
pub(crate) const PROGRAM: &str = "callsign";

/// The options of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Ask this registrar; may be repeated [env:CALLSIGN_REGISTRAR]
    #[arg(long, global = true, value_name = "ENDPOINT")]
    pub(crate) registrar: Vec<String>,
    /// Talk to registrars beyond the loopback without TLS; and as a registrar, listen there
    /// [env:CALLSIGN_INSECURE]
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// Read settings from this file [env:CALLSIGN_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How long to wait for further registrars after the first answer, and for the actors of one
    /// that has just started; without it, as long as they take
    #[arg(long, global = true, value_name = "DURATION", value_parser = typed::duration)]
    pub(crate) patience: Option<Duration>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print in colour: auto (on a terminal, unless NO_COLOR is set), always, never
    #[arg(long, global = true, value_name = "WHEN")]
    #[arg(default_value = "auto", hide_default_value = true, hide_possible_values = true)]
    pub(crate) color: Color,
    /// Say more on standard error; twice for still more [env:CALLSIGN_LOG]
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
