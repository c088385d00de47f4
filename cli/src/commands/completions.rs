//! `callsign completions`.

use clap_complete::{Shell, env::Shells};

use crate::{
    complete::SHELL_VARIABLE,
    context::Context,
    failure::{Exit, Failure},
    global::PROGRAM,
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
        .write_registration(SHELL_VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)
        .map_err(Failure::output)?;
    let script = String::from_utf8_lossy(&script);
    context.print(match args.shell {
        Shell::Zsh => script.replace(ZSH_BINDING, ZSH_CALL_OR_BINDING),
        _ => script.into_owned(),
    })?;
    Ok(Exit::Done)
}

/// How the script of zsh ends.
const ZSH_BINDING: &str = "\ncompdef _clap_dynamic_completer_callsign callsign";

/// A file of `$fpath` is read when the first word is completed, and is to complete that already.
const ZSH_CALL_OR_BINDING: &str = "
if [ \"$funcstack[1]\" = _callsign ]; then
    _clap_dynamic_completer_callsign \"$@\"
else
    compdef _clap_dynamic_completer_callsign callsign
fi";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_of_zsh_ends_as_it_is_expected_to() {
        let mut script = Vec::new();
        let shells = Shells::builtins();
        let zsh = shells.completer("zsh").unwrap();
        let name = PROGRAM;
        zsh.write_registration(SHELL_VARIABLE, name, name, name, &mut script).unwrap();
        let script = String::from_utf8(script).unwrap();
        assert!(script.trim_end().ends_with(ZSH_BINDING), "{script}");
    }
}
