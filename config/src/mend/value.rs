//! Values: texts, lists and tables, over as many lines as they take.

use std::ops::Range;

use endpoints::Quoted;

use super::{Scan, after_blanks, begins_entry, begins_header, long_text_end, quoted_end};

/// A list or an inline table that is open.
struct Open {
    at: usize,
    close: char,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Key,
    Sign,
    Value,
    Comma,
}

impl Scan<'_> {
    /// Reads one value with its contents. With `opened` it is a list without its `[`.
    pub(super) fn value(&mut self, opened: Option<usize>) {
        let line_start = self.text[..self.at].rfind('\n').map_or(0, |it| it + 1);
        let indent = after_blanks(self.text, line_start) - line_start;
        let list = |at| Open { at, close: ']', expected: Expected::Value };
        let mut open: Vec<Open> = opened.map(list).into_iter().collect();
        // The end of the value's last part, before blanks and comments.
        let mut end = self.at;
        loop {
            if !self.next_part(&open, indent) {
                break;
            }
            let start = self.at;
            let Some(next) = self.peek() else { break };
            match next {
                '[' | '{' => {
                    self.separate(open.last_mut(), end);
                    let (close, expected) = match next {
                        '[' => (']', Expected::Value),
                        _ => ('}', Expected::Key),
                    };
                    open.push(Open { at: start, close, expected });
                    self.at += 1;
                }
                ']' | '}' => self.close(&mut open, next),
                ',' => self.comma(open.last_mut()),
                '=' | ':' if !open.is_empty() => self.sign(open.last_mut()),
                _ => {
                    self.separate(open.last_mut(), end);
                    let is_key = open.last().is_some_and(|it| it.expected == Expected::Key);
                    self.token(open.is_empty(), is_key);
                    if let Some(innermost) = open.last_mut() {
                        innermost.expected = if is_key { Expected::Sign } else { Expected::Comma };
                    }
                }
            }
            if open.is_empty() {
                return;
            }
            end = self.at;
        }
        let Some(outermost) = open.first() else { return };
        let what = if outermost.close == ']' { "list" } else { "table" };
        let close: String = open.iter().rev().map(|it| it.close).collect();
        let message = format!("the {what} that begins here is not closed");
        self.diagnostic(
            outermost.at..outermost.at + 1,
            message,
            format!("close it with a `{close}`"),
        );
        for open in &open {
            self.doubt(open);
        }
        self.insert(end, close);
    }

    /// The contents of an unclosed list are credible, but not that it is a list; nor are the
    /// contents of a table that is not one.
    fn doubt(&mut self, open: &Open) {
        let is_table = open.expected != Expected::Sign;
        self.doubtful.add(open.at..if is_table { open.at } else { self.at });
    }

    /// Moves to the next part of a value. Returns false if the next part does not belong to this
    /// value.
    fn next_part(&mut self, open: &[Open], indent: usize) -> bool {
        loop {
            self.skip_blanks();
            match self.peek() {
                None => return false,
                Some('#') if !open.is_empty() => self.skip_line(),
                Some('\n') if !open.is_empty() => {
                    let line = self.at + 1;
                    let next = after_blanks(self.text, line);
                    let is_in_table = open.last().is_some_and(|it| it.close == '}');
                    // A `key =` may begin a line within a table. Without a comma before it and
                    // without indentation, it belongs to the outer table.
                    let may_be_entry = is_in_table
                        && (next - line > indent
                            || open.last().is_some_and(|it| it.expected == Expected::Key));
                    if begins_header(self.text, next)
                        || begins_entry(self.text, next) && !may_be_entry
                    {
                        return false;
                    }
                    self.at = next;
                }
                Some(_) => return true,
            }
        }
    }

    /// Inserts a comma, or a `=`, if one is missing after the part that ended at `end`.
    fn separate(&mut self, innermost: Option<&mut Open>, end: usize) {
        let Some(innermost) = innermost else { return };
        if innermost.expected == Expected::Sign {
            innermost.expected = Expected::Value;
            self.diagnostic(end..end, "a `=` is missing before the value", "write { key = value }");
            return self.insert(end, " = ");
        }
        if innermost.expected != Expected::Comma {
            return;
        }
        innermost.expected = if innermost.close == ']' { Expected::Value } else { Expected::Key };
        // A word without quotes is reported as such.
        let is_word = self.peek().is_some_and(|it| !"+-\"'[{".contains(it) && !it.is_ascii_digit());
        if is_word && innermost.close == ']' {
            return self.insert(end, ",");
        }
        self.diagnostic(
            self.at..self.at,
            "a `,` is missing before this",
            "put one between the two",
        );
        self.insert(end, ",");
    }

    /// Moves over the text between a key and its value.
    fn sign(&mut self, innermost: Option<&mut Open>) {
        let span = self.at..self.at + 1;
        let found = self.peek().unwrap_or_default();
        self.at = span.end;
        let Some(innermost) = innermost else { return };
        match innermost.expected {
            Expected::Sign => {
                innermost.expected = Expected::Value;
                if found != '=' {
                    let message = format!("expected `=`, found `{found}`");
                    self.diagnostic(span.clone(), message, "write { key = value }");
                    self.replace(span, " = ");
                }
            }
            Expected::Comma if innermost.close == ']' => {
                let message = format!("`{found}` does not belong in a list");
                self.diagnostic(span.clone(), message, "a list is written [\"…\", \"…\"]");
                self.doubtful.add(self.tokens.last().map_or(span.start, |it| it.start)..span.end);
                self.replace(span, ",");
                innermost.expected = Expected::Value;
            }
            _ => {
                self.diagnostic(
                    span.clone(),
                    format!("`{found}` is not expected here"),
                    "leave it out",
                );
                self.remove(span);
            }
        }
    }

    fn comma(&mut self, innermost: Option<&mut Open>) {
        let span = self.at..self.at + 1;
        self.at += 1;
        let Some(innermost) = innermost else { return };
        match innermost.expected {
            Expected::Comma if innermost.close == ']' => innermost.expected = Expected::Value,
            Expected::Comma => innermost.expected = Expected::Key,
            Expected::Value if innermost.close == '}' => {
                self.diagnostic(
                    span.start..span.start,
                    "a value is missing",
                    "write it before the `,`",
                );
                self.doubtful.add(span.start..span.start);
                self.insert(span.start, " \"\"");
                innermost.expected = Expected::Key;
            }
            Expected::Sign => {
                let help = "a table is written { key = value }, and a list [\"…\", \"…\"]";
                self.garbled(span.clone(), "a value is missing", help);
                self.doubtful.add(innermost.at..span.end);
                self.replace(span, " = \"\",");
                innermost.expected = Expected::Key;
            }
            _ => {
                self.diagnostic(span.clone(), "nothing comes before this `,`", "leave it out");
                self.remove(span);
            }
        }
    }

    /// Closes the innermost open bracket, and all that cannot be open any more.
    fn close(&mut self, open: &mut Vec<Open>, found: char) {
        let span = self.at..self.at + 1;
        self.at += 1;
        let Some(innermost) = open.pop() else { return };
        if innermost.close != found {
            let what = if innermost.close == ']' { "list" } else { "table" };
            let right = innermost.close;
            let message = format!("the {what} that begins here is not closed");
            let next = self.text[after_blanks(self.text, span.end)..].chars().next();
            if open.last().is_some_and(|it| it.close == found) {
                let help = format!("close it with a `{right}`");
                self.diagnostic(innermost.at..innermost.at + 1, message, help);
                self.insert(span.start, right);
                self.doubt(&innermost);
                open.pop();
            } else if next == Some(right) || innermost.expected != Expected::Comma {
                self.diagnostic(span.clone(), format!("`{found}` closes nothing"), "leave it out");
                self.remove(span);
                open.push(innermost);
                return;
            } else {
                let message = format!("`{found}` cannot close the {what}");
                self.diagnostic(span.clone(), message, format!("close it with a `{right}`"));
                self.replace(span, right);
            }
        }
        if let Some(outer) = open.last_mut() {
            outer.expected = Expected::Comma;
        }
    }

    /// Reads a string, or a word without quotes.
    fn token(&mut self, is_outermost: bool, is_key: bool) {
        let start = self.at;
        match self.peek() {
            Some(quote @ ('"' | '\'')) => {
                let triple: String = [quote; 3].iter().collect();
                if self.rest().starts_with(&triple) {
                    self.long_text(&triple, is_outermost)
                } else {
                    self.text(quote, is_key, is_outermost)
                }
            }
            _ if is_key => {
                let rest = self.rest();
                let length = rest.find(['=', ':', ',', '}', ']', '\n', '#']).unwrap_or(rest.len());
                self.at += rest[..length].trim_end().len().max(1);
            }
            _ => self.word(is_outermost),
        }
        self.tokens.push(start..self.at);
    }

    fn word(&mut self, is_outermost: bool) {
        let line = self.line_end();
        let start = self.at;
        while self.at < line {
            let Some(next) = self.peek() else { break };
            let is_end = if is_outermost {
                next == '#'
                    || self.at > start && begins_entry(self.text, self.at) && {
                        self.text[..self.at].ends_with([' ', '\t'])
                    }
            } else {
                matches!(next, ',' | ']' | '}' | '#' | '"' | '\'' | '[' | '{')
            };
            if is_end {
                break;
            }
            self.at += next.len_utf8();
        }
        self.at = start + self.text[start..self.at].trim_end().len().max(1);
        if let Some(quote) = self.peek().filter(|it| matches!(it, '"' | '\''))
            && !is_outermost
        {
            let word = &self.text[start..self.at];
            let message = format!("{} comes before the quotes", Quoted(word));
            self.garbled(start..self.at, message, "leave it out");
            self.remove(start..self.at);
            self.text(quote, false, false);
        }
    }

    /// Reads a string on one line.
    fn text(&mut self, quote: char, is_key: bool, is_outermost: bool) {
        let start = self.at;
        let inside = start + 1;
        let line = &self.text[inside..self.line_end().max(inside)];
        if let Some(length) = quoted_end(line, quote) {
            let content = line[..length].trim_end();
            match self.text_end(inside + length + 1, quote) {
                Some(end) if end == inside + length + 1 => self.at = end,
                // The quote belongs to the next text: `"/unix/a, "/unix/b"`.
                _ if content.ends_with(',') => {
                    let length = content.trim_end_matches([',', ' ', '\t', ']', '}']).len();
                    self.unclosed(start..start + 1, inside + length..inside + length, quote);
                }
                Some(end) => {
                    let message = format!("a `{quote}` is inside a string");
                    let span = inside + length..inside + length + 1;
                    self.garbled(span, message, "leave it out, or put a `,` between two strings");
                    self.doubtful.add(start..end);
                    self.replace(start..end, "\"\"");
                    self.at = end;
                }
                None => {
                    let end = inside + content.len();
                    self.unclosed(start..start + 1, end..end, quote);
                }
            }
            return;
        }
        let content = line.split(" #").next().unwrap_or_default();
        let content = if is_key {
            content.split('=').next().unwrap_or_default().trim_end()
        } else {
            trim_closing(content, is_outermost)
        };
        let end = inside + content.len();
        let other = if quote == '"' { '\'' } else { '"' };
        if !is_key && content.len() > 1 && content.ends_with(other) {
            let span = end - 1..end;
            let message = format!("`{other}` does not close what `{quote}` began");
            self.diagnostic(span.clone(), message, format!("close it with a `{quote}`"));
            self.replace(span, quote);
            self.doubtful.add(start..end);
            self.at = end;
            return;
        }
        // A `\` at the end would escape the quote.
        let content = content.trim_end_matches('\\');
        let end = inside + content.len();
        self.unclosed(start..start + 1, end..end, quote);
    }

    /// Returns the end of a string that may end at `closed`: after the first quote that something
    /// else may follow.
    fn text_end(&self, closed: usize, quote: char) -> Option<usize> {
        let line = &self.text[closed..self.line_end().max(closed)];
        let may_follow = |rest: &str| {
            let next = rest.chars().next();
            next.is_none_or(|it| " \t\r\n,;]}#=.:".contains(it))
        };
        if may_follow(line) {
            return Some(closed);
        }
        // Two texts without anything between them.
        let second = line.strip_prefix(quote).and_then(|inside| {
            let length = quoted_end(inside, quote).filter(|it| *it > 0)?;
            may_follow(&inside[length + 1..]).then_some(closed)
        });
        let behind = |at: usize| at + quote.len_utf8();
        let mut ends = line.match_indices(quote).map(|(at, _)| behind(at));
        second.or_else(|| ends.find(|it| may_follow(&line[*it..])).map(|it| closed + it))
    }

    /// Reads a string between triple quotes, which may have many lines.
    fn long_text(&mut self, triple: &str, is_outermost: bool) {
        let start = self.at;
        let inside = start + 3;
        let closed = long_text_end(&self.text[inside..], triple).map(|it| inside + it);
        let is_ended = closed.is_some_and(|end| {
            let next = self.text[after_blanks(self.text, end)..].chars().next();
            next.is_none_or(|it| "\n,]}#".contains(it))
        });
        let content = &self.text[inside..closed.unwrap_or(self.text.len())];
        // A string that contains lines of the file and ends in the middle of something is not
        // closed.
        let swallowed = content.match_indices('\n').map(|(at, _)| inside + at + 1).find(|line| {
            let next = after_blanks(self.text, *line);
            begins_entry(self.text, next) || begins_header(self.text, next)
        });
        match (closed, swallowed) {
            (Some(end), None) => self.at = end,
            (Some(end), _) if is_ended => self.at = end,
            _ => {
                let end = swallowed.unwrap_or(self.text.len());
                let content = self.text[inside..end].trim_end();
                // In a list, the next lines hold its other parts.
                let content = if is_outermost {
                    content
                } else {
                    content.split('\n').next().unwrap_or_default()
                };
                let closing = trim_closing(content, is_outermost);
                let text = closing.trim_end_matches(['"', '\'', '\\']);
                let end = inside + text.len();
                self.unclosed(start..inside, end..inside + closing.len(), triple);
            }
        }
    }

    /// Closes a string whose opening quotes are at `quotes`, and drops the text at `end`.
    fn unclosed(&mut self, quotes: Range<usize>, end: Range<usize>, close: impl ToString) {
        let close = close.to_string();
        let help = format!("close it with `{close}`");
        let message = "the string that begins here is not closed";
        if self.lines_at_fault.contains_key(&self.line_start(quotes.start)) {
            self.garbled(quotes.clone(), message, help)
        } else {
            self.diagnostic(quotes.clone(), message, help)
        }
        self.doubtful.add(quotes.start..end.end);
        self.at = end.end;
        self.replace(end, close);
    }
}

/// Drops the bracket of a list from the end of a string without a closing quote; outside lists it
/// does nothing.
fn trim_closing(text: &str, is_outermost: bool) -> &str {
    if is_outermost {
        text.trim_end()
    } else {
        text.trim_end_matches([',', ']', '}', ' ', '\t', '\r'])
    }
}
