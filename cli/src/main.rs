//! The binary: it reads the command line, runs one command, and ends with its exit code.

#![forbid(unsafe_code)]

mod args;
mod commands;
mod complete;
mod console;
mod context;
mod failure;
mod global;
mod hints;
mod log_line;
mod lookup;
mod outlet;
mod output;
mod owners;
mod partly;
mod service;
mod signals;
mod users;

use std::{io, os::unix::net::UnixStream, process::ExitCode};

use args::Cli;
use commands::AllHanded;
use context::{Context, Environment};
use failure::{Exit, Failure};
use rustix::io::Errno;
use tokio::runtime::Runtime;
use transport::Handed;

fn main() -> ExitCode {
    if let Some(code) = tree::process::guard_if_asked() {
        return ExitCode::from(code);
    }
    let environment = Environment::of_process();
    signals::hold_back();
    // While there is one thread, so that child processes do not see it.
    let handed = Handed::take();
    let Cli { global, command } = match args::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    if !command.hears_signals() {
        signals::let_through();
    }
    let context = Context::new(global, environment);
    context.console.hear_panics();
    let exit = match run(command, handed, &context) {
        Ok(exit) => exit,
        Err(failure) => failure.report(&context),
    };
    if let Exit::Signal(number) = exit {
        context.console.flush();
        transport::end_by_signal(number);
    }
    exit.into()
}

/// Runs a command on a runtime of one thread.
///
/// The registrar answers a look-up in a few microseconds, and to hand one to another thread costs
/// more than that. The other commands do one thing at a time.
fn run(command: commands::Command, handed: AllHanded, context: &Context) -> Result<Exit, Failure> {
    context.start_logging()?;
    let runtime = runtime().map_err(cannot_start)?;
    let exit = runtime.block_on(async {
        signals::outlive_full_files()?;
        commands::run(command, handed, context).await
    });
    // A read of standard input cannot be cancelled; the program must not wait for it.
    runtime.shutdown_background();
    exit
}

fn runtime() -> io::Result<Runtime> {
    // The runtime panics if there is no descriptor for what hears signals. It takes five.
    drop((UnixStream::pair()?, UnixStream::pair()?, UnixStream::pair()?));
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn cannot_start(error: io::Error) -> Failure {
    let is_full = matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE));
    let failure = Failure::usage(error).context("cannot start");
    if is_full { failure.hint("let it open more descriptors: `ulimit -n 1024`") } else { failure }
}
