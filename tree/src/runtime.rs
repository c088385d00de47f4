//! Runtimes with all of their threads.

use std::{io, panic};

use tokio::runtime::{Builder, Runtime};

/// Builds a runtime of several threads, with all of them. Where the system starts no more, `give_up`
/// is to end the process: tokio panics then, and the panic may wait for ever for the threads that
/// there are; or it goes on without the others, and work that blocks may wait for ever.
///
/// # Errors
///
/// What else the system refuses.
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
