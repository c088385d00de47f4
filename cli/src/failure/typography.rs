//! Typographic dashes and quotes in a command line, as they come with what is pasted from a
//! document.
//!
//! A shell and clap take them for letters: `—json` is a pattern to them, and `“web”` a name. What
//! follows a `--` is left alone.

use std::ffi::OsString;

use clap::{
    Arg, Command, Error,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};
use endpoints::is_typographic_quote;

/// Returns the fault of the first word with a typographic dash before a flag, or with typographic
/// quotes around it.
pub(crate) fn fault(described: &dyn Fn() -> Command, args: &[OsString]) -> Option<Error> {
    let own = || args.iter().skip(1).take_while(|it| *it != "--").filter_map(|it| it.to_str());
    if !own().any(is_suspect) {
        return None;
    }
    let mut program = described();
    program.build();
    let command = own().find_map(|it| program.find_subcommand(it)).unwrap_or(&program);
    own().find_map(|word| {
        let (what, meant) = match flag_meant(word, command) {
            Some(meant) => ("dash", meant),
            None => ("quotes", unquoted(word)?),
        };
        let mut error = Error::new(ErrorKind::UnknownArgument).with_cmd(command);
        error.insert(ContextKind::InvalidArg, ContextValue::String(word.to_owned()));
        let is = if what == "dash" { "is" } else { "are" };
        let tip = match meant {
            Some(meant) => format!("the {what} {is} typographic; write '{meant}'"),
            None => format!("the {what} {is} typographic; a shell takes \" and '"),
        };
        let tip = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tip);
        let usage = command.clone().render_usage();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
        Some(error)
    })
}

fn is_suspect(word: &str) -> bool {
    word.contains(is_dash) || word.contains(is_typographic_quote)
}

/// Returns the flag, or the `--` before a program, for which a word with a typographic dash stands.
fn flag_meant(word: &str, command: &Command) -> Option<Option<String>> {
    let bare = word.trim_start_matches(|it| it == '-' || is_dash(it));
    if !word[..word.len() - bare.len()].contains(is_dash) {
        return None;
    }
    if bare.is_empty() {
        let takes_program = command.get_positionals().any(Arg::is_last_set);
        return takes_program.then(|| Some("--".to_owned()));
    }
    let (name, value) = match bare.find(['=', '“', '”']) {
        Some(at) => bare.split_at(at),
        None => (bare, ""),
    };
    let mut arguments = command.get_arguments();
    let has_flag = if name.chars().count() == 1 {
        arguments.any(|it| it.get_short().is_some_and(|it| name.starts_with(it)))
    } else {
        arguments.any(|it| it.get_long().is_some_and(|it| it.starts_with(name)))
    };
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    has_flag.then(|| Some(format!("{dashes}{name}{value}")))
}

/// Returns a word without the typographic quotes around it, or around the value of a flag. If it
/// has blanks, or only begins with a quote, nothing is proposed.
fn unquoted(word: &str) -> Option<Option<String>> {
    let (flag, value) = match word.split_once('=').filter(|_| word.starts_with("--")) {
        Some((flag, value)) => (format!("{flag}="), value),
        None => (String::new(), word),
    };
    let inside = value.strip_prefix(is_typographic_quote)?;
    let inside = inside.strip_suffix(|it| is_typographic_quote(it) || matches!(it, '"' | '\''));
    let is_plain = |it: &&str| !it.is_empty() && !it.contains(char::is_whitespace);
    Some(inside.filter(is_plain).map(|it| format!("{flag}{it}")))
}

/// Tells whether a character is a dash other than that of a keyboard.
fn is_dash(character: char) -> bool {
    matches!(character, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::described;

    #[test]
    fn what_is_pasted_from_a_document_is_told_as_that() {
        let check = |line: &str, expected: Option<&str>| {
            let args = ["callsign"].into_iter().chain(line.split(' ')).map(OsString::from);
            let error = fault(&described, &args.collect::<Vec<_>>());
            let said = error.map(|it| it.to_string());
            let tip = said.as_ref().and_then(|it| it.split("tip: ").nth(1)?.lines().next());
            assert_eq!(tip, expected, "{line}: {said:?}");
        };
        let dash = |flag: &str| format!("the dash is typographic; write '{flag}'");
        let quotes = |word: &str| format!("the quotes are typographic; write '{word}'");
        check("ls —json", Some(&dash("--json")));
        check("ls –json", Some(&dash("--json")));
        check("ls -–json", Some(&dash("--json")));
        check("ls −r", Some(&dash("-r")));
        check("ls ‐‐all", Some(&dash("--all")));
        check("wait web –timeout=5s", Some(&dash("--timeout=5s")));
        check("register web /unix/@web —ttl 3s", Some(&dash("--ttl")));
        check("register web /unix/@web –- sleep 5", Some(&dash("--")));
        check("register web /unix/@web — sleep 5", Some(&dash("--")));
        check("find “web”", Some(&quotes("web")));
        check("find «web»", Some(&quotes("web")));
        check("find ‘web’ --all", Some(&quotes("web")));
        check("ls --filter “state=ready”", Some(&quotes("state=ready")));
        check("ls --filter=“state=ready”", Some(&quotes("--filter=state=ready")));
        let shell = "the quotes are typographic; a shell takes \" and '";
        check("register web /unix/@web --meta “note=two words”", Some(shell));
        // They are names, values, and words of another program.
        check("find —web", None);
        check("find web—eu", None);
        check("find don’t", None);
        check("ls — ", None);
        check("find -- “web”", None);
        check("register web /unix/@web --meta note=“x”", None);
        check("register web /unix/@web -- echo —json “x”", None);
    }
}
