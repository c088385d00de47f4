//! What the compiler says of functions that cannot be exported.
//!
//! The programs below `ui` are compiled by a cargo of their own, with all that this package
//! depends on. In the package of the crate `tree` that would be every tool of its tests too, and
//! take minutes on a busy machine.

#![forbid(unsafe_code)]

/// Each file below `ui` is compiled, and what the compiler says is compared with the file of the
/// same name that ends in `.stderr`. `TRYBUILD=overwrite` writes those anew.
#[cfg(test)]
#[test]
fn what_cannot_be_exported_says_why_and_what_to_do() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
