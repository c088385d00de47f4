//! Runtimes with all of their threads, and the message of a program that ends without one.

use std::{
    io::{self, Write},
    panic,
};

use tokio::runtime::{Builder, Runtime};

/// Builds a runtime of several threads. If the system starts no more threads, `give_up` must end
/// the process: tokio panics then, and the panic may wait for ever for the existing threads; or it
/// continues without the others, and blocking work may wait for ever.
///
/// # Errors
///
/// Any other refusal by the system.
pub(crate) fn build(builder: &mut Builder, give_up: fn(&io::Error) -> !) -> io::Result<Runtime> {
    let no_more = move || {
        let why = "the system starts no more threads (`ulimit -u`, or `pids.max` of its cgroup)";
        give_up(&io::Error::new(io::ErrorKind::QuotaExceeded, why))
    };
    let before = process::threads()?;
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |_| no_more()));
    let built = builder.build();
    panic::set_hook(hook);
    let runtime = built?;
    if process::threads()? < before + runtime.metrics().num_workers() {
        no_more();
    }
    Ok(runtime)
}

/// Prints a message on standard error.
pub(crate) fn say(why: &str) {
    // There is nobody else to tell.
    let _unread = writeln!(std::io::stderr(), "callsign: {why}");
}
