//! The rules of the workspace that neither the compiler nor clippy keeps.
//!
//! Each breach is reported with its `file:line`, the fault, and the remedy. [`sources`] and
//! [`text`] find and read the sources.

#![forbid(unsafe_code)]

mod examples;
mod facade;
mod imports;
mod sources;
mod text;

use std::{collections::BTreeSet, fs};

use self::{
    imports::Imports,
    sources::{files, folder_of, packages, read, root, rust_files},
    text::{code, is_word, links, modules, modules_in_table, opens_unsafe, says_why_sound},
};

/// The layers, from the ground up. A crate may depend only on crates of a layer below its own.
const LAYERS: &[&[&str]] = &[
    &["endpoints"],
    &["config", "wire", "transport"],
    &["portal", "process", "keys"],
    &["registrar", "discovery"],
    // Macros are built before the crates that use them.
    &["tree/macros"],
    &["tree", "gateway", "cluster", "connect"],
    &["cli"],
    // Not part of what users get, so they may use all of it, and nothing may use them.
    &["bench", "xtask"],
];

/// The crates that may hold unsafe code: they talk to the kernel.
const UNSAFE_CRATES: &[&str] = &["transport", "process", "tree"];

/// The folders at the top beside the crates.
const FOLDERS: &[&str] =
    &[".cargo", ".ci", ".config", "clients", "docs", "examples", "findings", "packaging", "tests"];

/// The documents that people and tools look for.
const DOCUMENTS: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "README.md",
    "docs/glossary.md",
    "docs/wire.md",
];

/// A longer file is listed: it usually holds two ideas.
const LINES_NAMED: usize = 500;

/// A longer file is a fault. Tests may be longer, because they are mostly tables.
const LINES_MAX: usize = 600;

/// The greatest number of modules of a library whose head has no table of them.
const MODULES_UNNAMED_MAX: usize = 8;

/// The one registry that crates come from, as a lock file names it.
const CRATES_IO: &str = "\"registry+https://github.com/rust-lang/crates.io-index\"";

#[test]
fn dependencies_point_down() {
    let mut faults = Faults::default();
    for package in packages() {
        let Some(own) = layer(&package.folder) else {
            let fault = "is on no layer; give it one in LAYERS of tests/tidy/main.rs and in \
                         ARCHITECTURE.md";
            faults.add(&package.manifest, 1, fault);
            continue;
        };
        let manifest = read(&package.manifest);
        for below in &package.dependencies {
            if layer(below).is_some_and(|theirs| theirs < own) {
                continue;
            }
            let key = below.rsplit('/').next().unwrap_or(below);
            let line = manifest.lines().position(|line| line.starts_with(key));
            let fault = format!(
                "`{}` must not depend on `{below}`, which is not on a layer below; move what both \
                 need down, or take it as an argument",
                package.folder
            );
            faults.add(&package.manifest, line.map_or(1, |at| at + 1), &fault);
        }
    }
    faults.none();
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let mut faults = Faults::default();
    for package in packages() {
        if !read(&package.manifest).contains("\n[lints]\nworkspace = true\n") {
            let fault = "does not take the lints of the workspace; write `[lints]` and below it \
                         `workspace = true`";
            faults.add(&package.manifest, 1, fault);
        }
    }
    faults.none();
}

#[test]
fn unsafe_code_is_forbidden_but_where_the_kernel_is_called() {
    let mut faults = Faults::default();
    for package in packages() {
        if UNSAFE_CRATES.contains(&package.folder.as_str()) {
            continue;
        }
        for root in &package.roots {
            if !code(&read(root)).contains("#![forbid(unsafe_code)]") {
                faults.add(root, 1, "add `#![forbid(unsafe_code)]` below the crate's opening");
            }
        }
    }
    faults.none();
}

#[test]
fn unsafe_code_says_why_it_is_sound() {
    let mut faults = Faults::default();
    let packages = packages();
    for path in rust_files() {
        let text = read(&path);
        let code = code(&text);
        let folder = folder_of(&path, &packages);
        for (at, _) in code.lines().enumerate().filter(|(_, line)| opens_unsafe(line)) {
            if !UNSAFE_CRATES.contains(&folder) {
                let fault = format!(
                    "unsafe code; only {} may hold it: move the call there and give it a safe face",
                    UNSAFE_CRATES.join(" and ")
                );
                faults.add(&path, at + 1, &fault);
            } else if !says_why_sound(&text, &code, at) {
                let fault = "unsafe code without a reason; say above it why it is sound: \
                             `// SAFETY: …`";
                faults.add(&path, at + 1, fault);
            }
        }
    }
    faults.none();
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [
        ("todo!", "finish it, or leave it out and say so in the documentation"),
        ("unimplemented!", "finish it, or leave it out and say so in the documentation"),
        ("dbg!", "remove it, or log with `tracing`"),
        ("#[ignore", "mend the test, or assert what is true today with a note why"),
    ];
    let mut faults = Faults::default();
    for path in rust_files() {
        let text = read(&path);
        for (at, line) in code(&text).lines().enumerate() {
            for (mark, remedy) in marks {
                if line.match_indices(mark).any(|(at, _)| !line[..at].ends_with(is_word)) {
                    faults.add(&path, at + 1, &format!("`{mark}`; {remedy}"));
                }
            }
        }
        for (at, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") && line.contains("```ignore") {
                faults.add(&path, at + 1, "an example that is not compiled; use `no_run` or none");
            }
        }
    }
    faults.none();
}

#[test]
fn files_hold_one_idea() {
    let mut faults = Faults::default();
    for path in rust_files() {
        let lines = read(&path).lines().count();
        if lines > LINES_MAX && !is_test(&path) {
            let fault = format!("{lines} lines, over {LINES_MAX}; split it into one file an idea");
            faults.add(&path, LINES_MAX + 1, &fault);
        } else if lines > LINES_NAMED {
            println!("{path}: {lines} lines; does it hold one idea?");
        }
    }
    faults.none();
}

#[test]
fn the_top_folder_has_known_rooms() {
    let mut faults = Faults::default();
    let files = files();
    let folders: BTreeSet<_> =
        files.iter().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    for folder in folders {
        if !FOLDERS.contains(&folder) && layer(folder).is_none() {
            let fault = "is no known folder; put its files into one that exists, or add it to \
                         FOLDERS or LAYERS of tests/tidy/main.rs and to ARCHITECTURE.md";
            faults.add(folder, 0, fault);
        }
    }
    for document in DOCUMENTS {
        if !files.iter().any(|path| path == document) {
            faults.add(document, 0, "is missing; people and tools look for it: write it");
        }
    }
    faults.none();
}

#[test]
fn the_glossary_is_sorted_and_defines_each_word_once() {
    const GLOSSARY: &str = "docs/glossary.md";

    let mut faults = Faults::default();
    let (mut before, mut words) = (String::new(), BTreeSet::new());
    let text = read(GLOSSARY);
    // A table of reasons follows the definitions.
    for (at, line) in text.lines().enumerate().take_while(|(_, line)| !line.starts_with("## ")) {
        let entry = line.strip_prefix("- **").and_then(|it| it.split_once("**: "));
        if line.starts_with(['-', '*', '+']) && entry.is_none() {
            faults.add(GLOSSARY, at + 1, "is not an entry; write `- **word**: …`");
        }
        if entry.map_or(line, |(_, definition)| definition).contains("**") {
            faults.add(GLOSSARY, at + 1, "has a word in bold within an entry; give it its own");
        }
        let Some((word, _)) = entry else { continue };
        let word = word.trim().to_lowercase();
        if !words.insert(word.trim_end_matches('s').to_owned()) {
            faults.add(GLOSSARY, at + 1, &format!("defines `{word}` again; one word, one meaning"));
        } else if word < before {
            let fault = format!("`{word}` comes after `{before}`; keep the words sorted");
            faults.add(GLOSSARY, at + 1, &fault);
        }
        before = word;
    }
    assert!(!words.is_empty(), "{GLOSSARY} defines no word; write each as `- **word**: …`");
    faults.none();
}

#[test]
fn the_head_of_a_crate_names_its_modules() {
    let mut faults = Faults::default();
    let files: BTreeSet<_> = rust_files().collect();
    for root in packages().iter().flat_map(|package| &package.roots) {
        let text = read(root);
        let (modules, table) = (modules(&text), modules_in_table(&text));
        if table.is_empty() {
            if root.ends_with("lib.rs") && modules.len() > MODULES_UNNAMED_MAX {
                let fault = "a head without a table of modules; write `| module | its one idea |`";
                faults.add(root, 1, fault);
            }
            continue;
        }
        for (at, module) in &modules {
            match table.iter().filter(|(_, it)| it == module).count() {
                1 => {}
                0 => {
                    faults.add(root, *at, &format!("`{module}` is not in the head's table; add it"))
                }
                _ => faults.add(root, *at, &format!("`{module}` is in the head's table twice")),
            }
        }
        for (at, module) in &table {
            let is_there = match module.split_once("::") {
                None => modules.iter().any(|(_, it)| it == module),
                Some(_) => {
                    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let file = format!("{folder}/{}", module.replace("::", "/"));
                    files.contains(&format!("{file}.rs"))
                        || files.contains(&format!("{file}/mod.rs"))
                }
            };
            if !is_there {
                let fault = format!("`{module}` is not a module of this crate; take it out");
                faults.add(root, *at, &fault);
            }
        }
    }
    faults.none();
}

#[test]
fn no_two_files_import_each_other() {
    let mut faults = Faults::default();
    let packages = packages();
    let all: Vec<_> = rust_files().filter(|it| !is_test(it)).collect();
    for package in &packages {
        let mut imports = Imports::default();
        let folder = format!("{}/src/", package.folder);
        for path in &all {
            // A crate may lie within another's folder.
            if let Some(within) = path.strip_prefix(&folder)
                && folder_of(path, &packages) == package.folder
            {
                imports.add(path, within, &code(&read(path)));
            }
        }
        for circle in imports.circles() {
            let fault = "imports files that import it; what several need belongs below them";
            circle.iter().for_each(|path| faults.add(path, 0, fault));
        }
        for path in imports.unfollowed() {
            let fault = "imports that cannot be followed: name what it uses instead of `*`, and give \
                         a module within it a file of its own";
            faults.add(path, 0, fault);
        }
    }
    faults.none();
}

#[test]
fn a_circle_of_imports_is_found_through_names_that_are_passed_on() {
    let circles = |files: &[(&str, &str)]| {
        let mut imports = Imports::default();
        files.iter().for_each(|(path, text)| imports.add(path, path, &code(text)));
        let circles = imports.circles();
        circles.iter().map(|circle| circle.join(" ")).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(circles(&[("a.rs", "use crate::b::B;"), ("b.rs", "use std::fmt;")]), none);
    assert_eq!(
        circles(&[("a.rs", "use crate::b::B;"), ("b.rs", "use super::a::A;")]),
        ["a.rs b.rs"]
    );
    // Through the crate's root, under another name, and by a path in the code.
    let root = "mod a; mod b; pub use b::{Inner as B, c::{self}};";
    let files =
        [("lib.rs", root), ("a.rs", "use crate::{x::Y, B};"), ("b.rs", "fn f() { crate::a::g() }")];
    assert_eq!(circles(&files), ["a.rs b.rs"]);
    // Through a folder that is imported whole, and through another name of the file above.
    let files = [
        ("a.rs", "use crate::x; fn f() { x::b::g() }"),
        ("x/mod.rs", "pub mod b;"),
        ("x/b.rs", "use crate::a::A;"),
    ];
    assert_eq!(circles(&files), ["a.rs x/b.rs"]);
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use super as up; fn f() { up::b::g() }"),
        ("b.rs", "use self::super::a::A;"),
    ];
    assert_eq!(circles(&files), ["a.rs b.rs"]);
    // Through the root of a program.
    let files = [("main.rs", "mod a; mod b; use b::B;"), ("a.rs", "use crate::B;")];
    assert_eq!(circles(&[&files[..], &[("b.rs", "use crate::a::A;")]].concat()), ["a.rs b.rs"]);
    // Imports between a file and its own submodules do not count, nor do comments and tests.
    assert_eq!(circles(&[("a.rs", "use self::b::B;"), ("a/b.rs", "use super::A;")]), none);
    let tests = "// use crate::a::A;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n";
    assert_eq!(circles(&[("a.rs", "use crate::b::B;"), ("b.rs", tests)]), none);
    // Three in a row.
    let files =
        [("a.rs", "use crate::b;"), ("b/mod.rs", "use crate::c::C;"), ("c.rs", "use crate::a::*;")];
    assert_eq!(circles(&files), ["a.rs b/mod.rs c.rs"]);
    // Glob imports and modules within a file cannot be followed, and are therefore a fault.
    let mut imports = Imports::default();
    imports.add("a.rs", "a.rs", "use super::{b::B, c::*};");
    imports.add("b.rs", "b.rs", "use proptest::prelude::*;\npub(crate) mod c;");
    imports.add("c.rs", "c.rs", "pub(crate) mod inner {\n    use super::super::b::B;\n}\n");
    assert_eq!(imports.unfollowed().collect::<Vec<_>>(), ["a.rs", "c.rs"]);
}

#[test]
fn links_lead_somewhere() {
    let mut faults = Faults::default();
    for path in files().iter().filter(|path| path.ends_with(".md")) {
        let folder = root().join(path).parent().expect("a file is in a folder").to_owned();
        for (line, target) in links(&read(path)) {
            let file = target.split('#').next().unwrap_or_default();
            let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !is_elsewhere && !file.is_empty() && !folder.join(file).exists() {
                let fault = format!("links to `{target}`, which does not exist; mend the link");
                faults.add(path, line, &fault);
            }
        }
    }
    faults.none();
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let mut faults = Faults::default();
    let folders = [Some(root().display().to_string()), std::env::var("HOME").ok()];
    let local: Vec<_> =
        folders.into_iter().flatten().filter(|it| it != "/").map(|it| it + "/").collect();
    for path in files() {
        // Binary files are not for reading.
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (at, line) in text.lines().enumerate() {
            for local in &local {
                if line.contains(local) {
                    let fault = format!("`{local}` exists on this machine; use what others have");
                    faults.add(&path, at + 1, &fault);
                }
            }
            let is_lock = path.ends_with("Cargo.lock") && line.starts_with("source = ");
            if is_lock && !line.contains(CRATES_IO) {
                faults.add(&path, at + 1, "comes from another place than crates.io; lock it again");
            }
        }
    }
    faults.none();
}

#[test]
fn the_facade_has_what_its_signatures_name() {
    let mut faults = Faults::default();
    for (path, line, fault) in facade::missing() {
        faults.add(&path, line, &fault);
    }
    faults.none();
}

#[test]
fn the_facade_has_examples() {
    let mut faults = Faults::default();
    for (path, line, fault) in examples::missing() {
        faults.add(&path, line, &fault);
    }
    faults.none();
}

#[test]
fn the_examples_of_the_facade_name_no_crate_below() {
    let mut faults = Faults::default();
    for (path, line, fault) in examples::below() {
        faults.add(&path, line, &fault);
    }
    faults.none();
}

/// The places where a rule is broken.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    /// Adds a fault at a line of a file, counted from 1; line 0 stands for the file as a whole.
    fn add(&mut self, path: &str, line: usize, fault: &str) {
        let place = if line == 0 { path.to_owned() } else { format!("{path}:{line}") };
        self.0.push(format!("{place}: {fault}"));
    }

    /// Fails the test if there is a fault.
    fn none(self) {
        assert!(self.0.is_empty(), "a rule of the workspace is broken:\n\n{}\n", self.0.join("\n"));
    }
}

fn layer(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&folder))
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}
