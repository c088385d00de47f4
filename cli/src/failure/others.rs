//! What other programs call the commands, and the options whose values are given without them.

use clap::{
    Arg, Command, Error,
    error::{ContextKind, ContextValue},
};
use endpoints::Endpoint;

use super::parts::{replace, styled};

/// Proposes the commands that are meant by a word that other programs have for them, or what to do
/// where no command is. Returns whether it knows the word.
pub(super) fn advise(error: &mut Error, typed: &str) -> bool {
    let small = typed.to_lowercase();
    if let Some((_, instead)) = OTHERWISE.iter().find(|(words, _)| words.contains(&&*small)) {
        let instead = ContextValue::StyledStrs(vec![styled(format_args!("{instead}"))]);
        error.insert(ContextKind::Suggested, instead);
        return true;
    }
    let meant = COMMANDS.iter().filter(|(words, _)| words.contains(&&*small));
    let meant: Vec<_> = meant.map(|(_, command)| *command).collect();
    replace(error, ContextKind::SuggestedSubcommand, &meant);
    !meant.is_empty()
}

/// Returns the option whose value a word would be, if it was given without the option.
pub(crate) fn option_meant<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let endpoint = || match word.parse::<Endpoint>() {
        Ok(_) => true,
        Err(error) => error.suggestion().is_some(),
    };
    let name = match () {
        () if config::duration(word).is_ok() => "timeout",
        () if endpoint() => "listen",
        () => return None,
    };
    command.get_arguments().find(|it| it.get_long() == Some(name))
}

/// The words of others, and the command for which they stand.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["agent", "daemon", "node", "run", "serve", "server", "start"], "registrar"),
    (&["add", "advertise", "announce", "publish"], "register"),
    (&["exec", "run", "spawn", "supervise"], "register"),
    (&["delete", "deregister", "kill", "leave", "remove", "rm", "stop"], "unregister"),
    (&["actors", "catalog", "list", "names", "ps"], "ls"),
    (&["get", "locate", "lookup", "query", "show", "where", "whereis"], "find"),
    (&["await"], "wait"),
    (&["events", "log", "logs", "monitor", "subscribe", "tail"], "watch"),
    (&["htop"], "top"),
    (&["call", "dial", "nc", "open"], "connect"),
    (&["dig", "explain", "nearest", "rank"], "resolve"),
    (&["health", "info", "ping", "stats"], "status"),
    (&["keepalive", "refresh", "touch"], "renew"),
    (&["config", "lint", "test", "validate", "verify"], "check"),
    (&["ca", "cert", "certificate", "certs", "pki", "tls"], "keys"),
    (&["example", "tour", "tutorial"], "demo"),
    (&["id", "me", "who"], "whoami"),
    (&["completion"], "completions"),
    (&["manual"], "man"),
];

/// The words of others for which no command stands, and what to do instead.
const OTHERWISE: &[(&[&str], &str)] = &[
    (&["version"], "write 'callsign --version'"),
    (
        &["reload", "hup"],
        "for new settings, 'systemctl reload callsign-registrar', or 'kill -HUP PID'",
    ),
    (&["restart"], "what has started a registrar restarts it, as 'systemctl' does"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::described;

    #[test]
    fn words_of_others_are_no_commands_themselves() {
        let command = described();
        for (words, meant) in COMMANDS {
            assert!(command.find_subcommand(meant).is_some(), "{meant}");
            let twice = |word| OTHERWISE.iter().any(|(words, _)| words.contains(word));
            assert!(!words.iter().any(twice), "{words:?}");
        }
        let others = COMMANDS.iter().map(|(words, _)| words);
        for word in others.chain(OTHERWISE.iter().map(|(words, _)| words)).copied().flatten() {
            assert!(command.find_subcommand(word).is_none(), "{word}");
        }
    }
}
