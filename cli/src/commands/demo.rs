//! `callsign demo`.

use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// Show it all at work, in a folder of its own
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::usage(anyhow::anyhow!("not there yet")))
}
