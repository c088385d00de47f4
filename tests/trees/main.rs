//! Trees of supervised actors on two hosts: how their actors find and call each other over TLS.
//!
//! This program starts itself anew for children, so it has a `main` of its own. It needs root, and
//! otherwise reports that it is skipped.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

#[path = "../harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "tests of localities use the rest")]
#[path = "../locality/place.rs"]
mod place;
mod roles;
mod two_hosts;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    callsign::init();
    if let Some(code) = roles::play() {
        return code;
    }
    let trials = vec![
        Trial::test("actors_of_two_hosts_find_call_and_cancel", || {
            two_hosts::find_call_and_cancel();
            Ok(())
        }),
        Trial::test("a_stranger_is_refused_at_the_portal", || {
            two_hosts::strangers_are_refused();
            Ok(())
        }),
        Trial::test("a_root_says_what_is_wrong_with_its_certificate", || {
            two_hosts::faults_are_told();
            Ok(())
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
