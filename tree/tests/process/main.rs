//! Real child processes of both kinds: how they end, what they inherit, and that none stays.
//!
//! A child is its parent's program begun anew, so this test has a `main` of its own, whose first
//! statement is what every program that starts children begins with. In a child it never returns.

#![expect(clippy::unwrap_used, reason = "all of it is a test")]

mod roles;
mod support;

mod ends;

use std::process::ExitCode;

use callsign_tree::process;
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    process::init_with_forkserver(roles::play).expect("it is the first statement");
    let trials = [ends::trials()].into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
