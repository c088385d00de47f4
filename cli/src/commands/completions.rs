//! `callsign completions`.

use clap_complete::{Shell, env::Shells};

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
  callsign completions zsh > ~/.zfunc/_callsign    # a folder of your $fpath

Names are completed too: the registrar is asked for them, and nothing is said where it does not \
answer at once.")]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    // The script asks this program, which knows its commands and asks the registrar for names.
    let shell = args.shell.to_string();
    let shells = Shells::builtins();
    let shell = shells.completer(&shell).expect("every shell has its script");
    shell
        .write_registration("COMPLETE", args::PROGRAM, args::PROGRAM, args::PROGRAM, &mut script)
        .map_err(Failure::output)?;
    context.print(String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
