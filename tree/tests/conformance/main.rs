//! The common behaviour of every kind of actor: one list of cases, run for each.
//!
//! This program starts itself anew for children, so it has a `main` of its own.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a test may")]

extern crate callsign_tree as tree;

mod cases;
mod exports;
mod log;
mod roles;
mod roots;
mod stage;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use tree::Kind;

use crate::stage::RegistrarOf;

fn main() -> ExitCode {
    tree::init();
    if let Some(code) = roles::play() {
        return code;
    }
    log::keep();
    let mut trials = Vec::new();
    for kind in Kind::ALL {
        for (name, case) in cases::ALL {
            let run = move || stage::play(kind, RegistrarOf::Another, *case);
            trials.push(Trial::test(format!("{kind}::{name}"), run));
            let run = move || stage::play(kind, RegistrarOf::Itself, *case);
            trials.push(Trial::test(format!("registrar::{kind}::{name}"), run));
        }
    }
    for (name, case) in cases::contacts::ALL {
        let run = move || stage::play(Kind::Task, RegistrarOf::Another, *case);
        trials.push(Trial::test(format!("contacts::{name}"), run));
    }
    trials.extend(roots::trials());
    let mut arguments = Arguments::from_args();
    // A process has one root.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}
