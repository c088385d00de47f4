//! Every exported function of the program.

use std::{collections::HashMap, fmt, sync::LazyLock};

use linkme::distributed_slice;
use thiserror::Error;

use super::Export;

/// Every exported function, in the order in which the linker met them. The attribute adds to it;
/// others read [`exports`].
#[doc(hidden)]
#[distributed_slice]
pub static EXPORTS: [Export];

/// Returns every exported function of the program, its own and those of the crates it is built
/// with.
///
/// ```standalone_crate
/// # extern crate callsign_tree as callsign;
/// #[callsign::export]
/// async fn quote() -> f64 {
///     1.0842
/// }
///
/// assert!(callsign::export::exports().iter().any(|it| it.path == quote::EXPORT.path));
/// ```
pub fn exports() -> &'static [Export] {
    &EXPORTS
}

/// Returns the exported function of a path. Every incoming call uses it.
pub fn find(path: &str) -> Option<&'static Export> {
    static BY_PATH: LazyLock<HashMap<&str, &Export>> =
        LazyLock::new(|| exports().iter().map(|export| (export.path, export)).collect());
    BY_PATH.get(path).copied()
}

/// Checks that every path means one function. `init` does so, before any call.
///
/// # Errors
///
/// [`Duplicates`], with all the places.
pub fn check() -> Result<(), Duplicates> {
    check_all(exports())
}

fn check_all(exports: &[Export]) -> Result<(), Duplicates> {
    let mut seen: HashMap<&str, &Export> = HashMap::new();
    let mut duplicates = Vec::new();
    for export in exports {
        match seen.get(export.path) {
            Some(first) => duplicates.push(Duplicate { first: **first, second: *export }),
            None => _ = seen.insert(export.path, export),
        }
    }
    if duplicates.is_empty() { Ok(()) } else { Err(Duplicates(duplicates)) }
}

/// Paths that mean more than one function each.
#[derive(Clone, Debug, Error)]
#[error("{}", lines(.0))]
pub struct Duplicates(pub Vec<Duplicate>);

/// Two functions of one path.
#[derive(Clone, Copy, Debug)]
pub struct Duplicate {
    /// An entry.
    pub first: Export,
    /// The other.
    pub second: Export,
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, second } = self;
        write!(
            f,
            "`{}` is exported twice, at {}:{} and at {}:{}; rename one of the two",
            first.path, first.file, first.line, second.file, second.line
        )
    }
}

fn lines(duplicates: &[Duplicate]) -> String {
    duplicates.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{super::ping, *};

    #[test]
    fn exports_are_found_by_their_paths() {
        let path = "callsign_tree::export::builtin::ping";
        assert_eq!(find(path).map(|export| export.fingerprint), Some(ping::EXPORT.fingerprint));
        assert!(find("callsign_tree::export::pong").is_none());
    }

    #[test]
    fn two_of_one_path_are_named_with_both_places() {
        check().unwrap();
        let at = |file, line| Export { file, line, ..ping::EXPORT };
        let exports = [at("src/a.rs", 3), Export { path: "other", ..ping::EXPORT }, at("b.rs", 14)];
        assert_eq!(
            check_all(&exports).unwrap_err().to_string(),
            "`callsign_tree::export::builtin::ping` is exported twice, at src/a.rs:3 and at b.rs:14; \
             rename one of the two"
        );
    }
}
