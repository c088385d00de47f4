//! Actors that are threads with their own runtimes.

use std::{
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process, thread,
};

use tokio::{
    runtime::{self, Runtime},
    sync::oneshot,
};

use super::{RawExit, RunningChild};
use crate::{
    Panic,
    child::{LocalChild, Near},
};

pub(super) fn launch(child: LocalChild) -> io::Result<(Box<dyn RunningChild>, Near)> {
    let name = child.spec.name.to_string();
    let runtime = OwnRuntime::new()?;
    let (run, near) = {
        let _entered = runtime.get().enter();
        // Everything of it that is alive ends with the thread.
        child.begin(None)
    };
    let (ended, is_ended) = oneshot::channel();
    // The kernel shows 15 bytes of a name.
    thread::Builder::new().name(name).spawn(move || {
        let serving = AssertUnwindSafe(|| runtime.get().block_on(run));
        let raw_exit = match catch_unwind(serving) {
            Ok(()) => RawExit::Nothing,
            Err(payload) => RawExit::Panic(Panic::from_payload(&*payload)),
        };
        drop(runtime);
        // The runner may have abandoned it.
        ended.send(raw_exit).ok();
    })?;
    Ok((Box::new(Thread { is_ended, raw_exit: None }), near))
}

/// The runtime of one thread. When it is dropped, blocking work is not waited for: it cannot be
/// stopped, and the actor has ended.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> io::Result<Self> {
        Ok(Self(Some(runtime::Builder::new_current_thread().enable_all().build()?)))
    }

    fn get(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct Thread {
    is_ended: oneshot::Receiver<RawExit>,
    raw_exit: Option<RawExit>,
}

impl RunningChild for Thread {
    fn gone(&mut self) -> Pin<Box<dyn Future<Output = RawExit> + Send + '_>> {
        Box::pin(async {
            if self.raw_exit.is_none() {
                let raw_exit = (&mut self.is_ended).await;
                self.raw_exit = Some(raw_exit.unwrap_or(RawExit::Nothing));
            }
            self.raw_exit.clone().expect("it was set a moment ago")
        })
    }

    fn terminate(&mut self) -> bool {
        false
    }

    /// There is no way to end a thread by force.
    fn kill(&mut self) -> bool {
        false
    }

    fn pid(&self) -> u32 {
        process::id()
    }
}
