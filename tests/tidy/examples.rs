//! The examples of what the facade exports.

use std::collections::BTreeSet;

use crate::{
    facade::FACADE,
    sources::{read, rust_files},
};

/// Returns the types and functions of the facade, and the methods of its types, that have no example:
/// the file, the line, and a message.
pub(crate) fn missing() -> Vec<(String, usize, String)> {
    let exported: BTreeSet<_> = FACADE.iter().flat_map(|it| exports(&read(it))).collect();
    let mut missing = Vec::new();
    for path in rust_files() {
        let Some((crate_name, _)) = path.split_once("/src/") else { continue };
        if path.contains("tests") {
            continue;
        }
        let is_exported = |name: &str| exported.contains(&(crate_name.to_owned(), name.to_owned()));
        // All that is public in a module that is exported as a whole.
        let is_whole =
            module(&path).is_some_and(|it| is_exported(it) && is_shown(&path, crate_name, it));
        let is_exported = |name: &str| is_whole || is_exported(name);
        for (line, item) in without_example(&read(&path), is_exported) {
            missing.push((path.clone(), line, format!("`{item}` has no example; write one")));
        }
    }
    missing
}

/// Returns the lines of examples of the facade's items that show the path of a crate below: its users do
/// not depend on that. Hidden lines may.
pub(crate) fn below() -> Vec<(String, usize, String)> {
    let exported: BTreeSet<_> = FACADE.iter().flat_map(|it| exports(&read(it))).collect();
    let paths: BTreeSet<_> = rust_files().collect();
    let has_files = |it: &&str| paths.iter().any(|path| path.starts_with(&format!("{it}/src/")));
    let crates = exported.iter().map(|it| it.0.as_str()).filter(has_files);
    let crates: BTreeSet<_> = crates.filter(|it| *it != OF_SETTINGS).collect();
    let mut below = Vec::new();
    for path in rust_files() {
        let Some((crate_name, _)) = path.split_once("/src/") else { continue };
        if path.contains("tests") {
            continue;
        }
        let is_exported = |name: &str| exported.contains(&(crate_name.to_owned(), name.to_owned()));
        for (line, named) in paths_below(&read(&path), is_exported, &crates) {
            let fault = format!("names `{named}`; write the path in the facade: `callsign::…`");
            below.push((path.clone(), line, fault));
        }
    }
    below
}

/// The crate that reads settings: a program only sees the faults that it has found, and cannot show in an
/// example how they come about.
const OF_SETTINGS: &str = "config";

/// Returns the crates below that the examples of exported items show, each with its line.
fn paths_below(
    text: &str,
    is_exported: impl Fn(&str) -> bool,
    crates: &BTreeSet<&str>,
) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // Those of the comment above a line.
    let mut shown = Vec::new();
    let mut is_code = false;
    for (at, line) in text.lines().enumerate() {
        if line == "#[cfg(test)]" {
            break;
        }
        if let Some(comment) = line.strip_prefix("///") {
            let comment = comment.trim_start();
            if comment.starts_with("```") {
                is_code = !is_code;
            } else if is_code && !comment.starts_with('#') {
                let named = crates_in(comment).filter(|it| {
                    let of = it.strip_prefix("callsign_").unwrap_or(it);
                    crates.contains(of)
                });
                shown.extend(named.map(|it| (at + 1, it.to_owned())));
            }
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        let is_meant = line.strip_prefix("pub ").and_then(item).is_some_and(&is_exported);
        if is_meant {
            found.append(&mut shown);
        }
        shown.clear();
    }
    found
}

/// Returns the first parts of the paths in a line of code.
fn crates_in(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices("::").filter_map(|(at, _)| {
        let before = &code[..at];
        let word = before.rsplit(|it: char| !it.is_alphanumeric() && it != '_').next()?;
        let before = &before[..before.len() - word.len()];
        let is_in_list = code.trim_start().starts_with("use ") && before.contains("::{");
        let is_first = !before.ends_with("::") && !is_in_list;
        (is_first && !word.is_empty()).then_some(word)
    })
}

/// Returns the module of a crate that a file belongs to.
fn module(path: &str) -> Option<&str> {
    words(path.split_once("/src/")?.1).next()
}

/// Tells whether a crate has a public module of that name that is meant for users.
fn is_shown(path: &str, crate_name: &str, module: &str) -> bool {
    let is_public =
        read(&format!("{crate_name}/src/lib.rs")).contains(&format!("pub mod {module};"));
    is_public && !path.starts_with(FOR_ATTRIBUTE)
}

/// The module of the functions that `#[export]` calls; it is exported with the attribute, since it has
/// the same name.
const FOR_ATTRIBUTE: &str = "tree/src/export/";

/// Returns the exported items of a file without an example, each with its line.
fn without_example(text: &str, is_exported: impl Fn(&str) -> bool) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut of: Option<&str> = None;
    // Of the comment and the attributes above a line.
    let (mut is_shown, mut is_hidden) = (false, false);
    for (at, line) in text.lines().enumerate() {
        if line == "#[cfg(test)]" {
            break;
        }
        if line.trim().is_empty() {
            (is_shown, is_hidden) = (false, false);
        } else if line.trim_start().starts_with("///") {
            is_shown |= line.contains("```");
        } else if line.contains("doc(hidden)") {
            is_hidden = true;
        } else if let Some(name) = line.strip_prefix("    pub ").and_then(method) {
            let of = of.filter(|_| !is_shown && !is_hidden);
            found.extend(of.map(|of| (at + 1, format!("{of}::{name}"))));
            (is_shown, is_hidden) = (false, false);
        } else if let Some(name) = line.strip_prefix("pub ").and_then(item) {
            if is_exported(name) && !is_shown && !is_hidden {
                found.push((at + 1, name.to_owned()));
            }
            (is_shown, is_hidden) = (false, false);
        }
        if !line.starts_with([' ', '/', '#']) && !line.is_empty() {
            of = line.strip_prefix("impl").and_then(implemented).filter(|it| is_exported(it));
        }
    }
    found
}

/// Returns the type that a block has methods of, unless they are a trait's.
fn implemented(rest: &str) -> Option<&str> {
    if rest.contains(" for ") {
        return None;
    }
    let rest = if rest.starts_with('<') { rest.split_once("> ")?.1 } else { rest.trim_start() };
    words(rest).next()
}

fn method(rest: &str) -> Option<&str> {
    let rest = rest.split_once("fn ").filter(|(before, _)| is_of_function(before))?.1;
    words(rest).next()
}

fn item(rest: &str) -> Option<&str> {
    let of_type = || {
        let (kind, rest) = rest.split_once(' ')?;
        matches!(kind, "struct" | "enum" | "trait" | "type").then(|| words(rest).next())?
    };
    method(rest).or_else(of_type)
}

fn is_of_function(before: &str) -> bool {
    before.split_whitespace().all(|it| matches!(it, "async" | "const" | "unsafe"))
}

/// Returns what is re-exported, each with its crate.
fn exports(text: &str) -> Vec<(String, String)> {
    let uses = text.split("pub use ").skip(1).filter_map(|it| it.split_once(';'));
    let of = |used: &str| {
        let (crate_name, items) = used.split_once("::").unwrap_or((used, ""));
        let paths = items.split([',', '{', '}', ' ', '\n']);
        let names = paths.filter_map(|it| it.rsplit("::").next()).filter(|it| !it.is_empty());
        names.map(|it| (crate_name.to_owned(), it.to_owned())).collect::<Vec<_>>()
    };
    uses.flat_map(|(used, _)| of(used)).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|it: char| !it.is_alphanumeric() && it != '_').filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_the_facade_is_found() {
        let text = "\
/// A desk.
///
/// ```
/// # use one::Hidden;
/// use callsign::one::Desk;
/// use callsign_one::{Desk, two::Bell};
/// let bell: other::Bell = one::bell();
/// ```
#[derive(Debug)]
pub struct Desk;

/// ```
/// use one::Own;
/// ```
pub struct Own;
";
        let crates = ["one", "two"].into();
        let found = paths_below(text, |it| it == "Desk", &crates);
        let found: Vec<_> = found.iter().map(|(line, of)| (*line, of.as_str())).collect();
        assert_eq!(found, [(6, "callsign_one"), (7, "one")]);
    }

    #[test]
    fn what_lacks_an_example_is_found() {
        let exported =
            exports("pub use one::{Desk, open, deep::{Bell}};\npub use two::Other as It;\n");
        let pair = |it: &(&str, &str)| (it.0.to_owned(), it.1.to_owned());
        let all = [("one", "Desk"), ("one", "open"), ("one", "Bell"), ("two", "Other")];
        assert!(all.iter().all(|it| exported.contains(&pair(it))), "{exported:?}");
        assert!(!exported.contains(&pair(&("one", "deep"))), "it is a module: {exported:?}");
        let text = "\
/// A desk.
#[derive(Debug)]
pub struct Desk;

/// A bell.
///
/// ```
/// ```
pub enum Bell {}

impl<T> Desk<T> {
    /// Rings.
    pub async fn ring(&self) {}

    /// ```
    /// ```
    pub fn sit(&self) {}

    #[doc(hidden)]
    pub fn made(&self) {}

    fn own(&self) {}
}

impl Hidden {
    pub fn new() {}
}

pub const fn open() {}
";
        let is_exported = |it: &str| ["Desk", "Bell", "open"].contains(&it);
        let found = without_example(text, is_exported);
        let found: Vec<_> = found.iter().map(|(line, item)| (*line, item.as_str())).collect();
        assert_eq!(found, [(3, "Desk"), (13, "Desk::ring"), (29, "open")]);
    }
}
