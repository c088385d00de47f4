//! Lines: headers of tables, and keys with their values.

use std::net::Ipv6Addr;

use endpoints::{Name, Quoted};
use toml::de::DeTable;

use crate::{keys::TABLES, rewritten, syntax::table_before, uses::Use};

use super::{
    BLANKS, Edit, Scan, after_blanks, begins_entry, begins_header, is_bare, key_end, quoted_end,
};

impl<'a> Scan<'a> {
    /// Goes through all of the text.
    pub(super) fn lines(&mut self) {
        let document = self.rest().trim_start();
        if document.strip_prefix('{').is_some_and(|it| it.trim_start().starts_with(['"', '}'])) {
            let start = self.text.len() - document.len();
            let help =
                "a table is written `[network]`, and an entry of it `feed = \"/unix/@feed\"`";
            self.diagnostic(start..start + 1, "this is not TOML, but may be JSON", help);
            self.remove(self.at..self.text.len());
            return;
        }
        loop {
            self.skip_blanks();
            match self.peek() {
                None => return,
                Some('\n') => self.at += 1,
                Some('#') => self.skip_line(),
                Some(_) if self.continues_fault() => {
                    let start = self.at;
                    self.lines_at_fault.insert(self.line_start(start), true);
                    self.leave_out(start);
                }
                Some('[') => self.header(),
                Some(_) if self.hides_header() => self.wrong_header(),
                Some(']' | '}' | ',') => self.stray(),
                Some(_) => self.entry(),
            }
        }
    }

    /// Tells whether this line belongs to a list whose beginning could not be read.
    fn continues_fault(&self) -> bool {
        let Some(before) = self.line_start(self.at).checked_sub(1) else { return false };
        self.lines_at_fault.contains_key(&self.line_start(before))
            && self.rest().starts_with(['"', '\'', '[', ']', '{', '}', ','])
            && !begins_entry(self.text, self.at)
            && !begins_header(self.text, self.at)
    }

    fn header(&mut self) {
        let start = self.at;
        let opened = if self.rest().starts_with("[[") { 2 } else { 1 };
        let name = after_blanks(self.text, start + opened);
        let Some(end) = key_end(self.text, name) else { return self.wrong_header() };
        let brackets = after_blanks(self.text, end);
        let rest = &self.text[brackets..];
        let closed = rest.len() - rest.trim_start_matches(']').len();
        let after = after_blanks(self.text, brackets + closed);
        let next = self.text[after..].chars().next();
        let may_follow = matches!(next, None | Some('\n' | '#'))
            || closed > 0 && matches!(next, Some(',' | ';'))
            || after > end && (begins_entry(self.text, after) || begins_header(self.text, after));
        if !may_follow {
            return self.wrong_header();
        }
        self.tokens.push(name..end);
        self.at = brackets + closed;
        match closed {
            0 => {
                let close = "]".repeat(opened);
                let help = format!("close it with `{close}`");
                let span = start..start + opened;
                self.diagnostic(span, "the header that begins here is not closed", help);
                self.insert(end, close);
            }
            _ if closed < opened => {
                let help = "write the header in single brackets";
                self.diagnostic(start..start + 2, "two brackets open here, and one closes", help);
                self.remove(start..start + 1);
            }
            _ if closed > opened => {
                let stray = brackets + opened..brackets + closed;
                self.diagnostic(stray.clone(), "more brackets close than open", "leave it out");
                self.remove(stray);
            }
            _ => {}
        }
        self.line_rest("");
    }

    /// Tells whether the header of one of our tables is on this line, after other text.
    fn hides_header(&self) -> bool {
        let line = self.rest_of_line();
        let inside = line.rsplit_once('[').and_then(|(_, it)| it.split_once(']'));
        inside.is_some_and(|(it, _)| TABLES.contains(&it.trim()))
            && !begins_entry(self.text, self.at)
    }

    /// Replaces something like a header with a header, so that the following lines do not belong to
    /// the previous table.
    fn wrong_header(&mut self) {
        let start = self.at;
        let line = self.rest_of_line();
        let span = start..start + line.len();
        let message = format!("{} is not a header", Quoted(line));
        let letters: String = line.chars().filter(|it| is_bare(*it)).collect();
        let meant = TABLES.iter().find(|it| letters.ends_with(*it));
        let help = match meant {
            Some(table) => format!("write it as `[{table}]`"),
            None => format!("write it as `[name]`: the name {BARE}"),
        };
        self.garbled(span.clone(), message, help);
        let written = meant.map_or(format!("[_{start}]"), |it| format!("[{it}]"));
        self.replace(span.clone(), written);
        self.at = span.end;
        self.skip_line();
    }

    /// Removes brackets and commas at the beginning of a line.
    fn stray(&mut self) {
        let start = self.at;
        let found = self.peek().unwrap_or_default();
        while matches!(self.peek(), Some(']' | '}' | ',' | ' ' | '\t')) {
            self.at += 1;
        }
        let message = match found {
            ',' => "a line cannot begin with `,`".to_owned(),
            _ => format!("`{found}` closes nothing"),
        };
        self.diagnostic(start..start + 1, message, "leave it out");
        self.remove(start..self.at);
    }

    /// Reads a key with its value.
    fn entry(&mut self) {
        let start = self.at;
        if self.peek() == Some('=') {
            self.diagnostic(
                start..start,
                "a key is missing before `=`",
                "write it as `key = value`",
            );
            self.insert(start, format!("_{start} "));
            self.at += 1;
            self.doubtful.add(start..start);
            return self.value_of("key");
        }
        let Some((end, separated)) = self.key() else { return };
        let key = self.text[start..end].trim_matches(['"', '\'']);
        self.tokens.push(start..end);
        self.at = separated;
        let signs = self.rest();
        let length = signs.len() - signs.trim_start_matches([':', '=', '>']).len();
        let sign = &signs[..length];
        let is_assigned = sign.starts_with('=');
        let after = after_blanks(self.text, self.at + length);
        let is_alone = self.text[after..].is_empty() || self.text[after..].starts_with(['\n', '#']);
        match sign {
            "=" => self.at += 1,
            "" if self.rest_of_line().trim_start_matches(']').is_empty()
                && self.peek() == Some(']') =>
            {
                self.diagnostic(
                    start..start,
                    "a `[` is missing before the header",
                    "write it as `[name]`",
                );
                self.insert(start, "[");
                self.at += 1;
                return self.line_rest("");
            }
            "" if begins_value(self.rest()) && separated > end && key != "-" => {
                let written = format!("write {key} = {}", self.rest_of_line());
                self.diagnostic(
                    end..end,
                    format!("a `=` is missing after {}", Quoted(key)),
                    written,
                );
                self.insert(end, " = ");
            }
            ":" if is_alone => {
                let table = format!("a table is written `[{key}]`, and a value `{key} = …`");
                self.diagnostic(self.at..self.at + 1, "expected `=`, found `:`", table);
                return self.leave_out(start);
            }
            "" => {
                let rest = self.rest_of_line();
                let (span, message) = if rest.is_empty() {
                    (end..end, format!("{} has no value", Quoted(key)))
                } else {
                    let line = self.at..self.at + rest.len();
                    (line, format!("expected `=`, found {}", Quoted(rest)))
                };
                self.garbled(span, message, "a line is a header, `[table]`, or `key = value`");
                return self.leave_out(start);
            }
            _ => {
                let span = self.at..self.at + length;
                let message = format!("expected `=`, found `{sign}`");
                self.diagnostic(span.clone(), message, format!("write `{key} = …`"));
                let pad = if is_assigned { "" } else { " " };
                self.replace(span.clone(), format!("{pad}= "));
                self.at = span.end;
            }
        }
        self.value_of(key);
    }

    /// Finds the end of this line's key, and the place of its `=`, or of a substitute for it. A
    /// broken key is reported and mended.
    fn key(&mut self) -> Option<(usize, usize)> {
        let start = self.at;
        let end = key_end(self.text, start);
        let after = end.map(|it| after_blanks(self.text, it));
        if let (Some(end), Some(after)) = (end, after) {
            let rest = &self.text[after..];
            let is_assigned = match rest.chars().next() {
                None | Some('=' | '\n' | '#') => true,
                Some(':') => !self.has_sign(after + 1),
                Some(']') => first_line(rest).trim_start_matches(']').is_empty(),
                Some(_) => after > end && !self.has_sign(after),
            };
            if is_assigned {
                return Some((end, after));
            }
        }
        if let Some(end) = self.unclosed_key() {
            return Some(end);
        }
        let line = self.rest_of_line();
        let Some(sign) = line.find('=') else {
            let span = start..start + line.len();
            let message = format!("{} is neither a header nor a key", Quoted(line));
            self.garbled(span, message, "a line is a header, `[table]`, or `key = value`");
            self.leave_out(start);
            return None;
        };
        let key = line[..sign].trim_end_matches(BLANKS);
        let span = start..start + key.len();
        let written = key.trim_end();
        let bare = written.trim_matches(['"', '\'']);
        let quoted = Name::new(bare).is_ok_and(|_| !bare.contains(['"', '\\']));
        let quoted = quoted.then(|| format!("\"{bare}\""));
        let help = match &quoted {
            Some(quoted) => format!("write {quoted} = …"),
            None => format!("a key {BARE}"),
        };
        self.diagnostic(span.clone(), format!("{} cannot be a key", Quoted(written)), help);
        self.doubtful.add(span.clone());
        self.replace(span.clone(), quoted.unwrap_or_else(|| format!("_{start}")));
        Some((span.end, start + sign))
    }

    /// Closes a key without a closing quote, which has swallowed the `=` and the next quote.
    fn unclosed_key(&mut self) -> Option<(usize, usize)> {
        let start = self.at;
        let quote = self.peek().filter(|it| QUOTES.contains(it))?;
        let inside = self.text.get(start + 1..self.line_end())?;
        let inside = &inside[..quoted_end(inside, quote).unwrap_or(inside.len())];
        let sign = inside.rfind('=').filter(|it| inside[it + 1..].trim().is_empty())?;
        let end = start + 1 + inside[..sign].trim_end().len();
        self.diagnostic(
            start..start + 1,
            "the key that begins here is not closed",
            format!("close it with `{quote}`"),
        );
        self.insert(end, quote);
        Some((end, start + 1 + sign))
    }

    /// Tells whether there is a `=` between here and the end of the line, outside quotes.
    fn has_sign(&self, at: usize) -> bool {
        let line = self.text[at..].split('\n').next().unwrap_or_default();
        unquoted_sign(line).is_some()
    }

    /// Reads the value of `key`, and the rest of its line.
    fn value_of(&mut self, key: &str) {
        self.skip_blanks();
        let mut opened = None;
        let at = self.at;
        let junk = self.rest_of_line();
        let value = junk.trim_start_matches([']', '}', ',', ';', '=', ' ', '\t']);
        if value.len() < junk.len() {
            self.at += junk.len() - value.len();
            if !value.is_empty() {
                let message =
                    format!("{} is not expected here", Quoted(self.text[at..self.at].trim_end()));
                self.diagnostic(at..self.at, message, "leave it out");
            }
            self.remove(at..self.at);
        }
        if self.is_line_end() {
            let at = self.at;
            match self.value_below() {
                Some(below) => {
                    let written = first_line(&self.text[below..]);
                    self.replace(at..below, " ");
                    if written.ends_with(',') {
                        self.diagnostic(
                            at..at,
                            "a `[` is missing before the list",
                            "write it here",
                        );
                        self.insert(below, "[");
                        opened = Some(below);
                    } else {
                        let help = format!("write {key} = {written}");
                        self.diagnostic(at..at, "the value begins on another line", help);
                    }
                    self.at = below;
                }
                None => {
                    self.diagnostic(at..at, "a value is missing", format!("write {key} = …"));
                    self.doubtful.add(at..at);
                    self.insert(at, " \"\"");
                    return self.line_rest(key);
                }
            }
        }
        match bracketed_address(self.rest_of_line()) {
            Some(length) if opened.is_none() => self.bare_address(key, length),
            _ if opened.is_none() && self.bare_words(key) => {}
            _ => {
                let (start, first_edit) = (self.at, self.edits.len());
                self.value(opened);
                if opened.is_none() {
                    self.values_behind(key, start, first_edit);
                }
            }
        }
        self.line_rest(key);
    }

    /// Goes over the values that follow the first one, from `start` to here, and puts brackets
    /// around them all. The edits from `first_edit` on are those of the first value.
    fn values_behind(&mut self, key: &str, start: usize, first_edit: usize) {
        let mut values = Vec::from([(start, self.at)]);
        loop {
            let end = self.at;
            self.skip_blanks();
            let separator = self.at;
            let is_separated = matches!(self.peek(), Some(',' | ';'));
            if is_separated {
                self.at += 1;
                self.skip_blanks();
                if self.is_line_end()
                    && let Some(below) = self.value_below()
                {
                    self.at = below;
                }
            }
            let rest = self.rest();
            let is_closed =
                |quote| rest.strip_prefix(quote).is_some_and(|it| quoted_end(it, quote).is_some());
            let is_value = QUOTES.into_iter().any(is_closed)
                || is_separated
                    && begins_value(rest)
                    && !rest.starts_with(['{', '"', '\''])
                    && !rest.starts_with("//");
            if !is_value || begins_entry(self.text, self.at) {
                self.at = end;
                break;
            }
            let comma = if is_separated { separator..separator + 1 } else { end..end };
            self.replace(comma, ",");
            let at = self.at;
            self.value(None);
            values.push((at, self.at));
        }
        if values.len() == 1 {
            return;
        }
        self.skip_blanks();
        // A list may end with a comma.
        if matches!(self.peek(), Some(',' | ';')) {
            self.replace(self.at..self.at + 1, ",");
            self.at += 1;
        }
        let written: Vec<_> = values.iter().map(|(at, end)| &self.text[*at..*end]).collect();
        let written = written.join(", ");
        let is_long = written.contains('\n') || written.chars().count() > HELP_CHARACTERS_MAX;
        let help = if is_long {
            format!("put a `[` after `{key} =`, and a `]` after the last one")
        } else {
            format!("write {key} = [{written}]")
        };
        let end = values.last().map_or(start, |(_, end)| *end);
        let span = start..end.max(self.at);
        self.diagnostic(start..end, "several values make a list, which is in brackets", help);
        self.edits.insert(first_edit, Edit { span: start..start, text: "[".to_owned() });
        self.insert(span.end, "]");
    }

    /// Goes over words without quotes, several of which make a list. Returns whether there are any.
    fn bare_words(&mut self, key: &str) -> bool {
        let line = self.rest_of_line();
        let is_toml = || DeTable::parse_recoverable(&format!("a = {line}")).1.is_empty();
        let separators = [' ', '\t', ',', ';'];
        let inside = line.strip_prefix('(').and_then(|it| it.strip_suffix(')'));
        let is_bare = inside.is_some() || !line.starts_with(['"', '\'', '[', '{', '(']);
        if !is_bare || inside.is_none() && !line.contains(separators) || is_toml() {
            return false;
        }
        let place = Use::of_table(table_before(self.text, self.at));
        let words = inside.unwrap_or(line).split(separators).filter(|it| !it.is_empty());
        let words: Option<Vec<_>> = words
            .map(|it| match it.trim_matches(QUOTES) {
                bare if bare.len() + 2 == it.len() => Some(format!("\"{bare}\"")),
                _ => rewritten::unquoted(key, it, place),
            })
            .collect();
        let help = match (rewritten::unquoted(key, line, place), words.as_deref()) {
            (Some(one), _) => format!("write {key} = {one}"),
            (None, Some(several)) => format!("write {key} = [{}]", several.join(", ")),
            (None, None) if inside.is_some() => LIST.to_owned(),
            (None, None) => {
                format!("write {key} = \"…\", or a list: {key} = [\"…\", \"…\"]")
            }
        };
        let span = self.at..self.at + line.len();
        let message = match inside {
            Some(_) => "a list is not written in parentheses".to_owned(),
            None => format!("{} is not in quotes", Quoted(line)),
        };
        self.garbled(span.clone(), message, help);
        self.tokens.push(span.clone());
        self.replace(span.clone(), "\"\"");
        self.at = span.end;
        true
    }

    /// Reads an address without quotes whose brackets look like those of a list.
    fn bare_address(&mut self, key: &str, length: usize) {
        let span = self.at..self.at + length;
        let found = &self.text[span.clone()];
        let place = Use::of_table(table_before(self.text, span.start));
        let help = match rewritten::unquoted(key, found, place) {
            Some(written) => format!("write {written}"),
            None => format!("write \"{found}\""),
        };
        self.diagnostic(span.clone(), format!("{} is not in quotes", Quoted(found)), help);
        self.doubtful.add(span.clone());
        self.at = span.end;
        self.tokens.push(span.clone());
        self.replace(span, "\"\"");
    }

    /// Finds a value that begins on one of the next lines.
    fn value_below(&self) -> Option<usize> {
        let mut at = self.line_end();
        loop {
            at = after_blanks(self.text, at);
            match self.text[at..].chars().next()? {
                '\n' => at += 1,
                '#' => at += self.text[at..].find('\n')?,
                _ => break,
            }
        }
        let is_value = begins_value(&self.text[at..])
            && !begins_header(self.text, at)
            && !begins_entry(self.text, at);
        is_value.then_some(at)
    }

    /// Reports text after a header or a value on its line, where there should be none.
    fn line_rest(&mut self, key: &str) {
        loop {
            self.skip_blanks();
            if self.is_line_end() {
                return self.skip_line();
            }
            let start = self.at;
            let is_comma = matches!(self.peek(), Some(',' | ';'));
            let next = if is_comma { after_blanks(self.text, start + 1) } else { start };
            if begins_entry(self.text, next) || begins_header(self.text, next) {
                let what = if self.text[next..].starts_with('[') { "table" } else { "key" };
                let message = format!("another {what} begins on the same line");
                self.diagnostic(next..next, message, "begin a new line for it");
                self.replace(start..next, "\n");
                self.at = next;
                return;
            }
            let found = self.peek().unwrap_or_default();
            if matches!(found, ']' | '}' | ')' | ',' | ';') {
                let message = match found {
                    ',' | ';' => format!("a line does not end in `{found}`"),
                    _ => format!("`{found}` closes nothing"),
                };
                self.diagnostic(start..start + 1, message, "leave it out");
                self.remove(start..start + 1);
                self.at += 1;
                continue;
            }
            let rest = self.rest_of_line();
            let (message, help) = match () {
                () if rest.starts_with("//") => (
                    "`//` does not begin a comment".to_owned(),
                    "a comment begins with `#`".to_owned(),
                ),
                () if begins_value(rest) && !key.is_empty() => {
                    let help = format!("several values make a list: {key} = [\"…\", \"…\"]");
                    ("another value begins here".to_owned(), help)
                }
                () => {
                    let help = "nothing but a comment, `# …`, may follow on this line";
                    (format!("{} is not expected here", Quoted(rest)), help.to_owned())
                }
            };
            let span = start..start + rest.len();
            self.garbled(span.clone(), message, help);
            self.remove(span.clone());
            self.at = span.end;
        }
    }

    /// Returns the text of this line without its comment.
    fn rest_of_line(&self) -> &'a str {
        first_line(self.rest())
    }

    /// Removes this line from `start` on.
    fn leave_out(&mut self, start: usize) {
        self.skip_line();
        self.remove(start..self.at);
    }
}

/// How a list is written.
const LIST: &str = "a list is written [\"…\", \"…\"]";

/// The longest list that a suggestion repeats.
const HELP_CHARACTERS_MAX: usize = 160;

/// The characters that need no quotes, for suggestions.
const BARE: &str = "has only letters, digits, `_` and `-`, or is in quotes";

const QUOTES: [char; 2] = ['"', '\''];

/// Tells whether a value seems to begin here, with quotes or without.
fn begins_value(text: &str) -> bool {
    text.starts_with(['"', '\'', '[', '{', '/', '+', '-'])
        || text.starts_with(|it: char| it.is_ascii_digit())
}

/// Returns the length of `[::1]:80` or the like at the beginning of a line.
fn bracketed_address(line: &str) -> Option<usize> {
    let (inside, after) = line.strip_prefix('[')?.split_once(']')?;
    let address = inside.split('%').next().unwrap_or_default();
    let port =
        after.len() - after.trim_start_matches(|it: char| it == ':' || it.is_ascii_digit()).len();
    address.parse::<Ipv6Addr>().ok().map(|_| inside.len() + 2 + port)
}

/// Returns the position of the first `=` of a line that is neither in quotes nor in a comment.
fn unquoted_sign(line: &str) -> Option<usize> {
    let mut quote = None;
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '#') => return None,
            (None, '=') => return Some(at),
            _ => {}
        }
    }
    None
}

/// Returns the first line of a string, without its comment.
fn first_line(text: &str) -> &str {
    let line = text.split('\n').next().unwrap_or_default();
    let mut quote = None;
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '#') => return line[..at].trim_end_matches(BLANKS),
            _ => {}
        }
    }
    line.trim_end_matches(BLANKS)
}
