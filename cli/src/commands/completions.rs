//! `callsign completions`.

use clap_complete::{Shell, env::Shells};

use crate::{
    complete::{KEPT_VARIABLE, SHELL_VARIABLE},
    context::Context,
    failure::{Exit, Failure},
    global::PROGRAM,
};

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  source <(callsign completions bash)
  callsign completions fish | source    # in config.fish
  callsign completions zsh > ~/.zfunc/_callsign    # a folder of your $fpath

Names are completed too: the script asks the registrar for them, and prints nothing if that does \
not answer promptly.")]
pub(crate) struct Args {
    /// The shell
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
        Shell::Bash => BASH.replace("KEPT", KEPT_VARIABLE).replace("VAR", SHELL_VARIABLE),
        Shell::Zsh => script.replace(ZSH_BINDING, ZSH_CALL_OR_BINDING),
        _ => script.into_owned(),
    })?;
    Ok(Exit::Done)
}

/// The script of bash.
///
/// Why not that of `clap_complete`? bash also breaks a line at `:` and `=` (`COMP_WORDBREAKS`), and
/// replaces only the text after the last of these with an answer; that script takes the pieces for
/// words. This one joins them, and cuts off the answers what bash keeps.
const BASH: &str = r#"
_callsign_complete() {
    local IFS=$'\013' line=${COMP_LINE:0:COMP_POINT} words=() word last= kept i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        local before=${line%%[![:blank:]]*}
        line=${line#"$before"}
        # The last word ends at the cursor.
        ((i == COMP_CWORD)) && word=$line
        if [[ $i -gt 0 && -z $before && ( $word =~ ^[:=@] || $last =~ ^[:=@]+$ ) ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        last=$word
        line=${line#"$word"}
    done
    word=${words[${#words[@]} - 1]}
    kept=${word%"$2"}
    [[ $kept == "$word" && -n $2 ]] && kept=
    COMPREPLY=($(
        _CLAP_IFS="$IFS" _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) KEPT="$kept" VAR=bash \
            callsign -- "${words[@]}"
    ))
    if [[ $? != 0 ]]; then
        unset COMPREPLY
        return
    fi
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    # More of an address or a value follows.
    [[ ${COMPREPLY-} =~ [=/:]$ ]] || compopt +o nospace
}
complete -o nospace -o bashdefault -o nosort -F _callsign_complete callsign
"#;

/// The end of zsh's script.
const ZSH_BINDING: &str = "\ncompdef _clap_dynamic_completer_callsign callsign";

/// A file of `$fpath` is read when the first word is completed, and has to complete that word
/// already.
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
