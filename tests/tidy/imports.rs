//! Imports between the files of a crate, by their `use` lines and by paths in the code.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{is_word, without_tests};

/// A module, by the segments of its path below the root of the crate.
type Module = Vec<String>;

/// The files of one crate, and the imports of each.
#[derive(Default)]
pub(crate) struct Imports {
    files: BTreeMap<Module, File>,
}

#[derive(Default)]
struct File {
    path: String,
    /// The paths in it, as they are written.
    names: Vec<Vec<String>>,
    /// The names that it imports, each with its path.
    brought: BTreeMap<String, Vec<String>>,
    /// Whether it has a module within itself, in which `super` means the file.
    has_module: bool,
}

impl Imports {
    /// Adds a file. `within` is its path below the folder of the crate's root, and `code` its text
    /// without comments and literals.
    pub(crate) fn add(&mut self, path: &str, within: &str, code: &str) {
        let module = within.trim_end_matches(".rs").split('/').map(str::to_owned);
        let mut module: Module = module.collect();
        // The root of a program beside a library counts as one with the library's.
        let is_root = within == "lib.rs" || within == "main.rs";
        if is_root || module.last().is_some_and(|it| it == "mod") {
            module.pop();
        }
        let code = without_tests(code);
        let file = self.files.entry(module).or_default();
        path.clone_into(&mut file.path);
        for tree in uses(&code) {
            for (path, name) in paths(&tree) {
                let last = name.or_else(|| path.last().cloned());
                if let Some(last) = last.filter(|it| it != "_" && it != "self") {
                    file.brought.insert(last, path.clone());
                }
                file.names.push(path);
            }
        }
        file.names.extend(inline(&code));
        let opens = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.ends_with(&["{"]) && words.iter().rev().nth(2).is_some_and(|it| *it == "mod")
        };
        file.has_module |= code.lines().any(opens);
    }

    /// Returns the files whose imports cannot be followed: those with a glob import from their own
    /// crate, or with a module within themselves.
    pub(crate) fn unfollowed(&self) -> impl Iterator<Item = &str> {
        let is_own = |path: &Vec<String>| matches!(path[0].as_str(), "crate" | "self" | "super");
        let is_glob =
            move |path: &Vec<String>| path.last().is_some_and(|it| it == "*") && is_own(path);
        let is_unclear = move |file: &&File| file.has_module || file.names.iter().any(is_glob);
        self.files.values().filter(is_unclear).map(|file| file.path.as_str())
    }

    /// Returns the circles: files each of which imports the next, and the last the first. Imports
    /// between a file and its own submodules do not count.
    pub(crate) fn circles(&self) -> Vec<Vec<&str>> {
        let imported: BTreeMap<&Module, BTreeSet<&Module>> =
            self.files.keys().map(|module| (module, self.imported(module))).collect();
        let reached: BTreeMap<_, _> =
            imported.keys().map(|module| (*module, reach(module, &imported))).collect();
        let mut circles = BTreeSet::new();
        for (module, theirs) in &reached {
            let is_in_circle = |other: &&&Module| reached[**other].contains(module);
            let circle: BTreeSet<_> = theirs.iter().filter(is_in_circle).copied().collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        let path = |module: &Module| self.files[module].path.as_str();
        circles.into_iter().map(|circle| circle.into_iter().map(path).collect()).collect()
    }

    fn imported(&self, module: &Module) -> BTreeSet<&Module> {
        let found = self.files[module].names.iter().filter_map(|path| self.find(module, path, 0));
        found.filter(|it| !it.starts_with(module) && !module.starts_with(it)).collect()
    }

    /// Returns the file that a path in a file leads to; `None` if it leads out of the crate.
    /// Imported and re-exported names are followed.
    fn find(&self, from: &Module, path: &[String], depth: usize) -> Option<&Module> {
        let (first, rest) = path.split_first().filter(|_| depth < PASSED_ON_MAX)?;
        let (mut base, mut rest) = (from.clone(), rest);
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                base.pop()?;
            }
            name => {
                base.push(name.to_owned());
                if !self.files.contains_key(&base) {
                    let brought = self.files[from].brought.get(name)?;
                    // A name from another crate keeps its meaning.
                    if brought.first() == Some(first) {
                        return None;
                    }
                    return self.find(from, &join(brought, rest), depth + 1);
                }
            }
        }
        while let Some((_, below)) = rest.split_first().filter(|(it, _)| *it == "super") {
            base.pop()?;
            rest = below;
        }
        let path = [base, rest.to_vec()].concat();
        let length = (0..=path.len()).rev().find(|it| self.files.contains_key(&path[..*it]))?;
        let (module, file) = self.files.get_key_value(&path[..length])?;
        let passed_on = path.get(length).and_then(|name| file.brought.get(name));
        let found = passed_on
            .filter(|_| module != from)
            .and_then(|to| self.find(module, &join(to, &path[length + 1..]), depth + 1));
        Some(found.unwrap_or(module))
    }
}

fn join(path: &[String], rest: &[String]) -> Vec<String> {
    [path, rest].concat()
}

fn reach<'a>(
    from: &'a Module,
    imported: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> BTreeSet<&'a Module> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(imported[module].iter().filter(|it| reached.insert(**it)));
    }
    reached
}

/// Returns the tree of each `use`, up to its semicolon.
fn uses(code: &str) -> Vec<String> {
    let starts = code.match_indices("use ").filter(|(at, _)| !code[..*at].ends_with(is_word));
    let tree = |(at, word): (usize, &str)| {
        let (tree, _) = code[at + word.len()..].split_once(';')?;
        Some(tree.chars().filter(|it| !it.is_whitespace() || *it == ' ').collect())
    };
    starts.filter_map(tree).collect()
}

/// Returns the paths of a tree of imports, each with its alias.
fn paths(tree: &str) -> Vec<(Vec<String>, Option<String>)> {
    let split = |path: &str| -> Vec<String> {
        path.split("::").map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
    };
    let Some((before, inner)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let name = Some(name.trim().to_owned()).filter(|it| !it.is_empty());
        let mut path = split(path);
        if path.len() > 1 && path.last().is_some_and(|it| it == "self") {
            path.pop();
        }
        return vec![(path, name)];
    };
    let before = split(before);
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0_usize);
    for character in inner.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(character);
    }
    parts.push(part);
    let parts = parts.iter().filter(|it| !it.trim().is_empty());
    let with_prefix = |(path, name): (Vec<String>, _)| {
        let is_self = path == ["self"];
        let rest = if is_self { Vec::new() } else { path };
        ([before.clone(), rest].concat(), name)
    };
    parts.flat_map(|it| paths(it)).map(with_prefix).collect()
}

/// Returns the paths in the code.
fn inline(code: &str) -> Vec<Vec<String>> {
    let words = code.split(|it: char| !is_word(it) && it != ':').filter(|it| it.contains("::"));
    let path = |it: &str| it.split("::").filter(|it| !it.is_empty()).map(str::to_owned).collect();
    words.map(path).filter(|path: &Vec<_>| !path.is_empty()).collect()
}

/// The greatest number of re-exports from file to file.
const PASSED_ON_MAX: usize = 8;
