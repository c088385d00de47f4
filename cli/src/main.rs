//! The binary: it reads the command line, runs one command, and ends with its exit code.

#![forbid(unsafe_code)]

mod args;
mod asked;
mod commands;
mod context;
mod failure;
mod found;
mod hints;
mod notice;
mod output;
mod pick;
mod portrait;
mod seen;
mod signals;

use std::process::ExitCode;

use args::Cli;
use context::{Context, Environment};
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let Cli { global, command } = match args::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let context = Context::new(global, environment);
    match run(command, &context) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(&context).into(),
    }
}

/// Runs a command on a runtime of one thread.
///
/// The registrar answers a look-up in a few microseconds, and to hand one to another thread costs
/// more than that. The other commands do one thing at a time.
fn run(command: args::Command, context: &Context) -> Result<Exit, Failure> {
    context.start_logging()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(error).context("cannot start"))?;
    let exit = runtime.block_on(commands::run(command, context));
    // A read of standard input cannot be taken back; the program is not to wait for it.
    runtime.shutdown_background();
    exit
}
