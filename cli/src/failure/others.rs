//! What other programs call the commands, and the options whose values are given without them.

use clap::{Arg, Command};
use endpoints::Endpoint;

/// Returns the command that is meant by a word that other programs have for it.
pub(crate) fn command_meant(typed: &str) -> Option<&'static str> {
    let small = typed.to_lowercase();
    let (_, meant) = COMMANDS.iter().find(|(words, _)| words.contains(&&*small))?;
    Some(meant)
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
    (&["exec"], "register"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::described;

    #[test]
    fn what_others_call_a_command_is_known_and_no_command_itself() {
        let command = described();
        for (words, meant) in COMMANDS {
            assert!(command.find_subcommand(meant).is_some(), "{meant}");
            for word in *words {
                assert!(command.find_subcommand(word).is_none(), "{word}");
                assert_eq!(command_meant(word), Some(*meant));
            }
        }
        assert_eq!(command_meant("frobnicate"), None);
    }
}
