//! The project's tasks, run as `cargo xtask <task>`.
//!
//! Continuous integration runs `cargo xtask ci` and nothing else, so a person can run the very same
//! thing. This is not a build system: it calls cargo, and shows the calls. It depends on no other
//! crate of the workspace, so that it builds even when they do not.
//!
//! - [`bench`](mod@bench) measures a registrar beside other servers.
//! - [`ci`] is the list of everything that must hold before a change lands.
//! - [`test`](mod@test) runs the tests, after [`tools`] has looked for the programs they start, and
//!   [`python`] for a package; [`leftovers`] looks for what they leave behind.
//! - [`clients`] builds the clients in other languages, checks them, and plays them against a node.
//! - [`soak`] lets trees of actors fall, places change hands, and strangers loose on a registrar,
//!   many times.
//! - [`package`] builds the Debian package and a container image, and tries them.
//! - [`docs`] writes the documents that the `callsign` binary generates.
//! - [`step::Step`] is one command line, of which all of these are made.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "tasks talk to a person")]

mod bench;
mod ci;
mod clients;
mod docs;
mod leftovers;
mod package;
mod python;
mod soak;
mod step;
mod test;
mod tools;

use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();

    if let Err(error) = env::set_current_dir(root()) {
        eprintln!("xtask: cannot enter {}: {error}", root().display());
        return ExitCode::FAILURE;
    }
    let done = match args.as_slice() {
        ["bench", "--peers"] => bench::run(&[]),
        ["bench", "--peers", parts @ ..] => bench::run(parts),
        ["ci"] => ci::run(),
        ["clients"] => clients::run(),
        ["docs"] => docs::write(),
        ["docs", "--check"] => docs::check(),
        ["package"] => package::run(),
        ["package", "--check"] => package::check(),
        ["test"] => test::run(&[]),
        ["test", "--", extra @ ..] => test::run(extra),
        ["soak"] => soak::run("500"),
        ["soak", "cluster"] => soak::cluster("20"),
        ["soak", "cluster", rounds] if rounds.parse::<u32>().is_ok() => soak::cluster(rounds),
        ["soak", rounds] if rounds.parse::<u32>().is_ok() => soak::run(rounds),
        [] | ["help" | "--help" | "-h"] | [_, "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            let line = args.join(" ");
            eprintln!("xtask: there is no task `{line}`; `cargo xtask help` lists them");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the top folder of the workspace.
fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("this package is a folder of the workspace")
}

const HELP: &str = "\
The tasks of this project.

Usage: cargo xtask <TASK>

Tasks:
  test [-- ARGS]  Run every test. The programs that tests start are looked for
                  first, and installed if that is possible. ARGS go to the
                  test runner.
  ci              Check all that must hold before a change lands: format,
                  lints, documentation, generated documents, tests. Stops at
                  the first failure.
  clients         Build, check and test the clients in other languages, which
                  `test` does as well.
  bench --peers [PARTS]
                  Measure what an operation costs a registrar beside Redis and
                  memcached, installed if that is possible; without PARTS, write
                  docs/benchmarks.md.
  soak [ROUNDS]   Let trees of actors fall, strangers loose, and registrars of a
                  Python client be killed, 500 times unless said otherwise, and
                  look each time whether anything is left; and let places and
                  connections change hands, twenty times as often.
  soak cluster [ROUNDS]
                  Let members of an etcd, nodes of a cluster and the links between
                  them fail under load, 20 times unless said otherwise.
  package         Build the Debian package and a container's image, of a release
                  build, and try them.
  package --check
                  Try them of the binary that tests use, and of no other.
  docs            Write the documents that the `callsign` binary generates.
  docs --check    Write none; fail, and name those that are out of step.
  help            Show this.

Examples:
  cargo xtask ci
  cargo xtask test
  cargo xtask test -- unix     # only the tests with `unix` in their name
";
