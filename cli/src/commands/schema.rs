//! `callsign schema`.

use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// Print the JSON schema of the settings file
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::usage(anyhow::anyhow!("not there yet")))
}
