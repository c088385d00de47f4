//! `callsign registrar`.

use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// Run a registrar
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::usage(anyhow::anyhow!("not there yet")))
}
