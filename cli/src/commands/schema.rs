//! `callsign schema`.

use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// Print the JSON schema of settings files, for editors
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign schema > callsign.schema.json

With `#:schema callsign.schema.json` in the first line of a settings file, many
editors complete its keys and show diagnostics while you write.")]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, context: &Context) -> Result<Exit, Failure> {
    context.print(config::schema())?;
    Ok(Exit::Done)
}
