//! Answers to a shell's completion requests.

use std::{ffi::OsStr, iter, time::Duration};

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use discovery::Client;
use endpoints::NamePattern;

use crate::{
    context::{Context, Environment},
    global::Global,
};

/// Completes arguments that are names from the registry. All shells except bash quote what they
/// insert.
pub(crate) fn with_names(command: clap::Command, is_bash: bool) -> clap::Command {
    NAMED.iter().fold(command, |command, (subcommand, argument)| {
        command.mut_subcommand(subcommand, |it| {
            it.mut_arg(argument, |it| {
                it.add(ArgValueCompleter::new(move |word: &OsStr| names(word, is_bash)))
            })
        })
    })
}

/// Returns the names with that beginning. Failures are silent: the line is being typed.
fn names(current: &OsStr, is_bash: bool) -> Vec<CompletionCandidate> {
    let Some(typed) = current.to_str().map(Typed::read) else { return Vec::new() };
    let current = &*typed.text;
    let pattern = NamePattern::new(&format!("{current}*")).unwrap_or_else(|_| NamePattern::any());
    let global = Global { registrar: named_registrars(), ..Global::default() };
    let mut context = Context::new(global, Environment::of_process());
    context.console.fall_silent();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), Ok(registrars)) = (runtime, context.registrars()) else { return Vec::new() };
    let ask = async {
        let client = Client::connect_with(&registrars, context.client_options()).await.ok()?;
        client.few_names(pattern.as_str(), NAMES_MAX).await.ok().map(|it| it.names)
    };
    // A part of a longer list says nothing about the rest: half of it could complete a line that
    // the whole would not.
    let names = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask).await });
    runtime.shutdown_background();
    let mut names = names.ok().flatten().unwrap_or_default();
    names.retain(|it| it.as_str().starts_with(current));
    let kept = std::env::var(KEPT_VARIABLE).unwrap_or_default();
    let written =
        |name: &str| if is_bash { typed.quoted(name, &kept) } else { Some(name.to_owned()) };
    names.iter().filter_map(|it| written(it.as_str())).map(CompletionCandidate::new).collect()
}

/// A word that is being typed.
#[derive(Debug, PartialEq)]
struct Typed {
    /// Its meaning so far.
    text: String,
    /// The quote that it ends in, which may have begun within the word.
    quote: Option<char>,
}

impl Typed {
    fn read(word: &str) -> Self {
        let (mut text, mut quote) = (String::new(), None);
        let mut rest = word.chars();
        while let Some(character) = rest.next() {
            match (character, quote) {
                ('\\', None) => text.extend(rest.next()),
                ('\\', Some('"')) => match rest.next() {
                    Some(it) if ESCAPED_IN_QUOTES.contains(&it) => text.push(it),
                    other => text.extend(iter::once('\\').chain(other)),
                },
                ('"' | '\'', None) => quote = Some(character),
                (it, Some(open)) if it == open => quote = None,
                _ => text.push(character),
            }
        }
        Self { text, quote }
    }

    /// Quotes a name for a shell as the completion of a word, and keeps the typed beginning.
    /// Anybody may register a name such as `$(reboot)`, which must never run.
    fn quoted(&self, name: &str, kept: &str) -> Option<String> {
        let before = Self::read(kept);
        let rest = name.strip_prefix(&*before.text)?;
        // An opening quote stays in the line, and nothing that would end it is inserted.
        let quote = if kept.is_empty() { self.quote } else { before.quote };
        let rest: String = match quote {
            Some('"') => (!rest.contains(['"', '$', '`', '\\', '!'])).then(|| rest.to_owned())?,
            Some(_) => (!rest.contains('\'')).then(|| rest.to_owned())?,
            None => {
                let is_safe = |it: char| it.is_alphanumeric() || "_-.:@%+,".contains(it);
                let escaped = |it| if is_safe(it) { vec![it] } else { vec!['\\', it] };
                rest.chars().flat_map(escaped).collect()
            }
        };
        Some(format!("{kept}{rest}"))
    }
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
    ("top", "pattern"),
    ("unregister", "target"),
    ("wait", "name"),
    ("watch", "pattern"),
];

/// The characters that a backslash protects between double quotes; before others it means itself.
const ESCAPED_IN_QUOTES: [char; 4] = ['"', '$', '`', '\\'];

/// The time limit for the registrar: with the start of the program it stays below 200 ms.
const PATIENCE: Duration = Duration::from_millis(150);

/// The most names for a shell: bash asks before it shows more than a hundred. The last of all is
/// among them, so that the shell completes no more than all of them have in common.
const NAMES_MAX: usize = 200;

/// The variable with the part of the typed word that bash keeps: up to the last of its
/// `COMP_WORDBREAKS`.
pub(crate) const KEPT_VARIABLE: &str = "_CALLSIGN_KEPT";

/// The variable that names the completing shell.
pub(crate) const SHELL_VARIABLE: &str = "COMPLETE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typed_line_is_split_as_the_shell_does() {
        let check = |word: &str, text: &str, quote: Option<char>| {
            assert_eq!(Typed::read(word), Typed { text: text.to_owned(), quote }, "{word}");
        };
        check("fe", "fe", None);
        check("", "", None);
        check(r"\$x", "$x", None);
        check("\"fe", "fe", Some('"'));
        check(r"'a\b", r"a\b", Some('\''));
        check(r"a\", "a", None);
        // Quotes within a word.
        check("q\"", "q", Some('"'));
        check("q\"u'o", "qu'o", Some('"'));
        check("q\"u\"o", "quo", None);
        check("a'b'\"c", "abc", Some('"'));
        check(r#"q\"u"#, "q\"u", None);
        check(r#""a\"b\c"#, r#"a"b\c"#, Some('"'));
    }

    #[test]
    fn no_name_is_run_by_the_shell() {
        let check = |word: &str, name: &str, expected: Option<&str>| {
            let quoted = Typed::read(word).quoted(name, "");
            assert_eq!(quoted.as_deref(), expected, "{word} {name}");
        };
        check("f", "feed.eu-1", Some("feed.eu-1"));
        check("n", "né", Some("né"));
        check("", "$(reboot)", Some(r"\$\(reboot\)"));
        check("", "a;b&c|d>e", Some(r"a\;b\&c\|d\>e"));
        check("", "`id`", Some(r"\`id\`"));
        check("\"", "$(reboot)", None);
        check("\"f", "feed", Some("feed"));
        check("'", "$(reboot)", Some("$(reboot)"));
        check("'", "o'k", None);

        let check = |word: &str, kept: &str, name: &str, expected: Option<&str>| {
            let quoted = Typed::read(word).quoted(name, kept);
            assert_eq!(quoted.as_deref(), expected, "{word} {name}");
        };
        check("eu:a", "eu:", "eu:a:b", Some("eu:a:b"));
        check("eu:$", "eu:", "eu:$(id)", Some(r"eu:\$\(id\)"));
        // The typed part stays unchanged.
        check("k=v", "k=", "k=v=w", Some(r"k=v\=w"));
        check(r"a\;b:c", r"a\;b:", "a;b:cd", Some(r"a\;b:cd"));
        check("x", "y", "x", None);
        // A quote that the line keeps.
        check("q\"", "q\"", "q\"uo", None);
        check("q\"", "q\"", "quo", Some("q\"uo"));
        check("q'", "q'", "q\"uo", Some("q'\"uo"));
        check("q'", "q'", "q'uo", None);
        check(r#"q\""#, "", "q\"uo", Some(r#"q\"uo"#));
        check("q\"u\"o", "", "quo;x", Some(r"quo\;x"));
        check("\"$", "\"", "$(reboot)", None);
        check("'$", "'", "$(reboot)", Some("'$(reboot)"));
    }
}
