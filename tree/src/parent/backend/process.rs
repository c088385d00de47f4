//! Actors that are processes: this program, executed again or forked.

use std::{
    future::Future, io, os::unix::net::UnixStream as StdUnixStream, pin::Pin, time::Duration,
};

use process::{Child, Ended, Launch, Signal};
use tokio::{net::UnixStream, runtime::Builder, time::timeout};
use transport::Stream;

use super::{RawExit, RunningChild};
use crate::{
    child::{self, signals::Signals},
    outcome::panics,
    runtime::{self, say},
    sockets,
};

pub(super) async fn launch(launch: Launch) -> io::Result<(Box<dyn RunningChild>, Stream)> {
    let mut child = launch.start().await.map_err(io::Error::other)?;
    let channel = child.take_channel().expect("nobody has taken it");
    let channel = Stream::try_from(UnixStream::from_std(channel)?)?;
    Ok((Box::new(Process { child, raw_exit: None }), channel))
}

/// Lives as a child whose parent is at the other end of `channel`. Returns the exit code.
pub(crate) fn live(channel: StdUnixStream) -> i32 {
    panics::be_a_child();
    match try_to_live(channel) {
        Ok(()) => 0,
        Err(error) => {
            say_why(&error);
            NOT_AN_ACTOR
        }
    }
}

/// Explains why this process is not an actor. There is no log yet: the parent reads this as the
/// last words of its child.
fn say_why(error: &io::Error) {
    say(&format!("this process cannot become an actor: {}", portal::WithCauses(error)));
}

fn give_up(error: &io::Error) -> ! {
    say_why(error);
    process::exit_now(NOT_AN_ACTOR)
}

fn try_to_live(channel: StdUnixStream) -> io::Result<()> {
    process::at_forced_end(sockets::remove_all);
    let runtime =
        runtime::build(Builder::new_multi_thread().worker_threads(WORKERS).enable_all(), give_up)?;
    runtime.block_on(async {
        let signals = Signals::new(true)?;
        let channel = Stream::try_from(UnixStream::from_std(channel)?)?;
        child::serve(channel, signals).await;
        io::Result::Ok(())
    })?;
    // Work that is still running cannot be stopped, and ends with the process.
    runtime.shutdown_timeout(Duration::ZERO);
    sockets::remove_all();
    Ok(())
}

struct Process {
    child: Child,
    raw_exit: Option<RawExit>,
}

impl RunningChild for Process {
    fn gone(&mut self) -> Pin<Box<dyn Future<Output = RawExit> + Send + '_>> {
        Box::pin(async {
            if self.raw_exit.is_none() {
                let raw_exit = match self.child.exited().await {
                    Ok(Ended::Code(code)) => RawExit::Code(code),
                    Ok(Ended::Signal { signal, .. }) => RawExit::Signal(signal),
                    Err(error) => RawExit::Unknown(error.to_string()),
                };
                // Its output is in transit; a process that it has left behind may hold the pipe
                // open.
                drop(timeout(OUTPUT_WAIT, self.child.output_read()).await);
                self.raw_exit = Some(raw_exit);
            }
            self.raw_exit.clone().expect("it was set a moment ago")
        })
    }

    fn terminate(&mut self) -> bool {
        // A process that may not be signalled is killed later, or abandoned.
        self.child.signal(Signal::TERM).is_ok()
    }

    fn kill(&mut self) -> bool {
        self.child.kill_group().and(self.child.signal(Signal::KILL)).is_ok()
    }

    fn force_end(&self) {
        self.child.force_end();
    }

    fn pid(&self) -> u32 {
        self.child.pid().unsigned_abs()
    }

    fn last_words(&self) -> String {
        let said = self.child.error_tail();
        let mut from = said.len().saturating_sub(LAST_WORDS_BYTES_MAX);
        while !said.is_char_boundary(from) {
            from += 1;
        }
        said[from..].to_owned()
    }
}

/// The threads of a process's runtime: one continues when a function blocks the other.
const WORKERS: usize = 2;

/// The time for reading the output of a process that is gone.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);

/// The most output of a process in the report of its end: a page of text.
const LAST_WORDS_BYTES_MAX: usize = 2048;

/// The exit code of a process that could not become an actor, as BSD's `EX_OSERR`.
const NOT_AN_ACTOR: i32 = 71;
