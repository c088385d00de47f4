//! Actors that are threads with runtimes of their own.

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

use super::{Channel, Launched, Remains, Vessel};
use crate::{Panic, actor::Tether, child::Newborn};

pub(super) fn launch(newborn: Newborn) -> io::Result<Launched> {
    let name = newborn.spec.name.to_string();
    let runtime = OwnRuntime::new()?;
    // What holds it on this runtime ends with the thread.
    let (tether, _) = Tether::new();
    let (run, near) = {
        let _entered = runtime.get().enter();
        newborn.begin(tether)
    };
    let (ended, is_ended) = oneshot::channel();
    // The kernel shows 15 bytes of a name.
    thread::Builder::new().name(name).spawn(move || {
        let serving = AssertUnwindSafe(|| runtime.get().block_on(run));
        let remains = match catch_unwind(serving) {
            Ok(()) => Remains::Nothing,
            Err(payload) => Remains::Panic(Panic::from_payload(&*payload)),
        };
        drop(runtime);
        // Whoever launched it may have given it up.
        drop(ended.send(remains));
    })?;
    let vessel = Box::new(Thread { is_ended, remains: None });
    Ok(Launched { vessel, channel: Channel::Within(near) })
}

/// The runtime of one thread. When it is dropped, work that blocks is not waited for: it cannot be
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
    is_ended: oneshot::Receiver<Remains>,
    remains: Option<Remains>,
}

impl Vessel for Thread {
    fn gone(&mut self) -> Pin<Box<dyn Future<Output = Remains> + Send + '_>> {
        Box::pin(async {
            if self.remains.is_none() {
                let remains = (&mut self.is_ended).await;
                self.remains = Some(remains.unwrap_or(Remains::Nothing));
            }
            self.remains.clone().expect("it was set a moment ago")
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
