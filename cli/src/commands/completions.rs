//! `callsign completions`.

use clap_complete::Shell;

use crate::{
    args,
    context::Context,
    failure::{Exit, Failure},
};

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  source <(callsign completions bash)
  callsign completions fish > ~/.config/fish/completions/callsign.fish
  callsign completions zsh > ~/.zfunc/_callsign    # a folder of your $fpath")]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::described(), args::PROGRAM, &mut script);
    context.print(String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
