//! What a shell asks for when the Tab key is pressed.

use std::{collections::BTreeSet, ffi::OsStr, time::Duration};

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use discovery::Client;
use endpoints::NamePattern;

use crate::{
    args::Global,
    context::{Context, Environment},
};

/// Lets the arguments that are names be completed by what is registered.
pub(crate) fn with_names(command: clap::Command) -> clap::Command {
    NAMED.iter().fold(command, |command, (subcommand, argument)| {
        command.mut_subcommand(subcommand, |it| {
            it.mut_arg(argument, |it| it.add(ArgValueCompleter::new(names)))
        })
    })
}

/// Returns the names that begin so. Whatever goes wrong, it is silent: the line is being typed.
fn names(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let pattern = NamePattern::new(&format!("{current}*")).unwrap_or_else(|_| NamePattern::any());
    let global = Global { registrar: named_registrars(), ..Global::default() };
    let context = Context::new(global, Environment::of_process());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), Ok(registrars)) = (runtime, context.registrars()) else { return Vec::new() };
    let ask = async {
        let client = Client::connect_with(&registrars, context.client_options()).await.ok()?;
        client.list(pattern.as_str()).await.ok()
    };
    let found = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask).await });
    runtime.shutdown_background();
    let found = found.ok().flatten().unwrap_or_default();
    let names: BTreeSet<_> = found.records.into_iter().map(|it| it.name).collect();
    let begins_so = names.into_iter().filter(|it| it.as_str().starts_with(current));
    begins_so.map(|it| CompletionCandidate::new(it.as_str())).collect()
}

/// Returns the registrars that the line names so far.
fn named_registrars() -> Vec<String> {
    let mut named = Vec::new();
    let mut words = std::env::args_os().skip_while(|it| it != "--").skip(1);
    while let Some(word) = words.next() {
        let Some(word) = word.to_str() else { continue };
        if word == "--registrar" {
            named.extend(words.next().and_then(|it| it.into_string().ok()));
        } else if let Some(value) = word.strip_prefix("--registrar=") {
            named.push(value.to_owned());
        }
    }
    named
}

/// The arguments that are names or patterns, by their commands.
const NAMED: &[(&str, &str)] = &[
    ("connect", "name"),
    ("drain", "target"),
    ("find", "name"),
    ("ls", "pattern"),
    ("renew", "target"),
    ("resolve", "name"),
    ("unregister", "target"),
    ("wait", "name"),
    ("watch", "pattern"),
];

/// How long the registrar is waited for: with the start of the program it stays below what is felt
/// as a pause.
const PATIENCE: Duration = Duration::from_millis(150);
