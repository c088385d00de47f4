//! `callsign completions`.

use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::usage(anyhow::anyhow!("not there yet")))
}
