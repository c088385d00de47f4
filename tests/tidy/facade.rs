//! The types that the facade's signatures name.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{read, rust_files};

/// The files of the facade that re-export items of the crates below.
pub(crate) const FACADE: &[&str] = &[
    "cli/src/dns.rs",
    "cli/src/http.rs",
    "cli/src/lib.rs",
    "cli/src/registrar.rs",
    "cli/src/tractor.rs",
];

/// Names that the facade leaves out on purpose: those that only macros and the binary use, and
/// those with another meaning in their place.
const LEFT_OUT: &[&str] = &[
    "Connected",
    "Granted",
    "Holder",
    "Incoming",
    "ItemSender",
    "Items",
    "Key",
    "Mismatch",
    "Output",
    "Place",
    "Process",
    "ProcessMark",
    "RawStream",
    "Running",
    "SendError",
    "Settings",
    "TcpEnds",
    "Woken",
    "Contested",
    "Suspected",
    "Answer",
    "Seen",
    "Who",
    "Wire",
    "ExportKind",
    "SettingsFile",
    "Launch",
    "Register",
    "Request",
];

/// Returns the types that the facade's signatures and fields name but the facade lacks: the file,
/// the line, and a message.
pub(crate) fn missing() -> Vec<(String, usize, String)> {
    let exported: BTreeSet<String> = FACADE.iter().flat_map(|it| exports(&read(it))).collect();
    let is_ours = |path: &String| path.contains("/src/") && !path.contains("tests");
    let sources: BTreeMap<String, String> =
        rust_files().filter(is_ours).map(|path| (path.clone(), read(&path))).collect();
    let defined: BTreeSet<&str> =
        sources.values().flat_map(|text| text.lines()).filter_map(defined).collect();
    let mut missing = Vec::new();
    for (path, text) in &sources {
        let mut of = None;
        let mut is_signature = false;
        for (at, line) in text.lines().enumerate() {
            if line == "#[cfg(test)]" {
                break;
            }
            if !line.starts_with([' ', '/', '#']) && !line.is_empty() {
                of = owner(line).filter(|it| exported.contains(*it));
            }
            let Some(of) = of else { continue };
            let member = line.strip_prefix("    pub ").unwrap_or_default();
            is_signature |=
                ["fn ", "async fn ", "const fn "].iter().any(|it| member.starts_with(it));
            if is_signature || member.contains(": ") {
                let lacks = |it: &&str| {
                    defined.contains(it) && !exported.contains(*it) && !LEFT_OUT.contains(it)
                };
                for name in names(line).filter(lacks) {
                    let fault =
                        format!("`{of}` is in the facade, and `{name}` is not; export it too");
                    missing.push((path.clone(), at + 1, fault));
                }
            }
            is_signature &= !line.contains('{') && !line.ends_with(';');
        }
    }
    missing
}

/// Returns the type that an unindented line defines or implements.
fn owner(line: &str) -> Option<&str> {
    match line.strip_prefix("impl") {
        Some(rest) if !line.contains(" for ") => {
            let rest =
                rest.split_once("> ").filter(|_| rest.starts_with('<')).map_or(rest, |it| it.1);
            names(rest).next()
        }
        Some(_) => None,
        None => defined(line),
    }
}

/// Returns the public type that a line defines.
fn defined(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ")?;
    let (kind, rest) = line.split_once(' ')?;
    matches!(kind, "struct" | "enum" | "trait" | "type").then(|| names(rest).next()).flatten()
}

/// Returns the re-exported types.
fn exports(text: &str) -> Vec<String> {
    let uses = text.split("pub use ").skip(1).filter_map(|it| it.split_once(';'));
    uses.flat_map(|(used, _)| names(used).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Returns the words of a text that are names of types.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|it: char| !it.is_alphanumeric() && it != '_');
    words.filter(|it| it.starts_with(char::is_uppercase) && it.contains(char::is_lowercase))
}
