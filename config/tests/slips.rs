//! After a slip in one line, the rest of the file is still read.

use config::{Diagnostic, Diagnostics, read};

/// A file in which only the last line is wrong.
const FILE: &str = r#"# A market.
[registrar]
listen = ["/unix/run/a.sock", "/ip4/127.0.0.1/tcp/1616"]
heartbeat = "1s" # each
sessions_max = 10

[network]
feed = [
  "/unix/run/feed.sock",
  ["127.0.0.1", 5555],
]
chart = '/unix/run/chart.sock'
"order.book" = """/unix/run/book.sock"""

[declared]
last = "/uds/run/last"
"#;

const EXTRA: &[&str] =
    &["[", "]", "{", "}", "\"", "'", "'''", "\"\"\"", ",", "=", ":", " x ", "\\", ".", "]]", "\n"];

#[test]
fn no_slip_silences_the_rest() {
    let first = FILE.find("listen").unwrap();
    let last = FILE.find("\n[declared]").unwrap();
    for at in first..last {
        let (before, after) = FILE.split_at(at);
        check(&format!("{before}{}", &after[1..]));
        for extra in EXTRA {
            check(&format!("{before}{extra}{after}"));
        }
    }
}

#[test]
fn unusual_blanks_are_skipped() {
    for blank in ["\u{a0}", "\u{3000}", "\u{85}", "\u{200b}", "\u{feff}"] {
        for text in [
            format!("=`{blank}"),
            format!("a = 1{blank}"),
            format!("a = 1 {blank} # each"),
            format!("[network]{blank}\na = \"/unix/@a\"{blank}\n"),
            format!("[network]\na ={blank}"),
            format!("[network]\na = [{blank}\"/unix/@a\",{blank}]{blank}\n"),
            format!("{blank}\n{blank}"),
        ] {
            // Reading ends, with a diagnostic.
            assert!(
                !diagnostics(&text).is_empty()
                    || text.trim_start_matches('\u{feff}').trim().is_empty(),
                "{text:?}"
            );
        }
    }
    let key = diagnostics("[declared]\na\u{a0}= \"/uds/a\"\nb = \"/uds/b\"\n");
    assert_eq!(key.len(), 3, "{}", Diagnostics(key));
}

#[track_caller]
fn check(source: &str) {
    let diagnostics = diagnostics(source);
    let found = diagnostics.iter().filter(|it| it.message.contains("/uds/run/last")).count();
    assert_eq!(found, 1, "{}\nin\n{source}", Diagnostics(diagnostics));
    // One diagnostic for the slip, and at most one for each of the two lines around it.
    assert!(diagnostics.len() <= 6, "{}\nin\n{source}", Diagnostics(diagnostics));
    for diagnostic in &diagnostics {
        let place = &diagnostic.place;
        assert_eq!(place.source.text, source, "{diagnostic}");
        assert!(source.get(place.span.clone()).is_some(), "{diagnostic:?}");
    }
}

fn diagnostics(source: &str) -> Vec<Diagnostic> {
    match read(source, "test.toml") {
        Ok((_, diagnostics)) | Err(diagnostics) => diagnostics.0,
    }
}

/// Between two faulty lines, each slip is reported once, at its place.
#[test]
fn each_slip_is_told_once() {
    let check = |line: &str, expected: &[&str]| {
        let before = "[network]\nfirst = \"/uds/first\"\n";
        let after = "\nlast = \"/uds/last\"\n[registrar]\nhearbeat = \"1s\"\n";
        let mut messages: Vec<_> = diagnostics(&format!("{before}{line}{after}"))
            .into_iter()
            .map(|it| {
                let (line, column) = it.place.line_column();
                format!("{line}:{column} {}", it.message)
            })
            .collect();
        assert_eq!(messages.remove(0), "2:11 unknown protocol `uds` in `/uds/first`", "{line}");
        let last = messages.split_off(messages.len() - 2);
        assert!(last[0].ends_with("unknown protocol `uds` in `/uds/last`"), "{line}: {last:?}");
        assert!(last[1].ends_with("unknown key `hearbeat` in `[registrar]`"), "{line}: {last:?}");
        assert_eq!(messages, expected, "{line}");
    };

    // Unclosed delimiters.
    check("a = [\"/unix/@a\"", &["3:5 the list that begins here is not closed"]);
    check("a = [\n  \"/unix/@a\",", &["3:5 the list that begins here is not closed"]);
    check("a = [[\"h\", 80],", &["3:5 the list that begins here is not closed"]);
    check("a = { path = \"/x\"", &["3:5 the table that begins here is not closed"]);
    check("a = [\"/unix/@a\", \"/unix/@b]", &["3:18 the string that begins here is not closed"]);
    check("a = [\"/unix/@a, \"/unix/@b\"]", &["3:6 the string that begins here is not closed"]);
    check("a = '/unix/@a", &["3:5 the string that begins here is not closed"]);
    check("a = '''/unix/@a", &["3:5 the string that begins here is not closed"]);
    check("a = [\"\"\"/unix/@a]", &["3:6 the string that begins here is not closed"]);
    check("a = \"/unix/@a'", &["3:14 `'` does not close what `\"` began"]);
    check("\"a = \"/unix/@a\"", &["3:1 the key that begins here is not closed"]);
    check("a = [\"/unix/@a\"}", &["3:16 `}` cannot close the list"]);
    // The credible parts of such a line are checked.
    check(
        "a = [\n  \"/uds/x\",\n  /unix/@a,",
        &[
            "3:5 the list that begins here is not closed",
            "4:5 unknown protocol `uds` in `/uds/x`",
            "5:3 `/unix/@a` is not in quotes",
        ],
    );
    // Missing characters.
    check("a \"/unix/@a\"", &["3:2 a `=` is missing after `a`"]);
    check("a", &["3:2 `a` has no value"]);
    check("a =", &["3:4 a value is missing"]);
    check("a = # \"/unix/@a\"", &["3:5 a value is missing"]);
    check("a =\n  \"/unix/@a\"", &["3:4 the value begins on another line"]);
    check("a =\n  \"/unix/@a\",\n]", &["3:4 a `[` is missing before the list"]);
    check("= \"/unix/@a\"", &["3:1 a key is missing before `=`"]);
    check("a = [\"/unix/@a\" \"/unix/@b\"]", &["3:17 a `,` is missing before this"]);
    check(
        "a = [\n  \"/unix/@a\"\n  \"/uds/x\"\n]",
        &["5:3 a `,` is missing before this", "5:5 unknown protocol `uds` in `/uds/x`"],
    );
    check(
        "a = [[\"h\" 80], [\"h\" 81]]",
        &["3:11 a `,` is missing before this", "3:21 a `,` is missing before this"],
    );
    // What is not expected here.
    check("a = \"/unix/@a\" b = \"/unix/@b\"", &["3:16 another key begins on the same line"]);
    check(
        "a = \"/unix/@a\", b = \"/uds/x\"",
        &["3:17 another key begins on the same line", "3:23 unknown protocol `uds` in `/uds/x`"],
    );
    let list = "3:5 several values make a list, which is in brackets";
    check("a = \"/unix/@a\" \"/unix/@b\"", &[list]);
    check("a = \"/unix/@a\", \"/unix/@b\"", &[list]);
    check("a = \"/unix/@a\"; \"/unix/@b\",", &[list]);
    check("a = \"/unix/@a\",\n    \"/unix/@b\",\n    '/unix/@c'", &[list]);
    check("a = [\"h\", 80], [\"h\", 81]", &[list]);
    check("a = \"127.0.0.1\", 80", &[list]);
    check("a = /unix/@a, /unix/@b", &["3:5 `/unix/@a, /unix/@b` is not in quotes"]);
    check("a = (\"/unix/@a\", \"/unix/@b\")", &["3:5 a list is not written in parentheses"]);
    check("a = “/unix/@a”", &["3:5 `“/unix/@a”` is in typographic quotes"]);
    check("a = ‘/unix/@a’ # it’s", &["3:5 `‘/unix/@a’` is in typographic quotes"]);
    check("a = „/unix/@a“", &["3:5 `„/unix/@a“` is in typographic quotes"]);
    check("“a” = \"/unix/@a\"", &["3:1 `“a”` is in typographic quotes"]);
    check("a = \"/unix/@a”", &["3:14 `”` does not close what `\"` began"]);
    check("a = [\"/unix/@a”, \"/unix/@b\"]", &["3:15 `”` does not close what `\"` began"]);
    let blank = "is between the words";
    check("a =\u{a0}\"/unix/@a\"", &[&format!("3:4 a no-break space (U+00A0) {blank}")]);
    check("a\u{200b} = \"/unix/@a\"", &[&format!("3:2 a zero-width space (U+200B) {blank}")]);
    check("\u{3000}a = \"/unix/@a\"", &[&format!("3:1 an ideographic space (U+3000) {blank}")]);
    check("a = \"/unix/@a\"\u{2028}", &[&format!("3:15 an invisible character (U+2028) {blank}")]);
    check("a = \"/unix/@a\",", &["3:15 a line does not end in `,`"]);
    check("a = [\"/unix/@a\"]]", &["3:17 `]` closes nothing"]);
    check("a = \"/unix/@a\"]", &["3:15 `]` closes nothing"]);
    check("]", &["3:1 `]` closes nothing"]);
    check("a = [,\"/unix/@a\"]", &["3:6 nothing comes before this `,`"]);
    check("a = \"/unix/@a\" // or b", &["3:16 `//` does not begin a comment"]);
    // Substituted characters.
    check("a == \"/unix/@a\"", &["3:3 expected `=`, found `==`"]);
    check("a: \"/unix/@a\"", &["3:2 expected `=`, found `:`"]);
    check("a b = \"/unix/@a\"", &["3:1 `a b` cannot be a key"]);
    check("a = \"/un\"ix/@a\"", &["3:9 a `\"` is inside a string"]);
    check("- /unix/@a", &["3:3 expected `=`, found `/unix/@a`"]);
    let escape =
        "missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\\`, `\"`, `x`, `u`, `U`";
    check("a = \"/unix/\\q\"", &[&format!("3:13 {escape}")]);
    check(
        "a = [\"/unix/\\q\", \"/uds/x\"]",
        &[&format!("3:14 {escape}"), "3:20 unknown protocol `uds` in `/uds/x`"],
    );
}

#[test]
fn headers_that_are_broken_head_their_tables() {
    let check = |header: &str, expected: &str| {
        let source = format!("{header}\nfeed = \"/uds/feed\"\n");
        let diagnostics: Vec<_> = diagnostics(&source).iter().map(ToString::to_string).collect();
        assert_eq!(diagnostics.len(), 2, "{diagnostics:?}");
        assert_eq!(diagnostics[0], format!("test.toml:{expected}"), "{header}");
        assert!(diagnostics[1].contains("unknown protocol `uds`"), "{diagnostics:?}");
    };
    let unclosed = "the header that begins here is not closed (close it with `]`)";
    check("[network", &format!("1:1: error: {unclosed}"));
    check("network]", "1:1: error: a `[` is missing before the header (write it as `[name]`)");
    check("[network]]", "1:10: error: more brackets close than open (leave it out)");
    check(
        "[[network]",
        "1:1: error: two brackets open here, and one closes (write the header in single brackets)",
    );
    check("[net work]", "1:1: error: `[net work]` is not a header (write it as `[network]`)");
    check("{[network]", "1:1: error: `{[network]` is not a header (write it as `[network]`)");
    check(
        "[network] a = \"/unix/@a\"",
        "1:11: error: another key begins on the same line (begin a new line for it)",
    );
}

#[test]
fn a_long_broken_file_is_read_to_its_end() {
    for line in ["a = [\n", "a = '''\n", "[\n", "]", "{", "\"", "a = [[{", "x = \"\"\"a\n", "=\n"] {
        let diagnostics = diagnostics(&format!("[network]\n{}", line.repeat(20_000)));
        assert!(!diagnostics.is_empty(), "{line}");
    }
}
