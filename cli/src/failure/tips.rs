//! Corrections of an invalid command line.
//!
//! clap proposes similar words. Here each proposal is tried before it is shown: the corrected line
//! is parsed again, and has to get further.

use std::{ffi::OsString, ops::Range};

use clap::{
    Arg, ArgMatches, Command, Error,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};
use endpoints::{Plain, names_like};

use super::{
    others::{advise, option_meant},
    parts::{forget, replace, styled, text},
    typography,
};
use crate::{output::STYLES, programs::is_program};

/// Parses a command line. If it is invalid, the error proposes a valid one.
pub(crate) fn read(
    described: &dyn Fn() -> Command,
    args: &[OsString],
) -> Result<ArgMatches, Error> {
    if let Some(fault) = typography::fault(described, args) {
        return Err(fault);
    }
    let read = described().try_get_matches_from(args);
    if let Some(error) = detached(described, args) {
        return Err(error);
    }
    let mut error = match read {
        Ok(matches) => return Ok(matches),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let Some(line) = Line::of(&error, described, args) else {
                forget(&mut error);
                return Err(error);
            };
            if let Some(read) = line.as_value_before() {
                return read;
            }
            line.advise(&mut error);
        }
        ErrorKind::InvalidSubcommand => {
            let typed = text(&error, ContextKind::InvalidSubcommand);
            let command = described();
            let within = named_command(&command, args);
            let known = within.unwrap_or(&command).get_subcommands().filter(|it| !it.is_hide_set());
            let near = names_like(&typed, known.map(Command::get_name).chain(["help"]));
            forget(&mut error);
            if within.is_some() || !advise(&mut error, &typed) {
                replace(&mut error, ContextKind::SuggestedSubcommand, &near);
            }
        }
        ErrorKind::InvalidValue => {
            let typed = text(&error, ContextKind::InvalidValue);
            let valid = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(valid)) => valid.clone(),
                _ => Vec::new(),
            };
            let near = names_like(&typed, valid.iter().map(String::as_str));
            replace(&mut error, ContextKind::SuggestedValue, &near);
        }
        _ => {}
    }
    Err(error)
}

/// Finds a word that was meant as the value of the option before it, and is taken for an argument
/// by itself: the option takes its value after a `=` only, because it need not have one.
fn detached(described: &dyn Fn() -> Command, args: &[OsString]) -> Option<Error> {
    let is_long = |it: &OsString| it.to_str().is_some_and(|it| it.starts_with("--"));
    if !args.windows(2).any(|it| is_long(&it[0]) && !is_long(&it[1])) {
        return None;
    }
    let mut command = described_command(described, args)?;
    let option = |word: &OsString| {
        let word = word.to_str()?;
        command.get_arguments().find(|it| it.is_require_equals_set() && is_named(it, word))
    };
    let own = args.iter().take_while(|it| *it != "--").count();
    let (at, option) = (1..own.saturating_sub(1)).find_map(|at| {
        let option = option(&args[at])?;
        let joined = [args[at].as_os_str(), args[at + 1].as_os_str()].join("=".as_ref());
        let mut line = args.to_vec();
        line.splice(at..at + 2, [joined]);
        // A word that is no value of it is what it seems.
        let is_value = described()
            .try_get_matches_from(line)
            .map_or_else(|it| it.kind() == ErrorKind::MissingRequiredArgument, |_| true);
        is_value.then_some((at, format!("--{}", option.get_long().unwrap_or_default())))
    })?;
    let (valid, invalid) = (STYLES.get_valid(), STYLES.get_invalid());
    let word = args[at + 1].to_string_lossy();
    let word = Plain(&word);
    let text = format!(
        "'{invalid}{word}{invalid:#}' is not read as the value of '{option}', but as an argument\n\n  \
         {valid}tip:{valid:#} write '{valid}{option}={word}{valid:#}', or an argument before \
         '{option}'"
    );
    Some(command.error(ErrorKind::InvalidValue, text))
}

/// A command line with a word that is not an argument of its command.
struct Line<'a> {
    described: &'a dyn Fn() -> Command,
    args: &'a [OsString],
    /// The command whose argument it would be.
    command: Command,
    /// The position of the word.
    at: usize,
    /// The unknown part of the word: it may be one letter of several, or have a value after it.
    unknown: String,
}

impl<'a> Line<'a> {
    fn of(error: &Error, described: &'a dyn Fn() -> Command, args: &'a [OsString]) -> Option<Self> {
        let unknown = text(error, ContextKind::InvalidArg);
        let own = || args.iter().enumerate().skip(1).take_while(|(_, it)| *it != "--");
        let (at, _) = own().find(|(_, it)| it.to_str().is_some_and(|it| is_of(it, &unknown)))?;
        let mut command = described();
        command.build();
        let command = named_command(&command, &args[1..at]).unwrap_or(&command).clone();
        Some(Self { described, args, command, at, unknown })
    }

    fn word(&self) -> &str {
        self.args[self.at].to_str().unwrap_or_default()
    }

    /// Takes the word for the value of the option before it. A number such as `-1s` is such a
    /// value, and is reported as out of bounds; for any other word with a leading dash the missing
    /// value before it is reported.
    fn as_value_before(&self) -> Option<Result<ArgMatches, Error>> {
        let before = self.args[..self.at].last()?.to_str()?;
        self.command.get_arguments().find(|it| takes_value(it) && is_named(it, before))?;
        let number = self.word().strip_prefix('-')?;
        if number.starts_with(|it: char| it.is_ascii_digit() || it == '.') {
            let joined = OsString::from(format!("{before}={}", self.word()));
            return Some(self.tried(self.at - 1..self.at + 1, &[joined]));
        }
        let cut = (self.described)().try_get_matches_from(&self.args[..self.at]);
        let is_missing = matches!(&cut, Err(error) if error.kind() == ErrorKind::InvalidValue);
        is_missing.then_some(cut)
    }

    /// Reads the line with some words replaced.
    fn tried(&self, place: Range<usize>, words: &[OsString]) -> Result<ArgMatches, Error> {
        let mut args = self.args.to_vec();
        args.splice(place, words.iter().cloned());
        (self.described)().try_get_matches_from(args)
    }

    /// Tells whether a line gets further than this one: its fault is another.
    fn gets_further(&self, tried: Result<ArgMatches, Error>, flag: &str) -> bool {
        tried.err().is_none_or(|error| {
            let about = text(&error, ContextKind::InvalidArg);
            let is_same = error.kind() == ErrorKind::UnknownArgument && about == self.unknown;
            let is_about_flag = !flag.is_empty() && about.split([' ', '=']).any(|it| it == flag);
            // The missing argument was missing before.
            let is_missing = error.kind() == ErrorKind::MissingRequiredArgument;
            !is_same && (!is_about_flag || is_missing)
        })
    }

    /// Adds a correction to the error, if one is probable and valid.
    fn advise(&self, error: &mut Error) {
        let elsewhere = self.elsewhere(error);
        forget(error);
        // clap's shows its proposal.
        let usage = self.command.clone().render_usage();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
        if let Some(tip) = self.program_meant() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
            return;
        }
        if let Some(flag) = self.flag_meant() {
            error.insert(ContextKind::SuggestedArg, ContextValue::String(flag));
            return;
        }
        let tip = self.bare_meant().or(elsewhere).or_else(|| self.value_meant());
        let tip = tip.or_else(|| self.behind_dashes());
        if let Some(tip) = tip {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        }
    }

    /// A program whose flag it is, and before which a `--` was forgotten.
    fn program_meant(&self) -> Option<StyledStr> {
        self.command.get_positionals().find(|it| it.is_last_set())?;
        let named = self.args.iter().position(|it| it == self.command.get_name())?;
        let is_value = |at: usize| {
            let before = self.args[at - 1].to_str().unwrap_or_default();
            self.command.get_arguments().any(|it| takes_value(it) && is_named(it, before))
        };
        let words = (named + 1..self.at).filter(|at| !is_value(*at)).filter_map(|at| {
            let word = self.args[at].to_str()?;
            (!word.starts_with('-')).then_some((at, word))
        });
        // The first is the name of the actor.
        let (at, word) = words.skip(1).find(|(_, it)| is_program(it))?;
        let tried = self.tried(at..at, &["--".into()]);
        self.gets_further(tried, "").then(|| {
            let (valid, invalid) = (STYLES.get_valid(), STYLES.get_invalid());
            let word = Plain(word);
            styled(format_args!(
                "to start the program '{invalid}{word}{invalid:#}', write '{valid}-- \
                 {word}{valid:#}'"
            ))
        })
    }

    /// The option of a similar name.
    fn flag_meant(&self) -> Option<String> {
        let bare = self.unknown.strip_prefix("--")?;
        let shown = self.command.get_arguments().filter(|it| !it.is_hide_set());
        let long: Vec<_> = shown.filter_map(Arg::get_long).collect();
        let behind = self.word().strip_prefix(&self.unknown).unwrap_or_default();
        names_like(bare, long).into_iter().map(|it| format!("--{it}")).find(|flag| {
            let mut args = self.args.to_vec();
            args[self.at] = OsString::from(format!("{flag}{behind}"));
            let is_detached = detached(self.described, &args).is_some();
            !is_detached && self.gets_further((self.described)().try_get_matches_from(args), flag)
        })
    }

    /// A value given without its flag, corrected by adding the flag.
    fn bare_meant(&self) -> Option<StyledStr> {
        let bare = self.unknown.strip_prefix("--")?;
        let value = self.word().strip_prefix(&self.unknown)?.strip_prefix('=');
        let argument = self.command.get_positionals().find(|it| {
            let names = it.get_value_names().unwrap_or_default();
            let names: Vec<_> = names.iter().map(|it| it.to_lowercase()).collect();
            let parts = || names.iter().flat_map(|it| it.split('|')).chain([it.get_id().as_str()]);
            !it.is_last_set()
                && (parts().any(|it| it == bare) || !names_like(bare, parts()).is_empty())
        })?;
        let value: Vec<_> = value.map(OsString::from).into_iter().collect();
        let tried = self.tried(self.at..self.at + 1, &value);
        let shown = argument.to_string();
        self.gets_further(tried, "").then(|| {
            let valid = STYLES.get_valid();
            styled(format_args!("'{valid}{shown}{valid:#}' is given without a flag"))
        })
    }

    /// The option of that name of a later command, as clap proposes it.
    fn elsewhere(&self, error: &Error) -> Option<StyledStr> {
        let Some(ContextValue::StyledStrs(tips)) = error.get(ContextKind::Suggested) else {
            return None;
        };
        let tip = tips.iter().find(|it| it.to_string().ends_with("exists"))?;
        let command = described_command(self.described, &self.args[self.at..])?;
        let argument = command.get_arguments().find(|it| is_named(it, &self.unknown))?;
        let has_value = takes_value(argument) && !self.word().contains('=');
        let taken = self.at..(self.at + 1 + usize::from(has_value)).min(self.args.len());
        let mut args = self.args.to_vec();
        let moved: Vec<_> = args.drain(taken).collect();
        let named = args.iter().position(|it| command.get_name() == it)?;
        args.splice(named + 1..named + 1, moved);
        self.gets_further((self.described)().try_get_matches_from(args), "").then(|| tip.clone())
    }

    /// A value whose option was left out.
    fn value_meant(&self) -> Option<StyledStr> {
        let option = option_meant(&self.command, self.word())?;
        let flag = format!("--{}", option.get_long()?);
        let words = [OsString::from(&flag), self.args[self.at].clone()];
        let tried = self.tried(self.at..self.at + 1, &words);
        self.gets_further(tried, "").then(|| {
            let valid = STYLES.get_valid();
            styled(format_args!("write '{valid}{flag} {}{valid:#}'", Plain(self.word())))
        })
    }

    /// A file whose name begins with a dash. No name of an actor does.
    fn behind_dashes(&self) -> Option<StyledStr> {
        let is_file = |it: &&Arg| it.get_value_names().is_some_and(|it| it == ["FILE"]);
        self.command.get_positionals().find(is_file)?;
        let word = self.args[self.at].clone();
        let tried = self.tried(self.at..self.at + 1, &["--".into(), word]);
        self.gets_further(tried, "").then(|| {
            let (valid, invalid) = (STYLES.get_valid(), STYLES.get_invalid());
            let word = Plain(self.word());
            styled(format_args!(
                "to name the file '{invalid}{word}{invalid:#}', write '{valid}-- {word}{valid:#}'"
            ))
        })
    }
}

/// Tells whether a word is, or begins with, the unknown part.
fn is_of(word: &str, unknown: &str) -> bool {
    let is_letter = || {
        let mut letters = unknown.strip_prefix('-').unwrap_or_default().chars();
        let letter = letters.next().filter(|it| *it != '-' && letters.next().is_none());
        letter.is_some_and(|letter| {
            word.starts_with('-') && !word.starts_with("--") && word.contains(letter)
        })
    };
    word == unknown
        || word.strip_prefix(unknown).is_some_and(|it| it.starts_with('='))
        || is_letter()
}

/// Tells whether a word is an argument's flag. For a long flag, the beginning is enough.
fn is_named(argument: &Arg, word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(long) => {
            !long.is_empty() && argument.get_long().is_some_and(|it| it.starts_with(long))
        }
        None => {
            let short = argument.get_short();
            short.is_some_and(|it| word.starts_with('-') && word.ends_with(it))
        }
    }
}

fn takes_value(argument: &Arg) -> bool {
    !argument.is_positional() && argument.get_action().takes_values()
}

fn described_command(described: &dyn Fn() -> Command, args: &[OsString]) -> Option<Command> {
    let mut command = described();
    command.build();
    named_command(&command, args).cloned()
}

/// Finds the command that a line names, or the one of its own that the line names after it.
fn named_command<'a>(command: &'a Command, args: &[OsString]) -> Option<&'a Command> {
    args.iter().fold(None, |named: Option<&Command>, word| {
        named.unwrap_or(command).find_subcommand(word).or(named)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::args::described;

    fn read_line(words: &[&str]) -> Result<ArgMatches, Error> {
        static BUILT: LazyLock<Command> = LazyLock::new(|| {
            let mut command = described();
            command.build();
            command
        });
        let args: Vec<_> = ["callsign"].iter().chain(words).map(OsString::from).collect();
        read(&|| BUILT.clone(), &args)
    }

    /// Returns the proposals of an error: replacements, or words to leave out.
    fn proposed(error: &Error, unknown: &str) -> Vec<Vec<String>> {
        let values = |kind| match error.get(kind) {
            Some(ContextValue::String(one)) => vec![one.clone()],
            Some(ContextValue::Strings(several)) => several.clone(),
            _ => Vec::new(),
        };
        let kinds = [
            ContextKind::SuggestedArg,
            ContextKind::SuggestedSubcommand,
            ContextKind::SuggestedValue,
        ];
        let mut proposed: Vec<_> = kinds.into_iter().flat_map(values).map(|it| vec![it]).collect();
        if let Some(ContextValue::StyledStrs(tips)) = error.get(ContextKind::Suggested) {
            for tip in tips.iter().map(ToString::to_string) {
                let words = match tip.split_once("write '") {
                    Some((_, written)) => written.trim_end_matches('\'').split(' ').collect(),
                    None if tip.ends_with("is given without a flag") => Vec::new(),
                    None => panic!("nobody knows how to try `{tip}` for {unknown}"),
                };
                proposed.push(words.into_iter().map(str::to_owned).collect());
            }
        }
        proposed
    }

    /// Puts each proposal in the place of the word, and reads the line again. Returns the number of
    /// proposals.
    fn try_all(words: &[&str], unknown: &str) -> usize {
        let Err(error) = read_line(words) else { return 0 };
        let proposed = proposed(&error, unknown);
        let at = words.iter().position(|it| *it == unknown).unwrap();
        for proposal in &proposed {
            let mut line = words.to_vec();
            line.splice(at..=at, proposal.iter().map(String::as_str));
            let is_missing = |it: &Error| {
                matches!(
                    it.kind(),
                    ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand
                )
            };
            let is_well = |it: Error| is_missing(&it) || !it.use_stderr();
            let is_read = read_line(&line).err().is_none_or(is_well);
            assert!(is_read, "{words:?}: {proposal:?}\n{error}");
        }
        proposed.len()
    }

    /// Returns a value that an argument accepts.
    fn sample(argument: &Arg) -> String {
        if let Some(value) = argument.get_possible_values().first() {
            return value.get_name().to_owned();
        }
        let name = argument.get_value_names().unwrap_or_default().join("");
        match &*name {
            "DURATION" | "TIME" => "5s",
            "N" | "FD" => "3",
            "KEY=VALUE" | "KEY=PATTERN" => "name=web",
            "ENDPOINT" => "/unix/@web",
            _ => "web",
        }
        .to_owned()
    }

    /// Omits a letter, inserts one, replaces one, and swaps two.
    fn typos(word: &str) -> [String; 4] {
        let letters: Vec<_> = word.chars().collect();
        let at = letters.len() / 2;
        let typo = |change: fn(&mut Vec<char>, usize)| {
            let mut typo = letters.clone();
            change(&mut typo, at);
            typo.into_iter().collect()
        };
        [
            typo(|it, at| {
                it.remove(at);
            }),
            typo(|it, at| it.insert(at, 'x')),
            typo(|it, at| it[at] = 'x'),
            typo(|it, at| it.swap(at - 1, at)),
        ]
    }

    /// Calls `with` for each option of each command, with a line up to it.
    fn each_option(mut with: impl FnMut(&[&str], &Arg)) {
        let mut program = described();
        program.build();
        let of = |command: &Command| -> Vec<Command> {
            command.get_subcommands().filter(|it| it.get_name() != "help").cloned().collect()
        };
        let mut commands: Vec<_> = of(&program).into_iter().map(|it| (Vec::new(), it)).collect();
        while let Some((above, command)) = commands.pop() {
            let needed: Vec<_> =
                command.get_positionals().filter(|it| it.is_required_set()).map(sample).collect();
            let named = [above, vec![command.get_name().to_owned()]].concat();
            commands.extend(of(&command).into_iter().map(|it| (named.clone(), it)));
            let mut line: Vec<_> = named.iter().map(String::as_str).collect();
            line.extend(needed.iter().map(String::as_str));
            // A global option is tried with one command.
            let is_tried = |it: &&Arg| !it.is_global_set() || command.get_name() == "find";
            for argument in command.get_arguments().filter(is_tried) {
                let is_own = !["help", "version"].contains(&argument.get_id().as_str());
                if is_own && argument.get_long().is_some() && !argument.is_hide_set() {
                    with(&line, argument);
                }
            }
        }
    }

    #[test]
    fn advice_about_a_flag_can_be_followed() {
        let mut tried = 0;
        each_option(|line, argument| {
            let long = argument.get_long().unwrap_or_default();
            let value = sample(argument);
            for typo in typos(long) {
                let typed = format!("--{typo}");
                let words = [line, &[&typed]].concat();
                if takes_value(argument) {
                    tried += try_all(&[&words[..], &[&value]].concat(), &typed);
                    let joined = format!("{typed}={value}");
                    // The proposal stands for the part before the `=`.
                    let joined = read_line(&[line, &[&joined]].concat());
                    tried += joined.is_err_and(|it| !proposed(&it, &typed).is_empty()) as usize;
                } else {
                    tried += try_all(&words, &typed);
                }
            }
        });
        assert!(tried > 150, "{tried} are proposed");
    }

    #[test]
    fn a_value_that_is_missing_or_begins_with_a_dash_is_told_of() {
        each_option(|line, argument| {
            if !takes_value(argument) {
                return;
            }
            let flag = format!("--{}", argument.get_long().unwrap_or_default());
            let missing = format!("a value is required for '{flag} ");
            // An option with an optional value lacks none.
            let is_optional = argument.get_num_args().is_some_and(|it| it.min_values() == 0);
            let cases = [&[][..], &["-x"], &["--unknown"], &["--json"], &["-x", "--", "true"]];
            for behind in cases.into_iter().filter(|_| !is_optional) {
                let error = read_line(&[line, &[&flag], behind].concat()).unwrap_err();
                let said = error.to_string();
                assert!(said.contains(&missing), "{line:?} {flag} {behind:?}: {said}");
                assert!(!said.contains("tip:"), "{line:?} {flag} {behind:?}: {said}");
            }
            for number in ["-1", "-1s", "-0.5", "-.5"] {
                // The number is taken for the value, and reported as wrong like any other.
                let words = [line, &[&flag, number]].concat();
                if let Err(error) = read_line(&words) {
                    assert_ne!(error.kind(), ErrorKind::UnknownArgument, "{words:?}: {error}");
                    assert_eq!(proposed(&error, number), [[""; 0]; 0], "{words:?}: {error}");
                    assert!(error.to_string().contains(number), "{words:?}: {error}");
                }
            }
        });
    }

    #[test]
    fn advice_about_other_words_can_be_followed() {
        let mut program = described();
        program.build();
        let mut tried = 0;
        for command in program.get_subcommands() {
            let name = command.get_name();
            let needed: Vec<_> =
                command.get_positionals().filter(|it| it.is_required_set()).map(sample).collect();
            let needed: Vec<_> = needed.iter().map(String::as_str).collect();
            for typo in typos(name) {
                tried += try_all(&[&[&*typo], &needed[..]].concat(), &typo);
            }
            let words = |word| [&[name, word], &needed[..]].concat();
            for word in ["-x", "-1", "--x", "--unknown", "--pattern", "--name", "--file", "--shell"]
            {
                tried += try_all(&words(word), word);
            }
            for argument in
                command.get_arguments().filter(|it| !it.get_possible_values().is_empty())
            {
                let Some(long) = argument.get_long().filter(|_| takes_value(argument)) else {
                    continue;
                };
                let flag = format!("--{long}");
                for typo in typos(&sample(argument)) {
                    let line = [&[name, &*flag, &*typo], &needed[..]].concat();
                    tried += try_all(&line, &typo);
                }
            }
        }
        assert!(tried > 60, "{tried} are proposed");
    }

    #[test]
    fn the_intended_word_is_proposed() {
        let check = |line: &str, expected: &str| {
            let error = read_line(&line.split(' ').collect::<Vec<_>>()).unwrap_err();
            let said = error.to_string();
            let tip = said.lines().find_map(|it| it.trim_start().strip_prefix("tip: "));
            assert_eq!(tip.unwrap_or_default(), expected, "{line}: {said}");
        };
        check("find web --regsitrar /unix/@x", "a similar argument exists: '--registrar'");
        check("ls --jsn", "a similar argument exists: '--json'");
        check("ls --jsn=x", "");
        check("ls --jsn --json", "");
        check("watch --patern", "'[PATTERN]' is given without a flag");
        check("watch --pattern=f*", "'[PATTERN]' is given without a flag");
        check("find --name web", "'<NAME>' is given without a flag");
        check("check -x", "to name the file '-x', write '-- -x'");
        check("find -x", "");
        check("register -x", "");
        check("register web /unix/@web -x", "");
        let python = "to start the program 'python3', write '-- python3'";
        check("register web /unix/@web python3 -m http.server", python);
        check("register web --grace 1s /unix/@web --state ready python3 -m http.server", python);
        let server = "to start the program './server', write '-- ./server'";
        check("register web /ip4/127.0.0.1/tcp/0 ./server --port {port}", server);
        check("register web ./server --registrr x", server);
        check("register web /unix/@web --tll 5s", "a similar argument exists: '--ttl'");
        check("find web ./server --port 5", "");
        check("find web --grace -1s", "");
        check("--ttl 5s register web /unix/@web", "'register --ttl' exists");
        check("wait web 5s", "write '--timeout 5s'");
        check("wait web --all 5s", "");
        check("registrar /unix/@x", "write '--listen /unix/@x'");
        check("registrar 127.0.0.1:80", "write '--listen 127.0.0.1:80'");
        check("ls web 5s", "");
        check("serve", "a similar subcommand exists: 'registrar'");
        check("stop web", "a similar subcommand exists: 'unregister'");
        check("run web", "some similar subcommands exist: 'registrar', 'register'");
        check(
            "reload",
            "for new settings, 'systemctl reload callsign-registrar', or 'kill -HUP PID'",
        );
        check("hlep", "a similar subcommand exists: 'help'");
        check("fnid web", "a similar subcommand exists: 'find'");
        check("discover web", "");
        check("ls --sort naem", "a similar value exists: 'name'");
        check("ls --sort size", "");
    }
}
