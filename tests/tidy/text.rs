//! Code and prose in a text.

/// Tells whether a line of code opens an unsafe block, function or implementation.
pub(crate) fn opens_unsafe(line: &str) -> bool {
    line.match_indices("unsafe").any(|(at, word)| {
        let after = &line[at + word.len()..];
        // `#[unsafe(no_mangle)]` is an attribute, and `unsafe_code` the name of a lint.
        !line[..at].ends_with(is_word) && !after.starts_with(is_word) && !after.starts_with('(')
    })
}

/// Tells whether the statement on line `at` has its reason beside it or right above it.
pub(crate) fn says_why_sound(text: &str, code: &str, at: usize) -> bool {
    let says = |line: &str| line.contains("SAFETY:") || line.contains("# Safety");
    let lines: Vec<_> = text.lines().zip(code.lines()).collect();
    if lines[at].0.contains("// SAFETY:") {
        return true;
    }
    for (line, code) in lines[..at].iter().rev() {
        let code = code.trim();
        if line.trim_start().starts_with("//") {
            if says(line) {
                return true;
            }
        } else if !code.starts_with("#[")
            && (code.is_empty() || code.ends_with([';', '{', '}', ',']))
        {
            return false;
        }
    }
    false
}

/// Returns the targets of the links of a Markdown text, each with its line.
pub(crate) fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut is_code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // Every other piece between back quotes is code.
        let prose: String = line.split('`').step_by(2).collect();
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let named = prose.starts_with('[').then(|| prose.split_once("]: ")).flatten();
        let targets = inline.chain(named.map(|(_, target)| target.trim()));
        links.extend(targets.map(|target| (at + 1, target.to_owned())));
    }
    links
}

/// Returns the modules that the root of a crate declares, each with its line.
pub(crate) fn modules(text: &str) -> Vec<(usize, &str)> {
    let mut modules = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        modules.extend(
            line.strip_prefix("mod ").and_then(|it| it.strip_suffix(';')).map(|it| (at + 1, it)),
        );
    }
    modules
}

/// Returns the modules that the table in a crate's head names, each with its line; nested modules
/// by their paths.
pub(crate) fn modules_in_table(text: &str) -> Vec<(usize, &str)> {
    let mut modules = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((cell, _)) = line.strip_prefix("//! | ").and_then(|it| it.split_once(" |")) else {
            continue;
        };
        // Every other piece between back quotes is a name.
        let names = cell.split('`').skip(1).step_by(2);
        modules.extend(names.map(|it| (at + 1, it)));
    }
    modules
}

/// Returns Rust source with comments and literals blanked out, each line in its place.
pub(crate) fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (length, is_code) = token(rest);
        let (token, after) = rest.split_at(length);
        if is_code {
            code.push_str(token);
        } else {
            code.extend(token.chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    code
}

/// Returns the length of the first token, and whether it is code. Block comments do not nest here.
fn token(rest: &str) -> (usize, bool) {
    let up_to = |from: usize, end: &str| {
        rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len())
    };
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (up_to(2, "*/"), false);
    }
    if rest.starts_with('"') {
        return (quoted(rest), false);
    }
    if rest.starts_with(r"'\") {
        // The quote of `'\''` is not the closing one.
        return (up_to(3, "'"), false);
    }
    let mut chars = rest.char_indices();
    let (_, first) = chars.next().expect("the rest is not empty");
    if first == '\'' {
        let closing = chars.nth(1).filter(|(_, it)| *it == '\'');
        return closing.map_or((1, true), |(at, _)| (at + 1, false));
    }
    if !is_word(first) {
        return (first.len_utf8(), true);
    }
    let word = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
    let hashes = rest[word..].len() - rest[word..].trim_start_matches('#').len();
    let is_raw = matches!(&rest[..word], "r" | "br" | "cr");
    if is_raw && rest[word + hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        return (up_to(word + hashes + 1, &end), false);
    }
    (word, true)
}

/// Returns the length of the text in quotes that `rest` opens with.
fn quoted(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, char) in rest.char_indices().skip(1) {
        match char {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    rest.len()
}

/// Returns code without the test modules at its outermost level.
pub(crate) fn without_tests(code: &str) -> String {
    let (mut kept, mut rest) = (String::new(), code);
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        let head = after.split(['{', ';']).next().unwrap_or(after);
        let is_module = head.split_whitespace().any(|it| it == "mod");
        let is_here = after[head.len()..].starts_with('{');
        rest = match after.split_once("\n}") {
            Some((_, behind)) if is_module && is_here => behind,
            _ => after,
        };
    }
    kept + rest
}

/// Tells whether `char` can be part of a name in Rust.
pub(crate) fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modules_of_a_crate_are_those_of_its_table() {
        let text = "//! | module | idea |\n//! | `a`, [`b`](mod@b) | one |\n//! | `a::c` | two |\n\n\
                    mod a;\npub mod b;\nmod tests {\n";
        assert_eq!(modules_in_table(text), [(2, "a"), (2, "b"), (3, "a::c")]);
        assert_eq!(modules(text), [(5, "a"), (6, "b")]);
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let check = |text: &str, expected: &str| {
            let code = code(text);
            assert_eq!(code.chars().count(), text.chars().count(), "{text}");
            assert_eq!(code.lines().count(), text.lines().count(), "{text}");
            let code: String = code.split_whitespace().collect();
            assert_eq!(code, expected, "{text}");
        };
        check("a // unsafe\n + b", "a+b");
        check("a /* unsafe\n*/ + b", "a+b");
        check(r#"a("un\"safe", "\\", b)"#, "a(,,b)");
        check("a(r#\"un\"safe\"#, br\"\\\", b)", "a(,,b)");
        check(r"('\'', '\u{1F600}', '語', 'a', b)", "(,,,,b)");
        check("fn a<'a>(r#type: &'a str)", "fna<'a>(r#type:&'astr)");
        check("for\"x\"", "for");
    }

    #[test]
    fn unsafe_code_is_told_from_what_only_looks_like_it() {
        let check = |line: &str, expected| assert_eq!(opens_unsafe(line), expected, "{line}");
        check("let file = unsafe { File::from_raw_fd(descriptor) };", true);
        check("pub unsafe fn call()", true);
        check("#[unsafe(no_mangle)]", false);
        check("#![forbid(unsafe_code)]", false);
    }

    #[test]
    fn a_reason_is_found_above_its_statement_alone() {
        let check = |text: &str, expected| {
            let at =
                text.lines().position(|line| line.contains("unsafe")).expect("a line of unsafe");
            assert_eq!(says_why_sound(text, &code(text), at), expected, "{text}");
        };
        check("// SAFETY: open.\nlet a = unsafe { b() };", true);
        check("// SAFETY: open, and\n// stays so.\nlet a =\n    unsafe { b() };", true);
        check("/// # Safety\n///\n/// Keep it open.\n#[inline]\nunsafe fn a() {}", true);
        check("let a = unsafe { b() }; // SAFETY: open.", true);
        check("// SAFETY: open.\nlet a = c();\nlet b = unsafe { d() };", false);
        check("// It is open.\nlet a = unsafe { b() };", false);
        check("let a = \"// SAFETY: \";\nunsafe { b() };", false);
    }

    #[test]
    fn links_are_found_in_prose_alone() {
        let check = |text: &str, expected: &[(usize, &str)]| {
            let links = links(text);
            let links: Vec<_> =
                links.iter().map(|(line, target)| (*line, target.as_str())).collect();
            assert_eq!(links, expected, "{text}");
        };
        check("[a](b.md) and\n[c](d.md#e \"title\")", &[(1, "b.md"), (2, "d.md#e")]);
        check("[a]: b.md", &[(1, "b.md")]);
        check("`[a](b.md)`\n```\n[c](d.md)\n```\n", &[]);
    }
}
