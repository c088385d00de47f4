//! Which files of a crate import which others, by their `use` lines and by paths in the code.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{is_word, without_tests};

/// A module, by the segments of its path below the root of the crate.
type Module = Vec<String>;

/// The files of one crate, and what each of them imports.
#[derive(Default)]
pub(crate) struct Imports {
    files: BTreeMap<Module, File>,
}

#[derive(Default)]
struct File {
    path: String,
    /// What it names: whole paths, as they are written.
    names: Vec<Vec<String>>,
    /// Names that it brings in, and what each stands for.
    brought: BTreeMap<String, Vec<String>>,
}

impl Imports {
    /// Adds a file. `within` is its path below the folder of the crate's root, and `code` its text
    /// without comments and literals.
    pub(crate) fn add(&mut self, path: &str, within: &str, code: &str) {
        let module = within.trim_end_matches(".rs").split('/').map(str::to_owned);
        let mut module: Module = module.collect();
        if module.len() == 1 && (within == "lib.rs" || within == "main.rs") {
            // The root of a program beside a library is another crate.
            module = if within == "lib.rs" { Vec::new() } else { vec!["main.rs".to_owned()] };
        } else if module.last().is_some_and(|it| it == "mod") {
            module.pop();
        }
        let code = without_tests(code);
        let mut file = File { path: path.to_owned(), ..File::default() };
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
        self.files.insert(module, file);
    }

    /// Returns the circles: files each of which imports the next, and the last the first. A file
    /// and its own submodules count as one.
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
        let named = self.files[module].names.iter();
        let found = named.filter_map(|path| self.find(&self.absolute(module, path)?, 0));
        found.filter(|it| !it.starts_with(module) && !module.starts_with(it)).collect()
    }

    /// Returns a path from the root of the crate; `None` for one that leads out of it.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut base = module.clone();
        match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" => base.extend_from_slice(rest),
            "super" => {
                let ups = path.iter().take_while(|it| *it == "super").count();
                base.truncate(base.len().checked_sub(ups)?);
                base.extend_from_slice(&path[ups..]);
            }
            _ => {
                base.push(first.clone());
                if !self.files.contains_key(&base) {
                    return None;
                }
                base.extend_from_slice(rest);
            }
        }
        Some(base)
    }

    /// Returns the file that has what a path leads to, through names that others pass on.
    fn find(&self, path: &[String], depth: usize) -> Option<&Module> {
        let length = (0..=path.len()).rev().find(|it| self.files.contains_key(&path[..*it]))?;
        let (module, file) = self.files.get_key_value(&path[..length])?;
        let passed_on = path.get(length).and_then(|name| file.brought.get(name));
        if let Some(to) = passed_on.filter(|_| depth < PASSED_ON_MAX)
            && let Some(mut to) = self.absolute(module, to)
            && to != path
        {
            to.extend_from_slice(&path[length + 1..]);
            return self.find(&to, depth + 1);
        }
        Some(module)
    }
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

/// Returns what stands behind each `use`, up to its semicolon.
fn uses(code: &str) -> Vec<String> {
    let starts = code.match_indices("use ").filter(|(at, _)| !code[..*at].ends_with(is_word));
    let tree = |(at, word): (usize, &str)| {
        let (tree, _) = code[at + word.len()..].split_once(';')?;
        Some(tree.chars().filter(|it| !it.is_whitespace() || *it == ' ').collect())
    };
    starts.filter_map(tree).collect()
}

/// Returns the paths of a tree of imports, each with the name that it is given.
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

/// Returns the paths in the code that begin at the root of the crate or at the file above.
fn inline(code: &str) -> Vec<Vec<String>> {
    let begins = ["crate::", "super::"].iter().flat_map(|it| code.match_indices(it));
    let begins =
        begins.filter(|(at, _)| !code[..*at].ends_with([':']) && !code[..*at].ends_with(is_word));
    let path = |(at, _): (usize, &str)| {
        let text = &code[at..];
        let end = text.find(|it: char| !is_word(it) && it != ':').unwrap_or(text.len());
        text[..end].split("::").filter(|it| !it.is_empty()).map(str::to_owned).collect()
    };
    begins.map(path).collect()
}

/// How often a name may be passed on from file to file.
const PASSED_ON_MAX: usize = 8;
