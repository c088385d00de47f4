//! Real child processes of both kinds: their ends, their inheritance, and that none stays.
//!
//! A child runs its parent's program from the beginning. So this test has a `main` of its own,
//! whose first statement is that of every program that starts children; in a child it never
//! returns.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "all of it is a test"
)]

mod roles;
mod support;

mod ends;
mod families;
mod inherits;
mod outputs;

mod crowd;

use std::{process::ExitCode, time::Duration};

use callsign_process::{self as process, Kind, Launch};
use libtest_mimic::Arguments;

use self::support::{Played, block_on};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--begin-too-late") => return inherits::begin_too_late(),
        Some("--be-a-root") => return be_a_root(),
        Some("--launch-for-ever") => return launch_for_ever(),
        Some("--tell-environments") => return inherits::tell_environments(),
        _ => process::init_with_forkserver(roles::play).unwrap(),
    }
    let trials = [ends::trials(), families::trials(), inherits::trials(), outputs::trials()];
    let trials = trials.into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// How many processes [`be_a_root`] prints.
const ROOT_TREE: usize = 4;

/// Prints the processes of a tree of both kinds, one a line, and waits to be killed.
fn be_a_root() -> ExitCode {
    process::init_with_forkserver(roles::play).unwrap();
    block_on(async {
        let mut tree = Vec::new();
        for (kind, grandchild) in [(Kind::Exec, "fork"), (Kind::Fork, "exec")] {
            let grace = Duration::from_millis(100);
            let launch = Launch { kind, grace, with_forkserver: true, ..Launch::exec("branch") };
            let mut played = Played::launch(launch, &format!("family {grandchild} sleep")).await;
            println!("{}\n{}", played.child.pid(), played.hears().await);
            tree.push(played);
        }
        // The kernel does not continue a stopped process whose parent is in another session.
        rustix::process::setsid().unwrap();
        println!("ready");
        std::future::pending().await
    })
}

/// Starts children of both kinds, one after the other and never awaited, until it is killed. It
/// leads a session, which identifies them all, and prints a line for each.
fn launch_for_ever() -> ExitCode {
    rustix::process::setsid().unwrap();
    process::init_with_forkserver(roles::play).unwrap();
    block_on(async {
        let mut started = Vec::new();
        for kind in [Kind::Exec, Kind::Fork].into_iter().cycle() {
            let grace = Duration::from_millis(10);
            let launch = Launch { kind, grace, with_forkserver: true, ..Launch::exec("one-more") };
            started.push(Played::launch(launch, "sleep").await);
            println!("started");
        }
        unreachable!("it goes on for ever")
    })
}
