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
mod log_fields;
mod log_filter;
mod log_line;
mod lookup;
mod outlet;
mod output;
mod owners;
mod partly;
mod programs;
mod service;
mod signals;
mod standard;
mod typed;
mod users;

use std::{io, os::unix::net::UnixStream, process::ExitCode};

use args::Cli;
use commands::AllHanded;
use context::{Context, Environment};
use failure::{Exit, Failure};
use output::notices::warn;
use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
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
    context.environment.check()?;
    for in_vain in context.start_logging()? {
        warn(context, in_vain);
    }
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
    // Without one for what hears signals the runtime panics, and without one for a connection a
    // registrar seems to be away.
    let free: io::Result<Vec<_>> = (0..DESCRIPTORS_MIN / 2).map(|_| UnixStream::pair()).collect();
    drop(free?);
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn cannot_start(error: io::Error) -> Failure {
    let is_full = matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE));
    if !is_full {
        return Failure::system(error).context("cannot start");
    }
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or("any number of".to_owned(), |it| format!("at most {it}"));
    Failure::system(error)
        .context(format!(
            "cannot start: it needs {DESCRIPTORS_MIN} free descriptors, and may open {limit}"
        ))
        .hint("let it open more descriptors: `ulimit -n 1024`")
}

/// The descriptors that every command may need: five for the runtime, three for each of two
/// registrars, and others for a look at the kernel's lists.
const DESCRIPTORS_MIN: usize = 20;
