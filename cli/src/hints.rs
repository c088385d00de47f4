//! Remedies for failures that depend on more than themselves.
//!
//! A hint is safe to follow, also as root: it removes nothing, and ends no process.

mod tls;
mod unbound;

use std::fs;

use discovery::{
    Candidate, Explanation, LinkError, Outcome, ReachError, RegistrarFailure, RegistrarFailures,
};
use endpoints::{Endpoint, UnixAddress};
use transport::{DialError, Listening, Silence, listening_at_each};

pub(crate) use self::unbound::{held, rival_in, unbound};
use crate::{context::Context, failure::Hint, output::notices::names_registrars};

impl Hint {
    /// Writes it. A command asks the same registrars as the one that failed.
    pub(crate) fn line(&self, context: &Context) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Command { does, words } => {
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                format!("{does}: `{}`", command(&words, context))
            }
        }
    }
}

/// Says what to do when no registrar answers.
pub(crate) fn unreached(failures: &[RegistrarFailure], context: &Context) -> Vec<String> {
    let mut hints = Vec::new();
    if let Some(command) = start_command(failures, context) {
        hints.push(format!("start one here: `{command}`"));
    }
    for failure in failures {
        let is_hidden = matches!(*failure.error, LinkError::Dial(DialError::NoPermission));
        if let (true, Endpoint::Unix(UnixAddress::Path(path))) = (is_hidden, &failure.registrar) {
            // In a folder that one may not enter, `ls` sees nothing either.
            let is_seen = fs::symlink_metadata(path.as_path()).is_ok();
            let look = if is_seen { "ls -l" } else { "namei -l" };
            hints.push(format!("see who may connect: `{look} {}`", quoted(path.as_str())));
        }
    }
    if let Some(failure) =
        failures.iter().find(|it| matches!(*it.error, LinkError::OthersPort { .. }))
    {
        hints.push(format!(
            "to believe that of the other user: `--registrar {}`",
            failure.registrar
        ));
    }
    hints.extend(tls::hints(failures).into_iter().map(str::to_owned));
    let is_absent =
        |it: &&RegistrarFailure| matches!(*it.error, LinkError::Dial(DialError::Refused));
    hints.extend(padded(failures.iter().filter(is_absent).map(|it| &it.registrar)));
    if failures.iter().any(|it| matches!(*it.error, LinkError::Insecure)) {
        hints.extend(INSECURE_REGISTRAR.iter().map(|it| (*it).to_owned()));
        return hints;
    }
    // A caller that is refused has found the registrar.
    if RegistrarFailures(failures.to_vec()).have_answer() {
        return hints;
    }
    let or = if hints.is_empty() { "" } else { "or " };
    hints.push(format!("{or}say where it is: `--registrar ENDPOINT`, or CALLSIGN_REGISTRAR"));
    hints
}

/// Returns the endpoints at which nobody listens, as dials have shown.
pub(crate) fn refused(explanation: &Explanation) -> impl Iterator<Item = &Endpoint> {
    let is_refused = |it: &&Candidate| match &it.outcome {
        Outcome::Failed { error, .. } => {
            matches!(error, ReachError::Dial(DialError::Refused))
        }
        _ => false,
    };
    explanation.candidates.iter().filter(is_refused).map(|it| &it.stamped.endpoint)
}

/// Says of abstract names at which nobody listens whether somebody does at the same name with NULs
/// behind it, as HAProxy's `abns@` and Node before 22 have it.
pub(crate) fn padded<'a>(refused: impl IntoIterator<Item = &'a Endpoint>) -> Vec<String> {
    let is_name = |it: &&Endpoint| matches!(it, Endpoint::Unix(UnixAddress::Abstract(_)));
    let names: Vec<_> = refused.into_iter().filter(is_name).cloned().collect();
    if names.is_empty() {
        return Vec::new();
    }
    let told = listening_at_each(&names).into_iter().zip(&names);
    told.filter_map(|(listening, name)| match listening {
        Listening::Nobody(Silence::Padded { at }) => Some(format!(
            "`{name}` padded with NULs is another name, and somebody listens there: `{at}`"
        )),
        _ => None,
    })
    .collect()
}

/// Returns the command that starts a registrar at the configured place. There is none if one of
/// those places is taken, however silent its holder: a second registrar would be in its way, or
/// split the actors.
fn start_command(failures: &[RegistrarFailure], context: &Context) -> Option<String> {
    let is_absent = |it: &RegistrarFailure| match *it.error {
        LinkError::Dial(DialError::Refused | DialError::Missing) => true,
        // The port is taken, or the host lacks its address, and the socket is enough.
        LinkError::OthersPort { .. }
        | LinkError::Dial(DialError::LoopbackDown | DialError::NoLoopback { .. }) => {
            failures.len() > 1 && !names_registrars(context)
        }
        _ => false,
    };
    if failures.is_empty() || !failures.iter().all(is_absent) {
        return None;
    }
    let places: Vec<_> = failures.iter().map(|it| &it.registrar).collect();
    if !places.iter().all(|it| can_be_bound_here(it)) {
        return None;
    }
    // A registrar is not started without its own folder.
    if !names_registrars(context) && !context.has_runtime_dir() {
        return None;
    }
    let mut command = "callsign registrar".to_owned();
    if names_registrars(context) {
        for place in places {
            command += &format!(" --listen {}", quoted(&place.to_string()));
        }
    } else if let Some(file) = &context.global.config {
        command += &format!(" --config {}", quoted(&file.to_string_lossy()));
    }
    Some(command)
}

/// Tells whether a registrar of this user could probably listen there.
fn can_be_bound_here(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => {
            path.as_path().parent().is_some_and(|it| it.is_dir())
        }
        Endpoint::Unix(UnixAddress::Abstract(_)) => true,
        Endpoint::Tcp(tcp) => tcp.host.is_loopback() && !tcp.tls,
        Endpoint::Memory(_) => false,
    }
}

/// The two ways out for a registrar beyond the loopback without TLS.
const INSECURE_REGISTRAR: [&str; 2] = [
    "encrypt: let it listen with `/tls`, name it so, and name a certificate in `[tls]`",
    "or trust the network: `--insecure`, or `insecure = true` in `[registrar]`",
];

/// The same, for who starts one.
pub(crate) const INSECURE_LISTENER: [&str; 2] = [
    "encrypt: add `/tls`, and name a certificate in `[tls]`; `callsign keys` makes them",
    "or trust the network: `--insecure`, or `insecure = true` in `[registrar]`",
];

/// Writes a command of this program, to the same registrars as this one.
pub(crate) fn command(words: &[&str], context: &Context) -> String {
    let global = &context.global;
    let mut all = vec!["callsign"];
    // Words after a `--` belong to another program.
    let (own, others) =
        words.split_at(words.iter().position(|it| *it == "--").unwrap_or(words.len()));
    all.extend(own);
    all.extend(global.registrar.iter().flat_map(|it| ["--registrar", it]));
    let config = global.config.as_ref().map(|it| it.to_string_lossy());
    all.extend(config.iter().flat_map(|it| ["--config", it]));
    all.extend(others);
    in_words(&all)
}

/// Writes a command as it would be typed.
pub(crate) fn in_words(words: &[&str]) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/.,:=@%+-_".contains(it);
    let quoted = words.iter().map(|word| {
        if word.chars().all(is_plain) && !word.is_empty() {
            (*word).to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    in_words(&[word])
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc, time::Duration};

    use clap::Parser;

    use super::*;
    use crate::{args::Cli, context::Environment};

    pub(super) fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    fn context(args: &[&str]) -> Context {
        let args = ["callsign", "ls"].iter().chain(args);
        let Cli { global, .. } = Cli::try_parse_from(args).unwrap();
        Context::new(global, Environment::default())
    }

    /// Checks that every command of callsign's in a hint is valid.
    pub(super) fn check_commands(hint: &str) {
        // A command of another process is not for anybody to type.
        if hint.starts_with("process ") {
            return;
        }
        for quoted in hint.split('`').skip(1).step_by(2) {
            if quoted.starts_with("callsign ") {
                let words = shlex::split(quoted).unwrap();
                assert!(Cli::try_parse_from(words).is_ok(), "{hint}");
            } else if quoted.starts_with('/') {
                assert!(quoted.parse::<Endpoint>().is_ok(), "{hint}");
            }
        }
    }

    #[test]
    fn a_registrar_is_started_only_where_none_is() {
        let check = |failures: Vec<(&str, LinkError)>, args: &[&str], expected: Option<&str>| {
            let failure = |(registrar, error)| RegistrarFailure {
                registrar: endpoint(registrar),
                error: Arc::new(error),
            };
            let failures: Vec<_> = failures.into_iter().map(failure).collect();
            let hints = unreached(&failures, &context(args));
            hints.iter().for_each(|it| check_commands(it));
            let start = hints.iter().find_map(|it| it.strip_prefix("start one here: "));
            assert_eq!(start, expected.map(|it| format!("`{it}`")).as_deref(), "{hints:?}");
        };
        let refused = || LinkError::Dial(DialError::Refused);
        let missing = || LinkError::Dial(DialError::Missing);
        let named = |it| vec!["--registrar", it];

        check(vec![("/unix/@r", refused())], &[], Some("callsign registrar"));
        check(
            vec![("/unix/tmp/r.sock", missing()), ("/ip4/127.0.0.1/tcp/1616", refused())],
            &[],
            Some("callsign registrar"),
        );
        // A host without IPv4.
        let no_ipv4 = || {
            let address = Ipv4Addr::LOCALHOST.into();
            LinkError::Dial(DialError::NoLoopback { address, instead: None })
        };
        check(
            vec![("/unix/tmp/r.sock", missing()), ("/ip4/127.0.0.1/tcp/1616", no_ipv4())],
            &[],
            Some("callsign registrar"),
        );
        check(vec![("/ip4/127.0.0.1/tcp/7", no_ipv4())], &named("/ip4/127.0.0.1/tcp/7"), None);
        check(
            vec![("/unix/@r", refused())],
            &["--config", "a b.toml"],
            Some("callsign registrar --config 'a b.toml'"),
        );
        check(
            vec![("/unix/tmp/r.sock", missing())],
            &named("/unix/tmp/r.sock"),
            Some("callsign registrar --listen /unix/tmp/r.sock"),
        );
        check(
            vec![("/unix/tmp/it's", missing())],
            &named("/unix/tmp/it's"),
            Some(r"callsign registrar --listen '/unix/tmp/it'\''s'"),
        );
        check(
            vec![("/ip6/::1/tcp/7", refused())],
            &named("/ip6/::1/tcp/7"),
            Some("callsign registrar --listen /ip6/::1/tcp/7"),
        );
        // It is there, or cannot be bound here.
        for (registrar, error) in [
            ("/unix/@r", LinkError::NoAnswer(Duration::from_secs(2))),
            ("/unix/@r", LinkError::Dial(DialError::Busy)),
            ("/unix/@r", LinkError::NotARegistrar { agent: String::new() }),
            ("/unix/tmp/r.sock", LinkError::Dial(DialError::NoPermission)),
            ("/unix/tmp/r.sock", LinkError::Dial(DialError::NotASocket { found: "a file" })),
            ("/ip4/127.0.0.1/tcp/7", LinkError::Dial(DialError::TimedOut)),
            ("/ip4/192.0.2.1/tcp/7", refused()),
            ("/dns/elsewhere.example/tcp/7", refused()),
            ("/unix/nowhere/at/all.sock", missing()),
            ("/unix/proc/version/r.sock", missing()),
            ("/ip4/127.0.0.1/tcp/7/tls", refused()),
            ("/memory/7", refused()),
        ] {
            check(vec![(registrar, error)], &named(registrar), None);
        }
        let one_is_there = LinkError::NoAnswer(Duration::from_secs(2));
        check(vec![("/unix/@r", refused()), ("/unix/@q", one_is_there)], &[], None);
    }

    #[test]
    fn commands_can_be_typed_again() {
        let check = |words: &[&str], expected: &str| assert_eq!(in_words(words), expected);
        check(&["callsign", "ls"], "callsign ls");
        check(&["callsign", "watch", "feed*"], "callsign watch 'feed*'");
        check(&["echo", "it's"], r"echo 'it'\''s'");
    }

    #[test]
    fn a_command_asks_the_same_registrars() {
        let check = |words: &[&str], args: &[&str], expected: &str| {
            let words = words.iter().map(|it| (*it).to_owned()).collect();
            let line = Hint::Command { does: "do so".to_owned(), words }.line(&context(args));
            check_commands(&line);
            assert_eq!(line, format!("do so: `{expected}`"));
        };
        check(&["ls"], &[], "callsign ls");
        check(
            &["find", "it's", "--all"],
            &["--registrar", "/unix/@r", "--registrar", "/ip4/127.0.0.1/tcp/7"],
            r"callsign find 'it'\''s' --all --registrar /unix/@r --registrar /ip4/127.0.0.1/tcp/7",
        );
        check(
            &["register", "web", "/unix/@web", "--", "./web", "a b"],
            &["--config", "my settings.toml"],
            "callsign register web /unix/@web --config 'my settings.toml' -- ./web 'a b'",
        );
    }

    #[test]
    fn every_example_is_a_command() {
        let mut count = 0;
        for command in crate::args::described().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter(|it| it.starts_with("  callsign ")) {
                let ends = ["  ", " | ", " && ", " > "].map(|it| line.trim_start().find(it));
                let end = ends.into_iter().flatten().min().unwrap_or(line.trim_start().len());
                let words = shlex::split(&line.trim_start()[..end]).unwrap();
                let parsed = Cli::try_parse_from(&words);
                assert!(parsed.is_ok(), "{line}: {parsed:?}");
                count += 1;
            }
        }
        assert!(count > 30, "only {count} examples are seen");
    }
}
