//! Python with the packages that the Python client's tests use.

use std::path::Path;

/// Returns the interpreter, if `cargo xtask test` could install the packages.
#[expect(clippy::print_stderr, reason = "who runs it is to see that it is skipped")]
pub(crate) fn python() -> Option<String> {
    let target = Path::new(env!("CARGO_BIN_EXE_callsign")).ancestors().nth(2).unwrap();
    let python = target.join("python-client/bin/python3");
    if !python.exists() {
        eprintln!("SKIPPED: `cargo xtask test` has installed no packages for Python");
        return None;
    }
    Some(python.display().to_string())
}
