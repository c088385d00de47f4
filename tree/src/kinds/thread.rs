//! Actors that are threads with runtimes of their own.

use std::{
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{runtime, sync::oneshot};
use transport::Stream;

use super::{Launched, Remains, Vessel};
use crate::{Panic, actor::Tether, child, home::Home, signals::Signals};

pub(super) fn launch(home: Arc<Home>, name: &str) -> io::Result<Launched> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (channel, far) = Stream::pair();
    // What holds it on this runtime ends with the thread.
    let (tether, _) = Tether::new();
    let (ended, is_ended) = oneshot::channel();
    // The kernel shows 15 bytes of a name.
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let serving = AssertUnwindSafe(|| {
            runtime.block_on(child::serve(far, Some(home), Signals::none(), tether))
        });
        let remains = match catch_unwind(serving) {
            Ok(()) => Remains::Nothing,
            Err(payload) => Remains::Panic(Panic::from_payload(&*payload)),
        };
        // Work that blocks is not waited for: it cannot be stopped, and the actor has ended.
        runtime.shutdown_timeout(Duration::ZERO);
        // Whoever launched it may have given it up.
        drop(ended.send(remains));
    })?;
    Ok(Launched { vessel: Box::new(Thread { is_ended, remains: None }), channel })
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
